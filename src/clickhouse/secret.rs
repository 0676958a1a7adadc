//! A secret of a task: the keys of an object store. Owns its redaction and its end: the memory is
//! overwritten. It can be neither printed nor serialised, on purpose.

use std::fmt;

use zeroize::Zeroizing;

/// A secret text. Only [`Secret::expose`] gives it away.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes a text in. The text is moved, so no copy of it stays behind.
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The text itself, for the one place that sends it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// `text` without the secret, for texts of others that may quote it.
    pub fn redact(&self, text: &str) -> String {
        if self.0.is_empty() { text.to_owned() } else { text.replace(self.0.as_str(), "[secret]") }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// How an object store knows who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys {
    /// The access key. ClickHouse shows it in system.backups; we show it nowhere.
    pub access: Secret,
    /// The secret key.
    pub secret: Secret,
}

impl Keys {
    /// `text` without either key.
    pub fn redact(&self, text: &str) -> String {
        self.access.redact(&self.secret.redact(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_not_seen() {
        let keys = Keys { access: Secret::new("AK".into()), secret: Secret::new("canary".into()) };
        assert_eq!(format!("{keys:?}"), "Keys { access: [secret], secret: [secret] }");
        assert_eq!(keys.redact("AK:canary refused"), "[secret]:[secret] refused");
        assert_eq!(Secret::new(String::new()).redact("ab"), "ab");
    }
}
