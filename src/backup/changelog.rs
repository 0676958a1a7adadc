//! The changelog stream of a delta with the manifest: the commit record of its increment, written
//! last (DESIGN D4.10). Never written before every table is whole.

use crate::deliver::{Lane, Message};
use crate::extract::Node;
use crate::format::{self, Manifest, PreviousDelta, TableManifest};
use crate::model::{Change, ChangeLog, ChunkNumber, Delta, DeltaNum, MessageKey, StreamNumber};
use crate::plan;

use super::context::{Context, World};
use super::fault::Fault;
use super::keys;
use super::pair::Pair;
use super::state::{AttemptState, Planned, State};
use super::watch::Event;

/// Bytes of statements in one changelog message, before a further one is begun.
const MOST_BYTES: usize = 512 * 1024;

/// Writes the changelog of a delta. One that a crash cut short is never continued: the decision
/// about the delta begins a new issue then.
///
/// # Errors
/// Those of the node, the brokers and the journal.
pub async fn write<W: World, L: Lane>(
    run: &Context<W>,
    planned: &Planned,
    log: &ChangeLog,
    pairs: &[std::sync::Arc<Pair>],
    of: (&Delta, u32),
    lane: &mut L,
) -> Result<(), Fault> {
    let (delta, issue) = of;
    let records = records_of(delta.num, planned, log);
    run.tell(Event::ChangelogStarted { delta: delta.num, records: records.len() });
    let previous = previous(run, planned, delta.num).await?;
    let before = log.before(delta.num) as u64;
    let manifest = Manifest {
        format: Manifest::FORMAT,
        tool: run.settings.tool.clone(),
        node: planned.node.clone(),
        run: run.run(),
        datamart: run.settings.datamart.clone(),
        previous_delta: previous.map(|d| PreviousDelta { number: d.num, date: d.date }),
        replay_before: before,
        changelog_complete: planned.older_views.is_empty() && complete(log, pairs),
        tables: run.ledger.look(|state| pairs.iter().map(|p| table_manifest(state, p)).collect()),
    };
    let parts = split(records, run.shape().chunk_size as usize);
    let partition =
        format::partition_of(&run.settings.datamart, delta.num, None, None, planned.partitions);
    let total = parts.len();
    let mut bytes = 0;
    for (number, part) in (1..).zip(parts) {
        let is_last = number == total;
        let key = key(run, delta, issue, number as u64, is_last);
        let key_bytes = format::encode_key(&key);
        let body = format::encode_changelog(part, &key_bytes, before, is_last.then_some(&manifest));
        let (stream, chunk) = (key.stream, key.chunk);
        run.tell(Event::Sending { delta: delta.num, table: None, stream, chunk });
        bytes += body.len() as u64;
        lane.send(Message { partition, key: key_bytes, body }).await?;
    }
    lane.commit().await?;
    run.delivered(total as u64, 0, bytes);
    Ok(())
}

/// Records that ran before the delta; with the newest closed delta also those that came later.
fn records_of<'a>(delta: DeltaNum, planned: &Planned, log: &'a ChangeLog) -> &'a [Change] {
    let count = if delta == planned.newest { log.0.len() } else { log.before(delta) };
    &log.0[..count]
}

/// Cuts records into messages by number and by size; always at least one message.
fn split(records: &[Change], most: usize) -> Vec<&[Change]> {
    let mut parts = Vec::new();
    let mut rest = records;
    while !rest.is_empty() {
        let mut bytes = 0;
        let fits = rest.iter().take_while(|change| {
            bytes += change.query.len() + change.entity.len();
            bytes <= MOST_BYTES
        });
        let count = fits.count().clamp(1, most.max(1));
        let (part, further) = rest.split_at(count);
        parts.push(part);
        rest = further;
    }
    if parts.is_empty() {
        parts.push(records);
    }
    parts
}

fn key<W: World>(
    run: &Context<W>,
    delta: &Delta,
    issue: u32,
    chunk: u64,
    is_last: bool,
) -> MessageKey {
    MessageKey {
        increment: crate::model::IncrementId::of(run.run(), delta.num, issue),
        datamart: run.settings.datamart.clone(),
        delta: delta.num,
        date: delta.date,
        table: None,
        stream: StreamNumber(1),
        stream_total: 1,
        chunk: ChunkNumber(chunk),
        is_last,
    }
}

async fn previous<W: World>(
    run: &Context<W>,
    planned: &Planned,
    delta: DeltaNum,
) -> Result<Option<Delta>, Fault> {
    let Some(num) = delta.0.checked_sub(1).map(DeltaNum) else { return Ok(None) };
    match planned.deltas.iter().find(|d| d.num == num) {
        Some(known) => Ok(Some(*known)),
        None => Ok(run.world.node().delta(num).await?),
    }
}

/// The log created every table of the increment: none is older than the log.
fn complete(log: &ChangeLog, pairs: &[std::sync::Arc<Pair>]) -> bool {
    let tables: Vec<_> = pairs.iter().map(|pair| pair.table.clone()).collect();
    plan::older_than_log(&tables, log).is_empty()
}

fn table_manifest(state: &State, pair: &Pair) -> TableManifest {
    let of_pair = state.progress.iter().filter(|(key, _)| {
        key.delta == pair.delta.num
            && key.issue == pair.issue
            && key.table.as_ref() == Some(&pair.table.name)
    });
    let progress: Vec<_> = of_pair.map(|(_, progress)| progress).collect();
    let (check_sum, check_sum_snapshot) = state.pairs.get(&pair.key()).cloned().unwrap_or_default();
    let (added, removed) =
        (progress.iter().map(|p| p.added).sum(), progress.iter().map(|p| p.removed).sum::<u64>());
    TableManifest {
        name: pair.table.name.clone(),
        streams: progress.len() as u32,
        chunks: progress.iter().map(|p| p.chunks).collect(),
        rows_added: added,
        rows_removed: removed,
        parts: state.in_parts(&pair.key()).then(|| {
            let ends = |part: Option<&AttemptState>| part.map_or(0, |part| part.ends.iter().sum());
            state.parts_of(&pair.key()).map(ends).to_vec()
        }),
        check_sum_columns: check_sum.is_some().then(|| pair.table.sum_columns()),
        check_sum,
        check_sum_snapshot,
        exact: added + removed == 0 || keys::is_exact(state, pair),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(num: u64, bytes: usize) -> Change {
        let query = "x".repeat(bytes);
        Change { num, entity: "t".into(), query, delta: None, finished: true }
    }

    fn sizes(records: &[Change], most: usize) -> Vec<usize> {
        split(records, most).iter().map(|part| part.len()).collect()
    }

    #[test]
    fn records_are_cut_by_number_and_by_size_and_never_vanish() {
        let small: Vec<_> = (0..5).map(|n| change(n, 10)).collect();
        assert_eq!(sizes(&small, 2), [2, 2, 1]);
        assert_eq!(sizes(&[], 2), [0]);
        let large = [change(0, MOST_BYTES), change(1, 10), change(2, MOST_BYTES), change(3, 1)];
        assert_eq!(sizes(&large, 100), [1, 1, 1, 1]);
    }
}
