//! Every method of the node, by what a real node answered.

use deltakeep::extract::prostore::ProstoreNode;
use deltakeep::extract::{Allow, Deny, Mark, Marker, Node, SourceError};
use deltakeep::model::{
    Column, ColumnType, Datasource, Delta, DeltaDate, DeltaNum, LockCode, Owner, RunId, Table,
    TableName,
};
use uuid::Uuid;

use super::node_of;
use super::server::Answer::{self, Lost, Made, Never, Recorded};
use super::server::Server;

/// A node that answers everything alike.
fn node_that(answers: Vec<Answer>) -> (ProstoreNode, Server) {
    let server = Server::start(vec![("", answers)]);
    (node_of(&server), server)
}

fn code() -> LockCode {
    let datamart = deltakeep::model::Datamart::parse("sourcedb").expect("a datamart name");
    LockCode::new(&datamart, 21)
}

fn comp() -> Table {
    let column = |name: &str, kind| Column { name: name.into(), kind };
    let columns = vec![column("k1", ColumnType::Int), column("k2", ColumnType::Varchar(Some(20)))];
    let (name, datasources) = (TableName("comp".into()), vec![Datasource("adp".into())]);
    Table { name, columns, datasources, primary_key: vec!["k1".into(), "k2".into()] }
}

#[tokio::test]
async fn the_newest_delta_comes_with_date_and_operations() {
    let (node, server) = node_that(vec![Recorded("delta_ok")]);
    let delta =
        Delta { num: DeltaNum(0), date: DeltaDate(1_795_237_925_000_000), cn_from: 0, cn_to: 3 };
    assert_eq!(node.last_delta().await.ok(), Some(Some(delta)));
    let request = server.requests("GET_DELTA_OK()").pop().expect("one request");
    assert!(request.contains("authorization: Bearer canary-token"), "{request}");
    assert!(request.contains(r#""datamartMnemonic":"sourcedb""#), "{request}");
}

#[tokio::test]
async fn a_delta_beyond_the_last_is_none_and_a_missing_datamart_an_error() {
    let (node, _server) = node_that(vec![Recorded("delta_not_exist")]);
    assert!(matches!(node.delta(DeltaNum(99)).await, Ok(None)));
    let (node, _server) = node_that(vec![Recorded("delta_of_a_missing_datamart")]);
    assert!(matches!(node.last_delta().await, Err(SourceError::NoDatamart { .. })));
    assert!(matches!(node.delta(DeltaNum(0)).await, Err(SourceError::NoDatamart { .. })));
}

#[tokio::test]
async fn the_changelog_tells_finished_records_from_the_unfinished_one() {
    let (node, _server) = node_that(vec![Recorded("changes_of_a_new_datamart")]);
    let log = node.changes().await.expect("a changelog");
    assert_eq!((log.0.len(), log.0[0].num, log.0[0].delta), (1, 0, None));
    assert_eq!((log.0[0].entity.as_str(), log.unfinished()), ("table1_adp", None));
    assert!(log.0[0].query.starts_with("CREATE TABLE sourcedb.table1_adp (id BIGINT NOT NULL"));
    let (node, _server) = node_that(vec![Recorded("changes_with_an_unfinished_one")]);
    let log = node.changes().await.expect("a changelog");
    assert!(log.unfinished().is_some_and(|change| change.num + 1 == log.0.len() as u64));
    let (node, _server) = node_that(vec![Recorded("changes_of_a_missing_datamart")]);
    assert!(matches!(node.changes().await, Err(SourceError::NoDatamart { .. })));
}

#[tokio::test]
async fn the_documented_names_of_the_time_columns_are_read_too() {
    let body = r#"{"result":[{"change_num":0,"entity_name":"t","change_query":"q","start_time":1,
        "end_time":2,"delta_num":4}],"metadata":[{"name":"change_num"},{"name":"entity_name"},
        {"name":"change_query"},{"name":"start_time"},{"name":"end_time"},{"name":"delta_num"}]}"#;
    let (node, _server) = node_that(vec![Made(200, body)]);
    let log = node.changes().await.expect("a changelog");
    assert_eq!((log.0[0].finished, log.0[0].delta), (true, Some(DeltaNum(4))));
}

#[tokio::test]
async fn logical_tables_come_with_all_their_columns() {
    let server = Server::start(vec![
        ("INFORMATION_SCHEMA", vec![Recorded("tables")]),
        ("/attributes", vec![Recorded("attributes_of_all_types")]),
    ]);
    let tables = node_of(&server).tables().await.expect("tables");
    let names: Vec<_> = tables.tables.iter().map(|table| table.name.0.as_str()).collect();
    assert_eq!((names, tables.unknown.len()), (vec!["comp", "empty_t", "table1_adp"], 0));
    let kinds: Vec<_> = tables.tables[0].columns.iter().map(|column| column.kind).collect();
    let expected = [
        ColumnType::Bigint,
        ColumnType::Boolean,
        ColumnType::Int32,
        ColumnType::Int,
        ColumnType::Bigint,
        ColumnType::Float,
        ColumnType::Double,
        ColumnType::Char(10),
        ColumnType::Varchar(None),
        ColumnType::Uuid,
        ColumnType::Link,
        ColumnType::Date,
        ColumnType::Time(Some(6)),
        ColumnType::Timestamp(Some(6)),
    ];
    assert_eq!(kinds, expected);
    assert_eq!(tables.tables[0].datasources, [Datasource("adp".into())]);
    assert_eq!(server.requests("/meta/sourcedb/entity/").len(), 3);
}

#[tokio::test]
async fn an_entity_of_an_unknown_type_is_reported() {
    let body = r#"{"result":[{"TABLE_NAME":"P","TABLE_TYPE":"PARTITIONED TABLE",
        "TABLE_DATASOURCE_TYPE":""}],"metadata":[{"name":"TABLE_NAME"},{"name":"TABLE_TYPE"},
        {"name":"TABLE_DATASOURCE_TYPE"}]}"#;
    let (node, _server) = node_that(vec![Made(200, body)]);
    let tables = node.tables().await.expect("tables");
    assert_eq!(tables.unknown, ["p (PARTITIONED TABLE)"]);
}

#[tokio::test]
async fn an_empty_datamart_is_told_from_a_missing_one() {
    for (entities, found) in [("entities", true), ("entities_of_a_missing_datamart", false)] {
        let server = Server::start(vec![
            ("INFORMATION_SCHEMA", vec![Recorded("tables_where_there_are_none")]),
            ("/entities", vec![Recorded(entities)]),
        ]);
        let tables = node_of(&server).tables().await;
        assert_eq!(tables.is_ok_and(|tables| tables.tables.is_empty()), found, "{entities}");
    }
}

#[tokio::test]
async fn the_version_is_the_nodes_own_and_no_reason_to_fail() {
    let (node, _server) = node_that(vec![Recorded("versions")]);
    assert_eq!(node.version().await.ok().as_deref(), Some("5.5.0"));
    let (node, _server) = node_that(vec![Recorded("versions_with_a_dead_connector")]);
    assert_eq!(node.version().await.ok().as_deref(), Some("unknown"));
}

#[tokio::test]
async fn sums_are_texts_and_none_where_datasources_differ() {
    let (node, server) = node_that(vec![Recorded("sum_of_a_table")]);
    let sum = Some("3486358987".to_owned());
    assert_eq!(node.delta_sum(DeltaNum(1)).await.ok(), Some(sum.clone()));
    let columns = ["k1".to_owned()];
    let sums = node.table_sums(DeltaNum(1), &comp(), &columns, true).await.expect("sums");
    assert_eq!((sums.changes, sums.snapshot), (sum.clone(), sum));
    assert_eq!(server.requests("CHECK_SUM(1, sourcedb.comp, [k1])").len(), 1);
    assert_eq!(server.requests("CHECK_SUM_SNAPSHOT(1, sourcedb.comp, [k1])").len(), 1);
    let (node, _server) = node_that(vec![Recorded("sum_where_datasources_differ")]);
    assert!(matches!(node.delta_sum(DeltaNum(0)).await, Ok(None)));
}

#[tokio::test]
async fn deny_and_allow_are_read_by_their_texts() {
    let deny = async |name| node_that(vec![Recorded(name)]).0.deny(&code()).await;
    assert!(matches!(deny("deny_done").await, Ok(Deny::Done)));
    assert!(matches!(deny("deny_blocked").await, Ok(Deny::Blocked)));
    let missing = deny("deny_in_a_missing_datamart").await;
    assert!(matches!(missing, Err(SourceError::NoDatamart { .. })));
    assert!(matches!(deny("parse_error").await, Err(SourceError::Refused { .. })));
    let allow = async |name| node_that(vec![Recorded(name)]).0.allow(&code()).await;
    assert!(matches!(allow("done").await, Ok(Allow::Done)));
    assert!(matches!(allow("allow_wrong_code").await, Ok(Allow::WrongCode)));
    assert!(matches!(allow("deny_blocked").await, Ok(Allow::Blocked)));
}

#[tokio::test]
async fn not_blocked_is_believed_only_of_a_datamart_that_exists() {
    let allow = async |text, entities| {
        let server = Server::start(vec![
            ("ALLOW_CHANGES", vec![Recorded(text)]),
            ("/entities", vec![Recorded(entities)]),
        ]);
        node_of(&server).allow(&code()).await
    };
    assert!(matches!(allow("allow_not_blocked", "entities").await, Ok(Allow::NotBlocked)));
    let missing = allow("allow_in_a_missing_datamart", "entities_of_a_missing_datamart").await;
    assert!(matches!(missing, Err(SourceError::NoDatamart { .. })));
}

#[tokio::test]
async fn the_marker_says_whose_it_is() {
    let (node, _server) = node_that(vec![Recorded("attributes_of_a_missing_entity")]);
    assert!(matches!(node.marker().await, Ok(Marker::Absent)));
    let (node, _server) = node_that(vec![Recorded("attributes_of_all_types")]);
    assert!(matches!(node.marker().await, Ok(Marker::Foreign)));
    let body = r#"[
        {"mnemonic":"run_00000000000000000000000000000007","dataType":"INT","ordinalPosition":0},
        {"mnemonic":"day_9","dataType":"INT","ordinalPosition":1},
        {"mnemonic":"at_20261121t0525z","dataType":"INT","ordinalPosition":2}]"#;
    let (node, _server) = node_that(vec![Made(200, body)]);
    let owner = Owner { run: RunId(Uuid::from_u128(7)), day: 9, started: "20261121t0525z".into() };
    assert_eq!(node.marker().await.ok(), Some(Marker::Of(owner.clone())));
    let (node, server) = node_that(vec![Recorded("done"), Recorded("create_exists")]);
    assert_eq!(node.mark(&owner).await.ok(), Some(Mark::Done));
    assert_eq!(node.mark(&owner).await.ok(), Some(Mark::Exists));
    assert_eq!(server.requests("CREATE DOWNLOAD EXTERNAL TABLE sourcedb.deltakeep_owner").len(), 2);
    let (node, _server) = node_that(vec![Recorded("done"), Recorded("drop_missing")]);
    assert!(node.unmark().await.is_ok() && node.unmark().await.is_ok());
}

#[tokio::test]
async fn one_parameter_is_asked_and_the_estimate_names_the_datasource() {
    let (node, server) = node_that(vec![Recorded("config_zookeeper")]);
    let value = node.config("ZOOKEEPER_KAFKA_ADDRESS").await;
    assert_eq!(value.ok().flatten().as_deref(), Some("127.0.0.1:12181"));
    assert_eq!(server.requests("CONFIG_SHOW('ZOOKEEPER_KAFKA_ADDRESS')").len(), 1);
    let (node, _server) = node_that(vec![Recorded("estimate")]);
    let datasource = node.estimate_datasource(&comp(), DeltaNum(1)).await;
    assert_eq!(datasource.ok().flatten(), Some(Datasource("adp".into())));
    let (node, _server) = node_that(vec![Recorded("parse_error")]);
    assert!(matches!(node.estimate_datasource(&comp(), DeltaNum(1)).await, Ok(None)));
    let body = r#"{"result":[{"parameter_value":"ADP, ADQM"}],
        "metadata":[{"name":"parameter_value"}]}"#;
    let (node, _server) = node_that(vec![Made(200, body)]);
    let active = node.active_datasources().await.expect("a list");
    assert_eq!(active, [Datasource("adp".into()), Datasource("adqm".into())]);
}

#[tokio::test]
async fn questions_are_asked_again_and_commands_never() {
    let (node, server) = node_that(vec![Lost, Lost, Recorded("delta_ok")]);
    assert!(matches!(node.last_delta().await, Ok(Some(_))));
    assert_eq!(server.requests("").len(), 3);
    for lost in [Lost, Never, Made(502, ""), Made(504, "")] {
        let (node, server) = node_that(vec![lost.clone()]);
        let code = code();
        let (deny, allow) = tokio::join!(node.deny(&code), node.allow(&code));
        assert!(matches!(deny, Err(SourceError::Unreachable { .. })), "{lost:?}: {deny:?}");
        assert!(matches!(allow, Err(SourceError::Unreachable { .. })), "{lost:?}: {allow:?}");
        assert_eq!(server.requests("").len(), 2, "{lost:?}");
    }
}

#[tokio::test]
async fn a_node_that_is_not_there_or_is_none_is_told_apart() {
    let (node, _server) = node_that(vec![Lost]);
    assert!(matches!(node.last_delta().await, Err(SourceError::Unreachable { .. })));
    let (node, _server) = node_that(vec![Recorded("not_found_page")]);
    assert!(matches!(node.last_delta().await, Err(SourceError::Unreadable { .. })));
    let (node, _server) = node_that(vec![Made(200, "<html></html>")]);
    assert!(matches!(node.last_delta().await, Err(SourceError::Unreadable { .. })));
}

#[tokio::test]
async fn the_token_is_in_no_error_and_no_debug_text() {
    let quoting = r#"{"exceptionMessage":"no access for Bearer canary-token"}"#;
    let (node, server) = node_that(vec![Made(401, quoting)]);
    let error = node.last_delta().await.expect_err("no rights");
    assert!(matches!(error, SourceError::NoRights { .. }));
    for status in [403, 500, 418, 200] {
        let (node, _server) = node_that(vec![Made(status, quoting)]);
        let error = format!("{:?}", node.delta_sum(DeltaNum(0)).await);
        assert!(!error.contains("canary"), "{status}: {error}");
    }
    assert!(!format!("{error} {error:?} {node:?}").contains("canary"));
    assert!(server.requests("").iter().all(|request| request.matches("canary").count() == 1));
}
