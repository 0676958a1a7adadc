//! Peak memory of a backup of some rows and of ten times as many, each in a process of its own.
//! Prints a table for `scripts/bench`; asserts nothing.

#[path = "shared/cluster.rs"]
mod cluster;
#[path = "shared/data.rs"]
mod data;
#[path = "shared/engine.rs"]
mod engine;
#[allow(dead_code, reason = "what else was spent is the other benchmark's to tell")]
#[path = "shared/measure.rs"]
mod measure;

use std::process::Command;

use deltakeep::journal::sled_store::SledJournal;

use cluster::Cluster;
use data::Filled;
use measure::{median, peak_kib};

const ROUNDS: usize = 7;
/// Messages of the smaller run for each thread: 200 000 rows. Each thread has buffers of its own,
/// which fewer rows would not fill.
const CHUNKS: u64 = 200;
const MORE: u64 = 10;
/// Says to a process that it is the one to be measured; the topic and its ends follow.
const CHILD: &str = "DELTAKEEP_BENCH_CHILD";

#[tokio::main]
async fn main() {
    let cluster = Cluster::of_environment();
    if let Ok(text) = std::env::var(CHILD) {
        return child(&cluster, &read(&text)).await;
    }
    println!("{:>7} {:>18} {:>12} {:>8}", "threads", "rows", "peak, MiB", "ratio");
    for threads in [1, 4] {
        let few = data::fill(&cluster, threads, CHUNKS * u64::from(threads)).await;
        let many = data::fill(&cluster, threads, CHUNKS * MORE * u64::from(threads)).await;
        let rounds: Vec<(f64, f64)> = (0..ROUNDS).map(|_| (peak(&few), peak(&many))).collect();
        let ratio = median(rounds.iter().map(|(few, many)| many / few)).0;
        for (filled, peak) in [
            (&few, median(rounds.iter().map(|(few, _)| *few)).0),
            (&many, median(rounds.iter().map(|(_, many)| *many)).0),
        ] {
            let rows = (filled.messages() - 1) * data::ROWS;
            println!("{threads:>7} {rows:>18} {peak:>12.1}");
        }
        println!("{ratio:>48.2}   claim: under 1.2, both under 128 MiB");
        cluster.delete(&few.topic).await;
        cluster.delete(&many.topic).await;
    }
}

/// One backup, then tells the peak.
async fn child(cluster: &Cluster, filled: &Filled) {
    let threads = filled.ends.len() as u32;
    let topic = cluster.new_topic("backup", threads).await;
    let folder = tempfile::tempdir().expect("a folder");
    let journal = SledJournal::open(&folder.path().join("journal")).expect("a journal");
    engine::back_up(cluster, filled, &topic, threads, journal).await;
    cluster.delete(&topic).await;
    println!("{}", peak_kib());
}

/// Peak of a child in MiB.
fn peak(filled: &Filled) -> f64 {
    let program = std::env::current_exe().expect("this program");
    let output = Command::new(program).env(CHILD, write(filled)).output().expect("a child");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("a text");
    let kib: f64 = text.trim().lines().last().and_then(|l| l.parse().ok()).expect("a number");
    kib / 1024.0
}

fn write(filled: &Filled) -> String {
    let ends: Vec<String> = filled.ends.iter().map(u64::to_string).collect();
    format!("{} {}", filled.topic, ends.join(" "))
}

fn read(text: &str) -> Filled {
    let mut words = text.split(' ');
    let topic = words.next().expect("a topic").to_owned();
    let ends = words.map(|end| end.parse().expect("an end")).collect();
    Filled { topic, ends, bytes: 0 }
}
