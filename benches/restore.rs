//! Backup topic to load topic by the whole engine, against a plain copy of the same bodies; and a
//! restore of many small tables against the time that their loads alone take. Prints for
//! `scripts/bench`; asserts nothing about time.

#[path = "shared/cluster.rs"]
mod cluster;
#[path = "shared/data.rs"]
mod data;
#[allow(dead_code, reason = "only the backup itself is needed")]
#[path = "shared/engine.rs"]
mod engine;
#[allow(dead_code, reason = "memory and journal are told of elsewhere")]
#[path = "shared/measure.rs"]
mod measure;
#[path = "shared/node.rs"]
mod node;
#[path = "shared/plain.rs"]
mod plain;
#[path = "shared/refill.rs"]
mod refill;

use std::time::Instant;

use deltakeep::testing::{Memory, MemoryJournal};

use cluster::Cluster;
use data::Filled;
use measure::{Spent, median};
use node::Node;
use plain::Way;

const ROUNDS: usize = 7;
/// Messages of a backup: 314 MB.
const CHUNKS: u64 = 2000;
/// Seconds that the node waits before each load, as a real one takes at least.
const LOAD: f64 = 3.0;
const TABLES: usize = 20;
const DELTAS: usize = 10;
const THREADS: usize = 8;

fn main() {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(fill());
    small_tables();
}

async fn fill() {
    let cluster = Cluster::of_environment();
    let chunks = number("DELTAKEEP_BENCH_CHUNKS").unwrap_or(CHUNKS);
    let rounds = number("DELTAKEEP_BENCH_ROUNDS").map_or(ROUNDS, |rounds| rounds as usize);
    let staged = data::fill(&cluster, 1, chunks).await;
    let backup = cluster.new_topic("restored", 1).await;
    let journal = MemoryJournal::new(&Memory::new(1));
    engine::back_up(&cluster, &staged, &backup, 1, journal).await;
    cluster.delete(&staged.topic).await;
    // As many messages as were staged, and a changelog behind them.
    let filled = Filled { topic: backup, ..staged };
    let mut spent: [Vec<Spent>; 2] = Default::default();
    for round in 0..=rounds {
        for turn in 0..2 {
            let way = (round + turn) % 2;
            let took = run(&cluster, &filled, way).await;
            // A round that is not counted warms the broker's code and the page cache.
            if round > 0 {
                spent[way].push(took);
            }
        }
    }
    cluster.delete(&filled.topic).await;
    print(&filled, &spent);
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect("a number"))
}

async fn run(cluster: &Cluster, filled: &Filled, way: usize) -> Spent {
    if way == 1 {
        return refill::fill(cluster, &filled.topic).await;
    }
    let to = cluster.new_topic("loaded", 1).await;
    let spent = tokio::task::block_in_place(|| plain::copy(cluster, filled, &to, Way::Load));
    cluster.delete(&to).await;
    spent
}

fn range((middle, least, most): (f64, f64, f64), digits: usize) -> String {
    format!("{middle:.digits$} ({least:.digits$}, {most:.digits$})")
}

fn print(filled: &Filled, spent: &[Vec<Spent>; 2]) {
    let megabytes = filled.bytes as f64 / 1e6;
    let messages = filled.messages();
    println!("{messages} messages, {megabytes:.0} MB, one partition, {} rounds", spent[0].len());
    println!("{:32} {:>22} {:>22}", "", "MB/s (least, most)", "CPU ms/MB");
    for (name, spent) in ["plain copy", "load topic filled"].iter().zip(spent) {
        let speed = range(median(spent.iter().map(|s| megabytes / s.wall.as_secs_f64())), 0);
        let cpu = median(spent.iter().map(|s| s.cpu.as_secs_f64() * 1e3 / megabytes));
        println!("{name:32} {speed:>22} {:>22}", range(cpu, 2));
    }
    let each = spent[0].iter().zip(&spent[1]);
    let each = median(each.map(|(b, o)| b.wall.as_secs_f64() / o.wall.as_secs_f64()));
    println!("{:32} {:>22}   claim: at least 0.85", "filled / plain copy", range(each, 2));
}

/// Few rows in many tables and deltas: what counts is how many loads are under way at once.
fn small_tables() {
    let folder = tempfile::tempdir().expect("a folder");
    let fault = format!("slow-load={}@always", (LOAD * 1e3) as u64);
    let node = Node::start(folder.path(), &fault);
    let topic = format!("bench_small_{}", uuid::Uuid::new_v4().simple());
    node.fill(TABLES, DELTAS);
    let run = |datamart: &str, words: &[&str]| {
        let connect = format!("{}/{datamart}", node.address);
        let (topic, threads) = (topic.as_str(), THREADS.to_string());
        let common = ["--connect", &connect, "--topic", topic, "--kafkaBrokersCore", &node.kafka];
        let words = [words, &common, &["--threadsCount", &threads]].concat();
        let began = Instant::now();
        let status = node::quiet(&words, folder.path()).status().expect("it starts");
        assert!(status.success(), "{words:?}");
        began.elapsed().as_secs_f64()
    };
    run("d", &[node::PROGRAM, "backup_to_kafka"]);
    let took = run("e", &[node::PROGRAM, "restore_from_kafka", "--sourceDatamart", "d"]);
    // Deltas follow one another; of each the tables are loaded in rounds of all threads.
    let ideal = DELTAS as f64 * TABLES.div_ceil(THREADS) as f64 * LOAD;
    println!();
    println!(
        "{TABLES} tables in {DELTAS} deltas, {LOAD} s for each load, {THREADS} threads; ideal: \
         {DELTAS} deltas x {} rounds x {LOAD} s = {ideal} s",
        TABLES.div_ceil(THREADS)
    );
    println!("{:32} {took:>20.1} s", "restore_from_kafka");
    println!("{:32} {:>22.2}   claim: at most 1.3", "restore / ideal", took / ideal);
}
