//! Owns the answers of delta statements; never numbers a write itself.

use rusqlite::{Connection, Transaction};
use serde_json::{Value as Json, json};

use super::answer::Answer;
use super::catalog;
use super::changelog;
use super::deltas::{self, Delta, Operation, Status};
use super::failure::Failure;
use super::types::Kind;
use super::value;
use super::versions;

const DELTA_COLUMNS: &[(&str, Kind)] = &[
    ("delta_num", Kind::Bigint),
    ("delta_date", Kind::Timestamp),
    ("cn_from", Kind::Bigint),
    ("cn_to", Kind::Bigint),
];

const HOT_COLUMNS: &[(&str, Kind)] = &[
    ("delta_num", Kind::Bigint),
    ("cn_from", Kind::Bigint),
    ("cn_to", Kind::Bigint),
    ("cn_max", Kind::Bigint),
    ("is_rolling_back", Kind::Boolean),
    ("write_op_finished", Kind::Varchar),
];

const OPERATION_COLUMNS: &[(&str, Kind)] = &[
    ("sys_cn", Kind::Bigint),
    ("status", Kind::Int),
    ("destination_table_name", Kind::Varchar),
    ("external_table_name", Kind::Varchar),
    ("query", Kind::Varchar),
];

/// These statements need a datamart and take it letter by letter.
fn named(datamart: &str) -> Result<&str, Failure> {
    if datamart.is_empty() { Err(Failure::NoDatamart) } else { Ok(datamart) }
}

fn existing<'d>(conn: &Connection, datamart: &'d str) -> Result<&'d str, Failure> {
    let datamart = named(datamart)?;
    match catalog::has_datamart(conn, datamart)? {
        true => Ok(datamart),
        false => Err(Failure::DeltaNoDatamart(datamart.to_owned())),
    }
}

fn number_answer(number: i64) -> Answer {
    Answer::table(&[("delta_num", Kind::Bigint)], true).row(vec![json!(number)])
}

/// BEGIN DELTA [SET n]
pub(crate) fn begin(
    tx: &Transaction<'_>,
    datamart: &str,
    wanted: Option<i64>,
) -> Result<Answer, Failure> {
    let datamart = named(datamart)?;
    if !catalog::has_datamart(tx, datamart)? {
        let number = wanted.map_or("null".to_owned(), |n| n.to_string());
        return Err(Failure::BeginNoDatamart(datamart.to_owned(), number));
    }
    if let Some(hot) = deltas::hot(tx, datamart)? {
        return Err(Failure::DeltaOpen(hot.number));
    }
    let next = deltas::last(tx, datamart)?.map_or(0, |d| d.number + 1);
    if let Some(wanted) = wanted.filter(|n| *n != next) {
        return Err(Failure::DeltaNotNext(wanted));
    }
    if changelog::unfinished(tx, datamart)?.is_some() {
        return Err(wanted.map_or(Failure::DeltaForbidden, Failure::DeltaBlocked));
    }
    deltas::begin(tx, datamart).map(number_answer)
}

/// COMMIT DELTA [SET 'date']
pub(crate) fn commit(
    tx: &Transaction<'_>,
    datamart: &str,
    wanted: Option<&str>,
    now: i64,
) -> Result<Answer, Failure> {
    let datamart = named(datamart)?;
    let date = wanted.map(second).transpose()?;
    if !catalog::has_datamart(tx, datamart)? {
        let date = wanted.unwrap_or("null").to_owned();
        return Err(Failure::CommitNoDatamart(datamart.to_owned(), date));
    }
    let hot = deltas::hot(tx, datamart)?.ok_or(Failure::DeltaCommitted)?;
    if hot.rolling_back {
        return Err(Failure::DeltaRollingBack(hot.number));
    }
    if deltas::operations(tx, datamart)?.iter().any(|o| o.status == Status::Executing) {
        return Err(Failure::WritesUnfinished);
    }
    let date = date.unwrap_or(now);
    if let Some(last) = deltas::last(tx, datamart)?.filter(|last| date <= last.date) {
        return Err(Failure::DeltaDate {
            wanted: value::format_second(date),
            actual: value::format_second(last.date),
        });
    }
    deltas::commit(tx, datamart, hot, date)?;
    let date = json!(date * 1_000_000);
    Ok(Answer::table(&[("delta_date", Kind::Timestamp)], true).row(vec![date]))
}

/// The beginning of a ROLLBACK DELTA that takes its time: operations under way end here.
pub(crate) fn begin_rollback(tx: &Transaction<'_>, datamart: &str) -> Result<(), Failure> {
    let datamart = named(datamart)?;
    deltas::hot(tx, datamart)?.ok_or_else(|| Failure::Rollback(datamart.to_owned()))?;
    deltas::begin_rollback(tx, datamart)
}

/// ROLLBACK DELTA
pub(crate) fn rollback(tx: &Transaction<'_>, datamart: &str) -> Result<Answer, Failure> {
    let datamart = named(datamart)?;
    let refused = || Failure::Rollback(datamart.to_owned());
    let hot = deltas::hot(tx, datamart)?.ok_or_else(refused)?;
    for operation in deltas::operations(tx, datamart)?.iter().rev() {
        if let Some(entity) = catalog::find(tx, datamart, &operation.target)? {
            versions::erase(tx, &entity, operation.cn)?;
        }
    }
    deltas::forget(tx, datamart)?;
    Ok(number_answer(hot.number))
}

fn second(text: &str) -> Result<i64, Failure> {
    value::parse_second(text).ok_or_else(|| Failure::DeltaDateFormat(text.to_owned()))
}

fn delta_answer(delta: Option<Delta>) -> Answer {
    let answer = Answer::table(DELTA_COLUMNS, true);
    match delta {
        None => answer,
        Some(d) => answer.row(vec![
            json!(d.number),
            json!(d.date * 1_000_000),
            json!(d.cn_from),
            json!(d.cn_to),
        ]),
    }
}

/// GET_DELTA_OK; `stale` answers with the delta before the last one.
pub(crate) fn ok(conn: &Connection, datamart: &str, stale: bool) -> Result<Answer, Failure> {
    let datamart = existing(conn, datamart)?;
    let mut delta = deltas::last(conn, datamart)?;
    if let Some(last) = delta.filter(|_| stale) {
        delta = deltas::by_number(conn, datamart, last.number - 1)?;
    }
    Ok(delta_answer(delta))
}

/// GET_DELTA_BY_NUM
pub(crate) fn by_number(conn: &Connection, datamart: &str, number: i64) -> Result<Answer, Failure> {
    let datamart = named(datamart)?;
    if number < 0 {
        return Err(Failure::DeltaNegative);
    }
    let delta = deltas::by_number(conn, existing(conn, datamart)?, number)?;
    delta.map(|d| delta_answer(Some(d))).ok_or(Failure::DeltaNotExist)
}

/// GET_DELTA_BY_DATETIME
pub(crate) fn by_date(conn: &Connection, datamart: &str, text: &str) -> Result<Answer, Failure> {
    let datamart = named(datamart)?;
    let date = second(text)?;
    let datamart = existing(conn, datamart)?;
    deltas::last(conn, datamart)?.ok_or(Failure::DeltaNotExist)?;
    let delta = deltas::by_date(conn, datamart, date)?;
    delta.map(|d| delta_answer(Some(d))).ok_or(Failure::DeltaNotFound)
}

/// GET_DELTA_HOT
pub(crate) fn hot(conn: &Connection, datamart: &str) -> Result<Answer, Failure> {
    let datamart = existing(conn, datamart)?;
    let answer = Answer::table(HOT_COLUMNS, true);
    let Some(hot) = deltas::hot(conn, datamart)? else {
        return Ok(answer);
    };
    let operations = deltas::operations(conn, datamart)?;
    let ended = operations.iter().filter(|o| o.status != Status::Executing);
    let cn_max = ended.map(|o| o.cn).max().unwrap_or(hot.cn_from - 1);
    Ok(answer.row(vec![
        json!(hot.number),
        json!(hot.cn_from),
        json!(deltas::unbroken(&operations)),
        json!(cn_max),
        json!(hot.rolling_back),
        finished(&operations),
    ]))
}

/// The finished operations by table, as a JSON text.
fn finished(operations: &[Operation]) -> Json {
    let mut tables: Vec<(&str, Vec<i64>)> = Vec::new();
    for operation in operations.iter().filter(|o| o.status == Status::Finished) {
        match tables.iter_mut().find(|(name, _)| *name == operation.target) {
            Some((_, numbers)) => numbers.push(operation.cn),
            None => tables.push((&operation.target, vec![operation.cn])),
        }
    }
    if tables.is_empty() {
        return Json::Null;
    }
    let tables: Vec<_> = tables
        .iter()
        .map(|(name, numbers)| format!("{{\"tableName\":\"{name}\",\"cnList\":{numbers:?}}}"))
        .collect();
    json!(format!("[{}]", tables.join(",")).replace(", ", ","))
}

/// GET_WRITE_OPERATIONS: only those still under way.
pub(crate) fn write_operations(conn: &Connection, datamart: &str) -> Result<Answer, Failure> {
    let datamart = existing(conn, datamart)?;
    let mut answer = Answer::table(OPERATION_COLUMNS, false);
    for o in deltas::operations(conn, datamart)? {
        if o.status == Status::Executing {
            answer.push(vec![
                json!(o.cn),
                json!(0),
                json!(o.target),
                json!(o.external),
                json!(printed(datamart, &o)),
            ]);
        }
    }
    Ok(answer)
}

/// A load as the node's parser prints it; other statements are under way too short to be seen.
fn printed(datamart: &str, operation: &Operation) -> String {
    match &operation.external {
        Some(external) => {
            format!(
                "INSERT INTO {datamart}.{}\n(SELECT *\nFROM {datamart}.{external})",
                operation.target
            )
        }
        None => operation.query.clone(),
    }
}

/// ERASE_WRITE_OPERATION: undoes one that is under way.
pub(crate) fn erase_write(
    tx: &Transaction<'_>,
    datamart: &str,
    cn: i64,
) -> Result<Answer, Failure> {
    let datamart = existing(tx, datamart)?;
    let operations = deltas::operations(tx, datamart)?;
    let found = operations.iter().find(|o| o.cn == cn && o.status == Status::Executing);
    let operation = found.ok_or(Failure::NoActiveOperation)?;
    if let Some(entity) = catalog::find(tx, datamart, &operation.target)? {
        versions::erase(tx, &entity, cn)?;
    }
    deltas::end_operation(tx, datamart, cn, Status::Failed)?;
    Ok(Answer::nothing())
}
