//! Owns reading a statement token by token; never knows what a statement means.

use sqlparser::dialect::GenericDialect;
use sqlparser::tokenizer::{Token, Tokenizer};

use super::failure::Failure;

/// The tokens of one statement without white space, and a place among them.
#[derive(Debug, Clone)]
pub(crate) struct Cursor {
    tokens: Vec<Token>,
    at: usize,
}

type Parsed<T> = Result<T, Failure>;

impl Cursor {
    /// Splits a statement.
    pub(crate) fn new(sql: &str) -> Parsed<Self> {
        let tokens =
            Tokenizer::new(&GenericDialect {}, sql).tokenize().map_err(|_| Failure::Parsing)?;
        let tokens = tokens.into_iter().filter(|t| !matches!(t, Token::Whitespace(_))).collect();
        Ok(Cursor { tokens, at: 0 })
    }

    pub(crate) fn peek(&self, ahead: usize) -> Option<&Token> {
        self.tokens.get(self.at + ahead)
    }

    /// The unquoted word `ahead` places on, upper-cased.
    pub(crate) fn peek_word(&self, ahead: usize) -> Option<String> {
        match self.peek(ahead) {
            Some(Token::Word(w)) if w.quote_style.is_none() => Some(w.value.to_ascii_uppercase()),
            _ => None,
        }
    }

    /// Whether the next words are these.
    pub(crate) fn sees(&self, words: &[&str]) -> bool {
        words.iter().enumerate().all(|(i, word)| self.peek_word(i).as_deref() == Some(*word))
    }

    /// Steps over these words if they come next.
    pub(crate) fn accept(&mut self, words: &[&str]) -> bool {
        let seen = self.sees(words);
        if seen {
            self.at += words.len();
        }
        seen
    }

    pub(crate) fn expect(&mut self, words: &[&str]) -> Parsed<()> {
        if self.accept(words) { Ok(()) } else { Err(Failure::Parsing) }
    }

    pub(crate) fn accept_token(&mut self, token: &Token) -> bool {
        let seen = self.peek(0) == Some(token);
        if seen {
            self.at += 1;
        }
        seen
    }

    pub(crate) fn expect_token(&mut self, token: &Token) -> Parsed<()> {
        if self.accept_token(token) { Ok(()) } else { Err(Failure::Parsing) }
    }

    /// An identifier, lower-cased whether quoted or not.
    pub(crate) fn identifier(&mut self) -> Parsed<String> {
        let Some(Token::Word(w)) = self.peek(0) else {
            return Err(Failure::Parsing);
        };
        if w.value.is_empty() || matches!(w.quote_style, Some(q) if q != '"') {
            return Err(Failure::Parsing);
        }
        let name = w.value.to_lowercase();
        self.at += 1;
        Ok(name)
    }

    /// `[datamart.]name`
    pub(crate) fn qualified(&mut self) -> Parsed<(Option<String>, String)> {
        let first = self.identifier()?;
        if self.accept_token(&Token::Period) {
            return Ok((Some(first), self.identifier()?));
        }
        Ok((None, first))
    }

    pub(crate) fn peek_string(&self) -> Option<&str> {
        match self.peek(0) {
            Some(Token::SingleQuotedString(s)) => Some(s),
            _ => None,
        }
    }

    pub(crate) fn string(&mut self) -> Parsed<String> {
        let text = self.peek_string().map(str::to_owned).ok_or(Failure::Parsing)?;
        self.at += 1;
        Ok(text)
    }

    /// A whole number with an optional minus.
    pub(crate) fn integer(&mut self) -> Parsed<i64> {
        let minus = self.accept_token(&Token::Minus);
        let Some(Token::Number(digits, _)) = self.peek(0) else {
            return Err(Failure::Parsing);
        };
        let text = if minus { format!("-{digits}") } else { digits.clone() };
        let number = text.parse().map_err(|_| Failure::Parsing)?;
        self.at += 1;
        Ok(number)
    }

    /// A number as written, without its sign.
    pub(crate) fn number(&mut self) -> Parsed<String> {
        let Some(Token::Number(digits, _)) = self.peek(0) else {
            return Err(Failure::Parsing);
        };
        let digits = digits.clone();
        self.at += 1;
        Ok(digits)
    }

    /// `( item, item, ... )`
    pub(crate) fn list<T>(
        &mut self,
        mut item: impl FnMut(&mut Cursor) -> Parsed<T>,
    ) -> Parsed<Vec<T>> {
        self.expect_token(&Token::LParen)?;
        let mut items = vec![item(self)?];
        while self.accept_token(&Token::Comma) {
            items.push(item(self)?);
        }
        self.expect_token(&Token::RParen)?;
        Ok(items)
    }

    /// Fails unless everything was read.
    pub(crate) fn end(&self) -> Parsed<()> {
        if self.at == self.tokens.len() { Ok(()) } else { Err(Failure::Parsing) }
    }

    /// Everything not read yet.
    pub(crate) fn rest(&mut self) -> Vec<Token> {
        let at = self.at.min(self.tokens.len());
        self.at = at;
        self.tokens.split_off(at)
    }
}
