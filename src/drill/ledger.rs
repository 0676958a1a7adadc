//! The one writer of a drill's journal, and the part of it that the restore of the drill sees as a
//! journal of its own. What took time is written together with the next fact, so that measuring
//! costs no write.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::journal::drill_record::Span;
use crate::journal::{DrillFact, Fact, Journal, JournalError, Record, Saved};

use super::state::State;

struct Inner<J> {
    journal: J,
    state: State,
    /// Not written yet; a crash loses them, and with them some bars of a picture.
    spans: Vec<Span>,
}

impl<J: Journal> Inner<J> {
    fn write(&mut self, batch: &[Record]) -> Result<(), JournalError> {
        let spans = std::mem::take(&mut self.spans);
        let spans = spans.into_iter().map(|span| Record::Fact(Fact::Drill(DrillFact::Spent(span))));
        // A span belongs to what was before the batch.
        let all: Vec<Record> = spans.chain(batch.iter().cloned()).collect();
        self.journal.write(&all)?;
        for record in all {
            if let Record::Fact(fact) = record {
                self.state.apply(fact);
            }
        }
        Ok(())
    }
}

/// The journal and what it says, kept in step. Clones share it.
pub struct Ledger<J>(Arc<Mutex<Inner<J>>>);

impl<J> Clone for Ledger<J> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<J: Journal> Ledger<J> {
    /// Reads the journal.
    ///
    /// # Errors
    /// Those of the journal.
    pub fn open(journal: J) -> Result<Self, JournalError> {
        let state = State::of(journal.saved()?);
        Ok(Self(Arc::new(Mutex::new(Inner { journal, state, spans: Vec::new() }))))
    }

    /// A task that panicked leaves the journal as consistent as a crash does.
    fn lock(&self) -> MutexGuard<'_, Inner<J>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks something up. The ledger is locked meanwhile: `at` must not ask it again.
    pub fn look<R>(&self, at: impl FnOnce(&State) -> R) -> R {
        at(&self.lock().state)
    }

    /// Writes facts, all or none, and takes them into the state.
    ///
    /// # Errors
    /// Those of the journal; the state is unchanged then.
    pub fn note(&self, facts: impl IntoIterator<Item = DrillFact>) -> Result<(), JournalError> {
        let fact = |fact| Record::Fact(Fact::Drill(fact));
        let batch: Vec<Record> = facts.into_iter().map(fact).collect();
        self.lock().write(&batch)
    }

    /// Keeps a span until the next fact is written.
    pub fn remember(&self, span: Span) {
        self.lock().spans.push(span);
    }

    /// Forgets the drill and keeps its summary.
    ///
    /// # Errors
    /// Those of the journal.
    pub fn end(&self, summary: &str) -> Result<(), JournalError> {
        self.lock().journal.end(summary)
    }

    /// The journal of the drill's restore.
    pub fn of_restore(&self) -> Nested<J> {
        Nested(self.clone())
    }
}

/// The facts of the restore inside a drill's journal. Its end is the drill's business.
pub struct Nested<J>(Ledger<J>);

impl<J: Journal> Journal for Nested<J> {
    fn saved(&self) -> Result<Saved, JournalError> {
        let facts = self.0.look(|state| state.restore.clone());
        Ok(Saved { facts: facts.into_iter().map(Fact::Restore).collect(), ..Saved::default() })
    }

    fn write(&mut self, batch: &[Record]) -> Result<(), JournalError> {
        self.0.lock().write(batch)
    }

    /// The drill compares what was restored, and forgets all of it together at its own end.
    fn end(&mut self, _summary: &str) -> Result<(), JournalError> {
        Ok(())
    }
}
