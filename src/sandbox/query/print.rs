//! Owns the normalised text of a SELECT, as the node's changelog and error texts show it; never checks names.

use sqlparser::ast::{
    BinaryOperator, DataType, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments,
    GroupByExpr, Ident, Join, JoinConstraint, JoinOperator, LimitClause, OrderBy, OrderByKind,
    Query, Select, SelectItem, SetExpr, SetOperator, SetQuantifier, TableFactor, TableWithJoins,
    UnaryOperator, Value,
};

use super::period::split_name;

/// How identifiers are quoted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Quoting {
    None,
    Backticks,
}

/// Prints a query; tables without a datamart get `datamart`.
pub(crate) fn print(query: &Query, datamart: &str, quoting: Quoting) -> String {
    Printer { datamart, quoting }.query(query)
}

struct Printer<'a> {
    datamart: &'a str,
    quoting: Quoting,
}

impl Printer<'_> {
    fn name(&self, name: &str) -> String {
        let name = name.to_lowercase();
        match self.quoting {
            Quoting::None => name,
            Quoting::Backticks => format!("`{name}`"),
        }
    }

    fn ident(&self, ident: &Ident) -> String {
        self.name(&ident.value)
    }

    fn query(&self, query: &Query) -> String {
        let mut text = self.set(&query.body);
        if let Some(order) = &query.order_by {
            text.push_str(&self.order(order));
        }
        if let Some(limit) = &query.limit_clause {
            text.push_str(&self.limit(limit));
        }
        text
    }

    fn order(&self, order: &OrderBy) -> String {
        let OrderByKind::Expressions(items) = &order.kind else {
            return String::new();
        };
        let items = items.iter().map(|item| format!("{}{}", self.expr(&item.expr), item.options));
        format!("\nORDER BY {}", items.collect::<Vec<_>>().join(", "))
    }

    fn limit(&self, limit: &LimitClause) -> String {
        let LimitClause::LimitOffset { limit, offset, .. } = limit else {
            return String::new();
        };
        let mut text = String::new();
        if let Some(offset) = offset {
            text.push_str(&format!("\nOFFSET {} ROWS", self.expr(&offset.value)));
        }
        if let Some(limit) = limit {
            text.push_str(&format!("\nFETCH NEXT {} ROWS ONLY", self.expr(limit)));
        }
        text
    }

    fn set(&self, set: &SetExpr) -> String {
        match set {
            SetExpr::Select(select) => self.select(select),
            SetExpr::Query(query) => format!("({})", self.query(query)),
            SetExpr::SetOperation { left, op, set_quantifier, right } => {
                let op = match op {
                    SetOperator::Union => "UNION",
                    SetOperator::Intersect => "INTERSECT",
                    _ => "EXCEPT",
                };
                let all = if *set_quantifier == SetQuantifier::All { " ALL" } else { "" };
                format!("{}\n{op}{all}\n{}", self.set(left), self.set(right))
            }
            other => other.to_string(),
        }
    }

    fn select(&self, select: &Select) -> String {
        let items: Vec<_> = select.projection.iter().map(|item| self.item(item)).collect();
        let distinct = if select.distinct.is_some() { "DISTINCT " } else { "" };
        let mut text = format!("SELECT {distinct}{}", items.join(", "));
        if !select.from.is_empty() {
            let from: Vec<_> = select.from.iter().map(|t| self.joined(t)).collect();
            text.push_str(&format!("\nFROM {}", from.join(",\n")));
        }
        if let Some(condition) = &select.selection {
            text.push_str(&format!("\nWHERE {}", self.expr(condition)));
        }
        if let GroupByExpr::Expressions(keys, _) = &select.group_by
            && !keys.is_empty()
        {
            text.push_str(&format!("\nGROUP BY {}", self.list(keys)));
        }
        if let Some(condition) = &select.having {
            text.push_str(&format!("\nHAVING {}", self.expr(condition)));
        }
        text
    }

    fn item(&self, item: &SelectItem) -> String {
        match item {
            SelectItem::UnnamedExpr(expr) => self.expr(expr),
            SelectItem::ExprWithAlias { expr, alias } => {
                format!("{} AS {}", self.expr(expr), self.ident(alias))
            }
            other => other.to_string(),
        }
    }

    fn joined(&self, table: &TableWithJoins) -> String {
        let mut text = self.table(&table.relation);
        for join in &table.joins {
            text.push_str(&self.join(join));
        }
        text
    }

    fn join(&self, join: &Join) -> String {
        let (word, constraint) = match &join.join_operator {
            JoinOperator::Join(c) | JoinOperator::Inner(c) => ("INNER JOIN", Some(c)),
            JoinOperator::Left(c) | JoinOperator::LeftOuter(c) => ("LEFT JOIN", Some(c)),
            JoinOperator::Right(c) | JoinOperator::RightOuter(c) => ("RIGHT JOIN", Some(c)),
            JoinOperator::FullOuter(c) => ("FULL JOIN", Some(c)),
            _ => ("CROSS JOIN", None),
        };
        let on = match constraint {
            Some(JoinConstraint::On(condition)) => format!(" ON {}", self.expr(condition)),
            _ => String::new(),
        };
        format!("\n{word} {}{on}", self.table(&join.relation))
    }

    fn table(&self, table: &TableFactor) -> String {
        match table {
            TableFactor::Table { name, alias, .. } => {
                let Ok(name) = split_name(name) else {
                    return table.to_string();
                };
                let datamart = name.datamart.as_deref().unwrap_or(self.datamart);
                let mut text = format!("{}.{}", self.name(datamart), self.name(&name.entity));
                if let Some(alias) = alias {
                    text.push_str(&format!(" AS {}", self.ident(&alias.name)));
                }
                text
            }
            TableFactor::Derived { subquery, alias, .. } => {
                let alias = alias.as_ref().map(|a| format!(" AS {}", self.ident(&a.name)));
                format!("({}){}", self.query(subquery), alias.unwrap_or_default())
            }
            other => other.to_string(),
        }
    }

    fn list(&self, items: &[Expr]) -> String {
        items.iter().map(|item| self.expr(item)).collect::<Vec<_>>().join(", ")
    }

    fn expr(&self, expr: &Expr) -> String {
        match expr {
            Expr::Identifier(ident) => self.ident(ident),
            Expr::CompoundIdentifier(parts) => {
                parts.iter().map(|p| self.ident(p)).collect::<Vec<_>>().join(".")
            }
            Expr::Value(value) => literal(&value.value),
            Expr::BinaryOp { left, op, right } => {
                let op =
                    if *op == BinaryOperator::NotEq { "<>".to_owned() } else { op.to_string() };
                format!("{} {op} {}", self.expr(left), self.expr(right))
            }
            Expr::UnaryOp { op, expr } => match op {
                UnaryOperator::Not => format!("NOT {}", self.expr(expr)),
                op => format!("{op}{}", self.expr(expr)),
            },
            Expr::Nested(inner) => format!("({})", self.expr(inner)),
            Expr::Cast { expr, data_type, .. } => {
                format!("CAST({} AS {})", self.expr(expr), self.data_type(data_type))
            }
            Expr::Function(function) => self.function(function),
            Expr::Subquery(query) => format!("({})", self.query(query)),
            other => self.predicate(other),
        }
    }

    fn predicate(&self, expr: &Expr) -> String {
        match expr {
            Expr::IsNull(inner) => format!("{} IS NULL", self.expr(inner)),
            Expr::IsNotNull(inner) => format!("{} IS NOT NULL", self.expr(inner)),
            Expr::InList { expr, list, negated } => {
                let not = if *negated { "NOT " } else { "" };
                format!("{} {not}IN ({})", self.expr(expr), self.list(list))
            }
            Expr::InSubquery { expr, subquery, negated } => {
                let not = if *negated { "NOT " } else { "" };
                format!("{} {not}IN ({})", self.expr(expr), self.query(subquery))
            }
            Expr::Between { expr, negated, low, high } => {
                let not = if *negated { "NOT " } else { "" };
                let (low, high) = (self.expr(low), self.expr(high));
                format!("{} {not}BETWEEN ASYMMETRIC {low} AND {high}", self.expr(expr))
            }
            other => other.to_string(),
        }
    }

    /// Types that only this product knows are printed as names.
    fn data_type(&self, data_type: &DataType) -> String {
        let text = data_type.to_string();
        match text.to_ascii_uppercase().as_str() {
            "INT" | "INTEGER" | "INT32" | "UUID" | "LINK" => self.name(&text),
            upper => upper.to_owned(),
        }
    }

    fn function(&self, function: &Function) -> String {
        let FunctionArguments::List(list) = &function.args else {
            return function.to_string();
        };
        let distinct = list.duplicate_treatment.map(|d| format!("{d} ")).unwrap_or_default();
        let args = list.args.iter().map(|arg| match arg {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => self.expr(expr),
            other => other.to_string(),
        });
        let name = function.name.to_string().to_uppercase();
        format!("{name}({distinct}{})", args.collect::<Vec<_>>().join(", "))
    }
}

fn literal(value: &Value) -> String {
    match value {
        Value::Boolean(true) => "TRUE".to_owned(),
        Value::Boolean(false) => "FALSE".to_owned(),
        Value::SingleQuotedString(text) => format!("'{}'", text.replace('\'', "''")),
        other => other.to_string(),
    }
}
