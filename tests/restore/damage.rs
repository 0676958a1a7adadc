//! The damage matrix: {lost, doubled, swapped, cut, flipped, foreign} done to {key, data, changelog,
//! manifest, last chunk}, seen by {restore, --readonly, verify, topic show}. Prints cell by cell
//! what each of them did. Never a silent success: where a restore goes on, the target is the
//! source; where it does not, none of the others calls the topic whole.

use std::collections::{BTreeMap, BTreeSet};

use deltakeep::catalog::Seen;
use deltakeep::catalog::index::Catalog;
use deltakeep::deliver::Message;
use deltakeep::format::{Labeller, Manifest, decode_key, encode_key, read_label};
use deltakeep::model::{
    ChunkNumber, Datamart, MessageKey, Offset, Partition, StreamNumber, TableName,
};
use deltakeep::restore::contents::Contents;
use deltakeep::restore::gaps;
use deltakeep::testing::{Stored, table};
use deltakeep::verify::{Asked, Level, Report, Verifier};

use super::judge;
use super::scenario::{Ended, Scenario};
use super::written;

const ACTIONS: [&str; 6] = ["lost", "doubled", "swapped", "cut", "flipped", "foreign"];
const TARGETS: [&str; 5] = ["key", "data", "changelog", "manifest", "last chunk"];
/// Messages of each kind that a cell is tried on.
const TRIES: usize = 6;

type Topic = Vec<Vec<Stored>>;
type At = (usize, usize);

fn message(topic: &Topic, at: At) -> Option<&Message> {
    match topic[at.0].get(at.1) {
        Some(Stored::Visible(message)) => Some(message),
        _ => None,
    }
}

fn says(topic: &Topic, at: At) -> Option<MessageKey> {
    message(topic, at).and_then(|message| decode_key(&message.key).ok())
}

fn places(topic: &Topic) -> Vec<At> {
    let of = |partition: usize| (0..topic[partition].len()).map(move |offset| (partition, offset));
    let all = (0..topic.len()).flat_map(of);
    all.filter(|at| message(topic, *at).is_some()).collect()
}

/// The message of the same stream before it; streams lie in one partition.
fn before(topic: &Topic, at: At) -> Option<At> {
    let key = says(topic, at)?;
    let same = |other: &MessageKey| {
        (&other.increment, other.delta, &other.table) == (&key.increment, key.delta, &key.table)
            && other.stream == key.stream
            && other.chunk.0 + 1 == key.chunk.0
    };
    (0..at.1).map(|offset| (at.0, offset)).rfind(|at| says(topic, *at).is_some_and(|k| same(&k)))
}

/// The message next to it in its partition, of whatever kind.
fn neighbour(topic: &Topic, at: At) -> Option<At> {
    (0..at.1).map(|offset| (at.0, offset)).rfind(|at| message(topic, *at).is_some())
}

/// Whether a cell is about the message there.
fn fits(topic: &Topic, at: At, target: &str) -> bool {
    let Some(key) = says(topic, at) else { return false };
    let is_data = key.table.is_some();
    match target {
        "key" => true,
        "data" => is_data && !key.is_last && before(topic, at).is_some(),
        "changelog" => !is_data && !key.is_last,
        "manifest" => !is_data && key.is_last,
        _ => is_data && key.is_last && before(topic, at).is_some(),
    }
}

/// The topic with something done to the message there; none where it cannot be done.
fn damaged(topic: &Topic, at: At, action: &str, target: &str, random: usize) -> Option<Topic> {
    let mut new = topic.clone();
    let (key, body) = message(topic, at).map(|m| (m.key.clone(), m.body.clone()))?;
    let other = if target == "key" {
        neighbour(topic, at)?
    } else {
        before(topic, at).or_else(|| neighbour(topic, at))?
    };
    let theirs = message(topic, other)?.clone();
    let put = |new: &mut Topic, at: At, key: Vec<u8>, body: Vec<u8>| {
        let partition = Partition(at.0 as i32);
        new[at.0][at.1] = Stored::Visible(Message { partition, key, body });
    };
    let cut = |bytes: &[u8]| bytes[..random % bytes.len()].to_vec();
    let flip = |bytes: &[u8]| {
        let mut bytes = bytes.to_vec();
        let place = random % bytes.len();
        bytes[place] ^= 1 << (random / 7 % 8);
        bytes
    };
    match (action, target) {
        ("lost", "key") => put(&mut new, at, vec![], body),
        ("lost", _) => new[at.0][at.1] = Stored::Marker,
        ("doubled", "key") => put(&mut new, at, [&key[..], &key].concat(), body),
        ("doubled", _) => {
            let copy = new[at.0][at.1].clone();
            new[at.0].insert(at.1 + 1, copy);
        }
        ("swapped", "key") => {
            put(&mut new, at, theirs.key, body);
            put(&mut new, other, key, theirs.body);
        }
        ("swapped", _) => {
            put(&mut new, at, theirs.key, theirs.body);
            put(&mut new, other, key, body);
        }
        ("cut", "key") => put(&mut new, at, cut(&key), body),
        ("cut", _) => put(&mut new, at, key, cut(&body)),
        ("flipped", "key") => put(&mut new, at, flip(&key), body),
        ("flipped", _) => put(&mut new, at, key, flip(&body)),
        ("foreign", "key") => {
            let datamart = Datamart::parse("another").unwrap();
            let key = encode_key(&MessageKey { datamart, ..says(topic, at)? });
            put(&mut new, at, key, body);
        }
        // The body of another message of the same kind, where it has another one.
        _ => {
            (theirs.body != body).then_some(())?;
            put(&mut new, at, key, theirs.body);
        }
    }
    Some(new)
}

fn read(topic: &Topic, mut each: impl FnMut(Seen<'_>)) {
    for (partition, messages) in (0..).map(Partition).zip(topic) {
        for (offset, stored) in (0..).map(Offset).zip(messages) {
            if let Stored::Visible(Message { key, body, .. }) = stored {
                each(Seen { partition, offset, key, body });
            }
        }
    }
}

/// What `verify` reports, after its second reading where there is one; `topic show` has none.
fn verify(topic: &Topic, reads_again: bool) -> Report {
    let mut verifier = Verifier::new(Asked::default());
    read(topic, |seen| verifier.see(seen));
    let lows = vec![Offset(0); topic.len()];
    let ends: Vec<_> = topic.iter().map(|messages| Offset(messages.len() as i64)).collect();
    if reads_again && verifier.second_reading(&lows, &ends).is_some() {
        read(topic, |seen| verifier.compare(seen, &ends));
    }
    verifier.finish(&lows)
}

/// Kinds of what is worse than a note.
fn kinds(report: &Report) -> BTreeSet<&'static str> {
    let counts = report.findings.counts().keys();
    counts.filter(|kind| kind.level() < Level::Note).map(|kind| kind.name()).collect()
}

/// Deltas that `topic show` calls complete.
fn shown(topic: &Topic) -> usize {
    let mut catalog = Catalog::default();
    read(topic, |seen| {
        let Ok(key) = decode_key(seen.key) else { return };
        if key.datamart.as_str() != "db" {
            return;
        }
        catalog.see_at(&key, seen.partition, seen.offset);
        let manifest = read_label(seen.body).ok().and_then(|label| label.manifest);
        if let Some(manifest) = manifest.and_then(|text| Manifest::parse(text).ok()) {
            let tables = manifest.tables.into_iter().map(|table| (table.name, table.chunks));
            catalog.expect(&key, tables.collect());
        }
    });
    catalog.complete().len()
}

/// What each of the four made of one damaged topic.
struct Cell {
    restored: bool,
    fault: String,
    is_whole: bool,
    verify: BTreeSet<&'static str>,
    show: BTreeSet<&'static str>,
    shown: usize,
    deltas: usize,
}

async fn try_one(seed: u64, topic: Topic) -> Cell {
    try_one_with_node(seed, topic, true).await
}

/// `--readonly` goes up to the node's newest delta where it is asked.
async fn try_one_with_node(seed: u64, topic: Topic, asks_node: bool) -> Cell {
    let mut scenario = Scenario::new(seed).await;
    let deltas = scenario.source.deltas.len();
    let mut contents = Contents::new(Datamart::parse("db").unwrap());
    read(&topic, |seen| contents.see(seen));
    let dates = scenario.source.deltas.iter().filter(|_| asks_node).map(|d| (d.num, d.date));
    let dates: Vec<_> = dates.collect();
    let readonly = gaps::report(&contents, &dates);
    let (verify, show, shown) = (verify(&topic, true), verify(&topic, false), shown(&topic));
    scenario.memory.lock().topic = topic;
    let (restored, fault) = match scenario.execute(None).await {
        Ended::Done(_) => {
            let there = scenario.target.with(|store| store.deltas.len());
            // Without its newest delta the source is not what comes back.
            if there == deltas {
                judge::check(&scenario, None);
            }
            assert!(there == deltas || there == shown, "seed {seed}: {there} deltas");
            (true, String::new())
        }
        Ended::Failed(error) => {
            assert!(!error.touched, "seed {seed}: {error:?}");
            (false, error.fault.to_string())
        }
        Ended::Killed => unreachable!("nobody kills"),
    };
    let is_whole = readonly.gaps.is_empty() && readonly.newest.is_some();
    let (verify, show) = (kinds(&verify), kinds(&show));
    Cell { restored, fault, is_whole, verify, show, shown, deltas }
}

impl Cell {
    /// Nobody calls whole what a restore refuses, and nothing goes untold.
    fn check(&self, what: &str) {
        assert!(!self.verify.is_empty(), "{what}: verify is silent");
        assert!(!self.show.is_empty(), "{what}: topic show is silent");
        if self.restored {
            assert_eq!(self.shown, self.deltas, "{what}: not all of the source is there");
            return;
        }
        assert!(!self.is_whole, "{what}: --readonly calls it whole, but: {}", self.fault);
        assert!(!self.fault.is_empty(), "{what}");
        let harmless = ["copy"].into_iter().collect();
        assert_ne!(self.verify, harmless, "{what}: {}", self.fault);
    }
}

/// How often each of the four did what, and one example of a refusal.
#[derive(Default)]
struct Sum {
    tries: usize,
    restored: usize,
    whole: usize,
    complete: usize,
    verify: BTreeSet<&'static str>,
    show: BTreeSet<&'static str>,
    fault: String,
}

impl Sum {
    fn add(&mut self, cell: Cell) {
        self.tries += 1;
        self.restored += usize::from(cell.restored);
        self.whole += usize::from(cell.is_whole);
        self.complete += usize::from(cell.shown == cell.deltas);
        self.verify.extend(cell.verify);
        self.show.extend(cell.show);
        self.fault = if cell.fault.is_empty() { self.fault.clone() } else { cell.fault };
    }

    fn print(&self, action: &str, target: &str) {
        let Sum { tries, restored, whole, complete, verify, show, fault } = self;
        let list = |kinds: &BTreeSet<&str>| kinds.iter().copied().collect::<Vec<_>>().join(" ");
        println!("{action} {target}: {tries} tries");
        println!(
            "  restore     {restored} the source again, {} refused: {fault}",
            tries - restored
        );
        println!("  --readonly  {whole} whole, {} gaps", tries - whole);
        println!("  verify      {}", list(verify));
        println!("  topic show  {complete} with all deltas complete; found {}", list(show));
    }
}

#[tokio::test(start_paused = true)]
async fn no_damage_of_any_message_is_a_silent_success() {
    let mut sums: BTreeMap<(usize, usize), Sum> = BTreeMap::new();
    let mut seed = 0;
    for _ in 0..3 {
        let scenario = Scenario::large(seed + 1).await;
        seed = scenario.seed;
        let topic = scenario.memory.lock().topic.clone();
        assert_eq!(kinds(&verify(&topic, true)), BTreeSet::new(), "seed {seed}: it is sound");
        for (column, target) in TARGETS.iter().enumerate() {
            let mut of_kind = places(&topic);
            of_kind.retain(|at| fits(&topic, *at, target));
            let step = of_kind.len().div_ceil(TRIES).max(1);
            for at in of_kind.into_iter().step_by(step) {
                for (row, action) in ACTIONS.iter().enumerate() {
                    let random = scenario.random(1 << 20) as usize;
                    let Some(damaged) = damaged(&topic, at, action, target, random) else {
                        continue;
                    };
                    let cell = try_one(seed, damaged).await;
                    cell.check(&format!("seed {seed}, {action} {target} at {at:?}, {random}"));
                    sums.entry((row, column)).or_default().add(cell);
                }
            }
        }
    }
    for (row, action) in ACTIONS.iter().enumerate() {
        for (column, target) in TARGETS.iter().enumerate() {
            let sum = sums.get(&(row, column)).expect("every cell is tried");
            sum.print(action, target);
            // Only copies and messages that changed places leave the rows as they were; a key that
            // was doubled is none.
            let harmless = matches!(*action, "doubled" | "swapped") && *target != "key";
            assert!(harmless || sum.restored == 0, "{action} {target}");
            assert!(sum.tries > 2, "{action} {target} is tried {} times", sum.tries);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_loss_of_all_of_a_delta_is_told_but_of_the_newest_only_by_the_node() {
    let scenario = Scenario::large(1).await;
    let topic = scenario.memory.lock().topic.clone();
    let newest = scenario.source.deltas.len() as u64 - 1;
    for delta in 0..=newest {
        let mut lost = topic.clone();
        for at in places(&topic) {
            if says(&topic, at).is_some_and(|key| key.delta.0 == delta) {
                lost[at.0][at.1] = Stored::Marker;
            }
        }
        let cell = try_one_with_node(scenario.seed, lost.clone(), false).await;
        let is_seen = delta < newest;
        assert_eq!(cell.verify.contains("missing"), is_seen, "delta {delta}");
        assert_eq!((cell.restored, cell.is_whole), (!is_seen, !is_seen), "delta {delta}");
        let asked = try_one_with_node(scenario.seed, lost, true).await;
        assert!(!asked.is_whole, "delta {delta}: the node knows of it");
    }
}

/// The older tool's messages carry no check sums: a body that is cut is named, one whose rows were
/// changed is not seen, and the summary says of which tables that holds.
#[tokio::test(start_paused = true)]
async fn what_nobody_can_see_in_the_older_tools_messages_is_said_of_each_table() {
    let (mut cut, mut flipped) = (0, 0);
    for seed in 1..25 {
        let mut whole = Scenario::new(seed).await;
        written::rewrite(&whole);
        let topic = whole.memory.lock().topic.clone();
        if !matches!(whole.execute(None).await, Ended::Done(_)) {
            continue;
        }
        for at in places(&topic) {
            let Some(key) = says(&topic, at) else { continue };
            let body = message(&topic, at).unwrap().body.clone();
            if key.table.is_none() || body.len() < 330 {
                continue;
            }
            let with = |body: Vec<u8>| {
                let mut new = topic.clone();
                if let Stored::Visible(message) = &mut new[at.0][at.1] {
                    message.body = body;
                }
                new
            };
            for short in [1, 17, 20] {
                let mut scenario = Scenario::new(seed).await;
                scenario.memory.lock().topic = with(body[..body.len() - short].to_vec());
                let fault = scenario.fault().await.to_string();
                let place = format!("partition {} offset {}", at.0, at.1);
                assert!(fault.contains(&place), "seed {seed}: {fault}");
                cut += 1;
            }
            let mut other = body;
            // The last letter of the last row: behind it are sys_op in two bytes, and the marker.
            let last = other.len() - 16 - 3;
            if !other[last].is_ascii_digit() {
                continue;
            }
            other[last] ^= 1;
            let mut scenario = Scenario::new(seed).await;
            scenario.memory.lock().topic = with(other);
            if let Ended::Done(summary) = scenario.execute(None).await {
                let table = (key.delta, key.table.clone().unwrap());
                assert!(summary.findings.unverified.contains(&table), "seed {seed}: {table:?}");
                flipped += 1;
            }
        }
    }
    assert!(cut > 30 && flipped > 8, "{cut} cut, {flipped} flipped");
}

/// A message of a table that the manifest does not name, with a check sum of its own.
#[tokio::test(start_paused = true)]
async fn a_table_that_the_manifest_does_not_name_is_not_restored() {
    let mut scenario = Scenario::large(1).await;
    let mut topic = scenario.memory.lock().topic.clone();
    let at = places(&topic).into_iter().find(|at| fits(&topic, *at, "last chunk")).unwrap();
    let (stream, total, chunk) = (StreamNumber(1), 1, ChunkNumber(1));
    let key = MessageKey {
        table: Some(TableName("t9".into())),
        stream,
        stream_total: total,
        chunk,
        ..says(&topic, at).unwrap()
    };
    let (bytes, mut body) = (encode_key(&key), Vec::new());
    Labeller::new(&table("t9").columns).label_empty(&key, &bytes, &mut body).unwrap();
    let partition = Partition(at.0 as i32);
    topic[at.0].insert(at.1 + 1, Stored::Visible(Message { partition, key: bytes, body }));
    assert!(kinds(&verify(&topic, true)).contains("extra"));
    scenario.memory.lock().topic = topic;
    let fault = scenario.fault().await.to_string();
    assert!(fault.contains(&format!("no complete increment of delta {}", key.delta)), "{fault}");
}
