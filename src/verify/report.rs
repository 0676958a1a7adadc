//! What a verification tells: numbers, the newest delta of each datamart, findings. Plain data; the
//! forms in which it is printed are the command's.

use std::collections::{BTreeMap, BTreeSet};

use super::Verifier;
use super::finding::{Findings, Level};
use super::history::OfDatamart;
use super::increment::{Increment, Writer};
use super::sums::PairSum;
use crate::format::TableManifest;
use crate::model::{Datamart, DeltaDate, DeltaNum, IncrementId, TableName};

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
    /// Sums of the rows of whole increments, where they were asked for, in order of the deltas.
    pub sums: Vec<IncrementSums>,
    /// What a node's sums came to, where one was asked.
    pub against: Option<NodeSums>,
}

/// Sums of the rows of a whole increment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IncrementSums {
    /// The datamart.
    pub datamart: Datamart,
    /// The delta.
    pub delta: DeltaNum,
    /// When it was closed.
    pub date: DeltaDate,
    /// The increment.
    pub increment: IncrementId,
    /// By table.
    pub tables: BTreeMap<TableName, PairSum>,
    /// What its manifest says of the tables.
    pub promised: BTreeMap<TableName, TableManifest>,
}

/// What the comparison with a node came to, in (delta, table) pairs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeSums {
    /// The newest delta of the node.
    pub newest: Option<DeltaNum>,
    /// Pairs with the same sum.
    pub equal: u64,
    /// Pairs with another one.
    pub different: u64,
    /// Pairs of which nobody can say.
    pub undecided: u64,
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
    pub(super) fn report(mut self, partitions: usize) -> Report {
        let sums = self.take_sums();
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
            sums,
            against: None,
        }
    }

    fn take_sums(&mut self) -> Vec<IncrementSums> {
        let whole = self.increments.iter_mut().filter(|increment| increment.is_whole);
        let mut sums: Vec<_> = whole.map(Increment::take_sums).collect();
        sums.sort_by(|a, b| (&a.datamart, a.delta).cmp(&(&b.datamart, b.delta)));
        if self.asked.sums { sums } else { Vec::new() }
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
            rows: rows.map(|(_, rows)| *rows).fold(0, u64::saturating_add),
        }
    }
}

impl Increment {
    fn take_sums(&mut self) -> IncrementSums {
        let tallies = std::mem::take(&mut self.tallies).into_iter();
        let promised = self.manifest.iter().flat_map(|manifest| &manifest.tables);
        IncrementSums {
            datamart: self.datamart.clone(),
            delta: self.delta,
            date: self.date,
            increment: self.id.clone(),
            tables: tallies.map(|(table, tally)| (table, tally.finish())).collect(),
            promised: promised.map(|table| (table.name.clone(), table.clone())).collect(),
        }
    }
}
