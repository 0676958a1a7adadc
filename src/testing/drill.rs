//! The worlds of a drill in memory: a restore's, a live source beside it, and reports that outlive
//! the process that wrote them.

use std::sync::{Arc, Mutex, PoisonError};

use crate::drill::{Publish, Report, World};

use super::target::{MemoryTarget, RestoreWorld};
use super::world::Memory;

/// The worlds of a drill over one [`Memory`].
#[derive(Clone)]
pub struct DrillWorld {
    /// Those of its restore; the target is the scratch.
    pub restore: Arc<RestoreWorld>,
    /// The live source.
    pub source: MemoryTarget,
}

impl World for DrillWorld {
    type Restore = RestoreWorld;
    type Source = MemoryTarget;

    fn restore(&self) -> &Arc<RestoreWorld> {
        &self.restore
    }

    fn source(&self) -> &MemoryTarget {
        &self.source
    }
}

/// The newest report; clones share it.
#[derive(Clone)]
pub struct MemoryReports {
    memory: Memory,
    newest: Arc<Mutex<Option<Report>>>,
}

impl MemoryReports {
    /// None written yet.
    pub fn new(memory: &Memory) -> Self {
        Self { memory: memory.clone(), newest: Arc::default() }
    }

    /// The newest report.
    pub fn newest(&self) -> Option<Report> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Publish for MemoryReports {
    fn publish(&self, report: &Report) -> Result<(), String> {
        let dead = || Err("the process is dead".to_owned());
        if self.memory.fuse().burn() {
            return dead();
        }
        *self.newest.lock().unwrap_or_else(PoisonError::into_inner) = Some(report.clone());
        if self.memory.fuse().burn() { dead() } else { Ok(()) }
    }
}
