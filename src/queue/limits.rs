//! How much work of each kind a worker does at once. Owns the slots.

use std::sync::Arc;

use tokio::sync::Semaphore;

/// Most tasks of a kind that are worked on at once; `list_backups` and `get_backup` have no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// `create_backup`
    pub backups: usize,
    /// `restore_backup`
    pub restores: usize,
    /// Commands of this program.
    pub commands: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { backups: 2, restores: 1, commands: 1 }
    }
}

/// The slots of a worker.
pub(super) struct Slots {
    backups: Arc<Semaphore>,
    restores: Arc<Semaphore>,
    commands: Arc<Semaphore>,
}

impl Slots {
    /// As many as the limits say; at least one of each, so that nothing waits for ever.
    pub(super) fn new(limits: Limits) -> Self {
        let slots = |number: usize| Arc::new(Semaphore::new(number.clamp(1, 1024)));
        Self {
            backups: slots(limits.backups),
            restores: slots(limits.restores),
            commands: slots(limits.commands),
        }
    }

    /// Those for a type of task.
    pub(super) fn of(&self, kind: &str) -> Arc<Semaphore> {
        let slots = match kind {
            "create_backup" => &self.backups,
            "restore_backup" => &self.restores,
            _ => &self.commands,
        };
        slots.clone()
    }
}
