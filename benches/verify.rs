//! `verify` of a backup topic against a plain consumer of the same messages, in turn, and its peak of
//! memory for a topic and for one of four times the messages, each in a process of its own. Prints
//! a table for `scripts/bench`; asserts nothing about time.

#[path = "shared/cluster.rs"]
mod cluster;
#[path = "shared/data.rs"]
mod data;
#[path = "shared/engine.rs"]
mod engine;
#[allow(dead_code, reason = "time inside a journal is the other benchmarks' to tell")]
#[path = "shared/measure.rs"]
mod measure;

use std::process::Command;
use std::time::Duration;

use deltakeep::catalog::{Seen, TopicReader};
use deltakeep::model::Offset;
use deltakeep::testing::{Memory, MemoryJournal};
use deltakeep::verify::{Asked, Level, Verifier};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{ClientConfig, Message as _, TopicPartitionList};

use cluster::Cluster;
use measure::{Mark, Spent, median, peak_kib};

const ROUNDS: usize = 7;
/// Messages of the smaller topic: 157 MB.
const CHUNKS: u64 = 1000;
const MORE: u64 = 4;
const PATIENCE: Duration = Duration::from_secs(60);
const WAYS: [&str; 3] = ["plain consumer", "verify", "verify, rows added up"];
/// Says to a process that it is the one to be measured, and what to read.
const CHILD: &str = "DELTAKEEP_BENCH_CHILD";

#[tokio::main]
async fn main() {
    let cluster = Cluster::of_environment();
    if let Ok(topic) = std::env::var(CHILD) {
        let (topic, way) = topic.split_once(' ').expect("a topic and a way");
        read(&cluster, topic, way.parse().expect("a way")).await;
        println!("{}", peak_kib());
        return;
    }
    let few = back_up(&cluster, CHUNKS).await;
    let many = back_up(&cluster, CHUNKS * MORE).await;
    speed(&cluster, &many).await;
    memory(&few, &many);
    cluster.delete(&few.0).await;
    cluster.delete(&many.0).await;
}

/// A backup topic and its bytes.
type Topic = (String, u64);

async fn back_up(cluster: &Cluster, chunks: u64) -> Topic {
    let filled = data::fill(cluster, 1, chunks).await;
    let topic = cluster.new_topic("backup", 1).await;
    let journal = MemoryJournal::new(&Memory::new(1));
    engine::back_up(cluster, &filled, &topic, 1, journal).await;
    cluster.delete(&filled.topic).await;
    (topic, filled.bytes)
}

/// Reads a topic in one of the ways.
async fn read(cluster: &Cluster, topic: &str, way: usize) -> Spent {
    if way == 0 {
        return tokio::task::block_in_place(|| consume(cluster, topic));
    }
    let mark = Mark::now();
    let of_topic = cluster.topic(topic);
    let mut verifier = Verifier::new(Asked { sums: way == 2, ..Asked::default() });
    let lows = [Offset(0)];
    let mut see = |seen: Seen<'_>| verifier.see(seen);
    of_topic.scan(&lows, &mut see).await.expect("it is read");
    let report = verifier.finish(&lows);
    let whole = report.findings.list().all(|found| found.kind.level() > Level::Gap);
    assert!(whole, "{:?}", report.findings);
    assert!(report.messages > 1);
    mark.spent()
}

/// A consumer with our client's settings that looks at nothing.
fn consume(cluster: &Cluster, topic: &str) -> Spent {
    let mark = Mark::now();
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", cluster.brokers.list())
        .set("group.id", "bench")
        .set("enable.auto.commit", "false")
        .set("queued.max.messages.kbytes", "16384")
        .set("fetch.queue.backoff.ms", "5")
        .set("fetch.wait.max.ms", "50")
        .set("fetch.message.max.bytes", "1048576")
        .set("check.crcs", "true")
        .set("isolation.level", "read_committed");
    let consumer: BaseConsumer = config.create().expect("a consumer");
    let end = consumer.fetch_watermarks(topic, 0, PATIENCE).expect("its end").1;
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, 0, rdkafka::Offset::Beginning).expect("a partition");
    consumer.assign(&list).expect("an assignment");
    let mut bytes = 0;
    loop {
        let message = consumer.poll(PATIENCE).expect("a message in time").expect("a message");
        bytes += message.payload().unwrap_or_default().len();
        // The last offset is the marker of the last transaction.
        if message.offset() >= end - 2 {
            break;
        }
    }
    assert!(bytes > 0);
    mark.spent()
}

async fn speed(cluster: &Cluster, (topic, bytes): &Topic) {
    let mut spent: [Vec<Spent>; WAYS.len()] = Default::default();
    for way in 0..WAYS.len() {
        read(cluster, topic, way).await;
    }
    for round in 0..ROUNDS {
        for turn in 0..WAYS.len() {
            let turn = if round % 2 == 0 { turn } else { WAYS.len() - 1 - turn };
            let way = (round / 2 + turn) % WAYS.len();
            spent[way].push(read(cluster, topic, way).await);
        }
    }
    let megabytes = *bytes as f64 / 1e6;
    println!("{megabytes:.0} MB, one partition, {ROUNDS} rounds");
    println!(
        "{:24} {:>20} {:>10} {:>20}",
        "", "MB/s (least, most)", "CPU ms/MB", "of the plain one"
    );
    for (way, name) in WAYS.iter().enumerate() {
        let of = &spent[way];
        let (middle, least, most) = median(of.iter().map(|s| megabytes / s.wall.as_secs_f64()));
        let cpu = median(of.iter().map(|s| s.cpu.as_secs_f64() * 1e3 / megabytes)).0;
        let ratios = spent[0]
            .iter()
            .zip(of)
            .map(|(plain, s)| plain.wall.as_secs_f64() / s.wall.as_secs_f64());
        let (ratio, low, high) = median(ratios);
        let (speed, ratio) = (
            format!("{middle:.0} ({least:.0}, {most:.0})"),
            format!("{ratio:.2} ({low:.2}, {high:.2})"),
        );
        let claim = if way == 1 { "   claim: at least 0.80" } else { "" };
        println!("{name:24} {speed:>20} {cpu:>10.2} {ratio:>20}{claim}");
    }
}

fn memory(few: &Topic, many: &Topic) {
    println!("{:24} {:>14} {:>14} {:>8}", "peak, MiB", "a topic", "4 of it", "ratio");
    for (way, name) in WAYS.iter().enumerate() {
        let [few, many] = [few, many].map(|topic| {
            let peaks = (0..ROUNDS).map(|_| peak(&topic.0, way));
            median(peaks.collect::<Vec<_>>()).0
        });
        let claim = if way == 0 { "" } else { "   claim: under 1.2" };
        println!("{name:24} {few:>14.1} {many:>14.1} {:>8.2}{claim}", many / few);
    }
}

/// Peak of a child in MiB.
fn peak(topic: &str, way: usize) -> f64 {
    let program = std::env::current_exe().expect("this program");
    let output = Command::new(program).env(CHILD, format!("{topic} {way}")).output();
    let output = output.expect("a child");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("a text");
    let kib: f64 = text.trim().lines().last().and_then(|l| l.parse().ok()).expect("a number");
    kib / 1024.0
}
