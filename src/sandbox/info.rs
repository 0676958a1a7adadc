//! Owns statements that only tell about the node: CONFIG_SHOW, CHECK_VERSIONS, USE, GET_ENTITY_DDL; never changes state.

use rusqlite::Connection;
use serde_json::{Value as Json, json};

use super::answer::Answer;
use super::catalog;
use super::definitions::datamart_of;
use super::deltas;
use super::entity::{Body, Entity, Table};
use super::failure::Failure;
use super::query::{OutColumn, Planner, Quoting, parse_text, print};
use super::statement::Name;
use super::types::{Column, Kind};
use super::{Datasource, Options};

/// Parameters of a real node: path, value, environment variable, with tabs between.
const PARAMETERS: &str = include_str!("config_parameters.txt");

const CONFIG_COLUMNS: &[(&str, Kind)] = &[
    ("parameter_name", Kind::Varchar),
    ("parameter_value", Kind::Varchar),
    ("environment_variable", Kind::Varchar),
];

const VERSION_COLUMNS: &[(&str, Kind)] =
    &[("component_name", Kind::Varchar), ("version", Kind::Varchar)];

/// What `CONFIG_SHOW('ZOOKEEPER_KAFKA_ADDRESS')` shows when the options name no ZooKeeper.
pub(crate) const DEFAULT_ZOOKEEPER: &str = "127.0.0.1:2181";

/// CONFIG_SHOW: by path, by environment variable, or everything.
pub(crate) fn config(options: &Options, wanted: Option<&str>) -> Answer {
    let mut answer = Answer::table(CONFIG_COLUMNS, false);
    for line in PARAMETERS.lines() {
        let mut parts = line.split('\t');
        let (path, value) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let variable = parts.next().unwrap_or_default();
        let meant = |w: &str| w.eq_ignore_ascii_case(path) || w.eq_ignore_ascii_case(variable);
        if wanted.is_none_or(|w| !w.is_empty() && meant(w)) {
            let variable = if variable.is_empty() { Json::Null } else { json!(variable) };
            answer.push(vec![json!(path), json!(setting(options, path, value)), variable]);
        }
    }
    // Extension: the brokers themselves, so that no ZooKeeper is needed.
    if wanted.is_some_and(|w| w.eq_ignore_ascii_case("SANDBOX_KAFKA_BROKERS")) {
        let name = json!("sandbox:kafka:brokers");
        answer.push(vec![name, json!(options.kafka), json!("SANDBOX_KAFKA_BROKERS")]);
    }
    answer
}

fn setting(options: &Options, path: &str, recorded: &str) -> String {
    match path {
        "core:plugins:active" => datasource_names(&options.datasources),
        "core:http:port" => options.listen.port().to_string(),
        "core:kafka:cluster:zookeeper:connection-string"
        | "core:datasource:zookeeper:connection-string" => {
            options.zookeeper.clone().unwrap_or(DEFAULT_ZOOKEEPER.to_owned())
        }
        "adqm:mppw:kafkaBrokers" if options.datasources.contains(&Datasource::Adqm) => {
            options.kafka.clone()
        }
        _ => recorded.to_owned(),
    }
}

fn datasource_names(datasources: &[Datasource]) -> String {
    let mut names: Vec<_> = datasources.iter().map(|d| d.name()).collect();
    names.sort_unstable();
    names.join(", ")
}

/// CHECK_VERSIONS
pub(crate) fn versions(options: &Options) -> Answer {
    let mut rows = vec![("query-execution-core", "5.5.0")];
    for datasource in &options.datasources {
        rows.extend(match datasource {
            Datasource::Adp => [
                (
                    "adp instance",
                    "PostgreSQL 15.18 (Debian 15.18-0+deb12u1) on x86_64-pc-linux-gnu, compiled by gcc (Debian 12.2.0-14+deb12u1) 12.2.0, 64-bit",
                ),
                ("kafka-postgres connector reader", "0.1.7"),
                ("kafka-postgres connector writer", "0.1.7"),
            ],
            Datasource::Adqm => [
                ("adqm cluster", "26.9.2.1"),
                ("kafka-clickhouse connector reader", "3.7.0"),
                ("kafka-clickhouse connector writer", "3.7.0"),
            ],
        });
    }
    rows.push(("status-monitor", "5.5.0"));
    rows.into_iter().fold(Answer::table(VERSION_COLUMNS, false), |answer, (name, version)| {
        answer.row(vec![json!(name), json!(version)])
    })
}

/// USE: only says that the datamart exists.
pub(crate) fn use_datamart(conn: &Connection, name: &str) -> Result<Answer, Failure> {
    catalog::require_datamart(conn, name)?;
    let answer = Answer::table(&[("schema", Kind::Varchar)], true).with_schema_mark();
    Ok(answer.row(vec![json!(name)]))
}

/// GET_ENTITY_DDL: everything upper-cased, string literals too.
pub(crate) fn entity_ddl(conn: &Connection, default: &str, name: &Name) -> Result<Answer, Failure> {
    let datamart = datamart_of(name, default)?;
    let entity = catalog::require(conn, &datamart, &name.entity)?;
    let full = format!("{datamart}.{}", entity.name);
    let text = match &entity.body {
        Body::Table(table) => format!("CREATE TABLE {full} {}", table_ddl(table)),
        Body::View { text, .. } => format!("CREATE VIEW {full} AS {}", text.replace('\n', " ")),
        Body::Matview { table, datasource, .. } => {
            let query = matview_query(conn, &entity)?;
            let table = table_ddl(table);
            let place = datasource.as_ref().map(|d| format!(" DATASOURCE_TYPE = '{d}'"));
            let place = place.unwrap_or_default();
            format!("CREATE MATERIALIZED VIEW {full} {table} AS {query}{place}")
        }
        Body::External(external) => {
            let columns: Vec<_> = external.columns.iter().map(Column::ddl_text).collect();
            let kind = if external.upload { "UPLOAD" } else { "DOWNLOAD" };
            let place = format!("LOCATION '{}' FORMAT '{}'", external.location, external.format);
            format!("CREATE {kind} EXTERNAL TABLE {full} ({}) {place}", columns.join(", "))
        }
    };
    let answer = Answer::table(&[("DDL_SCRIPT", Kind::Varchar)], false);
    Ok(answer.row(vec![json!(text.to_uppercase())]))
}

fn table_ddl(table: &Table) -> String {
    let columns: Vec<_> = table.columns.iter().map(Column::ddl_text).collect();
    format!(
        "({}, PRIMARY KEY ({})) DISTRIBUTED BY ({}) DATASOURCE_TYPE ({})",
        columns.join(", "),
        table.primary_key.join(", "),
        table.sharding_key.join(", "),
        datasource_names(&table.datasources),
    )
}

/// The query of a materialized view with the names of its columns, on one line.
fn matview_query(conn: &Connection, entity: &Entity) -> Result<String, Failure> {
    let Body::Matview { table, text, .. } = &entity.body else {
        return Ok(String::new());
    };
    let selection = parse_text(text)?;
    let plan = Planner::new(conn, &entity.datamart).plan(&selection)?;
    let printed = print(&selection.query, &entity.datamart, Quoting::None);
    let (_, tail) = printed.split_once('\n').unwrap_or((&printed, ""));
    let named = |(c, t): (&OutColumn, &Column)| format!("{} AS {}", c.name, t.name);
    let items: Vec<_> = plan.columns.iter().zip(&table.columns).map(named).collect();
    Ok(format!("SELECT {} {}", items.join(", "), tail.replace('\n', " ")))
}

const MATVIEW_COLUMNS: &[(&str, Kind)] = &[
    ("name", Kind::Varchar),
    ("query", Kind::Varchar),
    ("source", Kind::Varchar),
    ("destination", Kind::Varchar),
    ("last_sync_time", Kind::Timestamp),
    ("last_sync_delta", Kind::Bigint),
    ("last_sync_error", Kind::Varchar),
    ("is_sync_now", Kind::Boolean),
    ("retries_left", Kind::Bigint),
    ("sync_period", Kind::Bigint),
    ("datamart_delta_ok", Kind::Bigint),
];

/// CHECK_MATERIALIZED_VIEW: a view that its datasource cannot synchronise.
pub(crate) fn matview(
    conn: &Connection,
    default: &str,
    name: &Name,
    now: i64,
) -> Result<Answer, Failure> {
    let datamart = datamart_of(name, default)?;
    let entity = catalog::require(conn, &datamart, &name.entity)?;
    let query = matview_query(conn, &entity)?;
    let place = entity.table().map(|t| datasource_names(&t.datasources)).unwrap_or_default();
    let source = match &entity.body {
        Body::Matview { datasource: Some(name), .. } => name.clone(),
        Body::Matview { .. } => place.clone(),
        _ => return Err(Failure::NoSuchEntity(datamart, name.entity.clone())),
    };
    let error = format!("Synchronize[{place}] is not implemented");
    let mut answer = Answer::table(MATVIEW_COLUMNS, false);
    let optional = ["last_sync_time", "last_sync_delta", "last_sync_error", "datamart_delta_ok"];
    for column in optional {
        answer = answer.with_nullable(column, true);
    }
    Ok(answer.row(vec![
        json!(entity.name),
        json!(query),
        json!(source),
        json!(place),
        json!(now * 1_000_000),
        Json::Null,
        json!(error),
        json!(false),
        json!(0),
        json!(5000),
        json!(deltas::last(conn, &datamart)?.map(|d| d.number)),
    ]))
}
