//! What a node answers to a statement, in the shape of PROSTORE.md 1.3. Owns the reading of the
//! JSON; never asks anything. Numbers stay integers: a BIGINT has more digits than an f64.

use serde::Deserialize;
use serde_json::{Map, Value};

/// Rows of an answer, values in the order of `columns`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reply {
    /// Names of the columns, as the node spells them.
    pub columns: Vec<String>,
    /// The rows.
    pub rows: Vec<Vec<Value>>,
}

/// A value that is missing from an answer or has another type than documented.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{column}: {found}")]
pub struct BadValue {
    /// The column.
    pub column: String,
    /// What is there instead.
    pub found: String,
}

#[derive(Deserialize)]
struct Wire {
    result: Option<Vec<Map<String, Value>>>,
    metadata: Option<Vec<WireColumn>>,
}

#[derive(Deserialize)]
struct WireColumn {
    name: String,
}

impl Reply {
    /// Reads a body. A row is an object of undefined key order, so the metadata gives the order;
    /// a row without one of its columns is refused.
    ///
    /// # Errors
    /// The text says what is not as documented.
    pub fn read(body: &[u8]) -> Result<Self, String> {
        let wire: Wire = serde_json::from_slice(body).map_err(|e| e.to_string())?;
        let columns: Vec<_> = wire.metadata.into_iter().flatten().map(|c| c.name).collect();
        let rows = wire.result.unwrap_or_default();
        if columns.is_empty() && !rows.is_empty() {
            return Err("rows without metadata".to_owned());
        }
        let rows: Result<Vec<_>, _> = rows.into_iter().map(|row| in_order(&columns, row)).collect();
        Ok(Self { rows: rows?, columns })
    }

    /// The rows as something that can be asked by column name.
    pub fn iter(&self) -> impl Iterator<Item = Row<'_>> {
        self.rows.iter().map(|values| Row { columns: &self.columns, values })
    }
}

fn in_order(columns: &[String], mut row: Map<String, Value>) -> Result<Vec<Value>, String> {
    let value = |name: &String| row.remove(name).ok_or(format!("a row without column {name}"));
    columns.iter().map(value).collect()
}

/// A row of a reply.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    columns: &'a [String],
    values: &'a [Value],
}

impl<'a> Row<'a> {
    /// The value of the first of these columns that there is. Case is ignored, because
    /// INFORMATION_SCHEMA is upper case.
    fn find(&self, names: &[&str]) -> Option<&'a Value> {
        let at = |name: &&str| self.columns.iter().position(|c| c.eq_ignore_ascii_case(name));
        names.iter().find_map(at).map(|index| &self.values[index])
    }

    fn bad(names: &[&str], found: Option<&Value>) -> BadValue {
        let found = found.map_or("no such column".to_owned(), |value| format!("holds {value}"));
        BadValue { column: names.join(" or "), found }
    }

    /// An integer that must be there.
    ///
    /// # Errors
    /// [`BadValue`] for anything else.
    pub fn integer(&self, name: &str) -> Result<i64, BadValue> {
        let value = self.find(&[name]);
        value.and_then(Value::as_i64).ok_or_else(|| Self::bad(&[name], value))
    }

    /// A number from 0 that must be there.
    ///
    /// # Errors
    /// [`BadValue`] for anything else.
    pub fn number(&self, name: &str) -> Result<u64, BadValue> {
        let value = self.find(&[name]);
        value.and_then(Value::as_u64).ok_or_else(|| Self::bad(&[name], value))
    }

    /// A number from 0, or null.
    ///
    /// # Errors
    /// [`BadValue`] for anything else, also where there is no such column.
    pub fn number_or_null(&self, name: &str) -> Result<Option<u64>, BadValue> {
        match self.find(&[name]) {
            Some(Value::Null) => Ok(None),
            _ => self.number(name).map(Some),
        }
    }

    /// True or false.
    ///
    /// # Errors
    /// [`BadValue`] for anything else.
    pub fn flag(&self, name: &str) -> Result<bool, BadValue> {
        let value = self.find(&[name]);
        value.and_then(Value::as_bool).ok_or_else(|| Self::bad(&[name], value))
    }

    /// A text that must be there.
    ///
    /// # Errors
    /// [`BadValue`] for anything else.
    pub fn text(&self, name: &str) -> Result<&'a str, BadValue> {
        let value = self.find(&[name]);
        value.and_then(Value::as_str).ok_or_else(|| Self::bad(&[name], value))
    }

    /// A text, or null.
    ///
    /// # Errors
    /// [`BadValue`] for anything else, also where there is no such column.
    pub fn text_or_null(&self, name: &str) -> Result<Option<&'a str>, BadValue> {
        match self.find(&[name]) {
            Some(Value::Null) => Ok(None),
            _ => self.text(name).map(Some),
        }
    }

    /// Whether the first of these columns that there is holds null.
    ///
    /// # Errors
    /// [`BadValue`] where there is none of them.
    pub fn is_null(&self, names: &[&str]) -> Result<bool, BadValue> {
        self.find(names).map(Value::is_null).ok_or_else(|| Self::bad(names, None))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Result<Reply, String> {
        Reply::read(body.as_bytes())
    }

    #[test]
    fn order_comes_from_the_metadata_and_integers_stay_whole() {
        let reply = read(
            r#"{"requestId":"x","result":[{"b":9007199254740993,"a":-9223372036854775808}],
                "metadata":[{"name":"a","type":"BIGINT"},{"name":"b","type":"BIGINT"}]}"#,
        );
        let reply = reply.unwrap_or_default();
        assert_eq!(reply.columns, ["a", "b"]);
        let row = reply.iter().next().expect("one row");
        assert_eq!(row.integer("A"), Ok(i64::MIN));
        assert_eq!(row.number("b"), Ok(9_007_199_254_740_993));
        assert!(row.number("a").is_err() && row.text("a").is_err() && row.integer("c").is_err());
    }

    #[test]
    fn an_answer_without_rows_has_none() {
        assert_eq!(read(r#"{"result":[],"metadata":null,"empty":true}"#), Ok(Reply::default()));
        assert_eq!(read(r#"{"result":null}"#), Ok(Reply::default()));
    }

    #[test]
    fn a_shape_that_is_not_documented_is_refused() {
        let bad = [
            "",
            "<html></html>",
            r#"{"result":[{"a":1}],"metadata":null}"#,
            r#"{"result":[{"b":1}],"metadata":[{"name":"a"}]}"#,
            r#"{"result":[1],"metadata":[{"name":"a"}]}"#,
        ];
        for body in bad {
            assert!(read(body).is_err(), "{body:?} was taken");
        }
    }
}
