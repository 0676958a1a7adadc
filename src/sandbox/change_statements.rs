//! Owns the answers of GET_CHANGES, DENY, ALLOW and ERASE_CHANGE_OPERATION; never runs a definition.

use rusqlite::{Connection, Transaction};
use serde_json::json;

use super::answer::Answer;
use super::catalog;
use super::changelog::{self, Change};
use super::failure::Failure;
use super::types::Kind;

const COLUMNS: &[(&str, Kind)] = &[
    ("change_num", Kind::Bigint),
    ("entity_name", Kind::Varchar),
    ("change_query", Kind::Varchar),
    ("date_time_start", Kind::Timestamp),
    ("date_time_end", Kind::Timestamp),
    ("delta_num", Kind::Bigint),
];

fn chosen(given: Option<&str>, default: &str) -> Result<String, Failure> {
    match given {
        Some(name) => Ok(name.to_owned()),
        None if default.is_empty() => Err(Failure::EmptyPath),
        None => Ok(default.to_owned()),
    }
}

fn table(changes: &[Change]) -> Answer {
    let mut answer = Answer::table(COLUMNS, false);
    for c in changes {
        answer.push(vec![
            json!(c.number),
            json!(c.entity),
            json!(c.query),
            json!(c.started * 1_000_000),
            json!(c.finished.map(|t| t * 1_000_000)),
            json!(c.delta),
        ]);
    }
    answer
}

/// GET_CHANGES
pub(crate) fn list(
    conn: &Connection,
    default: &str,
    given: Option<&str>,
) -> Result<Answer, Failure> {
    let datamart = chosen(given, default)?;
    catalog::require_datamart(conn, &datamart)?;
    Ok(table(&changelog::all(conn, &datamart)?))
}

/// DENY_CHANGES
pub(crate) fn deny(
    tx: &Transaction<'_>,
    default: &str,
    given: Option<&str>,
    code: &str,
) -> Result<Answer, Failure> {
    let datamart = chosen(given, default)?;
    catalog::require_datamart(tx, &datamart)?;
    changelog::deny(tx, &datamart, code)?;
    Ok(Answer::nothing())
}

/// ALLOW_CHANGES; a missing datamart answers like one that is not denied.
pub(crate) fn allow(
    tx: &Transaction<'_>,
    default: &str,
    given: Option<&str>,
    code: &str,
) -> Result<Answer, Failure> {
    let datamart = chosen(given, default)?;
    changelog::allow(tx, &datamart, code)?;
    Ok(Answer::nothing())
}

/// ERASE_CHANGE_OPERATION
pub(crate) fn erase(
    tx: &Transaction<'_>,
    default: &str,
    number: i64,
    given: Option<&str>,
) -> Result<Answer, Failure> {
    let datamart = chosen(given, default)?;
    catalog::require_datamart(tx, &datamart)?;
    Ok(table(&[changelog::erase(tx, &datamart, number)?]))
}
