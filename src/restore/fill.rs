//! One pass over the messages of a delta, into the load topics of all tables that still wait.
//! Bodies go as they are; what is damaged, or holds no row, never reaches a load topic.

use std::collections::BTreeMap;

use futures_util::future::try_join_all;

use crate::catalog::{Cursor, RangeReader, Stored};
use crate::format::container::Header;
use crate::format::{self, check_staging, read_label, row_schema, staging_rows};
use crate::journal::RestoreFact;
use crate::load::{LoadWriter, Loads};
use crate::model::{AttemptName, DeltaNum, MessageKey, Offset, Partition, Table, TableName};

use super::contents::{Increment, Numbers, check_crc};
use super::context::{Context, World};
use super::fault::{Fault, Wanting};
use super::watch::{Amount, Event};

/// Load topics made at once.
const AT_ONCE: usize = 16;

/// A (delta, table, part) with rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// The table.
    pub table: Table,
    /// Its place among the target's tables, part of load names.
    pub number: usize,
    /// The part; 0 where there are none.
    pub part: u8,
    /// Rows it must come to.
    pub rows: u64,
}

/// A load topic that is filled and sealed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sealed {
    /// Its name.
    pub name: AttemptName,
    /// What it holds.
    pub job: Job,
    /// Messages in it.
    pub messages: u64,
    /// Bytes of their bodies.
    pub bytes: u64,
}

impl Sealed {
    /// What it amounts to in `delta`.
    pub fn amount(&self, delta: DeltaNum) -> Amount {
        let Job { table, part, rows, .. } = &self.job;
        Amount { delta, table: table.name.clone(), part: *part, rows: *rows, bytes: self.bytes }
    }
}

struct Filling<L> {
    name: AttemptName,
    job: Job,
    writer: L,
    messages: u64,
    rows: u64,
    bytes: u64,
}

type Fillings<W> = BTreeMap<(TableName, u8), Filling<<<W as World>::Loads as Loads>::Writer>>;

/// Fills the load topics of `jobs` and hands over each one as soon as it is sealed.
///
/// # Errors
/// [`Wanting`] names a damaged message or a loss; those of the brokers and the journal.
pub async fn fill<W: World>(
    run: &Context<W>,
    delta: DeltaNum,
    increment: (&str, &Increment),
    jobs: Vec<Job>,
    mut ready: impl FnMut(Sealed),
) -> Result<(), Fault> {
    let mut open = open(run, delta, jobs).await?;
    let places = places(increment.1, &open);
    let mut cursor = run.world.topic().open(&places).await?;
    let source = run.shape().source;
    let mut seen: BTreeMap<(TableName, u32), Numbers> = BTreeMap::new();
    while !open.is_empty() {
        run.go_on()?;
        let Some(stored) = cursor.next().await? else { break };
        let Ok(key) = format::decode_key(&stored.key) else { continue };
        let is_of =
            key.delta == delta && key.increment.0 == increment.0 && key.datamart.as_str() == source;
        let Some(table) = key.table.clone().filter(|_| is_of) else { continue };
        let part = read_label(&stored.body).ok().and_then(|label| label.part).unwrap_or(0);
        let place = (table, part);
        let Some(filling) = open.get_mut(&place) else { continue };
        if !seen.entry((place.0.clone(), key.stream.0)).or_default().insert(key.chunk.0) {
            continue;
        }
        take(filling, increment.1.is_ours(), &key, &stored).await?;
        if filling.rows >= filling.job.rows
            && let Some(filling) = open.remove(&place)
        {
            ready(seal(run, delta, filling).await?);
        }
    }
    match open.into_values().next() {
        None => Ok(()),
        Some(Filling { job, rows: found, .. }) => {
            let (table, wanted) = (job.table.name, job.rows);
            Err(Wanting::Lost { delta, table, wanted, found }.into())
        }
    }
}

/// Makes the load topics, some at once: a delta of many small tables would wait for its topics
/// longer than for its rows.
async fn open<W: World>(
    run: &Context<W>,
    delta: DeltaNum,
    jobs: Vec<Job>,
) -> Result<Fillings<W>, Fault> {
    let named = |job: Job| {
        let nonce = (run.settings.nonce)() as u32;
        let name = AttemptName::new(run.run(), delta, job.number, u32::from(job.part), nonce);
        (name, job)
    };
    let named: Vec<(AttemptName, Job)> = jobs.into_iter().map(named).collect();
    run.ledger.note(named.iter().map(|(name, job)| RestoreFact::LoadOpened {
        name: name.clone(),
        delta,
        table: job.table.name.clone(),
        part: job.part,
    }))?;
    let partitions = run.shape().partitions;
    let mut open = BTreeMap::new();
    for some in named.chunks(AT_ONCE) {
        run.go_on()?;
        let make = some.iter().map(|(name, _)| run.world.loads().make(name, partitions));
        let writers = try_join_all(make).await?;
        for ((name, job), writer) in some.iter().cloned().zip(writers) {
            let place = (job.table.name.clone(), job.part);
            let filling = Filling { name, job, writer, messages: 0, rows: 0, bytes: 0 };
            open.insert(place, filling);
        }
    }
    Ok(open)
}

fn places<L>(
    increment: &Increment,
    open: &BTreeMap<(TableName, u8), Filling<L>>,
) -> BTreeMap<Partition, (Offset, Offset)> {
    let mut places: BTreeMap<Partition, (Offset, Offset)> = BTreeMap::new();
    let waits = |name: &TableName| open.keys().any(|(table, _)| table == name);
    for (_, view) in increment.tables().filter(|(name, _)| waits(name)) {
        for (partition, (first, last)) in &view.places {
            let place = places.entry(*partition).or_insert((*first, *last));
            *place = (place.0.min(*first), place.1.max(*last));
        }
    }
    places
}

async fn take<L: LoadWriter>(
    filling: &mut Filling<L>,
    ours: bool,
    key: &MessageKey,
    stored: &Stored,
) -> Result<(), Fault> {
    let rows = sound(&filling.job.table, ours, stored).map_err(|reason| Wanting::Damaged {
        partition: stored.partition,
        offset: stored.offset,
        delta: key.delta,
        table: filling.job.table.name.clone(),
        reason,
    })?;
    if rows > 0 {
        // A message without rows can make the connector fail (PROSTORE.md 6).
        filling.writer.append(&stored.body).await?;
        filling.messages += 1;
        filling.rows += rows;
        filling.bytes += stored.body.len() as u64;
    }
    Ok(())
}

/// Rows of a body that is what was written, and has the table's columns in their order: a
/// connector takes them by position.
fn sound(table: &Table, ours: bool, stored: &Stored) -> Result<u64, String> {
    let summed = check_crc(&stored.key, &stored.body).map_err(|error| error.to_string())?;
    if ours && !summed {
        return Err("it has no check sum, unlike the rest of its increment".to_owned());
    }
    let read = || -> Result<(u64, String), format::FormatError> {
        let schema = Header::read(&stored.body)?.schema()?.to_owned();
        Ok((staging_rows(&stored.body)?, schema))
    };
    let (rows, schema) = read().map_err(|error| error.to_string())?;
    if schema != row_schema(&table.columns) {
        check_staging(&schema, &table.columns).map_err(|error| error.to_string())?;
    }
    Ok(rows)
}

async fn seal<W: World>(
    run: &Context<W>,
    delta: DeltaNum,
    filling: Filling<<W::Loads as Loads>::Writer>,
) -> Result<Sealed, Fault> {
    let Filling { name, job, writer, messages, rows, bytes } = filling;
    if rows != job.rows {
        let table = job.table.name.clone();
        return Err(Wanting::Lost { delta, table, wanted: job.rows, found: rows }.into());
    }
    let held = writer.seal().await?;
    if held != messages {
        return Err(Fault::Again(format!("load topic {name} holds {held} messages of {messages}")));
    }
    let sealed = Sealed { name, job, messages, bytes };
    run.tell(Event::Filled(sealed.amount(delta)));
    Ok(sealed)
}
