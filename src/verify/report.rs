//! What a verification tells: numbers, the newest delta of each datamart, findings. Plain data; the
//! forms in which it is printed are the command's.

use std::collections::{BTreeMap, BTreeSet};

use super::Verifier;
use super::finding::{Findings, Level};
use super::history::OfDatamart;
use super::increment::{Increment, Writer};
use crate::model::{Datamart, DeltaDate, DeltaNum};

/// Damage that cannot be seen in increments of another tool, because nothing of it is written down
/// in them.
pub const UNSEEN: &[&str] = &[
    "changed bytes of rows, changelog records and keys",
    "rows cut off at the end of a message",
    "messages put into another order",
    "a table of which every message is lost",
    "messages of another delta under a changed key",
    "columns that are not those of the changelog",
];

/// What was read and found.
#[derive(Clone, Debug)]
pub struct Report {
    /// Partitions of the topic.
    pub partitions: usize,
    /// Messages read, of all datamarts.
    pub messages: u64,
    /// Their bytes, keys and bodies.
    pub bytes: u64,
    /// Messages of datamarts that were not asked for.
    pub passed_over: u64,
    /// By datamart.
    pub datamarts: Vec<DatamartReport>,
    /// What was found.
    pub findings: Findings,
}

/// What was read of a datamart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatamartReport {
    /// Its name.
    pub datamart: Datamart,
    /// The deltas that have a whole increment, with the dates when they were closed.
    pub whole: BTreeMap<DeltaNum, DeltaDate>,
    /// Deltas of which something is there, and no increment is whole.
    pub broken: Vec<DeltaNum>,
    /// Increments, those left behind too.
    pub increments: u64,
    /// Increments that another tool wrote: what is not seen in them is [`UNSEEN`].
    pub of_other_tools: u64,
    /// Messages.
    pub messages: u64,
    /// Their bytes, keys and bodies.
    pub bytes: u64,
    /// Rows in whole increments.
    pub rows: u64,
}

impl Report {
    /// True where everything that the topic promises is there.
    pub fn is_good(&self) -> bool {
        self.findings.count(Level::Damage) + self.findings.count(Level::Gap) == 0
    }
}

impl DatamartReport {
    /// The newest delta with a whole increment. That later messages were all lost only a node can
    /// tell.
    pub fn newest(&self) -> Option<(DeltaNum, DeltaDate)> {
        self.whole.last_key_value().map(|(delta, date)| (*delta, *date))
    }
}

impl Verifier {
    pub(super) fn report(self, partitions: usize) -> Report {
        let mut rows = vec![0u64; self.increments.len()];
        for stream in self.streams.iter().filter(|stream| stream.table.is_some()) {
            rows[stream.increment] = rows[stream.increment].saturating_add(stream.records);
        }
        let names: BTreeSet<&Datamart> = self.increments.iter().map(|i| &i.datamart).collect();
        let datamarts = names.into_iter().map(|name| self.datamart(name, &rows)).collect();
        Report {
            partitions,
            messages: self.totals.messages,
            bytes: self.totals.bytes,
            passed_over: self.totals.of_others,
            datamarts,
            findings: self.findings,
        }
    }

    fn datamart(&self, name: &Datamart, rows: &[u64]) -> DatamartReport {
        let of = OfDatamart::new(&self.increments, name);
        let all: Vec<&Increment> = of.increments().collect();
        let whole: BTreeMap<_, _> =
            all.iter().filter(|i| i.is_whole).map(|i| (i.delta, i.date)).collect();
        let mut broken: Vec<_> = all.iter().map(|increment| increment.delta).collect();
        broken.dedup();
        broken.retain(|delta| !whole.contains_key(delta));
        let rows = self.increments.iter().zip(rows);
        let rows = rows.filter(|(increment, _)| increment.is_whole && increment.datamart == *name);
        DatamartReport {
            datamart: name.clone(),
            whole,
            broken,
            increments: all.len() as u64,
            of_other_tools: all.iter().filter(|i| i.writer == Writer::Other).count() as u64,
            messages: all.iter().map(|i| i.messages).sum(),
            bytes: all.iter().map(|i| i.bytes).sum(),
            rows: rows.map(|(_, rows)| *rows).sum(),
        }
    }
}
