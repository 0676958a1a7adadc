//! The world in memory: what outlives a run that is killed. Owns the shared state and its chance.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::backup::World;
use crate::extract::{Count, Half};
use crate::model::{ChangeLog, Delta, DeltaNum, Owner, Part, Table, TableName};

use super::fuse::Fuse;
use super::journal::MemoryJournal;
use super::rows::TestRow;
use super::topic::{Stored, Transaction};
use super::unload::Staging;

/// How often things go wrong, in percent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults {
    /// An answer of the node is lost although the work was done.
    pub lost_answers: u64,
    /// An unload fails, or claims to be complete and is not.
    pub bad_unloads: u64,
    /// An unload is answered although its connector wrote nothing.
    pub silent_unloads: u64,
    /// A transaction of a dead process is committed although nobody waits for it.
    pub late_commits: u64,
    /// Delivery is interrupted.
    pub interrupted: u64,
    /// A sealed staging topic is lost between two executions.
    pub lost_staging: u64,
    /// A count of keys is refused.
    pub refused_counts: u64,
    /// The statement of a part is refused.
    pub refused_parts: u64,
    /// Clearing an attempt away fails before it has done anything.
    pub failed_discards: u64,
    /// A part holds rows that were replaced later, as of a datasource that reads without merging.
    pub unmerged_parts: u64,
    /// Not a percentage: milliseconds that clearing an attempt away takes.
    pub slow_discards: u64,
    /// Not a percentage: most rows that a message of a connector may hold; 0 for any.
    pub connector_rows: u64,
    /// Not a percentage: most bytes that a data body of the backup topic may hold; 0 for any.
    pub topic_bytes: u64,
}

/// What the worlds share.
#[derive(Default)]
pub struct Inner {
    /// Closed deltas.
    pub deltas: Vec<Delta>,
    /// The changelog.
    pub changes: ChangeLog,
    /// Tables.
    pub tables: Vec<Table>,
    /// Views.
    pub views: Vec<String>,
    /// Rows by delta, table and half.
    pub rows: BTreeMap<(DeltaNum, TableName), Vec<TestRow>>,
    /// CHECK_SUM and CHECK_SUM_SNAPSHOT by delta and table; where none is given, CHECK_SUM is the
    /// number of rows.
    pub sums: BTreeMap<(DeltaNum, TableName), (String, String)>,
    /// Versions that a delta added or removed, each once: what CHECK_SUM adds up.
    pub changed: BTreeMap<(DeltaNum, TableName), Vec<TestRow>>,
    /// Rows that are there at the end of a delta, by delta and table.
    pub alive: BTreeMap<(DeltaNum, TableName), Vec<TestRow>>,
    /// Code word of the lock.
    pub lock: Option<String>,
    /// The marker.
    pub marker: Option<Owner>,
    /// Staging topics by name.
    pub staging: BTreeMap<String, Staging>,
    /// Download external tables.
    pub tables_made: BTreeSet<String>,
    /// The backup topic by partition; empty where it does not exist.
    pub topic: Vec<Vec<Stored>>,
    /// Open transactions by lane, with the epoch that may write to them.
    pub lanes: BTreeMap<(String, u32), Transaction>,
    /// Every call, in order.
    pub calls: Vec<String>,
    /// Messages of the backup topic that its readers were shown.
    pub shown: usize,
    /// How often things go wrong.
    pub faults: Faults,
    /// Answers of the node so far.
    pub answers: u64,
    /// Answers of the node that get lost after their effect, by number from 1.
    pub lose: BTreeSet<u64>,
    /// State of the chance.
    pub seed: u64,
    /// State of the chance that decides whose turn it is: whoever takes turns changes no world.
    pub turns: u64,
}

impl Inner {
    /// The next random number (xorshift64*): tests repeat by their seed.
    pub fn random(&mut self) -> u64 {
        next(&mut self.seed)
    }

    /// True in `percent` of all cases: others have their turn.
    pub fn lets_others(&mut self, percent: u64) -> bool {
        next(&mut self.turns) % 100 < percent
    }

    /// True in `percent` of all cases.
    pub fn chance(&mut self, percent: u64) -> bool {
        percent > 0 && self.random() % 100 < percent
    }

    /// Rows of one half.
    pub fn half(&self, delta: DeltaNum, table: &TableName, half: Half) -> Vec<TestRow> {
        let op = i32::from(half == Half::Removed);
        let rows = self.rows.get(&(delta, table.clone())).into_iter().flatten();
        rows.filter(|row| row.sys_op == op).cloned().collect()
    }

    fn is_alive(&self, delta: DeltaNum, table: &TableName, row: &TestRow) -> bool {
        let rows = self.alive.get(&(delta, table.clone())).into_iter().flatten();
        rows.into_iter().any(|alive| (alive.id, &alive.v) == (row.id, &row.v))
    }

    /// Rows of one part, as EXCEPT and INTERSECT give them: equal ones once.
    pub fn part(&self, delta: DeltaNum, table: &TableName, part: Part) -> Vec<TestRow> {
        if part == Part::Removed {
            return self.half(delta, table, Half::Removed);
        }
        let mut rows = self.half(delta, table, Half::Added);
        rows.retain(|row| self.is_alive(delta, table, row) == (part == Part::Alive));
        rows.sort();
        rows.dedup();
        rows
    }

    /// What the node counts.
    pub fn count(&self, delta: DeltaNum, table: &TableName, what: Count) -> u64 {
        let keys = |rows: &[TestRow]| rows.iter().map(|row| row.id).collect::<BTreeSet<_>>();
        let (added, removed) =
            (self.half(delta, table, Half::Added), self.half(delta, table, Half::Removed));
        let dead = keys(&self.part(delta, table, Part::Dead));
        let count = match what {
            Count::Started => added.len(),
            Count::Finished => removed.len(),
            Count::Keys => keys(&[added, removed].concat()).len(),
            Count::Alive => {
                let alive = self.alive.get(&(delta, table.clone()));
                keys(&added).intersection(&keys(alive.map_or(&[], Vec::as_slice))).count()
            }
            Count::Dead => dead.len(),
            Count::Replaced => {
                let before = delta.0.checked_sub(1).map(DeltaNum);
                let was = |row: &TestRow| before.is_some_and(|n| self.is_alive(n, table, row));
                let old: Vec<_> = removed.into_iter().filter(was).collect();
                keys(&old).intersection(&dead).count()
            }
        };
        count as u64
    }
}

fn next(state: &mut u64) -> u64 {
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
}

/// A handle to the world; clones share it.
#[derive(Clone, Default)]
pub struct Memory {
    inner: Arc<Mutex<Inner>>,
    fuse: Arc<Fuse>,
}

impl Memory {
    /// A world whose chance starts from `seed`.
    pub fn new(seed: u64) -> Self {
        let memory = Self::default();
        let seed = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        memory.lock().seed = seed;
        memory.lock().turns = seed;
        memory
    }

    /// Looks into it, or changes it.
    pub fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its fuse.
    pub fn fuse(&self) -> &Fuse {
        &self.fuse
    }

    /// One call from outside: counted by the fuse before and after its effect. Others have their
    /// turn meanwhile, by chance.
    pub(super) async fn call<R>(&self, name: &str, effect: impl FnOnce(&mut Inner) -> R) -> R {
        self.fuse.step().await;
        let wait = self.lock().lets_others(30);
        if wait {
            tokio::task::yield_now().await;
        }
        let result = {
            let mut inner = self.lock();
            inner.calls.push(name.to_owned());
            effect(&mut inner)
        };
        self.fuse.step().await;
        result
    }
}

/// The four outside worlds over one [`Memory`].
#[derive(Clone)]
pub struct MemoryWorld(pub Memory);

impl World for MemoryWorld {
    type Node = Memory;
    type Source = Memory;
    type Sink = Memory;
    type Topic = Memory;
    type Journal = MemoryJournal;

    fn node(&self) -> &Memory {
        &self.0
    }

    fn source(&self) -> &Memory {
        &self.0
    }

    fn sink(&self) -> &Memory {
        &self.0
    }

    fn topic(&self) -> &Memory {
        &self.0
    }
}
