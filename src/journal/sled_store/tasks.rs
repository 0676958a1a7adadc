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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::envelope::{decode, encode};
    use crate::journal::sled_store::SledOperations;
    use crate::journal::{Operations, TaskState};

    fn task(key: &str) -> QueueTask {
        let text = |text: &str| Some(text.to_owned());
        QueueTask {
            key: key.to_owned(),
            id: "restore-op-123".into(),
            kind: "restore_backup".into(),
            task_id: "t-1".into(),
            asked: [7; 32],
            reply_to: text("replies"),
            correlation_id: text("c-1"),
            meta: text("{}"),
            deliveries: 300,
            state: TaskState::Answered,
            words: vec!["resume".into(), "--".into(), "run-1".into()],
            credentials: text("main"),
            run: text("run-1"),
            reply: text("{\"final\":true}"),
            created: 1_795_238_700_000,
            updated: 1_795_238_700_001,
        }
    }

    #[test]
    fn tasks_are_there_after_a_new_start_and_no_operations() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("store");
        let operations = SledOperations::open(&path).expect("a store");
        let mut tasks = operations.tasks();
        for key in ["m/a", "m/ab", "m/b"] {
            tasks.put(&task(key)).expect("put");
        }
        let changed = QueueTask { state: TaskState::Done, ..task("m/a") };
        tasks.put(&changed).expect("put");
        tasks.forget(&["m/ab".to_owned()]).expect("forgotten");
        assert!(operations.all().expect("all").is_empty());
        drop((operations, tasks));
        let operations = SledOperations::open(&path).expect("a store");
        assert_eq!(operations.tasks().all().expect("all"), [changed, task("m/b")]);
    }

    #[test]
    fn the_store_stays_locked_while_one_of_both_is_there() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("store");
        let tasks = SledOperations::open(&path).expect("a store").tasks();
        let busy = SledOperations::open(&path).map(|_| ());
        assert!(matches!(busy, Err(JournalError::InUse { .. })), "{busy:?}");
        drop(tasks);
        assert!(SledOperations::open(&path).is_ok());
    }

    #[test]
    fn entries_of_released_versions_are_read() {
        let golden = include_str!("../../../tests/golden/tasks/v1/entry.hex").trim();
        let entry = encode(&Entry::V1(task("m/t-1"))).expect("encoded");
        let hex: String = entry.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, golden);
        let Entry::V1(read) = decode(&entry).expect("decoded");
        assert_eq!(read, task("m/t-1"));
    }
}
