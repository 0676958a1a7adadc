//! What is known of a backup topic: the catalog of every datamart in it, how far it was read, and
//! by which messages it is recognised again. Pure; never reads a topic or a file itself (D5
//! "Catalog").

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::index::Catalog;
use super::{Seen, TopicState};
use crate::format;
use crate::model::{Datamart, Offset, Partition, TableName};

/// How far a partition was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Extent {
    /// First offset of the log when it was read.
    low: Offset,
    /// One past the last offset read.
    end: Offset,
    /// The last message below `end`: where it lies and what it is.
    last: Option<(Offset, [u8; 32])>,
}

/// What is known of a topic.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    datamarts: BTreeMap<Datamart, Catalog>,
    extents: Vec<Extent>,
    /// Last messages that are still to be met again.
    #[serde(skip)]
    awaited: BTreeMap<Partition, (Offset, [u8; 32])>,
    #[serde(skip)]
    differs: bool,
}

impl Known {
    /// Nothing is known of a topic that stands so: it is read from its beginning.
    pub fn nothing(state: &TopicState) -> Self {
        let extent = |(low, _): &(Offset, Offset)| Extent { low: *low, end: *low, last: None };
        Self { extents: state.ranges.iter().map(extent).collect(), ..Self::default() }
    }

    /// Where to go on reading a topic that stands so: in each partition at the last message known,
    /// because that must still be there. None where the topic cannot be the one that was read:
    /// other partitions, a log that begins later or ends earlier.
    pub fn go_on(&mut self, state: &TopicState) -> Option<Vec<Offset>> {
        let fits = |(extent, range): (&Extent, &(Offset, Offset))| {
            extent.low == range.0 && extent.end <= range.1
        };
        let same = self.extents.len() == state.ranges.len();
        if !same || !self.extents.iter().zip(&state.ranges).all(fits) {
            return None;
        }
        let lasts = (0..).zip(&self.extents).filter_map(|(n, e)| Some((Partition(n), e.last?)));
        (self.awaited, self.differs) = (lasts.collect(), false);
        let from = |extent: &Extent| extent.last.map_or(extent.end, |(offset, _)| offset);
        Some(self.extents.iter().map(from).collect())
    }

    /// Takes a message in, in order within its partition.
    pub fn take(&mut self, seen: Seen<'_>) {
        let place = (seen.offset, digest(&seen));
        if let Some(awaited) = self.awaited.remove(&seen.partition) {
            self.differs |= awaited != place;
        }
        if let Some(extent) = self.extents.get_mut(seen.partition.0 as usize) {
            extent.last = Some(place);
        }
        let Ok(key) = format::decode_key(seen.key) else { return };
        let catalog = self.datamarts.entry(key.datamart.clone()).or_default();
        catalog.see_at(&key, seen.partition, seen.offset);
        if key.table.is_none() && key.is_last {
            promised(seen.body).into_iter().for_each(|tables| catalog.expect(&key, tables));
        }
    }

    /// The topic was read to these ends. False where a message that was known is not there any
    /// more: then nothing that was known holds.
    #[must_use]
    pub fn read_to(&mut self, ends: &[Offset]) -> bool {
        self.extents.iter_mut().zip(ends).for_each(|(extent, end)| extent.end = *end);
        self.awaited.is_empty() && !self.differs
    }

    /// By partition: one past the last offset read.
    pub fn ends(&self) -> Vec<Offset> {
        self.extents.iter().map(|extent| extent.end).collect()
    }

    /// What is known of a datamart.
    pub fn catalog(&self, datamart: &Datamart) -> Catalog {
        self.datamarts.get(datamart).cloned().unwrap_or_default()
    }
}

/// Increments have ids that nobody repeats, and chunks their numbers: two messages are the same one
/// only where key and body are.
fn digest(seen: &Seen<'_>) -> [u8; 32] {
    let length = (seen.key.len() as u64).to_be_bytes();
    Sha256::new()
        .chain_update(length)
        .chain_update(seen.key)
        .chain_update(seen.body)
        .finalize()
        .into()
}

/// What the manifest of a changelog body says there must be.
fn promised(body: &[u8]) -> Option<BTreeMap<TableName, Vec<u64>>> {
    let manifest = format::Manifest::parse(format::read_label(body).ok()?.manifest?).ok()?;
    Some(manifest.tables.into_iter().map(|table| (table.name, table.chunks)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ChunkNumber, DeltaDate, DeltaNum, IncrementId, MessageKey, StreamNumber};

    fn key(increment: &str) -> Vec<u8> {
        format::encode_key(&MessageKey {
            increment: IncrementId(increment.into()),
            datamart: datamart(),
            delta: DeltaNum(0),
            date: DeltaDate(1),
            table: None,
            stream: StreamNumber(1),
            stream_total: 1,
            chunk: ChunkNumber(1),
            is_last: true,
        })
    }

    fn datamart() -> Datamart {
        Datamart::parse("shop").expect("a plain name")
    }

    fn state(ranges: &[(i64, i64)]) -> TopicState {
        let ranges = ranges.iter().map(|(low, high)| (Offset(*low), Offset(*high))).collect();
        TopicState { ranges, settings: BTreeMap::new() }
    }

    fn message<'a>(offset: i64, key: &'a [u8]) -> Seen<'a> {
        Seen { partition: Partition(0), offset: Offset(offset), key, body: b"" }
    }

    /// Two partitions, the second empty; the first was read to 5, its last message lies at 3.
    fn known() -> Known {
        let mut known = Known::nothing(&state(&[(0, 5), (0, 0)]));
        known.take(message(3, &key("a")));
        assert!(known.read_to(&[Offset(5), Offset(0)]));
        known
    }

    #[test]
    fn reading_goes_on_at_the_last_message_and_a_topic_that_shrank_is_read_anew() {
        let go_on = |ranges: &[(i64, i64)]| known().go_on(&state(ranges));
        assert_eq!(go_on(&[(0, 9), (0, 4)]), Some(vec![Offset(3), Offset(0)]));
        assert_eq!(go_on(&[(0, 5), (0, 0)]), Some(vec![Offset(3), Offset(0)]));
        for other in [&[(1, 9), (0, 0)][..], &[(0, 4), (0, 0)], &[(0, 9)], &[(0, 5), (1, 1)]] {
            assert_eq!(go_on(other), None, "{other:?}");
        }
    }

    #[test]
    fn what_was_known_holds_only_where_its_last_message_is_met_again() {
        let now = state(&[(0, 8), (0, 0)]);
        let meets = |messages: &[Seen<'_>]| {
            let mut known = known();
            known.go_on(&now).expect("it fits");
            messages.iter().for_each(|message| known.take(*message));
            known.read_to(&[Offset(8), Offset(0)])
        };
        let (a, b) = (key("a"), key("b"));
        assert!(meets(&[message(3, &a), message(6, &b)]));
        assert!(!meets(&[message(3, &b)]), "another increment lies there");
        assert!(!meets(&[message(4, &a)]), "it lies elsewhere");
        assert!(!meets(&[]), "nothing lies there");
        assert!(!meets(&[Seen { body: b"other", ..message(3, &a) }]), "its body is another");
    }

    #[test]
    fn what_was_met_again_counts_once() {
        let mut again = known();
        again.go_on(&state(&[(0, 5), (0, 0)])).expect("it fits");
        again.take(message(3, &key("a")));
        assert!(again.read_to(&[Offset(5), Offset(0)]));
        assert_eq!(again, known());
        assert_eq!(again.catalog(&datamart()).complete().len(), 1);
    }
}
