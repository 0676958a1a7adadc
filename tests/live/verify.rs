//! `verify`, `topic show` and restores through real brokers: a backup is sound, and a copy of its
//! topic with one message lost, doubled, swapped, cut, flipped or foreign never passes for one.
//! Every message and every byte is tried in tests/verify and tests/restore, in memory.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use deltakeep::catalog::TopicReader;
use deltakeep::catalog::kafka::KafkaTopic;
use deltakeep::format::decode_key;
use deltakeep::kafka::{Brokers, ClusterAdmin, TopicAdmin};
use deltakeep::model::MessageKey;
use rdkafka::ClientConfig;
use rdkafka::producer::{FutureProducer, FutureRecord};
use serde_json::Value;

use crate::process::Keep;
use crate::rig::Rig;
use crate::support::{block_on, unique};

type Message = (Vec<u8>, Vec<u8>);

/// What is done to a message.
const ACTIONS: [&str; 6] = ["lost", "doubled", "swapped", "cut", "flipped", "foreign"];

pub fn topic(brokers: &str, name: &str) -> KafkaTopic {
    let brokers = Brokers::new(brokers.to_owned(), BTreeMap::new()).expect("brokers");
    let admin: Arc<dyn TopicAdmin> = ClusterAdmin::new(&brokers).expect("a client");
    KafkaTopic::new(brokers, admin, name)
}

/// All messages of a topic of one partition.
pub fn read(brokers: &str, name: &str) -> Vec<Message> {
    let topic = topic(brokers, name);
    let state = block_on(topic.state()).expect("a state").expect("a topic");
    let lows: Vec<_> = state.ranges.iter().map(|range| range.0).collect();
    let mut messages = Vec::new();
    let mut each = |seen: deltakeep::catalog::Seen<'_>| {
        messages.push((seen.key.to_vec(), seen.body.to_vec()));
    };
    block_on(topic.scan(&lows, &mut each)).expect("read");
    messages
}

/// A new topic with these messages.
pub fn write(brokers: &str, messages: &[Message]) -> String {
    let name = unique("damaged");
    block_on(topic(brokers, &name).create(1)).expect("created");
    let lines: Vec<_> = messages.iter().map(|(key, body)| (0, key.clone(), body.clone())).collect();
    send(brokers, &name, &lines);
    name
}

/// Sends messages, each to its partition.
pub fn send(brokers: &str, topic: &str, lines: &[(usize, Vec<u8>, Vec<u8>)]) {
    let mut config = ClientConfig::new();
    let config = config.set("bootstrap.servers", brokers).set("enable.idempotence", "true");
    let producer: FutureProducer = config.create().expect("a producer");
    for (partition, key, body) in lines {
        let record = FutureRecord::to(topic).partition(*partition as i32).key(key).payload(body);
        block_on(producer.send(record, Duration::from_secs(20))).expect("delivered");
    }
}

/// Does something to the message at a place.
fn damage(messages: &[Message], place: usize, action: &str) -> Vec<Message> {
    let mut damaged = messages.to_vec();
    match action {
        "lost" => drop(damaged.remove(place)),
        "doubled" => damaged.insert(place, messages[place].clone()),
        "swapped" => damaged.swap(place, place - 1),
        "cut" => drop(damaged[place].1.pop()),
        "flipped" => {
            let middle = damaged[place].1.len() / 2;
            damaged[place].1[middle] ^= 4;
        }
        _ => damaged.insert(place, (b"stranger".to_vec(), b"of nobody".to_vec())),
    }
    damaged
}

/// Places by what lies there; each but the first chunk has its stream's chunk before it.
fn places(messages: &[Message]) -> [(&'static str, usize); 4] {
    let keys: Vec<MessageKey> =
        messages.iter().map(|(key, _)| decode_key(key).expect("a key")).collect();
    let find = |fits: &dyn Fn(&MessageKey) -> bool| keys.iter().position(fits).expect("such one");
    [
        ("data", find(&|key| key.chunk.0 == 2 && key.table.is_some() && !key.is_last)),
        ("last chunk", find(&|key| key.chunk.0 > 2 && key.table.is_some() && key.is_last)),
        ("changelog", find(&|key| key.table.is_none() && key.chunk.0 == 1)),
        ("manifest", find(&|key| key.table.is_none() && key.is_last && key.delta.0 == 1)),
    ]
}

pub fn document(text: &str) -> Value {
    serde_json::from_str(text).expect("one document")
}

#[test]
fn a_backup_is_sound_and_no_damage_of_it_is_a_silent_success() {
    let rig = Rig::new("verify");
    rig.keep.expect(0, &rig.words(&[]));
    let words = |command: &[&'static str], topic: &str| -> Vec<String> {
        let rest = ["--topic", topic, "--kafkaBrokers", &rig.brokers, "--output", "json"];
        command.iter().copied().chain(rest).map(str::to_owned).collect()
    };
    let run =
        |words: Vec<String>| rig.keep.run(&words.iter().map(String::as_str).collect::<Vec<_>>());
    let sound = run(words(&["verify"], &rig.topic));
    assert_eq!(sound.code, Some(0), "{sound}");
    let told = document(&sound.stdout);
    assert_eq!(told["datamarts"][0]["newest"], 1, "{told}");
    assert_eq!(told["counts"], serde_json::json!({}), "{told}");
    let text =
        rig.keep.expect(0, &["verify", "--topic", &rig.topic, "--kafkaBrokers", &rig.brokers]);
    assert!(text.stdout.contains("newest delta 1 of 2026-01-01T00:00:01Z"), "{text}");
    assert!(text.stdout.ends_with("Sound\n"), "{text}");

    let messages = read(&rig.brokers, &rig.topic);
    let is_long = std::env::var_os("DELTAKEEP_LONG").is_some();
    let cases = places(&messages).into_iter().enumerate().flat_map(|(number, target)| {
        let fits = move |turn: usize| is_long || turn % 4 == number;
        (0..ACTIONS.len()).filter(move |turn| fits(*turn)).map(move |turn| (target, ACTIONS[turn]))
    });
    for ((what, place), action) in cases {
        let name = write(&rig.brokers, &damage(&messages, place, action));
        let verified = run(words(&["verify"], &name));
        let told = document(&verified.stdout);
        let code = if action == "doubled" { 0 } else { 4 };
        assert_eq!(verified.code, Some(code), "{what} {action}: {verified}");
        assert_ne!(told["counts"], serde_json::json!({}), "{what} {action}: {told}");
        let shown = document(&run(words(&["topic", "show"], &name)).stdout);
        assert_ne!(shown["found"], serde_json::json!({}), "{what} {action}: {shown}");
        check_restore(&rig, &name, action, &format!("{what} {action}"));
        crate::support::delete_topic(&rig.brokers, &name);
    }
}

/// A restore of a damaged topic brings the source back, or nothing at all; --readonly says which.
fn check_restore(rig: &Rig, topic: &str, action: &str, why: &str) {
    let target = unique("into");
    let keep = Keep::new(rig.folder.path(), &rig.node.address, &target).elsewhere(&target);
    let words = ["restore_from_kafka", "--topic", topic, "--kafkaBrokersCore", &rig.brokers];
    let words = [&words[..], &["--sourceDatamart", "d"]].concat();
    let readonly = keep.run(&[&words[..], &["--readonly"]].concat());
    let restored = keep.run(&words);
    // A stranger is passed over, a copy is one, and chunks are told by their keys.
    let is_harmless = ["doubled", "swapped", "foreign"].contains(&action);
    let code = if is_harmless { 0 } else { 4 };
    assert_eq!((readonly.code, restored.code), (Some(code), Some(code)), "{why}: {restored}");
    if !is_harmless {
        let there = rig.node.try_sql(&target, "GET_DELTA_OK()").unwrap_or_default();
        assert!(there.is_empty(), "{why}: {there:?}");
        return;
    }
    for question in ["a, [id, v]", "b, [id, v]"] {
        for sum in ["CHECK_SUM(0, ", "CHECK_SUM(1, ", "CHECK_SUM_SNAPSHOT(1, "] {
            let ask = |datamart: &str| rig.node.sql(datamart, &format!("{sum}{question})"));
            assert_eq!(ask(&target), ask("d"), "{why}: {sum}{question}");
        }
    }
}

#[test]
fn what_is_not_there_is_found_wanting() {
    let rig = Rig::new("wanting");
    rig.keep.expect(0, &rig.words(&["--deltaNum", "1"]));
    let brokers = ["--kafkaBrokers", &rig.brokers];
    let verify = |more: &[&str], code| {
        let words = [&["verify", "--topic", &rig.topic][..], &brokers, more].concat();
        rig.keep.expect(code, &words)
    };
    let gap = verify(&[], 4);
    assert!(gap.stdout.contains("nothing of the deltas 0 is there"), "{gap}");
    assert!(gap.stderr.contains("next: deltakeep"), "{gap}");
    verify(&["--deltaFrom", "1", "--datamart", "D"], 0);
    let nobody = verify(&["--datamart", "nobody"], 4);
    assert!(nobody.stdout.contains("nothing of the datamart is there"), "{nobody}");
    let missing = ["verify", "--topic", "live_never_made", "--kafkaBrokers", &rig.brokers];
    rig.keep.expect(3, &missing);
}
