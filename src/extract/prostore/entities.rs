//! Tables and their columns out of a node's catalogue (PROSTORE.md 1.5, 1.6, 2.10). Owns the
//! reading of types; never asks anything.

use serde::Deserialize;

use super::reply::{BadValue, Reply};
use crate::model::{Column, ColumnType, Datasource, TableName};

/// What INFORMATION_SCHEMA says of a datamart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Listing {
    /// Logical tables with the datasources that hold them.
    pub tables: Vec<(TableName, Vec<Datasource>)>,
    /// Views, materialized ones among them.
    pub views: Vec<String>,
    /// Entities of a type that is not known here, with the type.
    pub unknown: Vec<String>,
}

/// Types of entities whose data is no part of a backup (seed,
/// "Сущности, не подлежащие выгрузке в бэкап").
const PASSED_OVER: [&str; 2] = ["READABLE EXTERNAL TABLE", "WRITABLE EXTERNAL TABLE"];

impl Listing {
    /// Reads the answer to [`crate::extract::sql::tables`].
    pub fn read(reply: &Reply) -> Result<Self, BadValue> {
        let mut listing = Self::default();
        for row in reply.iter() {
            let name = row.text("TABLE_NAME")?.to_ascii_lowercase();
            match row.text("TABLE_TYPE")? {
                "BASE TABLE" => {
                    let datasources = datasources(row.text("TABLE_DATASOURCE_TYPE")?);
                    listing.tables.push((TableName(name), datasources));
                }
                "VIEW" | "MATERIALIZED VIEW" => listing.views.push(name),
                other if PASSED_OVER.contains(&other) => {}
                other => listing.unknown.push(format!("{name} ({other})")),
            }
        }
        Ok(listing)
    }
}

/// Reads a list such as `ADQM, ADP`.
pub(super) fn datasources(list: &str) -> Vec<Datasource> {
    let names = list.split(',').map(|name| name.trim().to_ascii_lowercase());
    names.filter(|name| !name.is_empty()).map(Datasource).collect()
}

/// An entity's name in `/meta/{db}/entities`.
#[derive(Deserialize)]
pub(super) struct Entity {
    /// Its name.
    pub mnemonic: String,
}

/// A column in `/meta/{db}/entity/{entity}/attributes`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Attribute {
    /// Its name.
    pub mnemonic: String,
    data_type: String,
    length: Option<u32>,
    accuracy: Option<u32>,
    ordinal_position: u32,
    primary_key_order: Option<u32>,
}

/// Columns in table order; the error names a type that is not known.
pub(super) fn columns(mut attributes: Vec<Attribute>) -> Result<Vec<Column>, String> {
    attributes.sort_by_key(|attribute| attribute.ordinal_position);
    let column = |attribute: Attribute| {
        let kind = attribute.kind().ok_or_else(|| {
            format!("column {} has the unknown type {}", attribute.mnemonic, attribute.data_type)
        })?;
        Ok(Column { name: attribute.mnemonic.to_ascii_lowercase(), kind })
    };
    attributes.into_iter().map(column).collect()
}

/// Columns of the primary key, in its order.
pub(super) fn primary_key(attributes: &[Attribute]) -> Vec<String> {
    let of_key = |a: &Attribute| Some((a.primary_key_order?, a.mnemonic.to_ascii_lowercase()));
    let mut key: Vec<(u32, String)> = attributes.iter().filter_map(of_key).collect();
    key.sort_unstable();
    key.into_iter().map(|(_, name)| name).collect()
}

impl Attribute {
    fn kind(&self) -> Option<ColumnType> {
        Some(match self.data_type.to_ascii_uppercase().as_str() {
            "BOOLEAN" => ColumnType::Boolean,
            "INT32" => ColumnType::Int32,
            "INT" => ColumnType::Int,
            "BIGINT" => ColumnType::Bigint,
            "FLOAT" => ColumnType::Float,
            "DOUBLE" => ColumnType::Double,
            // A node cannot make a CHAR without a length.
            "CHAR" => ColumnType::Char(self.length?),
            "VARCHAR" => ColumnType::Varchar(self.length),
            "UUID" => ColumnType::Uuid,
            "LINK" => ColumnType::Link,
            "DATE" => ColumnType::Date,
            "TIME" => ColumnType::Time(self.accuracy),
            "TIMESTAMP" => ColumnType::Timestamp(self.accuracy),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn datasources_are_lower_cased_in_the_nodes_order() {
        let names = |list| datasources(list).into_iter().map(|d| d.0).collect::<Vec<_>>();
        assert_eq!(names("ADQM, ADP"), ["adqm", "adp"]);
        assert_eq!(names(""), Vec::<String>::new());
    }

    #[test]
    fn the_primary_key_has_an_order_of_its_own() {
        let json = r#"[{"mnemonic":"A","dataType":"INT","ordinalPosition":0,"primaryKeyOrder":2},
            {"mnemonic":"v","dataType":"INT","ordinalPosition":1},
            {"mnemonic":"b","dataType":"INT","ordinalPosition":2,"primaryKeyOrder":1}]"#;
        let attributes: Vec<Attribute> = serde_json::from_str(json).expect("a list");
        assert_eq!(primary_key(&attributes), ["b", "a"]);
    }

    #[test]
    fn an_unknown_type_is_named_and_order_is_the_nodes() {
        let read = |json: &str| columns(serde_json::from_str(json).expect("a list"));
        let known = read(
            r#"[{"mnemonic":"B","dataType":"VARCHAR","ordinalPosition":1,"length":5},
                {"mnemonic":"a","dataType":"TIME","ordinalPosition":0,"accuracy":3}]"#,
        );
        let column = |name: &str, kind| Column { name: name.into(), kind };
        assert_eq!(
            known,
            Ok(vec![
                column("a", ColumnType::Time(Some(3))),
                column("b", ColumnType::Varchar(Some(5)))
            ])
        );
        let unknown = read(r#"[{"mnemonic":"x","dataType":"BLOB","ordinalPosition":0}]"#);
        assert_eq!(unknown, Err("column x has the unknown type BLOB".to_owned()));
    }
}
