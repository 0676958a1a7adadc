//! `drill` of the binary: a backup that restores, one that does not, scratches of others, the
//! source itself; kept, killed, given up; its reports, metrics and hooks.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use crate::process::{Done, Keep};
use crate::rig::Rig;
use crate::sandbox::Sandbox;
use crate::support::topics;
use crate::verify::{read, write};

/// A drill of the rig's topic into `scratch` on the rig's node.
struct Drill {
    rig: Rig,
    report: PathBuf,
    keep: Keep,
}

impl Drill {
    /// Of a datamart with three deltas, backed up.
    fn of(what: &str) -> Self {
        let rig = Rig::new(what);
        rig.node.script("d", "CREATE VIEW v AS SELECT id FROM a WHERE id > 60");
        rig.delta("SANDBOX_FILL(b, 40)");
        rig.keep.expect(0, &rig.words(&["--threadsCount", "2"]));
        let (report, keep) = (rig.folder.path().join("report"), rig.keep.elsewhere("drills"));
        Self { rig, report, keep }
    }

    fn words(&self, scratch: &str, more: &[&str]) -> Vec<String> {
        let target = format!("{}/{scratch}", self.rig.node.address);
        let report = self.report.to_str().expect("a path");
        let words = ["drill", "--topic", &self.rig.topic, "--target", &target];
        let ways = ["--kafkaBrokersCore", &self.rig.brokers, "--report", report];
        let all = words.into_iter().chain(ways).chain(more.iter().copied());
        all.map(str::to_owned).collect()
    }

    fn expect(&self, code: i32, scratch: &str, more: &[&str]) -> Done {
        let words = self.words(scratch, more);
        self.keep.expect(code, &words.iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn file(&self, name: &str) -> String {
        std::fs::read_to_string(self.report.join(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.file("drill.json")).expect("a document")
    }

    fn exists(&self, datamart: &str) -> bool {
        self.rig.node.try_sql("", &format!("USE {datamart}")).is_ok()
    }

    /// No scratch, no load topic, no marker in the source.
    fn require_gone(&self, scratch: &str) {
        assert!(!self.exists(scratch), "{scratch} is left");
        self.rig.require_free();
        let run = self.json()["run"].as_str().expect("a run")[..8].to_owned();
        let left = topics(&self.rig.brokers, &format!("deltakeep_{run}"));
        assert_eq!(left, Vec::<String>::new());
    }
}

#[test]
fn a_backup_that_restores_passes_and_leaves_three_reports_and_nothing_else() {
    let drill = Drill::of("drill_ok");
    let metrics = drill.rig.folder.path().join("drill.prom");
    let hook = drill.rig.folder.path().join("hook");
    let command = format!("sh -c 'printf %s \"$DELTAKEEP_SUMMARY\" > {}'", hook.display());
    let path = metrics.to_str().expect("a path");
    let done = drill.expect(0, "scratch", &["--metricsFile", path, "--onFinishCmd", &command]);
    assert!(done.last_line().starts_with("DRILL is done"), "{done}");
    drill.require_gone("scratch");
    let report = drill.json();
    assert_eq!((&report["verdict"], &report["failures"]), (&json!("ok"), &json!([])));
    assert_eq!(report["counts"], json!({ "equal": 6 }));
    assert_eq!(report["recoveryPoint"]["delta"], 2);
    assert_eq!(report["entities"]["equal"], json!(["a", "b", "v"]));
    let rows = report["recovery"]["rows"].as_u64().expect("rows");
    assert!(rows > 300 && report["recovery"]["bytes"].as_u64() > Some(1000), "{report}");
    for delta in report["deltas"].as_array().expect("deltas") {
        assert_eq!(delta["date"], delta["scratchDate"]);
        for table in delta["tables"].as_array().expect("tables") {
            assert_eq!((&table["outcome"], &table["source"]), (&json!("equal"), &json!("same")));
        }
    }
    assert!(drill.file("drill.xml").contains("failures=\"0\""));
    let page = drill.file("drill.html");
    assert!(page.contains("id=\"timeline\"") && page.contains("The backup restores"));
    let text = std::fs::read_to_string(&metrics).expect("metrics");
    assert!(text.contains("deltakeep_drill_last_status{datamart=\"scratch\""), "{text}");
    let told: Value =
        serde_json::from_str(&std::fs::read_to_string(hook).expect("told")).expect("json");
    assert_eq!((&told["command"], &told["exitCode"]), (&json!("drill"), &json!(0)));

    // Another node, the same name; as one document.
    let folder = tempfile::tempdir().expect("a folder");
    let node = Sandbox::start(folder.path(), &drill.rig.brokers, &[]);
    let target = format!("{}/d", node.address);
    let mut words = drill.words("scratch", &["--output", "json"]);
    words[4] = target;
    let done = drill.keep.expect(0, &words.iter().map(String::as_str).collect::<Vec<_>>());
    let document: Value = serde_json::from_str(&done.stdout).expect("one document");
    assert_eq!(document, drill.json());
    assert!(node.try_sql("", "USE d").is_err(), "{done}");
    assert!(drill.exists("d"), "the source is there");
}

#[test]
fn a_damaged_topic_fails_the_drill_and_is_named_in_all_three_reports() {
    let mut drill = Drill::of("drill_damaged");
    let mut messages = read(&drill.rig.brokers, &drill.rig.topic);
    let middle = messages[3].1.len() / 2;
    messages[3].1[middle] ^= 4;
    drill.rig.topic = write(&drill.rig.brokers, &messages);
    let place = "partition 0 offset 3";
    let done = drill.expect(4, "scratch", &[]);
    assert!(done.stderr.contains("the drill failed") && done.stderr.contains(place), "{done}");
    drill.require_gone("scratch");
    assert_eq!(drill.json()["verdict"], "failed");
    for name in ["drill.json", "drill.xml", "drill.html"] {
        assert!(drill.file(name).contains(place), "{name} does not name {place}");
    }
    assert_eq!(drill.keep.run(&["resume"]).code, Some(2), "there is nothing to resume");
}

#[test]
fn a_scratch_of_others_and_the_source_are_refused_and_not_touched() {
    let drill = Drill::of("drill_foreign");
    let node = &drill.rig.node;
    node.sql("", "CREATE DATABASE theirs");
    node.script(
        "theirs",
        "CREATE TABLE t (id bigint not null, PRIMARY KEY (id)) DISTRIBUTED BY (id)",
    );
    let held = drill.expect(7, "theirs", &[]);
    assert!(held.stderr.contains("no drill of this journal made it"), "{held}");
    assert_eq!(node.sql("theirs", "GET_CHANGES(theirs)").len(), 1);
    assert_eq!(node.leftovers("theirs"), [""; 0]);
    let same = drill.expect(3, "D", &[]);
    assert!(same.stderr.contains("is the source itself"), "{same}");
    let port = node.address.rsplit_once(':').expect("a port").1;
    let mut words = drill.words("d", &[]);
    words[4] = format!("localhost:{port}/d");
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let spelled = drill.keep.expect(3, &words);
    assert!(spelled.stderr.contains("is the source itself"), "{spelled}");
    drill.rig.require_free();
    assert!(!drill.report.exists(), "nothing was drilled");
    assert_eq!(drill.keep.run(&["resume"]).code, Some(2));
}

#[test]
fn a_scratch_is_kept_and_dropped_by_the_next_drill_which_backs_up_first() {
    let drill = Drill::of("drill_keep");
    let kept = drill.expect(0, "scratch", &["--keep"]);
    assert!(kept.stdout.contains("is kept"), "{kept}");
    assert_eq!(drill.json()["scratch"]["dropped"], json!(false));
    let rows = |datamart: &str| drill.rig.node.sql(datamart, "SELECT * FROM a ORDER BY id");
    assert_eq!(rows("scratch"), rows("d"));
    // Another journal does not know it.
    let stranger = Keep { state: drill.keep.folder.join("stranger"), ..drill.keep.clone() };
    let words = drill.words("scratch", &[]);
    stranger.expect(7, &words.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(rows("scratch"), rows("d"));

    drill.rig.delta("SANDBOX_FILL(b, 11)");
    let behind = drill.expect(0, "scratch", &[]);
    assert_eq!(drill.json()["recoveryPoint"]["deltasBehind"], 1, "{behind}");
    let fresh = drill.expect(0, "scratch", &["--backup", "--threadsCount", "2"]);
    assert_eq!(drill.json()["recoveryPoint"]["deltasBehind"], 0, "{fresh}");
    assert_eq!(drill.json()["recoveryPoint"]["delta"], 3, "{fresh}");
    drill.require_gone("scratch");
}

#[test]
fn a_killed_drill_is_resumed_to_its_verdict_and_one_that_is_given_up_leaves_nothing() {
    let drill = Drill::of("drill_killed");
    let start = |line: &str| {
        drill.rig.node.fault("slow-load=1500@2");
        let words = drill.words("scratch", &[]);
        let mut process = drill.keep.start(&words.iter().map(String::as_str).collect::<Vec<_>>());
        process.await_line(line);
        let killed = process.wait_for(Duration::ZERO).expect_err("it was not done");
        drill.rig.node.clear_faults();
        assert!(drill.exists("scratch"), "{killed}");
        killed
    };
    for line in ["is ready", "Successfully filled load topic: delta 1", "Compared delta 0"] {
        start(line);
        let listed = drill.keep.expect(0, &["list"]);
        assert!(listed.stdout.contains("killed drill of d from"), "{listed}");
        let done = drill.keep.expect(0, &["resume"]);
        assert!(done.last_line().starts_with("DRILL is done"), "{line}: {done}");
        assert_eq!(drill.json()["executions"], 2, "{line}");
        assert_eq!(drill.json()["counts"], json!({ "equal": 6 }), "{line}");
        drill.require_gone("scratch");
    }
    // The same command finishes it, too.
    start("Successfully restored delta 0");
    drill.expect(0, "scratch", &[]);
    assert_eq!(drill.json()["executions"], 2);
    drill.require_gone("scratch");
    start("Successfully restored delta 1");
    let given_up = drill.keep.expect(0, &["abandon"]);
    assert!(given_up.stdout.contains("is given up"), "{given_up}");
    drill.require_gone("scratch");
    drill.keep.expect(2, &["resume"]);
}

#[test]
fn a_drill_that_is_stopped_says_how_to_go_on() {
    let drill = Drill::of("drill_stopped");
    drill.rig.node.fault("slow-load=1500@2");
    let words = drill.words("scratch", &[]);
    let mut process = drill.keep.start(&words.iter().map(String::as_str).collect::<Vec<_>>());
    process.await_line("Successfully filled load topic: delta 0");
    process.signal("TERM");
    let done = process.wait();
    drill.rig.node.clear_faults();
    assert_eq!(done.code, Some(143), "{done}");
    assert!(done.stderr.contains("next: deltakeep resume"), "{done}");
    drill.keep.expect(0, &["resume"]);
    drill.require_gone("scratch");
}

#[test]
fn a_topic_that_is_not_there_is_refused_before_anything_is_made() {
    let rig = Rig::new("drill_no_topic");
    let target = format!("{}/scratch", rig.node.address);
    let words = ["drill", "--topic", "no_such_topic", "--target", &target];
    let words = [&words[..], &["--kafkaBrokersCore", &rig.brokers]].concat();
    let refused = rig.keep.expect(3, &words);
    assert!(refused.stderr.contains("does not exist"), "{refused}");
    assert!(rig.node.try_sql("", "USE scratch").is_err(), "{refused}");
}

#[test]
fn the_script_loses_a_datamart_and_brings_it_back() {
    let root = env!("CARGO_MANIFEST_DIR");
    let mut script = std::process::Command::new(format!("{root}/scripts/drill"));
    script.env("DELTAKEEP_BIN", env!("CARGO_BIN_EXE_deltakeep"));
    let done = script.output().expect("it runs");
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    let wrong = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(done.status.success(), "{said}{wrong}");
    assert!(said.ends_with("all is back, and the drill passed\n"), "{said}");
}
