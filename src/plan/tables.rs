//! Which tables a delta has, and from which datasource they come (DESIGN D4.4). Pure.

use crate::model::{Change, ChangeLog, Datasource, DeltaNum, Table};

/// Tables that the asked datasource does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("datasource {datasource} does not hold: {}", tables.join(", "))]
pub struct NotInDatasource {
    /// `--datasourceType`
    pub datasource: Datasource,
    /// The tables, each with the datasources that hold it.
    pub tables: Vec<String>,
}

/// The tables that existed before delta `n` in their present form: those whose newest CREATE in
/// the log ran before it. A table that the log never created is older than the log, so it counts.
pub fn tables_of<'a>(delta: DeltaNum, tables: &'a [Table], log: &ChangeLog) -> Vec<&'a Table> {
    tables.iter().filter(|table| existed(delta, table, log)).collect()
}

fn existed(delta: DeltaNum, table: &Table, log: &ChangeLog) -> bool {
    let creates = |c: &&Change| c.entity == table.name.0 && creates_table(&c.query);
    match log.0.iter().rev().find(creates) {
        Some(change) => change.delta.is_none_or(|before| before < delta),
        None => true,
    }
}

fn creates_table(query: &str) -> bool {
    let mut words = query.split_whitespace().map(str::to_ascii_uppercase);
    words.next().as_deref() == Some("CREATE") && words.next().as_deref() == Some("TABLE")
}

/// Tables that the log never created: older than the log, so that it cannot build them again.
pub fn older_than_log<'a>(tables: &'a [Table], log: &ChangeLog) -> Vec<&'a str> {
    let created =
        |table: &&Table| !log.0.iter().any(|c| c.entity == table.name.0 && creates_table(&c.query));
    tables.iter().filter(created).map(|table| table.name.0.as_str()).collect()
}

/// Views that the log never created.
pub fn views_older_than_log<'a>(views: &'a [String], log: &ChangeLog) -> Vec<&'a str> {
    let created = |view: &str| log.0.iter().any(|c| c.entity == view && creates_view(&c.query));
    views.iter().map(String::as_str).filter(|view| !created(view)).collect()
}

fn creates_view(query: &str) -> bool {
    let mut words = query.split_whitespace().map(str::to_ascii_uppercase);
    // CREATE [OR REPLACE] [MATERIALIZED] VIEW
    words.next().as_deref() == Some("CREATE") && words.take(4).any(|word| word == "VIEW")
}

/// Refuses a datasource that lacks some of the tables.
///
/// # Errors
/// [`NotInDatasource`] with the list.
pub fn check_datasource(asked: &Datasource, tables: &[Table]) -> Result<(), NotInDatasource> {
    let lacking: Vec<String> = tables
        .iter()
        .filter(|table| !table.datasources.contains(asked))
        .map(|table| {
            let held: Vec<_> = table.datasources.iter().map(|d| d.0.as_str()).collect();
            format!("{} (in {})", table.name, held.join(", "))
        })
        .collect();
    if lacking.is_empty() {
        Ok(())
    } else {
        Err(NotInDatasource { datasource: asked.clone(), tables: lacking })
    }
}

/// The one datasource that both halves of a pair come from, because two datasources can hold
/// different histories of one delta: the asked one, else the only one, else the one that the node
/// itself would choose, else the first that it lists.
///
/// None where the node has to be asked which one it `preferred`; ask again with its answer.
pub fn choose_datasource(
    asked: Option<&Datasource>,
    table: &Table,
    preferred: Option<Option<&Datasource>>,
) -> Option<Option<Datasource>> {
    let held = |name: &&Datasource| table.datasources.contains(name);
    match (asked.filter(held), &table.datasources[..], preferred) {
        (Some(asked), _, _) => Some(Some(asked.clone())),
        (None, [] | [_], _) => Some(table.datasources.first().cloned()),
        (None, _, None) => None,
        (None, [first, ..], Some(preferred)) => {
            Some(Some(preferred.filter(held).unwrap_or(first).clone()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::TableName;

    fn table(name: &str, datasources: &[&str]) -> Table {
        let datasources = datasources.iter().map(|d| Datasource((*d).into())).collect();
        Table { name: TableName(name.into()), columns: vec![], datasources, primary_key: vec![] }
    }

    fn change(num: u64, entity: &str, query: &str, delta: Option<u64>) -> Change {
        let delta = delta.map(DeltaNum);
        Change { num, entity: entity.into(), query: query.into(), delta, finished: true }
    }

    #[test]
    fn a_table_counts_from_its_newest_creation() {
        let log = ChangeLog(vec![
            change(0, "a", "CREATE TABLE db.a (id int)", None),
            change(1, "b", "create table db.b (id int)", Some(0)),
            change(2, "b", "DROP TABLE db.b", Some(1)),
            change(3, "b", "CREATE TABLE db.b (id int)", Some(1)),
            change(4, "a", "CREATE VIEW db.a2 AS SELECT", Some(5)),
        ]);
        let tables = [table("a", &[]), table("b", &[]), table("older_than_the_log", &[])];
        let names = |n| -> Vec<_> {
            tables_of(DeltaNum(n), &tables, &log).iter().map(|t| t.name.0.as_str()).collect()
        };
        assert_eq!(names(0), ["a", "older_than_the_log"]);
        assert_eq!(names(1), ["a", "older_than_the_log"]);
        assert_eq!(names(2), ["a", "b", "older_than_the_log"]);
        assert_eq!(older_than_log(&tables, &log), ["older_than_the_log"]);
    }

    #[test]
    fn views_that_no_statement_makes_are_named() {
        let log = ChangeLog(vec![
            change(0, "v", "CREATE VIEW db.v AS SELECT 1", None),
            change(1, "m", "create or replace materialized view db.m AS SELECT 1", None),
            change(2, "old", "ALTER VIEW db.old AS SELECT 1", None),
            change(3, "t", "CREATE TABLE db.t (id int)", None),
        ]);
        let views = ["v", "m", "old", "t"].map(str::to_owned);
        assert_eq!(views_older_than_log(&views, &log), ["old", "t"]);
    }

    #[test]
    fn tables_outside_the_asked_datasource_are_named() {
        let tables = [table("a", &["adp", "adqm"]), table("b", &["adp"])];
        assert!(check_datasource(&Datasource("adp".into()), &tables).is_ok());
        let error = check_datasource(&Datasource("adqm".into()), &tables).unwrap_err();
        assert_eq!(error.to_string(), "datasource adqm does not hold: b (in adp)");
    }

    #[test]
    fn a_pair_comes_from_the_asked_datasource_the_only_one_or_the_nodes_choice() {
        let (adp, adqm) = (Datasource("adp".into()), Datasource("adqm".into()));
        let both = table("a", &["adp", "adqm"]);
        let one = table("b", &["adp"]);
        assert_eq!(choose_datasource(Some(&adqm), &both, None), Some(Some(adqm.clone())));
        assert_eq!(choose_datasource(Some(&adqm), &one, None), Some(Some(adp.clone())));
        assert_eq!(choose_datasource(None, &both, None), None, "the node is to be asked");
        assert_eq!(choose_datasource(None, &both, Some(Some(&adqm))), Some(Some(adqm.clone())));
        assert_eq!(choose_datasource(None, &both, Some(None)), Some(Some(adp.clone())));
        let elsewhere = Datasource("adb".into());
        assert_eq!(choose_datasource(None, &both, Some(Some(&elsewhere))), Some(Some(adp)));
    }
}
