//! Owns the grammar of SQL+ statements other than table definitions and SELECT; never executes one.

use sqlparser::tokenizer::Token;

use super::cursor::Cursor;
use super::definition::{self, Definition};
use super::failure::Failure;
use super::query::{self, Selection};

/// A table name, with the datamart when it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Name {
    pub(crate) datamart: Option<String>,
    pub(crate) entity: String,
}

impl Name {
    pub(crate) fn read(cursor: &mut Cursor) -> Result<Self, Failure> {
        let (datamart, entity) = cursor.qualified()?;
        Ok(Name { datamart, entity })
    }
}

/// The arguments of CHECK_SUM and CHECK_SUM_SNAPSHOT.
#[derive(Debug, Clone)]
pub(crate) struct SumRequest {
    pub(crate) delta: i64,
    pub(crate) normalization: i64,
    pub(crate) table: Option<Name>,
    pub(crate) columns: Option<Vec<String>>,
    pub(crate) snapshot: bool,
}

/// One cell of a VALUES row.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Literal {
    Null,
    Boolean(bool),
    Number(String),
    Text(String),
}

/// INSERT or UPSERT with literal rows.
#[derive(Debug, Clone)]
pub(crate) struct Values {
    pub(crate) table: Name,
    pub(crate) columns: Option<Vec<String>>,
    pub(crate) rows: Vec<Vec<Literal>>,
    pub(crate) upsert: bool,
}

/// A parsed statement.
#[derive(Debug, Clone)]
pub(crate) enum Statement {
    BeginDelta(Option<i64>),
    CommitDelta(Option<String>),
    RollbackDelta,
    DeltaOk,
    DeltaHot,
    DeltaByNumber(i64),
    DeltaByDate(String),
    WriteOperations,
    ResumeWrites,
    EraseWrite(i64),
    Changes(Option<String>),
    Deny {
        datamart: Option<String>,
        code: String,
    },
    Allow {
        datamart: Option<String>,
        code: String,
    },
    EraseChange {
        number: i64,
        datamart: Option<String>,
    },
    Define(Box<Definition>),
    Insert {
        table: Name,
        source: Box<Selection>,
    },
    Values(Values),
    Delete {
        table: Name,
        selection: Box<Selection>,
    },
    Select(Box<Selection>),
    CheckSum(SumRequest),
    CheckData {
        table: Name,
        from: i64,
    },
    CheckDatabase(Option<String>),
    CheckTable(Name),
    CheckMatview(Name),
    CheckVersions,
    ConfigShow(Option<String>),
    Use(String),
    EntityDdl(Name),
    /// Extension: adds generated rows to a table inside the open delta.
    Fill {
        table: Name,
        rows: i64,
    },
}

type Parsed<T> = Result<T, Failure>;

/// Parses one statement. `quoted_datasource` allows the dialect 6 form `DATASOURCE_TYPE ('adqm')`.
pub(crate) fn parse(sql: &str, quoted_datasource: bool) -> Parsed<Statement> {
    let mut cursor = Cursor::new(sql)?;
    let first = cursor.peek_word(0).ok_or(Failure::Parsing)?;
    match first.as_str() {
        "SELECT" | "WITH" => Ok(Statement::Select(Box::new(query::parse(cursor.rest())?))),
        "CREATE" | "DROP" | "ALTER" => {
            let definition = definition::parse(&mut cursor, quoted_datasource)?;
            Ok(Statement::Define(Box::new(definition)))
        }
        "INSERT" | "UPSERT" => write(&mut cursor),
        "DELETE" => delete(&mut cursor),
        "BEGIN" | "COMMIT" | "ROLLBACK" => ended(&mut cursor, delta),
        "USE" => ended(&mut cursor, |c| {
            c.expect(&["USE"])?;
            Ok(Statement::Use(c.identifier()?))
        }),
        _ => ended(&mut cursor, |c| call(c, &first)),
    }
}

fn ended(
    cursor: &mut Cursor,
    read: impl FnOnce(&mut Cursor) -> Parsed<Statement>,
) -> Parsed<Statement> {
    let statement = read(cursor)?;
    cursor.end()?;
    Ok(statement)
}

fn delta(cursor: &mut Cursor) -> Parsed<Statement> {
    if cursor.accept(&["BEGIN", "DELTA"]) {
        let number = cursor.accept(&["SET"]).then(|| cursor.integer()).transpose()?;
        return Ok(Statement::BeginDelta(number));
    }
    if cursor.accept(&["COMMIT", "DELTA"]) {
        let date = cursor.accept(&["SET"]).then(|| cursor.string()).transpose()?;
        return Ok(Statement::CommitDelta(date));
    }
    cursor.expect(&["ROLLBACK", "DELTA"])?;
    Ok(Statement::RollbackDelta)
}

/// A statement that looks like a function call.
fn call(cursor: &mut Cursor, name: &str) -> Parsed<Statement> {
    cursor.expect(&[name])?;
    cursor.expect_token(&Token::LParen)?;
    let statement = match name {
        "GET_DELTA_OK" => Statement::DeltaOk,
        "GET_DELTA_HOT" => Statement::DeltaHot,
        "GET_DELTA_BY_NUM" => Statement::DeltaByNumber(cursor.integer()?),
        "GET_DELTA_BY_DATETIME" => Statement::DeltaByDate(cursor.string()?),
        "GET_WRITE_OPERATIONS" => Statement::WriteOperations,
        "RESUME_WRITE_OPERATION" => {
            let _number = optional(cursor, Cursor::integer)?;
            Statement::ResumeWrites
        }
        "ERASE_WRITE_OPERATION" => Statement::EraseWrite(cursor.integer()?),
        "CHECK_VERSIONS" => Statement::CheckVersions,
        "CONFIG_SHOW" => Statement::ConfigShow(optional(cursor, Cursor::string)?),
        "CHECK_DATABASE" => Statement::CheckDatabase(optional(cursor, Cursor::identifier)?),
        _ => return changes_call(cursor, name),
    };
    cursor.expect_token(&Token::RParen)?;
    Ok(statement)
}

fn changes_call(cursor: &mut Cursor, name: &str) -> Parsed<Statement> {
    let statement = match name {
        "GET_CHANGES" => Statement::Changes(optional(cursor, Cursor::identifier)?),
        "DENY_CHANGES" => {
            let (datamart, code) = lock_arguments(cursor)?;
            Statement::Deny { datamart, code }
        }
        "ALLOW_CHANGES" => {
            let (datamart, code) = lock_arguments(cursor)?;
            Statement::Allow { datamart, code }
        }
        "ERASE_CHANGE_OPERATION" => {
            let number = cursor.integer()?;
            let datamart = after_comma(cursor, Cursor::identifier)?;
            Statement::EraseChange { number, datamart }
        }
        _ => return check_call(cursor, name),
    };
    cursor.expect_token(&Token::RParen)?;
    Ok(statement)
}

fn check_call(cursor: &mut Cursor, name: &str) -> Parsed<Statement> {
    let statement = match name {
        "CHECK_SUM" => Statement::CheckSum(sum_arguments(cursor, false)?),
        "CHECK_SUM_SNAPSHOT" => Statement::CheckSum(sum_arguments(cursor, true)?),
        "CHECK_TABLE" => Statement::CheckTable(Name::read(cursor)?),
        "CHECK_MATERIALIZED_VIEW" => Statement::CheckMatview(Name::read(cursor)?),
        "GET_ENTITY_DDL" => Statement::EntityDdl(Name::read(cursor)?),
        "CHECK_DATA" => {
            let table = Name::read(cursor)?;
            cursor.expect_token(&Token::Comma)?;
            let from = cursor.integer()?;
            let _normalization = number_after_comma(cursor)?;
            let _columns = after_comma(cursor, column_list)?;
            Statement::CheckData { table, from }
        }
        "SANDBOX_FILL" => {
            let table = Name::read(cursor)?;
            cursor.expect_token(&Token::Comma)?;
            Statement::Fill { table, rows: cursor.integer()? }
        }
        _ => return Err(Failure::Parsing),
    };
    cursor.expect_token(&Token::RParen)?;
    Ok(statement)
}

fn optional<T>(
    cursor: &mut Cursor,
    read: impl FnOnce(&mut Cursor) -> Parsed<T>,
) -> Parsed<Option<T>> {
    if cursor.peek(0) == Some(&Token::RParen) { Ok(None) } else { read(cursor).map(Some) }
}

fn after_comma<T>(
    cursor: &mut Cursor,
    read: impl FnOnce(&mut Cursor) -> Parsed<T>,
) -> Parsed<Option<T>> {
    if cursor.accept_token(&Token::Comma) { read(cursor).map(Some) } else { Ok(None) }
}

fn number_after_comma(cursor: &mut Cursor) -> Parsed<Option<i64>> {
    match cursor.peek(1) {
        Some(Token::Number(..)) => after_comma(cursor, Cursor::integer),
        _ => Ok(None),
    }
}

/// `[db [, 'code']] | 'code'`; a missing code is the empty one.
fn lock_arguments(cursor: &mut Cursor) -> Parsed<(Option<String>, String)> {
    if cursor.peek_string().is_some() {
        return Ok((None, cursor.string()?));
    }
    let datamart = optional(cursor, Cursor::identifier)?;
    let code = after_comma(cursor, Cursor::string)?;
    Ok((datamart, code.unwrap_or_default()))
}

fn column_list(cursor: &mut Cursor) -> Parsed<Vec<String>> {
    cursor.expect_token(&Token::LBracket)?;
    let mut columns = vec![cursor.identifier()?];
    while cursor.accept_token(&Token::Comma) {
        columns.push(cursor.identifier()?);
    }
    cursor.expect_token(&Token::RBracket)?;
    Ok(columns)
}

fn sum_arguments(cursor: &mut Cursor, snapshot: bool) -> Parsed<SumRequest> {
    let delta = cursor.integer()?;
    let normalization = number_after_comma(cursor)?.unwrap_or(1);
    let table = after_comma(cursor, Name::read)?;
    let columns = after_comma(cursor, column_list)?;
    if normalization < 1 {
        return Err(Failure::Parsing);
    }
    Ok(SumRequest { delta, normalization, table, columns, snapshot })
}

fn write(cursor: &mut Cursor) -> Parsed<Statement> {
    let upsert = cursor.accept(&["UPSERT", "INTO"]);
    if !upsert {
        cursor.expect(&["INSERT", "INTO"])?;
    }
    let table = Name::read(cursor)?;
    let listed =
        cursor.peek(0) == Some(&Token::LParen) && cursor.peek_word(1).as_deref() != Some("SELECT");
    let columns = listed.then(|| cursor.list(Cursor::identifier)).transpose()?;
    if !cursor.accept(&["VALUES"]) {
        if upsert {
            return Err(Failure::Parsing);
        }
        let source = Box::new(query::parse(cursor.rest())?);
        return Ok(Statement::Insert { table, source });
    }
    let mut rows = vec![cursor.list(literal)?];
    while cursor.accept_token(&Token::Comma) {
        rows.push(cursor.list(literal)?);
    }
    cursor.end()?;
    Ok(Statement::Values(Values { table, columns, rows, upsert }))
}

fn literal(cursor: &mut Cursor) -> Parsed<Literal> {
    for (word, value) in [
        ("NULL", Literal::Null),
        ("TRUE", Literal::Boolean(true)),
        ("FALSE", Literal::Boolean(false)),
    ] {
        if cursor.accept(&[word]) {
            return Ok(value);
        }
    }
    for word in ["DATE", "TIME", "TIMESTAMP"] {
        if cursor.accept(&[word]) {
            return cursor.string().map(Literal::Text);
        }
    }
    if cursor.peek_string().is_some() {
        return cursor.string().map(Literal::Text);
    }
    let minus = cursor.accept_token(&Token::Minus);
    let sign = if minus { "-" } else { "" };
    Ok(Literal::Number(format!("{sign}{}", cursor.number()?)))
}

/// DELETE is kept as the SELECT of the rows it takes away.
fn delete(cursor: &mut Cursor) -> Parsed<Statement> {
    cursor.expect(&["DELETE", "FROM"])?;
    let table = Name::read(&mut cursor.clone())?;
    let mut tokens = Cursor::new("SELECT * FROM")?.rest();
    tokens.extend(cursor.rest());
    let selection = Box::new(query::parse(tokens)?);
    Ok(Statement::Delete { table, selection })
}
