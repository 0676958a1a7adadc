//! `restore_from_kafka` of the binary: what was backed up comes back, under the same name, another
//! name and on another node; in parts; stopped, resumed and given up; dry and read only.

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
