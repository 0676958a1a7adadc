//! What a journal says of a drill: facts folded into a state. Pure, and the only place that knows
//! which fact may follow which.

use std::collections::BTreeMap;

use crate::journal::drill_record::{Failing, PairCompared, Span};
use crate::journal::{DrillFact, DrillShape, Fact, RestoreFact, Saved};
use crate::model::{DeltaDate, DeltaNum, Moment, Owner};

use super::scratch::Phase;

/// The drill as it was started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Started {
    /// Who it is.
    pub owner: Owner,
    /// The backup topic.
    pub topic: String,
    /// What shapes it.
    pub shape: DrillShape,
    /// When.
    pub at: Moment,
}

/// Names of tables and views, by everybody who can say something of them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entities {
    /// By the changelog of the backup.
    pub backup: Vec<String>,
    /// In the scratch.
    pub scratch: Vec<String>,
    /// By the changelog of the live source.
    pub source: Vec<String>,
}

/// A delta, compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compared {
    /// When it was closed, by the backup.
    pub backup: DeltaDate,
    /// In the scratch.
    pub scratch: Option<DeltaDate>,
    /// In the live source.
    pub source: Option<DeltaDate>,
    /// Its tables.
    pub pairs: Vec<PairCompared>,
}

/// How the restore ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// When.
    pub at: Moment,
    /// Why not everything is there.
    pub failing: Option<Failing>,
}

/// How the comparison ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    /// When.
    pub at: Moment,
    /// The newest closed delta of the live source.
    pub newest: Option<(DeltaNum, DeltaDate)>,
}

/// Everything known of the drill.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// Set by the first fact.
    pub started: Option<Started>,
    /// When it was gone on with.
    pub resumed: Vec<Moment>,
    /// Where the scratch stands.
    pub phase: Phase,
    /// When the scratch was ours: the recovery begins.
    pub owned: Option<Moment>,
    /// What took time.
    pub spans: Vec<Span>,
    /// Set once the restore ended.
    pub restored: Option<Restored>,
    /// Set once entities are compared.
    pub entities: Option<Entities>,
    /// Deltas that are compared.
    pub deltas: BTreeMap<DeltaNum, Compared>,
    /// Set once everything is compared.
    pub judged: Option<Judged>,
    /// When the scratch was done with, and whether it was dropped.
    pub done: Option<(Moment, bool)>,
    /// Facts of the restore that count.
    pub restore: Vec<RestoreFact>,
}

impl State {
    /// Folds what a journal holds.
    pub fn of(saved: Saved) -> Self {
        let mut state = Self::default();
        saved.facts.into_iter().for_each(|fact| state.apply(fact));
        state
    }

    /// Takes one fact in.
    pub fn apply(&mut self, fact: Fact) {
        let fact = match fact {
            Fact::Drill(fact) => fact,
            Fact::Restore(fact) => {
                if self.phase == Phase::Owned {
                    self.phase = Phase::Restoring;
                }
                self.restore.push(fact);
                return;
            }
            _ => return,
        };
        match fact {
            DrillFact::Started { owner, topic, shape, at } => {
                let shape = *shape;
                self.started = Some(Started { owner, topic, shape, at });
            }
            DrillFact::Resumed { at } => self.resumed.push(at),
            DrillFact::ScratchIntended => self.phase = Phase::Intended,
            DrillFact::ScratchOwned { at } => {
                self.phase = Phase::Owned;
                self.owned = Some(at);
            }
            DrillFact::StartedOver => self.start_over(),
            DrillFact::Spent(span) => self.spans.push(span),
            DrillFact::Restored { at, failing } => self.restored = Some(Restored { at, failing }),
            DrillFact::EntitiesCompared { backup, scratch, source } => {
                self.entities = Some(Entities { backup, scratch, source });
            }
            DrillFact::DeltaCompared { delta, backup, scratch, source, pairs } => {
                self.deltas.insert(delta, Compared { backup, scratch, source, pairs });
            }
            DrillFact::Compared { at, newest } => self.judged = Some(Judged { at, newest }),
            DrillFact::DropIntended => self.phase = Phase::Dropping,
            DrillFact::ScratchDone { at, dropped } => {
                self.phase = Phase::Done;
                self.done = Some((at, dropped));
            }
        }
    }

    /// What was of the lost scratch is forgotten; who and since when is not.
    fn start_over(&mut self) {
        let (started, resumed) = (self.started.take(), std::mem::take(&mut self.resumed));
        *self = Self { started, resumed, ..Self::default() };
    }
}
