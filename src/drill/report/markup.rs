//! Writes XML and the HTML that is XML, too. Everything that is text is escaped here, and letters
//! that no such document may hold are replaced: names come from others.

use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesEnd, BytesStart, BytesText, Event};

/// A document being written.
pub struct Markup {
    writer: Writer<Vec<u8>>,
    open: Vec<&'static str>,
}

/// Attributes: names are ours, values are anybody's.
pub type Attributes<'a> = &'a [(&'static str, &'a str)];

impl Markup {
    /// An XML document.
    pub fn xml() -> Self {
        let mut markup = Self { writer: Writer::new(Vec::new()), open: Vec::new() };
        markup.put(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)));
        markup
    }

    /// An HTML page.
    pub fn html() -> Self {
        let mut markup = Self { writer: Writer::new(Vec::new()), open: Vec::new() };
        markup.put(Event::DocType(BytesText::from_escaped("html")));
        markup
    }

    fn put(&mut self, event: Event<'_>) {
        let put = self.writer.write_event(event);
        put.expect("a list of bytes takes all of them");
    }

    fn start<'a>(name: &'static str, attributes: &[(&'static str, &'a str)]) -> BytesStart<'a> {
        let mut start = BytesStart::new(name);
        for (name, value) in attributes {
            start.push_attribute((*name, &*allowed(value)));
        }
        start
    }

    /// Opens an element.
    pub fn open(&mut self, name: &'static str, attributes: Attributes<'_>) {
        self.put(Event::Start(Self::start(name, attributes)));
        self.open.push(name);
    }

    /// Closes the element that was opened last.
    pub fn close(&mut self) {
        if let Some(name) = self.open.pop() {
            self.put(Event::End(BytesEnd::new(name)));
        }
    }

    /// Adds text.
    pub fn text(&mut self, text: &str) {
        self.put(Event::Text(BytesText::new(&allowed(text))));
    }

    /// An element with text in it.
    pub fn leaf(&mut self, name: &'static str, attributes: Attributes<'_>, text: &str) {
        self.open(name, attributes);
        self.text(text);
        self.close();
    }

    /// An element that can have nothing in it.
    pub fn void(&mut self, name: &'static str, attributes: Attributes<'_>) {
        self.put(Event::Empty(Self::start(name, attributes)));
    }

    /// Closes what is open, and gives the text.
    pub fn finish(mut self) -> String {
        while !self.open.is_empty() {
            self.close();
        }
        let mut text =
            String::from_utf8(self.writer.into_inner()).expect("what is written is made of texts");
        text.push('\n');
        text
    }
}

/// The text without letters that XML 1.0 forbids.
fn allowed(text: &str) -> String {
    let fits = |c: char| {
        matches!(c, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
            && c != '\u{7f}'
    };
    text.chars().map(|c| if fits(c) { c } else { '\u{fffd}' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_a_name_holds_stays_text() {
        let mut markup = Markup::xml();
        let hostile = "\"><script>alert('x')</script>&amp;\u{0}\u{1b}[31m";
        markup.leaf("a", &[("b", hostile)], hostile);
        let text = markup.finish();
        assert!(!text.contains("<script") && !text.contains('\u{0}'), "{text}");
        assert!(text.contains("&amp;amp;") && text.contains('\u{fffd}'), "{text}");
    }
}
