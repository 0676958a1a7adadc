//! Second messages for a place that has one already: a crash of a writer without transactions
//! leaves identical ones. What the first ones were is not remembered while reading; the copies'
//! places are, and a second reading compares. Owns that comparison.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use crate::catalog::Seen;
use crate::model::ChunkNumber;

/// Copies whose places are remembered.
const MOST: usize = 100_000;

/// A stream's place among the streams, and a chunk of it.
pub(super) type Spot = (usize, ChunkNumber);

/// What a message of a compared place is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compared {
    /// The first of its place.
    First,
    /// The same bytes again.
    Same,
    /// Other bytes.
    Other,
}

/// The places with copies.
#[derive(Clone, Debug, Default)]
pub(super) struct Copies {
    spots: BTreeMap<Spot, Option<[u8; 32]>>,
    /// Copies beyond those that are remembered.
    pub(super) unremembered: u64,
}

impl Copies {
    /// Remembers a place.
    pub(super) fn add(&mut self, spot: Spot) {
        if self.spots.len() < MOST || self.spots.contains_key(&spot) {
            self.spots.insert(spot, None);
        } else {
            self.unremembered += 1;
        }
    }

    /// The streams that have copies.
    pub(super) fn streams(&self) -> impl Iterator<Item = usize> {
        self.spots.keys().map(|(stream, _)| *stream)
    }

    /// Places of which no message was compared.
    pub(super) fn uncompared(&self) -> usize {
        self.spots.values().filter(|first| first.is_none()).count()
    }

    /// Compares a message with the first one of its place; none where the place has no copies.
    pub(super) fn compare(&mut self, spot: Spot, seen: &Seen<'_>) -> Option<Compared> {
        let first = self.spots.get_mut(&spot)?;
        let length = (seen.key.len() as u64).to_be_bytes();
        let hash = Sha256::new().chain_update(length).chain_update(seen.key);
        let hash: [u8; 32] = hash.chain_update(seen.body).finalize().into();
        Some(match first {
            None => {
                *first = Some(hash);
                Compared::First
            }
            Some(first) if *first == hash => Compared::Same,
            Some(_) => Compared::Other,
        })
    }
}
