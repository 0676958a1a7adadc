//! The examples of docs/queue.md are tasks, each fits its schema, and the replies fit theirs.

use deltakeep::queue::envelope;
use deltakeep::queue::{Message, ask};
use serde_json::Value;

use crate::hand::Hand;
use crate::schema;

const MANUAL: &str = include_str!("../../docs/queue.md");
const SEED: [&str; 2] = ["quotes_backup_1", "restore-op-123"];

fn examples() -> Vec<Value> {
    let blocks = MANUAL.split("```json\n").skip(1);
    blocks.map(|block| serde_json::from_str(block.split("```").next().unwrap()).unwrap()).collect()
}

#[test]
fn every_example_is_a_task_or_a_reply() {
    let settings = Hand::new("one", &[]).settings;
    let (mut tasks, mut replies) = (0, 0);
    for example in examples() {
        if example.get("final").is_some() {
            schema::check(&schema::load("reply"), &example).unwrap();
            replies += 1;
            continue;
        }
        let kind = example["type"].as_str().unwrap();
        schema::check(&schema::of_kind(kind), &example)
            .unwrap_or_else(|why| panic!("{example}: {why}"));
        let message = Message { body: example.to_string().into_bytes(), ..Message::default() };
        let known = |kind: &str| ask::is_kind(&settings, kind);
        let mut task = envelope::read(&message, "backup", known).unwrap();
        let read = ask::read(&mut task, &settings);
        read.map(|_| ()).unwrap_or_else(|error| panic!("{example}: {error}"));
        tasks += 1;
    }
    assert_eq!((tasks, replies), (7, 1));
    let first: Vec<_> = examples().into_iter().take(2).collect();
    for (example, text) in first.iter().zip(SEED) {
        assert!(example.to_string().contains(text), "the seed's examples come first");
    }
}
