//! Schemas of data bodies: the documented one (seed, "Схема Avro"; DESIGN D6) and the check that a
//! staging body has it in all that shapes bytes (D4.9). Never reads rows.

use serde_json::Value;

use crate::model::{Column, ColumnType};

/// Name of the last column of every data body: 0 added, 1 removed.
pub const SYS_OP: &str = "sys_op";

/// A staging body's schema is not the expected one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("staging schema differs: expected {expected}, found {found}")]
pub struct SchemaMismatch {
    /// The schema of the table's data bodies.
    pub expected: String,
    /// The schema found.
    pub found: String,
}

/// The Avro type behind a logical one (DESIGN D6, PROSTORE.md 1.6).
fn base_type(kind: ColumnType) -> &'static str {
    match kind {
        ColumnType::Boolean => "boolean",
        ColumnType::Int32 | ColumnType::Date => "int",
        ColumnType::Int | ColumnType::Bigint | ColumnType::Time(_) | ColumnType::Timestamp(_) => {
            "long"
        }
        ColumnType::Float => "float",
        ColumnType::Double => "double",
        ColumnType::Char(_) | ColumnType::Varchar(_) | ColumnType::Uuid | ColumnType::Link => {
            "string"
        }
    }
}

/// Names and base types of a data body's fields, `sys_op` last.
fn fields(columns: &[Column]) -> impl Iterator<Item = (String, &'static str)> {
    let own = columns.iter().map(|column| (column.name.to_lowercase(), base_type(column.kind)));
    own.chain([(SYS_OP.to_owned(), "int")])
}

/// The schema text of data bodies of a table: `columns` without `sys_op`, in table order.
pub fn row_schema(columns: &[Column]) -> String {
    let mut text = String::from(r#"{"type":"record","name":"row","fields":["#);
    for (place, (name, base)) in fields(columns).enumerate() {
        if place > 0 {
            text.push(',');
        }
        let name = Value::String(name);
        text += &format!(r#"{{"name":{name},"type":["null","{base}"],"doc":""}}"#);
    }
    text + "]}"
}

/// Compares the schema of a staging body with the one expected of `columns`: names in order,
/// without regard to case; every type a union of null, first, and the base type. Logical types,
/// Java's string hints, record names, defaults and docs shape no byte and are ignored.
///
/// # Errors
/// [`SchemaMismatch`] with both texts.
pub fn check_staging(schema_json: &str, columns: &[Column]) -> Result<(), SchemaMismatch> {
    let schema: Value = serde_json::from_str(schema_json).unwrap_or_default();
    let wanted: Vec<(String, &str)> = fields(columns).collect();
    if read_fields(&schema) == Some(wanted) {
        return Ok(());
    }
    Err(SchemaMismatch { expected: row_schema(columns), found: schema_json.to_owned() })
}

/// Names and base types of a record of nullable fields; none for any other schema.
fn read_fields(schema: &Value) -> Option<Vec<(String, &str)>> {
    if schema.get("type")? != "record" {
        return None;
    }
    let field = |field| {
        let name = Value::as_str(Value::get(field, "name")?)?.to_lowercase();
        let [null, base] = field.get("type")?.as_array()?.as_slice() else { return None };
        let base = base.get("type").unwrap_or(base).as_str()?;
        (null == "null").then_some((name, base))
    };
    schema.get("fields")?.as_array()?.iter().map(field).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failing test may panic")]
mod tests {
    use super::*;

    fn column(name: &str, kind: ColumnType) -> Column {
        Column { name: name.into(), kind }
    }

    fn sales() -> Vec<Column> {
        vec![
            column("id", ColumnType::Bigint),
            column("Sold_On", ColumnType::Date),
            column("note", ColumnType::Varchar(Some(10))),
        ]
    }

    #[test]
    fn the_row_schema_is_the_seeds_without_white_space() {
        let expected = concat!(
            r#"{"type":"record","name":"row","fields":[{"name":"id","type":["null","long"],"#,
            r#""doc":""},{"name":"sold_on","type":["null","int"],"doc":""},{"name":"note","#,
            r#""type":["null","string"],"doc":""},{"name":"sys_op","type":["null","int"],"#,
            r#""doc":""}]}"#,
        );
        assert_eq!(row_schema(&sales()), expected);
        assert_eq!(check_staging(expected, &sales()), Ok(()));
    }

    #[test]
    fn names_that_json_must_escape_are_escaped() {
        let text = row_schema(&[column("a\"b\\", ColumnType::Int)]);
        let schema: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(schema["fields"][0]["name"], "a\"b\\");
    }

    #[test]
    fn a_connectors_schema_is_taken_for_what_its_bytes_are() {
        let found = r#"{"type":"record","name":"ext_1","namespace":"db","fields":[
            {"name":"ID","type":["null","long"],"default":null},
            {"name":"sold_on","type":["null",{"type":"int","logicalType":"date"}]},
            {"name":"note","type":["null",{"type":"string","avro.java.string":"String"}]},
            {"name":"sys_op","type":["null","int"],"default":null}]}"#;
        assert_eq!(check_staging(found, &sales()), Ok(()));
        let changes = [
            (r#"["null","long"]"#, r#"["long","null"]"#),
            (r#"["null","long"]"#, r#""long""#),
            (r#"["null","long"]"#, r#"["int","long"]"#),
            (r#"["null","long"]"#, r#"["null","long","int"]"#),
            (r#"{"type":"int","logicalType":"date"}"#, r#""long""#),
            (r#""name":"ID""#, r#""name":"di""#),
            (r#""name":"sys_op","type":["null","int"]"#, r#""name":"sys_op","type":"int""#),
            (r#""name":"sys_op""#, r#""name":"sys_up""#),
            (r#""type":"record""#, r#""type":"error""#),
        ];
        for (from, to) in changes {
            let other = found.replacen(from, to, 1);
            assert_ne!(other, found);
            let error = check_staging(&other, &sales()).unwrap_err();
            assert_eq!((error.expected, error.found), (row_schema(&sales()), other));
        }
        assert!(check_staging("{", &sales()).is_err());
        assert!(check_staging(found, &sales()[1..]).is_err(), "a column too many was taken");
    }
}
