//! Operations in memory; they outlive their writer.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::journal::{JournalError, Operation, Operations};
use crate::testing::Fuse;

/// The journal of a [`super::MemoryServer`]'s tests; clones share it.
#[derive(Clone, Default)]
pub struct MemoryOperations {
    known: Arc<Mutex<BTreeMap<String, Operation>>>,
    /// What was written and is durable only with the next write.
    loose: Arc<Mutex<BTreeMap<String, Operation>>>,
    fuse: Arc<Fuse>,
}

impl MemoryOperations {
    /// An empty one that stops with this fuse.
    pub fn new(fuse: Arc<Fuse>) -> Self {
        Self { fuse, ..Self::default() }
    }

    /// The process died: what was not durable is gone.
    pub fn die(&self) {
        self.loose.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Something else was written durably to the same store.
    pub fn settle(&self) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.append(&mut self.loose.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn write(
        &self,
        change: impl FnOnce(&mut BTreeMap<String, Operation>),
    ) -> Result<(), JournalError> {
        let dead = || JournalError::Disk { path: "memory".into(), reason: "dead".into() };
        if self.fuse.burn() {
            return Err(dead());
        }
        self.settle();
        change(&mut self.known.lock().unwrap_or_else(PoisonError::into_inner));
        if self.fuse.burn() { Err(dead()) } else { Ok(()) }
    }
}

impl Operations for MemoryOperations {
    fn all(&self) -> Result<Vec<Operation>, JournalError> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(known.values().cloned().collect())
    }

    fn put(&mut self, operation: &Operation) -> Result<(), JournalError> {
        self.write(|known| {
            known.insert(operation.id.clone(), operation.clone());
        })
    }

    fn note(&mut self, operation: &Operation) -> Result<(), JournalError> {
        let mut loose = self.loose.lock().unwrap_or_else(PoisonError::into_inner);
        loose.insert(operation.id.clone(), operation.clone());
        Ok(())
    }

    fn forget(&mut self, ids: &[String]) -> Result<(), JournalError> {
        self.write(|known| known.retain(|id, _| !ids.contains(id)))
    }
}
