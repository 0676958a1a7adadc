//! The resume tables of ARCHITECTURE.md against `backup/decide.rs`: every combination of what the
//! journal and the topic can say is decided by both. Owns what the words of the tables stand for.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use deltakeep::backup::{
    DeltaDecision, Found, PairDecision, PairKey, State, StreamWork, Tail, decide_delta, decide_pair,
};
use deltakeep::journal::{Fact, Progress, StreamKey};
use deltakeep::model::{
    Attempt, AttemptName, DeltaNum, KeyCounts, Offset, Part, Partition, StreamNumber, TableName,
};

const DELTA: DeltaNum = DeltaNum(7);
const ISSUE: u32 = 1;
const UNLOAD: &str = "deltakeep_12345678_7_0_0_000000ab";

/// A row: the words for the journal, those for the topic, the decision.
type Row = (Vec<String>, Vec<String>, String);

/// The table below a heading.
fn rows(heading: &str) -> Vec<Row> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("ARCHITECTURE.md");
    let text = fs::read_to_string(path).expect("ARCHITECTURE.md is readable");
    let lines = text.lines().skip_while(|line| *line != heading);
    let table = lines.skip_while(|line| !line.starts_with('|')).skip(2);
    let words = |cell: &str| cell.split(',').map(|word| word.trim().to_owned()).collect();
    let row = |line: &str| {
        let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [_, journal, topic, decision] = cells[..] else { panic!("not four cells: {line}") };
        (words(journal), words(topic), decision.to_owned())
    };
    table.take_while(|line| line.starts_with('|')).map(row).collect()
}

/// What a table says of a combination, and that each of its rows is needed by one.
pub struct Oracle {
    rows: Vec<Row>,
    used: BTreeSet<usize>,
}

impl Oracle {
    pub fn new(heading: &str) -> Self {
        Self { rows: rows(heading), used: BTreeSet::new() }
    }

    pub fn decide(&mut self, journal: &str, topic: &str) -> String {
        let fits = |words: &[String], word| words.iter().any(|w| w == "any" || w == word);
        let row = self.rows.iter().position(|(j, t, _)| fits(j, journal) && fits(t, topic));
        let row = row.unwrap_or_else(|| panic!("no row for {journal} | {topic}"));
        self.used.insert(row);
        self.rows[row].2.clone()
    }

    pub fn require_all_used(&self) {
        let all: BTreeSet<_> = (0..self.rows.len()).collect();
        assert_eq!(self.used, all, "rows that nothing leads to, counted from 0");
    }
}

fn table() -> TableName {
    TableName("t".into())
}

fn pair() -> PairKey {
    (DELTA, ISSUE, table())
}

fn stream(table: Option<TableName>, issue: u32, stream: u32) -> StreamKey {
    StreamKey { delta: DELTA, issue, table, stream: StreamNumber(stream) }
}

fn found(offset: i64, source: Option<String>, is_last: bool) -> Found {
    Found { partition: Partition(0), offset: Offset(offset), source, is_last, crc: None }
}

/// A state in which the words for the journal are true; the unload has 2 streams: 3 messages in
/// staging partition 0 and 2 in partition 2. Where chunks are delivered, the first one is.
fn state_of_pair(word: &str, delivered: bool) -> State {
    let mut state = State::default();
    let name = AttemptName(UNLOAD.into());
    let attempt = Attempt {
        name: name.clone(),
        delta: DELTA,
        table: table(),
        datasource: None,
        partitions: 3,
        chunk_size: 10,
    };
    let (delta, issue) = (DELTA, ISSUE);
    let facts = match word {
        "done" => {
            vec![Fact::TableDone { delta, issue, table: table(), sums: (None, None) }]
        }
        "empty" => vec![Fact::EmptyPair { delta, issue, table: table() }],
        "sealed" => {
            vec![Fact::AttemptOpened { attempt, issue }, Fact::Sealed { name, ends: vec![3, 0, 2] }]
        }
        "open" | "lost" => vec![Fact::AttemptOpened { attempt, issue }],
        "nothing" | "lost, no unload" => vec![],
        "lost, given up" => vec![
            Fact::AttemptOpened { attempt, issue },
            Fact::AttemptDropped { name, answered: true },
        ],
        in_parts => facts_of_parts(in_parts, &attempt),
    };
    facts.into_iter().for_each(|fact| state.apply(fact));
    if delivered || word.starts_with("lost") {
        let progress = Progress { chunks: 1, ..Progress::default() };
        state.progress.insert(stream(Some(table()), ISSUE, 1), progress);
    }
    state
}

/// The same of a pair whose keys repeat: its parts have 3, 2 and 1 messages.
fn facts_of_parts(word: &str, attempt: &Attempt) -> Vec<Fact> {
    let (delta, issue) = (DELTA, ISSUE);
    let alive = Some(1);
    let counts =
        Some(KeyCounts { started: 4, finished: 2, keys: 1, alive, ..KeyCounts::default() });
    let mut facts =
        vec![Fact::KeysCounted { delta, issue, table: table(), datasource: None, counts }];
    let sealed = match word {
        "sealed, in parts" => [true, true, true],
        "partly sealed" => [true, true, false],
        "open, in parts" | "lost, in parts" => [false; 3],
        other => panic!("no such word for the journal: {other}"),
    };
    for ((part, end), sealed) in Part::ALL.into_iter().zip([3, 2, 1]).zip(sealed) {
        let name = AttemptName(format!("{UNLOAD}{}", part.number()));
        let attempt = Attempt { name: name.clone(), ..attempt.clone() };
        facts.push(Fact::PartOpened { attempt, issue, part });
        if sealed {
            facts.push(Fact::PartSealed { name, ends: vec![end], rows: end });
        }
    }
    facts
}

fn source(partition: u32, offset: u64) -> Option<String> {
    Some(format!("{UNLOAD}/{partition}/{offset}"))
}

/// Source of a chunk of a pair in parts, by its number.
fn part(chunk: u64) -> Option<String> {
    let (part, offset) = match chunk {
        1..=3 => (1, chunk - 1),
        4..=5 => (2, chunk - 4),
        _ => (3, chunk - 6),
    };
    Some(format!("{UNLOAD}{part}/0/{offset}"))
}

/// Topics in which the words are true, for a run that has `done` chunks of stream 1 delivered.
fn tails_of_pair(word: &str, done: u64) -> Vec<Tail> {
    let tail = |messages: &[(u32, u64, Option<String>, bool)]| {
        let mut tail = Tail::default();
        for (at, (number, chunk, source, is_last)) in messages.iter().enumerate() {
            let key = stream(Some(table()), ISSUE, *number);
            let found = found(at as i64, source.clone(), *is_last);
            tail.see(key, *chunk, found).expect("no chunk stands twice");
        }
        tail
    };
    let next = done + 1;
    let empty = Some("empty".to_owned());
    let other = Some(format!("deltakeep_12345678_7_0_1_000000cd/0/{done}"));
    match word {
        "nothing" => {
            let mut foreign = Tail::default();
            let seen = found(0, empty, true);
            foreign.see(stream(Some(table()), ISSUE + 1, 1), 1, seen).expect("one message");
            vec![Tail::default(), foreign]
        }
        "the empty chunk" => vec![tail(&[(1, 1, empty, true)])],
        "next chunks of its unload" => vec![
            tail(&[(1, next, source(0, done), false)]),
            tail(&[(1, next, source(0, done), false), (2, 1, source(2, 0), false)]),
            tail(&[(2, 1, source(2, 0), false), (2, 2, source(2, 1), true)]),
        ],
        "next chunks of its parts" => [next, 3, 4, 5, 6]
            .map(|last| (next..=last).map(|chunk| (1, chunk, part(chunk), chunk == 6)))
            .map(|messages| tail(&messages.collect::<Vec<_>>()))
            .to_vec(),
        "anything else than its parts" => vec![
            tail(&[(1, next, other, false)]),
            tail(&[(1, next, source(0, done), false)]),
            tail(&[(1, next, part(next + 1), false)]),
            tail(&[(1, next + 1, part(next + 1), false)]),
            tail(&[(1, next, part(next), false), (1, next + 1, part(6), true)]),
            tail(&[(1, 7, part(7), true)]),
            tail(&[(2, 1, part(4), false)]),
            tail(&[(1, next, part(next), false), (2, 1, empty, true)]),
        ],
        "anything else" => vec![
            tail(&[(1, next, other, false)]),
            tail(&[(1, next, None, false)]),
            tail(&[(1, next + 1, source(0, done + 1), false)]),
            tail(&[(1, 4, source(0, 3), true)]),
            tail(&[(2, 1, source(1, 0), false)]),
            tail(&[(3, 1, source(2, 0), false)]),
            tail(&[(1, next, source(0, done), false), (2, 1, empty, true)]),
        ],
        other => panic!("no such word for the topic: {other}"),
    }
}

/// A decision in the table's words.
fn name_of_pair(decision: &PairDecision, done: u64) -> &'static str {
    match decision {
        PairDecision::Skip => "skip",
        PairDecision::Empty { found: Some(_) } => "adopt it",
        PairDecision::Empty { found: None } => "send the empty chunk",
        PairDecision::Deliver { streams } => {
            let ends: Vec<_> = streams.iter().map(StreamWork::end).collect();
            assert!(ends == [3, 2] || ends == [6], "{ends:?}");
            let adopted = streams.iter().flat_map(|s| s.adopt.keys().map(|n| (s.stream.0, *n)));
            let adopted: Vec<_> = adopted.collect();
            assert!(!adopted.iter().any(|(s, n)| *s == 1 && *n <= done), "{adopted:?}");
            if adopted.is_empty() { "deliver" } else { "adopt these, deliver the rest" }
        }
        PairDecision::Reissue { .. } => "reissue",
        PairDecision::Unload { keep, .. } if !keep.is_empty() => "give up, unload the rest",
        PairDecision::Unload { give_up, .. } if give_up.is_empty() => "unload",
        PairDecision::Unload { .. } => "give up, unload",
    }
}

#[test]
fn every_pair_is_decided_as_the_table_says() {
    let mut oracle = Oracle::new("### A (delta, table)");
    let journals = [
        ("done", true),
        ("done", false),
        ("empty", true),
        ("empty", false),
        ("sealed", true),
        ("sealed", false),
        ("sealed, in parts", true),
        ("sealed, in parts", false),
        ("partly sealed", false),
        ("lost, in parts", true),
        ("open, in parts", false),
        ("lost", true),
        ("lost, no unload", true),
        ("lost, given up", true),
        ("open", false),
        ("nothing", false),
    ];
    let topics = ["nothing", "the empty chunk", "next chunks of its unload", "anything else"];
    for (journal, delivered) in journals {
        for topic in topics {
            let done = u64::from(delivered);
            let word = journal.split(',').next().unwrap_or_default();
            let wanted = oracle.decide(word, topic);
            let in_parts = journal.ends_with("parts") || word.starts_with("partly");
            let of_it = match topic {
                "next chunks of its unload" if in_parts => "next chunks of its parts",
                "anything else" if in_parts => "anything else than its parts",
                other => other,
            };
            for tail in tails_of_pair(of_it, done) {
                let decision = decide_pair(&pair(), &state_of_pair(journal, delivered), &tail);
                let decided = name_of_pair(&decision, done);
                assert_eq!(decided, wanted, "{journal}, {done} delivered | {topic}: {tail:?}");
            }
        }
    }
    oracle.require_all_used();
}

fn tail_of_delta(word: &str) -> (Tail, u32) {
    let mut tail = Tail::default();
    let mut see = |table, issue, is_last| {
        let seen = found(0, None, is_last);
        tail.see(stream(table, issue, 1), 1, seen).expect("one message");
        issue
    };
    let highest = match word {
        "nothing" => 0,
        "an older issue" => see(Some(table()), ISSUE - 1, true),
        "the same issue" => see(Some(table()), ISSUE, true),
        "a changelog without an end" => see(None, ISSUE, false),
        "a newer issue" => see(Some(table()), ISSUE + 1, true),
        "an ended changelog" => see(None, ISSUE, true),
        "an ended changelog of a newer issue" => see(None, ISSUE + 1, true),
        other => panic!("no such word for the topic: {other}"),
    };
    (tail, highest)
}

#[test]
fn every_delta_is_decided_as_the_table_says() {
    let mut oracle = Oracle::new("### A delta");
    let begun = Fact::DeltaBegun { delta: DELTA, issue: ISSUE };
    let done = Fact::DeltaDone { delta: DELTA, issue: ISSUE };
    let journals =
        [("nothing", vec![]), ("begun", vec![begun.clone()]), ("done", vec![begun, done])];
    let topics = [
        "nothing",
        "an older issue",
        "the same issue",
        "a changelog without an end",
        "a newer issue",
        "an ended changelog",
        "an ended changelog of a newer issue",
    ];
    for (journal, facts) in journals {
        let mut state = State::default();
        let known = if facts.is_empty() { 0 } else { ISSUE };
        facts.into_iter().for_each(|fact| state.apply(fact));
        for topic in topics {
            let (tail, highest) = tail_of_delta(topic);
            let word = if topic.starts_with("an ended") { "an ended changelog" } else { topic };
            let at = format!("{journal} | {topic}");
            let decided = match decide_delta(DELTA, &state, &tail) {
                DeltaDecision::Skip => "skip",
                DeltaDecision::Adopt { issue } => {
                    assert_eq!(issue, highest, "{at}");
                    "adopt its issue"
                }
                DeltaDecision::Work { issue, begin } if issue > known.max(highest) => {
                    assert!(begin && issue == known.max(highest) + 1, "{at}");
                    "begin a further issue, then work"
                }
                DeltaDecision::Work { issue, begin } => {
                    assert_eq!(issue, known.max(highest), "{at}");
                    if begin { "begin, then work" } else { "work" }
                }
            };
            assert_eq!(decided, oracle.decide(journal, word), "{at}");
        }
    }
    oracle.require_all_used();
}
