//! Owns turning a SELECT into SQL of the store with typed result columns; never runs it.

use rusqlite::Connection;
use sqlparser::ast::{
    Join, JoinConstraint, JoinOperator, OrderBy, Query, Select, SetExpr, SetQuantifier,
    TableFactor, TableWithJoins,
};

use super::clauses::{combine, limit_sql, quote};
use super::period::{Period, split_name};
use super::scope::{OutColumn, Scope, Source};
use super::{Selection, parse_text};
use crate::sandbox::Datasource;
use crate::sandbox::catalog;
use crate::sandbox::deltas;
use crate::sandbox::entity::{Body, Entity};
use crate::sandbox::failure::Failure;
use crate::sandbox::system_views;

/// How deep views and subqueries may nest.
const DEPTH: usize = 32;

/// A logical table or materialized view that a query reads.
#[derive(Debug, Clone)]
pub(crate) struct TableUse {
    pub(crate) datamart: String,
    pub(crate) entity: String,
    pub(crate) datasources: Vec<Datasource>,
}

/// SQL for the store.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) sql: String,
    pub(crate) parameters: Vec<String>,
    pub(crate) columns: Vec<OutColumn>,
    pub(crate) tables: Vec<TableUse>,
    /// Where the rows come from.
    pub(crate) datasource: Option<Datasource>,
    /// True when the query only filters and projects one table.
    pub(crate) simple: bool,
}

/// Builds plans against one state of the store.
pub(crate) struct Planner<'a> {
    pub(crate) conn: &'a Connection,
    pub(crate) datamart: &'a str,
    parameters: Vec<String>,
    tables: Vec<TableUse>,
    /// System tables read; they have no datasource.
    system: usize,
    joins: usize,
    /// Whether ORDER BY or LIMIT occurs.
    ordered: bool,
    /// Whether EXISTS occurs.
    pub(super) exists: bool,
    /// How deep the query being planned is nested.
    depth: usize,
    unload: bool,
}

pub(super) struct Part {
    pub(super) sql: String,
    pub(super) columns: Vec<OutColumn>,
}

/// What applies to all tables of one parsed text: a view brings its own.
#[derive(Clone, Copy)]
pub(super) struct Text<'t> {
    pub(super) datamart: &'t str,
    pub(super) periods: &'t [Period],
    /// The period written after the view that contains this text.
    pub(super) imposed: Option<&'t Period>,
}

impl<'a> Planner<'a> {
    pub(crate) fn new(conn: &'a Connection, datamart: &'a str) -> Self {
        Planner {
            conn,
            datamart,
            parameters: Vec::new(),
            tables: Vec::new(),
            system: 0,
            joins: 0,
            ordered: false,
            exists: false,
            depth: 0,
            unload: false,
        }
    }

    /// Plans for an unload, which is stricter about materialized views.
    pub(crate) fn for_unload(mut self) -> Self {
        self.unload = true;
        self
    }

    /// Plans a whole SELECT.
    pub(crate) fn plan(mut self, selection: &Selection) -> Result<Plan, Failure> {
        let text = Text { datamart: self.datamart, periods: &selection.periods, imposed: None };
        let part = self.query(&selection.query, text, None)?;
        if self.tables.is_empty() && self.system == 0 {
            return Err(Failure::NoTables);
        }
        let datasource = self.datasource(selection.datasource.as_deref())?;
        let timed = !selection.periods.is_empty();
        if datasource == Some(Datasource::Adqm) && self.joins > 0 && timed {
            return Err(Failure::AdqmJoin);
        }
        let simple = self.joins == 0 && self.tables.len() == 1 && !self.ordered;
        if datasource == Some(Datasource::Adqm) && self.exists {
            return Err(Failure::AdqmExists);
        }
        Ok(Plan {
            sql: part.sql,
            parameters: self.parameters,
            columns: part.columns,
            tables: self.tables,
            datasource,
            simple,
        })
    }

    /// The datasource to read from; `None` when only system tables are read.
    fn datasource(&self, wanted: Option<&str>) -> Result<Option<Datasource>, Failure> {
        let everywhere = |d: Datasource| self.tables.iter().all(|t| t.datasources.contains(&d));
        if let Some(wanted) = wanted {
            if !["ADB", "ADG", "ADQM", "ADP"].contains(&wanted) {
                return Err(Failure::BadDatasource(wanted.to_lowercase()));
            }
            return match Datasource::from_name(wanted).filter(|d| everywhere(*d)) {
                Some(datasource) => Ok(Some(datasource)),
                None => Err(Failure::NotInDatasource(wanted.to_owned())),
            };
        }
        if self.tables.is_empty() {
            return Ok(None);
        }
        let mut known = [Datasource::Adp, Datasource::Adqm].into_iter();
        known.find(|d| everywhere(*d)).map(Some).ok_or(Failure::NoCommonDatasource)
    }

    pub(super) fn query(
        &mut self,
        query: &Query,
        text: Text<'_>,
        outer: Option<&Scope<'_>>,
    ) -> Result<Part, Failure> {
        self.depth += 1;
        if self.depth > DEPTH || query.with.is_some() || query.fetch.is_some() {
            return Err(Failure::Parsing);
        }
        self.ordered |= query.order_by.is_some() || query.limit_clause.is_some();
        let mut part = self.set(&query.body, text, outer, query.order_by.as_ref())?;
        self.depth -= 1;
        if let Some(limit) = &query.limit_clause {
            part.sql.push_str(&limit_sql(limit)?);
        }
        Ok(part)
    }

    fn set(
        &mut self,
        set: &SetExpr,
        text: Text<'_>,
        outer: Option<&Scope<'_>>,
        order: Option<&OrderBy>,
    ) -> Result<Part, Failure> {
        match set {
            SetExpr::Select(select) => self.select(select, text, outer, order),
            SetExpr::Query(query) => {
                let part = self.query(query, text, outer)?;
                self.ordered_outside(part, order, text, outer)
            }
            SetExpr::SetOperation { left, op, set_quantifier, right } => {
                let left = self.set(left, text, outer, None)?;
                let right = self.set(right, text, outer, None)?;
                let all = *set_quantifier == SetQuantifier::All;
                let part = combine(left, right, *op, all)?;
                self.ordered_outside(part, order, text, outer)
            }
            _ => Err(Failure::Parsing),
        }
    }

    /// ORDER BY of a set operation sees only the result columns.
    fn ordered_outside(
        &mut self,
        part: Part,
        order: Option<&OrderBy>,
        text: Text<'_>,
        outer: Option<&Scope<'_>>,
    ) -> Result<Part, Failure> {
        let Some(order) = order else { return Ok(part) };
        let source = Source { alias: "r".to_owned(), columns: part.columns.clone() };
        let scope = Scope { sources: vec![source], outer };
        let order = self.order(order, &scope, &part.columns, text)?;
        let sql = format!("SELECT * FROM ({}) AS \"r\"{order}", part.sql);
        Ok(Part { sql, columns: part.columns })
    }

    fn select(
        &mut self,
        select: &Select,
        text: Text<'_>,
        outer: Option<&Scope<'_>>,
        order: Option<&OrderBy>,
    ) -> Result<Part, Failure> {
        let mut scope = Scope { sources: Vec::new(), outer };
        let mut from = Vec::new();
        for table in &select.from {
            from.push(self.table_with_joins(table, text, &mut scope)?);
        }
        if from.len() > 1 {
            self.joins += 1;
        }
        let (items, columns) = self.projection(&select.projection, &scope, text)?;
        let distinct = if select.distinct.is_some() { "DISTINCT " } else { "" };
        let mut sql = format!("SELECT {distinct}{}", items.join(", "));
        if !from.is_empty() {
            sql.push_str(&format!(" FROM {}", from.join(", ")));
        }
        if let Some(condition) = &select.selection {
            sql.push_str(&format!(" WHERE {}", self.expr(condition, &scope, text)?.sql));
        }
        sql.push_str(&self.grouping(select, &scope, text)?);
        if let Some(order) = order {
            sql.push_str(&self.order(order, &scope, &columns, text)?);
        }
        Ok(Part { sql, columns })
    }

    fn table_with_joins(
        &mut self,
        table: &TableWithJoins,
        text: Text<'_>,
        scope: &mut Scope<'_>,
    ) -> Result<String, Failure> {
        let mut sql = self.table(&table.relation, text, scope)?;
        for join in &table.joins {
            sql.push_str(&self.join(join, text, scope)?);
        }
        Ok(sql)
    }

    fn join(
        &mut self,
        join: &Join,
        text: Text<'_>,
        scope: &mut Scope<'_>,
    ) -> Result<String, Failure> {
        self.joins += 1;
        let (word, constraint) = match &join.join_operator {
            JoinOperator::Join(c) | JoinOperator::Inner(c) => ("JOIN", c),
            JoinOperator::Left(c) | JoinOperator::LeftOuter(c) => ("LEFT JOIN", c),
            JoinOperator::Right(c) | JoinOperator::RightOuter(c) => ("RIGHT JOIN", c),
            JoinOperator::FullOuter(c) => ("FULL JOIN", c),
            JoinOperator::CrossJoin(c) => ("CROSS JOIN", c),
            _ => return Err(Failure::Parsing),
        };
        let table = self.table(&join.relation, text, scope)?;
        let on = match constraint {
            JoinConstraint::On(condition) => {
                format!(" ON {}", self.expr(condition, scope, text)?.sql)
            }
            JoinConstraint::None => String::new(),
            _ => return Err(Failure::Parsing),
        };
        Ok(format!(" {word} {table}{on}"))
    }

    fn table(
        &mut self,
        table: &TableFactor,
        text: Text<'_>,
        scope: &mut Scope<'_>,
    ) -> Result<String, Failure> {
        let (part, alias) = match table {
            TableFactor::Table { name, alias, args: None, .. } => {
                let name = split_name(name)?;
                let period = name.period.and_then(|i| text.periods.get(i)).or(text.imposed);
                let datamart = name.datamart.as_deref().unwrap_or(text.datamart);
                let part = self.named(datamart, &name.entity, period)?;
                (part, alias.as_ref().map_or(name.entity.clone(), |a| a.name.value.to_lowercase()))
            }
            TableFactor::Derived { subquery, alias, lateral: false, .. } => {
                let part = self.query(subquery, text, scope.outer)?;
                let alias = alias.as_ref().map(|a| a.name.value.to_lowercase());
                (part, alias.unwrap_or(format!("t{}", scope.sources.len())))
            }
            _ => return Err(Failure::Parsing),
        };
        let sql = format!("({}) AS {}", part.sql, quote(&alias));
        scope.sources.push(Source { alias, columns: part.columns });
        Ok(sql)
    }

    /// The rows of a named table, view or system view.
    fn named(
        &mut self,
        datamart: &str,
        name: &str,
        period: Option<&Period>,
    ) -> Result<Part, Failure> {
        if datamart.is_empty() {
            return Err(Failure::NoDatamartForTables);
        }
        if datamart == "information_schema" {
            self.system += 1;
            let (sql, json, columns) =
                system_views::plan(self.conn, name, self.parameters.len() + 1)?;
            self.parameters.push(json);
            return Ok(Part { sql, columns });
        }
        let entity = catalog::require(self.conn, datamart, name)?;
        match &entity.body {
            Body::View { text, .. } => {
                let selection = parse_text(text)?;
                let text = Text {
                    datamart: &entity.datamart,
                    periods: &selection.periods,
                    imposed: period,
                };
                self.query(&selection.query, text, None)
            }
            Body::External(_) => Err(Failure::NoSuchEntity(datamart.to_owned(), name.to_owned())),
            Body::Table(_) | Body::Matview { .. } => self.stored(&entity, period),
        }
    }

    fn stored(&mut self, entity: &Entity, period: Option<&Period>) -> Result<Part, Failure> {
        let matview = matches!(entity.body, Body::Matview { .. });
        let condition = if matview {
            self.matview_condition(period)?
        } else {
            deltas::condition(self.conn, &entity.datamart, period)?
        };
        let datasources = entity.table().map(|t| t.datasources.clone()).unwrap_or_default();
        self.tables.push(TableUse {
            datamart: entity.datamart.clone(),
            entity: entity.name.clone(),
            datasources,
        });
        let columns: Vec<OutColumn> = entity.columns().iter().map(OutColumn::from).collect();
        let names: Vec<_> = columns.iter().map(|c| quote(&c.name)).collect();
        let sql =
            format!("SELECT {} FROM {} WHERE {condition}", names.join(", "), entity.physical());
        Ok(Part { sql, columns })
    }

    /// A materialized view is never filled here, as on a node whose datasource cannot synchronise it.
    fn matview_condition(&self, period: Option<&Period>) -> Result<String, Failure> {
        match period {
            Some(Period::Started(_, to) | Period::Finished(_, to)) if self.unload => {
                Err(Failure::MatviewRange(*to))
            }
            _ => Ok("0".to_owned()),
        }
    }
}
