//! A restore of ClickHouse killed at every step, in memory, with a server that is restarted or not:
//! the target ends as the backup has it, or as it was before, and nothing is left beside it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use deltakeep::clickhouse::{
    Alone, BackupManager, Common, CreateBackup, Name, Object, OperationId, Patience, Place, Places,
    RestoreBackup, Status, TaskError,
};
use deltakeep::journal::{Operation, OperationEnd, OperationStep, Operations};
use deltakeep::testing::Fuse;
use deltakeep::testing::clickhouse::{Db, Faults, MemoryOperations, MemoryServer, World};

const OLD: [u64; 3] = [1, 2, 3];
const SAVED: [u64; 2] = [10, 20];
const LATE: u64 = 777;

type Manager = BackupManager<MemoryServer, MemoryOperations>;

/// What a kill meets.
#[derive(Clone, Debug)]
struct Case {
    table: bool,
    replaces: bool,
    restarted: bool,
    faults: Faults,
}

struct Scene {
    case: Case,
    fuse: Arc<Fuse>,
    server: MemoryServer,
    journal: MemoryOperations,
    old: Option<String>,
}

fn name(text: &str) -> Name {
    Name::known(text)
}

fn id(text: &str) -> OperationId {
    OperationId::parse(text).unwrap()
}

fn common(table: bool) -> Common {
    let place = Place::parse("s3://my-bucket/q1", &Places::default()).unwrap();
    let object = Object { database: name("live"), table: table.then(|| name("t")) };
    Common {
        object,
        place,
        keys: None,
        base: None,
        structure_only: false,
        bandwidth: None,
        cluster: None,
    }
}

impl Scene {
    /// A backup of other rows than the target has now, if it is there at all.
    async fn new(case: &Case) -> Self {
        let fuse = Arc::new(Fuse::default());
        let server = MemoryServer::new(fuse.clone());
        let journal = MemoryOperations::new(fuse.clone());
        let scene = Self { case: case.clone(), fuse, server, journal, old: None };
        scene.server.world().sample(&name("live"), &SAVED);
        let saved = CreateBackup { id: None, common: common(case.table) };
        let done = scene.manager().create_backup(&id("saved"), &saved, &Alone).await.unwrap();
        assert_eq!(done.end, Some(OperationEnd::Succeeded), "{done:?}");
        let old = {
            let mut world = scene.server.world();
            match (case.table, case.replaces) {
                (false, false) => drop(world.databases.remove(&name("live"))),
                (true, false) => {
                    drop(world.databases.get_mut(&name("live")).unwrap().tables.remove(&name("t")))
                }
                (_, true) => world.sample(&name("live"), &OLD),
            }
            world.faults = case.faults.clone();
            scene.identity(&world.databases)
        };
        Self { old, ..scene }
    }

    fn identity(&self, databases: &BTreeMap<Name, Db>) -> Option<String> {
        let live = databases.get(&name("live"))?;
        match self.case.table {
            true => live.tables.get(&name("t")).map(|table| table.uuid.clone()),
            false => Some(live.uuid.clone()),
        }
    }

    fn manager(&self) -> Manager {
        let second = Duration::from_secs(1);
        let patience = Patience { stall: 60 * second, cancel: 60 * second, ..Patience::default() };
        BackupManager::new(self.server.clone(), self.journal.clone(), patience, || 7).unwrap()
    }

    async fn restore(&self) -> Result<Operation, TaskError> {
        let request = RestoreBackup {
            id: None,
            common: common(self.case.table),
            source_database: None,
            source_table: None,
            overwrite: self.case.replaces,
        };
        self.manager().restore_backup(&id("op"), &request, false, &Alone).await
    }

    /// Works until it ends or is killed.
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
            Some(Err(error)) if !killed => panic!("{:?}: {error:?}", self.case),
            _ => None,
        }
    }

    /// While nobody works, what was there before exists, unless its replacement was checked; a row
    /// that comes now reaches the view's table once.
    fn between(&self) {
        let mut world = self.server.world();
        if self.case.restarted {
            world.restart();
        }
        let step = self.manager_step();
        let checked = matches!(step, Some(OperationStep::Cleaning | OperationStep::Ended));
        if let Some(old) = self.old.as_ref().filter(|_| !checked) {
            let kept = world.databases.values().any(|db| match self.case.table {
                true => db
                    .tables
                    .values()
                    .any(|table| table.uuid == *old && table.rows.starts_with(&OLD)),
                false => db.uuid == *old && db.tables.len() == 3,
            });
            assert!(kept, "{:?}: what was there before is gone at {step:?}", self.case);
        }
        let copies = |world: &World| {
            let to = world.databases.get(&name("live")).and_then(|db| db.tables.get(&name("to")));
            to.map(|to| to.rows.iter().filter(|row| **row == LATE).count())
        };
        let before = copies(&world);
        if world.insert("live", "t", LATE)
            && let (Some(before), Some(after)) = (before, copies(&world))
        {
            assert!(after - before <= 1, "{:?}: a row was doubled at {step:?}", self.case);
        }
    }

    fn manager_step(&self) -> Option<OperationStep> {
        let all = self.journal.all().unwrap();
        all.into_iter().find(|operation| operation.id == "op").map(|operation| operation.step)
    }

    fn judge(&self, end: Option<OperationEnd>, why: &str) {
        let mut world = self.server.world();
        let beside: Vec<_> = world
            .databases
            .iter()
            .flat_map(|(name, db)| std::iter::once(name).chain(db.tables.keys()))
            .filter(|name| name.is_beside())
            .cloned()
            .collect();
        assert!(beside.is_empty(), "{why}: left beside: {beside:?}");
        let rows =
            |rows: &[u64]| rows.iter().copied().filter(|row| *row != LATE).collect::<Vec<_>>();
        let live = world.databases.get(&name("live")).and_then(|db| db.tables.get(&name("t")));
        let live = live.map(|table| rows(&table.rows));
        if end == Some(OperationEnd::Succeeded) {
            assert_eq!(live.as_deref(), Some(&SAVED[..]), "{why}");
        } else {
            assert_eq!(
                self.identity(&world.databases),
                self.old,
                "{why}: not what was there before"
            );
            assert_eq!(live.as_deref(), self.old.as_ref().map(|_| &OLD[..]), "{why}");
        }
        // A row still reaches the view's table, once.
        let count = |world: &World| {
            world
                .databases
                .get(&name("live"))
                .and_then(|db| db.tables.get(&name("to")))
                .map(|t| t.rows.len())
        };
        let before = count(&world);
        if world.insert("live", "t", LATE) && before.is_some() && !self.case.table {
            assert_eq!(count(&world), before.map(|n| n + 1), "{why}: the view");
        }
    }
}

fn cases() -> Vec<Case> {
    let faults = [
        Faults::default(),
        Faults { fail_after: Some(1), ..Faults::default() },
        Faults { damaged: true, ..Faults::default() },
        Faults { lose_answer: Some(2), ..Faults::default() },
        Faults { stand_still: true, ..Faults::default() },
    ];
    let mut cases = Vec::new();
    for faults in faults {
        for (table, replaces) in [(true, true), (true, false), (false, true), (false, false)] {
            for restarted in [true, false] {
                cases.push(Case { table, replaces, restarted, faults: faults.clone() });
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
    scene.between();
    for steps in [second, i64::MAX] {
        let step = scene.manager_step();
        let recovered = match step {
            None => scene.live_for(steps, scene.restore()).await,
            Some(_) => {
                let manager = scene.manager();
                let op = id("op");
                let work = manager.recover(&op, None, &Alone);
                scene.live_for(steps, work).await
            }
        };
        if let Some(done) = recovered {
            assert!(done.end.is_some(), "{why}: {done:?}");
            scene.judge(done.end, &why);
            break;
        }
        scene.between();
    }
    // Whatever it met: once nothing fails any more, the same task succeeds.
    scene.server.world().faults = Faults::default();
    let again = scene.restore().await.unwrap_or_else(|error| panic!("{why}: {error:?}"));
    assert_eq!(again.end, Some(OperationEnd::Succeeded), "{why}: {again:?}");
    scene.judge(again.end, &why);
    true
}

#[tokio::test(start_paused = true)]
async fn killed_anywhere_it_is_finished_or_rolled_back() {
    let mut kills = 0;
    for case in cases() {
        for first in 1.. {
            let mut killed = false;
            for second in [i64::MAX, 1, 3, 6, 10, 15] {
                killed |= kill(&case, first, second).await;
                kills += 1;
            }
            if !killed {
                break;
            }
            assert!(first < 400, "{case:?} never ends");
        }
    }
    assert!(kills > 1000, "only {kills} were killed");
    println!("{kills} kills");
}

#[tokio::test(start_paused = true)]
async fn what_fails_is_told_and_put_back() {
    let large = Faults { unseen: 200, ..Faults::default() };
    let large = Case { table: true, replaces: true, restarted: false, faults: large };
    for case in cases().into_iter().chain([large]) {
        let scene = Scene::new(&case).await;
        let done = scene.restore().await.unwrap();
        let failure = done.failure.as_ref().map(|failure| failure.code.as_str());
        let Faults { fail_after, damaged, stand_still, .. } = case.faults;
        let wanted = match (fail_after, damaged, stand_still) {
            (Some(_), ..) => Some("STORAGE_ERROR"),
            (_, true, _) => Some("VERIFY_FAILED"),
            (_, _, true) => Some("STALLED"),
            _ => None,
        };
        assert_eq!(failure, wanted, "{case:?}: {done:?}");
        let status = if wanted.is_some() { Status::RolledBack } else { Status::Succeeded };
        assert_eq!(Status::of(&done), status, "{case:?}");
        scene.judge(done.end, &format!("{case:?}"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_restore_that_is_done_between_two_looks_is_no_failure() {
    for unseen in 0..40 {
        for (table, replaces) in [(true, true), (true, false), (false, true), (false, false)] {
            let faults = Faults { unseen, at_once: true, ..Faults::default() };
            let case = Case { table, replaces, restarted: false, faults };
            let scene = Scene::new(&case).await;
            let done = scene.restore().await.unwrap();
            assert_eq!(done.end, Some(OperationEnd::Succeeded), "{case:?}: {done:?}");
            scene.judge(done.end, &format!("{case:?}"));
        }
    }
}
