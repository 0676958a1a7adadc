//! Logical tables and their columns. Knows no Avro and no SQL dialect.

use serde::{Deserialize, Serialize};

use super::{Datasource, TableName};

/// Types of logical columns (PROSTORE.md 1.6). Sizes are kept only where the unload's external
/// table must repeat them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ColumnType {
    /// BOOLEAN
    Boolean,
    /// INT32
    Int32,
    /// INT: 64 bits, as BIGINT
    Int,
    /// BIGINT
    Bigint,
    /// FLOAT
    Float,
    /// DOUBLE
    Double,
    /// CHAR(n)
    Char(u32),
    /// VARCHAR or VARCHAR(n)
    Varchar(Option<u32>),
    /// UUID
    Uuid,
    /// LINK
    Link,
    /// DATE: days since 1970-01-01
    Date,
    /// TIME(p): microseconds since midnight
    Time(Option<u32>),
    /// TIMESTAMP(p): microseconds since the epoch
    Timestamp(Option<u32>),
}

/// A column of a logical table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// Name, lower case.
    pub name: String,
    /// Logical type.
    pub kind: ColumnType,
}

/// A logical table to be unloaded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// Name.
    pub name: TableName,
    /// Columns in table order, without `sys_op`.
    pub columns: Vec<Column>,
    /// Datasources that hold it, lower case, in the node's order.
    pub datasources: Vec<Datasource>,
    /// Columns of the primary key, in its order; empty where it is not known. The journal's record
    /// of a table is older than this and keeps it apart.
    #[serde(skip)]
    pub primary_key: Vec<String>,
}

impl Table {
    /// Columns that sums are computed over: datasources print floating numbers differently (D4.5).
    pub fn sum_columns(&self) -> Vec<String> {
        let exact = |kind| !matches!(kind, ColumnType::Float | ColumnType::Double);
        let columns = self.columns.iter().filter(|c| exact(c.kind));
        columns.map(|column| column.name.clone()).collect()
    }
}
