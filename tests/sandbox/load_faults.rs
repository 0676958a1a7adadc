//! Owns the faults of loads and of ROLLBACK: answers that are lost, work that goes on without a
//! client, a delta that is being rolled back; never those of unloads.

use std::time::Duration;

use deltakeep::sandbox::{Fault, FaultKind, Options};
use serde_json::{Value, json};

use crate::faults::post;
use crate::harness::Rig;
use crate::loads::{Loader, PLAIN};
use crate::messages::body;

const INSERT: &str = "INSERT INTO t SELECT * FROM u";

/// An open delta, and an external table `u` over a topic with one row.
async fn ready(rig: &Rig) -> Loader<'_> {
    let loader = Loader::new(rig, "adp").await;
    rig.ok("d", "BEGIN DELTA SET 0").await;
    upload(rig, &loader, 1).await;
    loader
}

async fn upload(rig: &Rig, loader: &Loader<'_>, id: i64) {
    let row = json!({"id": id, "v": "a", "sys_op": 0});
    let topic = loader.topic(&[body(PLAIN, &[row], false)]);
    rig.ok("d", &format!("CREATE UPLOAD EXTERNAL TABLE u (id bigint, v varchar) LOCATION 'kafka://$kafka/{topic}' FORMAT 'AVRO'")).await;
}

async fn running(rig: &Rig) -> usize {
    rig.rows("d", "GET_WRITE_OPERATIONS()").await.len()
}

async fn ended(rig: &Rig) {
    for _ in 0..200 {
        if running(rig).await == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the load does not end");
}

async fn hot(rig: &Rig) -> Value {
    rig.rows("d", "GET_DELTA_HOT()").await.pop().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_load_goes_on_without_its_client() {
    let rig = Rig::new().await;
    let loader = ready(&rig).await;
    rig.sandbox.add_fault(Fault::next(FaultKind::ZombieLoad(300)));
    assert_eq!(post(&rig, INSERT).await, Err(true));
    assert_eq!(running(&rig).await, 1);
    rig.ok("d", "DROP UPLOAD EXTERNAL TABLE u").await;
    ended(&rig).await;
    assert_eq!(loader.state().await, [json!([1, "a"])]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_load_that_arrives_late_is_fenced_by_its_external_table() {
    for fenced in [true, false] {
        let rig = Rig::new().await;
        let loader = ready(&rig).await;
        rig.sandbox.add_fault(Fault::next(FaultKind::LateLoad(300)));
        assert_eq!(post(&rig, INSERT).await, Err(true));
        assert_eq!(running(&rig).await, 0, "it is not there yet");
        if fenced {
            rig.ok("d", "DROP UPLOAD EXTERNAL TABLE u").await;
        }
        tokio::time::sleep(Duration::from_millis(600)).await;
        ended(&rig).await;
        let rows = usize::from(!fenced);
        assert_eq!(loader.state().await.len(), rows, "fenced: {fenced}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_load_may_count_as_finished() {
    for (fault, counted) in [(FaultKind::FailLoad, false), (FaultKind::FailLoadCounted, true)] {
        let rig = Rig::new().await;
        let loader = ready(&rig).await;
        rig.sandbox.add_fault(Fault::next(fault));
        let text = rig.err("d", INSERT).await;
        assert!(text.contains("FIRST_OFFSET_TIMEOUT"), "{text}");
        assert_eq!(hot(&rig).await["write_op_finished"].is_string(), counted);
        assert_eq!((loader.state().await.len(), running(&rig).await), (0, 0));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_of_begin_and_rollback_are_lost_after_the_work() {
    let rig = Rig::new().await;
    Loader::new(&rig, "adp").await;
    rig.sandbox.add_fault(Fault::next(FaultKind::LostBegin));
    assert_eq!(post(&rig, "BEGIN DELTA SET 0").await, Err(true));
    assert_eq!(hot(&rig).await["delta_num"], 0);
    rig.sandbox.add_fault(Fault::next(FaultKind::LostRollback));
    assert_eq!(post(&rig, "ROLLBACK DELTA").await, Err(true));
    assert_eq!(hot(&rig).await, Value::Null);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollback_that_takes_its_time_is_seen_and_refuses_all_else() {
    let rig = Rig::new().await;
    ready(&rig).await;
    rig.sandbox.add_fault(Fault::next(FaultKind::SlowRollback(800)));
    let rollback = post(&rig, "ROLLBACK DELTA");
    let meanwhile = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(hot(&rig).await["is_rolling_back"], true);
        let refused = "Can't rollback delta by datamart [d]";
        assert_eq!(rig.err("d", "ROLLBACK DELTA").await, refused);
        assert_eq!(rig.err("d", INSERT).await, "Delta closed");
        rig.err("d", "COMMIT DELTA").await;
        rig.err("d", "BEGIN DELTA SET 0").await;
    };
    let (answer, ()) = tokio::join!(rollback, meanwhile);
    assert_eq!(answer.unwrap().0, 200);
    assert_eq!(hot(&rig).await, Value::Null);
    rig.ok("d", "BEGIN DELTA SET 0").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollback_that_stuck_is_ended_by_another() {
    let rig = Rig::new().await;
    let loader = ready(&rig).await;
    rig.ok("d", INSERT).await;
    rig.sandbox.add_fault(Fault::next(FaultKind::StuckRollback));
    rig.err("d", "ROLLBACK DELTA").await;
    assert_eq!(hot(&rig).await["is_rolling_back"], true);
    rig.err("d", "COMMIT DELTA").await;
    rig.ok("d", "ROLLBACK DELTA").await;
    assert_eq!((hot(&rig).await, loader.state().await.len()), (Value::Null, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_load_that_was_rolled_back_writes_nothing_more_and_ends_nobody_elses() {
    let rig = Rig::new().await;
    let loader = ready(&rig).await;
    rig.sandbox.add_fault(Fault::next(FaultKind::ZombieLoad(400)));
    assert_eq!(post(&rig, INSERT).await, Err(true));
    rig.ok("d", "ROLLBACK DELTA").await;
    rig.ok("d", "DROP UPLOAD EXTERNAL TABLE u").await;
    rig.ok("d", "BEGIN DELTA SET 0").await;
    // It has the number that the first load had.
    upload(&rig, &loader, 2).await;
    rig.sandbox.add_fault(Fault::next(FaultKind::ZombieLoad(1500)));
    assert_eq!(post(&rig, INSERT).await, Err(true));
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert_eq!((running(&rig).await, loader.state().await.len()), (1, 0));
    ended(&rig).await;
    assert_eq!(loader.state().await, [json!([2, "a"])]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_load_can_be_told_to_take_its_time() {
    let load_delay = Duration::from_millis(700);
    let rig = Rig::with(Options { load_delay, ..Options::default() }).await;
    let loader = ready(&rig).await;
    let began = std::time::Instant::now();
    rig.ok("d", INSERT).await;
    assert!(began.elapsed() >= load_delay);
    assert_eq!(loader.state().await.len(), 1);
}
