//! Tasks of a queue in a sled store, beside the operations that they ask for: one entry each,
//! overwritten. Never interprets a task.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::table::read as read_entry;
use super::{SledJournal, layout};
use crate::journal::{JournalError, QueueTask, Tasks};

/// An entry. A later shape of [`QueueTask`] is a further variant.
#[derive(Serialize, Deserialize)]
enum Entry {
    V1(QueueTask),
}

/// The tasks of one process.
pub struct SledTasks {
    store: Arc<SledJournal>,
}

impl SledTasks {
    pub(super) fn of(store: Arc<SledJournal>) -> Self {
        Self { store }
    }
}

impl Tasks for SledTasks {
    fn all(&self) -> Result<Vec<QueueTask>, JournalError> {
        self.store.with(|table| {
            let entries = table.entries()?.into_iter();
            let entries = entries.filter(|(key, _)| layout::is_task(key));
            entries.map(|(_, entry)| read_entry(&entry).map(|Entry::V1(task)| task)).collect()
        })
    }

    fn put(&mut self, task: &QueueTask) -> Result<(), JournalError> {
        self.store.with(|table| {
            let mut change = table.change();
            change.put(layout::task_key(&task.key), &Entry::V1(task.clone()))?;
            change.commit()
        })
    }

    fn note(&mut self, task: &QueueTask) -> Result<(), JournalError> {
        self.store.with(|table| {
            let mut change = table.change();
            change.put(layout::task_key(&task.key), &Entry::V1(task.clone()))?;
            change.note()
        })
    }

    fn forget(&mut self, keys: &[String]) -> Result<(), JournalError> {
        self.store.with(|table| {
            let mut change = table.change();
            for key in keys {
                let key = layout::task_key(key);
                let mut after = key.clone();
                after.push(0);
                change.remove(key..after);
            }
            change.commit()
        })
    }
}
