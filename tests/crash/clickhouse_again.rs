//! A task about ClickHouse that is given to a second worker with a journal of its own: what the
//! first began is taken over or left alone, never doubled.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use deltakeep::clickhouse::{
    Alone, BackupManager, Code, Common, CreateBackup, Name, Object, OperationId, Patience, Place,
    Places, RestoreBackup, Watch,
};
use deltakeep::journal::{Operation, OperationEnd};
use deltakeep::testing::Fuse;
use deltakeep::testing::clickhouse::{MemoryOperations, MemoryServer};

/// Whoever asked: whether the task was given to somebody before, and whether it may become ours.
struct Given {
    again: bool,
    ours: bool,
    asked: AtomicU32,
}

impl Given {
    fn new(again: bool, ours: bool) -> Self {
        Self { again, ours, asked: AtomicU32::new(0) }
    }
}

impl Watch for Given {
    async fn own(&self, _operation: &Operation) -> bool {
        self.asked.fetch_add(1, Ordering::Relaxed);
        self.ours
    }

    fn is_redelivered(&self) -> bool {
        self.again
    }
}

fn common(table: bool) -> Common {
    let place = Place::parse("s3://my-bucket/q1", &Places::default()).unwrap();
    Common {
        object: Object { database: Name::known("live"), table: table.then(|| Name::known("t")) },
        place,
        keys: None,
        base: None,
        structure_only: false,
        bandwidth: None,
        cluster: None,
    }
}

fn backup() -> CreateBackup {
    CreateBackup { id: None, common: common(false) }
}

fn restore(overwrite: bool) -> RestoreBackup {
    let common = common(false);
    RestoreBackup { id: None, common, source_database: None, source_table: None, overwrite }
}

fn id(text: &str) -> OperationId {
    OperationId::parse(text).unwrap()
}

/// A server, and a fuse that stops the first worker.
fn scene() -> (MemoryServer, Arc<Fuse>) {
    let fuse = Arc::new(Fuse::default());
    let server = MemoryServer::new(fuse.clone());
    server.world().sample(&Name::known("live"), &[1, 2, 3]);
    (server, fuse)
}

/// A worker with an empty journal.
fn worker(
    server: &MemoryServer,
    fuse: &Arc<Fuse>,
) -> BackupManager<MemoryServer, MemoryOperations> {
    let journal = MemoryOperations::new(fuse.clone());
    let patience = Patience { stall: Duration::from_secs(60), ..Patience::default() };
    BackupManager::new(server.clone(), journal, patience, || 7).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_backup_whose_worker_died_is_taken_over_by_the_next() {
    let mut taken_over = 0;
    // The second comes when the BACKUP is done, or while it works; then it need not be told so.
    for (again, unseen) in [(true, 0), (true, 60), (false, 60)] {
        for steps in 1..40 {
            let (server, fuse) = scene();
            server.world().faults.unseen = unseen;
            let first = worker(&server, &fuse);
            fuse.set(Some(steps));
            let (op, request) = (id("op"), backup());
            tokio::select! {
                biased;
                done = first.create_backup(&op, &request, &Alone) => drop(done),
                () = fuse.blown() => {}
            }
            taken_over += u32::from(fuse.is_blown());
            fuse.set(None);
            let second = worker(&server, &fuse);
            let given = Given::new(again, true);
            let done = second.create_backup(&op, &request, &given).await.unwrap();
            let why = format!("after {steps}, {again}, {unseen}: {done:?}");
            assert_eq!((done.end, done.attempt), (Some(OperationEnd::Succeeded), 1), "{why}");
        }
    }
    assert!(taken_over > 50, "{taken_over} died");
}

#[tokio::test(start_paused = true)]
async fn a_finished_backup_of_the_same_id_is_adopted_only_by_a_task_given_again() {
    let (server, fuse) = scene();
    worker(&server, &fuse).create_backup(&id("op"), &backup(), &Alone).await.unwrap();
    let fresh = worker(&server, &fuse).create_backup(&id("op"), &backup(), &Alone).await.unwrap();
    let code = fresh.failure.map(|failure| failure.code);
    assert_eq!(code.as_deref(), Some("PATH_EXISTS"));
    let again = Given::new(true, true);
    let given = worker(&server, &fuse).create_backup(&id("op"), &backup(), &again).await.unwrap();
    assert_eq!((given.end, given.attempt), (Some(OperationEnd::Succeeded), 1));
    let other = worker(&server, &fuse).create_backup(&id("o"), &backup(), &again).await.unwrap();
    assert_eq!(other.failure.map(|failure| failure.code).as_deref(), Some("PATH_EXISTS"));
}

#[tokio::test(start_paused = true)]
async fn an_id_that_the_server_knows_from_another_journal_gets_a_further_number() {
    let (server, fuse) = scene();
    worker(&server, &fuse).create_backup(&id("op"), &backup(), &Alone).await.unwrap();
    let mut elsewhere = backup();
    elsewhere.common.place = Place::parse("s3://my-bucket/q2", &Places::default()).unwrap();
    let done = worker(&server, &fuse).create_backup(&id("op"), &elsewhere, &Alone).await.unwrap();
    assert_eq!((done.end, done.attempt), (Some(OperationEnd::Succeeded), 2), "{done:?}");
    let restored =
        worker(&server, &fuse).restore_backup(&id("op"), &restore(true), false, &Alone).await;
    let restored = restored.unwrap();
    assert_eq!((restored.end, restored.attempt), (Some(OperationEnd::Succeeded), 3));
}

#[tokio::test(start_paused = true)]
async fn what_works_under_the_same_id_at_another_place_is_not_taken_over() {
    let (server, fuse) = scene();
    server.world().faults.unseen = 1000;
    let mut elsewhere = backup();
    elsewhere.common.place = Place::parse("s3://my-bucket/q2", &Places::default()).unwrap();
    for (op, request) in [("op", backup()), ("other", elsewhere.clone())] {
        fuse.set(Some(20));
        let (manager, op) = (worker(&server, &fuse), id(op));
        tokio::select! {
            biased;
            done = manager.create_backup(&op, &request, &Alone) => panic!("{done:?}"),
            () = fuse.blown() => fuse.set(None),
        }
    }
    let refused =
        worker(&server, &fuse).create_backup(&id("op"), &elsewhere, &Alone).await.unwrap();
    assert_eq!(refused.failure.map(|failure| failure.code).as_deref(), Some("PATH_LOCKED"));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_sent_into_a_database_before_the_task_is_ours() {
    for there in [true, false] {
        let (server, fuse) = scene();
        worker(&server, &fuse).create_backup(&id("saved"), &backup(), &Alone).await.unwrap();
        if !there {
            server.world().databases.clear();
        }
        let before = server.world().databases.clone();
        let given = Given::new(false, false);
        let refused =
            worker(&server, &fuse).restore_backup(&id("op"), &restore(there), false, &given).await;
        assert_eq!(refused.expect_err("left").code, Code::Busy);
        assert_eq!(given.asked.load(Ordering::Relaxed), 1);
        assert_eq!(server.world().databases, before, "something was moved or restored");
        let shown = server.world().operations().filter(|known| known.id.starts_with("op")).count();
        assert_eq!(shown, 0, "a RESTORE was sent");
    }
}
