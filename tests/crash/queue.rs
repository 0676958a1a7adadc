//! The worker of a queue killed at every step, in memory, with connections that are lost before or
//! after any message, with a second worker or without: every task ends in one distinct final reply,
//! what was there before is whole, and nothing is left beside.

use std::ops::Deref;

use deltakeep::clickhouse::Name;
use deltakeep::journal::TaskState;
use deltakeep::queue::Address;
use deltakeep::testing::clickhouse::Faults;
use deltakeep::testing::queue::Cut;
use serde_json::{Value, json};

use crate::hand::{Hand, Life, Place, QUIET, backup, message};

const OLD: [u64; 3] = [1, 2, 3];
const SAVED: [u64; 2] = [10, 20];

/// What is asked for, and what goes wrong.
#[derive(Clone, Debug)]
struct Case {
    task: &'static str,
    table: bool,
    replaces: bool,
    faults: Faults,
}

struct Scene {
    case: Case,
    place: Place,
    old: Option<String>,
}

impl Deref for Scene {
    type Target = Place;

    fn deref(&self) -> &Place {
        &self.place
    }
}

fn name(text: &str) -> Name {
    Name::known(text)
}

fn restore(case: &Case) -> Value {
    let mut request = backup(case.table, "q1")["payload"].clone();
    request["overwrite"] = case.replaces.into();
    json!({"type": "restore_backup", "payload": {"request": request}})
}

impl Scene {
    /// A backup of other rows than the target has now, if it is there at all.
    async fn new(case: &Case) -> Self {
        let scene = Self { case: case.clone(), place: Place::new(), old: None };
        scene.server.world().sample(&name("live"), &SAVED);
        scene.exchange.put(message("saved", &backup(case.table, "q1")));
        let saver = Hand::new("saver", &[]);
        saver.live(&scene, None, scene.answered(&["saved"])).await;
        assert_eq!(scene.status("saved"), "succeeded");
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
            drop(world);
            scene.identity()
        };
        let scene = Self { old, ..scene };
        scene.exchange.put(message("m", &scene.body()));
        scene
    }

    fn body(&self) -> Value {
        match self.case.task {
            "create_backup" => backup(self.case.table, "q2"),
            "restore_backup" => restore(&self.case),
            kind => json!({"type": kind, "payload": {"topic": "t"}}),
        }
    }

    fn identity(&self) -> Option<String> {
        let world = self.server.world();
        let live = world.databases.get(&name("live"))?;
        match self.case.table {
            true => live.tables.get(&name("t")).map(|table| table.uuid.clone()),
            false => Some(live.uuid.clone()),
        }
    }

    fn beside(&self) -> Vec<Name> {
        let world = self.server.world();
        let names = world
            .databases
            .iter()
            .flat_map(|(name, db)| std::iter::once(name).chain(db.tables.keys()));
        names.filter(|name| name.is_beside()).cloned().collect()
    }

    /// One distinct final reply that says what is there.
    fn judge(&self, why: &str) {
        let reply = self.reply("m");
        assert_eq!(reply["final"], true, "{why}");
        assert_eq!(self.exchange.tasks(), 0, "{why}");
        assert_eq!(self.beside(), [], "{why}: left beside; {reply}");
        let secrets = self.exchange.sent().into_iter().filter(|sent| sent.to != Address::Later);
        for sent in secrets {
            let text = String::from_utf8(sent.body).unwrap();
            assert!(!text.contains("caNary"), "{why}: {text}");
        }
        if self.case.task != "restore_backup" {
            assert_eq!(self.identity(), self.old, "{why}");
            return;
        }
        let world = self.server.world();
        let live = world.databases.get(&name("live")).and_then(|db| db.tables.get(&name("t")));
        let live = live.map(|table| table.rows.clone());
        drop(world);
        match reply["status"].as_str() {
            Some("succeeded") => assert_eq!(live.as_deref(), Some(&SAVED[..]), "{why}"),
            _ => {
                assert_eq!(live.as_deref(), self.old.as_ref().map(|_| &OLD[..]), "{why}: {reply}");
                assert_eq!(self.identity(), self.old, "{why}");
            }
        }
    }
}

fn cases() -> Vec<Case> {
    let case = |task, table, replaces, faults: &Faults| Case {
        task,
        table,
        replaces,
        faults: faults.clone(),
    };
    let faults = [Faults::default(), Faults { fail_after: Some(1), ..Faults::default() }];
    let mut cases = Vec::new();
    for faults in &faults {
        for (table, replaces) in [(true, true), (false, true), (true, false), (false, false)] {
            cases.push(case("restore_backup", table, replaces, faults));
        }
    }
    cases.push(case("create_backup", true, true, &faults[0]));
    cases.push(case("create_backup", false, true, &faults[0]));
    cases.push(case("backup_to_kafka", false, true, &faults[0]));
    cases.push(case("verify", false, true, &faults[0]));
    cases
}

/// Kills the only worker at a step and at another of its next life.
async fn kill(case: &Case, first: i64, second: i64) -> bool {
    let scene = Scene::new(case).await;
    let why = format!("{case:?}, killed at {first} and {second}");
    let hand = Hand::new("one", &[]);
    let killed = hand.live(&scene, Some(first), scene.answered(&["m"])).await;
    if matches!(killed, Life::Stopped(..)) {
        scene.judge(&why);
        return false;
    }
    hand.live(&scene, Some(second), scene.answered(&["m"])).await;
    hand.live(&scene, None, scene.answered(&["m"])).await;
    scene.judge(&why);
    assert_eq!(hand.states(), [TaskState::Done], "{why}");
    true
}

#[tokio::test(start_paused = true)]
async fn killed_anywhere_every_task_ends_in_one_reply() {
    let mut kills = 0;
    for case in cases() {
        for first in 1.. {
            let mut killed = false;
            for second in [i64::MAX, 1, 2, 4, 7, 11, 16, 22] {
                killed |= kill(&case, first, second).await;
                kills += 1;
            }
            if !killed {
                break;
            }
            assert!(first < 400, "{case:?} never ends");
        }
    }
    assert!(kills > 2000, "only {kills} were killed");
    println!("{kills} kills");
}

/// A connection is lost at a message, with one worker or with two that live.
#[tokio::test(start_paused = true)]
async fn lost_connections_neither_lose_nor_double_a_task() {
    let mut losses = 0;
    for case in cases() {
        for at in 1..=8 {
            for arrived in [true, false] {
                for others in [0, 1] {
                    let scene = Scene::new(&case).await;
                    let why = format!("{case:?}, cut at {at}, arrived {arrived}, others {others}");
                    let one = Hand::new("one", &[Cut { at, arrived }, Cut { at: at + 1, arrived }]);
                    let two = Hand::new("two", &[]);
                    let done = async {
                        scene.answered(&["m"]).await;
                        tokio::time::sleep(QUIET).await;
                    };
                    let also = async {
                        if others == 1 {
                            two.live(&scene, None, async {
                                scene.answered(&["m"]).await;
                                tokio::time::sleep(QUIET).await;
                            })
                            .await;
                        }
                    };
                    tokio::join!(one.live(&scene, None, done), also);
                    scene.judge(&why);
                    losses += 1;
                }
            }
        }
    }
    println!("{losses} losses");
}

/// The connection is lost while the task is worked on, so that it comes again to the same worker or to
/// another that lives; then the first one is killed, and comes back.
#[tokio::test(start_paused = true)]
async fn a_task_that_comes_again_while_it_is_worked_on_is_not_lost() {
    let (mut kills, mut seen) = (0, 0);
    for case in cases() {
        for lost_at in [1, 2, 3, 4, 5, 6, 8, 10, 13, 16, 20, 30] {
            for steps in [i64::MAX, 3, 5, 8, 11, 14, 18, 24, 32] {
                for others in [0, 1] {
                    let scene = Scene::new(&case).await;
                    let why = format!("{case:?}, lost at {lost_at}, killed at {steps}, {others}");
                    let (one, two) = (Hand::new("one", &[]), Hand::new("two", &[]));
                    let done = async {
                        for _ in 0..lost_at {
                            tokio::task::yield_now().await;
                        }
                        scene.exchange.lose("one");
                        seen += usize::from(scene.finals("m").is_empty());
                        tokio::time::sleep(QUIET).await;
                    };
                    let also = async {
                        if others == 1 {
                            two.live(&scene, None, tokio::time::sleep(2 * QUIET)).await;
                        }
                    };
                    let (life, _) = tokio::join!(one.live(&scene, Some(steps), done), also);
                    kills += usize::from(matches!(life, Life::Killed));
                    one.live(&scene, None, tokio::time::sleep(QUIET)).await;
                    assert_eq!(scene.exchange.tasks(), 0, "{why}");
                    scene.judge(&why);
                }
            }
        }
    }
    println!("{kills} kills, {seen} lost before the reply");
}

/// One of two workers is killed at every step: before the ack the other gets the task, after it the
/// other lists the operation as orphaned and keeps off its names, and the first ends it when it is
/// back.
#[tokio::test(start_paused = true)]
async fn what_a_dead_worker_has_is_left_to_it() {
    let (mut taken_over, mut orphaned, mut busy) = (0, 0, 0);
    for case in cases() {
        for first in 1.. {
            for cut in [None, Some(true), Some(false)] {
                let scene = Scene::new(&case).await;
                let why = format!("{case:?}, killed at {first}, cut {cut:?}");
                let one = Hand::new("one", &[]);
                let life = one.live(&scene, Some(first), scene.answered(&["m"])).await;
                if matches!(life, Life::Stopped(..)) {
                    break;
                }
                let owned = one.states().iter().any(|state| *state > TaskState::Taken);
                let cuts: Vec<_> = cut.iter().map(|&arrived| Cut { at: 2, arrived }).collect();
                let mut two = Hand::new("two", &cuts);
                two.live(&scene, None, tokio::time::sleep(QUIET)).await;
                two.cuts.clear();
                let ended = !scene.finals("m").is_empty();
                assert!(ended || owned, "{why}: the other did not get it");
                taken_over += usize::from(ended);
                let left = !scene.beside().is_empty();
                if !ended && left {
                    scene.exchange.put(message("list", &json!({"type": "list_backups"})));
                    two.live(&scene, None, scene.answered(&["list"])).await;
                    let listed = scene.reply("list");
                    let listed = listed["result"]["operations"].as_array().unwrap();
                    let orphans = listed.iter().filter(|entry| entry["status"] == "orphaned");
                    assert_eq!(orphans.count(), 1, "{why}: {listed:#?}");
                    orphaned += 1;
                }
                if !ended && left {
                    scene.exchange.put(message("other", &restore(&case)));
                    two.live(&scene, None, scene.answered(&["other"])).await;
                    assert_eq!(scene.reply("other")["error"]["code"], "BUSY", "{why}");
                    busy += 1;
                }
                one.live(&scene, None, scene.answered(&["m"])).await;
                scene.judge(&why);
                // Whatever both remember: nothing comes of it any more.
                let before = scene.exchange.sent().len();
                tokio::join!(
                    one.live(&scene, None, tokio::time::sleep(QUIET)),
                    two.live(&scene, None, tokio::time::sleep(QUIET))
                );
                assert_eq!(scene.exchange.sent().len(), before, "{why}");
                scene.judge(&why);
                // Nor does what the first one remembers keep it from its names.
                if case.task == "restore_backup" {
                    scene.server.world().faults = Faults::default();
                    let again = Case { replaces: true, ..case.clone() };
                    scene.exchange.put(message("after", &restore(&again)));
                    one.live(&scene, None, scene.answered(&["after"])).await;
                    assert_eq!(scene.status("after"), "succeeded", "{why}");
                }
            }
            if first > 300 {
                break;
            }
        }
        println!("{case:?}: {taken_over} taken over, {orphaned} orphaned, {busy} busy");
    }
}
