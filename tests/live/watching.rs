//! What monitoring sees: the topic, metrics, hooks, ages, retention and `check`, over the real thing.

use std::io::{Read, Write};
use std::net::TcpListener;

use serde_json::{Value, json};

use crate::process::Done;
use crate::rig::Rig;
use crate::support::create_topic;

fn document(done: &Done) -> Value {
    serde_json::from_str(&done.stdout).unwrap_or_else(|e| panic!("{e}: {done}"))
}

/// `topic show`, as text and as JSON.
fn shown(rig: &Rig) -> (String, Value) {
    let words = ["topic", "show", "--topic", &rig.topic, "--kafkaBrokers", &rig.brokers];
    let text = rig.keep.elsewhere("nowhere").start_as(&[], &words).wait();
    assert_eq!(text.code, Some(0), "{text}");
    let json = rig.keep.start_as(&["--output", "json"], &words).wait();
    (text.stdout.clone(), document(&json))
}

#[test]
fn topic_show_tells_what_is_complete_what_is_not_and_how_large_it_is() {
    let rig = Rig::new("shown");
    rig.keep.expect(0, &rig.words(&["--deltaNum", "1"]));
    rig.slow(60);
    let mut process = rig.keep.start(&rig.words(&["--deltaNum", "0"]));
    process.await_line("Successfully archived delta table to backup topic");
    process.wait_for(std::time::Duration::ZERO).expect_err("it was not done");
    rig.node.clear_faults();
    // What the dead run left open is hidden until somebody ends it.
    rig.keep.expect(0, &["abandon", "--unloadStall", "1s"]);
    let (text, json) = shown(&rig);
    assert!(text.contains("Datamart d: 1 complete deltas from 1 to 1, 1 not"), "{text}");
    assert!(text.contains("delta 0 of 2026-01-01T00:00:00Z: INCOMPLETE"), "{text}");
    assert!(text.contains("delta 1 of 2026-01-01T00:00:01Z: complete"), "{text}");
    let of = &json["datamarts"][0];
    assert_eq!((&of["datamart"], &of["complete"]), (&json!("d"), &json!([1])), "{json}");
    assert_eq!((&of["incomplete"], &json["strangers"]), (&json!([0]), &json!(0)), "{json}");
    assert_eq!((&json["forgets"], &json["partitions"]), (&json!([]), &json!(1)), "{json}");
    let of_one = of["increments"].as_array().expect("increments").iter().find(|i| i["delta"] == 1);
    let of_one = of_one.expect("delta 1");
    assert!(of_one["messages"].as_u64() > Some(4), "{json}");
    assert!(of_one["bytes"].as_u64() > Some(1000), "{json}");
    assert_eq!(of_one["places"][0]["first"], 0, "{json}");
}

#[test]
fn a_topic_that_forgets_is_told_of_by_every_run_the_status_and_the_topics_own_command() {
    let rig = Rig::new("forgets");
    create_topic(&rig.brokers, &rig.topic, &[("retention.ms", "604800000")]);
    let told = "retention.ms=604800000: ";
    for run in ["first", "nothing new"] {
        let done = rig.keep.expect(0, &rig.words(&[]));
        assert!(done.stderr.contains(told) && done.stderr.contains("will vanish"), "{run}: {done}");
    }
    let accepted = rig.keep.expect(0, &rig.words(&["--acceptRetention"]));
    assert!(!accepted.stderr.contains("will vanish"), "{accepted}");
    let status = rig.keep.expect(0, &["status"]);
    assert!(status.stdout.contains(told), "{status}");
    let status = document(&rig.keep.expect(0, &["status", "--output", "json"]));
    assert_eq!(status["retention"], json!(["retention.ms=604800000"]), "{status}");
    let (text, json) = shown(&rig);
    assert!(text.contains(&format!("WARNING {told}")), "{text}");
    assert_eq!(json["forgets"], json!(["retention.ms=604800000"]), "{json}");
}

/// The metrics of the file, by name.
fn metrics(path: &str, topic: &str) -> std::collections::BTreeMap<String, f64> {
    let text = std::fs::read_to_string(path).expect("metrics");
    let labels = format!("{{datamart=\"d\",topic=\"{topic}\"}} ");
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let value = |line: &str| {
        let (name, value) = line.split_once(&labels).unwrap_or_else(|| panic!("{line}"));
        (name.trim_start_matches("deltakeep_").to_owned(), value.parse().expect("a number"))
    };
    lines.map(value).collect()
}

#[test]
fn metrics_and_ages_follow_a_success_a_failure_and_a_resume() {
    let mut rig = Rig::new("metrics");
    let file = rig.folder.path().join("keep.prom");
    let file = file.to_str().expect("a path").to_owned();
    let now = jiff::Timestamp::now().as_second() as f64;
    rig.keep.expect(0, &rig.words(&["--metricsFile", &file]));
    let good = metrics(&file, &rig.topic);
    let names: Vec<_> = good.keys().map(String::as_str).collect();
    let all = [
        "bytes",
        "deltas_behind",
        "duration_seconds",
        "last_run_timestamp_seconds",
        "last_status",
        "last_success_timestamp_seconds",
        "lock_held",
        "recovery_point_age_seconds",
        "resumes",
        "rows",
    ];
    assert_eq!(names, all);
    for (name, value) in [("last_status", 0.0), ("rows", 314.0), ("deltas_behind", 0.0)] {
        assert_eq!(good[name], value, "{name}: {good:?}");
    }
    assert!(good["last_success_timestamp_seconds"] >= now, "{good:?}");
    assert!(good["bytes"] > 5000.0 && good["duration_seconds"] > 0.0, "{good:?}");
    assert!(good["recovery_point_age_seconds"] > 1e6, "{good:?}");
    rig.keep.expect(0, &["status", "--maxAge", "1h"]);

    rig.delta("SANDBOX_FILL(b, 30)");
    let run = rig.leave_killed_run(&rig.words(&["--metricsFile", &file]));
    assert_eq!(metrics(&file, &rig.topic), good, "a killed one writes nothing");
    rig.node.kill();
    let failed = rig.keep.run(&["resume", &run, "--metricsFile", &file]);
    assert_eq!(failed.code, Some(5), "{failed}");
    let bad = metrics(&file, &rig.topic);
    for (name, value) in [("last_status", 5.0), ("deltas_behind", 1.0), ("lock_held", 1.0)] {
        assert_eq!(bad[name], value, "{name}: {bad:?}");
    }
    let success = "last_success_timestamp_seconds";
    assert_eq!(bad[success], good[success], "a failure makes nothing newer");
    rig.node.start_again();
    rig.keep.expect(0, &["resume", &run, "--metricsFile", &file]);
    let done = metrics(&file, &rig.topic);
    for (name, value) in [("last_status", 0.0), ("deltas_behind", 0.0), ("lock_held", 0.0)] {
        assert_eq!(done[name], value, "{name}: {done:?}");
    }
    assert!(done["resumes"] >= 1.0 && done["rows"] > 0.0, "{done:?}");
    assert!(done[success] >= good[success], "{done:?}");

    let fresh = rig.keep.elsewhere("fresh");
    let never = fresh.expect(4, &["status", "--maxAge", "26h"]);
    assert!(never.stderr.contains("no backup is known"), "{never}");
    rig.judge(&[0, 1, 2]);
}

/// Takes one request, answers 200, and returns its text.
fn hear_one(listener: TcpListener) -> String {
    let (mut stream, _) = listener.accept().expect("a request");
    let mut text = String::new();
    let mut part = [0; 4096];
    while !text.trim_end().ends_with('}') {
        let read = stream.read(&mut part).expect("a part");
        assert!(read > 0, "it ended early: {text}");
        text.push_str(&String::from_utf8_lossy(&part[..read]));
    }
    let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    stream.write_all(answer).expect("answered");
    text
}

#[test]
fn hooks_are_told_of_a_run_that_ended_well() {
    let rig = Rig::new("hooks");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/hook", listener.local_addr().expect("an address"));
    let heard = rig.folder.path().join("heard");
    let hook = format!("/bin/sh -c 'echo \"$DELTAKEEP_SUMMARY\" > {}'", heard.display());
    let listening = std::thread::spawn(move || hear_one(listener));
    let done = rig.keep.expect(0, &rig.words(&["--onFinishUrl", &url, "--onFinishCmd", &hook]));
    let posted = listening.join().expect("a request");
    assert!(posted.starts_with("POST /hook ") && posted.contains("application/json"), "{posted}");
    let (_, body) = posted.split_once("\r\n\r\n").expect("a body");
    let body: Value = serde_json::from_str(body).expect("JSON");
    assert_eq!((&body["exitCode"], &body["rows"]), (&json!(0), &json!(314)), "{body}");
    assert_eq!(body["run"].as_str().map(str::to_owned), done.run(), "{body}");
    let heard = std::fs::read_to_string(heard).expect("a summary");
    assert_eq!(serde_json::from_str::<Value>(&heard).expect("JSON"), body);
}

#[test]
fn check_names_all_that_a_run_would_be_refused_for_and_changes_nothing() {
    let rig = Rig::new("checked");
    let fine = rig.keep.expect(0, &check(&rig));
    assert!(fine.stdout.contains("ok   plan: deltas to back up: [0, 1]"), "{fine}");
    create_topic(&rig.brokers, &rig.topic, &[("cleanup.policy", "compact")]);
    rig.node.sql("d", "DENY_CHANGES(d, 'somebody')");
    let before = rig.node.calls().len();
    let bad = rig.keep.expect(3, &check(&rig));
    for part in ["fail lock: changes are denied by somebody", "is compacted", "fail plan: "] {
        assert!(bad.stdout.contains(part), "{part}: {bad}");
    }
    assert!(bad.stdout.contains("ok   transactions"), "{bad}");
    let calls = rig.node.calls();
    let changes = |call: &String| {
        ["DENY", "CREATE", "DROP", "INSERT"].iter().any(|w| call.to_uppercase().starts_with(w))
    };
    assert!(!calls[before..].iter().any(changes), "{calls:?}");
    assert!(rig.node.is_locked("d"), "the lock was opened");
    assert!(!rig.keep.state.join("journal").exists(), "a journal was made");
}

fn check(rig: &Rig) -> [&str; 5] {
    ["check", "--topic", &rig.topic, "--kafkaBrokersCore", &rig.brokers]
}
