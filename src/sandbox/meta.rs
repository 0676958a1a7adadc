//! Owns the JSON of the /meta paths; never answers SQL.

use rusqlite::Connection;
use serde_json::{Map, Value as Json, json};

use super::catalog;
use super::entity::Entity;
use super::failure::Failure;
use super::types::{Column, Kind};

/// GET /meta
pub(crate) fn datamarts(conn: &Connection) -> Result<Json, Failure> {
    let own = catalog::datamarts(conn)?;
    let names = std::iter::once("information_schema".to_owned()).chain(own);
    Ok(names.map(|name| json!({ "mnemonic": name })).collect())
}

/// GET /meta/{datamart}/entities
pub(crate) fn entities(conn: &Connection, datamart: &str) -> Result<Json, Failure> {
    catalog::require_datamart(conn, datamart)?;
    let entities = catalog::entities(conn, datamart)?;
    let item = |e: &Entity| json!({"mnemonic": e.name, "datamartMnemonic": e.datamart});
    Ok(entities.iter().map(item).collect())
}

/// GET /meta/{datamart}/entity/{entity}/attributes
pub(crate) fn attributes(conn: &Connection, datamart: &str, name: &str) -> Result<Json, Failure> {
    let entity = catalog::require(conn, datamart, name)?;
    let columns = entity.columns().iter().enumerate();
    Ok(columns.map(|(i, column)| attribute(&entity, i, column)).collect())
}

fn attribute(entity: &Entity, index: usize, column: &Column) -> Json {
    let mut item = Map::new();
    let mut put = |name: &str, value: Json| item.insert(name.to_owned(), value);
    put("mnemonic", json!(column.name));
    put("dataType", json!(column.kind.name()));
    if let (Kind::Char | Kind::Varchar | Kind::Link, Some(length)) = (column.kind, column.size) {
        put("length", json!(length));
    }
    if column.kind.has_precision() {
        put("accuracy", json!(column.size.unwrap_or(6)));
    }
    put("entityMnemonic", json!(entity.name));
    put("datamartMnemonic", json!(entity.datamart));
    if let Some(table) = entity.table() {
        let order = |key: &[String]| key.iter().position(|k| *k == column.name).map(|i| i + 1);
        if let Some(order) = order(&table.primary_key) {
            put("primaryKeyOrder", json!(order));
        }
        if let Some(order) = order(&table.sharding_key) {
            put("distributeKeykOrder", json!(order));
        }
    }
    put("ordinalPosition", json!(index));
    put("nullable", json!(column.nullable));
    Json::Object(item)
}
