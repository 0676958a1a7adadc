//! Owns how one row of a write becomes row versions; never decides which rows are written.

use rusqlite::types::Value as Stored;
use rusqlite::{Connection, params_from_iter};

use super::entity::{Entity, Table};
use super::failure::Failure;
use super::store::OPEN;

/// Writes rows of one write operation into one table.
#[derive(Debug)]
pub(crate) struct Versions<'a> {
    conn: &'a Connection,
    key: Vec<usize>,
    /// ADQM keeps the last of several rows of a key and forgets a deletion before an insertion.
    last_wins: bool,
    close: String,
    reclose: String,
    mark: String,
    known: String,
    discard: String,
    insert: String,
    current: String,
}

impl<'a> Versions<'a> {
    pub(crate) fn new(conn: &'a Connection, entity: &Entity, table: &Table, cn: i64) -> Self {
        let physical = entity.physical();
        let quoted: Vec<_> = table.columns.iter().map(|c| format!("\"{}\"", c.name)).collect();
        let key: Vec<_> = table
            .primary_key
            .iter()
            .enumerate()
            .map(|(i, name)| format!("\"{name}\" IS ?{}", i + 1))
            .collect();
        let key = key.join(" AND ");
        let places: Vec<_> = (1..=quoted.len()).map(|i| format!("?{i}")).collect();
        let op = table.primary_key.len() + 1;
        let closed = cn - 1;
        Versions {
            conn,
            key: table.key_positions(),
            last_wins: table.is_adqm_only(),
            close: format!(
                "UPDATE {physical} SET __to = {closed}, __op = ?{op} WHERE {key} AND __from < {cn} AND +__to = {OPEN}"
            ),
            reclose: format!(
                "UPDATE {physical} SET __to = {closed}, __op = 1 WHERE {key} AND __from <= ?{op} AND __to >= ?{op}"
            ),
            mark: format!(
                "UPDATE {physical} SET __op = ?{op} WHERE {key} AND __from < {cn} AND +__to = {closed}"
            ),
            known: format!("SELECT 1 FROM {physical} WHERE {key} AND __from = {cn}"),
            discard: format!("DELETE FROM {physical} WHERE {key} AND __from = {cn}"),
            insert: format!(
                "INSERT INTO {physical} VALUES ({}, {cn}, {OPEN}, 0)",
                places.join(", ")
            ),
            current: format!(
                "SELECT {} FROM {physical} WHERE {key} AND +__to = {OPEN}",
                quoted.join(", ")
            ),
        }
    }

    fn key<'r>(&self, row: &'r [Stored]) -> Vec<&'r Stored> {
        self.key.iter().filter_map(|i| row.get(*i)).collect()
    }

    fn run(&self, sql: &str, key: &[&Stored], op: Option<i64>) -> Result<usize, Failure> {
        let op = op.map(Stored::Integer);
        let values = key.iter().copied().chain(op.as_ref());
        Ok(self.conn.prepare_cached(sql)?.execute(params_from_iter(values))?)
    }

    /// Adds or replaces the row of a key.
    pub(crate) fn put(&self, row: &[Stored]) -> Result<(), Failure> {
        let key = self.key(row);
        self.run(&self.close, &key, Some(0))?;
        if self.last_wins {
            self.run(&self.mark, &key, Some(0))?;
            self.run(&self.discard, &key, None)?;
        } else if self.conn.prepare_cached(&self.known)?.exists(params_from_iter(&key))? {
            return Ok(());
        }
        self.conn.prepare_cached(&self.insert)?.execute(params_from_iter(row))?;
        Ok(())
    }

    /// Deletes the current version of the key of a row, if one is older than this operation.
    pub(crate) fn delete(&self, row: &[Stored]) -> Result<(), Failure> {
        let key = self.key(row);
        let closed = self.run(&self.close, &key, Some(1))?;
        if closed == 0 && !self.last_wins {
            // An addition of the same operation closed it first: it still counts as deleted.
            self.run(&self.mark, &key, Some(1))?;
        }
        Ok(())
    }

    /// Deletes the version that was there at number `last`, as ADQM does: also one that was replaced
    /// since, and then its replacement stays.
    pub(crate) fn delete_as_of(&self, row: &[Stored], last: i64) -> Result<(), Failure> {
        self.run(&self.reclose, &self.key(row), Some(last))?;
        Ok(())
    }

    /// The open version of the key of a row.
    pub(crate) fn current(&self, row: &[Stored]) -> Result<Option<Vec<Stored>>, Failure> {
        let mut query = self.conn.prepare_cached(&self.current)?;
        let mut rows = query.query(params_from_iter(self.key(row)))?;
        let Some(found) = rows.next()? else {
            return Ok(None);
        };
        let values = (0..row.len()).map(|i| found.get(i));
        Ok(Some(values.collect::<Result<_, _>>()?))
    }
}

/// Takes back everything a write operation did to a table.
pub(crate) fn erase(conn: &Connection, entity: &Entity, cn: i64) -> Result<(), Failure> {
    let physical = entity.physical();
    conn.execute(&format!("DELETE FROM {physical} WHERE __from = ?1"), [cn])?;
    conn.execute(
        &format!("UPDATE {physical} SET __to = {OPEN}, __op = 0 WHERE __to = ?1 AND __to < {OPEN}"),
        [cn - 1],
    )?;
    Ok(())
}
