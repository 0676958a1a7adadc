//! The columns that a CREATE TABLE of the changelog makes (PROSTORE.md 4): what the rows of the
//! table must be. Reads the node's own spelling of statements; never judges one.

use sqlparser::dialect::GenericDialect;
use sqlparser::tokenizer::{Token, Tokenizer};

use crate::model::{Column, ColumnType};

/// What a record of the changelog does to tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Definition {
    /// It creates a table with these columns.
    Table(Vec<Column>),
    /// It creates a table in words that are not understood here.
    Unknown,
    /// It creates no table.
    Other,
}

/// Reads a statement.
pub(super) fn read(statement: &str) -> Definition {
    let Ok(tokens) = Tokenizer::new(&GenericDialect {}, statement).tokenize() else {
        return Definition::Unknown;
    };
    let mut words = Words { tokens: without_space(tokens), at: 0 };
    if !(words.accept("CREATE") && words.accept("TABLE")) {
        return Definition::Other;
    }
    words.columns().map_or(Definition::Unknown, Definition::Table)
}

fn without_space(mut tokens: Vec<Token>) -> Vec<Token> {
    tokens.retain(|token| !matches!(token, Token::Whitespace(_)));
    tokens
}

/// The tokens of a statement and a place among them.
struct Words {
    tokens: Vec<Token>,
    at: usize,
}

impl Words {
    fn next(&mut self) -> Option<&Token> {
        self.at += 1;
        self.tokens.get(self.at - 1)
    }

    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    fn accept(&mut self, word: &str) -> bool {
        let is_it =
            matches!(self.peek(), Some(Token::Word(w)) if w.value.eq_ignore_ascii_case(word));
        self.at += usize::from(is_it);
        is_it
    }

    fn word(&mut self) -> Option<String> {
        match self.next()? {
            Token::Word(word) => Some(word.value.to_lowercase()),
            _ => None,
        }
    }

    /// `[IF NOT EXISTS] [datamart.]name (column, ..., PRIMARY KEY (...)) ...`
    fn columns(&mut self) -> Option<Vec<Column>> {
        let _optional = self.accept("IF") && self.accept("NOT") && self.accept("EXISTS");
        self.word()?;
        if self.peek() == Some(&Token::Period) {
            self.at += 1;
            self.word()?;
        }
        (self.next()? == &Token::LParen).then_some(())?;
        let mut columns = Vec::new();
        loop {
            let name = self.word()?;
            // A column could be called so, but then a type follows.
            if name != "primary" || !self.accept("KEY") {
                let kind = self.kind()?;
                columns.push(Column { name, kind });
            }
            if !self.item_ends()? {
                return Some(columns);
            }
        }
    }

    fn kind(&mut self) -> Option<ColumnType> {
        let word = self.word()?;
        let sized = self.peek() == Some(&Token::LParen);
        let size = match self.tokens.get(self.at + 1) {
            Some(Token::Number(digits, _)) if sized => digits.parse().ok(),
            _ => None,
        };
        Some(match word.as_str() {
            "boolean" => ColumnType::Boolean,
            "int32" => ColumnType::Int32,
            "int" | "integer" => ColumnType::Int,
            "bigint" => ColumnType::Bigint,
            "float" => ColumnType::Float,
            "double" => ColumnType::Double,
            "char" | "character" => ColumnType::Char(size.unwrap_or(1)),
            "varchar" => ColumnType::Varchar(size),
            "uuid" => ColumnType::Uuid,
            "link" => ColumnType::Link,
            "date" => ColumnType::Date,
            "time" => ColumnType::Time(size),
            "timestamp" => ColumnType::Timestamp(size),
            _ => return None,
        })
    }

    /// Steps over the rest of an item; true where another one follows.
    fn item_ends(&mut self) -> Option<bool> {
        let mut depth = 0;
        loop {
            match self.next()? {
                Token::LParen => depth += 1,
                Token::RParen if depth == 0 => return Some(false),
                Token::RParen => depth -= 1,
                Token::Comma if depth == 0 => return Some(true),
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::row_schema;

    fn names(statement: &str) -> Vec<String> {
        let Definition::Table(columns) = read(statement) else { return Vec::new() };
        columns.into_iter().map(|column| column.name).collect()
    }

    #[test]
    fn statements_as_the_node_prints_them_are_read() {
        // Recorded from a node of version 5.5.
        let statement = "CREATE TABLE sourcedb.comp (k1 int NOT NULL, k2 VARCHAR(20) NOT NULL, \
            v TIMESTAMP(6), u uuid, PRIMARY KEY (k1, k2)) DISTRIBUTED BY (k1) \
            DATASOURCE_TYPE (adp)";
        assert_eq!(names(statement), ["k1", "k2", "v", "u"]);
        let Definition::Table(columns) = read(statement) else { panic!("not read") };
        let schema = row_schema(&columns);
        let wanted = [
            ("k1", ColumnType::Int),
            ("k2", ColumnType::Varchar(Some(20))),
            ("v", ColumnType::Timestamp(Some(6))),
            ("u", ColumnType::Uuid),
        ];
        let wanted = wanted.map(|(name, kind)| Column { name: name.into(), kind });
        assert_eq!(schema, row_schema(&wanted));
    }

    #[test]
    fn other_statements_create_no_table_and_odd_ones_are_said_to_be_odd() {
        for other in ["DROP TABLE a.b", "CREATE VIEW a.v AS\nSELECT id\nFROM a.b", "ALTER VIEW a.v"]
        {
            assert_eq!(read(other), Definition::Other, "{other}");
        }
        for odd in
            ["CREATE TABLE a.b (id money)", "CREATE TABLE a.b AS SELECT 1", "CREATE TABLE a."]
        {
            assert_eq!(read(odd), Definition::Unknown, "{odd}");
        }
        assert_eq!(
            names("CREATE TABLE IF NOT EXISTS b (id bigint, primary int)"),
            ["id", "primary"]
        );
    }
}
