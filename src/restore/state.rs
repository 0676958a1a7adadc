//! What a journal says of a restore: facts folded into a state. Pure, and the only place that
//! knows which fact may follow which.

use std::collections::{BTreeMap, BTreeSet};

use crate::journal::{Fact, RestoreFact, RestoreShape, Saved};
use crate::model::{AttemptName, DeltaDate, DeltaNum, IncrementId, Offset, Owner, TableName};

/// The run as it was started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Started {
    /// Who it is.
    pub owner: Owner,
    /// The backup topic.
    pub topic: String,
    /// What shapes it.
    pub shape: RestoreShape,
}

/// A delta to be restored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// The delta.
    pub delta: DeltaNum,
    /// The increment that stands for it.
    pub increment: IncrementId,
    /// The date it is committed with.
    pub date: DeltaDate,
}

/// What was fixed before the target was touched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Planned {
    /// In order.
    pub deltas: Vec<Chosen>,
    /// By partition of the backup topic: nothing at or above is read.
    pub ends: Vec<Offset>,
    /// Changes after the last delta are replayed too.
    pub trailing: bool,
}

/// Where a load stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Its INSERT was not sent.
    Opened,
    /// Its INSERT may have been sent, and its answer is not known.
    Sent,
    /// Loaded.
    Done,
    /// Answered with an error.
    Failed,
}

/// One load.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Load {
    /// The delta.
    pub delta: DeltaNum,
    /// The table.
    pub table: TableName,
    /// The part; 0 where there are none.
    pub part: u8,
    /// Where it stands.
    pub fate: Fate,
    /// Its delta was begun anew since, or is closed.
    pub void: bool,
    /// Its topic and table are gone.
    pub gone: bool,
}

/// Everything known of the run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// Set by the first fact.
    pub started: Option<Started>,
    /// Set once the plan is fixed.
    pub planned: Option<Planned>,
    /// Changes not to be replayed, by their number in the source.
    pub skipped: BTreeSet<u64>,
    /// The delta that is begun and not done.
    pub begun: Option<DeltaNum>,
    /// Its COMMIT may have been sent.
    pub committing: bool,
    /// The newest delta that is done.
    pub done: Option<DeltaNum>,
    /// Loads by name, those of the delta at work and those that may have left something.
    pub loads: BTreeMap<AttemptName, Load>,
    /// Everything asked is done.
    pub finished: bool,
    deltas: Vec<Chosen>,
}

impl State {
    /// Folds what a journal holds.
    pub fn of(saved: Saved) -> Self {
        let mut state = Self::default();
        saved.facts.into_iter().for_each(|fact| state.apply(fact));
        state
    }

    /// Takes one fact in; those of backups are none of this one's.
    pub fn apply(&mut self, fact: Fact) {
        let Fact::Restore(fact) = fact else { return };
        match fact {
            RestoreFact::Started { owner, topic, shape } => {
                self.started = Some(Started { owner, topic, shape });
            }
            RestoreFact::DeltaChosen { delta, increment, date } => {
                self.deltas.push(Chosen { delta, increment, date });
            }
            RestoreFact::Planned { ends, trailing } => {
                let deltas = std::mem::take(&mut self.deltas);
                self.planned = Some(Planned { deltas, ends, trailing });
            }
            RestoreFact::Skipped { num } => {
                self.skipped.insert(num);
            }
            RestoreFact::DeltaBegun { delta } => self.open(delta, true),
            RestoreFact::DeltaGivenUp { delta } => self.open(delta, false),
            RestoreFact::CommitIntended { .. } => self.committing = true,
            RestoreFact::DeltaDone { delta } => {
                self.open(delta, false);
                self.done = Some(delta);
                self.loads.retain(|_, load| !load.gone);
            }
            RestoreFact::Finished => self.finished = true,
            of_load => self.apply_load(of_load),
        }
    }

    fn open(&mut self, delta: DeltaNum, begun: bool) {
        self.begun = begun.then_some(delta);
        self.committing = false;
        let of_delta = self.loads.values_mut().filter(|load| load.delta == delta);
        of_delta.for_each(|load| load.void = true);
    }

    fn apply_load(&mut self, fact: RestoreFact) {
        let (name, fate) = match fact {
            RestoreFact::LoadOpened { name, delta, table, part } => {
                let (fate, void, gone) = (Fate::Opened, false, false);
                self.loads.insert(name, Load { delta, table, part, fate, void, gone });
                return;
            }
            RestoreFact::LoadGone { name } => {
                if let Some(load) = self.loads.get_mut(&name) {
                    load.gone = true;
                }
                return;
            }
            RestoreFact::LoadSent { name, .. } => (name, Fate::Sent),
            RestoreFact::LoadDone { name } => (name, Fate::Done),
            RestoreFact::LoadFailed { name } => (name, Fate::Failed),
            _ => return,
        };
        if let Some(load) = self.loads.get_mut(&name) {
            load.fate = fate;
        }
    }

    /// Loads of a delta that count: since it was begun last.
    pub fn loads_of(&self, delta: DeltaNum) -> impl Iterator<Item = (&AttemptName, &Load)> {
        self.loads.iter().filter(move |(_, load)| load.delta == delta && !load.void)
    }

    /// True where this part of the table is loaded into the hot delta.
    pub fn is_loaded(&self, delta: DeltaNum, table: &TableName, part: u8) -> bool {
        let same = |load: &Load| load.table == *table && load.part == part;
        self.loads_of(delta).any(|(_, load)| same(load) && load.fate == Fate::Done)
    }

    /// Loads whose topic or table may still exist.
    pub fn leftovers(&self) -> Vec<AttemptName> {
        let left = self.loads.iter().filter(|(_, load)| !load.gone);
        left.map(|(name, _)| name.clone()).collect()
    }
}
