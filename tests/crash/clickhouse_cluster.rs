//! A restore of a whole cluster killed at every step, in memory, with a second host that is late or
//! not: both hosts end as the backup has it, or as they were before, and nothing is left beside.

use std::sync::Arc;
use std::time::Duration;

use deltakeep::clickhouse::{
    Alone, BackupManager, Code, Common, CreateBackup, Name, Object, OperationId, Patience, Place,
    Places, RestoreBackup, TaskError,
};
use deltakeep::journal::{Operation, OperationEnd, OperationStep, Operations};
use deltakeep::testing::Fuse;
use deltakeep::testing::clickhouse::{Faults, MemoryOperations, MemoryServer, Tbl};

const SAVED: [u64; 2] = [10, 20];

/// What a kill meets. `database`: the table's database is there, on the other host.
#[derive(Clone, Debug)]
struct Case {
    table: bool,
    database: bool,
    restarted: bool,
    faults: Faults,
}

struct Scene {
    case: Case,
    fuse: Arc<Fuse>,
    server: MemoryServer,
    journal: MemoryOperations,
}

fn name(text: &str) -> Name {
    Name::known(text)
}

fn id() -> OperationId {
    OperationId::parse("op").unwrap()
}

fn common(table: bool, cluster: Option<&str>) -> Common {
    Common {
        object: Object { database: name("live"), table: table.then(|| name("t")) },
        place: Place::parse("s3://my-bucket/q1", &Places::default()).unwrap(),
        keys: None,
        base: None,
        structure_only: false,
        bandwidth: None,
        cluster: cluster.map(name),
    }
}

impl Scene {
    /// A backup, and hosts that have nothing of what is restored.
    async fn new(case: &Case) -> Self {
        let fuse = Arc::new(Fuse::default());
        let server = MemoryServer::new(fuse.clone());
        let journal = MemoryOperations::new(fuse.clone());
        let scene = Self { case: case.clone(), fuse, server, journal };
        scene.server.world().sample(&name("live"), &SAVED);
        let saved = CreateBackup { id: None, common: common(case.table, None) };
        let saved_id = OperationId::parse("saved").unwrap();
        let done = scene.manager().create_backup(&saved_id, &saved, &Alone).await.unwrap();
        assert_eq!(done.end, Some(OperationEnd::Succeeded), "{done:?}");
        let mut world = scene.server.world();
        let mut live = world.databases.remove(&name("live")).unwrap();
        if case.table && case.database {
            live.tables.remove(&name("t"));
            world.elsewhere.insert(name("live"), live);
        }
        world.faults = case.faults.clone();
        drop(world);
        scene
    }

    fn worker(&self, journal: MemoryOperations) -> BackupManager<MemoryServer, MemoryOperations> {
        let second = Duration::from_secs(1);
        let patience = Patience { stall: 60 * second, cancel: 60 * second, ..Patience::default() };
        BackupManager::new(self.server.clone(), journal, patience, || 7).unwrap()
    }

    fn manager(&self) -> BackupManager<MemoryServer, MemoryOperations> {
        self.worker(self.journal.clone())
    }

    fn request(&self) -> RestoreBackup {
        RestoreBackup {
            id: None,
            common: common(self.case.table, Some("all")),
            source_database: None,
            source_table: None,
            overwrite: false,
        }
    }

    async fn restore(&self) -> Result<Operation, TaskError> {
        self.manager().restore_backup(&id(), &self.request(), false, &Alone).await
    }

    async fn recover(&self) -> Result<Operation, TaskError> {
        self.manager().recover(&id(), None, &Alone).await
    }

    /// Works until it ends, is left open because a host is late, or is killed.
    async fn live_for(
        &self,
        steps: i64,
        work: impl Future<Output = Result<Operation, TaskError>>,
    ) -> Option<Operation> {
        self.fuse.set(Some(steps));
        let done = tokio::select! {
            biased;
            done = work => Some(done),
            () = self.fuse.blown() => None,
        };
        let killed = self.fuse.is_blown();
        self.fuse.set(None);
        match done {
            Some(Ok(operation)) if !killed => Some(operation),
            Some(Err(error)) if !killed => {
                let late = error.code == Code::Timeout && error.open.is_some();
                assert!(late, "{:?}: {error:?}", self.case);
                None
            }
            _ => None,
        }
    }

    fn step(&self) -> Option<OperationStep> {
        let all = self.journal.all().unwrap();
        all.into_iter().find(|operation| operation.id == "op").map(|operation| operation.step)
    }

    /// A restore that died when the journal had this step.
    async fn died_at(case: &Case, step: OperationStep) -> Self {
        for steps in 1..400 {
            let scene = Self::new(case).await;
            assert_eq!(scene.live_for(steps, scene.restore()).await, None, "{step:?} is not met");
            if scene.step() == Some(step) {
                return scene;
            }
        }
        panic!("{step:?} is never reached");
    }

    fn judge(&self, end: Option<OperationEnd>, why: &str) {
        let mut world = self.server.world();
        // The other host comes to everything in the end.
        for _ in 0..20 {
            world.asked = 0;
            world.tick();
        }
        for host in [&world.databases, &world.elsewhere] {
            let names =
                host.iter().flat_map(|(name, db)| std::iter::once(name).chain(db.tables.keys()));
            let beside: Vec<_> = names.filter(|name| name.is_beside()).collect();
            assert!(beside.is_empty(), "{why}: left beside: {beside:?}");
            let live = host.get(&name("live"));
            let rows = live.and_then(|db| db.tables.get(&name("t"))).map(|table| &table.rows[..]);
            if end == Some(OperationEnd::Succeeded) {
                assert_eq!(rows, Some(&SAVED[..]), "{why}");
            } else {
                assert_eq!(rows, None, "{why}");
                assert!(self.case.table || live.is_none(), "{why}: a part is left");
            }
        }
        if self.case.table && self.case.database {
            let kept = world.elsewhere[&name("live")].tables.contains_key(&name("to"));
            assert!(kept, "{why}: a table of somebody else is gone");
        }
    }
}

fn cases() -> Vec<Case> {
    let faults = [
        Faults::default(),
        Faults { fail_after: Some(0), ..Faults::default() },
        Faults { fail_after: Some(1), ..Faults::default() },
        Faults { damaged: true, ..Faults::default() },
        Faults { lose_answer: Some(2), ..Faults::default() },
        Faults { stand_still: true, ..Faults::default() },
        Faults { late: Some(2), ..Faults::default() },
        Faults { late: Some(2), damaged: true, ..Faults::default() },
    ];
    let mut cases = Vec::new();
    for faults in faults {
        for (table, database) in [(true, true), (true, false), (false, false)] {
            for restarted in [true, false] {
                cases.push(Case { table, database, restarted, faults: faults.clone() });
            }
        }
    }
    cases
}

/// Kills a restore at a step, and what recovers it at another, then lets it come to its end.
async fn kill(case: &Case, first: i64, second: i64) -> bool {
    let scene = Scene::new(case).await;
    let why = format!("{case:?}, killed at {first} and {second}");
    if let Some(done) = scene.live_for(first, scene.restore()).await {
        scene.judge(done.end, &why);
        return false;
    }
    for steps in [second, i64::MAX, i64::MAX, i64::MAX] {
        if case.restarted {
            scene.server.world().restart();
        }
        let recovered = match scene.step() {
            None => scene.live_for(steps, scene.restore()).await,
            Some(_) => scene.live_for(steps, scene.recover()).await,
        };
        if let Some(done) = recovered {
            scene.judge(done.end, &why);
            break;
        }
    }
    // Whatever it met: once nothing fails any more, the same task succeeds.
    scene.server.world().faults = Faults::default();
    let again = scene.restore().await.unwrap_or_else(|error| panic!("{why}: {error:?}"));
    assert_eq!(again.end, Some(OperationEnd::Succeeded), "{why}: {again:?}");
    scene.judge(again.end, &why);
    true
}

#[tokio::test(start_paused = true)]
async fn killed_anywhere_all_hosts_have_it_or_none() {
    let mut kills = 0;
    for case in cases() {
        for first in 1.. {
            let mut killed = false;
            for second in [i64::MAX, 1, 4, 9] {
                killed |= kill(&case, first, second).await;
                kills += 1;
            }
            if !killed || first >= 120 {
                break;
            }
        }
    }
    assert!(kills > 1000, "only {kills} were killed");
    println!("{kills} kills");
}

fn alone(table: bool) -> Case {
    Case { table, database: true, restarted: false, faults: Faults::default() }
}

fn foreign(rows: &[u64]) -> Tbl {
    Tbl {
        uuid: "uuid-foreign".into(),
        engine: "MergeTree".into(),
        rows: rows.to_vec(),
        copies: None,
        bound: None,
        asleep: false,
        damaged: false,
    }
}

/// Puts a table on the other host.
fn put_elsewhere(scene: &Scene, table: &str) {
    let mut world = scene.server.world();
    let db = world.elsewhere.entry(name("live")).or_default();
    db.tables.insert(name(table), foreign(&[5]));
}

#[tokio::test(start_paused = true)]
async fn what_another_host_has_is_refused_before_anything_is_sent() {
    for (table, there, code) in [
        (true, "t", "TARGET_NOT_EMPTY"),
        (false, "any", "TARGET_NOT_EMPTY"),
        (true, "t__bk_0123456789abcdef", "BUSY"),
        (false, "t__bk_0123456789abcdef", "BUSY"),
    ] {
        let scene = Scene::new(&alone(table)).await;
        put_elsewhere(&scene, there);
        let before = scene.server.world().elsewhere.clone();
        let done = scene.restore().await.unwrap();
        let failure = done.failure.as_ref().map(|failure| failure.code.as_str());
        assert_eq!(
            (done.end, failure),
            (Some(OperationEnd::Failed), Some(code)),
            "{there}: {done:?}"
        );
        let world = scene.server.world();
        assert_eq!((world.databases.len(), &world.elsewhere), (0, &before), "{there}");
        assert!(!world.operations().any(|known| known.id.starts_with("op")), "a RESTORE was sent");
    }
}

#[tokio::test(start_paused = true)]
async fn a_host_that_is_late_with_the_rename_leaves_it_open_and_gets_there() {
    // The first statement is CREATE DATABASE, the second RENAME TABLE.
    let faults = Faults { late: Some(2), ..Faults::default() };
    let scene = Scene::new(&Case { faults, ..alone(true) }).await;
    let error = scene.restore().await.expect_err("left open");
    assert_eq!((error.code, error.open), (Code::Timeout, Some(id())));
    assert_eq!(scene.step(), Some(OperationStep::Placing));
    scene.server.world().faults = Faults::default();
    let done = scene.recover().await.unwrap();
    assert_eq!(done.end, Some(OperationEnd::Succeeded), "{done:?}");
    scene.judge(done.end, "late");
}

#[tokio::test(start_paused = true)]
async fn a_table_that_somebody_makes_meanwhile_is_not_dropped() {
    let scene = Scene::died_at(&alone(true), OperationStep::Placing).await;
    put_elsewhere(&scene, "t");
    let done = scene.recover().await.unwrap();
    let failure = done.failure.map(|failure| failure.code);
    assert_eq!(
        (done.end, failure.as_deref()),
        (Some(OperationEnd::RolledBack), Some("TARGET_CHANGED"))
    );
    let world = scene.server.world();
    assert_eq!(world.elsewhere[&name("live")].tables[&name("t")], foreign(&[5]));
    assert!(world.databases[&name("live")].tables.is_empty(), "left here");
}

#[tokio::test(start_paused = true)]
async fn what_one_host_has_placed_is_not_taken_back_where_another_cannot() {
    let scene = Scene::died_at(&alone(true), OperationStep::Placing).await;
    {
        let mut world = scene.server.world();
        let tables = &mut world.databases.get_mut(&name("live")).unwrap().tables;
        let (_, table) = tables.pop_first().unwrap();
        tables.insert(name("t"), table);
    }
    put_elsewhere(&scene, "t");
    let error = scene.recover().await.expect_err("left open");
    assert_eq!((error.code, error.open), (Code::TargetNotEmpty, Some(id())));
    // Whoever made it takes it away.
    scene.server.world().elsewhere.get_mut(&name("live")).unwrap().tables.remove(&name("t"));
    let done = scene.recover().await.unwrap();
    assert_eq!(done.end, Some(OperationEnd::Succeeded), "{done:?}");
    scene.judge(done.end, "half placed");
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_checked_here_is_dropped_everywhere() {
    for table in [true, false] {
        let mut steps = 0;
        // Once the RESTORE was accepted and did all of its work.
        let scene = loop {
            steps += 1;
            let scene = Scene::new(&Case { database: false, ..alone(table) }).await;
            assert_eq!(scene.live_for(steps, scene.restore()).await, None);
            for _ in 0..10 {
                scene.server.world().tick();
            }
            if scene.server.world().elsewhere.values().any(|db| !db.tables.is_empty()) {
                break scene;
            }
        };
        match table {
            true => scene.server.world().databases.get_mut(&name("live")).unwrap().tables.clear(),
            false => drop(scene.server.world().databases.remove(&name("live"))),
        }
        let done = scene.recover().await.unwrap();
        let failure = done.failure.as_ref().map(|failure| failure.code.as_str());
        assert_eq!((done.end, failure), (Some(OperationEnd::RolledBack), Some("VERIFY_FAILED")));
        scene.judge(done.end, "not here");
    }
}

#[tokio::test(start_paused = true)]
async fn a_second_worker_takes_a_table_over_on_all_hosts() {
    let mut taken_over = 0;
    for steps in 1..40 {
        let scene = Scene::new(&alone(true)).await;
        if scene.live_for(steps, scene.restore()).await.is_some() {
            break;
        }
        let second = scene.worker(MemoryOperations::new(scene.fuse.clone()));
        let done = second.restore_backup(&id(), &scene.request(), true, &Alone).await.unwrap();
        // What the first has put in its place is a table like any other.
        let placed =
            done.failure.as_ref().is_some_and(|failure| failure.code == "TARGET_NOT_EMPTY");
        assert!(placed || done.end == Some(OperationEnd::Succeeded), "{steps}: {done:?}");
        scene.judge(Some(OperationEnd::Succeeded), &format!("after {steps}"));
        taken_over += u32::from(!placed);
    }
    assert!(taken_over > 10, "{taken_over}");
}

#[tokio::test(start_paused = true)]
async fn a_host_that_does_not_do_what_it_is_told_is_not_told_for_ever() {
    for (table, damaged) in [(true, true), (true, false), (false, true)] {
        let faults = Faults { deaf: true, damaged, ..Faults::default() };
        let scene = Scene::new(&Case { faults, ..alone(table) }).await;
        let error = scene.restore().await.expect_err("left open");
        assert_eq!((error.code, error.open), (Code::Timeout, Some(id())), "{table} {damaged}");
        scene.server.world().faults = Faults::default();
        let done = scene.recover().await.unwrap();
        assert_eq!(done.end == Some(OperationEnd::Succeeded), !damaged, "{done:?}");
        scene.judge(done.end, "deaf");
    }
}
