//! The one writer of the journal. Owns the state that the journal's facts amount to, and the
//! execution's horizon; writes first and believes afterwards. Never decides what to do.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::journal::{Fact, Journal, JournalError, Progress, Record, StreamKey};
use crate::model::{Offset, Partition};

use super::horizon::{Horizon, Pin};
use super::state::State;

/// The journal, and what is known from it.
pub struct Ledger<J> {
    inner: Mutex<Inner<J>>,
}

struct Inner<J> {
    journal: J,
    state: State,
    horizon: Horizon,
}

impl<J: Journal> Ledger<J> {
    /// Reads the journal.
    ///
    /// # Errors
    /// Those of the journal.
    pub fn open(journal: J) -> Result<Self, JournalError> {
        let state = State::of(journal.saved()?);
        let horizon = Horizon::at(state.horizon.clone());
        let inner = Inner { journal, state, horizon };
        Ok(Self { inner: Mutex::new(inner) })
    }

    /// A worker that panicked leaves the journal as consistent as a crash does.
    fn lock(&self) -> MutexGuard<'_, Inner<J>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks something up. The ledger is locked meanwhile: `at` must not ask it again.
    pub fn look<R>(&self, at: impl FnOnce(&State) -> R) -> R {
        at(&self.lock().state)
    }

    /// Writes facts, all or none, and takes them into the state.
    ///
    /// # Errors
    /// Those of the journal; the state is unchanged then.
    pub fn note(&self, facts: impl IntoIterator<Item = Fact>) -> Result<(), JournalError> {
        let batch: Vec<Record> = facts.into_iter().map(Record::Fact).collect();
        self.write(&mut self.lock(), batch)
    }

    /// Writes the plan together with the topic's ends: nothing of the run lies below them.
    ///
    /// # Errors
    /// Those of the journal.
    pub fn note_plan(&self, facts: Vec<Fact>, ends: Vec<Offset>) -> Result<(), JournalError> {
        let mut inner = self.lock();
        let mut batch: Vec<Record> = facts.into_iter().map(Record::Fact).collect();
        batch.push(Record::Horizon(ends.clone()));
        self.write(&mut inner, batch)?;
        inner.horizon = Horizon::at(ends);
        Ok(())
    }

    fn write(&self, inner: &mut Inner<J>, batch: Vec<Record>) -> Result<(), JournalError> {
        inner.journal.write(&batch)?;
        for record in batch {
            match record {
                Record::Fact(fact) => inner.state.apply(fact),
                Record::Progress(key, progress) => {
                    inner.state.progress.insert(key, progress);
                }
                Record::Horizon(horizon) => inner.state.horizon = horizon,
            }
        }
        Ok(())
    }

    /// The topic was read to these ends: all below is in the journal or under a pin, and no lane
    /// is open.
    pub fn read_to(&self, ends: Vec<Offset>, pins: BTreeMap<StreamKey, Pin>) {
        self.lock().horizon.read_to(ends, pins);
    }

    /// A lane is about to write.
    pub fn begin(&self, lane: u32) {
        self.lock().horizon.begin(lane);
    }

    /// What a lane wrote is durable: overwrites the progress of its streams and moves the horizon.
    ///
    /// # Errors
    /// Those of the journal.
    pub fn checkpoint(
        &self,
        lane: u32,
        streams: Vec<(StreamKey, Progress)>,
        written: &[(Partition, Offset)],
    ) -> Result<(), JournalError> {
        let mut inner = self.lock();
        let Inner { state, horizon, .. } = &mut *inner;
        horizon.committed(lane, streams.iter().map(|(key, p)| (key, p.chunks)), written);
        let horizon = horizon.lowest(state);
        let progress = streams.into_iter().map(|(key, p)| Record::Progress(key, p));
        let batch = progress.chain([Record::Horizon(horizon)]).collect();
        self.write(&mut inner, batch)
    }

    /// Forgets the run and keeps its summary.
    ///
    /// # Errors
    /// Those of the journal.
    pub fn end(&self, summary: &str) -> Result<(), JournalError> {
        self.lock().journal.end(summary)
    }
}
