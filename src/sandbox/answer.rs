//! Owns the shape of a successful answer; never decides its content.

use serde_json::{Map, Value as Json, json};

use super::query::OutColumn;
use super::types::Kind;

/// A column of `metadata`.
#[derive(Debug, Clone)]
struct Meta {
    name: String,
    kind: &'static str,
    size: Option<i64>,
    nullable: bool,
    system: Option<&'static str>,
}

/// The result of a statement: rows of a table, or nothing at all.
#[derive(Debug, Clone, Default)]
pub(crate) struct Answer {
    columns: Option<Vec<Meta>>,
    rows: Vec<Json>,
}

impl Answer {
    /// The answer of a statement without rows.
    pub(crate) fn nothing() -> Self {
        Answer::default()
    }

    /// An answer with columns that all are nullable or all are not, as the node's own tables are.
    pub(crate) fn table(columns: &[(&str, Kind)], nullable: bool) -> Self {
        let meta = |(name, kind): &(&str, Kind)| Meta {
            name: (*name).to_owned(),
            kind: kind.name(),
            size: None,
            nullable,
            system: None,
        };
        Answer { columns: Some(columns.iter().map(meta).collect()), rows: Vec::new() }
    }

    /// An answer with the columns of a SELECT.
    pub(crate) fn selected(columns: &[OutColumn]) -> Self {
        let meta = |c: &OutColumn| Meta {
            name: c.name.clone(),
            kind: c.kind.name(),
            size: c.to_column().metadata_size(),
            nullable: c.nullable,
            system: None,
        };
        Answer { columns: Some(columns.iter().map(meta).collect()), rows: Vec::new() }
    }

    /// Marks one column as nullable or not.
    pub(crate) fn with_nullable(mut self, name: &str, nullable: bool) -> Self {
        for column in self.columns.iter_mut().flatten().filter(|c| c.name == name) {
            column.nullable = nullable;
        }
        self
    }

    /// Marks every column as naming the schema.
    pub(crate) fn with_schema_mark(mut self) -> Self {
        for column in self.columns.iter_mut().flatten() {
            column.system = Some("SCHEMA");
        }
        self
    }

    /// Adds a row; values in the order of the columns.
    pub(crate) fn row(mut self, values: Vec<Json>) -> Self {
        self.push(values);
        self
    }

    pub(crate) fn push(&mut self, values: Vec<Json>) {
        let names = self.columns.iter().flatten().map(|c| c.name.clone());
        self.rows.push(Json::Object(names.zip(values).collect::<Map<_, _>>()));
    }

    /// The body of the HTTP answer.
    pub(crate) fn body(&self, request_id: &str) -> Json {
        let metadata = self.columns.as_ref().map(|columns| {
            let column = |c: &Meta| {
                json!({
                    "name": c.name, "systemMetadata": c.system, "type": c.kind,
                    "size": c.size, "nullable": c.nullable,
                })
            };
            columns.iter().map(column).collect::<Vec<_>>()
        });
        json!({
            "requestId": request_id, "result": self.rows, "metadata": metadata,
            "empty": self.rows.is_empty(),
        })
    }
}
