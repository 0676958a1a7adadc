//! Owns INSERT/UPSERT VALUES, DELETE and generated rows; never loads from a topic.

use rusqlite::Transaction;
use rusqlite::types::Value as Stored;

use super::answer::Answer;
use super::catalog;
use super::definitions::datamart_of;
use super::deltas::{self, Status};
use super::entity::{Entity, Table};
use super::failure::Failure;
use super::query::{Planner, Selection};
use super::select;
use super::statement::{Literal, Name, Values};
use super::types::Kind;
use super::value;
use super::versions::Versions;

/// A logical table that a statement writes to.
pub(crate) fn target(
    tx: &rusqlite::Connection,
    default: &str,
    name: &Name,
) -> Result<(Entity, Table), Failure> {
    let datamart = datamart_of(name, default)?;
    let entity = catalog::require(tx, &datamart, &name.entity)?;
    match entity.body.clone() {
        super::entity::Body::Table(table) => Ok((entity, table)),
        _ => Err(Failure::NoSuchEntity(datamart, name.entity.clone())),
    }
}

/// Runs `write` as one write operation of the open delta.
fn operation(
    tx: &Transaction<'_>,
    entity: &Entity,
    query: &str,
    write: impl FnOnce(i64) -> Result<(), Failure>,
) -> Result<Answer, Failure> {
    let cn = deltas::start_operation(tx, &entity.datamart, &entity.name, None, query)?.cn;
    write(cn)?;
    deltas::end_operation(tx, &entity.datamart, cn, Status::Finished)?;
    Ok(Answer::nothing())
}

/// What is said to an UPSERT into a table of ADQM, which knows none: it uses up a number of the
/// open delta all the same.
pub(crate) fn refuse_upsert(
    tx: &Transaction<'_>,
    default: &str,
    statement: &Values,
    sql: &str,
) -> Result<Option<Failure>, Failure> {
    let (entity, table) = target(tx, default, &statement.table)?;
    if !statement.upsert || !table.is_adqm_only() {
        return Ok(None);
    }
    let cn = deltas::start_operation(tx, &entity.datamart, &entity.name, None, sql)?.cn;
    deltas::end_operation(tx, &entity.datamart, cn, Status::Failed)?;
    Ok(Some(Failure::NotImplemented("adqm upsert values".to_owned())))
}

/// INSERT VALUES or UPSERT VALUES.
pub(crate) fn values(
    tx: &Transaction<'_>,
    default: &str,
    statement: &Values,
    sql: &str,
) -> Result<Answer, Failure> {
    let (entity, table) = target(tx, default, &statement.table)?;
    let positions = positions(&entity, &table, statement.columns.as_deref())?;
    operation(tx, &entity, sql, |cn| {
        let versions = Versions::new(tx, &entity, &table, cn);
        for literals in &statement.rows {
            let mut row = complete(&table, &positions, literals)?;
            if statement.upsert && statement.columns.is_some() {
                keep_unlisted(&versions, &positions, &mut row)?;
            }
            check_nulls(&table, &row)?;
            versions.put(&row)?;
        }
        Ok(())
    })
}

fn positions(
    entity: &Entity,
    table: &Table,
    listed: Option<&[String]>,
) -> Result<Vec<usize>, Failure> {
    let Some(listed) = listed else {
        return Ok((0..table.columns.len()).collect());
    };
    let position =
        |name: &String| table.position(name).ok_or_else(|| Failure::NoSuchColumn(name.clone()));
    let positions: Vec<_> = listed.iter().map(position).collect::<Result<_, _>>()?;
    for (i, at) in positions.iter().enumerate() {
        if positions.get(i + 1..).is_some_and(|rest| rest.contains(at)) {
            let name = listed.get(i).cloned().unwrap_or_default();
            return Err(Failure::DuplicateColumn(entity.name.clone(), name));
        }
    }
    Ok(positions)
}

/// The whole row: columns that are not listed are NULL.
fn complete(
    table: &Table,
    positions: &[usize],
    literals: &[Literal],
) -> Result<Vec<Stored>, Failure> {
    if positions.len() != literals.len() {
        return Err(Failure::ValueCount(literals.len(), positions.len()));
    }
    let mut row = vec![Stored::Null; table.columns.len()];
    for (at, literal) in positions.iter().zip(literals) {
        if let (Some(column), Some(cell)) = (table.columns.get(*at), row.get_mut(*at)) {
            *cell = value::store(literal, column.kind)?;
        }
    }
    Ok(row)
}

fn keep_unlisted(
    versions: &Versions<'_>,
    positions: &[usize],
    row: &mut [Stored],
) -> Result<(), Failure> {
    let Some(current) = versions.current(row)? else {
        return Ok(());
    };
    for (i, (cell, old)) in row.iter_mut().zip(current).enumerate() {
        if !positions.contains(&i) {
            *cell = old;
        }
    }
    Ok(())
}

fn check_nulls(table: &Table, row: &[Stored]) -> Result<(), Failure> {
    let missing =
        table.columns.iter().zip(row).find(|(c, v)| !c.nullable && matches!(v, Stored::Null));
    match missing {
        Some((column, _)) => Err(Failure::NullValue(column.name.clone())),
        None => Ok(()),
    }
}

/// DELETE: keys are chosen from the last closed delta, then their current versions are closed.
pub(crate) fn delete(
    tx: &Transaction<'_>,
    default: &str,
    (name, selection): (&Name, &Selection),
    sql: &str,
) -> Result<Answer, Failure> {
    let (entity, table) = target(tx, default, name)?;
    let plan = Planner::new(tx, default).plan(selection)?;
    let last = deltas::last(tx, &entity.datamart)?;
    if deltas::hot(tx, &entity.datamart)?.is_none() {
        return if last.is_none() { Ok(Answer::nothing()) } else { Err(Failure::DeltaClosed) };
    }
    let mut rows: Vec<Vec<Stored>> = Vec::new();
    select::each_row(tx, &plan, |row| {
        let values = (0..table.columns.len()).map(|i| row.get(i));
        rows.push(values.collect::<Result<_, _>>()?);
        Ok(())
    })?;
    operation(tx, &entity, sql, |cn| {
        let versions = Versions::new(tx, &entity, &table, cn);
        let delete = |row: &Vec<Stored>| match &last {
            Some(last) if table.is_adqm_only() => versions.delete_as_of(row, last.cn_to),
            _ => versions.delete(row),
        };
        rows.iter().try_for_each(delete)
    })
}

/// The extension SANDBOX_FILL: adds `rows` generated rows with new keys as one write operation.
pub(crate) fn fill(
    tx: &Transaction<'_>,
    default: &str,
    (name, rows): (&Name, i64),
    sql: &str,
) -> Result<Answer, Failure> {
    let (entity, table) = target(tx, default, name)?;
    let physical = entity.physical();
    let cells: Vec<_> = table
        .columns
        .iter()
        .map(|c| {
            let cell = generated(c.kind);
            let in_key = table.primary_key.contains(&c.name);
            let null = c.nullable && !in_key;
            if null { format!("CASE WHEN i % 10 = 0 THEN NULL ELSE {cell} END") } else { cell }
        })
        .collect();
    operation(tx, &entity, sql, |cn| {
        let open = super::store::OPEN;
        tx.execute(
            &format!(
                "WITH RECURSIVE start(s) AS (SELECT COALESCE(MAX(rowid), 0) FROM {physical}),
                 n(i, last) AS (SELECT s + 1, s + ?1 FROM start WHERE ?1 > 0
                   UNION ALL SELECT i + 1, last FROM n WHERE i < last)
                 INSERT INTO {physical} SELECT {}, {cn}, {open}, 0 FROM n",
                cells.join(", ")
            ),
            [rows],
        )?;
        Ok(())
    })
}

/// A value of a type made from the row number `i`.
fn generated(kind: Kind) -> String {
    match kind {
        Kind::Boolean => "i % 2",
        Kind::Varchar | Kind::Char => "'v' || i",
        Kind::Link => "'http://h/' || i",
        Kind::Uuid => "printf('00000000-0000-4000-8000-%012x', i)",
        Kind::Int32 | Kind::Int | Kind::Bigint => "i",
        Kind::Float | Kind::Double => "i * 0.5",
        Kind::Date => "i % 20000",
        Kind::Time => "(i % 86400) * 1000000",
        Kind::Timestamp => "1600000000000000 + i * 1000000",
    }
    .to_owned()
}
