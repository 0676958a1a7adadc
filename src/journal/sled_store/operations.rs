//! ClickHouse operations in a sled store: one entry each, overwritten. Owns the slots: each process
//! has a store for itself, so that several can work at once, and a status file beside it tells the
//! others of what is in it. Never interprets an operation.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::table::read as read_entry;
use super::{SledJournal, SledTasks, layout, read_status, write_status};
use crate::journal::{JournalError, OnCluster, Operation, Operations};

/// Most stores that one state directory has for one server.
const SLOTS: u32 = 64;
/// How many ended operations the status file tells of.
const TOLD: usize = 100;

/// An entry. A later shape of [`Operation`] is a further variant.
#[derive(Serialize, Deserialize)]
enum Entry {
    V1(Operation),
    /// One on a cluster.
    V2(Operation, OnCluster),
}

impl Entry {
    fn of(mut operation: Operation) -> Self {
        match operation.cluster.take() {
            None => Self::V1(operation),
            Some(cluster) => Self::V2(operation, cluster),
        }
    }

    fn operation(self) -> Operation {
        match self {
            Self::V1(operation) => operation,
            Self::V2(operation, cluster) => Operation { cluster: Some(cluster), ..operation },
        }
    }
}

/// What the status file says.
#[derive(Default, Serialize, Deserialize)]
struct Told {
    pid: u32,
    #[serde(default)]
    operations: Vec<ToldOperation>,
}

#[derive(Serialize, Deserialize)]
struct ToldOperation {
    #[serde(flatten)]
    operation: Operation,
    #[serde(default)]
    cluster: Option<OnCluster>,
}

/// The operations of one process.
pub struct SledOperations {
    store: Arc<SledJournal>,
    /// What the status file tells of.
    told: BTreeMap<String, Operation>,
}

impl SledOperations {
    /// Opens the store in `path`, or makes it.
    ///
    /// # Errors
    /// As [`SledJournal::open`].
    pub fn open(path: &Path) -> Result<Self, JournalError> {
        let mut opened = Self { store: Arc::new(SledJournal::open(path)?), told: BTreeMap::new() };
        for operation in opened.all()? {
            opened.told.insert(operation.id.clone(), operation);
        }
        opened.tell()?;
        Ok(opened)
    }

    /// The tasks of a queue in the same store.
    pub fn tasks(&self) -> SledTasks {
        SledTasks::of(self.store.clone())
    }

    /// The store of the worker of a server: one, whatever it works on at once.
    pub fn of_worker(state_dir: &Path, server: &str) -> PathBuf {
        path_of(state_dir, server, "worker")
    }

    /// The stores of a server below the state directory, and one more that there is not yet.
    pub fn slots(state_dir: &Path, server: &str) -> Vec<PathBuf> {
        let mut slots = Vec::new();
        for slot in 0..SLOTS {
            slots.push(path_of(state_dir, server, &slot.to_string()));
            if !slots.last().is_some_and(|path| path.exists()) {
                break;
            }
        }
        slots
    }

    /// What the process that has the store in `path` open tells of it.
    ///
    /// # Errors
    /// [`JournalError::Disk`].
    pub fn told(path: &Path) -> Result<Vec<Operation>, JournalError> {
        let told = read_status(path)?.and_then(|text| serde_json::from_str(&text).ok());
        let told = told.map_or_else(Vec::new, |told: Told| told.operations);
        let whole = |told: ToldOperation| Operation { cluster: told.cluster, ..told.operation };
        Ok(told.into_iter().map(whole).collect())
    }

    fn tell(&mut self) -> Result<(), JournalError> {
        let ended = self.told.values().filter(|operation| operation.end.is_some());
        let mut ended: Vec<_> =
            ended.map(|operation| (operation.updated, operation.id.clone())).collect();
        ended.sort_unstable();
        for (_, id) in ended.iter().rev().skip(TOLD) {
            self.told.remove(id);
        }
        let told = |operation: &Operation| ToldOperation {
            operation: operation.clone(),
            cluster: operation.cluster.clone(),
        };
        let operations = self.told.values().map(told).collect();
        let told = Told { pid: std::process::id(), operations };
        let json = serde_json::to_string(&told).map_err(|error| JournalError::Disk {
            path: self.store.path().to_owned(),
            reason: error.to_string(),
        })?;
        write_status(self.store.path(), &json)
    }
}

fn path_of(state_dir: &Path, server: &str, whose: &str) -> PathBuf {
    let hash = Sha256::digest(server);
    let hash: String = hash[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    state_dir.join("clickhouse").join(format!("{hash}.{whose}"))
}

impl Operations for SledOperations {
    fn all(&self) -> Result<Vec<Operation>, JournalError> {
        self.store.with(|table| {
            let entries = table.entries()?.into_iter();
            let entries = entries.filter(|(key, _)| layout::is_operation(key));
            entries.map(|(_, entry)| read_entry(&entry).map(Entry::operation)).collect()
        })
    }

    fn put(&mut self, operation: &Operation) -> Result<(), JournalError> {
        self.store.with(|table| {
            let mut change = table.change();
            change.put(layout::operation_key(&operation.id), &Entry::of(operation.clone()))?;
            change.commit()
        })?;
        self.told.insert(operation.id.clone(), operation.clone());
        self.tell()
    }

    /// Others are told of it with what is written next, too.
    fn note(&mut self, operation: &Operation) -> Result<(), JournalError> {
        self.store.with(|table| {
            let mut change = table.change();
            change.put(layout::operation_key(&operation.id), &Entry::of(operation.clone()))?;
            change.note()
        })?;
        self.told.insert(operation.id.clone(), operation.clone());
        Ok(())
    }

    fn forget(&mut self, ids: &[String]) -> Result<(), JournalError> {
        self.store.with(|table| {
            let mut change = table.change();
            for id in ids {
                let key = layout::operation_key(id);
                let mut after = key.clone();
                after.push(0);
                change.remove(key..after);
            }
            change.commit()
        })?;
        ids.iter().for_each(|id| drop(self.told.remove(id)));
        self.tell()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::envelope::{decode, encode};
    use crate::journal::{
        OperationEnd, OperationFailure, OperationKind, OperationSize, OperationStep, TableCheck,
    };

    fn operation(id: &str) -> Operation {
        let text = |text: &str| Some(text.to_owned());
        Operation {
            id: id.to_owned(),
            kind: OperationKind::Restore,
            fingerprint: [7; 32],
            database: "quotes".into(),
            table: text("t"),
            source_database: text("other"),
            source_table: text("u"),
            path: "s3://my-bucket/q1".into(),
            url: "https://store/my-bucket/q1".into(),
            overwrite: true,
            check: true,
            attempt: 2,
            step: OperationStep::RollingBack,
            old: text("2e169b42-d261-4979-a6a8-9e94e79836bc"),
            fresh: None,
            views: vec!["mv".into()],
            owned: true,
            created: 1_795_238_700_000,
            updated: 1_795_238_700_001,
            ended: None,
            size: OperationSize { files: 1, bytes: 300, bytes_stored: 70_000 },
            checks: vec![TableCheck { table: "t".into(), rows: 5, bytes: 6, passed: false }],
            failure: Some(OperationFailure {
                code: "VERIFY_FAILED".into(),
                message: "t".into(),
                clickhouse_code: Some(40),
            }),
            end: Some(OperationEnd::RolledBack),
            cluster: None,
        }
    }

    fn on_cluster(id: &str) -> Operation {
        let fresh = vec!["0a7fd2b7-1f9a-4f8b-9f13-6a7e2c3b9d10".to_owned()];
        let cluster = OnCluster { name: "all".into(), fresh };
        Operation { cluster: Some(cluster), ..operation(id) }
    }

    #[test]
    fn what_is_put_is_there_after_a_new_start_and_told_to_others() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("store");
        let mut store = SledOperations::open(&path).expect("a store");
        let (a, ab) = (operation("a"), on_cluster("ab"));
        for operation in [&a, &ab] {
            store.put(operation).expect("put");
        }
        let busy = SledOperations::open(&path).map(|_| ());
        assert!(matches!(busy, Err(JournalError::InUse { holder: Some(_), .. })), "{busy:?}");
        assert_eq!(SledOperations::told(&path).expect("told"), [a.clone(), ab.clone()]);
        let [a, ab] = [a, ab].map(|operation| Operation { attempt: 9, ..operation });
        for operation in [&a, &ab] {
            store.note(operation).expect("noted");
        }
        let seen = [a, ab.clone()];
        assert_eq!(store.all().expect("all"), seen, "before they are durable");
        drop(store);
        let mut store = SledOperations::open(&path).expect("a store");
        assert_eq!(store.all().expect("all"), seen);
        store.forget(&["a".to_owned()]).expect("forgotten");
        assert_eq!(store.all().expect("all"), [ab]);
    }

    #[test]
    fn each_process_has_a_slot() {
        let folder = tempfile::tempdir().expect("a folder");
        let slots = || SledOperations::slots(folder.path(), "http://h:8123");
        assert_eq!(slots().len(), 1);
        let first = SledOperations::open(&slots()[0]).expect("a store");
        assert_eq!(slots().len(), 2);
        assert!(SledOperations::open(&slots()[1]).is_ok());
        assert_ne!(SledOperations::slots(folder.path(), "http://i:8123")[0], slots()[0]);
        drop(first);
    }

    #[test]
    fn entries_of_released_versions_are_read() {
        let alone = include_str!("../../../tests/golden/operations/v1/entry.hex");
        let whole = include_str!("../../../tests/golden/operations/v1/on-cluster.hex");
        for (golden, operation) in
            [(alone, operation("restore-op-123")), (whole, on_cluster("restore-op-123"))]
        {
            let entry = encode(&Entry::of(operation.clone())).expect("encoded");
            let hex: String = entry.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(hex, golden.trim());
            assert_eq!(decode::<Entry>(&entry).expect("decoded").operation(), operation);
        }
    }
}
