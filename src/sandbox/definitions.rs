//! Owns carrying out CREATE, ALTER and DROP with their log records; never parses them.

use rusqlite::Transaction;

use super::catalog;
use super::changelog;
use super::definition::{Definition, ExternalDefinition, TableDefinition, ViewVerb};
use super::entity::{Body, Entity, External, Table};
use super::failure::Failure;
use super::query::{self, Planner, Quoting, Selection};
use super::statement::Name;
use super::types::{Column, Kind};
use super::{Datasource, Node};

const DEFAULT_CHUNK: u64 = 1000;

/// What a logged change will do to the catalog once its record is open.
enum Change {
    Add(Body),
    Replace(i64, Body),
    Remove(Box<Entity>),
    /// The record is opened, then the node fails: it stays unfinished.
    Break(Failure),
}

/// The database a name lives in: its own, or the one of the request.
pub(crate) fn datamart_of(name: &Name, default: &str) -> Result<String, Failure> {
    match &name.datamart {
        Some(datamart) => Ok(datamart.clone()),
        None if default.is_empty() => Err(Failure::NoDatamartForTables),
        None => Ok(default.to_lowercase()),
    }
}

/// Carries out one definition. The inner result is a failure that is nevertheless recorded.
pub(crate) fn run(
    node: &Node,
    tx: &Transaction<'_>,
    default: &str,
    definition: &Definition,
) -> Result<Result<(), Failure>, Failure> {
    match definition {
        Definition::CreateDatamart(name) => catalog::create_datamart(tx, name)?,
        Definition::DropDatamart(name) => catalog::drop_datamart(tx, name)?,
        Definition::CreateExternal(external) => create_external(tx, default, external)?,
        Definition::DropExternal { name, upload } => drop_external(tx, default, name, *upload)?,
        Definition::CreateTable(table) => {
            let body = table_body(node, tx, default, table)?;
            let text = table_text(default, table)?;
            let change = body.map_or_else(Change::Break, |t| Change::Add(Body::Table(t)));
            return logged(node, tx, default, &table.name, &text, change);
        }
        Definition::CreateMatview { table, selection } => {
            return create_matview(node, tx, default, table, selection);
        }
        Definition::View { verb, name, columns, selection } => {
            return view(node, tx, default, (*verb, name, columns, selection));
        }
        Definition::DropView(name) => {
            let entity = required(tx, default, name, |b| matches!(b, Body::View { .. }))?;
            let text = format!("DROP VIEW {}.{}", entity.datamart, entity.name);
            return logged(node, tx, default, name, &text, Change::Remove(Box::new(entity)));
        }
        Definition::DropTable { name, if_exists, matview } => {
            return drop_table(node, tx, default, (name, *if_exists, *matview));
        }
    }
    Ok(Ok(()))
}

/// Opens a record, carries the change out and closes the record.
fn logged(
    node: &Node,
    tx: &Transaction<'_>,
    default: &str,
    name: &Name,
    text: &str,
    change: Change,
) -> Result<Result<(), Failure>, Failure> {
    let datamart = datamart_of(name, default)?;
    let number = changelog::open(tx, &datamart, &name.entity, text, node.now())?;
    if node.faults.take(super::FaultKind::UnfinishedDdl) {
        return Ok(Err(Failure::Injected("unfinished-ddl".to_owned())));
    }
    match change {
        Change::Break(failure) => return Ok(Err(failure)),
        Change::Add(body) => catalog::add(tx, &datamart, &name.entity, body)?,
        Change::Replace(id, body) => catalog::replace(tx, id, &body)?,
        Change::Remove(entity) => catalog::remove(tx, &entity)?,
    }
    changelog::close(tx, &datamart, number, node.now())?;
    Ok(Ok(()))
}

fn required(
    tx: &Transaction<'_>,
    default: &str,
    name: &Name,
    fits: impl Fn(&Body) -> bool,
) -> Result<Entity, Failure> {
    let datamart = datamart_of(name, default)?;
    let missing = || Failure::NoSuchEntity(datamart.clone(), name.entity.clone());
    catalog::find(tx, &datamart, &name.entity)?.filter(|e| fits(&e.body)).ok_or_else(missing)
}

/// Checks that the database exists and the name is free and well formed.
fn vacant(tx: &Transaction<'_>, default: &str, name: &Name) -> Result<String, Failure> {
    let datamart = datamart_of(name, default)?;
    catalog::require_datamart(tx, &datamart)?;
    if !is_plain(&name.entity) {
        return Err(Failure::EntityName(datamart, name.entity.clone()));
    }
    match catalog::find(tx, &datamart, &name.entity)? {
        Some(_) => Err(Failure::EntityExists(datamart, name.entity.clone())),
        None => Ok(datamart),
    }
}

fn is_plain(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn check_columns(entity: &str, columns: &[Column]) -> Result<(), Failure> {
    for (i, column) in columns.iter().enumerate() {
        if !is_plain(&column.name) {
            return Err(Failure::Parsing);
        }
        if columns.iter().skip(i + 1).any(|c| c.name == column.name) {
            return Err(Failure::DuplicateColumn(entity.to_owned(), column.name.clone()));
        }
        if column.kind == Kind::Char && column.size.is_none() {
            return Err(Failure::SizeRequired(format!("[{}]", column.name)));
        }
    }
    Ok(())
}

fn check_keys(table: &TableDefinition) -> Result<(), Failure> {
    let mut missing = Vec::new();
    if table.primary_key.is_empty() {
        missing.push("primary key(s)");
    }
    if table.sharding_key.is_empty() {
        missing.push("sharding key(s)");
    }
    if !missing.is_empty() {
        return Err(Failure::KeysMissing(missing.join(", ")));
    }
    let known = |name: &&String| !table.columns.iter().any(|c| c.name == **name);
    let unknown: Vec<_> =
        table.primary_key.iter().chain(&table.sharding_key).filter(known).cloned().collect();
    if !unknown.is_empty() {
        return Err(Failure::KeysMissing(unknown.join(", ")));
    }
    if table.sharding_key.iter().all(|name| table.primary_key.contains(name)) {
        Ok(())
    } else {
        Err(Failure::ShardingNotInKey)
    }
}

/// The table to create; the inner failure is one that comes only after the record is open.
fn table_body(
    node: &Node,
    tx: &Transaction<'_>,
    default: &str,
    definition: &TableDefinition,
) -> Result<Result<Table, Failure>, Failure> {
    vacant(tx, default, &definition.name)?;
    check_columns(&definition.name.entity, &definition.columns)?;
    check_keys(definition)?;
    let active = &node.options.datasources;
    let mut datasources = active.clone();
    if let Some(words) = &definition.datasources {
        datasources.clear();
        for word in words {
            match word.to_uppercase().as_str() {
                "ADB" | "ADG" | "ADP" | "ADQM" => {}
                _ => return Err(Failure::BadDatasource(word.clone())),
            }
            match Datasource::from_name(word).filter(|d| active.contains(d)) {
                Some(datasource) => datasources.push(datasource),
                None => return Ok(Err(no_plugin(active, word))),
            }
        }
    }
    Ok(Ok(Table {
        columns: definition.columns.clone(),
        primary_key: definition.primary_key.clone(),
        sharding_key: definition.sharding_key.clone(),
        datasources,
    }))
}

fn no_plugin(active: &[Datasource], wanted: &str) -> Failure {
    let plugin = |d: &Datasource| {
        let lower = d.name().to_lowercase();
        let class = match d {
            Datasource::Adp => "AdpDtmDataSourcePlugin",
            Datasource::Adqm => "AdqmDtmDataSourcePlugin",
        };
        format!("ru.datamart.prostore.query.execution.plugin.{lower}.base.service.{class}@566c82d0")
    };
    let registered: Vec<_> = active.iter().map(plugin).collect();
    Failure::NoPlugin { wanted: wanted.to_uppercase(), registered: registered.join(", ") }
}

fn table_text(default: &str, table: &TableDefinition) -> Result<String, Failure> {
    Ok(format!("CREATE TABLE {}", table_tail(default, table)?))
}

fn table_tail(default: &str, table: &TableDefinition) -> Result<String, Failure> {
    let datamart = datamart_of(&table.name, default)?;
    let columns: Vec<_> = table.columns.iter().map(Column::change_text).collect();
    let mut text = format!(
        "{datamart}.{} ({}, PRIMARY KEY ({})) DISTRIBUTED BY ({})",
        table.name.entity,
        columns.join(", "),
        table.primary_key.join(", "),
        table.sharding_key.join(", "),
    );
    if let Some(datasources) = &table.datasources {
        text.push_str(&format!(" DATASOURCE_TYPE ({})", datasources.join(", ")));
    }
    if table.logical_only {
        text.push_str(" LOGICAL_ONLY");
    }
    Ok(text)
}

fn create_matview(
    node: &Node,
    tx: &Transaction<'_>,
    default: &str,
    table: &TableDefinition,
    selection: &Selection,
) -> Result<Result<(), Failure>, Failure> {
    let datamart = datamart_of(&table.name, default)?;
    let body = table_body(node, tx, default, table)?;
    Planner::new(tx, &datamart).plan(selection)?;
    let select = query::print(&selection.query, &datamart, Quoting::None);
    let mut text = format!("CREATE MATERIALIZED VIEW {} AS\n{select}", table_tail(default, table)?);
    if let Some(datasource) = &selection.datasource {
        text.push_str(&format!(" DATASOURCE_TYPE = '{}'", datasource.to_lowercase()));
    }
    let datasource = selection.datasource.clone();
    let change = body.map_or_else(Change::Break, |table| {
        Change::Add(Body::Matview { table, text: select, datasource })
    });
    logged(node, tx, default, &table.name, &text, change)
}

fn view(
    node: &Node,
    tx: &Transaction<'_>,
    default: &str,
    (verb, name, columns, selection): (ViewVerb, &Name, &[String], &Selection),
) -> Result<Result<(), Failure>, Failure> {
    let datamart = datamart_of(name, default)?;
    catalog::require_datamart(tx, &datamart)?;
    let existing = catalog::find(tx, &datamart, &name.entity)?;
    if let (ViewVerb::Create, Some(_)) = (verb, &existing) {
        return Err(Failure::EntityExists(datamart, name.entity.clone()));
    }
    if !selection.periods.is_empty() {
        return Err(Failure::Unsupported("FOR SYSTEM_TIME is not allowed in a view".to_owned()));
    }
    let plan = Planner::new(tx, &datamart).plan(selection)?;
    let select = query::print(&selection.query, &datamart, Quoting::None);
    let head = match verb {
        ViewVerb::Create => "CREATE VIEW",
        ViewVerb::CreateOrReplace => "CREATE OR REPLACE VIEW",
        ViewVerb::Alter => "ALTER VIEW",
    };
    // The node prints ALTER VIEW with three spaces where the others have a line break.
    let gap = if verb == ViewVerb::Alter { "   " } else { "\n" };
    let listed =
        if columns.is_empty() { String::new() } else { format!(" ({})", columns.join(", ")) };
    let text = format!("{head} {datamart}.{}{listed} AS{gap}{select}", name.entity);
    let columns = plan.columns.iter().map(|c| Column { nullable: true, ..c.to_column() }).collect();
    let body = Body::View { text: select, columns };
    let change = match existing {
        None if verb == ViewVerb::Alter => {
            let missing = Failure::NoSuchEntity(datamart.clone(), name.entity.clone());
            // The node looks for an unfinished change before it looks for the view.
            changelog::check_idle(tx, &datamart)?;
            return Err(missing);
        }
        None => Change::Add(body),
        Some(old) if matches!(old.body, Body::View { .. }) => Change::Replace(old.id, body),
        Some(_) => return Err(Failure::EntityExists(datamart, name.entity.clone())),
    };
    logged(node, tx, default, name, &text, change)
}

fn drop_table(
    node: &Node,
    tx: &Transaction<'_>,
    default: &str,
    (name, if_exists, matview): (&Name, bool, bool),
) -> Result<Result<(), Failure>, Failure> {
    let fits = |b: &Body| match b {
        Body::Table(_) => !matview,
        Body::Matview { .. } => matview,
        _ => false,
    };
    let entity = match required(tx, default, name, fits) {
        Err(Failure::NoSuchEntity(..)) if if_exists => return Ok(Ok(())),
        other => other?,
    };
    changelog::check_idle(tx, &entity.datamart)?;
    let views = views_on(tx, &entity)?;
    if !views.is_empty() {
        let table = entity.name.to_uppercase();
        return Err(Failure::ViewsOnTable { views: views.join(", "), table });
    }
    let word = if matview { "MATERIALIZED VIEW" } else { "TABLE" };
    let text = format!("DROP {word} {}.{}", entity.datamart, entity.name);
    logged(node, tx, default, name, &text, Change::Remove(Box::new(entity)))
}

/// Views and materialized views that read a table.
fn views_on(tx: &Transaction<'_>, table: &Entity) -> Result<Vec<String>, Failure> {
    let mut views = Vec::new();
    for datamart in catalog::datamarts(tx)? {
        for entity in catalog::entities(tx, &datamart)? {
            let (Body::View { text, .. } | Body::Matview { text, .. }) = &entity.body else {
                continue;
            };
            let selection = query::parse_text(text)?;
            // A view that no longer plans cannot hold the table back.
            let plan = Planner::new(tx, &datamart).plan(&selection);
            let uses = plan.is_ok_and(|plan| {
                plan.tables.iter().any(|t| t.datamart == table.datamart && t.entity == table.name)
            });
            if uses {
                views.push(format!("{datamart}.{}", entity.name));
            }
        }
    }
    Ok(views)
}

fn create_external(
    tx: &Transaction<'_>,
    default: &str,
    external: &ExternalDefinition,
) -> Result<(), Failure> {
    let datamart = vacant(tx, default, &external.name)?;
    check_columns(&external.name.entity, &external.columns)?;
    if !external.location.starts_with("kafka://") {
        return Err(Failure::Parsing);
    }
    if !["AVRO", "CSV", "TEXT"].contains(&external.format.to_uppercase().as_str()) {
        return Err(Failure::Parsing);
    }
    let chunk = external.chunk_size.and_then(|n| u64::try_from(n).ok());
    let body = Body::External(External {
        columns: external.columns.clone(),
        location: external.location.clone(),
        format: external.format.to_uppercase(),
        chunk_size: chunk.unwrap_or(DEFAULT_CHUNK),
        hidden_sys_op: external.hidden_sys_op,
        upload: external.upload,
    });
    catalog::add(tx, &datamart, &external.name.entity, body)
}

fn drop_external(
    tx: &Transaction<'_>,
    default: &str,
    name: &Name,
    upload: bool,
) -> Result<(), Failure> {
    let fits = |b: &Body| matches!(b, Body::External(e) if e.upload == upload);
    let entity = required(tx, default, name, fits)?;
    catalog::remove(tx, &entity)
}
