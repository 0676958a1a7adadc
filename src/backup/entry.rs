//! Entering the resume path: fence the lanes, read what the topic holds beyond the horizon. Runs at
//! the start of every pass; a fresh run finds nothing.

use std::collections::{BTreeMap, HashMap};

use futures_util::future::try_join_all;

use crate::catalog::{Seen, TopicReader, TopicState};
use crate::deliver::Sink;
use crate::format;
use crate::journal::StreamKey;
use crate::model::{IncrementId, MessageKey, Offset, Partition, RunId};

use super::context::{Context, Settings, World};
use super::fault::{Disagreement, Fault};
use super::state::{Planned, State};
use super::tail::{Found, Tail, Twice};
use super::watch::Event;

/// A journal that lost its tail may know of so many issues fewer than the topic.
const AHEAD: u32 = 4 * Settings::ISSUES;

/// The lanes of a run, and what the topic holds of it that the journal does not know.
pub struct Entry<L> {
    /// One per worker.
    pub lanes: Vec<L>,
    /// Messages beyond the horizon.
    pub tail: Tail,
}

/// Fences, settles, reads.
///
/// # Errors
/// Those of the brokers, or [`Fault::Disagrees`] where topic and journal contradict each other.
pub async fn enter<W: World>(
    run: &Context<W>,
    planned: &Planned,
) -> Result<Entry<<W::Sink as Sink>::Lane>, Fault> {
    // A lane of a topic that is gone would only be refused.
    require_topic(run, planned).await?;
    let lanes = open_lanes(run).await?;
    run.world.sink().settle().await?;
    let tail = read_tail(run, planned).await?;
    Ok(Entry { lanes, tail })
}

/// Ends what an execution that died left open in the topic. Its transactions would hide everything
/// behind them from every reader, this run's next one too, until the brokers give them up.
///
/// # Errors
/// Those of the brokers.
pub async fn fence<W: World>(run: &Context<W>) -> Result<(), Fault> {
    if run.world.topic().state().await?.is_some() {
        drop(open_lanes(run).await?);
    }
    Ok(())
}

/// All lanes at once: to enter one takes brokers some hundred milliseconds.
async fn open_lanes<W: World>(run: &Context<W>) -> Result<Vec<<W::Sink as Sink>::Lane>, Fault> {
    let sink = run.world.sink();
    Ok(try_join_all((0..run.shape().threads).map(|lane| sink.open(run.run(), lane))).await?)
}

/// The topic as it stands, where it is still the one that the run began with.
async fn require_topic<W: World>(run: &Context<W>, planned: &Planned) -> Result<TopicState, Fault> {
    let Some(state) = run.world.topic().state().await? else {
        return Err(Disagreement::TopicGone { topic: run.settings.topic.clone() }.into());
    };
    let found = state.ranges.len() as u32;
    if found != planned.partitions {
        return Err(Disagreement::Partitions { planned: planned.partitions, found }.into());
    }
    Ok(state)
}

async fn read_tail<W: World>(run: &Context<W>, planned: &Planned) -> Result<Tail, Fault> {
    let topic = run.world.topic();
    let state = require_topic(run, planned).await?;
    let lows: Vec<Offset> = state.ranges.iter().map(|(low, _)| *low).collect();
    let id = run.run();
    let mut reader = run.ledger.look(|state| TailReader::new(id, planned, state));
    let from = reader.from(&lows);
    let ends = topic.scan(&from, &mut |seen| reader.see(seen)).await?;
    let tail = reader.finish()?;
    if tail.copies > 0 {
        let text = format!("{} identical second copies lie in the topic", tail.copies);
        run.tell(Event::Warning { text });
    }
    run.ledger.read_to(ends, tail.pins());
    Ok(tail)
}

/// Recognises this run's messages and checks those at journalled positions.
pub struct TailReader {
    run: RunId,
    horizon: Vec<Offset>,
    /// Issues of each delta by increment id; issue 0 is the run's id for all deltas.
    reissued: HashMap<(u64, IncrementId), u32>,
    /// What must lie at the last journalled position of each unfinished stream.
    expected: BTreeMap<(Partition, Offset), (StreamKey, u64)>,
    tail: Tail,
    twice: Option<Box<Twice>>,
}

impl TailReader {
    /// One for a run that stands like this.
    pub fn new(id: RunId, planned: &Planned, state: &State) -> Self {
        let reissued = planned.deltas.iter().filter(|d| !state.done.contains_key(&d.num));
        let reissued = reissued.flat_map(|d| {
            (1..=state.issue(d.num) + AHEAD)
                .map(move |issue| ((d.num.0, IncrementId::of(id, d.num, issue)), issue))
        });
        let unfinished = state.progress.iter().filter(|(key, _)| {
            let table = key.table.clone();
            table.is_some_and(|t| !state.pairs.contains_key(&(key.delta, key.issue, t)))
        });
        let expected = unfinished.filter_map(|(key, progress)| {
            progress.last.map(|place| (place, (key.clone(), progress.chunks)))
        });
        Self {
            run: id,
            horizon: state.horizon.clone(),
            reissued: reissued.collect(),
            expected: expected.collect(),
            tail: Tail::default(),
            twice: None,
        }
    }

    /// By partition: the horizon, or earlier where a journalled position is to be checked; the
    /// beginning where the journal has no horizon.
    pub fn from(&self, lows: &[Offset]) -> Vec<Offset> {
        let mut from: Vec<Offset> =
            if self.horizon.len() == lows.len() { self.horizon.clone() } else { lows.to_vec() };
        for (partition, offset) in self.expected.keys() {
            if let Some(start) = from.get_mut(partition.0 as usize) {
                *start = (*start).min(*offset);
            }
        }
        from
    }

    /// Takes a message in, whoever's it is.
    pub fn see(&mut self, seen: Seen<'_>) {
        let Ok(key) = format::decode_key(seen.key) else { return };
        self.take((seen.partition, seen.offset), &key, || {
            let label = format::read_label(seen.body).ok();
            let crc = label.as_ref().and_then(|label| label.crc);
            (label.and_then(|label| label.src).map(str::to_owned), crc)
        });
    }

    /// Takes in the message at a place, decoded. Its `deltakeep.src` and checksum are asked for
    /// only where it is of this run.
    pub fn take(
        &mut self,
        place: (Partition, Offset),
        key: &MessageKey,
        label: impl FnOnce() -> (Option<String>, Option<u32>),
    ) {
        let Some((stream, chunk, is_last)) = self.ours(key) else { return };
        if self.expected.get(&place).is_some_and(|e| *e == (stream.clone(), chunk)) {
            self.expected.remove(&place);
        }
        let (source, crc) = label();
        let found = Found { partition: place.0, offset: place.1, source, is_last, crc };
        if let Err(twice) = self.tail.see(stream, chunk, found) {
            self.twice.get_or_insert(twice);
        }
    }

    fn ours(&self, key: &MessageKey) -> Option<(StreamKey, u64, bool)> {
        let issue = match key.increment.0 == self.run.to_string() {
            true => 0,
            false => *self.reissued.get(&(key.delta.0, key.increment.clone()))?,
        };
        let (delta, table, stream) = (key.delta, key.table.clone(), key.stream);
        Some((StreamKey { delta, issue, table, stream }, key.chunk.0, key.is_last))
    }

    /// What was found.
    ///
    /// # Errors
    /// [`Disagreement`] where a journalled position holds another message, or a chunk stands
    /// twice and differs.
    pub fn finish(self) -> Result<Tail, Disagreement> {
        if let Some(twice) = self.twice {
            return Err(twice.into());
        }
        match self.expected.into_keys().next() {
            Some((partition, offset)) => Err(Disagreement::Position { partition, offset }),
            None => Ok(self.tail),
        }
    }
}
