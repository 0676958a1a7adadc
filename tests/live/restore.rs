//! `restore_from_kafka` of the binary: what was backed up comes back, under the same name, another
//! name and on another node; in parts; stopped, resumed and given up; dry and read only.

use std::time::Duration;

use serde_json::{Value, json};

use crate::process::{Done, Keep};
use crate::rig::Rig;
use crate::sandbox::Sandbox;

/// Everything of a datamart that a restore is to bring back, by delta: its date, and of each table
/// the rows and the sum of the changes.
fn account(node: &Sandbox, datamart: &str, deltas: u64) -> Value {
    let one = |delta: u64| {
        let date = node.sql(datamart, &format!("GET_DELTA_BY_NUM({delta})"));
        let table = |table: &str| {
            let at = format!("FOR SYSTEM_TIME AS OF DELTA_NUM {delta}");
            let rows = node.try_sql(datamart, &format!("SELECT * FROM {table} {at} ORDER BY id"));
            let sum = node.sql(datamart, &format!("CHECK_SUM({delta}, {table})"));
            json!({ "rows": rows.ok(), "sum": sum[0]["check_result"] })
        };
        json!({ "date": date[0]["delta_date"], "a": table("a"), "b": table("b") })
    };
    (0..deltas).map(one).collect()
}

/// A datamart with three deltas, backed up.
fn backed_up(what: &str) -> Rig {
    let rig = Rig::new(what);
    rig.node.script("d", "CREATE VIEW v AS SELECT id FROM a WHERE id > 60");
    rig.delta("SANDBOX_FILL(b, 40)");
    rig.keep.expect(0, &rig.words(&["--threadsCount", "2"]));
    rig
}

/// The target `datamart` on `node`, with a state directory of its own.
fn into(rig: &Rig, node: &Sandbox, datamart: &str) -> Keep {
    let keep = Keep::new(rig.folder.path(), &node.address, datamart);
    keep.elsewhere(&format!("restore-{datamart}"))
}

fn words<'a>(rig: &'a Rig, more: &[&'a str]) -> Vec<&'a str> {
    let mut words = vec!["restore_from_kafka", "--topic", &rig.topic];
    words.extend(["--kafkaBrokersCore", &rig.brokers]);
    words.extend(more);
    words
}

/// Nothing is left of a restore, neither in the datamart nor on the brokers.
fn require_clean(rig: &Rig, node: &Sandbox, datamart: &str, done: &Done) {
    node.require_free(datamart, &done.to_string());
    if let Some(run) = done.run() {
        let left = crate::support::topics(&rig.brokers, &format!("deltakeep_{}", &run[..8]));
        assert_eq!(left, Vec::<String>::new(), "{done}");
    }
}

#[test]
fn a_datamart_comes_back_under_its_name_under_another_and_on_another_node() {
    let rig = backed_up("comes_back");
    let source = account(&rig.node, "d", 3);
    assert_eq!(source[2]["b"]["rows"].as_array().map(Vec::len), Some(45), "{source}");

    let other = into(&rig, &rig.node, "e");
    let named = words(&rig, &["--sourceDatamart", "d", "--threadsCount", "2"]);
    let done = other.expect(0, &named);
    assert_eq!(done.last_line(), "RESTORE is done", "{done}");
    assert_eq!(account(&rig.node, "e", 3), source);
    require_clean(&rig, &rig.node, "e", &done);

    let folder = tempfile::tempdir().expect("a folder");
    let node = Sandbox::start(folder.path(), &rig.brokers, &[]);
    let done = into(&rig, &node, "d").expect(0, &words(&rig, &["--partitionsCount", "3"]));
    assert_eq!(account(&node, "d", 3), source);
    require_clean(&rig, &node, "d", &done);

    rig.node.sql("", "DROP DATABASE d");
    let done = into(&rig, &rig.node, "d").expect(0, &words(&rig, &[]));
    assert_eq!(account(&rig.node, "d", 3), source);
    assert!(!rig.node.sql("d", "SELECT * FROM v").is_empty());
    require_clean(&rig, &rig.node, "d", &done);
}

/// Restores `d` under the name `e` on the same node.
fn as_e<'a>(rig: &'a Rig, more: &[&'a str]) -> Vec<&'a str> {
    words(rig, &[&["--sourceDatamart", "d"], more].concat())
}

#[test]
fn a_state_as_of_a_delta_is_brought_up_to_date_as_a_replica() {
    let rig = backed_up("replica");
    let source = account(&rig.node, "d", 3);
    let keep = into(&rig, &rig.node, "e");
    keep.expect(0, &as_e(&rig, &["--delta", "0"]));
    assert_eq!(account(&rig.node, "e", 1)[0], source[0]);
    assert_eq!(rig.node.sql("e", "GET_DELTA_OK()")[0]["delta_num"], 0);
    // Not everything again, and nothing with a hole.
    let refused = keep.expect(3, &as_e(&rig, &[]));
    assert!(refused.stderr.contains("not empty"), "{refused}");
    let hole = keep.expect(3, &as_e(&rig, &["--deltaFrom", "2"]));
    assert!(hole.stderr.contains("--deltaFrom 1"), "{hole}");
    let done = keep.expect(0, &as_e(&rig, &["--deltaFrom", "1"]));
    assert!(done.stdout.contains("Delta range [1 to 2] to restore"), "{done}");
    assert_eq!(account(&rig.node, "e", 3), source);
    rig.delta("SANDBOX_FILL(a, 77)");
    rig.keep.expect(0, &rig.words(&[]));
    keep.expect(0, &as_e(&rig, &["--deltaFrom", "3"]));
    assert_eq!(account(&rig.node, "e", 4), account(&rig.node, "d", 4));
    // A datamart of the same numbers with another history is no replica.
    rig.node.sql("", "CREATE DATABASE f");
    rig.node.script("f", "BEGIN DELTA\nCOMMIT DELTA SET '2020-01-01 00:00:00'");
    let other = into(&rig, &rig.node, "f").expect(3, &as_e(&rig, &["--deltaFrom", "1"]));
    assert!(other.stderr.contains("delta 0 of the target was closed"), "{other}");
}

#[test]
fn dates_that_the_node_takes_are_not_moved() {
    let rig = backed_up("dates");
    let keep = into(&rig, &rig.node, "e");
    keep.expect(0, &as_e(&rig, &["--dates", "bump", "--delta", "1"]));
    keep.expect(0, &as_e(&rig, &["--dates", "bump", "--deltaFrom", "2"]));
    assert_eq!(account(&rig.node, "e", 3), account(&rig.node, "d", 3));
}

#[test]
fn tables_are_created_on_another_datasource_where_one_is_asked_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let rig = backed_up("datasource");
    let node = Sandbox::start(folder.path(), &rig.brokers, &["--datasources", "adp,adqm"]);
    let keep = into(&rig, &node, "d");
    let refused = keep.expect(3, &words(&rig, &["--datasourceType", "adb"]));
    assert!(refused.stderr.contains("adb are not active"), "{refused}");
    keep.expect(0, &words(&rig, &["--datasourceType", "adqm"]));
    assert_eq!(account(&node, "d", 3), account(&rig.node, "d", 3));
    let log = node.sql("d", "GET_CHANGES()");
    let tables = log.iter().filter_map(|change| change["change_query"].as_str());
    for query in tables.filter(|query| query.starts_with("CREATE TABLE")) {
        assert!(query.contains("DATASOURCE_TYPE (adqm)"), "{query}");
    }
}

#[test]
fn a_change_that_the_target_refuses_is_named_and_skipped_when_asked_for() {
    let rig = Rig::new("refused");
    let columns = "(id bigint, v varchar)";
    let place = "LOCATION 'core:adp://d.outer' OPTIONS ('auto.create.table.enable=true')";
    let outer = format!("CREATE READABLE EXTERNAL TABLE d.ext {columns} {place}");
    if rig.node.try_sql("d", &outer).is_err() {
        // The stand-in has no external tables: a view on another datamart fails in the same way.
        rig.node.sql("", "CREATE DATABASE x");
        rig.node.script(
            "x",
            "CREATE TABLE ext (id bigint not null, PRIMARY KEY (id)) DISTRIBUTED BY (id)",
        );
        rig.node.sql("d", "CREATE VIEW w AS SELECT id FROM x.ext");
        rig.delta("SANDBOX_FILL(b, 3)");
        rig.keep.expect(0, &rig.words(&[]));
        rig.node.sql("", "DROP DATABASE x");
    }
    let keep = into(&rig, &rig.node, "e");
    let stopped = keep.expect(5, &as_e(&rig, &[]));
    for part in ["change 2 cannot be replayed", "CREATE VIEW e.w", "--skipChange 2"] {
        assert!(stopped.stderr.contains(part), "{part}: {stopped}");
    }
    rig.node.require_free("e", "it stopped");
    let status = keep.expect(0, &["status", "--output", "json"]);
    let status: Value = serde_json::from_str(&status.stdout).expect("one document");
    assert_eq!((&status["kind"], &status["stage"]), (&json!("restore"), &json!("stopped")));
    assert_eq!((&status["datamart"], &status["source"]), (&json!("e"), &json!("d")));
    assert_eq!(keep.run(&["resume"]).code, Some(5), "nothing has changed");
    let done = keep.expect(0, &["resume", "--skipChange", "2"]);
    assert_eq!(done.last_line(), "RESTORE is done", "{done}");
    assert_eq!(account(&rig.node, "e", 3), account(&rig.node, "d", 3));
}

#[test]
fn a_stopped_restore_goes_on_and_one_that_is_given_up_keeps_its_closed_deltas() {
    let rig = backed_up("stopped");
    let source = account(&rig.node, "d", 3);
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let keep = into(&rig, &rig.node, &format!("e{code}"));
        let name = format!("e{code}");
        rig.node.fault("slow-load=1500@2");
        let mut process = keep.start(&as_e(&rig, &[]));
        process.await_line("Successfully filled load topic: delta 0, table b");
        process.signal(signal);
        let done = process.wait();
        assert_eq!(done.code, Some(code), "{done}");
        assert!(done.stderr.contains("next: deltakeep resume"), "{done}");
        rig.node.require_free(&name, "an orderly end gives everything back");
        assert!(rig.node.sql(&name, "GET_DELTA_HOT()").is_empty(), "{done}");
        let again = keep.expect(0, &["resume"]);
        assert_eq!(again.run(), done.run());
        assert_eq!(account(&rig.node, &name, 3), source);
        require_clean(&rig, &rig.node, &name, &again);
    }
    let keep = into(&rig, &rig.node, "g");
    rig.node.fault("slow-load=3000@3");
    let mut process = keep.start(&as_e(&rig, &[]));
    process.await_line("Successfully filled load topic: delta 1");
    let killed = process.wait_for(Duration::ZERO).expect_err("it was not done");
    rig.node.clear_faults();
    let listed = keep.expect(0, &["list"]);
    assert!(listed.stdout.contains(&format!("killed d of {} to g", rig.topic)), "{listed}");
    let fail = keep.expect(3, &as_e(&rig, &["--onUnfinished", "fail"]));
    assert!(fail.stderr.contains("is unfinished"), "{fail}");
    let locked = keep.expect(7, &["unlock"]);
    assert!(locked.stderr.contains("deltakeep abandon"), "{locked}");
    keep.expect(2, &["resume", "--threadsCount", "9"]);
    let given_up = keep.expect(0, &["abandon"]);
    assert!(given_up.stdout.contains("the deltas that it closed stay"), "{given_up}");
    assert_eq!(account(&rig.node, "g", 1)[0], source[0]);
    assert!(rig.node.sql("g", "GET_DELTA_HOT()").is_empty());
    require_clean(&rig, &rig.node, "g", &killed);
    keep.expect(2, &["resume"]);
    // What is there is the beginning of a replica.
    keep.expect(0, &as_e(&rig, &["--deltaFrom", "1"]));
    assert_eq!(account(&rig.node, "g", 3), source);
}

#[test]
fn a_dry_run_tells_deltas_and_dates_and_touches_nothing() {
    let rig = backed_up("dry");
    let keep = into(&rig, &rig.node, "e");
    let dry = keep.expect(0, &as_e(&rig, &["--dryRun", "--output", "json"]));
    let document: Value = serde_json::from_str(&dry.stdout).expect("one document");
    let numbers: Vec<_> =
        document["deltas"].as_array().expect("deltas").iter().map(|d| d["delta"].clone()).collect();
    assert_eq!(json!(numbers), json!([0, 1, 2]), "{dry}");
    assert_eq!(document["deltas"][1]["date"], "2026-01-01T00:00:01Z");
    assert_eq!(document["deltas"][2]["changesBefore"], 3);
    assert_eq!((&document["source"], &document["target"]), (&json!("d"), &json!("e")));
    let text = keep.expect(0, &as_e(&rig, &["--dryRun", "--delta", "1"]));
    assert!(
        text.stdout.contains("[0 to 1]") && text.stdout.contains("Nothing was touched"),
        "{text}"
    );
    assert!(rig.node.try_sql("e", "GET_DELTA_OK()").is_err(), "the datamart was created");
    assert!(keep.expect(0, &["list"]).stdout.contains("No runs"));
}

#[test]
fn a_look_at_the_topic_names_what_it_lacks_and_by_whom() {
    let rig = Rig::new("readonly");
    rig.delta("SANDBOX_FILL(b, 40)");
    for delta in ["0", "2"] {
        rig.keep.expect(0, &rig.words(&["--deltaNum", delta]));
    }
    let look = |keep: &Keep, code: i32, more: &[&str]| -> (Done, Value) {
        let text = keep.expect(code, &words(&rig, &[&["--readonly"], more].concat()));
        let words = words(&rig, &[&["--readonly", "--output", "json"], more].concat());
        let json = keep.expect(code, &words).stdout;
        (text, serde_json::from_str(&json).unwrap_or_else(|_| panic!("{json}")))
    };
    let (text, document) = look(&rig.keep, 4, &[]);
    assert!(text.stdout.contains("newest delta of the datamart: 2\nmissing: 1"), "{text}");
    assert_eq!((&document["missing"], &document["incomplete"]), (&json!([1]), &json!([])));
    assert_eq!((&document["basis"], &document["ok"]), (&json!("datamart"), &json!(false)));
    // A delta of the source that nobody backed up is missing, too.
    rig.delta("SANDBOX_FILL(a, 1)");
    assert_eq!(look(&rig.keep, 4, &[]).1["missing"], json!([1, 3]));
    // Somebody else's datamart tells nothing of it.
    rig.node.sql("", "CREATE DATABASE other");
    let other = into(&rig, &rig.node, "other");
    let (text, document) = look(&other, 4, &["--sourceDatamart", "d"]);
    assert!(text.stdout.contains("newest delta in the topic: 2"), "{text}");
    assert_eq!((&document["missing"], &document["basis"]), (&json!([1]), &json!("topic")));
    let nothing = look(&other, 4, &[]).0;
    assert!(nothing.stderr.contains("holds nothing of this datamart"), "{nothing}");
    rig.keep.expect(0, &rig.words(&["--fillGaps"]));
    let (text, document) = look(&rig.keep, 0, &[]);
    assert!(text.stdout.contains("every delta from 0 to 3 has a complete increment"), "{text}");
    assert_eq!((&document["ok"], &document["newestDelta"]), (&json!(true), &json!(3)));
    // Without a node: by the topic alone.
    let more = ["restore_from_kafka", "--topic", &rig.topic, "--readonly"];
    let more = [&more[..], &["--kafkaBrokers", &rig.brokers, "--sourceDatamart", "d"]].concat();
    let alone = rig.keep.start_as(&[], &more).wait();
    assert_eq!(alone.code, Some(0), "{alone}");
    rig.keep.expect(
        3,
        &["restore_from_kafka", "--topic", "no_such", "--readonly", "--kafkaBrokers", &rig.brokers],
    );
}

#[test]
fn a_sum_that_differs_is_refused_reported_when_accepted_and_told_to_hooks() {
    let rig = backed_up("sums");
    let keep = into(&rig, &rig.node, "e");
    let metrics = rig.folder.path().join("restore.prom");
    let path = metrics.to_str().expect("a path");
    rig.node.fault("wrong-sum@always");
    let refused = keep.expect(6, &as_e(&rig, &["--metricsFile", path]));
    assert!(refused.stderr.contains("the sum is"), "{refused}");
    assert!(refused.stderr.contains("--acceptDifferences"), "{refused}");
    assert!(rig.node.sql("e", "GET_DELTA_HOT()").is_empty(), "{refused}");
    let text = std::fs::read_to_string(&metrics).expect("metrics");
    assert!(text.contains("deltakeep_restore_last_status{datamart=\"e\""), "{text}");
    assert!(text.contains("deltakeep_restore_deltas_behind"), "{text}");
    let words = ["resume", "--acceptDifferences", "--output", "json", "--metricsFile", path];
    let done = keep.expect(0, &words);
    rig.node.clear_faults();
    let document: Value = serde_json::from_str(&done.stdout).expect("one document");
    let different = document["different"].as_array().expect("pairs");
    assert!(different.contains(&json!([0, "a"])), "{done}");
    assert_eq!((&document["deltas"], &document["resumed"]), (&json!([0, 1, 2]), &json!(true)));
    assert_eq!(document["topic"], rig.topic.as_str());
    let text = std::fs::read_to_string(&metrics).expect("metrics");
    assert!(text.contains("deltakeep_restore_deltas_behind{datamart=\"e\",topic=\""), "{text}");
    assert_eq!(account(&rig.node, "e", 3), account(&rig.node, "d", 3));
}

#[test]
fn what_a_restore_of_a_lost_journal_left_is_cleared_away_by_its_digits() {
    let rig = backed_up("lost_journal");
    let keep = into(&rig, &rig.node, "e");
    rig.node.fault("slow-load=2000@2");
    let mut process = keep.start(&as_e(&rig, &[]));
    process.await_line("Successfully filled load topic: delta 0, table b");
    process.meet_line("Successfully loaded delta table", 1, Duration::from_secs(20));
    let killed = process.wait_for(Duration::from_millis(300)).expect_err("it was not done");
    let run = killed.run().expect("a run");
    std::fs::remove_dir_all(&keep.state).expect("the journal is lost");
    rig.node.clear_faults();
    let held = keep.expect(7, &as_e(&rig, &[]));
    assert!(held.stderr.contains(&run), "{held}");
    keep.expect(7, &["unlock"]);
    let unlocked = keep.expect(0, &["unlock", "--yes"]);
    assert!(unlocked.stdout.contains("Delta 0 is open there"), "{unlocked}");
    rig.node.sql("e", "ROLLBACK DELTA");
    let words = ["cleanup", "--unknownRun", &run[..8], "--kafkaBrokersCore", &rig.brokers];
    let cleaned = keep.expect(0, &words);
    assert!(cleaned.stdout.contains("is gone"), "{cleaned}");
    require_clean(&rig, &rig.node, "e", &killed);
    rig.node.sql("", "DROP DATABASE e");
    keep.expect(0, &as_e(&rig, &[]));
    assert_eq!(account(&rig.node, "e", 3), account(&rig.node, "d", 3));
}

#[test]
fn a_second_restore_of_the_same_target_and_one_of_another_topic_are_held_off() {
    let rig = backed_up("second");
    let keep = into(&rig, &rig.node, "e");
    rig.node.fault("slow-load=2500@1");
    let mut process = keep.start(&as_e(&rig, &[]));
    process.await_line("Started restore delta processing: delta 0");
    let same = keep.expect(7, &as_e(&rig, &[]));
    assert!(same.stderr.contains("next: deltakeep status"), "{same}");
    let elsewhere = keep.elsewhere("elsewhere").expect(7, &as_e(&rig, &[]));
    assert!(elsewhere.stderr.contains("works on the target"), "{elsewhere}");
    assert_eq!(process.wait().code, Some(0));
    assert_eq!(account(&rig.node, "e", 3), account(&rig.node, "d", 3));
}
