//! Tasks in memory; they outlive their writer.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::journal::{JournalError, QueueTask, Tasks};
use crate::testing::Fuse;
use crate::testing::clickhouse::MemoryOperations;

/// Tasks of one worker; clones share them.
#[derive(Clone, Default)]
pub struct MemoryTasks {
    known: Arc<Mutex<BTreeMap<String, QueueTask>>>,
    /// In the same store.
    operations: MemoryOperations,
    fuse: Arc<Fuse>,
}

impl MemoryTasks {
    /// An empty one beside these operations, that stops with this fuse.
    pub fn new(operations: &MemoryOperations, fuse: Arc<Fuse>) -> Self {
        Self { operations: operations.clone(), fuse, ..Self::default() }
    }

    /// The process died: what was not durable is gone.
    pub fn die(&self) {
        self.operations.die();
    }

    fn write(
        &self,
        change: impl FnOnce(&mut BTreeMap<String, QueueTask>),
    ) -> Result<(), JournalError> {
        let dead = || JournalError::Disk { path: "memory".into(), reason: "dead".into() };
        if self.fuse.burn() {
            return Err(dead());
        }
        {
            let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
            change(&mut known);
            self.operations.settle();
        }
        if self.fuse.burn() { Err(dead()) } else { Ok(()) }
    }
}

impl Tasks for MemoryTasks {
    fn all(&self) -> Result<Vec<QueueTask>, JournalError> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(known.values().cloned().collect())
    }

    fn put(&mut self, task: &QueueTask) -> Result<(), JournalError> {
        self.write(|known| {
            known.insert(task.key.clone(), task.clone());
        })
    }

    fn forget(&mut self, keys: &[String]) -> Result<(), JournalError> {
        self.write(|known| known.retain(|key, _| !keys.contains(key)))
    }
}
