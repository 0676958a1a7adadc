//! Owns CHECK_SUM and the other CHECK statements; never changes rows.

use md5::{Digest, Md5};
use rusqlite::Connection;
use serde_json::json;

use super::answer::Answer;
use super::catalog;
use super::definitions::datamart_of;
use super::deltas::{self, Delta, Status};
use super::entity::{Body, Entity, Table};
use super::failure::Failure;
use super::statement::{Name, SumRequest};
use super::system_views::placement;
use super::types::Kind;
use super::value;

fn result(text: String) -> Answer {
    Answer::table(&[("check_result", Kind::Varchar)], false).row(vec![json!(text)])
}

/// How an injected fault falsifies a sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lie {
    None,
    OneMore,
    Breach,
}

/// CHECK_SUM and CHECK_SUM_SNAPSHOT
pub(crate) fn sum(
    conn: &Connection,
    default: &str,
    request: &SumRequest,
    lie: Lie,
) -> Result<Answer, Failure> {
    let total = match &request.table {
        Some(name) => named_sum(conn, default, name, request)?,
        None => whole_sum(conn, default, request)?,
    };
    match lie {
        Lie::None => Ok(result(total.to_string())),
        Lie::OneMore => Ok(result((total + 1).to_string())),
        Lie::Breach => {
            let table = request.table.as_ref().map_or(default, |name| &name.entity).to_owned();
            Err(Failure::Breach { table, adp: total, adqm: total + 1 })
        }
    }
}

fn named_sum(
    conn: &Connection,
    default: &str,
    name: &Name,
    request: &SumRequest,
) -> Result<i128, Failure> {
    let datamart = datamart_of(name, default)?;
    let delta = delta(conn, &datamart, request.delta)?;
    let entity = catalog::require(conn, &datamart, &name.entity)?;
    let missing = || Failure::NoSuchEntity(datamart.clone(), name.entity.clone());
    let table = logical(&entity).ok_or_else(missing)?;
    table_sum(conn, (&entity, table), delta, request)
}

fn whole_sum(conn: &Connection, default: &str, request: &SumRequest) -> Result<i128, Failure> {
    if default.is_empty() {
        return Err(Failure::NoDatamart);
    }
    let delta = delta(conn, default, request.delta)?;
    let mut total: i128 = 0;
    for entity in catalog::entities(conn, default)? {
        if let Some(table) = logical(&entity) {
            total += table_sum(conn, (&entity, table), delta, request)?;
        }
    }
    Ok(total)
}

fn logical(entity: &Entity) -> Option<&Table> {
    match &entity.body {
        Body::Table(table) => Some(table),
        _ => None,
    }
}

/// A closed delta, or the open one as far as its writes are finished.
fn delta(conn: &Connection, datamart: &str, number: i64) -> Result<Delta, Failure> {
    if let Some(delta) = deltas::by_number(conn, datamart, number)? {
        return Ok(delta);
    }
    let hot = deltas::hot(conn, datamart)?.filter(|h| h.number == number);
    let hot = hot.ok_or(Failure::DeltaNotExist)?;
    let operations = deltas::operations(conn, datamart)?;
    if !operations.iter().any(|o| o.status == Status::Finished) {
        return Err(Failure::DeltaEmpty(number));
    }
    let cn_to = deltas::unbroken(&operations).unwrap_or(hot.cn_from - 1);
    Ok(Delta { number, date: 0, cn_from: hot.cn_from, cn_to })
}

fn table_sum(
    conn: &Connection,
    (entity, table): (&Entity, &Table),
    delta: Delta,
    request: &SumRequest,
) -> Result<i128, Failure> {
    let columns = columns(table, request.columns.as_deref())?;
    let names: Vec<_> = columns.iter().map(|(name, _)| format!("\"{name}\"")).collect();
    let (from, to) = (delta.cn_from, delta.cn_to);
    let condition = if request.snapshot {
        deltas::as_of(to)
    } else {
        format!("__from BETWEEN {from} AND {to} OR ({})", deltas::finished(from, to))
    };
    let sql = format!("SELECT {} FROM {} WHERE {condition}", names.join(", "), entity.physical());
    let mut statement = conn.prepare(&sql)?;
    let mut rows = statement.query([])?;
    let mut total: i128 = 0;
    let mut text = String::new();
    while let Some(row) = rows.next()? {
        text.clear();
        for (i, (_, kind)) in columns.iter().enumerate() {
            if i > 0 {
                text.push(';');
            }
            value::checksum_text(row.get_ref(i)?, *kind, &mut text);
        }
        total += i128::from(i64::from(row_value(&text)) / request.normalization);
    }
    Ok(total)
}

fn columns<'t>(
    table: &'t Table,
    listed: Option<&[String]>,
) -> Result<Vec<(&'t str, Kind)>, Failure> {
    let all = table.columns.iter().map(|c| (c.name.as_str(), c.kind));
    let Some(listed) = listed else {
        return Ok(all.collect());
    };
    let missing: Vec<_> =
        listed.iter().filter(|name| table.position(name).is_none()).cloned().collect();
    if !missing.is_empty() {
        return Err(Failure::NoSuchColumns(format!("[{}]", missing.join(", "))));
    }
    let find = |name: &String| all.clone().find(|(known, _)| known == name);
    Ok(listed.iter().filter_map(find).collect())
}

/// The first four hexadecimal digits of the MD5, as ASCII bytes read little-endian.
fn row_value(text: &str) -> u32 {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let digest = Md5::digest(text.as_bytes());
    let mut digits = [b'0'; 4];
    for (i, digit) in digits.iter_mut().enumerate() {
        let byte = digest.get(i / 2).copied().unwrap_or_default();
        let half = if i % 2 == 0 { byte >> 4 } else { byte & 15 };
        *digit = HEX.get(usize::from(half)).copied().unwrap_or(b'0');
    }
    u32::from_le_bytes(digits)
}

/// CHECK_DATABASE: every logical table is fine.
pub(crate) fn database(
    conn: &Connection,
    default: &str,
    given: Option<&str>,
) -> Result<Answer, Failure> {
    let datamart = given.unwrap_or(default);
    catalog::require_datamart(conn, datamart)?;
    let mut entities = catalog::entities(conn, datamart)?;
    entities.retain(|e| logical(e).is_some());
    let lines: Vec<_> = entities.iter().map(fine).collect();
    Ok(result(lines.join("\n")))
}

fn fine(entity: &Entity) -> String {
    format!("Table {}.{} ({}) is ok", entity.datamart, entity.name, placement(entity))
}

/// CHECK_TABLE
pub(crate) fn table(conn: &Connection, default: &str, name: &Name) -> Result<Answer, Failure> {
    let entity = require_table(conn, default, name)?;
    Ok(result(fine(&entity)))
}

fn require_table(conn: &Connection, default: &str, name: &Name) -> Result<Entity, Failure> {
    let datamart = datamart_of(name, default)?;
    let entity = catalog::require(conn, &datamart, &name.entity)?;
    match entity.body {
        Body::Table(_) => Ok(entity),
        _ => Err(Failure::NoSuchEntity(datamart, name.entity.clone())),
    }
}

/// CHECK_DATA: there is one copy of the rows here, so every delta agrees.
pub(crate) fn data(
    conn: &Connection,
    default: &str,
    name: &Name,
    from: i64,
) -> Result<Answer, Failure> {
    let entity = require_table(conn, default, name)?;
    let last = deltas::last(conn, &entity.datamart)?.ok_or(Failure::DeltaNotExist)?;
    let names = placement(&entity);
    let mut lines = Vec::new();
    for number in (from.max(0)..=last.number).rev() {
        let table = format!("{}.{}", entity.datamart, entity.name);
        lines.push(format!("Table '{table}' ({names}) checksum for delta {number} is Ok."));
    }
    Ok(result(lines.join("\n")))
}
