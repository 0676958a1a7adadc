//! Owns SELECT: its parts that SQL parsers do not know and the parsed rest; never runs one.

mod clauses;
mod expression;
mod period;
mod plan;
mod print;
mod scope;

use sqlparser::ast::{Expr, Query, SelectItem, SetExpr, TableFactor};
use sqlparser::dialect::GenericDialect;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::Token;

use super::failure::Failure;
pub(crate) use period::Period;
pub(crate) use plan::{Plan, Planner};
pub(crate) use print::{Quoting, print};
pub(crate) use scope::OutColumn;

/// A parsed SELECT.
#[derive(Debug, Clone)]
pub(crate) struct Selection {
    pub(crate) query: Query,
    /// The FOR SYSTEM_TIME clauses; table names in `query` carry their index.
    pub(crate) periods: Vec<Period>,
    /// DATASOURCE_TYPE, upper-cased.
    pub(crate) datasource: Option<String>,
    pub(crate) estimate: bool,
}

/// Parses the tokens of a SELECT to their end.
pub(crate) fn parse(mut tokens: Vec<Token>) -> Result<Selection, Failure> {
    let estimate = pop_word(&mut tokens, "ESTIMATE_ONLY");
    let datasource = pop_datasource(&mut tokens);
    if tokens.iter().any(|t| is_word(t, "DATASOURCE_TYPE")) {
        return Err(Failure::Parsing);
    }
    let (tokens, periods) = period::extract(tokens)?;
    let mut parser = Parser::new(&GenericDialect {}).with_tokens(tokens);
    let query = parser.parse_query().map_err(|_| Failure::Parsing)?;
    if parser.peek_token().token != Token::EOF {
        return Err(Failure::Parsing);
    }
    Ok(Selection { query: *query, periods, datasource, estimate })
}

/// Parses SELECT text that the node itself printed, such as the body of a view.
pub(crate) fn parse_text(sql: &str) -> Result<Selection, Failure> {
    parse(super::cursor::Cursor::new(sql)?.rest())
}

impl Selection {
    /// The only table of a query without joins or set operations, without its datamart.
    pub(crate) fn single_table(&self) -> Option<(Option<String>, String)> {
        let SetExpr::Select(select) = self.query.body.as_ref() else {
            return None;
        };
        let [only] = select.from.as_slice() else {
            return None;
        };
        match &only.relation {
            TableFactor::Table { name, .. } if only.joins.is_empty() => {
                period::split_name(name).ok().map(|n| (n.datamart, n.entity))
            }
            _ => None,
        }
    }
}

/// A number the PostgreSQL reader hands over as an int although the column says otherwise:
/// a literal cast to a 64-bit type.
pub(crate) fn narrow_literal(selection: &Selection) -> Option<String> {
    let SetExpr::Select(select) = selection.query.body.as_ref() else {
        return None;
    };
    select.projection.iter().find_map(|item| {
        let (SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. }) = item else {
            return None;
        };
        let Expr::Cast { expr, data_type, .. } = expr else {
            return None;
        };
        let wide = ["BIGINT", "INT", "INTEGER"].contains(&data_type.to_string().as_str());
        match expr.as_ref() {
            Expr::Value(value) if wide => Some(value.to_string()),
            _ => None,
        }
    })
}

fn is_word(token: &Token, word: &str) -> bool {
    matches!(token, Token::Word(w) if w.quote_style.is_none() && w.value.eq_ignore_ascii_case(word))
}

fn pop_word(tokens: &mut Vec<Token>, word: &str) -> bool {
    let seen = tokens.last().is_some_and(|t| is_word(t, word));
    if seen {
        tokens.pop();
    }
    seen
}

fn pop_datasource(tokens: &mut Vec<Token>) -> Option<String> {
    let [.., word, Token::Eq, Token::SingleQuotedString(name)] = tokens.as_slice() else {
        return None;
    };
    if !is_word(word, "DATASOURCE_TYPE") {
        return None;
    }
    let name = name.to_uppercase();
    tokens.truncate(tokens.len() - 3);
    Some(name)
}
