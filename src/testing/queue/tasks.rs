//! Tasks in memory; they outlive their writer.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::journal::{JournalError, QueueTask, Tasks};
use crate::testing::Fuse;

/// Tasks of one worker; clones share them.
#[derive(Clone, Default)]
pub struct MemoryTasks {
    known: Arc<Mutex<BTreeMap<String, QueueTask>>>,
    /// What was written and is durable only with the next write.
    loose: Arc<Mutex<BTreeMap<String, QueueTask>>>,
    fuse: Arc<Fuse>,
}

impl MemoryTasks {
    /// An empty one that stops with this fuse.
    pub fn new(fuse: Arc<Fuse>) -> Self {
        Self { fuse, ..Self::default() }
    }

    /// The process died: what was not durable is gone.
    pub fn die(&self) {
        self.loose.lock().unwrap_or_else(PoisonError::into_inner).clear();
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
            known.append(&mut self.loose.lock().unwrap_or_else(PoisonError::into_inner));
            change(&mut known);
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

    fn note(&mut self, task: &QueueTask) -> Result<(), JournalError> {
        let mut loose = self.loose.lock().unwrap_or_else(PoisonError::into_inner);
        loose.insert(task.key.clone(), task.clone());
        Ok(())
    }

    fn forget(&mut self, keys: &[String]) -> Result<(), JournalError> {
        self.write(|known| known.retain(|key, _| !keys.contains(key)))
    }
}
