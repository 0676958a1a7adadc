//! Owns the FOR SYSTEM_TIME clause: reading it out of the tokens and tying it to its table; never looks up a delta.

use sqlparser::ast::ObjectName;
use sqlparser::tokenizer::Token;

use super::is_word;
use crate::sandbox::failure::Failure;

/// Which row versions a table gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Period {
    AsOfNumber(i64),
    AsOfDate(String),
    LatestUncommitted,
    Started(i64, i64),
    Finished(i64, i64),
}

/// A table name with the index of its period.
#[derive(Debug, Clone)]
pub(crate) struct MarkedName {
    pub(crate) datamart: Option<String>,
    pub(crate) entity: String,
    pub(crate) period: Option<usize>,
}

/// Separates a table name from the index of its period; cannot be typed into a name, see `extract`.
const MARK: char = '\u{1}';

/// Takes the clauses out of the tokens and marks the table names before them.
pub(super) fn extract(tokens: Vec<Token>) -> Result<(Vec<Token>, Vec<Period>), Failure> {
    let mut out: Vec<Token> = Vec::with_capacity(tokens.len());
    let mut periods = Vec::new();
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        if matches!(token, Token::Word(w) if w.value.contains(MARK)) {
            return Err(Failure::Parsing);
        }
        let next = tokens.get(at + 1);
        if is_word(token, "FOR") && next.is_some_and(|t| is_word(t, "SYSTEM_TIME")) {
            let (period, used) = read(tokens.get(at + 2..).unwrap_or_default())?;
            let Some(Token::Word(name)) = out.last_mut() else {
                return Err(Failure::Parsing);
            };
            name.value = format!("{}{MARK}{}", name.value, periods.len());
            name.quote_style = Some('"');
            periods.push(period);
            at += 2 + used;
        } else {
            out.push(token.clone());
            at += 1;
        }
    }
    Ok((out, periods))
}

/// Reads a period and the number of tokens it took.
fn read(tokens: &[Token]) -> Result<(Period, usize), Failure> {
    let word = |i: usize, text: &str| tokens.get(i).is_some_and(|t| is_word(t, text));
    if word(0, "AS") && word(1, "OF") {
        return match tokens.get(2) {
            Some(Token::SingleQuotedString(date)) => Ok((Period::AsOfDate(date.clone()), 3)),
            Some(t) if is_word(t, "LATEST_UNCOMMITTED_DELTA") => Ok((Period::LatestUncommitted, 3)),
            Some(t) if is_word(t, "DELTA_NUM") => {
                Ok((Period::AsOfNumber(number(tokens.get(3))?), 4))
            }
            _ => Err(Failure::Parsing),
        };
    }
    let shape = (tokens.get(2), tokens.get(4), tokens.get(6));
    let framed = matches!(shape, (Some(Token::LParen), Some(Token::Comma), Some(Token::RParen)));
    if !word(1, "IN") || !framed {
        return Err(Failure::Parsing);
    }
    let (from, to) = (number(tokens.get(3))?, number(tokens.get(5))?);
    if to < from {
        return Err(Failure::Parsing);
    }
    if word(0, "STARTED") {
        Ok((Period::Started(from, to), 7))
    } else if word(0, "FINISHED") {
        Ok((Period::Finished(from, to), 7))
    } else {
        Err(Failure::Parsing)
    }
}

fn number(token: Option<&Token>) -> Result<i64, Failure> {
    match token {
        Some(Token::Number(digits, _)) => digits.parse().map_err(|_| Failure::Parsing),
        _ => Err(Failure::Parsing),
    }
}

/// Splits a table name of the parsed query into its parts.
pub(crate) fn split_name(name: &ObjectName) -> Result<MarkedName, Failure> {
    let mut parts = Vec::new();
    for part in &name.0 {
        let ident = part.as_ident().ok_or(Failure::Parsing)?;
        parts.push(ident.value.to_lowercase());
    }
    let last = parts.pop().ok_or(Failure::Parsing)?;
    let (entity, period) = match last.split_once(MARK) {
        Some((entity, index)) => (entity.to_owned(), index.parse().ok()),
        None => (last, None),
    };
    let datamart = parts.pop();
    if parts.is_empty() {
        Ok(MarkedName { datamart, entity, period })
    } else {
        Err(Failure::Parsing)
    }
}
