//! Owns a sandbox with an in-process broker, and comparing its answers with recorded ones; never lists what to compare.

use std::path::PathBuf;
use std::time::Duration;

use deltakeep::sandbox::{Options, Sandbox};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use serde_json::{Value, json};

pub const ZOOKEEPER: &str = "127.0.0.1:12181";

/// A sandbox and its broker.
pub struct Rig {
    pub broker: MockCluster<'static, DefaultProducerContext>,
    pub sandbox: Sandbox,
    pub client: reqwest::Client,
}

impl Rig {
    pub async fn new() -> Rig {
        Rig::with(Options { zookeeper: Some(ZOOKEEPER.into()), ..Options::default() }).await
    }

    pub async fn with(options: Options) -> Rig {
        let broker = MockCluster::new(1).unwrap();
        let kafka = broker.bootstrap_servers();
        let sandbox = Sandbox::start(Options { kafka, ..options }).await.unwrap();
        Rig { broker, sandbox, client: reqwest::Client::new() }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.sandbox.address())
    }

    /// Runs a statement that must succeed.
    pub async fn ok(&self, datamart: &str, sql: &str) -> Value {
        self.sandbox.execute(datamart, sql).await.unwrap_or_else(|e| panic!("{sql}: {e}"))
    }

    /// The rows of a statement that must succeed.
    pub async fn rows(&self, datamart: &str, sql: &str) -> Vec<Value> {
        self.ok(datamart, sql).await["result"].as_array().unwrap().clone()
    }

    /// The text of a statement that must fail.
    pub async fn err(&self, datamart: &str, sql: &str) -> String {
        self.sandbox.execute(datamart, sql).await.expect_err(sql)
    }

    /// Sends a recorded request; `None` when no answer comes in time.
    pub async fn send(&self, request: &Value) -> Option<(u16, String)> {
        let method = request["method"].as_str().unwrap().parse().unwrap();
        let mut call = self.client.request(method, self.url(request["path"].as_str().unwrap()));
        for (name, value) in request["headers"].as_object().into_iter().flatten() {
            call = call.header(name, value.as_str().unwrap());
        }
        call = match &request["body"] {
            Value::Null => call,
            Value::String(raw) => call.body(raw.clone()),
            body => call.body(body.to_string()),
        };
        let answer =
            tokio::time::timeout(Duration::from_secs(20), call.send()).await.ok()?.unwrap();
        Some((answer.status().as_u16(), answer.text().await.unwrap()))
    }
}

pub fn fixture(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/node").join(name)
}

pub fn json_fixture(name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(fixture(name)).unwrap()).unwrap()
}

/// Replaces what a clock or a random source made.
pub fn masked(value: &Value) -> Value {
    match value {
        Value::String(text) => json!(masked_text(text)),
        Value::Array(items) => items.iter().map(masked).collect(),
        Value::Object(fields) => {
            let mut out = serde_json::Map::new();
            for (name, value) in fields {
                let clock = ["date_time_start", "date_time_end", "last_sync_time"];
                let known = match (name.as_str(), value) {
                    (name, Value::Number(_)) if clock.contains(&name) => json!("TIME"),
                    ("estimate", Value::String(text)) => serde_json::from_str(text).unwrap(),
                    ("check_result", Value::String(text)) => json!(unordered(text)),
                    _ => masked(value),
                };
                out.insert(name.clone(), known);
            }
            if fields.get("parameter_name") == Some(&json!("core:http:port")) {
                out.insert("parameter_value".into(), json!("PORT"));
            }
            Value::Object(out)
        }
        other => other.clone(),
    }
}

/// CHECK_DATABASE lists its tables in the order of a hash map.
fn unordered(text: &str) -> String {
    let mut lines: Vec<_> = text.lines().collect();
    if lines.iter().all(|line| line.ends_with("is ok")) {
        lines.sort_unstable();
    }
    lines.join("\n")
}

/// UUIDs after `Request id: ` and Java object hashes after `@`.
fn masked_text(text: &str) -> String {
    let mut out = text.to_owned();
    if let Some(at) = out.find("Request id: ") {
        out.truncate(at);
        out.push_str("Request id: UUID");
    }
    if let Some(at) = out.find("Plugin@") {
        let end = out[at..].find(']').map_or(out.len(), |n| at + n);
        out.replace_range(at..end, "Plugin@HASH");
    }
    out
}

fn sorted(value: &Value) -> Value {
    let mut items: Vec<Value> = value.as_array().cloned().unwrap_or_default();
    items.sort_by_key(ToString::to_string);
    Value::Array(items)
}

/// Compares an answer with the recorded one; the error says how they differ.
pub fn compare(request: &Value, recorded: &Value, status: u16, body: &str) -> Result<(), String> {
    if recorded["status"] != json!(status) {
        return Err(format!("status {status}, recorded {}: {body}", recorded["status"]));
    }
    let text = recorded["response_text"].as_str().unwrap_or_default();
    let Ok(want) = serde_json::from_str::<Value>(text) else {
        return if text == body { Ok(()) } else { Err(format!("{body:?}, recorded {text:?}")) };
    };
    let got: Value = serde_json::from_str(body).map_err(|e| format!("{e}: {body}"))?;
    let (want, got) = (masked(&want), masked(&got));
    if want.is_array() {
        return same("list", &sorted(&got), &sorted(&want));
    }
    for field in ["exceptionMessage", "metadata", "empty"] {
        same(field, &got[field], &want[field])?;
    }
    if let Some(id) = request["body"]["requestId"].as_str()
        && status == 200
    {
        same("requestId", &got["requestId"], &json!(id))?;
    }
    let sql = request["body"]["sql"].as_str().unwrap_or_default().to_uppercase();
    if sql.contains("ORDER BY") || sql.contains("GET_CHANGES") {
        return same("rows", &got["result"], &want["result"]);
    }
    same("rows", &sorted(&got["result"]), &sorted(&want["result"]))
}

fn same(what: &str, got: &Value, want: &Value) -> Result<(), String> {
    if got == want { Ok(()) } else { Err(format!("{what}:\n  got      {got}\n  recorded {want}")) }
}
