//! Owns INFORMATION_SCHEMA as rows made from the catalog; never part of any datamart.

use rusqlite::Connection;
use serde_json::{Value as Json, json};

use super::catalog;
use super::entity::{Body, Entity};
use super::failure::Failure;
use super::query::OutColumn;
use super::types::{Column, Kind};

const HIDDEN: &[&str] = &[
    "logic_schema_datamarts",
    "logic_schema_entities",
    "logic_schema_entity_constraints",
    "logic_schema_columns",
    "logic_schema_key_column_usage",
];

type View = (&'static [(&'static str, Kind)], fn(&[Entity], &[String]) -> Vec<Json>);

const TEXT: Kind = Kind::Varchar;

const SCHEMATA: &[(&str, Kind)] = &[("CATALOG_NAME", TEXT), ("SCHEMA_NAME", TEXT)];

const TABLES: &[(&str, Kind)] = &[
    ("TABLE_CATALOG", TEXT),
    ("TABLE_SCHEMA", TEXT),
    ("TABLE_NAME", TEXT),
    ("TABLE_TYPE", TEXT),
    ("TABLE_DATASOURCE_TYPE", TEXT),
];

const COLUMNS: &[(&str, Kind)] = &[
    ("TABLE_CATALOG", TEXT),
    ("TABLE_SCHEMA", TEXT),
    ("TABLE_NAME", TEXT),
    ("COLUMN_NAME", TEXT),
    ("IS_NULLABLE", TEXT),
    ("ORDINAL_POSITION", Kind::Bigint),
    ("CHARACTER_MAXIMUM_LENGTH", Kind::Bigint),
    ("DATETIME_PRECISION", Kind::Bigint),
    ("DATA_TYPE", TEXT),
];

const CONSTRAINTS: &[(&str, Kind)] = &[
    ("CONSTRAINT_CATALOG", TEXT),
    ("CONSTRAINT_SCHEMA", TEXT),
    ("CONSTRAINT_NAME", TEXT),
    ("TABLE_SCHEMA", TEXT),
    ("TABLE_NAME", TEXT),
    ("CONSTRAINT_TYPE", TEXT),
];

const KEYS: &[(&str, Kind)] = &[
    ("CONSTRAINT_CATALOG", TEXT),
    ("CONSTRAINT_SCHEMA", TEXT),
    ("CONSTRAINT_NAME", TEXT),
    ("TABLE_SCHEMA", TEXT),
    ("TABLE_NAME", TEXT),
    ("COLUMN_NAME", TEXT),
    ("ORDINAL_POSITION", Kind::Int32),
];

/// SQL over the JSON parameter `?index`, that JSON, and the columns.
pub(crate) fn plan(
    conn: &Connection,
    name: &str,
    index: usize,
) -> Result<(String, String, Vec<OutColumn>), Failure> {
    let (columns, rows): View = match name {
        "schemata" => (SCHEMATA, schemata),
        "tables" => (TABLES, tables),
        "columns" => (COLUMNS, columns),
        "table_constraints" => (CONSTRAINTS, constraints),
        "key_column_usage" => (KEYS, key_usage),
        _ if HIDDEN.contains(&name) => return Err(Failure::SystemTable),
        _ => {
            return Err(Failure::NoSuchEntity("information_schema".into(), name.into()));
        }
    };
    let datamarts = catalog::datamarts(conn)?;
    let mut entities = Vec::new();
    for datamart in &datamarts {
        entities.extend(catalog::entities(conn, datamart)?);
    }
    entities.retain(|e| !matches!(e.body, Body::External(_)));
    let json = serde_json::to_string(&rows(&entities, &datamarts))?;
    let items: Vec<_> = columns
        .iter()
        .enumerate()
        .map(|(i, (name, _))| format!("json_extract(value, '$[{i}]') AS \"{name}\""))
        .collect();
    let sql = format!("SELECT {} FROM json_each(?{index})", items.join(", "));
    let out = columns.iter().map(|(name, kind)| OutColumn {
        name: (*name).to_owned(),
        kind: *kind,
        size: None,
        nullable: true,
    });
    Ok((sql, json, out.collect()))
}

fn upper(text: &str) -> String {
    text.to_uppercase()
}

fn schemata(_: &[Entity], datamarts: &[String]) -> Vec<Json> {
    let own = datamarts.iter().map(|name| json!(["PUBLIC", upper(name)]));
    std::iter::once(json!(["PUBLIC", "PUBLIC"])).chain(own).collect()
}

/// `ADQM, ADP`: the datasources of an entity, sorted, or nothing.
pub(crate) fn placement(entity: &Entity) -> String {
    let Some(table) = entity.table() else {
        return String::new();
    };
    let mut names: Vec<_> = table.datasources.iter().map(|d| d.name()).collect();
    names.sort_unstable();
    names.join(", ")
}

fn tables(entities: &[Entity], _: &[String]) -> Vec<Json> {
    let row = |e: &Entity| {
        let kind = match e.body {
            Body::Table(_) => "BASE TABLE",
            Body::Matview { .. } => "MATERIALIZED VIEW",
            _ => "VIEW",
        };
        json!(["PUBLIC", upper(&e.datamart), upper(&e.name), kind, placement(e)])
    };
    entities.iter().map(row).collect()
}

fn columns(entities: &[Entity], _: &[String]) -> Vec<Json> {
    let mut rows = Vec::new();
    for entity in entities {
        let mut columns: Vec<_> = entity.columns().iter().enumerate().collect();
        columns.sort_by(|a, b| a.1.name.cmp(&b.1.name));
        rows.extend(columns.iter().map(|(i, c)| column_row(entity, *i, c)));
        if let Body::Matview { .. } = entity.body {
            rows.extend(columns.iter().map(|(i, c)| shadow_row(entity, *i, c)));
        }
    }
    rows
}

/// The node also shows the table behind a materialized view, with the type names of its own database.
fn shadow_row(entity: &Entity, index: usize, column: &Column) -> Json {
    let shadow = format!("SYS_{}", upper(&entity.name));
    let kind = match column.kind {
        Kind::Varchar | Kind::Link => "CHARACTER VARYING",
        Kind::Char => "CHARACTER",
        other => other.name(),
    };
    let (schema, name) = (upper(&entity.datamart), upper(&column.name));
    json!(["PUBLIC", schema, shadow, name, "YES", index + 1, null, null, kind])
}

fn column_row(entity: &Entity, index: usize, column: &Column) -> Json {
    let nullable = if column.nullable { "YES" } else { "NO" };
    let length = if column.kind.is_text() { column.size } else { None };
    let precision =
        column.kind.has_precision().then(|| column.size.unwrap_or(6)).filter(|digits| *digits > 0);
    json!([
        "PUBLIC",
        upper(&entity.datamart),
        upper(&entity.name),
        upper(&column.name),
        nullable,
        index + 1,
        length,
        precision,
        column.kind.name(),
    ])
}

fn constraint_name(prefix: &str, entity: &Entity) -> String {
    format!("{prefix}_{}_{}", upper(&entity.datamart), upper(&entity.name))
}

fn constraints(entities: &[Entity], _: &[String]) -> Vec<Json> {
    let mut rows = Vec::new();
    for entity in entities.iter().filter(|e| e.table().is_some()) {
        for (prefix, kind) in [("SK", "sharding key"), ("PK", "primary key")] {
            let (schema, name) = (upper(&entity.datamart), upper(&entity.name));
            let constraint = constraint_name(prefix, entity);
            rows.push(json!(["PUBLIC", schema, constraint, schema, name, kind]));
        }
    }
    rows
}

fn key_usage(entities: &[Entity], _: &[String]) -> Vec<Json> {
    let mut rows = Vec::new();
    for entity in entities {
        let Some(table) = entity.table() else {
            continue;
        };
        for (prefix, key) in [("PK", &table.primary_key), ("SK", &table.sharding_key)] {
            for (i, column) in key.iter().enumerate() {
                let (schema, name) = (upper(&entity.datamart), upper(&entity.name));
                let constraint = constraint_name(prefix, entity);
                rows.push(json!([
                    "PUBLIC",
                    schema,
                    constraint,
                    schema,
                    name,
                    upper(column),
                    i + 1
                ]));
            }
        }
    }
    rows
}
