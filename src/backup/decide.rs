//! The resume decision: from what the journal says and what the topic holds to what is left to do.
//! Pure; its table is printed in ARCHITECTURE.md and checked against it by a test. A fresh run is
//! the row where both know nothing (DESIGN D4.1).

use std::collections::BTreeMap;

use crate::journal::StreamKey;
use crate::model::{Attempt, AttemptName, DeltaNum, Part, Partition, StreamNumber};

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
    /// The staging partitions it is read from, one after the other: one, or those of three parts.
    pub segments: Vec<Segment>,
    /// Chunks already in the topic that the journal does not know, by number.
    pub adopt: BTreeMap<u64, Found>,
}

/// One staging partition of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// The unload.
    pub attempt: Attempt,
    /// The partition.
    pub partition: Partition,
    /// Its sealed end, which is how many chunks are made of it.
    pub end: u64,
    /// The part of a pair with repeated keys.
    pub part: Option<Part>,
}

impl StreamWork {
    /// Chunks of the stream: the sealed ends of its staging partitions.
    pub fn end(&self) -> u64 {
        self.segments.iter().map(|segment| segment.end).sum()
    }

    /// `deltakeep.src` of a chunk, by its number from 1; none beyond the end. Numbers run on over
    /// the parts (D4.13).
    pub fn source(&self, number: u64) -> Option<String> {
        let mut offset = number.checked_sub(1)?;
        for Segment { attempt, partition, end, .. } in &self.segments {
            match offset.checked_sub(*end) {
                None => return Some(source_of(&attempt.name, *partition, offset)),
                Some(further) => offset = further,
            }
        }
        None
    }
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
        /// Parts that are sealed and stay.
        keep: Vec<Part>,
    },
    /// It has no changes: see to it that its one empty chunk is there.
    Empty {
        /// The chunk is in the topic already, at this place.
        found: Option<Found>,
    },
    /// Deliver the streams of its sealed unload from where they stand.
    Deliver {
        /// The streams.
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
    match sealed(pair, state) {
        Some(streams) => decide_sealed(pair, streams, state, tail),
        None if in_topic => PairDecision::Reissue { reason: "chunks of an unknown unload" },
        None if has_progress(pair, state) => {
            PairDecision::Reissue { reason: "the unload of delivered chunks was lost" }
        }
        None => decide_open(pair, state),
    }
}

/// The streams of a pair whose unload is sealed: that of both halves, or those of all three parts
/// where they add up with the node's counts (ADR 15).
fn sealed(pair: &PairKey, state: &State) -> Option<Vec<StreamWork>> {
    let segment = |a: &AttemptState, partition: u32, end| Segment {
        attempt: a.attempt.clone(),
        partition: Partition(partition as i32),
        end,
        part: a.part,
    };
    let work = |stream, segments| StreamWork { stream, segments, adopt: BTreeMap::new() };
    if !state.in_parts(pair) {
        let attempt = state.attempt_of(pair).filter(|a| is_sealed(a))?;
        let streams = attempt.streams().into_iter();
        let streams = streams.map(|(stream, p, end)| work(stream, vec![segment(attempt, p, end)]));
        return Some(streams.collect());
    }
    let (mut segments, mut rows) = (Vec::new(), [0; 3]);
    for (part, rows) in Part::ALL.into_iter().zip(&mut rows) {
        let attempt = state.attempts_of(pair).find(|a| a.part == Some(part) && is_sealed(a))?;
        *rows = attempt.rows;
        let filled = attempt.streams().into_iter();
        segments.extend(filled.map(|(_, partition, end)| segment(attempt, partition, end)));
    }
    // Death can come before parts that do not add up are refused: a resume must not deliver them.
    let fit = state.keys.get(pair).and_then(|k| k.counts).is_some_and(|counts| counts.fit(rows));
    fit.then(|| vec![work(StreamNumber(1), segments)])
}

/// A seal over nothing holds no unload: its connector wrote nothing at all.
fn is_sealed(attempt: &AttemptState) -> bool {
    attempt.fate == Fate::Sealed && !attempt.streams().is_empty()
}

/// Sealed parts of a pair are used; everything else that was begun is given up.
fn decide_open(pair: &PairKey, state: &State) -> PairDecision {
    let (mut give_up, mut keep) = (Vec::new(), Vec::new());
    for attempt in state.attempts_of(pair) {
        match attempt.part.filter(|_| state.in_parts(pair) && is_sealed(attempt)) {
            Some(part) => keep.push(part),
            None => give_up.push(attempt.attempt.name.clone()),
        }
    }
    PairDecision::Unload { give_up, keep }
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
    mut streams: Vec<StreamWork>,
    state: &State,
    tail: &Tail,
) -> PairDecision {
    if tail.streams_of(&pair.0, pair.1, &pair.2) > streams.len() as u32 {
        return PairDecision::Reissue { reason: "streams of another unload" };
    }
    for work in &mut streams {
        let key = stream_key(pair, work.stream);
        let done = state.progress.get(&key).map_or(0, |progress| progress.chunks);
        let found = tail.stream(&key);
        let adopt: BTreeMap<u64, Found> = found
            .map(|chunks| chunks.range(done + 1..).map(|(n, f)| (*n, f.clone())).collect())
            .unwrap_or_default();
        let wanted = done + 1..=work.end();
        let follows = adopt.keys().zip(wanted).filter(|(n, wanted)| *n == wanted).count();
        let ours =
            adopt.iter().all(|(number, f)| f.source.is_some() && f.source == work.source(*number));
        if follows != adopt.len() || !ours {
            return PairDecision::Reissue { reason: "chunks of another unload" };
        }
        work.adopt = adopt;
    }
    PairDecision::Deliver { streams }
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
    use crate::model::{KeyCounts, Offset, TableName};

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

    fn attempt() -> Attempt {
        Attempt {
            name: name(),
            delta: DeltaNum(4),
            table: TableName("t".into()),
            datasource: None,
            partitions: 2,
            chunk_size: 10,
        }
    }

    fn opened() -> State {
        let mut state = State::default();
        state.apply(Fact::AttemptOpened { attempt: attempt(), issue: 0 });
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
        let PairDecision::Deliver { streams } = decision else { panic!("{decision:?}") };
        streams.iter().flat_map(|work| work.adopt.keys().copied()).collect()
    }

    fn unload(give_up: Vec<AttemptName>, keep: Vec<Part>) -> PairDecision {
        PairDecision::Unload { give_up, keep }
    }

    /// The keys of the pair repeat, and parts of so many rows add up.
    fn repeated([dead, removed, alive]: [u64; 3]) -> State {
        let (delta, issue, table) = pair();
        let (started, alive) = (dead + alive, Some(alive));
        let counts =
            KeyCounts { started, finished: removed, keys: 1, alive, ..KeyCounts::default() };
        let mut state = State::default();
        let datasource = None;
        state.apply(Fact::KeysCounted { delta, issue, table, datasource, counts: Some(counts) });
        state
    }

    /// One more part, sealed with so many chunks.
    fn seal_part(state: &mut State, part: Part, end: u64) {
        let name = AttemptName(format!("p{}", part.number()));
        let attempt = Attempt { name: name.clone(), partitions: 1, ..attempt() };
        state.apply(Fact::PartOpened { attempt, issue: 0, part });
        state.apply(Fact::PartSealed { name, ends: vec![end], rows: end });
    }

    fn is_reissue(decision: &PairDecision) -> bool {
        matches!(decision, PairDecision::Reissue { .. })
    }

    #[test]
    fn every_sealed_part_is_kept_while_others_are_missing() {
        for missing in Part::ALL {
            let mut state = repeated([2, 2, 2]);
            let sealed: Vec<_> = Part::ALL.into_iter().filter(|part| *part != missing).collect();
            sealed.iter().for_each(|part| seal_part(&mut state, *part, 2));
            assert_eq!(decide(&state, &[]), unload(vec![], sealed));
        }
    }

    #[test]
    fn a_pair_of_which_nobody_knows_anything_is_unloaded() {
        assert_eq!(decide(&State::default(), &[]), unload(vec![], vec![]));
        assert_eq!(decide(&opened(), &[]), unload(vec![name()], vec![]));
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
    fn a_pair_in_parts_is_delivered_once_all_three_are_sealed() {
        let mut state = repeated([2, 3, 1]);
        seal_part(&mut state, Part::Dead, 2);
        seal_part(&mut state, Part::Alive, 1);
        let attempt = Attempt { name: AttemptName("p2".into()), ..attempt() };
        state.apply(Fact::PartOpened { attempt, issue: 0, part: Part::Removed });
        let keep = vec![Part::Dead, Part::Alive];
        assert_eq!(decide(&state, &[]), unload(vec![AttemptName("p2".into())], keep));
        assert!(is_reissue(&decide(&state, &[(1, 1, "p1/0/0")])));
        seal_part(&mut state, Part::Removed, 3);
        let PairDecision::Deliver { streams } = decide(&state, &[]) else { panic!("not sealed") };
        let [work] = &streams[..] else { panic!("it is stream 1 of 1") };
        let sources: Vec<_> = (0..=7).map(|number| work.source(number)).collect();
        let known = ["p1/0/0", "p1/0/1", "p2/0/0", "p2/0/1", "p2/0/2", "p3/0/0"];
        let known = known.map(|source| Some(source.to_owned()));
        assert_eq!((work.end(), &sources[1..7]), (6, &known[..]));
        assert_eq!((&sources[0], &sources[7]), (&None, &None));
    }

    #[test]
    fn parts_that_do_not_add_up_are_kept_to_be_refused_and_never_delivered() {
        let mut state = repeated([2, 2, 2]);
        for (part, rows) in Part::ALL.into_iter().zip([2, 2, 3]) {
            seal_part(&mut state, part, rows);
        }
        assert_eq!(decide(&state, &[]), unload(vec![], Part::ALL.to_vec()));
        assert!(is_reissue(&decide(&state, &[(1, 1, "p1/0/0")])));
    }

    #[test]
    fn chunks_are_adopted_over_the_border_of_parts_and_only_from_the_part_they_belong_to() {
        let mut state = repeated([2, 2, 2]);
        Part::ALL.into_iter().for_each(|part| seal_part(&mut state, part, 2));
        state.progress.insert(key(1), Progress { chunks: 1, ..Progress::default() });
        let known = [(1, 2, "p1/0/1"), (1, 3, "p2/0/0"), (1, 4, "p2/0/1"), (1, 5, "p3/0/0")];
        assert_eq!(adopted(decide(&state, &known)), [2, 3, 4, 5]);
        for strange in ["p1/0/2", "p2/0/1", "p2/0/2", "p3/0/0", "a/0/2"] {
            let messages = [(1, 2, "p1/0/1"), (1, 3, strange)];
            assert!(is_reissue(&decide(&state, &messages)), "{strange}");
        }
        assert!(is_reissue(&decide(&state, &[(2, 1, "p2/0/0")])));
    }

    #[test]
    fn parts_that_proved_impossible_are_given_up_for_two_halves() {
        let mut state = repeated([1, 1, 1]);
        Part::ALL.into_iter().for_each(|part| seal_part(&mut state, part, 1));
        let (delta, issue, table) = pair();
        state.apply(Fact::PartsRefused { delta, issue, table });
        let names = ["p1", "p2", "p3"].map(|name| AttemptName(name.into()));
        assert_eq!(decide(&state, &[]), unload(names.to_vec(), vec![]));
        state.apply(Fact::AttemptOpened { attempt: attempt(), issue });
        state.apply(Fact::Sealed { name: name(), ends: vec![0, 3] });
        assert_eq!(adopted(decide(&state, &[(1, 1, "a/1/0")])), [1]);
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
