//! Names of databases, tables and operations: which are taken, and how they and texts are written
//! into a statement so that no input can leave its place. Owns the names that we make ourselves.

use std::fmt;

use sha2::{Digest, Sha256};

/// Longest name of a database or table, bytes.
const LONGEST: usize = 200;
/// What stands between a name and the operation that keeps something beside it.
const BESIDE: &str = "__bk_";
/// Bytes that are added to a name for that.
const ADDED: usize = BESIDE.len() + 16;
/// A name's size as a file from which on it is cut for that.
const LONG: usize = 80;
/// Databases of the server itself.
const RESERVED: [&str; 2] = ["system", "information_schema"];

/// Why a text is no name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Empty, or longer than 200 bytes.
    #[error("a name has 1 to {LONGEST} bytes")]
    Length,
    /// NUL, a line end or the like.
    #[error("a name has no control characters")]
    Control,
    /// The server's own, or one that operations give.
    #[error("this name is reserved")]
    Reserved,
}

/// A checked name of a database or a table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

impl Name {
    /// Checks a name that a user gives.
    ///
    /// # Errors
    /// [`NameError`].
    pub fn parse(text: &str) -> Result<Self, NameError> {
        if text.is_empty() || text.len() > LONGEST {
            return Err(NameError::Length);
        }
        if text.chars().any(char::is_control) {
            return Err(NameError::Control);
        }
        let reserved = RESERVED.iter().any(|name| name.eq_ignore_ascii_case(text));
        if reserved || is_beside(text) {
            return Err(NameError::Reserved);
        }
        Ok(Self(text.to_owned()))
    }

    /// A name that the server or our journal gave.
    pub fn known(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The name under which an operation keeps something of its own beside this one.
    pub fn beside(&self, operation: &OperationId) -> Self {
        Self(format!("{}{BESIDE}{}", self.stem(), operation.mark()))
    }

    /// The mark of the operation that gave this name, where one did.
    pub fn mark(&self) -> Option<&str> {
        let end = self.0.rsplit_once(BESIDE).map(|(_, end)| end);
        end.filter(|_| self.is_beside())
    }

    /// Whether an operation gave this name.
    pub fn is_beside(&self) -> bool {
        is_beside(&self.0)
    }

    /// Whether an operation gave this name to what it keeps beside `base`.
    pub fn is_beside_of(&self, base: &Self) -> bool {
        self.is_beside() && self.0.rsplit_once(BESIDE).is_some_and(|(stem, _)| stem == base.stem())
    }

    /// As much of a name as can stand before what is added: the server keeps names as files, in which
    /// most bytes take three, and has a limit for them. A long name gets no longer.
    fn stem(&self) -> &str {
        let size = |c: char| match c.is_ascii_alphanumeric() || c == '_' {
            true => 1,
            false => 3 * c.len_utf8(),
        };
        let whole: usize = self.0.chars().map(size).sum();
        let (most, mut used) = (whole.max(LONG) - ADDED, 0);
        let end = self.0.char_indices().find(|(_, c)| {
            used += size(*c);
            used > most
        });
        &self.0[..end.map_or(self.0.len(), |(at, _)| at)]
    }

    /// As it is.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_beside(text: &str) -> bool {
    let end = text.rsplit_once(BESIDE).map(|(_, end)| end);
    end.is_some_and(|end| end.len() == 16 && end.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A database, or a table in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// The database.
    pub database: Name,
    /// The table; none where the whole database is meant.
    pub table: Option<Name>,
}

impl Object {
    /// Its own name: the table's, else the database's.
    pub fn given(&self) -> &Name {
        self.table.as_ref().unwrap_or(&self.database)
    }

    /// Whether an operation gave it its name, beside this database or in it.
    pub fn is_near(&self, database: &Name) -> bool {
        match &self.table {
            Some(table) => self.database == *database && table.is_beside(),
            None => self.database.is_beside_of(database),
        }
    }
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.table {
            Some(table) => write!(f, "{}.{table}", self.database),
            None => write!(f, "{}", self.database),
        }
    }
}

/// What an operation is known by, here and to whoever asked for it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OperationId(String);

impl OperationId {
    /// 1 to 128 letters, digits, dots, dashes, underscores and colons. ClickHouse itself takes
    /// anything.
    pub fn parse(text: &str) -> Option<Self> {
        let letter = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | ':' | '-');
        let well = (1..=128).contains(&text.len()) && text.chars().all(letter);
        well.then(|| Self(text.to_owned()))
    }

    /// One that was checked before.
    pub fn known(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// As it is.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What the names that it gives end with: 16 hex digits.
    pub fn mark(&self) -> String {
        let hash = Sha256::digest(&self.0);
        hash[..8].iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// What ClickHouse knows an attempt by. An id is good for one statement, even a failed one, so
    /// each attempt has its own; the suffix is always there, so no two operations share one.
    pub fn attempt(&self, number: u32) -> String {
        format!("{}-a{number}", self.0)
    }
}

impl fmt::Display for OperationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A name in backquotes. In them ClickHouse takes a backslash as the beginning of an escape, and a
/// backquote as the end.
pub fn quoted(name: &Name) -> String {
    wrapped(name.as_str(), '`')
}

/// A text in single quotes.
pub fn text(text: &str) -> String {
    wrapped(text, '\'')
}

fn wrapped(text: &str, quote: char) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push(quote);
    for c in text.chars() {
        if c == quote || c == '\\' {
            out.push('\\');
        }
        out.push(c);
    }
    out.push(quote);
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Reads a quoted token as ClickHouse's lexer does; returns the value and what follows.
    fn lex(source: &str) -> Option<(String, &str)> {
        let quote = source.chars().next()?;
        let (mut value, mut escaped) = (String::new(), false);
        for (at, c) in source.char_indices().skip(1) {
            match c {
                _ if escaped => {
                    value.push(c);
                    escaped = false;
                }
                '\\' => escaped = true,
                c if c == quote => return Some((value, &source[at + c.len_utf8()..])),
                c => value.push(c),
            }
        }
        None
    }

    proptest! {
        #[test]
        fn no_input_leaves_its_place(input in "\\PC{0,40}|[`'\\\\;\\-/*\"]{0,20}", after in "[ -~]{0,10}") {
            let sources = [quoted(&Name::known(input.clone())), text(&input)];
            for source in sources {
                let source = format!("{source} {after}");
                let (value, rest) = lex(&source).expect("a token");
                prop_assert_eq!(value, input.clone());
                prop_assert_eq!(rest, format!(" {after}"));
            }
        }
    }

    #[test]
    fn names_that_are_not_taken_say_why() {
        let long = "n".repeat(201);
        let cases = [
            ("", NameError::Length),
            (long.as_str(), NameError::Length),
            ("a\nb", NameError::Control),
            ("a\0", NameError::Control),
            ("System", NameError::Reserved),
            ("INFORMATION_SCHEMA", NameError::Reserved),
            ("quotes__bk_0123456789abcdef", NameError::Reserved),
        ];
        for (text, error) in cases {
            assert_eq!(Name::parse(text), Err(error), "{text:?}");
        }
        for text in ["quotes", "a`b", "имя", "x; DROP TABLE y", "__bk_", "a__bk_12"] {
            assert!(Name::parse(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn an_operation_names_what_is_its_own() {
        let (one, two) =
            (OperationId::parse("a").expect("id"), OperationId::parse("b").expect("id"));
        let name = Name::parse("quotes").expect("a name");
        assert!(name.beside(&one).is_beside() && !name.is_beside());
        assert_eq!(name.beside(&one).mark(), Some(one.mark().as_str()));
        assert_eq!(name.mark(), None);
        assert_ne!(name.beside(&one), name.beside(&two));
        assert!(name.beside(&one).is_beside_of(&name) && !name.is_beside_of(&name));
        assert!(!name.beside(&one).is_beside_of(&Name::known("quote")));
        for long in ["n".repeat(200), "\u{439}".repeat(35)] {
            let long = Name::parse(&long).expect("a name");
            let beside = long.beside(&one);
            assert!(beside.is_beside_of(&long), "{beside}");
            assert!(beside.as_str().len() <= 200, "{beside}");
        }
        assert_eq!(one.attempt(3), "a-a3");
        for text in ["", "a b", "a'", "й", &"x".repeat(129)] {
            assert_eq!(OperationId::parse(text), None, "{text:?}");
        }
    }
}
