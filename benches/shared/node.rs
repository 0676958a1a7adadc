//! A sandbox node for benchmarks of the binary, and how that is started. Measures nothing.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::json;

/// The binary.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_deltakeep");

/// A command that neither reads settings of ours nor prints into the table.
pub fn quiet(words: &[&str], state: &Path) -> Command {
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).env_clear().env("HOME", state).env("DELTAKEEP_STATE_DIR", state);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// A sandbox node in a process of its own.
pub struct Node {
    child: Child,
    /// host:port
    pub address: String,
    /// Its brokers.
    pub kafka: String,
}

impl Node {
    /// Starts with a fault.
    pub fn start(folder: &Path, fault: &str) -> Self {
        let kafka = std::env::var("DELTAKEEP_TEST_KAFKA");
        let kafka = kafka.expect("DELTAKEEP_TEST_KAFKA is not set; use scripts/bench");
        let data = folder.join("node");
        let mut command = Command::new(PROGRAM);
        command.args(["sandbox", "--listen", "127.0.0.1:0", "--kafka", &kafka, "--data"]);
        command.arg(data).args(["--fault", fault]);
        command.stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("the sandbox starts");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("its stdout");
        BufReader::new(stdout).read_line(&mut line).expect("a line");
        let address = line.trim().rsplit_once("http://").expect("an address").1.to_owned();
        Self { child, address, kafka }
    }

    /// Deltas with few rows in each of the tables.
    pub fn fill(&self, tables: usize, deltas: usize) {
        self.sql("", "CREATE DATABASE d");
        let columns = "(id bigint not null, v varchar, PRIMARY KEY (id)) DISTRIBUTED BY (id)";
        (0..tables).for_each(|n| self.sql("d", &format!("CREATE TABLE t{n} {columns}")));
        for delta in 0..deltas {
            self.sql("d", "BEGIN DELTA");
            (0..tables).for_each(|n| self.sql("d", &format!("SANDBOX_FILL(t{n}, 9)")));
            self.sql("d", &format!("COMMIT DELTA SET '2026-01-01 00:00:{delta:02}'"));
        }
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
