//! A sandbox node in a process of its own: started, asked, killed. Owns that process; never a
//! backup's.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use serde_json::{Value, json};

use crate::support::block_on;

/// A node that can be killed and started again at the same address with the same data.
pub struct Sandbox {
    child: Child,
    pub address: String,
    words: Vec<String>,
    data: PathBuf,
    token: Option<String>,
}

impl Sandbox {
    /// A node over these brokers, its data below `folder`; `words` are further options.
    pub fn start(folder: &Path, kafka: &str, words: &[&str]) -> Self {
        let data = folder.join("node");
        let mut words: Vec<_> = words.iter().map(|word| (*word).to_owned()).collect();
        words.extend(["--kafka".to_owned(), kafka.to_owned()]);
        let token = words.iter().position(|word| word == "--token").map(|at| words[at + 1].clone());
        let (child, address) = serve(&data, "127.0.0.1:0", &words);
        Self { child, address, words, data, token }
    }

    /// kill -9.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Starts again after [`Sandbox::kill`].
    pub fn start_again(&mut self) {
        (self.child, _) = serve(&self.data, &self.address.clone(), &self.words);
    }

    /// Stops answering without ending, or goes on: STOP or CONT.
    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args([&format!("-{name}"), &pid]).status();
        assert!(sent.expect("kill runs").success());
    }

    fn send(&self, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
        let method = method.parse().expect("a method");
        static CLIENT: OnceLock<reqwest::Client> = OnceLock::new();
        let client = CLIENT.get_or_init(|| {
            // A node that is killed leaves no connection that could be used again.
            let made = reqwest::Client::builder().pool_max_idle_per_host(0).build();
            made.expect("an HTTP client")
        });
        let mut request = client.request(method, format!("http://{}{path}", self.address));
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        block_on(async {
            let answer = request.send().await.unwrap_or_else(|e| panic!("{path}: {e}"));
            let status = answer.status().as_u16();
            (status, answer.json().await.unwrap_or_default())
        })
    }

    /// Runs a statement: the rows, or what the node says against it.
    pub fn try_sql(&self, datamart: &str, sql: &str) -> Result<Vec<Value>, String> {
        let body = json!({ "sql": sql, "datamartMnemonic": datamart });
        match self.send("POST", "/query/execute", Some(body)) {
            (200, answer) => Ok(answer["result"].as_array().cloned().unwrap_or_default()),
            (_, answer) => Err(answer["exceptionMessage"].to_string()),
        }
    }

    /// Runs a statement that must succeed.
    pub fn sql(&self, datamart: &str, sql: &str) -> Vec<Value> {
        self.try_sql(datamart, sql).unwrap_or_else(|e| panic!("{sql}: {e}"))
    }

    /// Runs statements, one a line.
    pub fn script(&self, datamart: &str, statements: &str) {
        let lines = statements.lines().map(str::trim).filter(|line| !line.is_empty());
        lines.for_each(|line| drop(self.sql(datamart, line)));
    }

    pub fn fault(&self, fault: &str) {
        let (status, answer) = self.send("POST", "/sandbox/faults", Some(json!({"fault": fault})));
        assert_eq!(status, 200, "{fault}: {answer}");
    }

    pub fn clear_faults(&self) {
        self.send("DELETE", "/sandbox/faults", None);
    }

    /// Statements received so far.
    pub fn calls(&self) -> Vec<String> {
        let (_, calls) = self.send("GET", "/sandbox/calls", None);
        serde_json::from_value(calls).expect("calls")
    }

    /// Names of a datamart's entities that a backup makes.
    pub fn leftovers(&self, datamart: &str) -> Vec<String> {
        let (_, entities) = self.send("GET", &format!("/meta/{datamart}/entities"), None);
        let entities = entities.as_array().cloned().unwrap_or_default();
        let names = entities.iter().filter_map(|e| e["mnemonic"].as_str().map(str::to_lowercase));
        names.filter(|name| name.starts_with("deltakeep")).collect()
    }

    /// Requires that nobody holds the datamart: no lock, no marker, no external table.
    pub fn require_free(&self, datamart: &str, why: &str) {
        let deny = self.try_sql(datamart, &format!("DENY_CHANGES({datamart}, 'nobody')"));
        assert!(deny.is_ok(), "{why}: {datamart} is still locked: {deny:?}");
        self.sql(datamart, &format!("ALLOW_CHANGES({datamart}, 'nobody')"));
        assert_eq!(self.leftovers(datamart), [""; 0], "{why}");
    }

    /// Whether changes are denied by somebody.
    pub fn is_locked(&self, datamart: &str) -> bool {
        if self.try_sql(datamart, &format!("DENY_CHANGES({datamart}, 'nobody')")).is_err() {
            return true;
        }
        self.sql(datamart, &format!("ALLOW_CHANGES({datamart}, 'nobody')"));
        false
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Starts the process and waits for the line that tells its address.
fn serve(data: &Path, listen: &str, words: &[String]) -> (Child, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_deltakeep"));
    command.env_clear().env("HOME", data).args(["sandbox", "--listen", listen, "--data"]);
    command.arg(data).args(words).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().expect("the sandbox starts");
    let mut line = String::new();
    let stdout = child.stdout.take().expect("its stdout");
    BufReader::new(stdout).read_line(&mut line).expect("a line");
    let address = line.trim().rsplit_once("http://").map(|(_, address)| address.to_owned());
    (child, address.unwrap_or_else(|| panic!("the sandbox did not start: {line:?}")))
}
