//! Owns the log of changes and the lock on changes; never changes an entity.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::deltas;
use super::failure::Failure;

/// A record of the log. Times are seconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) number: i64,
    pub(crate) entity: String,
    pub(crate) query: String,
    pub(crate) started: i64,
    pub(crate) finished: Option<i64>,
    pub(crate) delta: Option<i64>,
}

const CHANGE: &str =
    "SELECT num, entity, query, started, finished, delta FROM change WHERE datamart = ?1";

fn change(row: &Row<'_>) -> rusqlite::Result<Change> {
    Ok(Change {
        number: row.get(0)?,
        entity: row.get(1)?,
        query: row.get(2)?,
        started: row.get(3)?,
        finished: row.get(4)?,
        delta: row.get(5)?,
    })
}

/// The whole log.
pub(crate) fn all(conn: &Connection, datamart: &str) -> Result<Vec<Change>, Failure> {
    let mut query = conn.prepare(&format!("{CHANGE} ORDER BY num"))?;
    let rows = query.query_map([datamart], change)?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// The change that is still unfinished.
pub(crate) fn unfinished(conn: &Connection, datamart: &str) -> Result<Option<Change>, Failure> {
    let sql = format!("{CHANGE} AND finished IS NULL");
    Ok(conn.query_row(&sql, [datamart], change).optional()?)
}

/// Whether DENY_CHANGES is in force, and with which code.
pub(crate) fn denied(conn: &Connection, datamart: &str) -> Result<Option<String>, Failure> {
    let sql = "SELECT code FROM deny WHERE datamart = ?1";
    Ok(conn.query_row(sql, [datamart], |row| row.get(0)).optional()?)
}

/// Opens a record, or goes on with the unfinished one of the same text, and returns its number.
pub(crate) fn open(
    conn: &Connection,
    datamart: &str,
    entity: &str,
    query: &str,
    now: i64,
) -> Result<i64, Failure> {
    let delta = deltas::last(conn, datamart)?.map(|d| d.number);
    if let Some(change) = unfinished(conn, datamart)? {
        let same = change.query == query && change.delta == delta;
        let again = Failure::ChangeUnfinished(datamart.to_owned());
        return if same { Ok(change.number) } else { Err(again) };
    }
    if deltas::hot(conn, datamart)?.is_some() || denied(conn, datamart)?.is_some() {
        return Err(Failure::ChangesForbidden);
    }
    let sql = "SELECT COUNT(*) FROM change WHERE datamart = ?1";
    let number: i64 = conn.query_row(sql, [datamart], |row| row.get(0))?;
    conn.execute(
        "INSERT INTO change VALUES (?1, ?2, ?3, ?4, ?5, NULL, ?6)",
        params![datamart, number, entity, query, now, delta],
    )?;
    Ok(number)
}

/// Fails when a change is unfinished, a delta is open or changes are denied.
pub(crate) fn check_idle(conn: &Connection, datamart: &str) -> Result<(), Failure> {
    if unfinished(conn, datamart)?.is_some() {
        return Err(Failure::ChangeUnfinished(datamart.to_owned()));
    }
    if deltas::hot(conn, datamart)?.is_some() || denied(conn, datamart)?.is_some() {
        return Err(Failure::ChangesForbidden);
    }
    Ok(())
}

/// Finishes a record.
pub(crate) fn close(
    conn: &Connection,
    datamart: &str,
    number: i64,
    now: i64,
) -> Result<(), Failure> {
    conn.execute(
        "UPDATE change SET finished = ?3 WHERE datamart = ?1 AND num = ?2",
        params![datamart, number, now],
    )?;
    Ok(())
}

/// Takes the unfinished record with this number away and returns it.
pub(crate) fn erase(conn: &Connection, datamart: &str, number: i64) -> Result<Change, Failure> {
    let change = unfinished(conn, datamart)?.ok_or(Failure::NoActiveOperation)?;
    if change.number != number {
        return Err(Failure::NoSuchChange(number));
    }
    conn.execute("DELETE FROM change WHERE datamart = ?1 AND num = ?2", params![datamart, number])?;
    Ok(change)
}

/// DENY_CHANGES
pub(crate) fn deny(conn: &Connection, datamart: &str, code: &str) -> Result<(), Failure> {
    if denied(conn, datamart)?.is_some() || unfinished(conn, datamart)?.is_some() {
        return Err(Failure::ChangesBlocked(datamart.to_owned()));
    }
    conn.execute("INSERT INTO deny VALUES (?1, ?2)", [datamart, code])?;
    Ok(())
}

/// ALLOW_CHANGES
pub(crate) fn allow(conn: &Connection, datamart: &str, code: &str) -> Result<(), Failure> {
    if unfinished(conn, datamart)?.is_some() {
        return Err(Failure::ChangesBlocked(datamart.to_owned()));
    }
    match denied(conn, datamart)? {
        None => Err(Failure::ChangesNotBlocked(datamart.to_owned())),
        Some(held) if held != code => Err(Failure::WrongCode),
        Some(_) => {
            conn.execute("DELETE FROM deny WHERE datamart = ?1", [datamart])?;
            Ok(())
        }
    }
}
