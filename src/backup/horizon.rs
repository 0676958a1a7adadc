//! From where a resume must read the backup topic (D5, ADR 4). Pure: what the lanes commit goes in,
//! the lowest place that no record tells of comes out. ARCHITECTURE.md says why it is enough.

use std::collections::BTreeMap;

use crate::journal::StreamKey;
use crate::model::{Offset, Partition};

use super::state::State;

/// What the horizon is computed from. Lives with one execution; the journal keeps its outcome.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Horizon {
    /// By partition: one past the last offset known to be accounted for.
    high: Vec<Offset>,
    /// By lane: `high` as it was when the lane's open transaction began. What the transaction
    /// writes lies at or above it.
    open: BTreeMap<u32, Vec<Offset>>,
    /// Streams of which the topic holds messages that no progress record tells of yet.
    pins: BTreeMap<StreamKey, Pin>,
}

/// Messages of a stream found in the topic and not yet in the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pin {
    /// Where the first of them lies.
    pub first: (Partition, Offset),
    /// The highest chunk number among them.
    pub highest: u64,
}

impl Horizon {
    /// All below these offsets is accounted for.
    pub fn at(high: Vec<Offset>) -> Self {
        Self { high, ..Self::default() }
    }

    /// The topic was read to these ends: all below is in the journal or under a pin, and no lane
    /// is open.
    pub fn read_to(&mut self, ends: Vec<Offset>, pins: BTreeMap<StreamKey, Pin>) {
        *self = Self { high: ends, open: BTreeMap::new(), pins };
    }

    /// A lane is about to write.
    pub fn begin(&mut self, lane: u32) {
        let high = self.high.clone();
        self.open.entry(lane).or_insert(high);
    }

    /// What a lane wrote is durable at these places; `streams` are told of up to these chunks by
    /// the records that go with it.
    pub fn committed<'a>(
        &mut self,
        lane: u32,
        streams: impl IntoIterator<Item = (&'a StreamKey, u64)>,
        written: &[(Partition, Offset)],
    ) {
        self.open.remove(&lane);
        for (partition, offset) in written {
            if let Some(high) = self.high.get_mut(partition.0 as usize) {
                *high = (*high).max(Offset(offset.0 + 1));
            }
        }
        for (key, chunks) in streams {
            if self.pins.get(key).is_some_and(|pin| pin.highest <= chunks) {
                self.pins.remove(key);
            }
        }
    }

    /// By partition: the lowest offset at which something can lie that the journal does not know.
    pub fn lowest(&mut self, state: &State) -> Vec<Offset> {
        self.pins.retain(|key, _| {
            !state.done.contains_key(&key.delta) && key.issue >= state.issue(key.delta)
        });
        let mut horizon = self.high.clone();
        for begun in self.open.values() {
            horizon.iter_mut().zip(begun).for_each(|(low, offset)| *low = (*low).min(*offset));
        }
        for Pin { first: (partition, offset), .. } in self.pins.values() {
            if let Some(low) = horizon.get_mut(partition.0 as usize) {
                *low = (*low).min(*offset);
            }
        }
        horizon
    }
}
