//! The binary as operators meet it: how long `--help` and `status` take, beside a program that does
//! nothing; and four threads beside one where the node takes 200 ms for each unload. Prints for
//! `scripts/bench`; asserts nothing about time.

#[allow(dead_code, reason = "what memory and the journal took is told elsewhere")]
#[path = "shared/measure.rs"]
mod measure;
#[path = "shared/node.rs"]
mod node;

use std::path::Path;
use std::time::Instant;

use measure::median;
use node::{Node, PROGRAM, quiet};

const STARTS: usize = 101;
const ROUNDS: usize = 3;
const TABLES: usize = 24;
/// A start takes half a second, mostly for the transactional ids of four producers (a timer of the
/// client), whatever the number of threads: a single delta of small tables would measure that.
const DELTAS: usize = 3;

fn main() {
    let folder = tempfile::tempdir().expect("a folder");
    let node = Node::start(folder.path(), "slow-unload=200@always");
    node.fill(TABLES, DELTAS);
    threads(&node, folder.path());
    starts(&folder.path().join("state-4-0"));
}

fn starts(state: &Path) {
    let commands: [&[&str]; 3] = [&["true"], &[PROGRAM, "--help"], &[PROGRAM, "status"]];
    let mut spent: [Vec<f64>; 3] = Default::default();
    for _ in 0..STARTS {
        for (words, spent) in commands.iter().zip(&mut spent) {
            let mut command = quiet(words, state);
            if words.len() == 1 {
                command.env("PATH", "/usr/bin:/bin");
            }
            let began = Instant::now();
            let status = command.status().expect("it starts");
            spent.push(began.elapsed().as_secs_f64() * 1e3);
            assert!(status.success(), "{words:?}");
        }
    }
    println!("{STARTS} starts each, in turn; ms (least, most)");
    for (name, spent) in ["true", "deltakeep --help", "deltakeep status"].iter().zip(spent) {
        let (middle, least, most) = median(spent);
        let claim = if *name == "true" { "" } else { "   claim: under 20" };
        println!("{name:32} {:>22}{claim}", format!("{middle:.1} ({least:.1}, {most:.1})"));
    }
}

/// Four threads and one in turn, over the same deltas; each ratio inside a round.
fn threads(node: &Node, folder: &Path) {
    let mut spent: [Vec<f64>; 2] = Default::default();
    for round in 0..ROUNDS {
        for (count, spent) in ["1", "4"].iter().zip(&mut spent) {
            let state = folder.join(format!("state-{count}-{round}"));
            let topic = format!("bench_threads_{}", uuid::Uuid::new_v4().simple());
            let connect = format!("{}/d", node.address);
            let words = [
                PROGRAM,
                "backup_to_kafka",
                "--connect",
                &connect,
                "--topic",
                &topic,
                "--kafkaBrokersCore",
                &node.kafka,
                "--threadsCount",
                count,
                "--noChecksums",
            ];
            let began = Instant::now();
            let status = quiet(&words, &state).status().expect("it starts");
            spent.push(began.elapsed().as_secs_f64());
            assert!(status.success(), "a backup with {count} threads");
        }
    }
    let ratio = median(spent[0].iter().zip(&spent[1]).map(|(one, four)| one / four));
    println!(
        "{TABLES} tables in {DELTAS} deltas, 200 ms for each of their two unloads, {ROUNDS} rounds; \
         s (least, most)"
    );
    let range = |(middle, least, most)| format!("{middle:.2} ({least:.2}, {most:.2})");
    for (name, spent) in ["one thread", "four threads"].iter().zip(spent) {
        println!("{name:32} {:>22}", range(median(spent)));
    }
    println!("{:32} {:>22}   claim: at least 3", "four threads / one", range(ratio));
}
