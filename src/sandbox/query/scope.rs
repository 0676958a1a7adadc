//! Owns which columns a place in a query can name; never renders SQL.

use crate::sandbox::failure::Failure;
use crate::sandbox::types::{Column, Kind};

/// A column of a query result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OutColumn {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) size: Option<u32>,
    pub(crate) nullable: bool,
}

impl From<&Column> for OutColumn {
    fn from(c: &Column) -> Self {
        OutColumn { name: c.name.clone(), kind: c.kind, size: c.size, nullable: c.nullable }
    }
}

impl OutColumn {
    /// As a table column, e.g. of a view.
    pub(crate) fn to_column(&self) -> Column {
        Column {
            name: self.name.clone(),
            kind: self.kind,
            size: self.size,
            nullable: self.nullable,
        }
    }
}

/// One table of a FROM clause.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    pub(crate) alias: String,
    pub(crate) columns: Vec<OutColumn>,
}

/// The tables of a FROM clause, and those of the queries around it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Scope<'s> {
    pub(crate) sources: Vec<Source>,
    pub(crate) outer: Option<&'s Scope<'s>>,
}

impl Scope<'_> {
    /// The table alias and the column that a name means.
    pub(crate) fn find(
        &self,
        qualifier: Option<&str>,
        name: &str,
    ) -> Result<(&str, &OutColumn), Failure> {
        for source in &self.sources {
            if qualifier.is_some_and(|q| q != source.alias) {
                continue;
            }
            if let Some(c) = source.columns.iter().find(|c| c.name.eq_ignore_ascii_case(name)) {
                return Ok((&source.alias, c));
            }
        }
        match self.outer {
            Some(outer) => outer.find(qualifier, name),
            None => Err(Failure::NoSuchColumn(name.to_owned())),
        }
    }
}
