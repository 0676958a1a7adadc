//! What is told of runs without asking a server: `list`, `status`, their filters and ages.

use std::path::Path;

use deltakeep::journal::Journal;
use deltakeep::journal::sled_store::{SledJournal, write_status};
use serde_json::{Value, json};

use crate::binary::{run, text};

/// A journal with an ended run, and its status.
fn store(state: &Path, datamart: &str, topic: &str, stage: &str, more: &Value) {
    let path = state.join("journal").join(format!("{datamart}.{topic}"));
    let mut journal = SledJournal::open(&path).expect("a journal");
    journal.end(&format!(r#"{{"run":"of {topic}","deltas":[1],"rows":5}}"#)).expect("an end");
    drop(journal);
    let mut status = json!({
        "pid": u32::MAX, "run": format!("{topic}-1"), "stage": stage, "datamart": datamart,
        "topic": topic, "node": "n:1", "kafkaBrokers": "k:1", "kafkaBrokersCore": "k:1",
        "delivery": "transactions", "code": "c", "started": "2026-11-01T00:00:00Z",
        "updated": "2026-11-01T01:00:00Z", "deltas": 1, "deltasDone": 1, "rows": 5, "bytes": 9,
    });
    for (name, value) in more.as_object().expect("fields") {
        status[name] = value.clone();
    }
    write_status(&path, &status.to_string()).expect("written");
}

fn told(state: &Path, words: &[&str]) -> (Option<i32>, Value) {
    let fixed = ["--stateDir", state.to_str().expect("a path"), "--output", "json"];
    let output = run(&[&fixed[..], words].concat(), &[]);
    let document = serde_json::from_slice(&output.stdout);
    (output.status.code(), document.unwrap_or_else(|_| panic!("{}", text(&output))))
}

#[test]
fn runs_are_listed_by_datamart_topic_and_stage_and_with_what_ended() {
    let state = tempfile::tempdir().expect("a folder");
    store(state.path(), "shop", "keep", "done", &json!({}));
    store(state.path(), "shop", "other", "stopped", &json!({}));
    store(state.path(), "market", "third", "running", &json!({}));
    let topics = |words: &[&str]| {
        let (_, document) = told(state.path(), &[&["list"], words].concat());
        let runs = document["runs"].as_array().expect("runs").clone();
        let mut topics: Vec<_> =
            runs.iter().map(|r| r["topic"].as_str().expect("a topic").to_owned()).collect();
        topics.sort();
        topics
    };
    assert_eq!(topics(&[]), ["keep", "other", "third"]);
    assert_eq!(topics(&["--datamart", "SHOP"]), ["keep", "other"]);
    assert_eq!(topics(&["--topic", "third"]), ["third"]);
    assert_eq!(topics(&["--stage", "killed", "--stage", "stopped"]), ["other", "third"]);
    let (_, document) = told(state.path(), &["list", "--ended", "--datamart", "shop"]);
    let of = |topic: &str| {
        let runs = document["runs"].as_array().expect("runs");
        runs.iter().find(|r| r["topic"] == topic).expect("a run")["ended"].clone()
    };
    assert_eq!(of("keep")[0]["run"], "of keep");
    assert_eq!(of("other"), Value::Null, "the journal of an unfinished run was opened");
}

#[test]
fn a_backup_that_was_not_brought_up_to_date_lately_ends_with_4() {
    let state = tempfile::tempdir().expect("a folder");
    assert_eq!(told(state.path(), &["status", "--maxAge", "1h"]).0, Some(4));
    let now = jiff::Timestamp::now().to_string();
    store(state.path(), "shop", "new", "stopped", &json!({ "lastSuccess": now }));
    let (code, document) = told(state.path(), &["status", "--maxAge", "26h"]);
    assert_eq!((code, &document["fresh"]), (Some(0), &json!(true)), "{document}");
    // A document of an earlier version tells only when its run was done.
    store(state.path(), "shop", "old", "done", &json!({}));
    let (code, document) = told(state.path(), &["status", "--maxAge", "26h"]);
    assert_eq!((code, &document["fresh"]), (Some(4), &json!(false)), "{document}");
    assert_eq!(told(state.path(), &["status", "--maxAge", "26h", "--topic", "new"]).0, Some(0));
    for bad in ["0s", "soon", "-1h"] {
        let words = ["status", &format!("--maxAge={bad}")];
        assert_eq!(run(&words, &[]).status.code(), Some(2), "{bad}");
    }
}
