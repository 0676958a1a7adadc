//! The three brokers of scripts/servers: who leads what, killed, frozen, started again. Owns them
//! for one test at a time, and leaves them as it found them.

use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};

use crate::support::{eventually, setting};

const ASK: Duration = Duration::from_secs(15);

/// The cluster, for one test at a time.
pub struct Cluster {
    /// Plain addresses.
    pub brokers: String,
    _turn: MutexGuard<'static, ()>,
}

impl Cluster {
    /// Waits for its turn; all three brokers run then.
    pub fn take() -> Self {
        static TURN: Mutex<()> = Mutex::new(());
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let cluster = Self { brokers: setting("DELTAKEEP_TEST_CLUSTER"), _turn: turn };
        cluster.heal();
        cluster
    }

    /// Starts those that do not run, and waits until each knows of all.
    pub fn heal(&self) {
        for broker in 1..=3 {
            if let Some(pid) = pid(broker) {
                signal("CONT", &pid);
            }
        }
        servers(&["up", "cluster"]);
        let whole = || {
            let seen = self.metadata(None);
            seen.is_some_and(|(brokers, _)| brokers == 3)
        };
        assert!(eventually(Duration::from_secs(30), whole), "the cluster does not come back");
    }

    /// kill -9.
    pub fn kill(&self, broker: i32) {
        let pid = pid(broker).expect("it runs");
        signal("KILL", &pid);
        let gone = || self::pid(broker).is_none();
        assert!(eventually(Duration::from_secs(5), gone), "broker {broker} does not die");
    }

    /// Stands still without ending.
    pub fn freeze(&self, broker: i32) {
        signal("STOP", &pid(broker).expect("it runs"));
    }

    /// Who leads the first partition of a topic.
    pub fn leader(&self, topic: &str) -> i32 {
        let (_, leader) = self.metadata(Some(topic)).expect("metadata");
        leader.filter(|leader| *leader > 0).expect("a leader")
    }

    /// How many brokers are alive, and the leader of the topic's first partition.
    fn metadata(&self, topic: Option<&str>) -> Option<(usize, Option<i32>)> {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.brokers);
        let consumer: BaseConsumer = config.create().expect("a client");
        let metadata = consumer.fetch_metadata(topic, ASK).ok()?;
        let partitions = metadata.topics().first().map(|topic| topic.partitions());
        let leader = partitions.and_then(|all| all.first().map(|first| first.leader()));
        Some((metadata.brokers().len(), leader))
    }
}

impl Drop for Cluster {
    /// For the next test; one that failed must not make others fail.
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.heal();
        }
    }
}

/// The process number of a broker that runs.
fn pid(broker: i32) -> Option<String> {
    let name = format!("cluster-{broker}");
    let told = servers(&["status", &name]);
    let words: Vec<_> = told.split_whitespace().collect();
    let [found, address, pid] = words[..] else { panic!("{told:?}") };
    // What is killed must be what the test was given.
    assert!(found == name && setting("DELTAKEEP_TEST_CLUSTER").contains(address), "{told:?}");
    (pid != "-").then(|| pid.to_owned())
}

fn servers(words: &[&str]) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/servers");
    let output = Command::new(script).args(words).output().expect("scripts/servers runs");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn signal(name: &str, pid: &str) {
    let sent = Command::new("kill").args([&format!("-{name}"), pid]).status();
    assert!(sent.expect("kill runs").success(), "no {name} for {pid}");
}
