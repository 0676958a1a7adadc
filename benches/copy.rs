//! Staging topic to backup topic by the whole engine, against a plain copy of the same bytes, and
//! with the journal on disk against one in memory. Rounds of all ways in turn, each ratio taken
//! inside a round. Prints a table for `scripts/bench`; asserts nothing about time.

#[path = "shared/cluster.rs"]
mod cluster;
#[path = "shared/data.rs"]
mod data;
#[path = "shared/engine.rs"]
mod engine;
#[allow(dead_code, reason = "the peak of memory is the other benchmark's to tell")]
#[path = "shared/measure.rs"]
mod measure;
#[path = "shared/plain.rs"]
mod plain;

use deltakeep::journal::sled_store::SledJournal;
use deltakeep::testing::{Memory, MemoryJournal};

use cluster::Cluster;
use data::Filled;
use measure::{Spent, median};
use plain::Way;

const ROUNDS: usize = 7;
/// Messages of a run: 314 MB.
const CHUNKS: u64 = 2000;
const WAYS: [&str; 4] =
    ["plain copy", "plain copy, library's defaults", "backup", "backup, journal in memory"];

#[tokio::main]
async fn main() {
    let cluster = Cluster::of_environment();
    let chunks = number("DELTAKEEP_BENCH_CHUNKS").unwrap_or(CHUNKS);
    let rounds = number("DELTAKEEP_BENCH_ROUNDS").map_or(ROUNDS, |rounds| rounds as usize);
    let filled = data::fill(&cluster, 1, chunks).await;
    // A round that is not counted warms the broker's code and the page cache.
    for way in 0..WAYS.len() {
        run(&cluster, &filled, way).await;
    }
    let mut spent: [Vec<Spent>; WAYS.len()] = Default::default();
    for round in 0..rounds {
        for turn in 0..WAYS.len() {
            // Forwards and backwards, so that no way always follows the same other one.
            let turn = if round % 2 == 0 { turn } else { WAYS.len() - 1 - turn };
            let way = (round / 2 + turn) % WAYS.len();
            spent[way].push(run(&cluster, &filled, way).await);
        }
    }
    cluster.delete(&filled.topic).await;
    print(&filled, &spent);
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect("a number"))
}

async fn run(cluster: &Cluster, filled: &Filled, way: usize) -> Spent {
    let to = cluster.new_topic("backup", 1).await;
    let spent = match way {
        0 => tokio::task::block_in_place(|| plain::copy(cluster, filled, &to, Way::Same)),
        1 => tokio::task::block_in_place(|| plain::copy(cluster, filled, &to, Way::Library)),
        2 => {
            let folder = tempfile::tempdir().expect("a folder");
            let journal = SledJournal::open(&folder.path().join("journal")).expect("a journal");
            engine::back_up(cluster, filled, &to, 1, journal).await
        }
        _ => {
            let journal = MemoryJournal::new(&Memory::new(1));
            engine::back_up(cluster, filled, &to, 1, journal).await
        }
    };
    cluster.delete(&to).await;
    spent
}

fn print(filled: &Filled, spent: &[Vec<Spent>; WAYS.len()]) {
    let megabytes = filled.bytes as f64 / 1e6;
    let messages = filled.messages();
    println!("{messages} messages, {megabytes:.0} MB, one partition, {} rounds", spent[0].len());
    println!("{:32} {:>22} {:>22}", "", "MB/s (least, most)", "CPU ms/MB");
    for (name, spent) in WAYS.iter().zip(spent) {
        let speed = range(median(spent.iter().map(|s| megabytes / s.wall.as_secs_f64())), 0);
        let cpu = median(spent.iter().map(|s| s.cpu.as_secs_f64() * 1e3 / megabytes));
        println!("{name:32} {speed:>22} {:>22}", range(cpu, 2));
    }
    ratio("backup / plain copy", &spent[0], &spent[2], "0.85");
    let cpu = spent[0].iter().zip(&spent[2]);
    let cpu = median(cpu.map(|(b, o)| o.cpu.as_secs_f64() / b.cpu.as_secs_f64()));
    println!("{:32} {:>22}   claim: at most 1.25", "CPU, backup / plain copy", range(cpu, 2));
    ratio("backup / plain, library", &spent[1], &spent[2], "");
    ratio("journal on disk / in memory", &spent[3], &spent[2], "0.95");
    let share = spent[2].iter().map(|s| 1.0 - s.journal.as_secs_f64() / s.wall.as_secs_f64());
    println!("{:32} {:>22}", "time outside the journal", range(median(share), 3));
}

fn range((middle, least, most): (f64, f64, f64), digits: usize) -> String {
    format!("{middle:.digits$} ({least:.digits$}, {most:.digits$})")
}

/// How many times as fast the second is, by round.
fn ratio(name: &str, base: &[Spent], ours: &[Spent], claim: &str) {
    let each = base.iter().zip(ours).map(|(b, o)| b.wall.as_secs_f64() / o.wall.as_secs_f64());
    let text = range(median(each), 2);
    let claim =
        if claim.is_empty() { String::new() } else { format!("   claim: at least {claim}") };
    println!("{name:32} {text:>22}{claim}");
}
