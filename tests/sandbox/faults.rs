//! Owns every injected fault: what a client sees of it and what is left behind; never a plain statement.

use std::time::Duration;

use deltakeep::sandbox::{Fault, FaultError, FaultKind, When};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::harness::Rig;
use crate::messages::unloaded;
use crate::unloads::{download, filled, insert};

/// Sends a statement over HTTP; `Err(true)` is a cut connection, `Err(false)` no answer in time.
pub async fn post(rig: &Rig, sql: &str) -> Result<(u16, Value), bool> {
    let body = json!({"datamartMnemonic": "d", "sql": sql}).to_string();
    let call = rig.client.post(rig.url("/query/execute")).body(body).send();
    match tokio::time::timeout(Duration::from_millis(1500), call).await {
        Err(_) => Err(false),
        Ok(Err(_)) => Err(true),
        Ok(Ok(answer)) => Ok((answer.status().as_u16(), answer.json().await.unwrap())),
    }
}

async fn unload_with(kind: FaultKind) -> (Rig, Result<(u16, Value), bool>) {
    let rig = Rig::new().await;
    filled(&rig, 10).await;
    download(&rig, "x", 4).await;
    rig.sandbox.add_fault(Fault::next(kind));
    let answer = post(&rig, &insert("x")).await;
    (rig, answer)
}

fn shape(rig: &Rig) -> Vec<(i64, bool, usize)> {
    unloaded(rig, "x").iter().map(|m| (m.chunk(), m.is_last(), m.rows.len())).collect()
}

const WHOLE: [(i64, bool, usize); 3] = [(1, false, 4), (2, false, 4), (3, true, 2)];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hang_never_answers_and_may_have_written() {
    let (rig, answer) = unload_with(FaultKind::HangUnload).await;
    assert_eq!((answer, shape(&rig)), (Err(false), vec![]));
    assert_eq!(post(&rig, "DROP DOWNLOAD EXTERNAL TABLE x").await.unwrap().0, 200);
    let (rig, answer) = unload_with(FaultKind::HangUnloadAfter(2)).await;
    assert_eq!((answer, shape(&rig)), (Err(false), WHOLE[..2].to_vec()));
    // The fault showed once; the next unload is fine.
    download(&rig, "y", 4).await;
    assert_eq!(post(&rig, &insert("y")).await.unwrap().0, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_answer_leaves_the_work_done() {
    let (rig, answer) = unload_with(FaultKind::DropUnloadAnswer).await;
    assert_eq!((answer, shape(&rig)), (Err(true), WHOLE.to_vec()));
    rig.sandbox.add_fault(Fault::next(FaultKind::DropAnswer));
    assert_eq!(post(&rig, "BEGIN DELTA").await, Err(true));
    assert_eq!(rig.rows("d", "GET_DELTA_HOT()").await.len(), 1);
    rig.sandbox.add_fault(Fault::next(FaultKind::LostCommit));
    rig.sandbox.set_clock(Some(4_000_000_000));
    assert_eq!(post(&rig, "COMMIT DELTA").await, Err(true));
    assert_eq!(rig.rows("d", "GET_DELTA_OK()").await[0]["delta_num"], 1);
    rig.sandbox.add_fault(Fault::next(FaultKind::LostDeny));
    assert_eq!(post(&rig, "DENY_CHANGES(d,'c')").await, Err(true));
    assert_eq!(post(&rig, "ALLOW_CHANGES(d,'c')").await.unwrap().0, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failed_unloads_leave_part_of_the_topic() {
    let (rig, answer) = unload_with(FaultKind::FailUnloadAfter(1)).await;
    let (status, body) = answer.unwrap();
    assert_eq!((status, shape(&rig)), (500, WHOLE[..1].to_vec()));
    let text = body["exceptionMessage"].as_str().unwrap();
    assert!(
        text.starts_with("Error executing mppr into table [x] for dml query [SELECT `id`"),
        "{text}"
    );
    let (rig, answer) = unload_with(FaultKind::ReaderDown).await;
    let (status, body) = answer.unwrap();
    assert_eq!((status, shape(&rig)), (500, vec![]));
    let text = body["exceptionMessage"].as_str().unwrap();
    assert!(text.ends_with("Request[POST] to [http://127.0.0.1:18094/query] failed"), "{text}");
    let (rig, answer) = unload_with(FaultKind::OversizeUnload).await;
    assert_eq!((answer.unwrap().0, shape(&rig)), (500, vec![(3, true, 0)]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_zombie_writes_after_its_answer_was_lost() {
    let (rig, answer) = unload_with(FaultKind::ZombieUnload(300)).await;
    assert_eq!((answer, shape(&rig)), (Err(true), vec![]));
    rig.ok("d", "DROP DOWNLOAD EXTERNAL TABLE x").await;
    tokio::time::sleep(Duration::from_millis(900)).await;
    assert_eq!(shape(&rig), WHOLE.to_vec());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unloads_that_answer_200_may_lie() {
    let (rig, answer) = unload_with(FaultKind::DoubleLast).await;
    assert_eq!(answer.unwrap().0, 200);
    assert_eq!(shape(&rig), [&WHOLE[..], &[(4, true, 0)]].concat());
    let (rig, answer) = unload_with(FaultKind::DuplicateChunk).await;
    assert_eq!(answer.unwrap().0, 200);
    assert_eq!(shape(&rig), [&WHOLE[..1], &WHOLE[..]].concat());
    let (rig, answer) = unload_with(FaultKind::SkipChunk).await;
    assert_eq!((answer.unwrap().0, shape(&rig)), (200, WHOLE[1..].to_vec()));
    let (rig, answer) = unload_with(FaultKind::SilentUnload).await;
    assert_eq!((answer.unwrap().0, shape(&rig)), (200, vec![]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn loads_lie_fail_hang_and_dawdle() {
    let rig = Rig::new().await;
    filled(&rig, 10).await;
    rig.ok(
        "d",
        "CREATE TABLE copy (id bigint not null, v varchar, PRIMARY KEY (id)) DISTRIBUTED BY (id)",
    )
    .await;
    let count = "SELECT count(*) AS c FROM copy FOR SYSTEM_TIME AS OF LATEST_UNCOMMITTED_DELTA";
    rig.ok("d", "BEGIN DELTA").await;
    let cases = [
        (FaultKind::LyingLoad, Ok(200), 0),
        (FaultKind::FailLoad, Ok(500), 0),
        (FaultKind::SlowLoad(10), Ok(200), 10),
        (FaultKind::DropLoadAnswer, Err(true), 10),
        (FaultKind::HangLoad, Err(false), 10),
    ];
    for (i, (kind, want, rows)) in cases.into_iter().enumerate() {
        let name = format!("s{i}");
        download(&rig, &name, 4).await;
        rig.ok("d", &insert(&name)).await;
        rig.ok("d", &format!("CREATE UPLOAD EXTERNAL TABLE u{i} (id bigint, v varchar) LOCATION 'kafka://$kafka/{name}' FORMAT 'AVRO'")).await;
        rig.sandbox.add_fault(Fault::next(kind));
        let answer = post(&rig, &format!("INSERT INTO copy SELECT * FROM u{i}")).await;
        assert_eq!(answer.map(|(status, _)| status), want, "{kind:?}");
        assert_eq!(rig.rows("d", count).await[0]["c"], rows, "{kind:?}");
    }
    assert_eq!(rig.rows("d", "GET_WRITE_OPERATIONS()").await[0]["destination_table_name"], "copy");
    let text = rig.err("d", "COMMIT DELTA").await;
    assert_eq!(text, "not finished write operation exist: KeeperErrorCode = Directory not empty");
    assert_eq!(
        rig.err("d", "INSERT INTO copy VALUES (1,'x')").await,
        "Table[copy] blocked: KeeperErrorCode = NodeExists"
    );
    rig.ok("d", "ROLLBACK DELTA").await;
    assert_eq!(rig.rows("d", count).await[0]["c"], 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn statements_can_be_false_or_unfinished() {
    let rig = Rig::new().await;
    filled(&rig, 3).await;
    rig.ok("d", "BEGIN DELTA").await;
    rig.sandbox.add_fault(Fault::next(FaultKind::FailCommit));
    assert!(rig.err("d", "COMMIT DELTA").await.starts_with("not finished write operation"));
    rig.ok("d", "COMMIT DELTA SET '2099-01-01 00:00:00'").await;
    rig.sandbox.add_fault(Fault::next(FaultKind::StaleDeltaOk));
    assert_eq!(rig.rows("d", "GET_DELTA_OK()").await[0]["delta_num"], 0);
    assert_eq!(rig.rows("d", "GET_DELTA_OK()").await[0]["delta_num"], 1);
    let sum = rig.rows("d", "CHECK_SUM(0,t)").await[0]["check_result"].clone();
    rig.sandbox.add_fault(Fault::next(FaultKind::WrongSum));
    assert_ne!(rig.rows("d", "CHECK_SUM(0,t)").await[0]["check_result"], sum);
    rig.sandbox.add_fault(Fault::next(FaultKind::ConsistencyBreach));
    assert!(
        rig.err("d", "CHECK_SUM(0,t)").await.starts_with("Consistency breach detected for t:\n")
    );
    let create = "CREATE TABLE z (id int not null, PRIMARY KEY (id)) DISTRIBUTED BY (id)";
    rig.sandbox.add_fault(Fault::next(FaultKind::UnfinishedDdl));
    rig.err("d", create).await;
    let changes = rig.rows("d", "GET_CHANGES()").await;
    assert_eq!(changes.last().unwrap()["date_time_end"], Value::Null);
    assert!(rig.err("d", "DENY_CHANGES(d,'c')").await.starts_with("Changes are blocked"));
    rig.ok("d", create).await;
    let changes = rig.rows("d", "GET_CHANGES()").await;
    assert_eq!(changes.len(), 2, "the same statement goes on with the open record");
    assert!(changes.last().unwrap()["date_time_end"].is_i64());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn faults_show_when_they_should() {
    let rig = Rig::new().await;
    filled(&rig, 1).await;
    let sum = rig.rows("d", "CHECK_SUM(0,t)").await;
    let mut shown = Vec::new();
    rig.sandbox.add_fault("wrong-sum@3".parse().unwrap());
    for _ in 0..4 {
        shown.push(rig.rows("d", "CHECK_SUM(0,t)").await != sum);
    }
    rig.sandbox.add_fault("wrong-sum@always".parse().unwrap());
    for _ in 0..3 {
        shown.push(rig.rows("d", "CHECK_SUM(0,t)").await != sum);
    }
    rig.sandbox.clear_faults();
    shown.push(rig.rows("d", "CHECK_SUM(0,t)").await != sum);
    assert_eq!(shown, [false, false, true, false, true, true, true, false]);
}

#[test]
fn bad_fault_texts_are_refused_by_name() {
    let parse = |text: &str| text.parse::<Fault>();
    assert_eq!(parse("nonsense"), Err(FaultError::Unknown("nonsense".into())));
    assert_eq!(parse("slow-load"), Err(FaultError::NeedsNumber("slow-load".into())));
    assert_eq!(parse("slow-load=x"), Err(FaultError::NeedsNumber("slow-load".into())));
    assert_eq!(parse("hang-unload=1"), Err(FaultError::TakesNothing("hang-unload".into())));
    assert_eq!(parse("hang-unload@0"), Err(FaultError::BadOccurrence("0".into())));
    assert_eq!(parse("hang-unload@x"), Err(FaultError::BadOccurrence("x".into())));
}

fn any_kind() -> impl Strategy<Value = FaultKind> {
    prop_oneof![
        Just(FaultKind::HangUnload),
        Just(FaultKind::DoubleLast),
        Just(FaultKind::LyingLoad),
        Just(FaultKind::WrongSum),
        any::<u64>().prop_map(FaultKind::HangUnloadAfter),
        any::<u64>().prop_map(FaultKind::FailUnloadAfter),
        any::<u64>().prop_map(FaultKind::ZombieUnload),
        any::<u64>().prop_map(FaultKind::SlowUnload),
        any::<u64>().prop_map(FaultKind::SlowLoad),
        any::<u64>().prop_map(FaultKind::ZombieLoad),
        any::<u64>().prop_map(FaultKind::LateLoad),
        any::<u64>().prop_map(FaultKind::SlowRollback),
        Just(FaultKind::StuckRollback),
        Just(FaultKind::LostBegin),
        Just(FaultKind::LostRollback),
        Just(FaultKind::FailLoadCounted),
    ]
}

proptest! {
    #[test]
    fn a_fault_reads_back_as_written(kind in any_kind(), n in 0..5_u64) {
        let when = match n {
            0 => When::Next,
            4 => When::Always,
            n => When::Nth(n),
        };
        let fault = Fault { kind, when };
        prop_assert_eq!(fault.to_string().parse::<Fault>(), Ok(fault));
    }
}
