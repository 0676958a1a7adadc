//! Owns deltas and the numbering of write operations; never touches rows.

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::failure::Failure;
use super::query::Period;
use super::store::OPEN;
use super::value;

/// A closed delta.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Delta {
    pub(crate) number: i64,
    /// Seconds since 1970.
    pub(crate) date: i64,
    pub(crate) cn_from: i64,
    pub(crate) cn_to: i64,
}

/// The open delta.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hot {
    pub(crate) number: i64,
    pub(crate) cn_from: i64,
    pub(crate) next_cn: i64,
    /// A ROLLBACK began and did not end.
    pub(crate) rolling_back: bool,
}

/// A write operation of the open delta.
#[derive(Debug, Clone)]
pub(crate) struct Operation {
    /// Never used twice, unlike the number of an operation that was rolled back.
    pub(crate) ticket: i64,
    pub(crate) cn: i64,
    pub(crate) target: String,
    pub(crate) external: Option<String>,
    pub(crate) query: String,
    pub(crate) status: Status,
}

/// A write operation that has just begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Started {
    pub(crate) ticket: i64,
    pub(crate) cn: i64,
}

/// How far a write operation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    Executing,
    Finished,
    Failed,
}

const DELTA: &str = "SELECT num, date, cn_from, cn_to FROM delta WHERE datamart = ?1";

fn delta(row: &Row<'_>) -> rusqlite::Result<Delta> {
    Ok(Delta { number: row.get(0)?, date: row.get(1)?, cn_from: row.get(2)?, cn_to: row.get(3)? })
}

/// The last closed delta.
pub(crate) fn last(conn: &Connection, datamart: &str) -> Result<Option<Delta>, Failure> {
    let mut query = conn.prepare_cached(&format!("{DELTA} ORDER BY num DESC LIMIT 1"))?;
    Ok(query.query_row([datamart], delta).optional()?)
}

/// A closed delta by its number.
pub(crate) fn by_number(
    conn: &Connection,
    datamart: &str,
    number: i64,
) -> Result<Option<Delta>, Failure> {
    let mut query = conn.prepare_cached(&format!("{DELTA} AND num = ?2"))?;
    Ok(query.query_row(params![datamart, number], delta).optional()?)
}

/// The last closed delta not later than a date.
pub(crate) fn by_date(
    conn: &Connection,
    datamart: &str,
    date: i64,
) -> Result<Option<Delta>, Failure> {
    let sql = format!("{DELTA} AND date <= ?2 ORDER BY num DESC LIMIT 1");
    Ok(conn.query_row(&sql, params![datamart, date], delta).optional()?)
}

/// The open delta.
pub(crate) fn hot(conn: &Connection, datamart: &str) -> Result<Option<Hot>, Failure> {
    let mut query = conn.prepare_cached(
        "SELECT num, cn_from, next_cn, rolling_back FROM hot WHERE datamart = ?1",
    )?;
    let hot = query.query_row([datamart], |row| {
        let (number, cn_from, next_cn) = (row.get(0)?, row.get(1)?, row.get(2)?);
        Ok(Hot { number, cn_from, next_cn, rolling_back: row.get(3)? })
    });
    Ok(hot.optional()?)
}

/// Opens the next delta.
pub(crate) fn begin(conn: &Connection, datamart: &str) -> Result<i64, Failure> {
    let last = last(conn, datamart)?;
    let number = last.map_or(0, |d| d.number + 1);
    let cn = last.map_or(0, |d| d.cn_to + 1);
    conn.execute("INSERT INTO hot VALUES (?1, ?2, ?3, ?3, 0)", params![datamart, number, cn])?;
    Ok(number)
}

/// Closes the open delta; an empty one still takes one number.
pub(crate) fn commit(
    conn: &Connection,
    datamart: &str,
    hot: Hot,
    date: i64,
) -> Result<(), Failure> {
    let cn_to = (hot.next_cn - 1).max(hot.cn_from);
    conn.execute(
        "INSERT INTO delta VALUES (?1, ?2, ?3, ?4, ?5)",
        params![datamart, hot.number, date, hot.cn_from, cn_to],
    )?;
    forget(conn, datamart)
}

/// Drops the open delta and its operations; rows are not touched.
pub(crate) fn forget(conn: &Connection, datamart: &str) -> Result<(), Failure> {
    conn.execute("DELETE FROM hot WHERE datamart = ?1", [datamart])?;
    conn.execute("DELETE FROM operation WHERE datamart = ?1", [datamart])?;
    Ok(())
}

/// Marks the open delta as being rolled back: its operations stop.
pub(crate) fn begin_rollback(conn: &Connection, datamart: &str) -> Result<(), Failure> {
    conn.execute("UPDATE hot SET rolling_back = 1 WHERE datamart = ?1", [datamart])?;
    conn.execute("UPDATE operation SET status = 3 WHERE datamart = ?1 AND status = 0", [datamart])?;
    Ok(())
}

/// Takes the next number for a write into `target`.
pub(crate) fn start_operation(
    conn: &Connection,
    datamart: &str,
    target: &str,
    external: Option<&str>,
    query: &str,
) -> Result<Started, Failure> {
    let hot = hot(conn, datamart)?.filter(|hot| !hot.rolling_back).ok_or(Failure::DeltaClosed)?;
    let busy = operations(conn, datamart)?
        .iter()
        .any(|o| o.status == Status::Executing && o.target == target);
    if busy {
        return Err(Failure::TableBlocked(target.to_owned()));
    }
    conn.execute("UPDATE hot SET next_cn = next_cn + 1 WHERE datamart = ?1", [datamart])?;
    conn.execute(
        "INSERT INTO operation VALUES (NULL, ?1, ?2, ?3, ?4, ?5, 0)",
        params![datamart, hot.next_cn, target, external, query],
    )?;
    Ok(Started { ticket: conn.last_insert_rowid(), cn: hot.next_cn })
}

/// Whether an operation still works: a ROLLBACK or ERASE_WRITE_OPERATION ends it from outside.
pub(crate) fn is_under_way(conn: &Connection, ticket: i64) -> Result<bool, Failure> {
    let mut query =
        conn.prepare_cached("SELECT 1 FROM operation WHERE ticket = ?1 AND status = 0")?;
    Ok(query.exists([ticket])?)
}

/// Marks a write operation as over.
pub(crate) fn end_operation(
    conn: &Connection,
    datamart: &str,
    cn: i64,
    status: Status,
) -> Result<(), Failure> {
    let code = match status {
        Status::Executing => 0,
        Status::Finished => 1,
        Status::Failed => 3,
    };
    conn.execute(
        "UPDATE operation SET status = ?3 WHERE datamart = ?1 AND cn = ?2",
        params![datamart, cn, code],
    )?;
    Ok(())
}

/// The operations of the open delta, in order.
pub(crate) fn operations(conn: &Connection, datamart: &str) -> Result<Vec<Operation>, Failure> {
    let mut query = conn.prepare_cached(
        "SELECT cn, target, external, query, status, ticket FROM operation WHERE datamart = ?1 ORDER BY cn",
    )?;
    let rows = query.query_map([datamart], |row| {
        let status = match row.get(4)? {
            0 => Status::Executing,
            1 => Status::Finished,
            _ => Status::Failed,
        };
        Ok(Operation {
            ticket: row.get(5)?,
            cn: row.get(0)?,
            target: row.get(1)?,
            external: row.get(2)?,
            query: row.get(3)?,
            status,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// End of the unbroken run of ended operations, if any ended.
pub(crate) fn unbroken(operations: &[Operation]) -> Option<i64> {
    let done = operations.iter().take_while(|o| o.status != Status::Executing);
    done.last().map(|o| o.cn)
}

/// The condition on row versions that a period means.
pub(crate) fn condition(
    conn: &Connection,
    datamart: &str,
    period: Option<&Period>,
) -> Result<String, Failure> {
    let at = |d: Option<Delta>| as_of(d.map_or(-1, |d| d.cn_to));
    Ok(match period {
        None => at(last(conn, datamart)?),
        Some(Period::AsOfNumber(number)) => at(by_number(conn, datamart, *number)?),
        Some(Period::AsOfDate(text)) => {
            let date = value::parse_second(text).ok_or(Failure::BadTime(text.clone()))?;
            at(by_date(conn, datamart, date)?)
        }
        Some(Period::LatestUncommitted) => {
            let last = last(conn, datamart)?.map_or(-1, |d| d.cn_to);
            as_of(unbroken(&operations(conn, datamart)?).unwrap_or(last))
        }
        Some(Period::Started(from, to)) => {
            let (from, to) = range(conn, datamart, *from, *to)?;
            format!("__from BETWEEN {from} AND {to}")
        }
        Some(Period::Finished(from, to)) => {
            let (from, to) = range(conn, datamart, *from, *to)?;
            finished(from, to)
        }
    })
}

/// Versions valid at a write operation.
pub(crate) fn as_of(cn: i64) -> String {
    // The plus keeps the store from walking an index for what is usually most of the table.
    format!("+__from <= {cn} AND +__to >= {cn}")
}

/// Versions deleted between two write operations.
pub(crate) fn finished(from: i64, to: i64) -> String {
    format!("__to BETWEEN {} AND {} AND __to < {OPEN} AND __op = 1", from - 1, to - 1)
}

fn range(conn: &Connection, datamart: &str, a: i64, b: i64) -> Result<(i64, i64), Failure> {
    match (by_number(conn, datamart, a)?, by_number(conn, datamart, b)?) {
        (Some(first), Some(last)) => Ok((first.cn_from, last.cn_to)),
        _ => Err(Failure::DeltaRange(a, b)),
    }
}
