//! Owns replaying the recordings request by request; never lets the number of compared entries shrink.

use deltakeep::sandbox::{Fault, FaultKind};
use serde_json::Value;

use crate::harness::{Rig, compare, json_fixture};
use crate::vectors;

/// A recording, how many of its entries must be compared, and those that cannot be equal.
pub struct Recording {
    pub file: &'static str,
    pub compared: usize,
    /// Entries answered by other servers (management port, status monitor, connectors).
    pub excepted: &'static [usize],
}

const fn whole(file: &'static str, compared: usize) -> Recording {
    Recording { file, compared, excepted: &[] }
}

/// Replays recordings one after another on one fresh sandbox, as they were recorded.
async fn replay(rig: &Rig, recordings: &[Recording]) {
    let mut differences = Vec::new();
    for recording in recordings {
        let entries = json_fixture(recording.file);
        let mut compared = 0;
        for (i, entry) in entries.as_array().unwrap().iter().enumerate() {
            if recording.excepted.contains(&i) {
                continue;
            }
            compared += 1;
            if let Err(difference) = entry_equals(rig, entry).await {
                let sql = &entry["request"]["body"]["sql"];
                differences.push(format!("{} [{i}] {sql}: {difference}", recording.file));
            }
        }
        assert_eq!(compared, recording.compared, "entries compared in {}", recording.file);
    }
    assert!(differences.is_empty(), "{} differ:\n{}", differences.len(), differences.join("\n"));
}

pub async fn entry_equals(rig: &Rig, entry: &Value) -> Result<(), String> {
    let request = &entry["request"];
    set_clock(rig, entry);
    if entry["status"].is_null() {
        // The recorded node hung here; the sandbox hangs when told to.
        rig.sandbox.add_fault(Fault::next(FaultKind::HangUnload));
        let answer =
            tokio::time::timeout(std::time::Duration::from_millis(500), rig.send(request)).await;
        return match answer {
            Err(_) => Ok(()),
            Ok(answer) => Err(format!("no hang: {answer:?}")),
        };
    }
    let (status, body) = rig.send(request).await.ok_or("no answer")?;
    compare(request, entry, status, &body)
}

/// A commit happens at its recorded second, so that dates need no mask.
fn set_clock(rig: &Rig, entry: &Value) {
    let sql = entry["request"]["body"]["sql"].as_str().unwrap_or_default();
    let date = entry["response"]["result"][0]["delta_date"].as_i64();
    if let Some(date) = date.filter(|_| sql.starts_with("COMMIT")) {
        rig.sandbox.set_clock(Some(date / 1_000_000));
    }
}

/// Recorded one after another on one node.
pub const MAIN_LINE: &[Recording] = &[
    whole("01_ddl_and_deltas.json", 54),
    whole("02_select_types.json", 41),
    whole("03_deny_allow_delta_info.json", 85),
    Recording {
        file: "04_meta_information_schema.json",
        compared: 32,
        excepted: &[13, 14, 15, 16, 17, 18, 19, 20],
    },
    whole("05_export.json", 30),
    whole("05b_export_sys_op_int32.json", 19),
    whole("06_import_restore.json", 147),
    whole("07_edge_same_delta.json", 76),
    whole("11_errors_http.json", 55),
    whole("13_timezone_and_joins.json", 9),
    whole("16_erase_change_operation.json", 21),
    whole("20_type_matching.json", 53),
];

/// An earlier attempt at the same, on one node.
pub const FIRST_TRIES: &[Recording] = &[
    whole("01a_first_try_single_quoted_datasource.json", 13),
    whole("01b_stuck_after_failed_ddl.json", 55),
    whole("01c_erase_change_operation.json", 10),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_main_line_is_answered_as_recorded() {
    let rig = Rig::new().await;
    replay(&rig, MAIN_LINE).await;
    vectors::topics_equal(&rig);
}

/// Several writes of one key inside a delta, restored from two halves, then from three parts.
pub const REPEATED_KEYS: &[Recording] = &[
    whole("07_edge_same_delta.json", 76),
    Recording {
        file: "19_three_step_restore_and_limits.json",
        compared: 72,
        // Of a datamart that another recording made.
        excepted: &[58, 59, 60, 61, 62],
    },
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn repeated_keys_are_answered_as_recorded_and_three_parts_restore_them() {
    let rig = Rig::new().await;
    replay(&rig, REPEATED_KEYS).await;
    for sum in ["CHECK_SUM", "CHECK_SUM_SNAPSHOT"] {
        for delta in 0..3 {
            let sql = format!("{sum}({delta}, e)");
            let [source, halves, parts] = [
                rig.rows("edge", &sql).await,
                rig.rows("edge2", &sql).await,
                rig.rows("edge3", &sql).await,
            ];
            assert_eq!(source, parts, "{sql}");
            assert_eq!(source == halves, delta == 0, "{sql}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_tries_are_answered_as_recorded() {
    let rig = Rig::new().await;
    // Left over from before the recording began.
    rig.ok("", "CREATE DATABASE t0").await;
    replay(&rig, FIRST_TRIES).await;
}
