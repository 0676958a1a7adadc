//! Owns the answer to ESTIMATE_ONLY: the shape of a PostgreSQL plan with made-up costs; never measures anything.

use rusqlite::Connection;
use serde_json::{Value as Json, json};
use sqlparser::ast::{LimitClause, Query, SetExpr};

use super::answer::Answer;
use super::deltas;
use super::failure::Failure;
use super::query::{Plan, Selection};
use super::types::Kind;

/// Rows and pages PostgreSQL assumes for a table it has no statistics of.
const ASSUMED_ROWS: u64 = 30;
const ASSUMED_COST: f64 = 14.05;

/// One row with a JSON text.
pub(crate) fn answer(
    conn: &Connection,
    datamart: &str,
    selection: &Selection,
    plan: &Plan,
) -> Result<Answer, Failure> {
    let table = plan.tables.first().ok_or(Failure::NoTables)?;
    let cn = deltas::last(conn, &table.datamart)?.map_or(-1, |d| d.cn_to);
    let plugin = table.datasources.first().map_or("ADP", |d| d.name());
    let condition = format!(
        "((sys_from <= {cn}) AND (COALESCE(sys_to, '9223372036854775807'::bigint) >= {cn}))"
    );
    let name = format!("{}_actual", table.entity);
    let width: u64 = plan.columns.iter().map(|c| width(c.kind)).sum();
    let scan = json!({
        "Node Type": "Seq Scan", "Parallel Aware": false, "Async Capable": false,
        "Relation Name": name, "Alias": name, "Startup Cost": 0.0, "Total Cost": ASSUMED_COST,
        "Plan Rows": ASSUMED_ROWS, "Plan Width": width, "Filter": condition,
    });
    let limit = limit(&selection.query);
    let tree = limit.map_or(scan.clone(), |rows| limited(scan, rows, width));
    let estimate = json!({
        "plugin": plugin, "estimation": [{"Plan": tree}],
        "query": physical(datamart, selection, &table.entity, cn, limit),
    });
    let text = Json::String(estimate.to_string());
    Ok(Answer::table(&[("estimate", Kind::Varchar)], true).row(vec![text]))
}

fn limited(mut scan: Json, rows: u64, width: u64) -> Json {
    scan["Parent Relationship"] = json!("Outer");
    let rows = rows.min(ASSUMED_ROWS);
    let cost = (ASSUMED_COST * rows as f64 / ASSUMED_ROWS as f64 * 100.0).round() / 100.0;
    json!({
        "Node Type": "Limit", "Parallel Aware": false, "Async Capable": false,
        "Startup Cost": 0.0, "Total Cost": cost, "Plan Rows": rows, "Plan Width": width,
        "Plans": [scan],
    })
}

fn width(kind: Kind) -> u64 {
    match kind {
        Kind::Boolean => 1,
        Kind::Int32 | Kind::Float | Kind::Date => 4,
        Kind::Int | Kind::Bigint | Kind::Double | Kind::Time | Kind::Timestamp => 8,
        _ => 32,
    }
}

fn limit(query: &Query) -> Option<u64> {
    match query.limit_clause.as_ref()? {
        LimitClause::LimitOffset { limit, .. } => limit.as_ref()?.to_string().parse().ok(),
        LimitClause::OffsetCommaLimit { limit, .. } => limit.to_string().parse().ok(),
    }
}

/// The SQL the node would send to the datasource, for the plainest queries.
fn physical(
    datamart: &str,
    selection: &Selection,
    entity: &str,
    cn: i64,
    limit: Option<u64>,
) -> String {
    let items = match selection.query.body.as_ref() {
        SetExpr::Select(select) => {
            select.projection.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
        }
        _ => "*".to_owned(),
    };
    let limit = limit.map(|n| format!(" LIMIT {n}")).unwrap_or_default();
    format!(
        "SELECT {items} FROM {datamart}.{entity}_actual WHERE sys_from <= {cn} AND COALESCE(sys_to, 9223372036854775807) >= {cn}{limit}"
    )
}
