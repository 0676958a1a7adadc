//! Faults of the node's connectors, one at a time (D4.12, D5): what a run does about each, by the
//! statements it sends. Owns the counts.

use deltakeep::sandbox::{Datasource, Options};

use crate::rig::{Rig, Warnings};

const ROWS: u64 = 50;

async fn rig(faults: &[&str]) -> Rig {
    let mut rig = Rig::new().await.filled(ROWS).await;
    rig.shape.chunk_size = 20;
    faults.iter().for_each(|fault| rig.fault(fault));
    rig
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_lost_after_the_work_costs_no_second_unload() {
    for nth in [1, 2] {
        let rig = rig(&[&format!("drop-unload-answer@{nth}")]).await;
        let (_, warnings) = rig.backup_of(ROWS).await;
        assert_eq!(rig.asked("INSERT INTO d.deltakeep_"), 2);
        assert_eq!(warnings, [""; 0], "answer {nth}");
        assert_eq!(rig.asked("SELECT count(*) AS c FROM d.t FOR SYSTEM_TIME"), 1);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unload_that_still_writes_when_its_answer_is_lost_is_waited_for() {
    let rig = rig(&["zombie-unload=300@1", "slow-unload=300@1"]).await;
    let (_, warnings) = rig.backup_of(ROWS).await;
    assert_eq!(rig.asked("INSERT INTO d.deltakeep_"), 2, "{warnings:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_lost_before_the_work_was_done_is_asked_for_again() {
    // One message of three came; then the connection was cut.
    let part = rig(&["drop-unload-answer@1", "fail-unload-after=1@1"]).await;
    // Nothing came for long; the connector will write everything later.
    let zombie = rig(&["zombie-unload=3000@1"]).await;
    for rig in [part, zombie] {
        let (summary, warnings) = rig.backup_of(ROWS).await;
        assert_eq!(rig.asked("INSERT INTO d.deltakeep_"), 3, "one cut, then both halves");
        assert_eq!((summary.reissued, warnings.len()), (vec![], 1), "{warnings:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connector_that_is_down_makes_no_message_smaller() {
    let rig = rig(&["reader-down@1", "reader-down@2"]).await;
    let (summary, warnings) = rig.backup_of(ROWS).await;
    assert_eq!((rig.asked("INSERT INTO d.deltakeep_"), warnings.len()), (4, 2), "{warnings:?}");
    // 20, 20, 10 rows of one half, none of the other.
    assert_eq!((chunks(&rig).await, summary.reissued), (4, vec![]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_too_large_for_the_connector_ends_in_smaller_ones() {
    // 500, and the topic holds one empty message that says it is the last (recording 19).
    let rig = rig(&["oversize-unload@1"]).await;
    let (summary, warnings) = rig.backup_of(ROWS).await;
    assert_eq!((rig.asked("INSERT INTO d.deltakeep_"), warnings.len()), (3, 1), "{warnings:?}");
    // Half of 20: five of 10 rows and the empty last one.
    assert_eq!((chunks(&rig).await, summary.reissued), (7, vec![]));
}

async fn chunks(rig: &Rig) -> u64 {
    let manifests = rig.manifests().await;
    manifests.values().flat_map(|m| &m.tables).flat_map(|table| &table.chunks).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connector_that_answers_nothing_is_named() {
    let rig = rig(&["hang-unload@always"]).await;
    let error = rig.backup(&Warnings::default()).await.expect_err("nothing ever comes");
    assert!(error.to_string().contains("the reader connector answers nothing"), "{error}");
    assert_eq!(rig.asked("INSERT INTO d.deltakeep_"), 5);
    assert!(error.touched && error.unreleased.is_none(), "{error:?}");
    rig.node.clear_faults();
    let (summary, _) = rig.backup_of(ROWS).await;
    assert!(summary.resumed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_that_end_twice_fail_no_backup() {
    let options = Options { datasources: vec![Datasource::Adqm], shards: 2, ..Options::default() };
    let mut rig = Rig::with(options).await.filled(ROWS).await;
    rig.shape.chunk_size = 20;
    rig.fault("double-last@always");
    let (summary, warnings) = rig.backup_of(ROWS).await;
    assert_eq!((rig.asked("INSERT INTO d.deltakeep_"), summary.reissued), (2, vec![]));
    assert_eq!(warnings, [""; 0]);
}
