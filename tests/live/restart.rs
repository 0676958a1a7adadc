//! A broker that dies -9 in the middle of a run and comes back. Owns the broker that creates topics
//! by itself: no other live test may work with it meanwhile.

use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::rig::Rig;
use crate::support::{eventually, setting, topics};

/// The broker that creates topics by itself, for one test at a time.
pub fn auto_broker() -> (String, MutexGuard<'static, ()>) {
    static TURN: Mutex<()> = Mutex::new(());
    let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    (setting("DELTAKEEP_TEST_KAFKA_AUTO"), turn)
}

fn servers(words: &[&str]) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/servers");
    let output = Command::new(script).args(words).output().expect("scripts/servers runs");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// kill -9 of the broker that scripts/servers started.
fn kill_broker(address: &str) {
    let told = servers(&["status", "kafka-auto"]);
    let words: Vec<_> = told.split_whitespace().collect();
    let ["kafka-auto", found, pid] = words[..] else { panic!("{told:?}") };
    let ours = found == address && pid != "-";
    assert!(ours, "the broker at {address} is not the one of scripts/servers: {told:?}");
    let killed = Command::new("kill").args(["-9", pid]).status().expect("kill runs");
    assert!(killed.success());
}

#[test]
fn a_broker_killed_in_the_middle_of_a_run_costs_nothing() {
    let (broker, _turn) = auto_broker();
    let rig = Rig::over("restart", &broker, &[]);
    let expect = rig.undisturbed();
    rig.slow(40);
    let words = rig.words(&["--threadsCount", "2"]);
    let mut process = rig.keep.start(&words);
    process.await_line("Trying to send data message 3 ");
    kill_broker(&broker);
    std::thread::sleep(Duration::from_secs(1));
    servers(&["up", "kafka-auto"]);
    let mut done = process.wait();
    let first = done.run().expect("a run");
    for _ in 0..3 {
        match done.code {
            Some(0) => break,
            Some(5) => done = rig.keep.run(&["resume"]),
            _ => panic!("{done}"),
        }
    }
    assert_eq!(done.code, Some(0), "{done}");
    assert_eq!(done.run(), Some(first.clone()), "another run: {done}");
    rig.judge_against(&expect);
    let prefix = format!("deltakeep_{}", &first[..8]);
    let gone = || topics(&broker, &prefix).is_empty();
    assert!(eventually(Duration::from_secs(5), gone), "{:?}", topics(&broker, &prefix));
}
