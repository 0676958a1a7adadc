//! Every method of the target, by what a real node answered. Owns no server.

use std::collections::BTreeMap;

use deltakeep::extract::SourceError;
use deltakeep::extract::prostore::ProstoreNode;
use deltakeep::load::{Hot, Target};
use deltakeep::model::{
    AttemptName, Column, ColumnType, Datasource, DeltaDate, DeltaNum, Table, TableName,
};

use super::node_of;
use super::server::Answer::{self, Lost, Made, Never, Recorded};
use super::server::Server;

fn node_that(answers: Vec<Answer>) -> (ProstoreNode, Server) {
    let server = Server::start(vec![("", answers)]);
    (node_of(&server), server)
}

fn load() -> AttemptName {
    AttemptName("deltakeep_12345678_2_0_1_000000ab".into())
}

fn table() -> Table {
    let column = |name: &str, kind| Column { name: name.into(), kind };
    let columns = vec![column("k1", ColumnType::Int), column("k2", ColumnType::Varchar(Some(20)))];
    let (name, datasources) = (TableName("comp".into()), vec![Datasource("adp".into())]);
    Table { name, columns, datasources, primary_key: vec!["k1".into(), "k2".into()] }
}

/// The refusal's own text.
fn refused(answer: Result<(), SourceError>) -> String {
    match answer {
        Err(SourceError::Refused { message, .. }) => message,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_datamart_exists_or_does_not_or_nobody_knows() {
    let exists = async |answer| node_that(vec![answer]).0.exists().await;
    assert!(matches!(exists(Recorded("entities")).await, Ok(true)));
    assert!(matches!(exists(Recorded("entities_of_a_missing_datamart")).await, Ok(false)));
    assert!(matches!(exists(Lost).await, Err(SourceError::Unreachable { .. })));
    let names = Target::entities(&node_that(vec![Recorded("entities")]).0).await;
    assert!(names.expect("names").contains(&"table1_adp".to_owned()));
}

#[tokio::test]
async fn a_datamart_is_created_beside_none() {
    let (node, server) = node_that(vec![Recorded("done")]);
    assert!(node.create_datamart().await.is_ok());
    let request = server.requests(r#""sql":"CREATE DATABASE sourcedb""#).pop().expect("one");
    assert!(request.contains(r#""datamartMnemonic":"""#), "{request}");
    assert!(request.contains("authorization: Bearer canary-token"), "{request}");
    let (node, _server) = node_that(vec![Recorded("datamart_exists")]);
    assert_eq!(refused(node.create_datamart().await), "Database sourcedb already exists");
}

#[tokio::test]
async fn datasources_are_those_of_the_node_or_unknown() {
    let active = async |answer| Target::active_datasources(&node_that(vec![answer]).0).await;
    let adp = Some(vec![Datasource("adp".into())]);
    assert_eq!(active(Recorded("config_active_datasources")).await.ok(), Some(adp));
    assert!(matches!(active(Recorded("config_unknown")).await, Ok(None)));
    assert!(matches!(active(Recorded("parse_error")).await, Ok(None)));
}

#[tokio::test]
async fn the_hot_delta_tells_its_finished_operations_by_table() {
    let hot = async |answer| node_that(vec![answer]).0.hot().await;
    assert!(matches!(hot(Recorded("hot_none")).await, Ok(None)));
    let begun = Hot { num: DeltaNum(0), rolling_back: false, finished: BTreeMap::new() };
    assert_eq!(hot(Recorded("hot_just_begun")).await.ok(), Some(Some(begun)));
    let finished = BTreeMap::from([(TableName("b".into()), 2)]);
    let loaded = Hot { num: DeltaNum(1), rolling_back: false, finished };
    assert_eq!(hot(Recorded("hot_with_loads")).await.ok(), Some(Some(loaded)));
    let missing = hot(Recorded("hot_of_a_missing_datamart")).await;
    assert!(matches!(missing, Err(SourceError::NoDatamart { .. })));
}

const HOT_COLUMNS: &str = r#""metadata":[{"name":"delta_num"},{"name":"is_rolling_back"},
    {"name":"write_op_finished"}]}"#;

#[tokio::test]
async fn a_hot_delta_that_cannot_be_read_is_never_taken_for_an_empty_one() {
    let hot = async |row: &str| {
        let body = format!(r#"{{"result":[{row}],{HOT_COLUMNS}"#);
        node_that(vec![Made(200, body.leak())]).0.hot().await
    };
    let rolling = hot(r#"{"delta_num":3,"is_rolling_back":true,"write_op_finished":null}"#).await;
    assert!(rolling.is_ok_and(|hot| hot.is_some_and(|hot| hot.rolling_back)));
    for row in [
        r#"{"delta_num":3,"is_rolling_back":null,"write_op_finished":null}"#,
        r#"{"delta_num":null,"is_rolling_back":false,"write_op_finished":null}"#,
        r#"{"delta_num":3,"is_rolling_back":false,"write_op_finished":"b: 1, 2"}"#,
        r#"{"delta_num":3,"is_rolling_back":false,"write_op_finished":[]}"#,
    ] {
        assert!(matches!(hot(row).await, Err(SourceError::Unreadable { .. })), "{row}");
    }
}

#[tokio::test]
async fn operations_under_way_are_counted() {
    let running = async |name| node_that(vec![Recorded(name)]).0.running().await.ok();
    assert_eq!(running("write_operations_none").await, Some(0));
    assert_eq!(running("write_operations_one").await, Some(1));
}

#[tokio::test]
async fn deltas_are_begun_and_committed_or_refused_in_the_nodes_words() {
    let (node, server) = node_that(vec![Recorded("begin_done"), Recorded("begin_not_next")]);
    assert!(node.begin(DeltaNum(0)).await.is_ok());
    let text = refused(node.begin(DeltaNum(1)).await);
    assert_eq!(text, "The delta number 1 is not next to an actual delta");
    assert_eq!(server.requests("BEGIN DELTA SET 0").len(), 1);
    let (node, _server) = node_that(vec![Recorded("begin_while_one_is_open")]);
    assert_eq!(refused(node.begin(DeltaNum(1)).await), "The delta 0 is not committed.");
    let date = DeltaDate(1_795_237_925_000_000);
    let (node, server) = node_that(vec![Recorded("commit_done")]);
    assert!(node.commit(date).await.is_ok());
    assert_eq!(server.requests("COMMIT DELTA SET '2026-11-21 05:12:05'").len(), 1);
    for refusal in ["commit_too_early", "commit_with_a_fraction", "commit_while_writing"] {
        let (node, _server) = node_that(vec![Recorded(refusal)]);
        assert!(!refused(node.commit(date).await).is_empty(), "{refusal}");
    }
}

#[tokio::test]
async fn a_rollback_refused_where_no_delta_is_open_any_more_is_done() {
    let rollback = async |hot| {
        let server = Server::start(vec![
            ("ROLLBACK DELTA", vec![Recorded("rollback_refused")]),
            ("GET_DELTA_HOT()", vec![hot]),
        ]);
        node_of(&server).rollback().await
    };
    assert!(rollback(Recorded("hot_none")).await.is_ok());
    let text = refused(rollback(Recorded("hot_with_loads")).await);
    assert_eq!(text, "Can't rollback delta by datamart [sourcedb]");
    assert!(matches!(rollback(Lost).await, Err(SourceError::Unreachable { .. })));
    let (node, _server) = node_that(vec![Recorded("rollback_done")]);
    assert!(node.rollback().await.is_ok());
}

#[tokio::test]
async fn a_load_is_made_sent_once_and_cleared_away() {
    let (node, server) = node_that(vec![Recorded("done"), Recorded("create_exists")]);
    assert!(node.make_upload(&load(), &table(), Some(10)).await.is_ok());
    assert!(node.make_upload(&load(), &table(), Some(10)).await.is_ok());
    let create = "CREATE UPLOAD EXTERNAL TABLE sourcedb.deltakeep_12345678_2_0_1_000000ab \
                  (k1 int, k2 varchar(20)) \
                  LOCATION 'kafka://$kafka/deltakeep_12345678_2_0_1_000000ab' FORMAT 'AVRO' \
                  MESSAGE_LIMIT 10";
    assert_eq!(server.requests(create).len(), 2);
    let (node, server) = node_that(vec![Recorded("done")]);
    assert!(node.insert(&load(), &table()).await.is_ok());
    let insert = "INSERT INTO sourcedb.comp SELECT * \
                  FROM sourcedb.deltakeep_12345678_2_0_1_000000ab";
    assert_eq!(server.requests(insert).len(), 1);
    let (node, _server) = node_that(vec![Recorded("load_timed_out")]);
    let text = refused(node.insert(&load(), &table()).await);
    assert!(text.starts_with("Mppw load failed:"), "{text}");
    let (node, _server) = node_that(vec![Recorded("done"), Recorded("drop_upload_missing")]);
    assert!(node.drop_upload(&load()).await.is_ok() && node.drop_upload(&load()).await.is_ok());
}

#[tokio::test]
async fn a_load_is_waited_for_longer_than_anything_else() {
    // The client's patience for other statements is 3 s.
    let (node, _server) = node_that(vec![Never]);
    let patience = std::time::Duration::from_secs(5);
    let (name, table) = (load(), table());
    let insert = tokio::time::timeout(patience, node.insert(&name, &table));
    let (insert, begin) = tokio::join!(insert, node.begin(DeltaNum(0)));
    assert!(insert.is_err(), "{insert:?}");
    assert!(matches!(begin, Err(SourceError::Unreachable { .. })));
}

#[tokio::test]
async fn schema_changes_are_sent_as_they_are_and_their_records_erased() {
    let (node, server) = node_that(vec![Recorded("done")]);
    let query = "CREATE VIEW sourcedb.v1 AS\nSELECT id\nFROM other.t\nWHERE v = 'it''s'";
    assert!(Target::execute(&node, query).await.is_ok());
    let sent = serde_json::to_string(query).expect("JSON");
    assert_eq!(server.requests(&format!(r#""sql":{sent}"#)).len(), 1);
    let (node, _server) = node_that(vec![Recorded("ddl_while_a_delta_is_open")]);
    assert_eq!(refused(Target::execute(&node, query).await), "Change operations are forbidden");
    // Another database than ours may be the missing one.
    let (node, _server) = node_that(vec![Recorded("deny_in_a_missing_datamart")]);
    assert!(refused(Target::execute(&node, query).await).ends_with("does not exist"));
    let (node, server) = node_that(vec![Recorded("erase_done"), Recorded("erase_nothing")]);
    assert!(node.erase_change(1).await.is_ok());
    assert_eq!(refused(node.erase_change(1).await), "Active operation does not exist");
    assert_eq!(server.requests("ERASE_CHANGE_OPERATION(1, sourcedb)").len(), 2);
}

#[tokio::test]
async fn commands_are_sent_once_and_only_a_missing_answer_leaves_them_unknown() {
    for lost in [Lost, Made(502, ""), Made(503, ""), Made(504, "")] {
        let (node, server) = node_that(vec![lost.clone()]);
        let (name, table) = (load(), table());
        let answers = [
            node.create_datamart().await,
            Target::execute(&node, "DROP TABLE sourcedb.comp").await,
            node.erase_change(1).await,
            node.begin(DeltaNum(0)).await,
            node.commit(DeltaDate(0)).await,
            node.rollback().await,
            node.make_upload(&name, &table, None).await,
            node.insert(&name, &table).await,
            node.drop_upload(&name).await,
        ];
        for (at, answer) in answers.iter().enumerate() {
            let unknown = matches!(answer, Err(SourceError::Unreachable { .. }));
            assert!(unknown, "{lost:?} {at}: {answer:?}");
        }
        assert_eq!(server.requests("").len(), answers.len(), "{lost:?}");
    }
    // A node that answers, whatever it says, has done with the statement.
    for body in ["{}", "<html></html>"] {
        let (node, _server) = node_that(vec![Made(500, body)]);
        let answer = node.insert(&load(), &table()).await;
        assert!(matches!(answer, Err(SourceError::Refused { .. })), "{answer:?}");
    }
}
