//! What a node's history has to do with a topic's, and what changes between a stop and its resume
//! (D3, D4.3, D4.4): with the texts that a node really sends.

use deltakeep::backup::{Disagreement, Fault, Refusal};
use deltakeep::model::DeltaNum;
use deltakeep::sandbox::{Datasource, Options};

use crate::rig::{Rig, Warnings};

async fn refused(rig: &Rig) -> Refusal {
    let before = rig.node.calls().len();
    let error = rig.backup(&Warnings::default()).await.expect_err("refused");
    let calls = rig.node.calls().split_off(before);
    assert!(!calls.iter().any(|call| call.contains("_CHANGES(d, ")), "{calls:?}");
    assert!(!error.touched, "{error:?}");
    match error.fault {
        Fault::Refused(refusal) => refusal,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_datamart_dropped_and_made_again_is_another_history() {
    let mut rig = Rig::new().await.filled(5).await;
    rig.delta(1, &[]).await;
    rig.backup(&Warnings::default()).await.expect("a backup");
    // As many deltas as before, so that "nothing new" would be the answer for ever.
    rig.sql("DROP DATABASE d").await;
    rig.sql("CREATE DATABASE d").await;
    for number in 2..4 {
        rig.delta(number, &[]).await;
    }
    let refusal = refused(&rig).await;
    assert!(matches!(&refusal, Refusal::History(other) if other.delta == DeltaNum(0)), "{refusal}");
    // Fewer: the topic is ahead of the node.
    rig.sql("DROP DATABASE d").await;
    rig.sql("CREATE DATABASE d").await;
    rig.delta(0, &[]).await;
    rig.shape.asked = None;
    let refusal = refused(&rig).await;
    assert!(matches!(&refusal, Refusal::Range(_)), "{refusal}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stale_answer_about_the_last_delta_hides_none() {
    let rig = Rig::new().await.filled(5).await;
    rig.delta(1, &[]).await;
    rig.fault("stale-delta-ok@always");
    let summary = rig.backup(&Warnings::default()).await.expect("a backup");
    assert_eq!(summary.deltas, [DeltaNum(0), DeltaNum(1)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schema_change_between_stop_and_resume_is_ignored_or_named() {
    let create = "CREATE TABLE d.u (id bigint not null, PRIMARY KEY (id)) DISTRIBUTED BY (id)";
    for (change, named) in [(create, None), ("DROP TABLE d.t", Some("DROP TABLE d.t"))] {
        let rig = Rig::new().await.filled(5).await;
        rig.fault("silent-unload@always");
        rig.backup(&Warnings::default()).await.expect_err("every unload is silent");
        rig.node.clear_faults();
        rig.sql(change).await;
        let resumed = rig.backup(&Warnings::default()).await;
        match (named, resumed.map_err(|error| error.fault)) {
            (None, Ok(summary)) => assert_eq!((summary.rows, summary.resumed), (5, true)),
            (Some(named), Err(Fault::Disagrees(Disagreement::TableChanged { query, .. }))) => {
                assert_eq!(query, named);
            }
            (_, other) => panic!("{change}: {other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_outside_the_asked_datasource_is_refused_or_left_to_the_node() {
    let datasources = vec![Datasource::Adp, Datasource::Adqm];
    let mut rig = Rig::with(Options { datasources, ..Options::default() }).await;
    let columns = "(id bigint not null, PRIMARY KEY (id)) DISTRIBUTED BY (id) DATASOURCE_TYPE";
    rig.sql(&format!("CREATE TABLE a {columns} (adp)")).await;
    rig.sql(&format!("CREATE TABLE b {columns} (adp, adqm)")).await;
    rig.delta(0, &["SANDBOX_FILL(a, 3)".to_owned(), "SANDBOX_FILL(b, 4)".to_owned()]).await;
    rig.shape.datasource = Some("adqm".to_owned());
    let refusal = refused(&rig).await;
    assert_eq!(refusal.to_string(), "datasource adqm does not hold: a (in adp)");
    rig.shape.datasource_fallback = true;
    let summary = rig.backup(&Warnings::default()).await.expect("a backup");
    assert_eq!(summary.rows, 7);
    let calls = rig.node.calls();
    let unloads = |table: &str, datasource: &str| {
        let from = format!(" FROM d.{table} ");
        let end = format!("DATASOURCE_TYPE = '{datasource}'");
        let unloads = calls.iter().filter(|call| call.starts_with("INSERT INTO d.deltakeep_"));
        unloads.filter(|call| call.contains(&from) && call.ends_with(&end)).count()
    };
    assert_eq!((unloads("a", "adp"), unloads("b", "adqm")), (2, 2));
}
