//! The binary as operators meet it: how long `--help` and `status` take, beside a program that does
//! nothing; and four threads beside one where the node takes 200 ms for each unload. Prints for
//! `scripts/bench`; asserts nothing about time.

#[allow(dead_code, reason = "what memory and the journal took is told elsewhere")]
#[path = "shared/measure.rs"]
mod measure;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use measure::median;
use serde_json::json;

const PROGRAM: &str = env!("CARGO_BIN_EXE_deltakeep");
const STARTS: usize = 101;
const ROUNDS: usize = 5;
const TABLES: usize = 24;

fn main() {
    let folder = tempfile::tempdir().expect("a folder");
    let node = Node::start(folder.path());
    node.fill();
    threads(&node, folder.path());
    starts(&folder.path().join("state-4-0"));
}

/// A command that neither reads settings of ours nor prints into the table.
fn quiet(words: &[&str], state: &Path) -> Command {
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).env_clear().env("HOME", state).env("DELTAKEEP_STATE_DIR", state);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
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

/// Four threads and one in turn, over the same delta; each ratio inside a round.
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
        "{TABLES} tables, 200 ms for each of their two unloads, {ROUNDS} rounds; s (least, most)"
    );
    let range = |(middle, least, most)| format!("{middle:.2} ({least:.2}, {most:.2})");
    for (name, spent) in ["one thread", "four threads"].iter().zip(spent) {
        println!("{name:32} {:>22}", range(median(spent)));
    }
    println!("{:32} {:>22}   claim: at least 3", "four threads / one", range(ratio));
}

/// A sandbox node with a slow connector.
struct Node {
    child: Child,
    address: String,
    kafka: String,
}

impl Node {
    fn start(folder: &Path) -> Self {
        let kafka = std::env::var("DELTAKEEP_TEST_KAFKA");
        let kafka = kafka.expect("DELTAKEEP_TEST_KAFKA is not set; use scripts/bench");
        let data = folder.join("node");
        let mut command = Command::new(PROGRAM);
        command.args(["sandbox", "--listen", "127.0.0.1:0", "--kafka", &kafka, "--data"]);
        command.arg(data).args(["--fault", "slow-unload=200@always"]);
        command.stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("the sandbox starts");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("its stdout");
        BufReader::new(stdout).read_line(&mut line).expect("a line");
        let address = line.trim().rsplit_once("http://").expect("an address").1.to_owned();
        Self { child, address, kafka }
    }

    /// One delta with few rows in each of the tables.
    fn fill(&self) {
        self.sql("", "CREATE DATABASE d");
        let columns = "(id bigint not null, v varchar, PRIMARY KEY (id)) DISTRIBUTED BY (id)";
        (0..TABLES).for_each(|n| self.sql("d", &format!("CREATE TABLE t{n} {columns}")));
        self.sql("d", "BEGIN DELTA");
        (0..TABLES).for_each(|n| self.sql("d", &format!("SANDBOX_FILL(t{n}, 9)")));
        self.sql("d", "COMMIT DELTA");
    }

    fn sql(&self, datamart: &str, sql: &str) {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let body = json!({ "sql": sql, "datamartMnemonic": datamart }).to_string();
        let request = reqwest::Client::new().post(format!("http://{}/query/execute", self.address));
        let request = request.header("content-type", "application/json").body(body);
        let answer = runtime.block_on(request.send()).expect("an answer");
        assert!(answer.status().is_success(), "{sql}");
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
