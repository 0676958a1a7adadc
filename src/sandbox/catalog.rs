//! Owns the list of datamarts and entities; never writes the changelog.

use rusqlite::{Connection, OptionalExtension, Row};

use super::entity::{Body, Entity};
use super::failure::Failure;

/// Whether the datamart exists.
pub(crate) fn has_datamart(conn: &Connection, name: &str) -> Result<bool, Failure> {
    let mut query = conn.prepare_cached("SELECT 1 FROM datamart WHERE name = ?1")?;
    Ok(query.exists([name])?)
}

/// Fails unless the datamart exists.
pub(crate) fn require_datamart(conn: &Connection, name: &str) -> Result<(), Failure> {
    if has_datamart(conn, name)? { Ok(()) } else { Err(Failure::NoSuchDatamart(name.to_owned())) }
}

/// All datamarts, by name.
pub(crate) fn datamarts(conn: &Connection) -> Result<Vec<String>, Failure> {
    let mut query = conn.prepare("SELECT name FROM datamart ORDER BY name")?;
    let names = query.query_map([], |row| row.get(0))?;
    Ok(names.collect::<Result<_, _>>()?)
}

pub(crate) fn create_datamart(conn: &Connection, name: &str) -> Result<(), Failure> {
    if has_datamart(conn, name)? {
        return Err(Failure::DatamartExists(name.to_owned()));
    }
    conn.execute("INSERT INTO datamart VALUES (?1)", [name])?;
    Ok(())
}

/// Removes a datamart with its rows, log, deltas and lock.
pub(crate) fn drop_datamart(conn: &Connection, name: &str) -> Result<(), Failure> {
    require_datamart(conn, name)?;
    for entity in entities(conn, name)? {
        remove(conn, &entity)?;
    }
    for table in ["change", "deny", "delta", "hot", "operation"] {
        conn.execute(&format!("DELETE FROM {table} WHERE datamart = ?1"), [name])?;
    }
    conn.execute("DELETE FROM datamart WHERE name = ?1", [name])?;
    Ok(())
}

fn from_row(row: &Row<'_>) -> rusqlite::Result<(i64, String, String, String)> {
    Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
}

fn decode(parts: (i64, String, String, String)) -> Result<Entity, Failure> {
    let (id, datamart, name, body) = parts;
    Ok(Entity { id, datamart, name, body: serde_json::from_str(&body)? })
}

/// An entity, if it exists.
pub(crate) fn find(
    conn: &Connection,
    datamart: &str,
    name: &str,
) -> Result<Option<Entity>, Failure> {
    let mut query = conn.prepare_cached(
        "SELECT id, datamart, name, body FROM entity WHERE datamart = ?1 AND name = ?2",
    )?;
    query.query_row([datamart, name], from_row).optional()?.map(decode).transpose()
}

/// An entity that must exist.
pub(crate) fn require(conn: &Connection, datamart: &str, name: &str) -> Result<Entity, Failure> {
    find(conn, datamart, name)?
        .ok_or_else(|| Failure::NoSuchEntity(datamart.to_owned(), name.to_owned()))
}

/// All entities of a datamart, by name.
pub(crate) fn entities(conn: &Connection, datamart: &str) -> Result<Vec<Entity>, Failure> {
    let mut query = conn.prepare_cached(
        "SELECT id, datamart, name, body FROM entity WHERE datamart = ?1 ORDER BY name",
    )?;
    let rows = query.query_map([datamart], from_row)?;
    rows.map(|row| decode(row?)).collect()
}

/// Adds an entity; tables get their row table.
pub(crate) fn add(
    conn: &Connection,
    datamart: &str,
    name: &str,
    body: Body,
) -> Result<(), Failure> {
    conn.execute(
        "INSERT INTO entity(datamart, name, body) VALUES (?1, ?2, ?3)",
        [datamart, name, &serde_json::to_string(&body)?],
    )?;
    let entity =
        Entity { id: conn.last_insert_rowid(), datamart: datamart.into(), name: name.into(), body };
    create_rows(conn, &entity)
}

/// Replaces what is known of an entity without a row table.
pub(crate) fn replace(conn: &Connection, id: i64, body: &Body) -> Result<(), Failure> {
    let body = serde_json::to_string(body)?;
    conn.execute("UPDATE entity SET body = ?2 WHERE id = ?1", rusqlite::params![id, body])?;
    Ok(())
}

/// Removes an entity and its rows.
pub(crate) fn remove(conn: &Connection, entity: &Entity) -> Result<(), Failure> {
    conn.execute("DELETE FROM entity WHERE id = ?1", [entity.id])?;
    conn.execute_batch(&format!("DROP TABLE IF EXISTS {}", entity.physical()))?;
    Ok(())
}

/// The row table: logical columns without affinity, so that values stay as they were given.
fn create_rows(conn: &Connection, entity: &Entity) -> Result<(), Failure> {
    let Some(table) = entity.table() else {
        return Ok(());
    };
    let physical = entity.physical();
    let quoted = |name: &String| format!("\"{name}\"");
    let columns: Vec<_> = table.columns.iter().map(|c| quoted(&c.name)).collect();
    let key: Vec<_> = table.primary_key.iter().map(quoted).collect();
    conn.execute_batch(&format!(
        "CREATE TABLE {physical}({columns}, __from INTEGER NOT NULL, __to INTEGER NOT NULL, __op INTEGER NOT NULL);
         CREATE INDEX {physical}_key ON {physical}({key}, __from);
         CREATE INDEX {physical}_from ON {physical}(__from);
         CREATE INDEX {physical}_to ON {physical}(__to) WHERE __to < {open};",
        columns = columns.join(", "),
        key = key.join(", "),
        open = super::store::OPEN,
    ))?;
    Ok(())
}
