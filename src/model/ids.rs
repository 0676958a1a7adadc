//! Names and numbers of the trade as types of their own, so that a chunk is never taken for a
//! delta. Never parses files or talks to anybody.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// Gives a number with a meaning its own type.
macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number! {
    /// Number of a delta, from 0 without gaps (PROSTORE.md section 3).
    DeltaNum(u64)
}
number! {
    /// When a delta was closed: microseconds since 1970-01-01 UTC, as the node gives them.
    DeltaDate(i64)
}
number! {
    /// A time of day here: microseconds since 1970-01-01 UTC, by this host's clock.
    Moment(i64)
}
number! {
    /// Number of a stream inside one (delta, table), from 1 (seed, "streamNumber").
    StreamNumber(u32)
}
number! {
    /// Number of a message inside its stream, from 1 (seed, "chunkNumber").
    ChunkNumber(u64)
}
number! {
    /// Partition of a topic, from 0.
    Partition(i32)
}
number! {
    /// Offset of a message inside a partition, from 0.
    Offset(i64)
}

/// Name of a datamart (logical database), always lower case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Datamart(String);

/// Why a text is no name of a datamart.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a datamart name: a letter, then letters, digits and underscores")]
pub struct DatamartError {
    /// What was given.
    pub text: String,
}

impl Datamart {
    /// Lower-cases and checks a name: `[a-zA-Z][a-zA-Z0-9_]*` (PROSTORE.md section 2).
    ///
    /// # Errors
    /// [`DatamartError`] for any other text.
    pub fn parse(text: &str) -> Result<Self, DatamartError> {
        let mut letters = text.chars();
        let starts_well = letters.next().is_some_and(|c| c.is_ascii_alphabetic());
        if starts_well && letters.all(|c| c.is_ascii_alphanumeric() || c == '_') {
            Ok(Self(text.to_ascii_lowercase()))
        } else {
            Err(DatamartError { text: text.to_owned() })
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Datamart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Name of a logical table, lower case, without its datamart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TableName(pub String);

impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Name of a datasource of the node, lower case (`adp`, `adqm`, ...).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Datasource(pub String);

impl fmt::Display for Datasource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Identity of a run: one execution of a command over any number of resumes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RunId(pub Uuid);

impl RunId {
    /// The 32 hex digits without dashes, as the owner marker carries them.
    pub fn hex(self) -> String {
        self.0.simple().to_string()
    }

    /// The first 8 hex digits: the prefix of everything this run makes on the node and brokers.
    pub fn short(self) -> String {
        self.hex().chars().take(8).collect()
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.hyphenated().fmt(f)
    }
}

/// Identity of an increment: lower-case UUID text (DESIGN D6).
///
/// It follows from the run and from how often the delta was written again, so a journal that lost
/// its tail still recognises its own increments in the topic (D4.11, D5 "adopt by source").
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct IncrementId(pub String);

impl IncrementId {
    /// The increment of `delta` in `run` at its `issue`: 0 is the run's own id (seed: "unique for
    /// each run of the command"), later ones are made from run, delta and issue.
    pub fn of(run: RunId, delta: DeltaNum, issue: u32) -> Self {
        if issue == 0 {
            return Self(run.0.hyphenated().to_string());
        }
        let hash = Sha256::new()
            .chain_update(run.0.as_bytes())
            .chain_update(delta.0.to_be_bytes())
            .chain_update(issue.to_be_bytes())
            .finalize();
        let mut bytes = [0u8; 16];
        bytes.copy_from_slice(&hash[..16]);
        Self(uuid::Builder::from_custom_bytes(bytes).into_uuid().hyphenated().to_string())
    }
}

impl fmt::Display for IncrementId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Name of one unload attempt: of its staging topic and of its external table alike. Never used
/// twice, because connectors go on writing to a topic they were told of (recordings 10 and 21).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AttemptName(pub String);

impl AttemptName {
    /// The prefix of all attempt names of a run.
    pub fn prefix(run: RunId) -> String {
        format!("deltakeep_{}_", run.short())
    }

    /// `deltakeep_<run>_<delta>_<table number>_<attempt>_<nonce>`; the nonce keeps a journal that
    /// lost its tail from meeting a topic it has forgotten.
    pub fn new(run: RunId, delta: DeltaNum, table: usize, attempt: u32, nonce: u32) -> Self {
        let prefix = Self::prefix(run);
        Self(format!("{prefix}{delta}_{table}_{attempt}_{nonce:08x}"))
    }

    /// Takes exactly what [`AttemptName::new`] makes; none for any other text, so that nobody
    /// else's topic is ever taken for an attempt.
    pub fn parse(text: &str) -> Option<Self> {
        let hex = |part: &str| {
            part.len() == 8 && part.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f'))
        };
        let number = |part: &str| part.parse::<u64>().is_ok_and(|n| n.to_string() == part);
        let parts: Vec<&str> = text.split('_').collect();
        match parts[..] {
            ["deltakeep", run, delta, table, attempt, nonce]
                if hex(run) && hex(nonce) && [delta, table, attempt].into_iter().all(number) =>
            {
                Some(Self(text.to_owned()))
            }
            _ => None,
        }
    }
}

impl fmt::Display for AttemptName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One unload of one (delta, table) from one datasource into one staging topic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// Name of the staging topic and of the external table.
    pub name: AttemptName,
    /// The delta to unload.
    pub delta: DeltaNum,
    /// The table to unload.
    pub table: TableName,
    /// The datasource both halves come from; none lets the node choose.
    pub datasource: Option<Datasource>,
    /// Partitions of the staging topic, the upper bound of its streams.
    pub partitions: u32,
    /// Rows per message asked of the node.
    pub chunk_size: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run() -> RunId {
        RunId(Uuid::from_u128(0x1234_5678_9abc_def0_1122_3344_5566_7788))
    }

    #[test]
    fn datamart_names_are_lower_cased_and_checked() {
        assert_eq!(Datamart::parse("Marketing").map(|d| d.to_string()), Ok("marketing".into()));
        for bad in ["", "1a", "a-b", "a.b", "a'b", "имя", "_a"] {
            assert!(Datamart::parse(bad).is_err(), "{bad:?} was taken");
        }
    }

    #[test]
    fn the_first_issue_is_the_run_and_later_ones_differ_by_delta_and_issue() {
        let first = IncrementId::of(run(), DeltaNum(3), 0);
        assert_eq!(first.0, "12345678-9abc-def0-1122-334455667788");
        assert_eq!(first, IncrementId::of(run(), DeltaNum(4), 0));
        let second = IncrementId::of(run(), DeltaNum(3), 1);
        assert_eq!(second, IncrementId::of(run(), DeltaNum(3), 1));
        assert_ne!(second, IncrementId::of(run(), DeltaNum(4), 1));
        assert_ne!(second, IncrementId::of(run(), DeltaNum(3), 2));
        assert!(Uuid::parse_str(&second.0).is_ok());
    }

    #[test]
    fn attempt_names_carry_their_run() {
        let name = AttemptName::new(run(), DeltaNum(2), 5, 1, 0xab);
        assert_eq!(name.0, "deltakeep_12345678_2_5_1_000000ab");
        assert!(name.0.starts_with(&AttemptName::prefix(run())));
        assert_eq!(AttemptName::parse(&name.0), Some(name.clone()));
    }

    #[test]
    fn nothing_but_an_attempt_is_taken_for_one() {
        let others = [
            "",
            "deltakeep_owner",
            "deltakeep_backup",
            "deltakeep_12345678_2_5_1",
            "deltakeep_12345678_2_5_1_000000ab_old",
            "deltakeep_12345678_2_5_01_000000ab",
            "deltakeep_12345678_2_5_-1_000000ab",
            "deltakeep_12345678_2_5_1_000000AB",
            "deltakeep_1234567_2_5_1_000000ab",
            "my_deltakeep_12345678_2_5_1_000000ab",
        ];
        for other in others {
            assert_eq!(AttemptName::parse(other), None, "{other}");
        }
    }
}
