//! What a verification can find. Owns the kinds, how bad each is, and the bounded list of them;
//! looks for nothing itself.

use std::collections::BTreeMap;
use std::fmt;

use crate::catalog::Seen;
use crate::model::{
    ChunkNumber, Datamart, DeltaNum, IncrementId, MessageKey, Offset, Partition, StreamNumber,
    TableName,
};

/// Findings of one kind that are kept with their places; further ones are counted.
const KEPT: usize = 200;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Bytes or messages are not what was written.
    Damage,
    /// A delta is not there, or no increment of it is whole.
    Gap,
    /// Worth knowing, and a restore is not affected.
    Warning,
    /// What could not be looked at, and what is harmless.
    Note,
}

impl Level {
    /// The word for people and for JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Damage => "damage",
            Self::Gap => "gap",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

/// What can be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A message that is none of a backup, or none of the tool that wrote its increment.
    Foreign,
    /// A key whose bytes are not those that its content makes.
    Key,
    /// A body whose check sum is not that of its key and bytes.
    CheckSum,
    /// A body that cannot be read, or is not built as bodies are.
    Body,
    /// Messages that do not lie in the order in which they were written.
    Order,
    /// Chunks, streams, tables or a changelog that are not there.
    Lost,
    /// More than the increment was written with.
    Extra,
    /// Numbers that contradict one another or the manifest.
    Differs,
    /// Rows that are not those of the table that the changelog creates.
    Schema,
    /// Increments that do not belong to one history.
    History,
    /// A second message for the same place with other bytes.
    Conflict,
    /// Rows whose CHECK_SUM is not the node's.
    Sums,
    /// A delta without any whole increment.
    Missing,
    /// A second message for the same place with the same bytes.
    Copy,
    /// The log of a partition does not begin with its first message any more.
    LogStart,
    /// Deltas that only the node has, or only the topic.
    Apart,
    /// What a stopped run left behind; the delta is whole under another increment.
    Leftover,
    /// Something that could not be checked.
    Unchecked,
}

impl Kind {
    /// How bad it is.
    pub fn level(self) -> Level {
        match self {
            Self::Foreign
            | Self::Key
            | Self::CheckSum
            | Self::Body
            | Self::Order
            | Self::Lost
            | Self::Extra
            | Self::Differs
            | Self::Schema
            | Self::History
            | Self::Conflict
            | Self::Sums => Level::Damage,
            Self::Missing => Level::Gap,
            Self::Copy | Self::LogStart | Self::Apart => Level::Warning,
            Self::Leftover | Self::Unchecked => Level::Note,
        }
    }

    /// The word for JSON, part of what scripts may rely on.
    pub fn name(self) -> &'static str {
        match self {
            Self::Foreign => "foreign",
            Self::Key => "key",
            Self::CheckSum => "checkSum",
            Self::Body => "body",
            Self::Order => "order",
            Self::Lost => "lost",
            Self::Extra => "extra",
            Self::Differs => "differs",
            Self::Schema => "schema",
            Self::History => "history",
            Self::Conflict => "conflict",
            Self::Sums => "sums",
            Self::Missing => "missing",
            Self::Copy => "copy",
            Self::LogStart => "logStart",
            Self::Apart => "apart",
            Self::Leftover => "leftover",
            Self::Unchecked => "unchecked",
        }
    }
}

/// Where something was found, as far as it has a place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Partition of the topic.
    pub partition: Option<Partition>,
    /// Offset in it.
    pub offset: Option<Offset>,
    /// The datamart.
    pub datamart: Option<Datamart>,
    /// The delta.
    pub delta: Option<DeltaNum>,
    /// The increment.
    pub increment: Option<IncrementId>,
    /// The table; none for the changelog and for what concerns all tables.
    pub table: Option<TableName>,
    /// The stream.
    pub stream: Option<StreamNumber>,
    /// The chunk.
    pub chunk: Option<ChunkNumber>,
}

impl Place {
    /// Where a message lies.
    pub fn of(seen: &Seen<'_>) -> Self {
        Self { partition: Some(seen.partition), offset: Some(seen.offset), ..Self::default() }
    }

    /// With what the message's key says.
    pub fn with(mut self, key: &MessageKey) -> Self {
        self.datamart = Some(key.datamart.clone());
        self.delta = Some(key.delta);
        self.increment = Some(key.increment.clone());
        self.table.clone_from(&key.table);
        self.stream = Some(key.stream);
        self.chunk = Some(key.chunk);
        self
    }

    /// With a table.
    pub fn at_table(mut self, table: Option<&TableName>) -> Self {
        self.table = table.cloned();
        self
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        let mut part = |name: &str, value: Option<String>| {
            parts.extend(value.map(|value| format!("{name} {value}")));
        };
        part("partition", self.partition.map(|p| p.to_string()));
        part("offset", self.offset.map(|o| o.to_string()));
        part("datamart", self.datamart.as_ref().map(ToString::to_string));
        part("delta", self.delta.map(|d| d.to_string()));
        part("table", self.table.as_ref().map(ToString::to_string));
        part("stream", self.stream.map(|s| s.to_string()));
        part("chunk", self.chunk.map(|c| c.to_string()));
        part("increment", self.increment.as_ref().map(ToString::to_string));
        if self.stream.is_some() && self.table.is_none() {
            parts.push("of the changelog".to_owned());
        }
        f.write_str(&parts.join(", "))
    }
}

/// Something found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What.
    pub kind: Kind,
    /// Where.
    pub place: Place,
    /// In words.
    pub text: String,
}

/// The findings: the first of each kind with their places, and how many there are.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    kept: BTreeMap<Kind, Vec<Finding>>,
    counts: BTreeMap<Kind, u64>,
}

impl Findings {
    /// Takes one in.
    pub fn add(&mut self, kind: Kind, place: Place, text: impl Into<String>) {
        *self.counts.entry(kind).or_default() += 1;
        let kept = self.kept.entry(kind).or_default();
        if kept.len() < KEPT {
            kept.push(Finding { kind, place, text: text.into() });
        }
    }

    /// Those that are kept, the worst first.
    pub fn list(&self) -> impl Iterator<Item = &Finding> {
        let mut kinds: Vec<_> = self.kept.keys().copied().collect();
        kinds.sort_by_key(|kind| kind.level());
        kinds.into_iter().flat_map(|kind| self.kept.get(&kind).into_iter().flatten())
    }

    /// How many there are of each kind.
    pub fn counts(&self) -> &BTreeMap<Kind, u64> {
        &self.counts
    }

    /// How many there are that bad.
    pub fn count(&self, level: Level) -> u64 {
        self.counts.iter().filter(|(kind, _)| kind.level() == level).map(|(_, count)| count).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_of_one_kind_hide_none_of_another_and_the_worst_come_first() {
        let mut findings = Findings::default();
        (0..1000).for_each(|_| findings.add(Kind::Copy, Place::default(), "a copy"));
        findings.add(Kind::Lost, Place::default(), "lost");
        let kinds: Vec<_> = findings.list().map(|finding| finding.kind).collect();
        assert_eq!((kinds.len(), kinds[0]), (KEPT + 1, Kind::Lost));
        assert_eq!(findings.count(Level::Warning), 1000);
        assert_eq!(findings.count(Level::Damage), 1);
    }
}
