//! The rows of a topic against a node's CHECK_SUM, in memory: what the engine wrote has the node's
//! sums, and a row that was changed has not, even where its check sum was made anew.

use std::collections::BTreeSet;

use deltakeep::format::container::{Header, blocks};
use deltakeep::format::row_value;
use deltakeep::model::{Change, DeltaNum, TableName};
use deltakeep::testing::{Inner, Memory, TestRow};
use deltakeep::verify::{Asked, Kind, NodeSums, Report, against};

use crate::engine;
use crate::resealed::resealed;
use crate::topic::{At, Topic, kinds};

/// A topic, and the node it was backed up from, which knows its sums.
struct Scene {
    topic: Topic,
    node: Memory,
}

fn block_on<F: Future>(future: F) -> F::Output {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_time().start_paused(true).build().unwrap().block_on(future)
}

/// CHECK_SUM of these versions.
fn sum<'a>(versions: impl IntoIterator<Item = &'a (i64, Option<String>)>) -> String {
    let text = |(id, v): &(i64, Option<String>)| format!("{id};{}", v.as_deref().unwrap_or(""));
    let values = versions.into_iter().map(|version| row_value(text(version).as_bytes()));
    values.map(u128::from).sum::<u128>().to_string()
}

/// What the node tells is what it holds: the same version added and removed counts once.
fn know_sums(inner: &mut Inner) {
    for (place, rows) in &inner.rows {
        let version = |row: &TestRow| (row.id, row.v.clone());
        let versions: BTreeSet<_> = rows.iter().map(version).collect();
        inner.sums.insert(place.clone(), (sum(&versions), "the state".into()));
    }
}

impl Scene {
    fn new(partitions: u32) -> Self {
        let topic = Topic::of_engine(partitions);
        let node = Memory::new(1);
        engine::fill(&node);
        know_sums(&mut node.lock());
        Self { topic, node }
    }

    fn verify(&self) -> Report {
        let mut report = self.topic.verify_as(Asked { sums: true, ..Asked::default() });
        block_on(against::compare(&self.node, &mut report)).unwrap();
        report
    }

    fn against(&self) -> NodeSums {
        self.verify().against.unwrap()
    }

    /// Says something else of a table at the node.
    fn node_says(&self, delta: u64, table: &str, sum: &str) {
        let place = (DeltaNum(delta), TableName(table.into()));
        self.node.lock().sums.insert(place, (sum.to_owned(), "the state".into()));
    }
}

#[test]
fn what_the_engine_wrote_has_the_sums_of_the_node() {
    for partitions in [1, 3] {
        let scene = Scene::new(partitions);
        let report = scene.verify();
        assert_eq!(kinds(&report), [], "{report:#?}");
        let newest = Some(DeltaNum(2));
        let wanted = NodeSums { newest, equal: 9, different: 0, undecided: 0 };
        assert_eq!(report.against, Some(wanted));
        assert!(
            scene.topic.verify().sums.is_empty(),
            "rows are read only where they are asked for"
        );
    }
}

/// Places in a body at which a letter of a text can be changed: rows of `v`, always `NAME NUMBER`.
fn letters(topic: &Topic, at: At) -> Vec<usize> {
    let body = &topic.at(at).body;
    let header = Header::read(body).unwrap();
    let of_rows: u64 = blocks(body, header.len, header.sync).map(|b| b.unwrap().records).sum();
    let place = |at: &usize| body[*at..].starts_with(b"a ") || body[*at..].starts_with(b"b ");
    let found: Vec<_> = (header.len..body.len() - 16).filter(place).collect();
    assert!(found.len() as u64 <= of_rows);
    found
}

#[test]
fn every_changed_row_is_told_though_its_check_sum_was_made_anew() {
    let whole = Scene::new(3);
    let mut changed = 0;
    for at in whole.topic.places() {
        let key = whole.topic.at(at).says();
        let Some(table) = key.table.clone() else { continue };
        for place in letters(&whole.topic, at) {
            let mut scene = Scene::new(3);
            let message = scene.topic.at_mut(at);
            message.body[place] ^= 8;
            message.body = resealed(&message.key, &message.body);
            assert_eq!(kinds(&scene.topic.verify()), [], "nothing else shows it");
            let report = scene.verify();
            assert_eq!(kinds(&report), [Kind::Sums], "{table} {place}: {report:#?}");
            let found = report.findings.list().next().unwrap();
            assert_eq!(found.place.delta, Some(key.delta));
            assert_eq!(found.place.table.as_ref(), Some(&table));
            assert!(!report.is_good());
            changed += 1;
        }
    }
    assert!(changed > 10, "{changed}");
}

#[test]
fn a_difference_names_both_sums() {
    let scene = Scene::new(1);
    let there = scene.node.lock().sums[&(DeltaNum(0), TableName("b".into()))].0.clone();
    scene.node_says(0, "b", "1");
    let report = scene.verify();
    let found = report.findings.list().next().unwrap();
    assert_eq!(found.text, format!("CHECK_SUM of the 3 rows is {there}, 1 on the node"));
    let NodeSums { equal, different, undecided, .. } = report.against.unwrap();
    assert_eq!((equal, different, undecided), (8, 1, 0));
}

#[test]
fn rows_that_the_topic_never_had_are_told() {
    let scene = Scene::new(1);
    // A table without rows in the topic, of which the node has some.
    scene.node_says(0, "c", "77");
    assert_eq!(kinds(&scene.verify()), [Kind::Sums]);
    let scene = Scene::new(1);
    // A table that the topic does not name at all.
    let table = scene.node.lock().tables[0].clone();
    scene
        .node
        .lock()
        .tables
        .push(deltakeep::model::Table { name: TableName("unknown".into()), ..table });
    assert_eq!(kinds(&scene.verify()), [Kind::Sums; 0]);
    scene.node_says(1, "unknown", "5");
    assert_eq!(kinds(&scene.verify()), [Kind::Sums]);
}

#[test]
fn deltas_of_one_side_only_are_a_warning_and_those_of_another_history_damage() {
    let scene = Scene::new(1);
    let newest = *scene.node.lock().deltas.last().unwrap();
    let next = deltakeep::model::Delta { num: DeltaNum(3), ..newest };
    scene.node.lock().deltas.push(next);
    assert_eq!(kinds(&scene.verify()), [Kind::Apart]);
    assert!(scene.verify().is_good());
    // The loss of everything of the newest deltas: what only a node can show.
    scene.node.lock().deltas.truncate(3);
    let cut = Scene { topic: scene.topic.deltas(|delta| delta < 2), node: scene.node.clone() };
    assert_eq!(kinds(&cut.verify()), [Kind::Apart]);
    scene.node.lock().deltas.truncate(2);
    assert_eq!(kinds(&scene.verify()), [Kind::Apart]);
    assert_eq!(scene.against().equal, 6);
    scene.node.lock().deltas[1].date.0 += 1;
    assert_eq!(kinds(&scene.verify()), [Kind::History, Kind::Apart]);
    scene.node.lock().deltas.clear();
    assert_eq!(kinds(&scene.verify()), [Kind::Apart]);
    assert_eq!(scene.against().equal, 0);
}

#[test]
fn a_table_made_again_since_is_not_compared_and_that_is_said() {
    let scene = Scene::new(1);
    {
        let mut inner = scene.node.lock();
        for query in ["DROP TABLE db.a", "CREATE TABLE db.a (id bigint)"] {
            let num = inner.changes.0.len() as u64;
            let (entity, query) = ("a".to_owned(), query.to_owned());
            let delta = Some(DeltaNum(2));
            inner.changes.0.push(Change { num, entity, query, delta, finished: true });
        }
    }
    let report = scene.verify();
    assert_eq!(kinds(&report), [], "{report:#?}");
    let NodeSums { equal, different, undecided, .. } = report.against.clone().unwrap();
    assert_eq!((equal, different, undecided), (6, 0, 2), "two deltas have rows of it");
    assert_eq!(report.findings.counts()[&Kind::Unchecked], 2);
}

#[test]
fn damaged_increments_are_not_compared() {
    let mut scene = Scene::new(1);
    let at = scene.topic.find(|key| key.delta.0 == 1 && key.table.is_some());
    scene.topic.0[at.0].remove(at.1);
    let report = scene.verify();
    assert!(!report.findings.counts().contains_key(&Kind::Sums), "{report:#?}");
    assert_eq!(report.against.unwrap().equal, 6);
}
