//! A journal in memory that survives its writer and can be cut back, as a store that lost its tail.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::journal::{Journal, JournalError, Record, Saved};

use super::world::Memory;

/// The journal of a [`Memory`].
#[derive(Clone)]
pub struct MemoryJournal {
    batches: Arc<Mutex<Vec<Vec<Record>>>>,
    memory: Memory,
}

impl MemoryJournal {
    /// An empty one.
    pub fn new(memory: &Memory) -> Self {
        Self { batches: Arc::default(), memory: memory.clone() }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Vec<Record>>> {
        self.batches.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Batches written.
    pub fn len(&self) -> usize {
        self.lock().len()
    }

    /// True where nothing is written.
    pub fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    /// Loses everything after the first `batches`.
    pub fn cut(&self, batches: usize) {
        self.lock().truncate(batches);
    }

    /// What a copy of it would say.
    pub fn records(&self) -> Vec<Record> {
        self.lock().concat()
    }

    fn dead(&self) -> JournalError {
        JournalError::Disk { path: "memory".into(), reason: "the process is dead".into() }
    }

    fn write_after(&self, change: impl FnOnce(&mut Vec<Vec<Record>>)) -> Result<(), JournalError> {
        if self.memory.fuse().burn() {
            return Err(self.dead());
        }
        change(&mut self.lock());
        if self.memory.fuse().burn() { Err(self.dead()) } else { Ok(()) }
    }
}

impl Journal for MemoryJournal {
    fn saved(&self) -> Result<Saved, JournalError> {
        let mut saved = Saved::default();
        self.records().into_iter().for_each(|record| saved.apply(record));
        Ok(saved)
    }

    fn write(&mut self, batch: &[Record]) -> Result<(), JournalError> {
        self.write_after(|batches| batches.push(batch.to_vec()))
    }

    fn end(&mut self, _summary: &str) -> Result<(), JournalError> {
        self.write_after(Vec::clear)
    }
}
