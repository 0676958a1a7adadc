//! The catalog: which increments a topic holds and which of them are complete, learnt from keys
//! and manifests alone. Pure; never reads a topic itself.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::model::{
    ChunkNumber, DeltaDate, DeltaNum, IncrementId, MessageKey, Offset, Partition, StreamNumber,
    TableName,
};

/// Numbers seen of a stream, as ranges: memory grows with the holes, not with the messages.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Numbers(BTreeMap<u64, u64>);

impl Numbers {
    fn insert(&mut self, number: u64) {
        let before = self.0.range(..=number).next_back().map(|(&first, &last)| (first, last));
        let first = match before {
            Some((_, last)) if number <= last => return,
            Some((first, last)) if last + 1 == number => first,
            _ => number,
        };
        let last = self.0.remove(&(number + 1)).unwrap_or(number);
        self.0.insert(first, last);
    }

    /// True where exactly 1 to `last` were seen.
    fn are_all_to(&self, last: u64) -> bool {
        self.0.len() == 1 && self.0.first_key_value() == Some((&1, &last))
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct StreamView {
    seen: Numbers,
    last: Option<ChunkNumber>,
    /// By partition: first and last offset at which something of it lies.
    places: Places,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct TableView {
    total: u32,
    streams: BTreeMap<StreamNumber, StreamView>,
}

impl TableView {
    /// Streams are numbered from 1, by the old tool perhaps from 0 (DTM_TOOLS 2.6).
    fn is_whole(&self) -> bool {
        let whole = |s: &StreamView| s.last.is_some_and(|last| s.seen.are_all_to(last.0));
        self.streams.len() == self.total as usize && self.streams.values().all(whole)
    }

    fn chunks(&self) -> Vec<u64> {
        self.streams.values().map(|s| s.last.map_or(0, |last| last.0)).collect()
    }
}

/// What the topic holds of one increment of one delta.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Increment {
    /// When the delta was closed, by the keys.
    pub date: DeltaDate,
    tables: BTreeMap<Option<TableName>, TableView>,
    expected: Option<BTreeMap<TableName, Vec<u64>>>,
}

impl Increment {
    /// True when the changelog and every table seen are whole and, where a manifest says so, no
    /// table is missing (DESIGN D2 "increment").
    pub fn is_complete(&self) -> bool {
        let changelog = self.tables.get(&None).is_some_and(TableView::is_whole);
        changelog && self.tables.values().all(TableView::is_whole) && self.has_what_was_promised()
    }

    fn has_what_was_promised(&self) -> bool {
        let Some(expected) = &self.expected else { return true };
        expected.iter().all(|(table, chunks)| {
            let view = self.tables.get(&Some(table.clone()));
            view.is_some_and(|view| view.chunks() == *chunks)
        })
    }
}

/// By partition: first and last offset.
pub type Places = BTreeMap<Partition, (Offset, Offset)>;

/// All increments of one datamart in a topic.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Catalog {
    increments: BTreeMap<(DeltaNum, IncrementId), Increment>,
}

impl Catalog {
    /// Takes a message's key in. Keys of other datamarts are to be left out by the caller.
    pub fn see(&mut self, key: &MessageKey) {
        self.stream(key);
    }

    /// The same, and where the message lies.
    pub fn see_at(&mut self, key: &MessageKey, partition: Partition, offset: Offset) {
        let places = &mut self.stream(key).places;
        let (first, last) = places.entry(partition).or_insert((offset, offset));
        (*first, *last) = ((*first).min(offset), (*last).max(offset));
    }

    fn stream(&mut self, key: &MessageKey) -> &mut StreamView {
        let increment = self.increment(key);
        let table = increment.tables.entry(key.table.clone()).or_default();
        table.total = key.stream_total;
        let stream = table.streams.entry(key.stream).or_default();
        stream.seen.insert(key.chunk.0);
        if key.is_last {
            stream.last = Some(key.chunk);
        }
        stream
    }

    /// Takes in what a manifest promises: by table the chunks of each stream.
    pub fn expect(&mut self, key: &MessageKey, tables: BTreeMap<TableName, Vec<u64>>) {
        self.increment(key).expected = Some(tables);
    }

    fn increment(&mut self, key: &MessageKey) -> &mut Increment {
        self.increments.entry((key.delta, key.increment.clone())).or_insert_with(|| Increment {
            date: key.date,
            tables: BTreeMap::new(),
            expected: None,
        })
    }

    /// Complete deltas with their dates, by number.
    pub fn complete(&self) -> BTreeMap<DeltaNum, DeltaDate> {
        let complete = self.increments.iter().filter(|(_, increment)| increment.is_complete());
        complete.map(|((delta, _), increment)| (*delta, increment.date)).collect()
    }

    /// True when this increment of this delta is complete.
    pub fn has(&self, delta: DeltaNum, increment: &IncrementId) -> bool {
        let increment = self.increments.get(&(delta, increment.clone()));
        increment.is_some_and(Increment::is_complete)
    }

    /// Between which offsets the messages of an increment of a delta lie.
    pub fn places(&self, delta: DeltaNum, increment: &IncrementId) -> Places {
        let mut places = Places::new();
        let tables = self.increments.get(&(delta, increment.clone())).map(|i| i.tables.values());
        let streams = tables.into_iter().flatten().flat_map(|table| table.streams.values());
        for (partition, (first, last)) in streams.flat_map(|stream| &stream.places) {
            let (low, high) = places.entry(*partition).or_insert((*first, *last));
            (*low, *high) = ((*low).min(*first), (*high).max(*last));
        }
        places
    }

    /// Deltas that no increment completes although something of them is there.
    pub fn incomplete(&self) -> Vec<DeltaNum> {
        let complete = self.complete();
        let mut deltas: Vec<_> = self.increments.keys().map(|(delta, _)| *delta).collect();
        deltas.dedup();
        deltas.retain(|delta| !complete.contains_key(delta));
        deltas
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Datamart;

    fn key(table: Option<&str>, stream: u32, total: u32, chunk: u64, last: bool) -> MessageKey {
        MessageKey {
            increment: IncrementId("i".into()),
            datamart: Datamart::parse("db").expect("a plain name"),
            delta: DeltaNum(3),
            date: DeltaDate(9),
            table: table.map(|t| TableName(t.into())),
            stream: StreamNumber(stream),
            stream_total: total,
            chunk: ChunkNumber(chunk),
            is_last: last,
        }
    }

    fn catalog(keys: &[MessageKey]) -> Catalog {
        let mut catalog = Catalog::default();
        keys.iter().for_each(|key| catalog.see(key));
        catalog
    }

    fn whole() -> Vec<MessageKey> {
        vec![
            key(Some("t"), 2, 2, 1, true),
            key(Some("t"), 1, 2, 2, false),
            key(Some("t"), 1, 2, 1, false),
            key(Some("t"), 1, 2, 3, true),
            key(None, 1, 1, 1, true),
        ]
    }

    #[test]
    fn a_whole_increment_is_complete_in_any_order() {
        let mut keys = whole();
        assert_eq!(catalog(&keys).complete(), BTreeMap::from([(DeltaNum(3), DeltaDate(9))]));
        keys.reverse();
        assert_eq!(catalog(&keys).complete().len(), 1);
    }

    #[test]
    fn any_missing_message_makes_it_incomplete() {
        for missing in 0..whole().len() {
            let mut keys = whole();
            keys.remove(missing);
            assert_eq!(catalog(&keys).complete().len(), 0, "without message {missing}");
            assert_eq!(catalog(&keys).incomplete(), [DeltaNum(3)]);
        }
    }

    #[test]
    fn a_table_the_manifest_names_must_be_there_with_its_chunks() {
        let mut catalog = catalog(&whole());
        let promised = |table: &str, chunks: &[u64]| {
            BTreeMap::from([(TableName(table.into()), chunks.to_vec())])
        };
        catalog.expect(&whole()[4], promised("t", &[3, 1]));
        assert_eq!(catalog.complete().len(), 1);
        catalog.expect(&whole()[4], promised("t", &[4, 1]));
        assert_eq!(catalog.complete().len(), 0);
        catalog.expect(&whole()[4], promised("other", &[1]));
        assert_eq!(catalog.complete().len(), 0);
    }

    #[test]
    fn numbers_merge_into_ranges_whatever_their_order() {
        let mut numbers = Numbers::default();
        [4, 1, 3, 3, 6, 2, 5].into_iter().for_each(|n| numbers.insert(n));
        assert!(numbers.are_all_to(6));
        numbers.insert(8);
        assert!(!numbers.are_all_to(8));
    }
}
