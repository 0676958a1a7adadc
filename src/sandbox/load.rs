//! Owns loads: the messages of a topic as one write operation; never unloads.

use std::sync::Arc;
use std::time::Duration;

use apache_avro::Reader;
use apache_avro::types::Value as Avro;
use rusqlite::types::Value as Stored;
use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::broker::{Received, TopicReader};
use super::deltas::{self, Started, Status};
use super::entity::{Entity, External, Table};
use super::failure::Failure;
use super::faults::FaultKind;
use super::location;
use super::node::{Node, Outcome};
use super::types::Kind;
use super::value;
use super::versions::{self, Versions};
use super::{Answer, Datasource};

/// Status of a load that was ended from outside. The text of a real node is not recorded.
const BROKEN: &str = "BREAK_MPPW";

/// Rows applied in one transaction.
const BATCH: usize = 20_000;

/// A load: from an upload external table into a logical table.
#[derive(Clone)]
pub(crate) struct Job {
    pub(crate) entity: Entity,
    pub(crate) table: Table,
    pub(crate) source: String,
    pub(crate) external: External,
}

/// Why a load came to nothing.
enum Stop {
    Failed(Failure),
    /// The status the monitor would report.
    Timeout(&'static str),
}

/// What goes wrong in one load.
#[derive(Clone, Copy, Default)]
struct Mischief {
    pause: u64,
    zombie: Option<u64>,
    hangs: bool,
    lies: bool,
    fails: bool,
    counts: bool,
    drop_answer: bool,
}

impl Mischief {
    fn due(node: &Node) -> Self {
        let mut mischief = Self::default();
        for fault in node.faults.due(is_load) {
            match fault {
                FaultKind::SlowLoad(ms) => mischief.pause = ms,
                FaultKind::ZombieLoad(ms) => mischief.zombie = Some(ms),
                FaultKind::HangLoad => mischief.hangs = true,
                FaultKind::LyingLoad => mischief.lies = true,
                FaultKind::FailLoad => mischief.fails = true,
                FaultKind::FailLoadCounted => (mischief.fails, mischief.counts) = (true, true),
                FaultKind::DropLoadAnswer => mischief.drop_answer = true,
                _ => {}
            }
        }
        mischief
    }
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Kafka(text) if text == "CHANGE_OFFSET_TIMEOUT" => {
                Stop::Timeout("CHANGE_OFFSET_TIMEOUT")
            }
            other => Stop::Failed(other),
        }
    }
}

/// Runs `INSERT INTO table SELECT * FROM upload_external`.
pub(crate) fn run(node: &Arc<Node>, job: &Job, statement: &str) -> Outcome {
    let started = node.store.write(|tx| {
        let (datamart, name) = (&job.entity.datamart, &job.entity.name);
        deltas::start_operation(tx, datamart, name, Some(&job.source), statement)
    });
    match started {
        Ok(operation) => resume(node, job, operation),
        Err(failure) => Outcome::Failed(failure),
    }
}

/// Goes on with a load that has its number already, also after a restart.
pub(crate) fn resume(node: &Arc<Node>, job: &Job, operation: Started) -> Outcome {
    let mischief = Mischief::due(node);
    let Some(ms) = mischief.zombie else { return work(node, job, operation, mischief) };
    let (node, job) = (Arc::clone(node), job.clone());
    // Its outcome has nobody to go to: the client's connection is cut.
    let _detached = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(ms));
        work(&node, &job, operation, mischief)
    });
    Outcome::Cut
}

fn work(node: &Node, job: &Job, operation: Started, mischief: Mischief) -> Outcome {
    std::thread::sleep(node.options.load_delay + Duration::from_millis(mischief.pause));
    if mischief.hangs {
        return Outcome::Hang;
    }
    let result = if mischief.lies {
        Ok(())
    } else if mischief.fails {
        Err(Stop::Timeout("FIRST_OFFSET_TIMEOUT"))
    } else {
        transfer(node, job, operation)
    };
    let outcome = settle(node, job, operation, result, mischief.counts);
    if mischief.drop_answer { Outcome::Cut } else { outcome }
}

fn is_load(kind: FaultKind) -> bool {
    matches!(
        kind,
        FaultKind::SlowLoad(_)
            | FaultKind::ZombieLoad(_)
            | FaultKind::HangLoad
            | FaultKind::LyingLoad
            | FaultKind::FailLoad
            | FaultKind::FailLoadCounted
            | FaultKind::DropLoadAnswer
    )
}

/// Marks the operation as finished, or takes its rows back. One that was ended from outside is
/// left as it is: its rows are gone, and its number may be another's.
fn settle(
    node: &Node,
    job: &Job,
    operation: Started,
    result: Result<(), Stop>,
    counts: bool,
) -> Outcome {
    let failed = result.is_err();
    let settled = node.store.write(|tx| {
        if !deltas::is_under_way(tx, operation.ticket)? {
            return Ok(false);
        }
        if failed {
            versions::erase(tx, &job.entity, operation.cn)?;
        }
        let status = if failed && !counts { Status::Failed } else { Status::Finished };
        deltas::end_operation(tx, &job.entity.datamart, operation.cn, status)?;
        Ok(true)
    });
    let timeout = |status: &str| Failure::Load {
        plugin: datasource(&job.table).name().to_owned(),
        status: status.to_owned(),
        request: uuid::Uuid::new_v4().to_string(),
    };
    match (result, settled) {
        (_, Ok(false)) => Outcome::Failed(timeout(BROKEN)),
        (Ok(()), Ok(true)) => Outcome::Answered(Answer::nothing()),
        (Err(Stop::Failed(failure)), _) | (Ok(()), Err(failure)) => Outcome::Failed(failure),
        (Err(Stop::Timeout(status)), _) => Outcome::Failed(timeout(status)),
    }
}

fn datasource(table: &Table) -> Datasource {
    if table.is_adqm_only() { Datasource::Adqm } else { Datasource::Adp }
}

/// The consumer group whose offsets decide what was loaded before.
fn group(table: &Table) -> &'static str {
    match datasource(table) {
        Datasource::Adp => "adp-load",
        Datasource::Adqm => "adb-emulator-load-adqm",
    }
}

fn consumed(
    conn: &Connection,
    group: &str,
    topic: &str,
    part: i32,
) -> Result<Option<i64>, Failure> {
    let sql = "SELECT next FROM consumed WHERE grp = ?1 AND topic = ?2 AND part = ?3";
    Ok(conn.query_row(sql, params![group, topic, part], |row| row.get(0)).optional()?)
}

fn transfer(node: &Node, job: &Job, operation: Started) -> Result<(), Stop> {
    let never = Stop::Timeout("FIRST_OFFSET_TIMEOUT");
    let Some(location) = location::parse(&job.external.location) else {
        return Err(never);
    };
    if !location::reachable(&location, &node.options) {
        let text = format!("Location {} is unreachable", location.hosts);
        return Err(Stop::Failed(Failure::Unsupported(text)));
    }
    let group = group(&job.table);
    let topic = location.topic;
    let mut reader = node.store.read(|conn| {
        node.broker.open(&topic, |part| consumed(conn, group, &topic, part).ok().flatten())
    })?;
    let (ever, left) = reader.counts();
    if ever == 0 {
        return Err(never);
    }
    if left == 0 {
        return Ok(());
    }
    let mut rows = 0;
    while let Some(batch) = read_batch(&mut reader, job)? {
        rows += batch.rows.len();
        let applied = node.store.write(|tx| apply(tx, job, operation, &batch, (group, &topic)))?;
        if !applied {
            return Err(Stop::Timeout(BROKEN));
        }
    }
    // The PostgreSQL writer fails on a batch without rows, the ClickHouse one does not.
    if rows == 0 && datasource(&job.table) == Datasource::Adp { Err(never) } else { Ok(()) }
}

/// Decoded rows and how far they bring each partition.
#[derive(Default)]
struct Batch {
    rows: Vec<(Vec<Stored>, bool)>,
    offsets: Vec<(i32, i64)>,
}

fn read_batch(reader: &mut TopicReader, job: &Job) -> Result<Option<Batch>, Stop> {
    let mut batch = Batch::default();
    while batch.rows.len() < BATCH {
        let Some(message) = reader.next()? else { break };
        decode(&message, job, &mut batch.rows).ok_or(Stop::Timeout("FIRST_OFFSET_TIMEOUT"))?;
        batch.offsets.push((message.partition, message.offset + 1));
    }
    Ok(if batch.offsets.is_empty() { None } else { Some(batch) })
}

/// Appends the rows of a message; `None` when it is not what a load can read.
fn decode(message: &Received, job: &Job, rows: &mut Vec<(Vec<Stored>, bool)>) -> Option<()> {
    if message.payload.is_empty() {
        return Some(());
    }
    for record in Reader::new(message.payload.as_slice()).ok()? {
        let Avro::Record(fields) = record.ok()? else {
            return None;
        };
        let mut row = vec![Stored::Null; job.table.columns.len()];
        let mut fields = fields.into_iter();
        for column in &job.external.columns {
            let (_, field) = fields.next()?;
            let stored = convert(field, column.kind)?;
            let at = job.table.position(&column.name)?;
            *row.get_mut(at)? = stored;
        }
        let deleted = if job.external.hidden_sys_op {
            matches!(convert(fields.next()?.1, Kind::Bigint)?, Stored::Integer(1..))
        } else {
            false
        };
        rows.push((row, deleted));
    }
    Some(())
}

fn convert(field: Avro, kind: Kind) -> Option<Stored> {
    Some(match field {
        Avro::Union(_, inner) => return convert(*inner, kind),
        Avro::Null => Stored::Null,
        Avro::Boolean(b) => Stored::Integer(b.into()),
        Avro::Int(n) | Avro::Date(n) => number(i64::from(n), kind),
        Avro::Long(n) | Avro::TimeMicros(n) | Avro::TimestampMicros(n) => number(n, kind),
        Avro::TimestampMillis(n) => number(n.checked_mul(1000)?, kind),
        Avro::TimeMillis(n) => number(i64::from(n) * 1000, kind),
        Avro::Float(f) => value::loaded_float(f64::from(f)),
        Avro::Double(f) => value::loaded_float(f),
        Avro::String(text) | Avro::Enum(_, text) => Stored::Text(text),
        Avro::Uuid(uuid) => Stored::Text(uuid.to_string()),
        _ => return None,
    })
}

fn number(number: i64, kind: Kind) -> Stored {
    match kind {
        Kind::Float | Kind::Double => Stored::Real(number as f64),
        _ if kind.is_text() => Stored::Text(number.to_string()),
        _ => Stored::Integer(number),
    }
}

/// Writes rows and offsets down; false where the operation was ended from outside.
fn apply(
    tx: &Transaction<'_>,
    job: &Job,
    operation: Started,
    batch: &Batch,
    (group, topic): (&str, &str),
) -> Result<bool, Failure> {
    if !deltas::is_under_way(tx, operation.ticket)? {
        return Ok(false);
    }
    let versions = Versions::new(tx, &job.entity, &job.table, operation.cn);
    for (row, deleted) in &batch.rows {
        if *deleted { versions.delete(row)? } else { versions.put(row)? }
    }
    let mut save = tx.prepare_cached("INSERT OR REPLACE INTO consumed VALUES (?1, ?2, ?3, ?4)")?;
    for (part, next) in &batch.offsets {
        save.execute(params![group, topic, part, next])?;
    }
    Ok(true)
}
