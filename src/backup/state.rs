//! What a journal says of its run: facts folded into a state. Pure, and the only place that knows
//! which fact may follow which.

use std::collections::{BTreeMap, BTreeSet};

use crate::journal::{Fact, Progress, Saved, Shape, StreamKey};
use crate::model::{
    Attempt, AttemptName, Delta, DeltaNum, LockCode, Offset, Owner, StreamNumber, Table, TableName,
};

/// The run as it was started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Started {
    /// Who it is.
    pub owner: Owner,
    /// The datamart.
    pub datamart: String,
    /// The backup topic.
    pub topic: String,
    /// The lock's code word.
    pub code: LockCode,
    /// What shapes the content.
    pub shape: Shape,
}

/// How far the lock is ours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LockState {
    /// Not ours: never taken, or given back.
    #[default]
    Free,
    /// Ours.
    Held,
}

/// What was fixed under the lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// Deltas to export, in order.
    pub deltas: Vec<Delta>,
    /// Tables as they stood.
    pub tables: Vec<Table>,
    /// Number of changelog records.
    pub changes: usize,
    /// Their hash.
    pub hash: [u8; 32],
    /// The datamart's newest closed delta.
    pub newest: DeltaNum,
    /// The node's version.
    pub node: String,
    /// Partitions of the backup topic.
    pub partitions: u32,
}

/// Where an attempt stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Opened; its unload has not answered.
    Open,
    /// Sealed and in use.
    Sealed,
    /// Given up; its topic and table may still be there.
    Dropped {
        /// Whether its unload had answered.
        answered: bool,
    },
    /// Nothing of it is left.
    Gone,
    /// Its topic grows on; named in the summary.
    Quarantined,
}

/// One attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttemptState {
    /// What it unloads.
    pub attempt: Attempt,
    /// The issue it serves.
    pub issue: u32,
    /// By staging partition: number of messages; empty until sealed.
    pub ends: Vec<u64>,
    /// Where it stands.
    pub fate: Fate,
}

impl AttemptState {
    /// The staging partitions that hold messages: stream i is the i-th of them (D4.7).
    pub fn streams(&self) -> Vec<(StreamNumber, u32, u64)> {
        let filled = self.ends.iter().enumerate().filter(|(_, end)| **end > 0);
        filled
            .zip(1..)
            .map(|((partition, end), stream)| (StreamNumber(stream), partition as u32, *end))
            .collect()
    }
}

/// A (delta, issue, table).
pub type PairKey = (DeltaNum, u32, TableName);

/// Sums of a finished pair: CHECK_SUM, CHECK_SUM_SNAPSHOT.
pub type PairSums = (Option<String>, Option<String>);

/// Everything known of the run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// Set by the first fact.
    pub started: Option<Started>,
    /// How far the lock is ours.
    pub lock: LockState,
    /// Set once the plan is fixed.
    pub planned: Option<Planned>,
    /// Issue of each delta begun.
    pub issues: BTreeMap<DeltaNum, u32>,
    /// Deltas complete, with the issue that completed them.
    pub done: BTreeMap<DeltaNum, u32>,
    /// Attempts by name.
    pub attempts: BTreeMap<AttemptName, AttemptState>,
    /// Pairs without changes.
    pub empty: BTreeSet<PairKey>,
    /// Pairs delivered whole.
    pub pairs: BTreeMap<PairKey, PairSums>,
    /// Progress by stream.
    pub progress: BTreeMap<StreamKey, Progress>,
    /// By partition of the backup topic: from where it must be read on a resume.
    pub horizon: Vec<Offset>,
    /// Rows per message of the deltas whose messages did not fit.
    pub chunk_sizes: BTreeMap<DeltaNum, u32>,
    /// Everything asked is delivered.
    pub finished: bool,
    tables: Vec<Table>,
    deltas: Vec<Delta>,
}

impl State {
    /// Folds what a journal holds.
    pub fn of(saved: Saved) -> Self {
        let mut state =
            Self { progress: saved.progress, horizon: saved.horizon, ..Self::default() };
        saved.facts.into_iter().for_each(|fact| state.apply(fact));
        state
    }

    /// Takes one fact in.
    pub fn apply(&mut self, fact: Fact) {
        match fact {
            Fact::Started { owner, datamart, topic, code, shape } => {
                self.started = Some(Started { owner, datamart, topic, code, shape });
            }
            Fact::Locked => self.lock = LockState::Held,
            Fact::Released => self.lock = LockState::Free,
            Fact::TablePlanned(table) => self.tables.push(table),
            Fact::DeltaPlanned(delta) => self.deltas.push(delta),
            Fact::Planned { changes, hash, newest, node, partitions } => {
                let tables = std::mem::take(&mut self.tables);
                let deltas = std::mem::take(&mut self.deltas);
                let changes = changes as usize;
                self.planned =
                    Some(Planned { deltas, tables, changes, hash, newest, node, partitions });
            }
            Fact::DeltaBegun { delta, issue } => {
                self.issues.insert(delta, issue);
            }
            Fact::EmptyPair { delta, issue, table } => {
                self.empty.insert((delta, issue, table));
            }
            Fact::TableDone { delta, issue, table, sums } => {
                self.pairs.insert((delta, issue, table), sums);
            }
            Fact::DeltaDone { delta, issue } => self.finish_delta(delta, issue),
            Fact::Finished => self.finished = true,
            Fact::ChunksShrunk { delta, rows } => {
                self.chunk_sizes.insert(delta, rows);
            }
            Fact::GapsAsked => {
                self.started.iter_mut().for_each(|started| started.shape.fill_gaps = true);
            }
            of_attempt => self.apply_attempt(of_attempt),
        }
    }

    fn apply_attempt(&mut self, fact: Fact) {
        let (name, fate) = match fact {
            Fact::AttemptOpened { attempt, issue } => {
                let name = attempt.name.clone();
                let opened = AttemptState { attempt, issue, ends: vec![], fate: Fate::Open };
                self.attempts.insert(name, opened);
                return;
            }
            Fact::Sealed { name, ends } => {
                if let Some(attempt) = self.attempts.get_mut(&name) {
                    attempt.ends = ends;
                    attempt.fate = Fate::Sealed;
                }
                return;
            }
            Fact::AttemptDropped { name, answered } => (name, Fate::Dropped { answered }),
            Fact::AttemptGone { name } => (name, Fate::Gone),
            Fact::AttemptQuarantined { name } => (name, Fate::Quarantined),
            _ => return,
        };
        if let Some(attempt) = self.attempts.get_mut(&name) {
            attempt.fate = fate;
        }
    }

    /// What a finished delta needed is forgotten, so that memory does not grow with the history.
    fn finish_delta(&mut self, delta: DeltaNum, issue: u32) {
        self.done.insert(delta, issue);
        self.progress.retain(|key, _| key.delta != delta);
        self.pairs.retain(|(d, _, _), _| *d != delta);
        self.empty.retain(|(d, _, _)| *d != delta);
        self.attempts.retain(|_, a| a.attempt.delta != delta || a.fate != Fate::Gone);
    }

    /// The issue of a delta: 0 until it was begun again.
    pub fn issue(&self, delta: DeltaNum) -> u32 {
        self.issues.get(&delta).copied().unwrap_or(0)
    }

    /// The attempt that serves a pair: the newest that was not given up.
    pub fn attempt_of(&self, pair: &PairKey) -> Option<&AttemptState> {
        let (delta, issue, table) = pair;
        self.attempts.values().find(|a| {
            a.attempt.delta == *delta
                && a.issue == *issue
                && a.attempt.table == *table
                && matches!(a.fate, Fate::Open | Fate::Sealed)
        })
    }

    /// How many attempts a pair has had in this issue.
    pub fn attempts_made(&self, pair: &PairKey) -> u32 {
        let (delta, issue, table) = pair;
        let same = |a: &&AttemptState| {
            a.attempt.delta == *delta && a.issue == *issue && a.attempt.table == *table
        };
        self.attempts.values().filter(same).count() as u32
    }

    /// Attempts whose topic or table may still exist.
    pub fn leftovers(&self) -> Vec<(AttemptName, bool)> {
        let left = |a: &AttemptState| match a.fate {
            Fate::Open => Some((a.attempt.name.clone(), false)),
            Fate::Sealed => Some((a.attempt.name.clone(), true)),
            Fate::Dropped { answered } => Some((a.attempt.name.clone(), answered)),
            Fate::Quarantined => Some((a.attempt.name.clone(), false)),
            Fate::Gone => None,
        };
        self.attempts.values().filter_map(left).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(name: &str, issue: u32) -> Fact {
        let attempt = Attempt {
            name: AttemptName(name.into()),
            delta: DeltaNum(1),
            table: TableName("t".into()),
            datasource: None,
            partitions: 3,
            chunk_size: 10,
        };
        Fact::AttemptOpened { attempt, issue }
    }

    fn pair(issue: u32) -> PairKey {
        (DeltaNum(1), issue, TableName("t".into()))
    }

    #[test]
    fn streams_are_the_partitions_that_hold_messages() {
        let mut state = State::default();
        state.apply(opened("a", 0));
        state.apply(Fact::Sealed { name: AttemptName("a".into()), ends: vec![0, 4, 7] });
        let attempt = state.attempt_of(&pair(0)).expect("it is sealed");
        assert_eq!(attempt.streams(), [(StreamNumber(1), 1, 4), (StreamNumber(2), 2, 7)]);
    }

    #[test]
    fn an_attempt_given_up_serves_nobody_and_counts() {
        let mut state = State::default();
        state.apply(opened("a", 0));
        state.apply(Fact::AttemptDropped { name: AttemptName("a".into()), answered: false });
        assert_eq!(state.attempt_of(&pair(0)), None);
        assert_eq!(state.attempts_made(&pair(0)), 1);
        assert_eq!(state.attempts_made(&pair(1)), 0);
        assert_eq!(state.leftovers(), [(AttemptName("a".into()), false)]);
        state.apply(Fact::AttemptGone { name: AttemptName("a".into()) });
        assert_eq!(state.leftovers(), []);
    }
}
