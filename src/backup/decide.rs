//! The resume decision: from what the journal says and what the topic holds to what is left to do.
//! Pure; its table is printed in ARCHITECTURE.md and checked against it by a test. A fresh run is
//! the row where both know nothing (DESIGN D4.1).

use std::collections::BTreeMap;

use crate::journal::StreamKey;
use crate::model::{AttemptName, DeltaNum, Partition, StreamNumber};

use super::state::{AttemptState, Fate, PairKey, State};
use super::tail::{Found, Tail};

/// What is to be done with a delta.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeltaDecision {
    /// The journal says it is complete.
    Skip,
    /// The topic holds it complete under this issue, the journal did not know.
    Adopt {
        /// The issue.
        issue: u32,
    },
    /// Work on it under this issue.
    Work {
        /// The issue.
        issue: u32,
        /// The journal has to learn of the issue first.
        begin: bool,
    },
}

/// Decides about a delta.
pub fn decide_delta(delta: DeltaNum, state: &State, tail: &Tail) -> DeltaDecision {
    if state.done.contains_key(&delta) {
        return DeltaDecision::Skip;
    }
    if let Some(issue) = tail.completed_issue(delta) {
        return DeltaDecision::Adopt { issue };
    }
    let known = state.issues.get(&delta).copied();
    let issue = known.unwrap_or(0).max(tail.highest_issue(delta).unwrap_or(0));
    DeltaDecision::Work { issue, begin: known != Some(issue) }
}

/// One stream that is still to be delivered, or to be completed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamWork {
    /// Its number, from 1.
    pub stream: StreamNumber,
    /// The staging partition it is read from.
    pub partition: Partition,
    /// Its chunks: the staging partition's sealed end.
    pub end: u64,
    /// Chunks already in the topic that the journal does not know, by number.
    pub adopt: BTreeMap<u64, Found>,
}

/// What is to be done with a (delta, table).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PairDecision {
    /// Delivered whole.
    Skip,
    /// Unload it (again); attempts of before are given up.
    Unload {
        /// Attempts to give up.
        give_up: Vec<AttemptName>,
    },
    /// It has no changes: see to it that its one empty chunk is there.
    Empty {
        /// The chunk is in the topic already, at this place.
        found: Option<Found>,
    },
    /// Deliver the streams of this sealed attempt from where they stand.
    Deliver {
        /// The attempt.
        attempt: Box<AttemptState>,
        /// Its streams.
        streams: Vec<StreamWork>,
    },
    /// What the topic holds is not what the plan would send: write the delta again under a new
    /// increment (D4.11).
    Reissue {
        /// Why, for the log.
        reason: &'static str,
    },
}

/// Decides about a (delta, table).
pub fn decide_pair(pair: &PairKey, state: &State, tail: &Tail) -> PairDecision {
    let (delta, issue, table) = pair;
    if state.pairs.contains_key(pair) {
        return PairDecision::Skip;
    }
    let in_topic = tail.holds_pair(*delta, *issue, table);
    if state.empty.contains(pair) || tail.is_empty_pair(*delta, *issue, table) {
        return decide_empty(pair, tail);
    }
    match state.attempt_of(pair) {
        Some(attempt) if attempt.fate == Fate::Sealed => decide_sealed(pair, attempt, state, tail),
        _ if in_topic => PairDecision::Reissue { reason: "chunks of an unknown unload" },
        _ if has_progress(pair, state) => {
            PairDecision::Reissue { reason: "the unload of delivered chunks was lost" }
        }
        Some(open) => PairDecision::Unload { give_up: vec![open.attempt.name.clone()] },
        None => PairDecision::Unload { give_up: vec![] },
    }
}

fn has_progress(pair: &PairKey, state: &State) -> bool {
    let (delta, issue, table) = pair;
    state.progress.iter().any(|(key, progress)| {
        key.delta == *delta
            && key.issue == *issue
            && key.table.as_ref() == Some(table)
            && progress.chunks > 0
    })
}

fn decide_empty(pair: &PairKey, tail: &Tail) -> PairDecision {
    let (delta, issue, table) = pair;
    let found = tail.stream(&stream_key(pair, StreamNumber(1))).and_then(|c| c.get(&1)).cloned();
    if tail.holds_pair(*delta, *issue, table) && !tail.is_empty_pair(*delta, *issue, table) {
        return PairDecision::Reissue { reason: "chunks of a pair that has no changes" };
    }
    PairDecision::Empty { found }
}

fn decide_sealed(
    pair: &PairKey,
    attempt: &AttemptState,
    state: &State,
    tail: &Tail,
) -> PairDecision {
    if tail.streams_of(&pair.0, pair.1, &pair.2) > attempt.streams().len() as u32 {
        return PairDecision::Reissue { reason: "streams of another unload" };
    }
    let mut streams = Vec::new();
    for (stream, partition, end) in attempt.streams() {
        let partition = Partition(partition as i32);
        let key = stream_key(pair, stream);
        let done = state.progress.get(&key).map_or(0, |progress| progress.chunks);
        let found = tail.stream(&key);
        let adopt: BTreeMap<u64, Found> = found
            .map(|chunks| chunks.range(done + 1..).map(|(n, f)| (*n, f.clone())).collect())
            .unwrap_or_default();
        let follows = adopt.keys().zip(done + 1..=end).filter(|(n, wanted)| *n == wanted).count();
        let ours = adopt.iter().all(|(number, f)| {
            f.source.as_deref() == Some(&source_of(&attempt.attempt.name, partition, number - 1))
        });
        if follows != adopt.len() || !ours {
            return PairDecision::Reissue { reason: "chunks of another unload" };
        }
        streams.push(StreamWork { stream, partition, end, adopt });
    }
    PairDecision::Deliver { attempt: Box::new(attempt.clone()), streams }
}

fn stream_key(pair: &PairKey, stream: StreamNumber) -> StreamKey {
    StreamKey { delta: pair.0, issue: pair.1, table: Some(pair.2.clone()), stream }
}

/// `deltakeep.src` of the chunk made from this staging message: topic/partition/offset.
pub fn source_of(attempt: &AttemptName, partition: Partition, offset: u64) -> String {
    format!("{attempt}/{partition}/{offset}")
}
