//! Owns the grammar of CREATE, ALTER and DROP; never executes one.

use sqlparser::tokenizer::Token;

use super::cursor::Cursor;
use super::failure::Failure;
use super::query::{self, Selection};
use super::statement::Name;
use super::types::{Column, Kind};

/// CREATE TABLE or the table part of CREATE MATERIALIZED VIEW.
#[derive(Debug, Clone)]
pub(crate) struct TableDefinition {
    pub(crate) name: Name,
    pub(crate) columns: Vec<Column>,
    pub(crate) primary_key: Vec<String>,
    pub(crate) sharding_key: Vec<String>,
    /// As written, lower-cased; `None` when the clause was left out.
    pub(crate) datasources: Option<Vec<String>>,
    pub(crate) logical_only: bool,
}

/// How a view statement begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ViewVerb {
    Create,
    CreateOrReplace,
    Alter,
}

/// A download or upload external table.
#[derive(Debug, Clone)]
pub(crate) struct ExternalDefinition {
    pub(crate) name: Name,
    pub(crate) columns: Vec<Column>,
    pub(crate) location: String,
    pub(crate) format: String,
    pub(crate) chunk_size: Option<i64>,
    pub(crate) hidden_sys_op: bool,
    pub(crate) upload: bool,
}

/// A parsed definition.
#[derive(Debug, Clone)]
pub(crate) enum Definition {
    CreateDatamart(String),
    DropDatamart(String),
    CreateTable(TableDefinition),
    DropTable { name: Name, if_exists: bool, matview: bool },
    View { verb: ViewVerb, name: Name, columns: Vec<String>, selection: Selection },
    DropView(Name),
    CreateMatview { table: TableDefinition, selection: Selection },
    CreateExternal(ExternalDefinition),
    DropExternal { name: Name, upload: bool },
}

type Parsed<T> = Result<T, Failure>;

/// Parses a definition to its end.
pub(crate) fn parse(cursor: &mut Cursor, quoted_datasource: bool) -> Parsed<Definition> {
    let definition = if cursor.accept(&["CREATE"]) {
        create(cursor, quoted_datasource)?
    } else if cursor.accept(&["DROP"]) {
        drop(cursor)?
    } else {
        cursor.expect(&["ALTER", "VIEW"])?;
        view(cursor, ViewVerb::Alter)?
    };
    cursor.end()?;
    Ok(definition)
}

fn create(cursor: &mut Cursor, quoted: bool) -> Parsed<Definition> {
    if cursor.accept(&["DATABASE"]) {
        let _ignored = cursor.accept(&["IF", "NOT", "EXISTS"]);
        let name = cursor.identifier()?;
        let _ignored = cursor.accept(&["LOGICAL_ONLY"]);
        return Ok(Definition::CreateDatamart(name));
    }
    if cursor.accept(&["TABLE"]) {
        return Ok(Definition::CreateTable(table(cursor, quoted)?));
    }
    if cursor.accept(&["OR", "REPLACE", "VIEW"]) {
        return view(cursor, ViewVerb::CreateOrReplace);
    }
    if cursor.accept(&["VIEW"]) {
        return view(cursor, ViewVerb::Create);
    }
    if cursor.accept(&["MATERIALIZED", "VIEW"]) {
        let table = table(cursor, quoted)?;
        cursor.expect(&["AS"])?;
        let selection = query::parse(cursor.rest())?;
        return Ok(Definition::CreateMatview { table, selection });
    }
    let upload = cursor.accept(&["UPLOAD", "EXTERNAL", "TABLE"]);
    if !upload {
        cursor.expect(&["DOWNLOAD", "EXTERNAL", "TABLE"])?;
    }
    Ok(Definition::CreateExternal(external(cursor, upload)?))
}

fn drop(cursor: &mut Cursor) -> Parsed<Definition> {
    if cursor.accept(&["DATABASE"]) {
        let _ignored = cursor.accept(&["IF", "EXISTS"]);
        let name = cursor.identifier()?;
        let _ignored = cursor.accept(&["LOGICAL_ONLY"]);
        return Ok(Definition::DropDatamart(name));
    }
    if cursor.accept(&["VIEW"]) {
        let _ignored = cursor.accept(&["IF", "EXISTS"]);
        return Ok(Definition::DropView(Name::read(cursor)?));
    }
    let matview = cursor.accept(&["MATERIALIZED", "VIEW"]);
    if matview || cursor.accept(&["TABLE"]) {
        let if_exists = cursor.accept(&["IF", "EXISTS"]);
        let name = Name::read(cursor)?;
        drop_tail(cursor)?;
        return Ok(Definition::DropTable { name, if_exists, matview });
    }
    let upload = cursor.accept(&["UPLOAD", "EXTERNAL", "TABLE"]);
    if !upload {
        cursor.expect(&["DOWNLOAD", "EXTERNAL", "TABLE"])?;
    }
    let _ignored = cursor.accept(&["IF", "EXISTS"]);
    Ok(Definition::DropExternal { name: Name::read(cursor)?, upload })
}

fn drop_tail(cursor: &mut Cursor) -> Parsed<()> {
    if cursor.accept(&["DATASOURCE_TYPE"]) {
        cursor.expect_token(&Token::Eq)?;
        if cursor.peek_string().is_some() {
            cursor.string()?;
        } else {
            cursor.identifier()?;
        }
    }
    let _ignored = cursor.accept(&["LOGICAL_ONLY"]);
    Ok(())
}

fn view(cursor: &mut Cursor, verb: ViewVerb) -> Parsed<Definition> {
    let name = Name::read(cursor)?;
    let listed = cursor.peek(0) == Some(&Token::LParen);
    let columns = if listed { cursor.list(Cursor::identifier)? } else { Vec::new() };
    cursor.expect(&["AS"])?;
    let selection = query::parse(cursor.rest())?;
    Ok(Definition::View { verb, name, columns, selection })
}

enum Item {
    Column(Column),
    PrimaryKey(Vec<String>),
}

fn table(cursor: &mut Cursor, quoted: bool) -> Parsed<TableDefinition> {
    let _ignored = cursor.accept(&["IF", "NOT", "EXISTS"]);
    let name = Name::read(cursor)?;
    let mut columns = Vec::new();
    let mut primary_key = Vec::new();
    for item in cursor.list(item)? {
        match item {
            Item::Column(column) => columns.push(column),
            Item::PrimaryKey(names) => primary_key = names,
        }
    }
    let sharded = cursor.accept(&["DISTRIBUTED", "BY"]);
    let sharding_key = if sharded { cursor.list(Cursor::identifier)? } else { Vec::new() };
    let placed = cursor.accept(&["DATASOURCE_TYPE"]);
    let datasources = placed.then(|| cursor.list(|c| datasource(c, quoted))).transpose()?;
    let logical_only = cursor.accept(&["LOGICAL_ONLY"]);
    Ok(TableDefinition { name, columns, primary_key, sharding_key, datasources, logical_only })
}

fn datasource(cursor: &mut Cursor, quoted: bool) -> Parsed<String> {
    if quoted && cursor.peek_string().is_some() {
        return Ok(cursor.string()?.to_lowercase());
    }
    cursor.identifier()
}

fn item(cursor: &mut Cursor) -> Parsed<Item> {
    if cursor.accept(&["PRIMARY", "KEY"]) {
        return Ok(Item::PrimaryKey(cursor.list(Cursor::identifier)?));
    }
    column(cursor).map(Item::Column)
}

fn column(cursor: &mut Cursor) -> Parsed<Column> {
    let name = cursor.identifier()?;
    let word = cursor.identifier()?;
    let kind = Kind::from_word(&word).ok_or_else(|| Failure::UnknownType(name.clone()))?;
    let sized = cursor.accept_token(&Token::LParen);
    let size = sized.then(|| size(cursor)).transpose()?;
    let not_null = cursor.accept(&["NOT", "NULL"]);
    if !not_null {
        let _explicit = cursor.accept(&["NULL"]);
    }
    Ok(Column { name, kind, size, nullable: !not_null })
}

fn size(cursor: &mut Cursor) -> Parsed<u32> {
    let size = u32::try_from(cursor.integer()?).map_err(|_| Failure::Parsing)?;
    cursor.expect_token(&Token::RParen)?;
    Ok(size)
}

fn external(cursor: &mut Cursor, upload: bool) -> Parsed<ExternalDefinition> {
    let _ignored = cursor.accept(&["IF", "NOT", "EXISTS"]);
    let name = Name::read(cursor)?;
    let columns = cursor.list(column)?;
    cursor.expect(&["LOCATION"])?;
    let location = cursor.string()?;
    cursor.expect(&["FORMAT"])?;
    let format = cursor.string()?;
    let sized = cursor.accept(&[if upload { "MESSAGE_LIMIT" } else { "CHUNK_SIZE" }]);
    let limit = sized.then(|| cursor.integer()).transpose()?;
    if matches!(limit, Some(n) if n < 1) {
        return Err(Failure::Parsing);
    }
    let options = if upload && cursor.accept(&["OPTIONS"]) {
        cursor.list(Cursor::string)?.join(";")
    } else {
        String::new()
    };
    let hidden_sys_op = !options.replace(' ', "").contains("auto.create.sys_op.enable=false");
    let chunk_size = if upload { None } else { limit };
    Ok(ExternalDefinition { name, columns, location, format, chunk_size, hidden_sys_op, upload })
}
