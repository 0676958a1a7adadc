//! Random histories through real brokers with the binary: backed up in several runs, restored under
//! another name in one go or in two, and compared at every delta. Owns the comparison that other
//! tests of restores use.

use crate::fire::Place;
use crate::process::{Done, Keep};
use crate::random_history::{Delta, History, answer};
use crate::sandbox::Sandbox;
use crate::support::{delete_topic, kafka, topics, unique};

const HISTORIES: u64 = 12;

/// A datamart on a node, and the history that it has by now.
pub struct Source<'a> {
    pub node: &'a Sandbox,
    pub datamart: String,
    pub history: History,
}

impl<'a> Source<'a> {
    pub fn new(node: &'a Sandbox, datamart: String, seed: u64) -> Self {
        node.sql("", &format!("CREATE DATABASE {datamart}"));
        Self { node, datamart, history: History::new(seed) }
    }

    pub fn sql(&self, sql: &str) {
        self.node.sql(&self.datamart, sql);
    }

    /// One more delta, with the schema changes before it; `more` are further writes.
    pub fn delta(&mut self, more: &[String]) {
        let Delta { changes, writes, date } = self.history.delta();
        changes.iter().for_each(|change| self.sql(change));
        self.sql("BEGIN DELTA");
        writes.iter().chain(more).for_each(|write| self.sql(write));
        self.sql(&format!("COMMIT DELTA SET '{date}'"));
    }

    /// Schema changes behind the last delta.
    pub fn changes(&mut self) {
        self.history.changes().iter().for_each(|change| self.sql(change));
    }

    /// Requires that `target` on this node is what the source is, at every delta.
    pub fn require_equal(&self, node: &Sandbox, target: &str, why: &str) {
        for question in self.history.questions() {
            let ask = |node: &Sandbox, name: &str| answer(name, node.sql(name, &question));
            let (source, found) = (ask(self.node, &self.datamart), ask(node, target));
            assert_eq!(found, source, "{why}: {question}");
        }
    }
}

/// Requires that nothing of these runs is left, neither in the datamart nor on the brokers.
pub fn require_clean<'a>(
    node: &Sandbox,
    target: &str,
    runs: impl IntoIterator<Item = &'a str>,
    why: &str,
) {
    node.require_free(target, why);
    for run in runs {
        let left = topics(&kafka(), &format!("deltakeep_{}", &run[..8]));
        assert_eq!(left, [""; 0], "{why}");
    }
}

fn refs(words: &[String]) -> Vec<&str> {
    words.iter().map(String::as_str).collect()
}

/// Words of a command about a topic.
pub fn words(command: &str, topic: &str, more: &[&str]) -> Vec<String> {
    let kafka = kafka();
    let words = [&[command, "--topic", topic, "--kafkaBrokersCore", &kafka], more].concat();
    words.into_iter().map(str::to_owned).collect()
}

/// One to three backups, with deltas and changes before each.
fn back_up(source: &mut Source<'_>, keep: &Keep, topic: &str) {
    for _ in 0..1 + source.history.chance().below(3) {
        for _ in 0..1 + source.history.chance().below(3) {
            source.delta(&[]);
        }
        source.changes();
        let chance = source.history.chance();
        let chunk = (1 + chance.below(9)).to_string();
        let (threads, partitions) =
            ((1 + chance.below(3)).to_string(), (1 + chance.below(3)).to_string());
        let more = ["--chunkSize", &chunk, "--threadsCount", &threads];
        let more = [&more[..], &["--partitionsCount", &partitions]].concat();
        keep.expect(0, &refs(&words("backup_to_kafka", topic, &more)));
    }
}

/// Restores all, or first a part and then the rest.
fn restore(source: &mut Source<'_>, keep: &Keep, topic: &str) -> Vec<Done> {
    let deltas = source.history.deltas();
    let chance = source.history.chance();
    let (threads, partitions) =
        ((1 + chance.below(3)).to_string(), (1 + chance.below(3)).to_string());
    let common = ["--sourceDatamart", &source.datamart, "--threadsCount", &threads];
    let common = [&common[..], &["--partitionsCount", &partitions]].concat();
    let restore = |more: &[&str]| {
        let words = words("restore_from_kafka", topic, &[&common[..], more].concat());
        keep.expect(0, &refs(&words))
    };
    if deltas < 2 || chance.percent(50) {
        return vec![restore(&[])];
    }
    let first = 1 + chance.below(deltas - 1);
    let (to, from) = ((first - 1).to_string(), first.to_string());
    vec![restore(&["--delta", &to]), restore(&["--deltaFrom", &from])]
}

#[test]
fn random_histories_come_back_with_equal_rows_at_every_delta() {
    let folder = tempfile::tempdir().expect("a folder");
    let node = Sandbox::start(folder.path(), &kafka(), &[]);
    let mut in_two = 0;
    for seed in 1..=HISTORIES {
        let (topic, target) = (unique("round"), format!("copy{seed}"));
        let mut source = Source::new(&node, format!("source{seed}"), seed);
        let keep = Keep::new(folder.path(), &node.address, &source.datamart);
        back_up(&mut source, &keep, &topic);
        let keep = Keep::new(folder.path(), &node.address, &target).elsewhere("restore");
        let done = restore(&mut source, &keep, &topic);
        in_two += usize::from(done.len() == 2);
        let why = format!("seed {seed}");
        source.require_equal(&node, &target, &why);
        let runs: Vec<_> = done.iter().map(|done| done.run().expect("a run")).collect();
        require_clean(&node, &target, runs.iter().map(String::as_str), &why);
        delete_topic(&kafka(), &topic);
    }
    assert!(in_two > 2 && in_two < HISTORIES as usize - 2, "{in_two} in two steps");
}

/// Runs that came one after the other, out of their order: what they say of the changes puts each
/// before its own delta all the same.
#[test]
fn increments_of_several_runs_are_replayed_in_their_order() {
    let folder = tempfile::tempdir().expect("a folder");
    let node = Sandbox::start(folder.path(), &kafka(), &[]);
    let mut source = Source::new(&node, "chained".into(), 4);
    let keep = Keep::new(folder.path(), &node.address, "chained");
    let topic = unique("chain");
    let back_up = |more: &[&str]| {
        keep.expect(0, &refs(&words("backup_to_kafka", &topic, more)));
    };
    let table = |name: &str| {
        format!(
            "CREATE TABLE {name} (id bigint not null, v varchar, PRIMARY KEY (id)) DISTRIBUTED BY (id)"
        )
    };
    let fill = |name: &str, rows: u64| vec![format!("SANDBOX_FILL({name}, {rows})")];
    source.sql(&table("again"));
    source.delta(&fill("again", 5));
    source.delta(&fill("again", 6));
    back_up(&[]);
    source.sql("CREATE VIEW seen AS SELECT id FROM again WHERE id > 2");
    source.delta(&fill("again", 7));
    source.sql("DROP VIEW seen");
    source.sql("DROP TABLE again");
    source.sql(&table("again"));
    source.delta(&fill("again", 8));
    source.sql(&table("late"));
    source.delta(&[fill("late", 3), fill("again", 2)].concat());
    back_up(&["--deltaNum", "4"]);
    source.sql("CREATE VIEW seen AS SELECT id FROM late");
    back_up(&["--fillGaps"]);
    source.delta(&[fill("late", 4), vec!["DELETE FROM again WHERE id < 4".into()]].concat());
    back_up(&[]);
    source.sql("ALTER VIEW seen AS SELECT v FROM late");
    source.delta(&[]);
    back_up(&[]);
    let keep = Keep::new(folder.path(), &node.address, "chain").elsewhere("restore");
    let done = keep
        .expect(0, &refs(&words("restore_from_kafka", &topic, &["--sourceDatamart", "chained"])));
    // GET_CHANGES tells behind which delta each change was made.
    source.require_equal(&node, "chain", "chain");
    for question in ["again", "late"].map(|table| format!("SELECT * FROM {table} ORDER BY id")) {
        let (found, wanted) = (node.sql("chain", &question), node.sql("chained", &question));
        assert!(!wanted.is_empty() && found == wanted, "{question}: {found:?} {wanted:?}");
    }
    require_clean(&node, "chain", done.run().as_deref(), "chain");
}

impl Source<'_> {
    /// A random history of a few deltas, beside a table with many rows.
    pub fn filled<'a>(place: &'a Place<'_>) -> Source<'a> {
        let datamart = format!("round{}", place.number);
        let mut chance = place.chance();
        let mut source = Source::new(&*place.node, datamart, chance.below(1 << 40));
        source.sql("CREATE TABLE much (id bigint not null, v varchar, n int32, PRIMARY KEY (id)) DISTRIBUTED BY (id)");
        for _ in 0..4 + chance.below(3) {
            let (rows, edge) = (100 + chance.below(900), chance.below(1000));
            let fill = format!("SANDBOX_FILL(much, {rows})");
            let delete = format!("DELETE FROM much WHERE id > {edge} AND id < {}", edge + 90);
            source.delta(&[delete, fill]);
        }
        source.changes();
        source
    }
}
