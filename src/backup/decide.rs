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
    let newest = known.unwrap_or(0).max(tail.highest_issue(delta).unwrap_or(0));
    // Without transactions a changelog can be cut short; its messages may not be written twice.
    let issue = newest + u32::from(tail.holds_changelog(delta, newest));
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
        // A seal over nothing holds no unload: its connector wrote nothing at all.
        Some(attempt) if attempt.fate == Fate::Sealed && !attempt.streams().is_empty() => {
            decide_sealed(pair, attempt, state, tail)
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backup::tail::EMPTY_SOURCE;
    use crate::journal::{Fact, Progress};
    use crate::model::{Attempt, Offset, TableName};

    fn pair() -> PairKey {
        (DeltaNum(4), 0, TableName("t".into()))
    }

    fn key(stream: u32) -> StreamKey {
        stream_key(&pair(), StreamNumber(stream))
    }

    fn name() -> AttemptName {
        AttemptName("a".into())
    }

    fn found(source: &str, is_last: bool) -> Found {
        let source = Some(source.to_owned());
        Found { partition: Partition(0), offset: Offset(0), source, is_last, crc: Some(1) }
    }

    /// What the topic holds: stream, chunk, source.
    fn tail(messages: &[(u32, u64, &str)]) -> Tail {
        let mut tail = Tail::default();
        for (stream, chunk, source) in messages {
            let is_last = *source == EMPTY_SOURCE;
            tail.see(key(*stream), *chunk, found(source, is_last)).expect("no chunk twice");
        }
        tail
    }

    fn opened() -> State {
        let mut state = State::default();
        let attempt = Attempt {
            name: name(),
            delta: DeltaNum(4),
            table: TableName("t".into()),
            datasource: None,
            partitions: 2,
            chunk_size: 10,
        };
        state.apply(Fact::AttemptOpened { attempt, issue: 0 });
        state
    }

    /// Sealed with partition 1 holding three chunks; so many of them are checkpointed.
    fn sealed(done: u64) -> State {
        let mut state = opened();
        state.apply(Fact::Sealed { name: name(), ends: vec![0, 3] });
        if done > 0 {
            state.progress.insert(key(1), Progress { chunks: done, ..Progress::default() });
        }
        state
    }

    fn decide(state: &State, messages: &[(u32, u64, &str)]) -> PairDecision {
        decide_pair(&pair(), state, &tail(messages))
    }

    fn adopted(decision: PairDecision) -> Vec<u64> {
        let PairDecision::Deliver { streams, .. } = decision else { panic!("{decision:?}") };
        streams.iter().flat_map(|work| work.adopt.keys().copied()).collect()
    }

    fn is_reissue(decision: &PairDecision) -> bool {
        matches!(decision, PairDecision::Reissue { .. })
    }

    #[test]
    fn a_pair_of_which_nobody_knows_anything_is_unloaded() {
        assert_eq!(decide(&State::default(), &[]), PairDecision::Unload { give_up: vec![] });
        assert_eq!(decide(&opened(), &[]), PairDecision::Unload { give_up: vec![name()] });
    }

    #[test]
    fn a_sealed_unload_is_delivered_and_what_follows_in_the_topic_is_adopted() {
        assert_eq!(adopted(decide(&sealed(0), &[])), [0; 0]);
        assert_eq!(adopted(decide(&sealed(0), &[(1, 1, "a/1/0"), (1, 2, "a/1/1")])), [1, 2]);
        assert_eq!(adopted(decide(&sealed(1), &[(1, 1, "a/1/0"), (1, 2, "a/1/1")])), [2]);
        assert_eq!(adopted(decide(&sealed(3), &[(1, 3, "a/1/2")])), [0; 0]);
    }

    #[test]
    fn anything_that_the_plan_would_not_send_there_leads_to_a_new_increment() {
        let strange: [&[(u32, u64, &str)]; 5] = [
            &[(1, 1, "b/1/0")],
            &[(1, 1, "a/0/0")],
            &[(1, 2, "a/1/1")],
            &[(1, 4, "a/1/3")],
            &[(2, 1, "a/1/0")],
        ];
        for messages in strange {
            assert!(is_reissue(&decide(&sealed(0), messages)), "{messages:?}");
        }
        assert!(is_reissue(&decide(&sealed(2), &[(1, 3, "b/1/2")])));
    }

    #[test]
    fn chunks_whose_unload_is_unknown_or_lost_lead_to_a_new_increment() {
        assert!(is_reissue(&decide(&State::default(), &[(1, 1, "a/1/0")])));
        assert!(is_reissue(&decide(&opened(), &[(1, 1, "a/1/0")])));
        let mut lost = sealed(2);
        lost.apply(Fact::AttemptDropped { name: name(), answered: true });
        assert!(is_reissue(&decide(&lost, &[])));
    }

    #[test]
    fn an_empty_pair_is_known_by_its_record_or_by_its_only_chunk() {
        let (delta, issue, table) = pair();
        let mut state = State::default();
        state.apply(Fact::EmptyPair { delta, issue, table });
        assert_eq!(decide(&state, &[]), PairDecision::Empty { found: None });
        let there = PairDecision::Empty { found: Some(found(EMPTY_SOURCE, true)) };
        assert_eq!(decide(&state, &[(1, 1, EMPTY_SOURCE)]), there);
        assert_eq!(decide(&State::default(), &[(1, 1, EMPTY_SOURCE)]), there);
        assert!(is_reissue(&decide(&state, &[(1, 1, "a/1/0")])));
    }

    #[test]
    fn a_finished_pair_and_a_finished_delta_are_skipped() {
        let (delta, issue, table) = pair();
        let mut state = sealed(3);
        state.apply(Fact::TableDone { delta, issue, table, sums: (None, None) });
        assert_eq!(decide(&state, &[(1, 3, "a/1/2")]), PairDecision::Skip);
        state.apply(Fact::DeltaDone { delta, issue });
        assert_eq!(decide_delta(delta, &state, &Tail::default()), DeltaDecision::Skip);
    }

    #[test]
    fn a_delta_goes_on_under_the_highest_issue_that_journal_or_topic_know() {
        let delta = DeltaNum(4);
        let mut state = State::default();
        let work = |issue, begin| DeltaDecision::Work { issue, begin };
        assert_eq!(decide_delta(delta, &state, &Tail::default()), work(0, true));
        state.apply(Fact::DeltaBegun { delta, issue: 1 });
        assert_eq!(decide_delta(delta, &state, &Tail::default()), work(1, false));
        let mut tail = Tail::default();
        let later = StreamKey { issue: 2, ..key(1) };
        tail.see(later, 1, found("b/0/0", false)).expect("no chunk twice");
        assert_eq!(decide_delta(delta, &state, &tail), work(2, true));
        let changelog = StreamKey { issue: 2, table: None, ..key(1) };
        tail.see(changelog, 1, found("", true)).expect("no chunk twice");
        assert_eq!(decide_delta(delta, &state, &tail), DeltaDecision::Adopt { issue: 2 });
    }
}
