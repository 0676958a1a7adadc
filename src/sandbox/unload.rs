//! Owns unloads: the rows of a SELECT as chunks in a topic; never loads.

use std::sync::Arc;
use std::time::Duration;

use rusqlite::Connection;

use super::avro::{self, Place};
use super::broker::Progress;
use super::entity::{Entity, External};
use super::failure::Failure;
use super::faults::FaultKind;
use super::location::{self, Location};
use super::node::{Node, Outcome};
use super::query::{Planner, Quoting, Selection, narrow_literal, print};
use super::select;
use super::{Answer, Datasource};

/// What an injected fault changes in one unload.
#[derive(Debug, Clone, Copy, Default)]
struct Mischief {
    fail_after: Option<u64>,
    hang_after: Option<u64>,
    pause: u64,
    zombie: Option<u64>,
    reader_down: bool,
    oversize: bool,
    double_last: bool,
    duplicate: bool,
    skip: bool,
    silent: bool,
    drop_answer: bool,
}

impl Mischief {
    fn due(node: &Node) -> Self {
        let mut mischief = Mischief::default();
        for kind in node.faults.due(is_unload) {
            match kind {
                FaultKind::HangUnload => mischief.hang_after = Some(0),
                FaultKind::HangUnloadAfter(n) => mischief.hang_after = Some(n),
                FaultKind::FailUnloadAfter(n) => mischief.fail_after = Some(n),
                FaultKind::SlowUnload(ms) => mischief.pause = ms,
                FaultKind::ZombieUnload(ms) => mischief.zombie = Some(ms),
                FaultKind::ReaderDown => mischief.reader_down = true,
                FaultKind::OversizeUnload => mischief.oversize = true,
                FaultKind::DoubleLast => mischief.double_last = true,
                FaultKind::DuplicateChunk => mischief.duplicate = true,
                FaultKind::SkipChunk => mischief.skip = true,
                FaultKind::SilentUnload => mischief.silent = true,
                FaultKind::DropUnloadAnswer => mischief.drop_answer = true,
                _ => {}
            }
        }
        mischief
    }
}

fn is_unload(kind: FaultKind) -> bool {
    use FaultKind as K;
    matches!(
        kind,
        K::HangUnload
            | K::HangUnloadAfter(_)
            | K::FailUnloadAfter(_)
            | K::SlowUnload(_)
            | K::ZombieUnload(_)
            | K::ReaderDown
            | K::OversizeUnload
            | K::DoubleLast
            | K::DuplicateChunk
            | K::SkipChunk
            | K::SilentUnload
            | K::DropUnloadAnswer
    )
}

/// Why rows stopped flowing.
enum Stop {
    Failed(Failure),
    Broken(String),
    Hang,
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Stop::Failed(failure)
    }
}

/// An unload ready to run.
struct Job {
    entity: Entity,
    external: External,
    location: Location,
    datasource: Datasource,
    datamart: String,
    selection: Selection,
    statement: String,
}

/// Runs `INSERT INTO download_external SELECT ...`; `statement` is its text.
pub(crate) fn run(
    node: &Arc<Node>,
    datamart: &str,
    (entity, external): (Entity, External),
    selection: &Selection,
    statement: &str,
) -> Outcome {
    let job = match prepare(node, datamart, (entity, external), selection, statement) {
        Ok(job) => job,
        Err(failure) => return Outcome::Failed(failure),
    };
    let mischief = Mischief::due(node);
    if let Some(delay) = mischief.zombie {
        let node = Arc::clone(node);
        // Detached on purpose: a real connector also goes on when nobody waits for it.
        let _detached = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(delay));
            transfer(&node, &job, mischief).is_ok()
        });
        return Outcome::Cut;
    }
    let result = transfer(node, &job, mischief);
    match result {
        Err(Stop::Hang) => Outcome::Hang,
        _ if mischief.drop_answer => Outcome::Cut,
        Ok(()) => Outcome::Answered(Answer::nothing()),
        Err(Stop::Failed(failure)) => Outcome::Failed(failure),
        Err(Stop::Broken(cause)) => Outcome::Failed(wrapped(&job, cause)),
    }
}

fn wrapped(job: &Job, cause: String) -> Failure {
    // The ClickHouse connector loses its own error text, but not that it cannot be reached.
    let lost = job.datasource == Datasource::Adqm && cause != unreachable_reader(job.datasource);
    let cause = if lost { "null".to_owned() } else { cause };
    refused(&job.entity, &job.datamart, &job.selection, cause)
}

fn refused(entity: &Entity, datamart: &str, selection: &Selection, cause: String) -> Failure {
    let query = print(&selection.query, datamart, Quoting::Backticks);
    Failure::Unload { table: entity.name.clone(), query, cause }
}

fn prepare(
    node: &Node,
    datamart: &str,
    (entity, external): (Entity, External),
    selection: &Selection,
    statement: &str,
) -> Result<Job, Failure> {
    let plan = node.store.read(|conn| Planner::new(conn, datamart).for_unload().plan(selection))?;
    if let Some(other) = plan.tables.iter().find(|t| t.datamart != entity.datamart) {
        return Err(Failure::TwoDatamarts(entity.datamart.clone(), other.datamart.clone()));
    }
    let refused = |cause: String| refused(&entity, datamart, selection, cause);
    let source: Vec<_> = plan.columns.iter().map(|c| c.kind.family()).collect();
    let wanted: Vec<_> = external.columns.iter().map(|c| c.kind.family()).collect();
    if source != wanted {
        let name = &entity.name;
        return Err(refused(format!(
            "The types of columns of the destination table [{name}] and the types of the selection columns does not match!"
        )));
    }
    let location = location::parse(&external.location)
        .ok_or_else(|| refused(format!("Location {} is unreachable", external.location)))?;
    if !location::reachable(&location, &node.options) {
        return Err(refused(format!("Location {} is unreachable", location.hosts)));
    }
    let datasource = plan.datasource.unwrap_or(Datasource::Adp);
    Ok(Job {
        location,
        datasource,
        datamart: datamart.to_owned(),
        selection: selection.clone(),
        statement: statement.to_owned(),
        entity,
        external,
    })
}

/// Reads rows and sends them; returns when all messages are acknowledged.
fn transfer(node: &Node, job: &Job, mischief: Mischief) -> Result<(), Stop> {
    if mischief.silent {
        return Ok(());
    }
    if mischief.reader_down {
        return Err(Stop::Broken(unreachable_reader(job.datasource)));
    }
    let progress = Arc::new(Progress::default());
    let mut stop = None;
    node.store.read(|conn| {
        stop = stream(node, conn, job, mischief, &progress).err();
        Ok(())
    })?;
    let finished = progress.finish();
    match stop {
        Some(stop) => Err(stop),
        None => finished.map_err(Stop::Broken),
    }
}

fn unreachable_reader(datasource: Datasource) -> String {
    match datasource {
        Datasource::Adp => "Request[POST] to [http://127.0.0.1:18094/query] failed".to_owned(),
        Datasource::Adqm => {
            "finishConnect(..) failed: Connection refused: /127.0.0.1:14087".to_owned()
        }
    }
}

fn stream(
    node: &Node,
    conn: &Connection,
    job: &Job,
    mischief: Mischief,
    progress: &Arc<Progress>,
) -> Result<(), Stop> {
    let plan = Planner::new(conn, &job.datamart).for_unload().plan(&job.selection)?;
    let parallel = job.datasource == Datasource::Adqm && plan.simple;
    let count = if parallel { node.options.shards.max(1) } else { 1 };
    let mut sender = Sender {
        node,
        job,
        mischief,
        progress,
        schema: avro::schema(&job.entity.datamart, &job.entity.name, &job.external),
        streams: (0..count).map(|_| Stream::default()).collect(),
        sent: 0,
    };
    let narrow = narrow_literal(&job.selection).filter(|_| job.datasource == Datasource::Adp);
    let mut scratch = Vec::new();
    let mut stopped = None;
    select::each_row(conn, &plan, |row| {
        if let Some(number) = &narrow {
            stopped = Some(Stop::Broken(format!(
                "org.apache.avro.UnresolvedUnionException: Not in union [\"null\",\"long\"]: {number}"
            )));
            return Err(Failure::Parsing);
        }
        scratch.clear();
        avro::row(&mut scratch, &job.external.columns, row)?;
        stopped = sender.add(&scratch).err();
        // Any failure ends the reading; the true reason is in `stopped`.
        if stopped.is_some() {
            Err(Failure::Parsing)
        } else {
            Ok(())
        }
    })
    .map_err(|failure| stopped.take().unwrap_or(Stop::Broken(failure.to_string())))?;
    sender.end()
}

/// Rows of one stream not sent yet.
#[derive(Default)]
struct Stream {
    data: Vec<u8>,
    rows: u64,
    chunk: i32,
}

struct Sender<'a> {
    node: &'a Node,
    job: &'a Job,
    mischief: Mischief,
    progress: &'a Arc<Progress>,
    schema: String,
    streams: Vec<Stream>,
    sent: u64,
}

impl Sender<'_> {
    fn add(&mut self, row: &[u8]) -> Result<(), Stop> {
        let at = shard(row, self.streams.len());
        let Some(stream) = self.streams.get_mut(at) else {
            return Ok(());
        };
        stream.data.extend_from_slice(row);
        stream.rows += 1;
        let full = stream.rows >= self.job.external.chunk_size;
        if full { self.flush(at, false) } else { Ok(()) }
    }

    /// Every stream ends with one more message, which may have no rows.
    fn end(&mut self) -> Result<(), Stop> {
        for at in 0..self.streams.len() {
            self.flush(at, true)?;
            if self.mischief.double_last {
                self.flush(at, true)?;
            }
        }
        if self.mischief.oversize {
            return Err(Stop::Broken("The message is 4081825 bytes when serialized which is larger than 1048576, which is the value of the max.request.size configuration.".to_owned()));
        }
        Ok(())
    }

    fn flush(&mut self, at: usize, last: bool) -> Result<(), Stop> {
        let streams = i32::try_from(self.streams.len()).unwrap_or(1);
        let Some(stream) = self.streams.get_mut(at) else {
            return Ok(());
        };
        stream.chunk += 1;
        let chunk = stream.chunk;
        let rows = if self.mischief.oversize { 0 } else { stream.rows };
        let value = avro::container(&self.schema, rows, &stream.data);
        stream.data.clear();
        stream.rows = 0;
        if self.mischief.oversize && !last {
            return Ok(());
        }
        let place = Place { stream: i32::try_from(at).unwrap_or(0), streams, chunk, last };
        let key = avro::key(self.job.datasource, &self.job.statement, place);
        self.send(&key, &value)
    }

    fn send(&mut self, key: &[u8], value: &[u8]) -> Result<(), Stop> {
        if self.mischief.hang_after == Some(self.sent) {
            return Err(Stop::Hang);
        }
        if self.mischief.fail_after == Some(self.sent) {
            return Err(Stop::Broken("connector failed".to_owned()));
        }
        if self.mischief.pause > 0 {
            std::thread::sleep(Duration::from_millis(self.mischief.pause));
        }
        let copies = match (self.sent, self.mischief.skip, self.mischief.duplicate) {
            (0, true, _) => 0,
            (0, false, true) => 2,
            _ => 1,
        };
        for _ in 0..copies {
            self.node.broker.send(&self.job.location.topic, key, value, self.progress);
        }
        self.sent += 1;
        Ok(())
    }
}

/// The stream a row belongs to: always the same one for equal bytes at its start, which is where keys stand.
fn shard(row: &[u8], streams: usize) -> usize {
    if streams < 2 {
        return 0;
    }
    let start = row.get(..row.len().min(8)).unwrap_or_default();
    let hash = start.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    usize::try_from(hash % streams as u64).unwrap_or(0)
}
