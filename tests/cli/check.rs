//! `check` against a sandbox node and an in-process broker.

use std::process::Output;

use crate::binary::{run, text};
use crate::worlds::Worlds;

const DATAMART: [&str; 5] = [
    "CREATE DATABASE shop",
    "CREATE TABLE shop.t (id bigint NOT NULL, PRIMARY KEY (id)) DISTRIBUTED BY (id)",
    "BEGIN DELTA",
    "INSERT INTO shop.t VALUES (1), (2)",
    "COMMIT DELTA",
];

fn check(worlds: &Worlds, datamart: &str, state: &str, words: &[&str]) -> Output {
    let connect = worlds.connect(datamart);
    let fixed = ["--connect", &connect, "--stateDir", state, "check", "--topic", "keep"];
    let brokers = ["--kafkaBrokersCore", worlds.brokers()];
    run(&[&fixed[..], &brokers, words].concat(), &[])
}

#[test]
fn what_a_run_needs_is_listed_and_nothing_is_changed() {
    let worlds = Worlds::start(&DATAMART);
    let folder = tempfile::tempdir().expect("a folder");
    let state = folder.path().join("state");
    let output = check(&worlds, "shop", state.to_str().expect("a path"), &[]);
    let said = text(&output);
    assert_eq!(output.status.code(), Some(0), "{said}");
    for part in [
        "ok   node: answers",
        "ok   transactions: allowed",
        "ok   lock: free, no marker",
        "ok   topic: keep is not there",
        "ok   tables: 1 can be unloaded",
        "ok   plan: deltas to back up: [0]",
    ] {
        assert!(said.contains(part), "{part} is not in {said}");
    }
    assert!(!state.exists(), "a journal was made");
}

#[test]
fn what_a_run_would_be_refused_for_fails_with_3() {
    let denied = [&DATAMART[..], &["DENY_CHANGES(shop, 'somebody')"]].concat();
    let worlds = Worlds::start(&denied);
    let output = check(&worlds, "shop", "/proc/none", &["--output", "json"]);
    assert_eq!(output.status.code(), Some(3), "{}", text(&output));
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(found["ok"], false);
    let all = found["checks"].as_array().expect("checks");
    let failed: Vec<_> = all.iter().filter(|c| c["result"] == "fail").collect();
    let names: Vec<_> = failed.iter().filter_map(|c| c["check"].as_str()).collect();
    assert_eq!(names, ["state directory", "lock"], "{found}");
    assert!(failed.iter().all(|c| c["next"].is_string()), "{found}");
    let missing = check(&worlds, "nowhere", "/tmp", &[]);
    assert_eq!(missing.status.code(), Some(3), "{}", text(&missing));
    assert!(text(&missing).contains("fail node: "), "{}", text(&missing));
}
