//! Owns the logical column types: names, sizes and how each value looks in SQL, JSON and Avro; never stores rows.

use serde::{Deserialize, Serialize};

/// A logical type without its size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Kind {
    Boolean,
    Varchar,
    Char,
    Link,
    Uuid,
    Int32,
    Int,
    Bigint,
    Float,
    Double,
    Date,
    Time,
    Timestamp,
}

/// Types that an unload treats as one when it compares columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    Text,
    Long,
    Other(Kind),
}

impl Kind {
    /// Reads a type word of CREATE TABLE; `None` is an unknown type.
    pub(crate) fn from_word(word: &str) -> Option<Kind> {
        Some(match word.to_ascii_uppercase().as_str() {
            "BOOLEAN" => Kind::Boolean,
            "VARCHAR" => Kind::Varchar,
            "CHAR" | "CHARACTER" => Kind::Char,
            "LINK" => Kind::Link,
            "UUID" => Kind::Uuid,
            "INT32" => Kind::Int32,
            "INT" | "INTEGER" => Kind::Int,
            "BIGINT" => Kind::Bigint,
            "FLOAT" => Kind::Float,
            "DOUBLE" => Kind::Double,
            "DATE" => Kind::Date,
            "TIME" => Kind::Time,
            "TIMESTAMP" => Kind::Timestamp,
            _ => return None,
        })
    }

    /// The upper-case name used in metadata.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Boolean => "BOOLEAN",
            Kind::Varchar => "VARCHAR",
            Kind::Char => "CHAR",
            Kind::Link => "LINK",
            Kind::Uuid => "UUID",
            Kind::Int32 => "INT32",
            Kind::Int => "INT",
            Kind::Bigint => "BIGINT",
            Kind::Float => "FLOAT",
            Kind::Double => "DOUBLE",
            Kind::Date => "DATE",
            Kind::Time => "TIME",
            Kind::Timestamp => "TIMESTAMP",
        }
    }

    /// The name as the changelog prints it: only types the base grammar knows are upper case.
    pub(crate) fn change_name(self) -> String {
        match self {
            Kind::Int | Kind::Int32 | Kind::Uuid | Kind::Link => self.name().to_ascii_lowercase(),
            _ => self.name().to_owned(),
        }
    }

    /// The group of types an unload accepts in one another's place.
    pub(crate) fn family(self) -> Family {
        match self {
            Kind::Varchar | Kind::Uuid | Kind::Link => Family::Text,
            Kind::Int | Kind::Bigint => Family::Long,
            other => Family::Other(other),
        }
    }

    /// Whether values are stored as text.
    pub(crate) fn is_text(self) -> bool {
        matches!(self, Kind::Varchar | Kind::Char | Kind::Link | Kind::Uuid)
    }

    /// Whether a size in brackets is a precision of seconds.
    pub(crate) fn has_precision(self) -> bool {
        matches!(self, Kind::Time | Kind::Timestamp)
    }
}

/// A column of a logical or external table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    /// Length of CHAR/VARCHAR or precision of TIME/TIMESTAMP, as written by the user.
    pub(crate) size: Option<u32>,
    pub(crate) nullable: bool,
}

impl Column {
    /// `size` as SELECT metadata shows it.
    pub(crate) fn metadata_size(&self) -> Option<i64> {
        let given = self.size.map(i64::from);
        match self.kind {
            Kind::Varchar | Kind::Char | Kind::Link => Some(given.unwrap_or(-1)),
            Kind::Uuid => Some(36),
            Kind::Time | Kind::Timestamp => Some(given.unwrap_or(6)),
            _ => None,
        }
    }

    /// `name TYPE(size) NOT NULL` as the changelog prints it.
    pub(crate) fn change_text(&self) -> String {
        let size = self.size.map(|n| format!("({n})")).unwrap_or_default();
        let not_null = if self.nullable { "" } else { " NOT NULL" };
        format!("{} {}{}{}", self.name, self.kind.change_name(), size, not_null)
    }

    /// The same as GET_ENTITY_DDL prints it.
    pub(crate) fn ddl_text(&self) -> String {
        let size = if self.kind.has_precision() { Some(self.size.unwrap_or(6)) } else { self.size };
        let size = size.map(|n| format!("({n})")).unwrap_or_default();
        let null = if self.nullable { "NULL" } else { "NOT NULL" };
        format!("{} {}{} {}", self.name, self.kind.name(), size, null)
    }
}
