//! The statements sent to a node, as texts (PROSTORE.md section 2). Owns their wording;
//! names are checked in `names`. Never sends anything and never reads an answer.

mod keys;
mod loads;
mod names;

use self::names::{identifier, literal, plain};
use crate::extract::Half;
use crate::model::{Attempt, AttemptName, Column, ColumnType, Datamart, DeltaNum, LockCode, Owner};
use crate::model::{Datasource, Table};

pub use keys::{count, count_part, unload_part};
pub use loads::{
    BadDate, begin_delta, commit_delta, create_datamart, create_upload, delta_hot, drop_datamart,
    drop_upload, erase_change, load, rollback_delta, write_operations,
};
pub use names::BadName;

/// GET_CHANGES of the datamart.
pub fn get_changes(datamart: &Datamart) -> String {
    format!("GET_CHANGES({datamart})")
}

/// DENY_CHANGES with a code.
pub fn deny(datamart: &Datamart, code: &LockCode) -> String {
    format!("DENY_CHANGES({datamart}, {})", literal(code.as_str()))
}

/// ALLOW_CHANGES with a code.
pub fn allow(datamart: &Datamart, code: &LockCode) -> String {
    format!("ALLOW_CHANGES({datamart}, {})", literal(code.as_str()))
}

/// GET_DELTA_OK: it takes the datamart from the request.
pub fn delta_ok() -> String {
    "GET_DELTA_OK()".to_owned()
}

/// GET_DELTA_BY_NUM: it takes the datamart from the request.
pub fn delta_by_num(num: DeltaNum) -> String {
    format!("GET_DELTA_BY_NUM({num})")
}

/// CHECK_VERSIONS.
pub fn check_versions() -> String {
    "CHECK_VERSIONS()".to_owned()
}

/// CONFIG_SHOW of one parameter. The full list has passwords in it and is never asked for.
pub fn config_show(parameter: &str) -> String {
    format!("CONFIG_SHOW({})", literal(parameter))
}

/// Entities of the datamart with type and datasources. All names in INFORMATION_SCHEMA are upper
/// case, also inside the values.
pub fn tables(datamart: &Datamart) -> String {
    let schema = literal(&datamart.as_str().to_ascii_uppercase());
    format!(
        "SELECT TABLE_NAME, TABLE_TYPE, TABLE_DATASOURCE_TYPE FROM INFORMATION_SCHEMA.TABLES \
         WHERE TABLE_SCHEMA = {schema} ORDER BY TABLE_NAME"
    )
}

/// Which sum is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sum {
    /// CHECK_SUM: what the delta changed.
    Changes,
    /// CHECK_SUM_SNAPSHOT: what there is after the delta.
    Snapshot,
}

impl Sum {
    fn keyword(self) -> &'static str {
        match self {
            Self::Changes => "CHECK_SUM",
            Self::Snapshot => "CHECK_SUM_SNAPSHOT",
        }
    }
}

/// A sum over all tables of a delta. It takes the datamart from the request.
pub fn delta_sum(sum: Sum, delta: DeltaNum) -> String {
    format!("{}({delta})", sum.keyword())
}

/// A sum over the named columns of a table.
///
/// # Errors
/// [`BadName`] where a name is none.
pub fn table_sum(
    sum: Sum,
    datamart: &Datamart,
    delta: DeltaNum,
    table: &Table,
    columns: &[String],
) -> Result<String, BadName> {
    let table = qualified(datamart, &table.name.0)?;
    let columns: Result<Vec<_>, _> = columns.iter().map(|name| identifier(name)).collect();
    Ok(format!("{}({delta}, {table}, [{}])", sum.keyword(), columns?.join(", ")))
}

/// Asks the node which datasource it would read the additions of a delta from.
///
/// # Errors
/// [`BadName`] where a name is none.
pub fn estimate(datamart: &Datamart, table: &Table, delta: DeltaNum) -> Result<String, BadName> {
    let columns = select_list(table)?;
    let name = qualified(datamart, &table.name.0)?;
    let period = system_time(Half::Added, delta);
    Ok(format!("SELECT {columns} FROM {name} {period} ESTIMATE_ONLY"))
}

/// Creates the owner marker: an external table that nobody reads, whose columns name the owner.
///
/// # Errors
/// [`BadName`] where the owner's start is no part of a name.
pub fn create_marker(datamart: &Datamart, owner: &Owner) -> Result<String, BadName> {
    let columns = owner.columns();
    let columns: Result<Vec<_>, _> =
        columns.iter().map(|name| Ok(format!("{} int", plain(name)?))).collect();
    Ok(format!(
        "CREATE DOWNLOAD EXTERNAL TABLE {datamart}.{} ({}) \
         LOCATION 'kafka://$kafka/none' FORMAT 'AVRO'",
        Owner::MARKER,
        columns?.join(", ")
    ))
}

/// Drops the owner marker.
pub fn drop_marker(datamart: &Datamart) -> String {
    format!("DROP DOWNLOAD EXTERNAL TABLE {datamart}.{}", Owner::MARKER)
}

/// Creates the external table of an attempt: the table's columns, all nullable, so that each is
/// `["null", T]` in the unloaded bodies (D4.9), and `sys_op`, which must be `int32` because the
/// literals 0 and 1 are.
///
/// # Errors
/// [`BadName`] where a name is none.
pub fn create_download(
    datamart: &Datamart,
    attempt: &Attempt,
    table: &Table,
) -> Result<String, BadName> {
    let name = qualified(datamart, &attempt.name.0)?;
    let columns: Result<Vec<_>, _> = table.columns.iter().map(declaration).collect();
    let location = literal(&format!("kafka://$kafka/{}", attempt.name));
    Ok(format!(
        "CREATE DOWNLOAD EXTERNAL TABLE {name} ({}, sys_op int32) \
         LOCATION {location} FORMAT 'AVRO' CHUNK_SIZE {}",
        columns?.join(", "),
        attempt.chunk_size
    ))
}

/// Drops the external table of an attempt.
///
/// # Errors
/// [`BadName`] where the name is none.
pub fn drop_download(datamart: &Datamart, name: &AttemptName) -> Result<String, BadName> {
    Ok(format!("DROP DOWNLOAD EXTERNAL TABLE {}", qualified(datamart, &name.0)?))
}

/// Unloads one half of an increment. Two statements and no UNION ALL, because on ADQM the second
/// branch of a union is read without FINAL and can return rows twice (D4.6).
///
/// # Errors
/// [`BadName`] where a name is none.
pub fn unload(
    datamart: &Datamart,
    attempt: &Attempt,
    table: &Table,
    half: Half,
) -> Result<String, BadName> {
    let into = qualified(datamart, &attempt.name.0)?;
    let from = qualified(datamart, &table.name.0)?;
    let columns = select_list(table)?;
    let sys_op = match half {
        Half::Added => 0,
        Half::Removed => 1,
    };
    let period = system_time(half, attempt.delta);
    let datasource = datasource_clause(attempt.datasource.as_ref());
    Ok(format!(
        "INSERT INTO {into} SELECT {columns}, {sys_op} AS sys_op FROM {from} {period}{datasource}"
    ))
}

/// Counts the rows of one half in this datasource; the number is called `c`.
///
/// # Errors
/// [`BadName`] where a name is none.
pub fn count_rows(
    datamart: &Datamart,
    delta: DeltaNum,
    table: &Table,
    datasource: Option<&Datasource>,
    half: Half,
) -> Result<String, BadName> {
    let from = qualified(datamart, &table.name.0)?;
    let period = system_time(half, delta);
    let datasource = datasource_clause(datasource);
    Ok(format!("SELECT count(*) AS c FROM {from} {period}{datasource}"))
}

/// The half that an unload's statement asked for: connectors repeat it in every key.
pub fn half_of(statement: &str) -> Option<Half> {
    match (statement.contains(" STARTED IN "), statement.contains(" FINISHED IN ")) {
        (true, false) => Some(Half::Added),
        (false, true) => Some(Half::Removed),
        _ => None,
    }
}

fn system_time(half: Half, delta: DeltaNum) -> String {
    let verb = match half {
        Half::Added => "STARTED",
        Half::Removed => "FINISHED",
    };
    format!("FOR SYSTEM_TIME {verb} IN ({delta},{delta})")
}

fn datasource_clause(datasource: Option<&Datasource>) -> String {
    datasource.map(|name| format!(" DATASOURCE_TYPE = {}", literal(&name.0))).unwrap_or_default()
}

fn select_list(table: &Table) -> Result<String, BadName> {
    let columns: Result<Vec<_>, _> = table.columns.iter().map(|c| identifier(&c.name)).collect();
    Ok(columns?.join(", "))
}

fn declaration(of: &Column) -> Result<String, BadName> {
    Ok(format!("{} {}", identifier(&of.name)?, type_name(of.kind)))
}

fn type_name(kind: ColumnType) -> String {
    let sized = |name: &str, size: Option<u32>| match size {
        Some(size) => format!("{name}({size})"),
        None => name.to_owned(),
    };
    match kind {
        ColumnType::Boolean => "boolean".to_owned(),
        ColumnType::Int32 => "int32".to_owned(),
        ColumnType::Int => "int".to_owned(),
        ColumnType::Bigint => "bigint".to_owned(),
        ColumnType::Float => "float".to_owned(),
        ColumnType::Double => "double".to_owned(),
        ColumnType::Char(size) => sized("char", Some(size)),
        ColumnType::Varchar(size) => sized("varchar", size),
        ColumnType::Uuid => "uuid".to_owned(),
        ColumnType::Link => "link".to_owned(),
        ColumnType::Date => "date".to_owned(),
        ColumnType::Time(accuracy) => sized("time", accuracy),
        ColumnType::Timestamp(accuracy) => sized("timestamp", accuracy),
    }
}

fn qualified(datamart: &Datamart, name: &str) -> Result<String, BadName> {
    Ok(format!("{datamart}.{}", identifier(name)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{RunId, TableName};
    use uuid::Uuid;

    fn datamart() -> Datamart {
        Datamart::parse("marketing").expect("a datamart name")
    }

    fn attempt(datasource: Option<&str>) -> Attempt {
        Attempt {
            name: AttemptName("deltakeep_12345678_2_0_1_000000ab".into()),
            delta: DeltaNum(2),
            table: TableName("sales".into()),
            datasource: datasource.map(|name| Datasource(name.into())),
            partitions: 1,
            chunk_size: 1000,
        }
    }

    fn table() -> Table {
        let column = |name: &str, kind| Column { name: name.into(), kind };
        let columns = vec![
            column("id", ColumnType::Bigint),
            column("b", ColumnType::Boolean),
            column("i32", ColumnType::Int32),
            column("i", ColumnType::Int),
            column("f", ColumnType::Float),
            column("d", ColumnType::Double),
            column("c", ColumnType::Char(10)),
            column("v", ColumnType::Varchar(None)),
            column("v20", ColumnType::Varchar(Some(20))),
            column("u", ColumnType::Uuid),
            column("l", ColumnType::Link),
            column("date", ColumnType::Date),
            column("t", ColumnType::Time(Some(6))),
            column("ts", ColumnType::Timestamp(None)),
        ];
        let name = TableName("sales".into());
        let primary_key = vec!["id".to_owned(), "date".to_owned()];
        Table { name, columns, datasources: vec![Datasource("adqm".into())], primary_key }
    }

    fn small() -> Table {
        let mut table = table();
        table.columns.truncate(2);
        table
    }

    #[test]
    fn the_lock_statements_carry_their_code() {
        let code = LockCode::new(&datamart(), 9);
        assert_eq!(deny(&datamart(), &code), "DENY_CHANGES(marketing, 'backup_marketing_9')");
        assert_eq!(allow(&datamart(), &code), "ALLOW_CHANGES(marketing, 'backup_marketing_9')");
        assert_eq!(get_changes(&datamart()), "GET_CHANGES(marketing)");
    }

    #[test]
    fn the_marker_names_its_owner_by_its_columns() {
        let owner =
            Owner { run: RunId(Uuid::from_u128(7)), day: 9, started: "20261121t0525z".into() };
        assert_eq!(
            create_marker(&datamart(), &owner).as_deref(),
            Ok("CREATE DOWNLOAD EXTERNAL TABLE marketing.deltakeep_owner \
                (run_00000000000000000000000000000007 int, day_9 int, at_20261121t0525z int) \
                LOCATION 'kafka://$kafka/none' FORMAT 'AVRO'")
        );
        assert_eq!(
            drop_marker(&datamart()),
            "DROP DOWNLOAD EXTERNAL TABLE marketing.deltakeep_owner"
        );
    }

    #[test]
    fn the_download_table_repeats_every_type_and_adds_sys_op() {
        assert_eq!(
            create_download(&datamart(), &attempt(None), &table()).as_deref(),
            Ok("CREATE DOWNLOAD EXTERNAL TABLE marketing.deltakeep_12345678_2_0_1_000000ab \
                (id bigint, b boolean, i32 int32, i int, f float, d double, c char(10), \
                v varchar, v20 varchar(20), u uuid, l link, \"date\" date, t time(6), \
                ts timestamp, sys_op int32) \
                LOCATION 'kafka://$kafka/deltakeep_12345678_2_0_1_000000ab' \
                FORMAT 'AVRO' CHUNK_SIZE 1000")
        );
        assert_eq!(
            drop_download(&datamart(), &attempt(None).name).as_deref(),
            Ok("DROP DOWNLOAD EXTERNAL TABLE marketing.deltakeep_12345678_2_0_1_000000ab")
        );
    }

    #[test]
    fn each_half_is_one_insert_with_its_sys_op_and_names_its_datasource() {
        let added = unload(&datamart(), &attempt(None), &small(), Half::Added);
        assert_eq!(
            added.as_deref(),
            Ok("INSERT INTO marketing.deltakeep_12345678_2_0_1_000000ab \
                SELECT id, b, 0 AS sys_op FROM marketing.sales \
                FOR SYSTEM_TIME STARTED IN (2,2)")
        );
        let removed = unload(&datamart(), &attempt(Some("adqm")), &small(), Half::Removed);
        assert_eq!(
            removed.as_deref(),
            Ok("INSERT INTO marketing.deltakeep_12345678_2_0_1_000000ab \
                SELECT id, b, 1 AS sys_op FROM marketing.sales \
                FOR SYSTEM_TIME FINISHED IN (2,2) DATASOURCE_TYPE = 'adqm'")
        );
        assert_eq!(added.ok().and_then(|text| half_of(&text)), Some(Half::Added));
        assert_eq!(removed.ok().and_then(|text| half_of(&text)), Some(Half::Removed));
        assert_eq!(half_of("SELECT 1"), None);
    }

    #[test]
    fn sums_name_their_columns() {
        assert_eq!(delta_sum(Sum::Changes, DeltaNum(3)), "CHECK_SUM(3)");
        let columns = ["id".to_owned(), "value".to_owned()];
        assert_eq!(
            table_sum(Sum::Snapshot, &datamart(), DeltaNum(3), &small(), &columns).as_deref(),
            Ok("CHECK_SUM_SNAPSHOT(3, marketing.sales, [id, \"value\"])")
        );
    }

    #[test]
    fn questions_of_the_catalogue_are_asked_in_its_own_case() {
        assert_eq!(
            tables(&datamart()),
            "SELECT TABLE_NAME, TABLE_TYPE, TABLE_DATASOURCE_TYPE FROM INFORMATION_SCHEMA.TABLES \
             WHERE TABLE_SCHEMA = 'MARKETING' ORDER BY TABLE_NAME"
        );
        assert_eq!(config_show("a'b"), "CONFIG_SHOW('a''b')");
        assert_eq!(delta_by_num(DeltaNum(7)), "GET_DELTA_BY_NUM(7)");
        assert_eq!(
            estimate(&datamart(), &small(), DeltaNum(2)).as_deref(),
            Ok("SELECT id, b FROM marketing.sales \
                FOR SYSTEM_TIME STARTED IN (2,2) ESTIMATE_ONLY")
        );
    }

    #[test]
    fn a_name_that_could_end_a_statement_is_refused() {
        for bad in ["", "a b", "a;b", "a'b", "a\"b", "a.b", "1a", "a)b", "имя"] {
            let mut table = small();
            table.columns[0].name = bad.into();
            assert_eq!(
                unload(&datamart(), &attempt(None), &table, Half::Added),
                Err(BadName { name: bad.into() })
            );
        }
    }
}
