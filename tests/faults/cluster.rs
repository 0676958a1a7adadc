//! The three brokers of scripts/servers: who leads what, killed, frozen, started again. Owns them
//! for one test at a time, and leaves them as it found them.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::metadata::{Metadata, MetadataPartition, MetadataTopic};

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

    /// Starts those that do not run, and waits until all tell the same and every replica has
    /// everything. A leader that stood still believes for a while after it wakes that it leads, and
    /// shows the end of the topic as it was: whoever reads there then misses what came since.
    pub fn heal(&self) {
        for broker in 1..=3 {
            if let Some(pid) = pid(broker) {
                signal("CONT", &pid);
            }
        }
        servers(&["up", "cluster"]);
        assert!(
            eventually(Duration::from_secs(60), || self.is_whole()),
            "the cluster does not come back"
        );
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
        let metadata = ask(&self.brokers, Some(topic)).expect("metadata");
        let leader = metadata.topics()[0].partitions()[0].leader();
        assert!(leader > 0, "a leader");
        leader
    }

    fn is_whole(&self) -> bool {
        let mut views = self.brokers.split(',').map(view);
        let Some(Some(first)) = views.next() else { return false };
        first.iter().all(|partition| partition.in_sync.len() == 3)
            && views.all(|view| view.as_ref() == Some(&first))
    }
}

/// A partition as a broker tells of it.
#[derive(PartialEq)]
struct Told {
    topic: String,
    leader: i32,
    in_sync: BTreeSet<i32>,
}

/// All partitions as this broker sees them; none where it does not know of three brokers. A new
/// client asks the one broker that it was given.
fn view(broker: &str) -> Option<Vec<Told>> {
    let metadata = ask(broker, None).filter(|metadata| metadata.brokers().len() == 3)?;
    let mut topics: Vec<_> = metadata.topics().iter().collect();
    topics.sort_by_key(|topic| topic.name());
    let of = |topic: &MetadataTopic| {
        let mut partitions: Vec<_> = topic.partitions().iter().collect();
        partitions.sort_by_key(|partition| partition.id());
        let told = |partition: &&MetadataPartition| Told {
            topic: topic.name().to_owned(),
            leader: partition.leader(),
            in_sync: partition.isr().iter().copied().collect(),
        };
        partitions.iter().map(told).collect::<Vec<_>>()
    };
    Some(topics.into_iter().flat_map(of).collect())
}

fn ask(brokers: &str, topic: Option<&str>) -> Option<Metadata> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers);
    let consumer: BaseConsumer = config.create().expect("a client");
    consumer.fetch_metadata(topic, ASK).ok()
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
