//! Owns what is known of one table, view or external table; never reads or writes it.

use serde::{Deserialize, Serialize};

use super::Datasource;
use super::types::Column;

/// A named object of a datamart.
#[derive(Debug, Clone)]
pub(crate) struct Entity {
    /// Number of the physical table; never used twice.
    pub(crate) id: i64,
    pub(crate) datamart: String,
    pub(crate) name: String,
    pub(crate) body: Body,
}

/// What kind of object it is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Body {
    Table(Table),
    View { text: String, columns: Vec<Column> },
    Matview { table: Table, text: String, datasource: Option<String> },
    External(External),
}

/// A logical table, or the table part of a materialized view.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Table {
    pub(crate) columns: Vec<Column>,
    pub(crate) primary_key: Vec<String>,
    pub(crate) sharding_key: Vec<String>,
    pub(crate) datasources: Vec<Datasource>,
}

/// A download or upload external table.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct External {
    pub(crate) columns: Vec<Column>,
    pub(crate) location: String,
    pub(crate) format: String,
    pub(crate) chunk_size: u64,
    pub(crate) hidden_sys_op: bool,
    pub(crate) upload: bool,
}

impl Entity {
    /// Name of the physical table in the store.
    pub(crate) fn physical(&self) -> String {
        format!("rows_{}", self.id)
    }

    pub(crate) fn columns(&self) -> &[Column] {
        match &self.body {
            Body::Table(table) | Body::Matview { table, .. } => &table.columns,
            Body::View { columns, .. } => columns,
            Body::External(external) => &external.columns,
        }
    }

    /// The table part, for tables and materialized views.
    pub(crate) fn table(&self) -> Option<&Table> {
        match &self.body {
            Body::Table(table) | Body::Matview { table, .. } => Some(table),
            _ => None,
        }
    }
}

impl Table {
    /// Position of a column, if it exists.
    pub(crate) fn position(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|c| c.name == name)
    }

    /// Positions of the primary key columns in key order.
    pub(crate) fn key_positions(&self) -> Vec<usize> {
        self.primary_key.iter().filter_map(|name| self.position(name)).collect()
    }

    /// Whether rows follow the rules of ADQM, because no other datasource holds them.
    pub(crate) fn is_adqm_only(&self) -> bool {
        self.datasources == [Datasource::Adqm]
    }
}
