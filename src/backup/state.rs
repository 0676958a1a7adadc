//! What a journal says of its run: facts folded into a state. Pure, and the only place that knows
//! which fact may follow which.

use std::collections::{BTreeMap, BTreeSet};

use crate::journal::{Fact, Progress, Saved, Shape, StreamKey};
use crate::model::{
    Attempt, AttemptName, Datasource, Delta, DeltaNum, KeyCounts, LockCode, Offset, Owner, Part,
    StreamNumber, Table, TableName,
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
    /// Views that the log does not create.
    pub older_views: Vec<String>,
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
    /// The part it unloads; none for both halves.
    pub part: Option<Part>,
    /// Rows of a sealed part.
    pub rows: u64,
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

/// What is known of the keys of a pair whose delta has several write operations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys {
    /// Where they were counted and every unload of the pair is made.
    pub datasource: Option<Datasource>,
    /// What was counted; none where the node refused to.
    pub counts: Option<KeyCounts>,
    /// Parts proved impossible.
    pub refused: bool,
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
    /// Keys of the pairs of which they were counted.
    pub keys: BTreeMap<PairKey, Keys>,
    /// Pairs of finished deltas that were delivered in two halves although keys may repeat.
    pub in_halves: BTreeSet<(DeltaNum, TableName)>,
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
    older_views: Vec<String>,
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
            // The key counts only where the journal tells of it.
            Fact::TablePlanned(table) => {
                self.tables.push(Table { primary_key: Vec::new(), ..table });
            }
            Fact::KeyPlanned { table, columns } => {
                let planned = self.tables.iter_mut().find(|known| known.name == table);
                planned.into_iter().for_each(|known| known.primary_key.clone_from(&columns));
            }
            Fact::ViewPlanned { view } => self.older_views.push(view),
            Fact::DeltaPlanned(delta) => self.deltas.push(delta),
            Fact::Planned { changes, hash, newest, node, partitions } => {
                let tables = std::mem::take(&mut self.tables);
                let older_views = std::mem::take(&mut self.older_views);
                let deltas = std::mem::take(&mut self.deltas);
                let changes = changes as usize;
                self.planned = Some(Planned {
                    deltas,
                    tables,
                    older_views,
                    changes,
                    hash,
                    newest,
                    node,
                    partitions,
                });
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
            Fact::KeysCounted { delta, issue, table, datasource, counts } => {
                let keys = Keys { datasource, counts, refused: false };
                self.keys.insert((delta, issue, table), keys);
            }
            Fact::PartsRefused { delta, issue, table } => {
                let keys = self.keys.get_mut(&(delta, issue, table));
                keys.into_iter().for_each(|keys| keys.refused = true);
            }
            of_attempt => self.apply_attempt(of_attempt),
        }
    }

    fn apply_attempt(&mut self, fact: Fact) {
        let (name, fate) = match fact {
            Fact::AttemptOpened { attempt, issue } => {
                return self.open_attempt(attempt, issue, None);
            }
            Fact::PartOpened { attempt, issue, part } => {
                return self.open_attempt(attempt, issue, Some(part));
            }
            Fact::Sealed { name, ends } => return self.seal_attempt(&name, ends, 0),
            Fact::PartSealed { name, ends, rows } => {
                return self.seal_attempt(&name, ends, rows);
            }
            Fact::AttemptDropped { name, answered } => (name, Fate::Dropped { answered }),
            Fact::AttemptGone { name } => (name, Fate::Gone),
            Fact::AttemptQuarantined { name } => (name, Fate::Quarantined),
            _ => return,
        };
        let Some(attempt) = self.attempts.get_mut(&name) else { return };
        attempt.fate = fate;
        // Its delta can have been finished while it was cleared away.
        if fate == Fate::Gone && self.done.contains_key(&attempt.attempt.delta) {
            self.attempts.remove(&name);
        }
    }

    fn open_attempt(&mut self, attempt: Attempt, issue: u32, part: Option<Part>) {
        let (name, fate) = (attempt.name.clone(), Fate::Open);
        let opened = AttemptState { attempt, issue, part, rows: 0, ends: vec![], fate };
        self.attempts.insert(name, opened);
    }

    fn seal_attempt(&mut self, name: &AttemptName, ends: Vec<u64>, rows: u64) {
        if let Some(attempt) = self.attempts.get_mut(name) {
            (attempt.ends, attempt.rows, attempt.fate) = (ends, rows, Fate::Sealed);
        }
    }

    /// What a finished delta needed is forgotten, so that memory does not grow with the history.
    fn finish_delta(&mut self, delta: DeltaNum, issue: u32) {
        self.done.insert(delta, issue);
        self.progress.retain(|key, _| key.delta != delta);
        self.pairs.retain(|(d, _, _), _| *d != delta);
        self.empty.retain(|(d, _, _)| *d != delta);
        let of_issue = self.keys.iter().filter(|((d, i, _), keys)| {
            *d == delta && *i == issue && (keys.refused || keys.counts.is_none())
        });
        let in_halves = of_issue.map(|((delta, _, table), _)| (*delta, table.clone()));
        self.in_halves.extend(in_halves.collect::<Vec<_>>());
        self.keys.retain(|(d, _, _), _| *d != delta);
        self.attempts.retain(|_, a| a.attempt.delta != delta || a.fate != Fate::Gone);
    }

    /// The issue of a delta: 0 until it was begun again.
    pub fn issue(&self, delta: DeltaNum) -> u32 {
        self.issues.get(&delta).copied().unwrap_or(0)
    }

    /// Whether a pair is unloaded in three parts: its keys repeat, and nothing spoke against it.
    pub fn in_parts(&self, pair: &PairKey) -> bool {
        let repeat = |counts: &KeyCounts| counts.repeat();
        self.keys.get(pair).is_some_and(|k| !k.refused && k.counts.as_ref().is_some_and(repeat))
    }

    /// All attempts of a pair in this issue.
    fn all_attempts(&self, pair: &PairKey) -> impl Iterator<Item = &AttemptState> {
        let (delta, issue, table) = pair;
        self.attempts.values().filter(move |a| {
            a.attempt.delta == *delta && a.issue == *issue && a.attempt.table == *table
        })
    }

    /// The attempts of a pair that were not given up.
    pub fn attempts_of(&self, pair: &PairKey) -> impl Iterator<Item = &AttemptState> {
        self.all_attempts(pair).filter(|a| matches!(a.fate, Fate::Open | Fate::Sealed))
    }

    /// The attempt that serves a pair unloaded in two halves: the one that was not given up.
    pub fn attempt_of(&self, pair: &PairKey) -> Option<&AttemptState> {
        self.attempts_of(pair).find(|a| a.part.is_none())
    }

    /// The sealed attempts of a pair's parts; cleared away or not.
    pub fn parts_of(&self, pair: &PairKey) -> [Option<&AttemptState>; 3] {
        let sealed = |a: &&AttemptState| {
            matches!(a.fate, Fate::Sealed | Fate::Gone | Fate::Quarantined) && !a.ends.is_empty()
        };
        Part::ALL.map(|part| self.all_attempts(pair).filter(sealed).find(|a| a.part == Some(part)))
    }

    /// How many attempts a pair has had in this issue.
    pub fn attempts_made(&self, pair: &PairKey) -> u32 {
        self.all_attempts(pair).count() as u32
    }

    /// Attempts that were given up, each with whether its unload had answered.
    pub fn given_up(&self) -> Vec<(AttemptName, bool)> {
        let given_up = |a: &AttemptState| match a.fate {
            Fate::Dropped { answered } => Some((a.attempt.name.clone(), answered)),
            _ => None,
        };
        self.attempts.values().filter_map(given_up).collect()
    }

    /// Attempts that are delivered whole and not cleared away.
    pub fn delivered(&self) -> Vec<AttemptName> {
        let delivered = self.attempts.values().filter(|a| {
            let (delta, table) = (a.attempt.delta, a.attempt.table.clone());
            let done = self.done.contains_key(&delta);
            a.fate == Fate::Sealed && (done || self.pairs.contains_key(&(delta, a.issue, table)))
        });
        delivered.map(|a| a.attempt.name.clone()).collect()
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

    #[test]
    fn what_is_cleared_away_after_the_end_of_its_delta_is_forgotten() {
        let name = || AttemptName("a".into());
        let mut state = State::default();
        state.apply(opened("a", 0));
        state.apply(Fact::Sealed { name: name(), ends: vec![1] });
        assert_eq!(state.delivered(), []);
        let (delta, issue, table) = pair(0);
        state.apply(Fact::TableDone { delta, issue, table, sums: (None, None) });
        assert_eq!(state.delivered(), [name()]);
        state.apply(Fact::DeltaDone { delta, issue });
        assert_eq!((state.delivered(), state.leftovers().len()), (vec![name()], 1));
        state.apply(Fact::AttemptGone { name: name() });
        assert!(state.attempts.is_empty());
    }
}
