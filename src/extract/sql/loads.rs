//! The statements that fill a datamart: deltas opened and closed, loads from a topic (PROSTORE.md
//! 2.3, 2.5, 6; recordings 06, 12, 17). Owns their wording; never sends anything.

use super::names::literal;
use super::{BadName, declaration, qualified};
use crate::model::{AttemptName, Datamart, DeltaDate, DeltaNum, Table};

/// A date that no calendar has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} microseconds since 1970 are beyond the calendar", .0)]
pub struct BadDate(pub DeltaDate);

/// CREATE DATABASE.
pub fn create_datamart(datamart: &Datamart) -> String {
    format!("CREATE DATABASE {datamart}")
}

/// DROP DATABASE, with all it holds.
pub fn drop_datamart(datamart: &Datamart) -> String {
    format!("DROP DATABASE {datamart}")
}

/// GET_DELTA_HOT: it takes the datamart from the request.
pub fn delta_hot() -> String {
    "GET_DELTA_HOT()".to_owned()
}

/// GET_WRITE_OPERATIONS: it takes the datamart from the request.
pub fn write_operations() -> String {
    "GET_WRITE_OPERATIONS()".to_owned()
}

/// ERASE_CHANGE_OPERATION.
pub fn erase_change(datamart: &Datamart, num: u64) -> String {
    format!("ERASE_CHANGE_OPERATION({num}, {datamart})")
}

/// BEGIN DELTA SET: it takes the datamart from the request.
pub fn begin_delta(delta: DeltaNum) -> String {
    format!("BEGIN DELTA SET {delta}")
}

/// COMMIT DELTA SET, in UTC: it takes the datamart from the request. A date of whole seconds is
/// written without a fraction, for a 5.5 node knows no other (recording 14).
///
/// # Errors
/// [`BadDate`] beyond the calendar.
pub fn commit_delta(date: DeltaDate) -> Result<String, BadDate> {
    let time = jiff::Timestamp::from_microsecond(date.0).map_err(|_| BadDate(date))?;
    let fraction = if date.0 % 1_000_000 == 0 { "" } else { "%.6f" };
    let text = time.strftime(&format!("%Y-%m-%d %H:%M:%S{fraction}")).to_string();
    Ok(format!("COMMIT DELTA SET {}", literal(&text)))
}

/// ROLLBACK DELTA: it takes the datamart from the request.
pub fn rollback_delta() -> String {
    "ROLLBACK DELTA".to_owned()
}

/// Creates the external table of a load: the table's columns by their names, for the node lists
/// them in its own INSERT. `sys_op` is hidden in such a table and not declared.
///
/// # Errors
/// [`BadName`] where a name is none.
pub fn create_upload(
    datamart: &Datamart,
    name: &AttemptName,
    table: &Table,
    message_limit: Option<u32>,
) -> Result<String, BadName> {
    let columns: Result<Vec<_>, _> = table.columns.iter().map(declaration).collect();
    let location = literal(&format!("kafka://$kafka/{name}"));
    let limit = message_limit.map(|limit| format!(" MESSAGE_LIMIT {limit}")).unwrap_or_default();
    Ok(format!(
        "CREATE UPLOAD EXTERNAL TABLE {} ({}) LOCATION {location} FORMAT 'AVRO'{limit}",
        qualified(datamart, &name.0)?,
        columns?.join(", "),
    ))
}

/// Loads a table from the external table of a load.
///
/// # Errors
/// [`BadName`] where a name is none.
pub fn load(datamart: &Datamart, name: &AttemptName, table: &Table) -> Result<String, BadName> {
    let (into, from) = (qualified(datamart, &table.name.0)?, qualified(datamart, &name.0)?);
    Ok(format!("INSERT INTO {into} SELECT * FROM {from}"))
}

/// Drops the external table of a load.
///
/// # Errors
/// [`BadName`] where the name is none.
pub fn drop_upload(datamart: &Datamart, name: &AttemptName) -> Result<String, BadName> {
    Ok(format!("DROP UPLOAD EXTERNAL TABLE {}", qualified(datamart, &name.0)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Column, ColumnType, TableName};

    fn datamart() -> Datamart {
        Datamart::parse("copy").expect("a datamart name")
    }

    fn name() -> AttemptName {
        AttemptName("deltakeep_12345678_2_0_1_000000ab".into())
    }

    fn table() -> Table {
        let column = |name: &str, kind| Column { name: name.into(), kind };
        Table {
            name: TableName("comp".into()),
            columns: vec![
                column("k1", ColumnType::Int),
                column("k2", ColumnType::Varchar(Some(20))),
                column("date", ColumnType::Date),
            ],
            datasources: vec![],
            primary_key: vec!["k1".into()],
        }
    }

    #[test]
    fn deltas_are_opened_by_number_and_closed_by_date_as_recorded() {
        assert_eq!(begin_delta(DeltaNum(3)), "BEGIN DELTA SET 3");
        let commit = |micros| commit_delta(DeltaDate(micros));
        let recorded = "COMMIT DELTA SET '2026-11-21 05:12:05'";
        assert_eq!(commit(1_795_237_925_000_000).as_deref(), Ok(recorded));
        assert_eq!(commit(0).as_deref(), Ok("COMMIT DELTA SET '1970-01-01 00:00:00'"));
        assert_eq!(commit(-1_000_000).as_deref(), Ok("COMMIT DELTA SET '1969-12-31 23:59:59'"));
        assert_eq!(
            commit(1_500_000).as_deref(),
            Ok("COMMIT DELTA SET '1970-01-01 00:00:01.500000'")
        );
        assert_eq!(commit(i64::MAX), Err(BadDate(DeltaDate(i64::MAX))));
        assert_eq!(erase_change(&datamart(), 7), "ERASE_CHANGE_OPERATION(7, copy)");
    }

    #[test]
    fn a_load_has_an_external_table_with_the_columns_of_its_own() {
        let create = |limit| create_upload(&datamart(), &name(), &table(), limit);
        let text = "CREATE UPLOAD EXTERNAL TABLE copy.deltakeep_12345678_2_0_1_000000ab \
                    (k1 int, k2 varchar(20), \"date\" date) \
                    LOCATION 'kafka://$kafka/deltakeep_12345678_2_0_1_000000ab' FORMAT 'AVRO'";
        assert_eq!(create(None).as_deref(), Ok(text));
        assert_eq!(create(Some(10)), Ok(format!("{text} MESSAGE_LIMIT 10")));
        assert_eq!(
            load(&datamart(), &name(), &table()).as_deref(),
            Ok("INSERT INTO copy.comp SELECT * FROM copy.deltakeep_12345678_2_0_1_000000ab")
        );
        assert_eq!(
            drop_upload(&datamart(), &name()).as_deref(),
            Ok("DROP UPLOAD EXTERNAL TABLE copy.deltakeep_12345678_2_0_1_000000ab")
        );
    }

    #[test]
    fn a_name_that_could_end_a_statement_is_refused() {
        let bad = AttemptName("x; DROP DATABASE copy".into());
        let refused = Err(BadName { name: bad.0.clone() });
        assert_eq!(create_upload(&datamart(), &bad, &table(), None), refused);
        assert_eq!(load(&datamart(), &bad, &table()), refused);
        assert_eq!(drop_upload(&datamart(), &bad), refused);
    }
}
