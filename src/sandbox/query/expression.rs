//! Owns expressions inside a SELECT: their SQL for the store and their logical types; never touches tables.

use sqlparser::ast::{
    BinaryOperator, CastKind, DataType, Expr, Function, FunctionArg, FunctionArgExpr,
    FunctionArguments, UnaryOperator, Value,
};

use super::clauses::quote;
use super::plan::{Planner, Text};
use super::scope::{OutColumn, Scope};
use crate::sandbox::failure::Failure;
use crate::sandbox::types::Kind;
use crate::sandbox::value;

/// A rendered expression.
pub(super) struct Piece {
    pub(super) sql: String,
    pub(super) kind: Kind,
    pub(super) size: Option<u32>,
    pub(super) nullable: bool,
    /// The name of the column when it is just one.
    pub(super) name: Option<String>,
    /// The text when it is a string literal, which dates may be compared to.
    literal: Option<String>,
}

impl Piece {
    fn new(sql: String, kind: Kind, nullable: bool) -> Self {
        Piece { sql, kind, size: None, nullable, name: None, literal: None }
    }

    pub(super) fn column(&self, name: String) -> OutColumn {
        OutColumn { name, kind: self.kind, size: self.size, nullable: self.nullable }
    }

    /// This operand as the other side of a comparison needs it: a text becomes a date beside a date.
    fn beside(&self, kind: Kind) -> Result<String, Failure> {
        match (&self.literal, kind) {
            (Some(text), Kind::Date | Kind::Time | Kind::Timestamp) => {
                Ok(value::temporal(kind, text)?.to_string())
            }
            _ => Ok(self.sql.clone()),
        }
    }
}

type Rendered = Result<Piece, Failure>;

impl Planner<'_> {
    pub(super) fn expr(&mut self, expr: &Expr, scope: &Scope<'_>, text: Text<'_>) -> Rendered {
        match expr {
            Expr::Identifier(ident) => column(scope, None, &ident.value),
            Expr::CompoundIdentifier(parts) => {
                let [.., table, name] = parts.as_slice() else {
                    return Err(Failure::Parsing);
                };
                column(scope, Some(&table.value.to_lowercase()), &name.value)
            }
            Expr::Value(value) => literal(&value.value),
            Expr::TypedString(typed) => {
                let kind = cast_kind(&typed.data_type)?;
                let text = typed.value.clone().into_string().ok_or(Failure::Parsing)?;
                Ok(Piece::new(value::temporal(kind, &text)?.to_string(), kind, false))
            }
            Expr::Nested(inner) => {
                let mut piece = self.expr(inner, scope, text)?;
                piece.sql = format!("({})", piece.sql);
                Ok(piece)
            }
            Expr::BinaryOp { left, op, right } => {
                let left = self.expr(left, scope, text)?;
                let right = self.expr(right, scope, text)?;
                binary(&left, op, &right)
            }
            Expr::UnaryOp { op, expr } => unary(*op, self.expr(expr, scope, text)?),
            Expr::Function(function) => self.function(function, scope, text),
            Expr::Cast { kind: CastKind::Cast, expr, data_type, .. } => {
                cast(self.expr(expr, scope, text)?, data_type)
            }
            other => self.condition(other, scope, text),
        }
    }

    /// Expressions that are true or false.
    fn condition(&mut self, expr: &Expr, scope: &Scope<'_>, text: Text<'_>) -> Rendered {
        let sql = match expr {
            Expr::IsNull(e) => format!("{} IS NULL", self.expr(e, scope, text)?.sql),
            Expr::IsNotNull(e) => format!("{} IS NOT NULL", self.expr(e, scope, text)?.sql),
            Expr::IsTrue(e) => format!("{} IS 1", self.expr(e, scope, text)?.sql),
            Expr::IsFalse(e) => format!("{} IS 0", self.expr(e, scope, text)?.sql),
            Expr::InList { expr, list, negated } => {
                let left = self.expr(expr, scope, text)?;
                let mut items = Vec::new();
                for item in list {
                    items.push(self.expr(item, scope, text)?.beside(left.kind)?);
                }
                format!("{} {}IN ({})", left.sql, not(*negated), items.join(", "))
            }
            Expr::InSubquery { expr, subquery, negated } => {
                let left = self.expr(expr, scope, text)?.sql;
                let part = self.query(subquery, text, Some(scope))?;
                format!("{left} {}IN ({})", not(*negated), part.sql)
            }
            Expr::Exists { subquery, negated } => {
                self.exists = true;
                let part = self.query(subquery, text, Some(scope))?;
                format!("{}EXISTS ({})", not(*negated), part.sql)
            }
            Expr::Between { expr, negated, low, high } => {
                let middle = self.expr(expr, scope, text)?;
                let low = self.expr(low, scope, text)?.beside(middle.kind)?;
                let high = self.expr(high, scope, text)?.beside(middle.kind)?;
                format!("{} {}BETWEEN {low} AND {high}", middle.sql, not(*negated))
            }
            Expr::Like { expr, negated, pattern, escape_char: None, any: false } => {
                let left = self.expr(expr, scope, text)?.sql;
                let pattern = self.expr(pattern, scope, text)?.sql;
                format!("{left} {}LIKE {pattern}", not(*negated))
            }
            other => return self.other(other, scope, text),
        };
        Ok(Piece::new(format!("({sql})"), Kind::Boolean, true))
    }

    fn other(&mut self, expr: &Expr, scope: &Scope<'_>, text: Text<'_>) -> Rendered {
        match expr {
            Expr::Subquery(query) => {
                let part = self.query(query, text, Some(scope))?;
                let first = part.columns.first().ok_or(Failure::Parsing)?;
                let mut piece = Piece::new(format!("({})", part.sql), first.kind, true);
                piece.size = first.size;
                Ok(piece)
            }
            Expr::Case { operand: None, conditions, else_result, .. } => {
                let mut sql = String::from("CASE");
                let mut result = None;
                for case in conditions {
                    let when = self.expr(&case.condition, scope, text)?;
                    let then = self.expr(&case.result, scope, text)?;
                    sql.push_str(&format!(" WHEN {} THEN {}", when.sql, then.sql));
                    result.get_or_insert(then);
                }
                if let Some(last) = else_result {
                    sql.push_str(&format!(" ELSE {}", self.expr(last, scope, text)?.sql));
                }
                let result = result.ok_or(Failure::Parsing)?;
                sql.push_str(" END");
                Ok(Piece { sql, nullable: true, name: None, literal: None, ..result })
            }
            other => Err(Failure::Unsupported(format!("{other} is not supported"))),
        }
    }

    fn function(&mut self, function: &Function, scope: &Scope<'_>, text: Text<'_>) -> Rendered {
        let name = function.name.to_string().to_uppercase();
        let FunctionArguments::List(list) = &function.args else {
            return Err(Failure::Parsing);
        };
        let distinct = if list.duplicate_treatment.is_some() { "DISTINCT " } else { "" };
        let mut args = Vec::new();
        for arg in &list.args {
            match arg {
                FunctionArg::Unnamed(FunctionArgExpr::Wildcard) if name == "COUNT" => {
                    return Ok(Piece::new("COUNT(*)".to_owned(), Kind::Bigint, false));
                }
                FunctionArg::Unnamed(FunctionArgExpr::Expr(e)) => {
                    args.push(self.expr(e, scope, text)?);
                }
                _ => return Err(Failure::Parsing),
            }
        }
        let kind = result_kind(&name, args.first())?;
        let sql: Vec<_> = args.iter().map(|a| a.sql.clone()).collect();
        let store_name = if name == "CHAR_LENGTH" { "LENGTH" } else { &name };
        let sql = format!("{store_name}({distinct}{})", sql.join(", "));
        Ok(Piece::new(sql, kind, name != "COUNT"))
    }

    pub(super) fn order_key(
        &mut self,
        expr: &Expr,
        scope: &Scope<'_>,
        output: &[OutColumn],
        text: Text<'_>,
    ) -> Result<String, Failure> {
        if let Expr::Identifier(ident) = expr {
            let found = output.iter().find(|c| c.name.eq_ignore_ascii_case(&ident.value));
            if let Some(column) = found {
                return Ok(quote(&column.name));
            }
        }
        Ok(self.expr(expr, scope, text)?.sql)
    }
}

fn not(negated: bool) -> &'static str {
    if negated { "NOT " } else { "" }
}

fn column(scope: &Scope<'_>, qualifier: Option<&str>, name: &str) -> Rendered {
    let (alias, column) = scope.find(qualifier, &name.to_lowercase())?;
    Ok(Piece {
        sql: format!("{}.{}", quote(alias), quote(&column.name)),
        kind: column.kind,
        size: column.size,
        nullable: column.nullable,
        name: Some(column.name.clone()),
        literal: None,
    })
}

fn literal(value: &Value) -> Rendered {
    match value {
        Value::Number(digits, _) => {
            let kind = match digits.parse::<i64>() {
                Ok(n) if i32::try_from(n).is_ok() => Kind::Int32,
                Ok(_) => Kind::Bigint,
                Err(_) => Kind::Double,
            };
            // Only digits the store also reads as a number may pass.
            digits.parse::<f64>().map_err(|_| Failure::Parsing)?;
            Ok(Piece::new(digits.clone(), kind, false))
        }
        Value::SingleQuotedString(text) => {
            let mut piece =
                Piece::new(format!("'{}'", text.replace('\'', "''")), Kind::Char, false);
            piece.size = u32::try_from(text.chars().count()).ok();
            piece.literal = Some(text.clone());
            Ok(piece)
        }
        Value::Boolean(b) => Ok(Piece::new(i32::from(*b).to_string(), Kind::Boolean, false)),
        Value::Null => Ok(Piece::new("NULL".to_owned(), Kind::Varchar, true)),
        _ => Err(Failure::Parsing),
    }
}

fn binary(left: &Piece, op: &BinaryOperator, right: &Piece) -> Rendered {
    use BinaryOperator as Op;
    let (l, r) = (left.beside(right.kind)?, right.beside(left.kind)?);
    let nullable = left.nullable || right.nullable;
    let (word, kind) = match op {
        Op::Eq | Op::NotEq | Op::Lt | Op::LtEq | Op::Gt | Op::GtEq | Op::And | Op::Or => {
            (op.to_string(), Kind::Boolean)
        }
        Op::Plus | Op::Minus | Op::Multiply | Op::Divide => {
            (op.to_string(), arithmetic(left.kind, right.kind))
        }
        Op::Modulo => ("%".to_owned(), arithmetic(left.kind, right.kind)),
        Op::StringConcat => ("||".to_owned(), Kind::Varchar),
        _ => return Err(Failure::Parsing),
    };
    Ok(Piece::new(format!("({l} {word} {r})"), kind, nullable))
}

fn arithmetic(left: Kind, right: Kind) -> Kind {
    match (left, right) {
        (Kind::Double | Kind::Float, _) | (_, Kind::Double | Kind::Float) => Kind::Double,
        (Kind::Int32, Kind::Int32) => Kind::Int32,
        _ => Kind::Bigint,
    }
}

fn unary(op: UnaryOperator, piece: Piece) -> Rendered {
    let (word, kind) = match op {
        UnaryOperator::Not => ("NOT ", Kind::Boolean),
        UnaryOperator::Minus => ("-", piece.kind),
        UnaryOperator::Plus => ("+", piece.kind),
        _ => return Err(Failure::Parsing),
    };
    Ok(Piece::new(format!("({word}{})", piece.sql), kind, piece.nullable))
}

fn cast_kind(data_type: &DataType) -> Result<Kind, Failure> {
    let text = data_type.to_string();
    let word = text.split(['(', ' ']).next().unwrap_or_default();
    Kind::from_word(word).ok_or_else(|| Failure::UnknownType(text.clone()))
}

fn cast(piece: Piece, data_type: &DataType) -> Rendered {
    let kind = cast_kind(data_type)?;
    let sql = match kind {
        Kind::Int | Kind::Int32 | Kind::Bigint | Kind::Boolean => {
            format!("CAST({} AS INTEGER)", piece.sql)
        }
        Kind::Float | Kind::Double => format!("CAST({} AS REAL)", piece.sql),
        Kind::Date | Kind::Time | Kind::Timestamp => piece.beside(kind)?,
        _ => format!("CAST({} AS TEXT)", piece.sql),
    };
    Ok(Piece::new(sql, kind, piece.nullable))
}

fn result_kind(name: &str, first: Option<&Piece>) -> Result<Kind, Failure> {
    let given = first.map_or(Kind::Varchar, |p| p.kind);
    Ok(match name {
        "COUNT" | "LENGTH" | "CHAR_LENGTH" => Kind::Bigint,
        "SUM" if matches!(given, Kind::Float | Kind::Double) => Kind::Double,
        "SUM" => Kind::Bigint,
        "AVG" => Kind::Double,
        "MIN" | "MAX" | "COALESCE" | "ABS" | "NULLIF" => given,
        "UPPER" | "LOWER" => Kind::Varchar,
        _ => {
            return Err(Failure::Unsupported(format!("No match found for function {name}")));
        }
    })
}
