//! What the tests with real servers share: addresses, chance, topics of the broker, the judge. Owns no test and
//! no process.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use deltakeep::kafka::{Brokers, ClusterAdmin, TopicAdmin};
use serde_json::Value;
use tokio::runtime::Runtime;

/// A setting from the environment; without it the test fails, it is never skipped.
pub fn setting(variable: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| {
        panic!("{variable} is not set; run scripts/test, or scripts/servers up")
    })
}

/// The broker where topics are not created by themselves.
pub fn kafka() -> String {
    setting("DELTAKEEP_TEST_KAFKA")
}

/// The brokers that the test's ZooKeeper knows of.
pub fn registered_brokers() -> String {
    let address = setting("DELTAKEEP_TEST_ZOOKEEPER");
    let time = Duration::from_secs(15);
    block_on(deltakeep::extract::zookeeper::brokers(&address, "", time)).expect("brokers")
}

/// Runs what answers later.
pub fn block_on<T>(work: impl Future<Output = T>) -> T {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| Runtime::new().expect("a runtime")).block_on(work)
}

/// A name that no other test and no earlier run of this one has.
pub fn unique(what: &str) -> String {
    let tail = uuid::Uuid::new_v4().simple().to_string();
    format!("live_{what}_{}", &tail[..10])
}

/// Asks until the answer is yes or the time is over.
pub fn eventually(within: Duration, mut ask: impl FnMut() -> bool) -> bool {
    let began = Instant::now();
    loop {
        if ask() {
            return true;
        }
        if began.elapsed() > within {
            return false;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn admin(brokers: &str) -> Arc<dyn TopicAdmin> {
    let brokers = Brokers::new(brokers.to_owned(), BTreeMap::new()).expect("brokers");
    ClusterAdmin::new(&brokers).expect("a client")
}

/// Topics of a broker that begin so.
pub fn topics(brokers: &str, prefix: &str) -> Vec<String> {
    block_on(admin(brokers).list(prefix)).expect("topics")
}

/// How many partitions a topic has; none where it does not exist.
pub fn partitions(brokers: &str, topic: &str) -> Option<usize> {
    block_on(admin(brokers).ranges(topic)).expect("ranges").map(|ranges| ranges.len())
}

/// Creates a topic of one partition with these settings.
pub fn create_topic(brokers: &str, topic: &str, settings: &[(&str, &str)]) {
    block_on(admin(brokers).create(topic, 1, settings)).expect("created");
}

pub fn delete_topic(brokers: &str, topic: &str) {
    block_on(admin(brokers).delete(topic)).expect("deleted");
}

/// What the independent reader finds in a backup topic.
pub struct Judged {
    pub verdict: Value,
    /// Where the verdict lies, for another one to be compared with.
    pub path: PathBuf,
}

impl Judged {
    /// Numbers of the complete deltas.
    pub fn deltas(&self) -> Vec<u64> {
        let deltas = self.verdict["deltas"].as_object().expect("deltas");
        let mut numbers: Vec<_> = deltas.keys().map(|n| n.parse().expect("a number")).collect();
        numbers.sort_unstable();
        numbers
    }
}

/// Judges a topic with scripts/judge.py; `expect` is a verdict to be equal to. `why` goes before
/// what it finds wrong.
pub fn judge(
    (brokers, topic, datamart): (&str, &str, &str),
    expect: Option<&Path>,
    folder: &Path,
    why: &str,
) -> Judged {
    let path = folder.join(format!("{topic}.json"));
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/judge.py");
    let mut command = Command::new(setting("DELTAKEEP_PYTHON"));
    command.arg(script).args(["--single", "--dump", "--brokers", brokers, "--topic", topic]);
    command.args(["--datamart", datamart]).arg("--json").arg(&path);
    if let Some(expect) = expect {
        command.arg("--expect").arg(expect);
    }
    let output = command.output().expect("python starts");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{why}: topic {topic}: {told}");
    let text = std::fs::read(&path).expect("a verdict");
    Judged { verdict: serde_json::from_slice(&text).expect("JSON"), path }
}
