//! Increments in the shape of the older tool through real brokers: bodies that connectors of a real
//! node wrote, under keys that are not ours. The binary restores them, the target has the sums that
//! the real node answered, and what cannot be proven is named table by table. Damaged ones are not
//! restored in silence.

use deltakeep::catalog::TopicReader;
use serde_json::{Value, json};

use crate::older_tool::{Line, SUMS, sourcedb};
use crate::process::{Done, Keep};
use crate::sandbox::Sandbox;
use crate::support::{block_on, delete_topic, kafka, unique};
use crate::verify::{document, send, topic};

/// What is done to the messages of a topic.
type Damage = fn(&mut Vec<Line>);

/// A new topic of two partitions with these messages.
fn write(lines: &[Line]) -> String {
    let name = unique("older");
    block_on(topic(&kafka(), &name).create(2)).expect("created");
    send(&kafka(), &name, lines);
    name
}

fn run(keep: &Keep, command: &str, topic: &str, more: &[&str]) -> Done {
    let brokers = kafka();
    let keyword = if command == "verify" { "--kafkaBrokers" } else { "--kafkaBrokersCore" };
    keep.run(&[&[command, "--topic", topic, keyword, &brokers], more].concat())
}

#[test]
fn what_another_tool_wrote_comes_back_with_the_sums_of_the_real_node() {
    let folder = tempfile::tempdir().expect("a folder");
    let node = Sandbox::start(folder.path(), &kafka(), &[]);
    let keep = Keep::new(folder.path(), &node.address, "sourcedb");
    let topic = write(&sourcedb());
    let verified = run(&keep, "verify", &topic, &["--output", "json"]);
    assert_eq!(verified.code, Some(0), "{verified}");
    let of = document(&verified.stdout)["datamarts"][0].clone();
    assert_eq!((&of["ofOtherTools"], &of["whole"]), (&json!(4), &json!([0, 1, 2, 3])));
    let readonly = run(&keep, "restore_from_kafka", &topic, &["--readonly"]);
    assert_eq!(readonly.code, Some(0), "{readonly}");

    let done = run(&keep, "restore_from_kafka", &topic, &["--threadsCount", "2"]);
    assert_eq!(done.code, Some(0), "{done}");
    for (table, sums) in SUMS {
        for (delta, sum) in sums.into_iter().enumerate() {
            let found = node.sql("sourcedb", &format!("CHECK_SUM({delta}, {table})"));
            assert_eq!(found[0]["check_result"], sum.to_string(), "delta {delta}, {table}");
            let line = format!("delta {delta}, table {table}: its sum could not be compared");
            let is_told = done.stderr.contains(&line);
            assert_eq!(is_told, sum > 0, "delta {delta}, {table}: {done}");
        }
    }
    // As recorded of the real node (06_import_restore).
    let rows = node.sql("sourcedb", "SELECT * FROM comp FOR SYSTEM_TIME AS OF DELTA_NUM 1");
    let texts = rows.iter().map(|row| json!([row["k1"], row["k2"], row["v"], row["n"]]));
    let mut texts: Vec<Value> = texts.collect();
    texts.sort_by_key(Value::to_string);
    assert_eq!(
        texts,
        [json!([1, "a", "one", 10]), json!([2, "a", "three", 30]), json!([3, "c", null, null])]
    );
    let against = ["--against", &keep.connect, "--output", "json"];
    let told = run(&keep, "verify", &topic, &against);
    assert_eq!(told.code, Some(0), "{told}");
    assert_eq!(document(&told.stdout)["against"]["different"], 0, "{told}");
    delete_topic(&kafka(), &topic);
}

#[test]
fn damaged_messages_of_another_tool_are_not_restored_in_silence() {
    let folder = tempfile::tempdir().expect("a folder");
    let node = Sandbox::start(folder.path(), &kafka(), &[]);
    let keep = Keep::new(folder.path(), &node.address, "sourcedb");
    let whole = sourcedb();
    // The second message has rows of a stream with more: what of it is done to it must be seen.
    let damages: [(&str, Damage); 4] = [
        ("lost", |lines| drop(lines.remove(1))),
        ("cut", |lines| {
            let length = lines[1].2.len();
            lines[1].2.truncate(length - 17);
        }),
        ("no key", |lines| lines[1].1.clear()),
        ("the changelog cut", |lines| {
            let last = lines.len() - 1;
            lines[last].2.pop();
        }),
    ];
    for (what, damage) in damages {
        let mut lines = whole.clone();
        damage(&mut lines);
        let topic = write(&lines);
        for (command, more) in [
            ("verify", &[][..]),
            ("restore_from_kafka", &["--readonly"]),
            ("restore_from_kafka", &[]),
        ] {
            let told = run(&keep, command, &topic, more);
            assert_eq!(told.code, Some(4), "{what}, {command} {more:?}: {told}");
        }
        let there = node.try_sql("sourcedb", "GET_DELTA_OK()").is_ok_and(|rows| !rows.is_empty());
        assert!(!there, "{what}: nothing is restored");
        delete_topic(&kafka(), &topic);
    }
}
