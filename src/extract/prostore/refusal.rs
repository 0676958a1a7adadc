//! What a node's error text means. A node has no error codes: the texts of PROSTORE.md are all
//! there is. Owns the texts; never asks anything.

/// Meanings that somebody acts on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// A lock is there in any form, also a running or unfinished DDL.
    ChangesBlocked,
    /// The lock has another code.
    WrongCode,
    /// There is no lock. ALLOW_CHANGES says so of a missing datamart too.
    NotBlocked,
    /// No closed delta of this number.
    NoDelta,
    /// The datamart does not exist.
    NoDatamart,
    /// An entity of this name is there already.
    Exists,
    /// No entity of this name.
    Missing,
    /// An unload was begun, and its connector or the way to it failed.
    Unload,
    /// A ROLLBACK failed; the text hides why, and is also said where no delta is open.
    Rollback,
    /// Anything else.
    Other,
}

impl Refusal {
    /// Reads a text.
    pub fn of(message: &str) -> Self {
        let starts = |prefix| message.starts_with(prefix);
        let ends = |suffix| message.ends_with(suffix);
        if starts("Changes are blocked by another process within") {
            Self::ChangesBlocked
        } else if message == "Wrong code" {
            Self::WrongCode
        } else if starts("Changes are not blocked now within") {
            Self::NotBlocked
        } else if message == "Delta not exist" {
            Self::NoDelta
        } else if starts("Database ") && ends(" does not exist")
            || starts("Delta not found: KeeperErrorCode = NoNode")
        {
            Self::NoDatamart
        } else if starts("Entity ") && ends(" already exists") {
            Self::Exists
        } else if starts("Entity ") && ends(" does not exist") {
            Self::Missing
        } else if starts("Error executing mppr into table") {
            Self::Unload
        } else if starts("Can't rollback delta by datamart") {
            Self::Rollback
        } else {
            Self::Other
        }
    }
}

/// True where the text of a failed unload says that a message was too large: the connector's client
/// of Kafka names its own setting (recording 19), the brokers theirs.
pub fn names_the_size(message: &str) -> bool {
    ["max.request.size", "max.message.bytes", "RecordTooLarge"]
        .iter()
        .any(|name| message.contains(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_texts_that_name_the_size_are_about_it() {
        assert!(names_the_size(
            "The message is 4081825 bytes when serialized which is larger than \
            1048576, which is the value of the max.request.size configuration."
        ));
        assert!(!names_the_size("Request[POST] to [http://127.0.0.1:18094/query] failed"));
        assert!(!names_the_size("null"));
    }

    #[test]
    fn the_recorded_texts_are_told_apart() {
        let texts = [
            ("Changes are blocked by another process within big", Refusal::ChangesBlocked),
            ("Wrong code", Refusal::WrongCode),
            ("Changes are not blocked now within nodb", Refusal::NotBlocked),
            ("Delta not exist", Refusal::NoDelta),
            ("Database nodb does not exist", Refusal::NoDatamart),
            ("Delta not found: KeeperErrorCode = NoNode for /test/nodb/delta", Refusal::NoDatamart),
            ("Entity big.bx already exists", Refusal::Exists),
            ("Entity big.v does not exist", Refusal::Missing),
            ("Error executing mppr into table [x] for dml query [SELECT 1]: null", Refusal::Unload),
            ("Can't rollback delta by datamart [sourcedb]", Refusal::Rollback),
            ("Delta not found", Refusal::Other),
            ("Error parsing query", Refusal::Other),
            ("", Refusal::Other),
        ];
        for (text, meaning) in texts {
            assert_eq!(Refusal::of(text), meaning, "{text}");
        }
    }
}
