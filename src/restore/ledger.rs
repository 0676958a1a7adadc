//! The one writer of a restore's journal. Nothing that a crash may not lose exists outside it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::journal::{Fact, Journal, JournalError, Record, RestoreFact};

use super::state::State;

/// The journal and what it says, kept in step.
pub struct Ledger<J> {
    inner: Mutex<(J, State)>,
}

impl<J: Journal> Ledger<J> {
    /// Reads the journal.
    ///
    /// # Errors
    /// Those of the journal.
    pub fn open(journal: J) -> Result<Self, JournalError> {
        let state = State::of(journal.saved()?);
        Ok(Self { inner: Mutex::new((journal, state)) })
    }

    /// A task that panicked leaves the journal as consistent as a crash does.
    fn lock(&self) -> MutexGuard<'_, (J, State)> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks something up. The ledger is locked meanwhile: `at` must not ask it again.
    pub fn look<R>(&self, at: impl FnOnce(&State) -> R) -> R {
        at(&self.lock().1)
    }

    /// Writes facts, all or none, and takes them into the state.
    ///
    /// # Errors
    /// Those of the journal; the state is unchanged then.
    pub fn note(&self, facts: impl IntoIterator<Item = RestoreFact>) -> Result<(), JournalError> {
        let facts: Vec<Fact> = facts.into_iter().map(Fact::Restore).collect();
        if facts.is_empty() {
            return Ok(());
        }
        let mut inner = self.lock();
        let batch: Vec<Record> = facts.iter().cloned().map(Record::Fact).collect();
        inner.0.write(&batch)?;
        facts.into_iter().for_each(|fact| inner.1.apply(fact));
        Ok(())
    }

    /// Forgets the run and keeps its summary.
    ///
    /// # Errors
    /// Those of the journal.
    pub fn end(&self, summary: &str) -> Result<(), JournalError> {
        self.lock().0.end(summary)
    }
}
