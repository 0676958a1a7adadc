//! Each fault of the target's node alone: the restore ends well or can be resumed, and the datamart
//! is what it is without the fault. Also a node that dies while it loads.

use std::time::Duration;

use crate::process::{Done, Keep};
use crate::rig::Rig;
use crate::sandbox::Sandbox;

/// The fault, and how a first execution may end that does not come through.
const FAULTS: &[(&str, Option<(i32, &str)>)] = &[
    ("drop-answer@20", None),
    ("drop-answer@40", None),
    ("lost-begin@2", None),
    ("lost-commit@2", None),
    ("drop-load-answer@2", None),
    ("zombie-load=600@2", None),
    ("late-load=600@2", None),
    ("fail-load@2", None),
    ("fail-load-counted@2", None),
    ("slow-load=500@2", None),
    ("stale-delta-ok@1", None),
    ("lying-load@2", Some((6, "the sum is"))),
    ("wrong-sum@2", Some((6, "the sum is"))),
    ("consistency-breach@2", Some((6, "the sum is"))),
    ("unfinished-ddl@2", Some((5, "cannot be replayed"))),
    ("fail-commit@1", Some((5, "not finished write operation"))),
];

fn rig() -> Rig {
    let rig = Rig::new("restore_faults");
    rig.node.script("d", "CREATE VIEW v AS SELECT id FROM a WHERE id > 60");
    rig.delta(
        "UPSERT INTO b VALUES (1, 'x')\nDELETE FROM b WHERE id < 3\nINSERT INTO b VALUES (1, 'y')",
    );
    rig.keep.expect(0, &rig.words(&[]));
    rig
}

fn state(node: &Sandbox, datamart: &str) -> Vec<String> {
    let mut questions: Vec<_> = ["a", "b"].map(|table| format!("CHECK_SUM(1, {table})")).into();
    for (table, delta) in [("a", 0), ("a", 1), ("a", 2), ("b", 0), ("b", 1), ("b", 2)] {
        let at = format!("FOR SYSTEM_TIME AS OF DELTA_NUM {delta}");
        questions.push(format!("SELECT * FROM {table} {at} ORDER BY id"));
    }
    let questions = questions.into_iter();
    questions.map(|sql| format!("{:?}", node.sql(datamart, &sql))).collect()
}

fn restore(keep: &Keep, rig: &Rig) -> Done {
    keep.run(&[
        "restore_from_kafka",
        "--topic",
        &rig.topic,
        "--kafkaBrokersCore",
        &rig.brokers,
        "--sourceDatamart",
        "d",
    ])
}

fn require_whole(rig: &Rig, node: &Sandbox, target: &str, done: &Done, why: &str) {
    assert_eq!(done.code, Some(0), "{why}: {done}");
    assert_eq!(state(node, target), state(&rig.node, "d"), "{why}: {done}");
    crate::round_trip::require_clean(node, target, done.run().as_deref(), why);
}

#[test]
fn no_single_fault_of_the_node_changes_what_is_restored() {
    let rig = rig();
    for (number, (fault, stops)) in FAULTS.iter().enumerate() {
        let target = format!("target{number}");
        let keep = Keep::new(rig.folder.path(), &rig.node.address, &target).elsewhere(&target);
        rig.node.fault(fault);
        let mut done = restore(&keep, &rig);
        if let Some((code, text)) = stops {
            assert_eq!(done.code, Some(*code), "{fault}: {done}");
            assert!(done.stderr.contains(text), "{fault}: {done}");
            assert_eq!(rig.node.leftovers(&target), [""; 0], "{fault}: an orderly end");
            done = keep.run(&["resume"]);
        }
        rig.node.clear_faults();
        require_whole(&rig, &rig.node, &target, &done, fault);
    }
}

#[test]
fn a_node_that_dies_while_it_loads_goes_on_or_loads_again() {
    let rig = rig();
    for milliseconds in [0, 60, 400] {
        let folder = tempfile::tempdir().expect("a folder");
        let mut node = Sandbox::start(folder.path(), &rig.brokers, &["--loadDelay", "400"]);
        let keep = Keep::new(folder.path(), &node.address, "t");
        let words =
            ["restore_from_kafka", "--topic", &rig.topic, "--kafkaBrokersCore", &rig.brokers];
        let words = [&words[..], &["--sourceDatamart", "d", "--threadsCount", "2"]].concat();
        let mut process = keep.start(&words);
        process.meet_line("Successfully filled load topic", 2, Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(milliseconds));
        node.kill();
        node.start_again();
        let mut done = process.wait();
        if done.code == Some(5) {
            done = keep.run(&["resume"]);
        }
        require_whole(&rig, &node, "t", &done, &format!("killed after {milliseconds} ms"));
    }
}
