//! From the start of a resume to the first chunk it hands over, where the journal counts 100,000
//! chunks, beside one that counts 100. Prints for `scripts/bench`; asserts nothing about time.

#[path = "shared/cluster.rs"]
mod cluster;
#[allow(dead_code, reason = "the size of rows is the other benchmarks' to use")]
#[path = "shared/data.rs"]
mod data;
#[allow(dead_code, reason = "whole backups are the other benchmarks' to make")]
#[path = "shared/engine.rs"]
mod engine;
#[path = "shared/killed.rs"]
mod killed;
#[allow(dead_code, reason = "what was spent is the other benchmarks' to tell")]
#[path = "shared/measure.rs"]
mod measure;

use cluster::Cluster;
use killed::Killed;
use measure::median;

const FEW: u64 = 100;
const MANY: u64 = 100_000;
const ROUNDS: usize = 9;

#[tokio::main]
async fn main() {
    let cluster = Cluster::of_environment();
    let filled = data::fill_with(&cluster, 1, MANY + 20_000, 1).await;
    let folder = tempfile::tempdir().expect("a folder");
    let mut runs = Vec::new();
    for (name, chunks) in [("few", FEW), ("many", MANY)] {
        let (topic, path) = (cluster.new_topic("backup", 1).await, folder.path().join(name));
        Killed { cluster: &cluster, filled: &filled, topic: &topic, path: &path }
            .die_after(chunks)
            .await;
        runs.push((topic, path));
    }
    let mut spent: [Vec<f64>; 2] = Default::default();
    for round in 0..=ROUNDS {
        for ((topic, path), spent) in runs.iter().zip(&mut spent) {
            let killed = Killed { cluster: &cluster, filled: &filled, topic, path };
            let time = killed.first_chunk().await;
            // The first round warms the page cache.
            if round > 0 {
                spent.push(time.as_secs_f64() * 1e3);
            }
        }
    }
    for topic in [&filled.topic].into_iter().chain(runs.iter().map(|(topic, _)| topic)) {
        cluster.delete(topic).await;
    }
    let ratio = median(spent[0].iter().zip(&spent[1]).map(|(few, many)| many / few));
    println!("start of a resume to its first chunk, {ROUNDS} rounds; ms (least, most)");
    let range = |(middle, least, most): (f64, f64, f64), digits| {
        format!("{middle:.digits$} ({least:.digits$}, {most:.digits$})")
    };
    for (chunks, spent) in [FEW, MANY].iter().zip(spent) {
        println!("{:32} {:>22}", format!("after {chunks} chunks"), range(median(spent), 0));
    }
    println!("{:32} {:>22}   claim: at most 1.5", "many / few", range(ratio, 2));
}
