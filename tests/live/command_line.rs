//! `backup_to_kafka` as operators and schedulers use it: what it prints, what it ends with, what it
//! touches and what it keeps to itself.

use serde_json::Value;

use crate::restart::auto_broker;
use crate::rig::Rig;
use crate::support::{kafka, partitions, registered_brokers, setting, topics};

/// The seed's lines, in its order ("Вывод при успешной выгрузке инкрементов"): each line holds
/// these parts.
const LINES: &[&[&str]] = &[
    &["Started BACKUP process with params "],
    &["Deny changes in datamart [d] with code [backup_d_"],
    &["Delta range "],
    &["Got changes for datamart d"],
    &["Tables received for datamart "],
    &["Started backup delta processing"],
    &["Got delta date for datamart d, delta num 0"],
    &["Started backup delta table processing"],
    &["Topic ", " with ", " partitions successfully created"],
    &["Successfully created download ext table "],
    &["Data inserted into kafka"],
    &["Successfully dropped download ext table "],
    &["Successfully expload delta table to kafka"],
    &["Started archiving delta table"],
    &["Polled message 0 from source topic "],
    &["Trying to send data message ", " to topic [TOPIC]"],
    &["Successfully archived delta table to backup topic TOPIC"],
    &["Topic ", " successfully deleted"],
    &["Start archiving delta changelog ", " into topic TOPIC"],
    &["Trying to send changelog message ", " to topic [TOPIC]"],
    &["Successfully archived delta table to backup topic TOPIC"],
    &["Got delta date for datamart d, delta num 1"],
    &["Allow changes in datamart d"],
    &["BACKUP is done"],
];

/// The first of these that does not come in its turn.
fn first_missing<'a>(stdout: &str, wanted: &[&[&'a str]], topic: &str) -> Option<&'a str> {
    let mut lines = stdout.lines();
    let holds = |line: &str, parts: &[&str]| {
        parts.iter().all(|part| line.contains(&part.replace("TOPIC", topic)))
    };
    wanted.iter().find(|parts| !lines.any(|line| holds(line, parts))).map(|parts| parts[0])
}

#[test]
fn the_seeds_lines_come_in_the_seeds_order() {
    let rig = Rig::new("lines");
    let done = rig.keep.expect(0, &rig.words(&[]));
    assert_eq!(first_missing(&done.stdout, LINES, &rig.topic), None, "{done}");
    assert_eq!(done.stdout.lines().last(), Some("BACKUP is done"));
    assert!(done.stdout.starts_with("Started BACKUP process with params ["), "{done}");
    rig.judge(&[0, 1]);
}

#[test]
fn with_two_threads_they_do_for_each_table() {
    let rig = Rig::new("threads");
    let done = rig.keep.expect(0, &rig.words(&["--threadsCount", "2"]));
    let of_table: [&[&str]; 5] = [
        &["Started backup delta table processing"],
        &["Successfully expload delta table to kafka"],
        &["Started archiving delta table"],
        &["Trying to send data message "],
        &["Successfully archived delta table to backup topic TOPIC"],
    ];
    for table in ["a", "b"] {
        let name = format!("delta 0, table {table}");
        let lines: Vec<_> = done.stdout.lines().filter(|line| line.contains(&name)).collect();
        let missing = first_missing(&lines.join("\n"), &of_table, &rig.topic);
        assert_eq!(missing, None, "{name}: {done}");
    }
    rig.judge(&[0, 1]);
}

#[test]
fn nothing_new_is_no_failure_and_later_runs_export_newer_deltas_only() {
    let rig = Rig::new("newer");
    rig.keep.expect(0, &rig.words(&[]));
    let calls = rig.node.calls().len();
    let nothing = rig.keep.expect(0, &rig.words(&[]));
    assert!(nothing.stdout.contains("Nothing to back up"), "{nothing}");
    assert_untouched(&rig, calls);
    rig.delta("SANDBOX_FILL(b, 30)");
    let newer = rig.keep.expect(0, &rig.words(&[]));
    assert!(newer.stdout.contains("Delta range [2, 2] to backup"), "{newer}");
    let found = rig.judge(&[0, 1, 2]);
    let rows = &found.verdict["deltas"]["2"]["tables"];
    assert_eq!((&rows["b"]["0"]["rows"], &rows["a"]["0"]["rows"]), (&30.into(), &0.into()));
    rig.require_free();
}

#[test]
fn asked_deltas_are_exported_as_far_as_they_are_closed() {
    let rig = Rig::new("asked");
    (0..3).for_each(|_| rig.delta("SANDBOX_FILL(b, 3)"));
    let one = rig.keep.expect(0, &rig.words(&["--deltaNum", "1"]));
    assert!(one.stdout.contains("Delta range [1, 1] to backup"), "{one}");
    rig.judge(&[1]);
    let next = rig.words(&["--deltaNum", "3", "--nextDeltasCount", "7"]);
    let next = rig.keep.expect(0, &next);
    assert!(next.stdout.contains("Delta range [3, 4] to backup"), "{next}");
    rig.judge(&[1, 3, 4]);
    let calls = rig.node.calls().len();
    let open = rig.keep.expect(3, &rig.words(&["--deltaNum", "5"]));
    assert!(open.stderr.contains("--deltaNum"), "{open}");
    assert_untouched(&rig, calls);
    rig.require_free();
}

/// Since so many calls the node saw no statement that changes anything.
fn assert_untouched(rig: &Rig, since: usize) {
    let calls = rig.node.calls();
    let changing = ["DENY_", "CREATE", "DROP", "INSERT"];
    let asks = |call: &str| !changing.iter().any(|word| call.to_uppercase().starts_with(word));
    assert!(calls[since..].iter().all(|call| asks(call)), "{:?}", &calls[since..]);
}

#[test]
fn a_dry_run_touches_nothing() {
    let rig = Rig::new("dry");
    let calls = rig.node.calls().len();
    let text = rig.keep.expect(0, &rig.words(&["--dryRun"]));
    assert!(
        text.stdout.contains("[0, 1]") && text.stdout.contains("Nothing was touched"),
        "{text}"
    );
    let json = rig.keep.expect(0, &rig.words(&["--dryRun", "--output", "json"]));
    let json: Value = serde_json::from_str(&json.stdout).expect("one document");
    assert_eq!((&json["deltas"], &json["dryRun"]), (&serde_json::json!([0, 1]), &true.into()));
    let rows = json["estimate"]["rowsAdded"].as_u64().expect("a number");
    assert!(rows > 0 && text.stdout.contains(&format!("Rows: {rows} added, ")), "{text}");
    assert_untouched(&rig, calls);
    assert_eq!(partitions(&kafka(), &rig.topic), None);
    let list = rig.keep.expect(0, &["list"]);
    assert!(list.stdout.contains("No runs"), "{list}");
}

#[test]
fn what_cannot_work_is_refused_before_anything_is_touched() {
    let mut rig = Rig::new("refused");
    let calls = rig.node.calls().len();
    let refused = |rig: &Rig, words: &[&str], told: &str| {
        let done = rig.keep.expect(3, words);
        assert!(done.stderr.contains(told), "not told of {told}: {done}");
        assert!(done.stderr.contains("\nnext: "), "{done}");
    };
    refused(&rig, &rig.words(&["--datasourceType", "adqm"]), "adqm");
    let words = ["backup_to_kafka", "--topic", &rig.topic, "--kafkaBrokersCore", "127.0.0.1:1"];
    refused(&rig, &words, "127.0.0.1:1");
    let right = rig.keep.connect.clone();
    for (connect, told) in [
        (format!("{}/nowhere", rig.node.address), "nowhere"),
        ("127.0.0.1:1/d".to_owned(), "127.0.0.1:1"),
    ] {
        rig.keep.connect = connect;
        refused(&rig, &rig.words(&[]), told);
    }
    rig.keep.connect = right;
    assert_untouched(&rig, calls);
    assert_eq!(partitions(&kafka(), &rig.topic), None);
    rig.keep.expect(0, &rig.words(&["--datasourceType", "adqm", "--datasourceFallback"]));
    rig.judge(&[0, 1]);
}

#[test]
fn an_unfinished_schema_change_is_named_and_left_alone() {
    let rig = Rig::new("unfinished");
    rig.node.fault("unfinished-ddl");
    let create = "CREATE TABLE c (id bigint not null, PRIMARY KEY (id)) DISTRIBUTED BY (id)";
    assert!(rig.node.try_sql("d", create).is_err());
    let calls = rig.node.calls().len();
    let done = rig.keep.expect(3, &rig.words(&[]));
    for part in ["CREATE TABLE", "ERASE_CHANGE_OPERATION"] {
        assert!(done.stderr.contains(part), "{part}: {done}");
    }
    assert_untouched(&rig, calls);
    rig.node.sql("d", create);
    rig.keep.expect(0, &rig.words(&[]));
    rig.judge(&[0, 1]);
}

#[test]
fn json_is_one_document_on_stdout() {
    let rig = Rig::new("json");
    let document = |words: &[&str]| -> Value {
        let done = rig.keep.expect(0, words);
        serde_json::from_str(&done.stdout).unwrap_or_else(|e| panic!("{words:?}: {e}: {done}"))
    };
    let done = document(&rig.words(&["--output", "json"]));
    assert_eq!(done["deltas"], serde_json::json!([0, 1]), "{done}");
    assert_eq!((&done["rows"], &done["resumed"]), (&314.into(), &false.into()), "{done}");
    let nothing = document(&rig.words(&["--output", "json"]));
    assert_eq!(nothing["run"], Value::Null, "{nothing}");
    let status = document(&["status", "--output", "json"]);
    assert_eq!((&status["run"], &status["stage"]), (&done["run"], &"done".into()), "{status}");
    assert_eq!(document(&["list", "--output", "json"])["runs"][0]["run"], done["run"]);
}

#[test]
fn a_token_opens_the_node_and_is_kept_to_oneself() {
    let mut rig = Rig::over("token", &kafka(), &["--token", "canary-token"]);
    let none = rig.keep.expect(3, &rig.words(&[]));
    assert!(none.stderr.contains("DELTAKEEP_TOKEN"), "{none}");
    let file = rig.folder.path().join("token");
    std::fs::write(&file, "canary-token\n").expect("written");
    let log = rig.keep.state.join("keep.log");
    std::fs::create_dir_all(&rig.keep.state).expect("a folder");
    let more = ["--logFile", log.to_str().expect("a path"), "-vvv"];
    let typed = format!("{}?user=jwt&password=canary-token", rig.keep.connect);
    rig.slow(20);
    let mut done = vec![rig.keep.start_as(&["--connect", &typed], &rig.words(&more)).wait()];
    let by_file = ["--tokenFile", file.to_str().expect("a path"), "-vvv"];
    done.push(rig.keep.run(&rig.words(&by_file)));
    rig.keep.variables.push(("DELTAKEEP_TOKEN".to_owned(), "canary-token".to_owned()));
    done.push(rig.keep.run(&rig.words(&more)));
    for done in &done {
        assert_eq!(done.code, Some(0), "{done}");
        assert!(!done.to_string().contains("canary-token"), "{done}");
    }
    rig.keep.variables[0].1 = "canary-tokem".to_owned();
    let wrong = rig.keep.expect(3, &rig.words(&["-vvv"]));
    assert!(!wrong.to_string().contains("canary-token"), "{wrong}");
    let found = files(&rig.keep.state);
    let log = found.iter().find(|(name, _)| name.contains("keep.log"));
    assert!(log.is_some_and(|(_, text)| text.contains("DEBUG")), "{log:?}");
    for (name, text) in found {
        assert!(!text.contains("canary-toke"), "{name} tells the token");
    }
}

/// All files below a folder, with what is in them.
fn files(folder: &std::path::Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            let text = String::from_utf8_lossy(&std::fs::read(&path).expect("a file")).into_owned();
            found.push((path.display().to_string(), text));
        }
    }
    found
}

#[test]
fn brokers_are_found_through_the_nodes_zookeeper() {
    let zookeeper = setting("DELTAKEEP_TEST_ZOOKEEPER");
    let brokers = registered_brokers();
    let rig = Rig::over("lookup", &brokers, &["--zookeeper", &zookeeper]);
    rig.keep.expect(0, &["backup_to_kafka", "--topic", &rig.topic]);
    rig.judge(&[0, 1]);
    // The backup topic may lie elsewhere: unloads stay with the node's brokers.
    let elsewhere = kafka();
    let words = ["backup_to_kafka", "--topic", &rig.topic, "--kafkaBrokers", &elsewhere];
    rig.keep.expect(0, &words);
    assert!(partitions(&elsewhere, &rig.topic).is_some());
    rig.require_free();
}

#[test]
fn a_new_topic_has_the_asked_partitions_where_brokers_create_none() {
    let rig = Rig::new("created");
    rig.keep.expect(0, &rig.words(&["--partitionsCount", "3", "--threadsCount", "3"]));
    assert_eq!(partitions(&rig.brokers, &rig.topic), Some(3));
    rig.judge(&[0, 1]);
}

#[test]
fn a_new_topic_has_the_brokers_partitions_where_they_create_topics() {
    let (broker, _turn) = auto_broker();
    let rig = Rig::over("auto", &broker, &[]);
    let done = rig.keep.expect(0, &rig.words(&["--partitionsCount", "3"]));
    assert_eq!(partitions(&broker, &rig.topic), Some(2), "{done}");
    rig.judge(&[0, 1]);
    let prefix = format!("deltakeep_{}", &done.run().expect("a run")[..8]);
    assert_eq!(topics(&broker, &prefix), [""; 0]);
}
