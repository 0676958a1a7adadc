//! Owns the clauses of a SELECT that hold no tables: its columns, grouping, order and limit; never the FROM clause.

use sqlparser::ast::{
    GroupByExpr, LimitClause, OrderBy, OrderByKind, Select, SelectItem,
    SelectItemQualifiedWildcardKind, SetOperator,
};

use super::period::split_name;
use super::plan::{Part, Planner, Text};
use super::scope::{OutColumn, Scope, Source};
use crate::sandbox::failure::Failure;

impl Planner<'_> {
    pub(super) fn order(
        &mut self,
        order: &OrderBy,
        scope: &Scope<'_>,
        output: &[OutColumn],
        text: Text<'_>,
    ) -> Result<String, Failure> {
        let OrderByKind::Expressions(items) = &order.kind else {
            return Err(Failure::Parsing);
        };
        let mut keys = Vec::new();
        for item in items {
            let key = self.order_key(&item.expr, scope, output, text)?;
            keys.push(format!("{key}{}", item.options));
        }
        Ok(format!(" ORDER BY {}", keys.join(", ")))
    }

    pub(super) fn grouping(
        &mut self,
        select: &Select,
        scope: &Scope<'_>,
        text: Text<'_>,
    ) -> Result<String, Failure> {
        let GroupByExpr::Expressions(keys, _) = &select.group_by else {
            return Err(Failure::Parsing);
        };
        let mut sql = String::new();
        if !keys.is_empty() {
            let keys: Result<Vec<_>, _> =
                keys.iter().map(|k| self.expr(k, scope, text).map(|p| p.sql)).collect();
            sql.push_str(&format!(" GROUP BY {}", keys?.join(", ")));
        }
        if let Some(condition) = &select.having {
            sql.push_str(&format!(" HAVING {}", self.expr(condition, scope, text)?.sql));
        }
        Ok(sql)
    }

    pub(super) fn projection(
        &mut self,
        items: &[SelectItem],
        scope: &Scope<'_>,
        text: Text<'_>,
    ) -> Result<(Vec<String>, Vec<OutColumn>), Failure> {
        let mut sql = Vec::new();
        let mut columns = Vec::new();
        for item in items {
            let (expr, alias) = match item {
                SelectItem::UnnamedExpr(expr) => (expr, None),
                SelectItem::ExprWithAlias { expr, alias } => (expr, Some(alias)),
                SelectItem::Wildcard(_) => {
                    expand(&scope.sources, &mut sql, &mut columns);
                    continue;
                }
                SelectItem::QualifiedWildcard(kind, _) => {
                    let sources = [qualified_source(kind, scope)?];
                    expand(&sources, &mut sql, &mut columns);
                    continue;
                }
                _ => return Err(Failure::Parsing),
            };
            let piece = self.expr(expr, scope, text)?;
            let name = match alias {
                Some(alias) => alias.value.to_lowercase(),
                None => piece.name.clone().unwrap_or(format!("EXPR${}", columns.len())),
            };
            sql.push(format!("{} AS {}", piece.sql, quote(&name)));
            columns.push(piece.column(name));
        }
        Ok((sql, columns))
    }
}

/// Double-quotes an identifier for the store.
pub(super) fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn expand(sources: &[Source], sql: &mut Vec<String>, columns: &mut Vec<OutColumn>) {
    for source in sources {
        for column in &source.columns {
            let name = quote(&column.name);
            sql.push(format!("{}.{name} AS {name}", quote(&source.alias)));
            columns.push(column.clone());
        }
    }
}

fn qualified_source(
    kind: &SelectItemQualifiedWildcardKind,
    scope: &Scope<'_>,
) -> Result<Source, Failure> {
    let SelectItemQualifiedWildcardKind::ObjectName(name) = kind else {
        return Err(Failure::Parsing);
    };
    let alias = split_name(name)?.entity;
    let source = scope.sources.iter().find(|s| s.alias == alias);
    source.cloned().ok_or(Failure::NoSuchColumn(alias))
}

pub(super) fn combine(
    left: Part,
    right: Part,
    op: SetOperator,
    all: bool,
) -> Result<Part, Failure> {
    if left.columns.len() != right.columns.len() {
        return Err(Failure::Unsupported("Column count mismatch in set operation".to_owned()));
    }
    let word = match (op, all) {
        (SetOperator::Union, true) => "UNION ALL",
        (SetOperator::Union, false) => "UNION",
        (SetOperator::Intersect, false) => "INTERSECT",
        (SetOperator::Except, false) => "EXCEPT",
        _ => return Err(Failure::Parsing),
    };
    let mut columns = left.columns;
    for (column, other) in columns.iter_mut().zip(&right.columns) {
        column.nullable |= other.nullable;
    }
    let sql = format!("SELECT * FROM ({}) {word} SELECT * FROM ({})", left.sql, right.sql);
    Ok(Part { sql, columns })
}

pub(super) fn limit_sql(limit: &LimitClause) -> Result<String, Failure> {
    let LimitClause::LimitOffset { limit, offset, .. } = limit else {
        return Err(Failure::Parsing);
    };
    let number =
        |e: &sqlparser::ast::Expr| e.to_string().parse::<u64>().map_err(|_| Failure::Parsing);
    let limit = limit.as_ref().map(number).transpose()?;
    let offset = offset.as_ref().map(|o| number(&o.value)).transpose()?;
    let limit = limit.map_or("-1".to_owned(), |n| n.to_string());
    Ok(format!(" LIMIT {limit} OFFSET {}", offset.unwrap_or(0)))
}
