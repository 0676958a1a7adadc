//! Where the brokers are and how the user wants them talked to. Owns the check of the user's
//! properties and the base settings of every client; never prints a secret.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::producer::{BaseProducer, Producer};

use super::admin::ANSWER;
use super::{Failure, blocking, retire};

/// Properties that the promises of a backup rest on (DESIGN D5): never the user's to set.
const OWNED: &[&str] = &[
    "acks",
    "allow.auto.create.topics",
    "auto.commit.enable",
    "auto.offset.reset",
    "bootstrap.servers",
    "delivery.timeout.ms",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.gapless.guarantee",
    "enable.idempotence",
    "enable.partition.eof",
    "group.id",
    "group.instance.id",
    "group.protocol",
    "isolation.level",
    "log.queue",
    "log_level",
    "max.in.flight",
    "max.in.flight.requests.per.connection",
    "message.max.bytes",
    "message.timeout.ms",
    "metadata.broker.list",
    "request.required.acks",
    "statistics.interval.ms",
    "test.mock.num.brokers",
    "transactional.id",
];

/// Group id of our consumers. They never join a group or commit; the client demands a name.
const GROUP: &str = "deltakeep";

/// Brokers of one cluster and the properties to reach them.
#[derive(Clone, PartialEq, Eq)]
pub struct Brokers {
    list: String,
    properties: BTreeMap<String, String>,
}

/// Why settings of brokers are not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BrokersError {
    /// No address.
    #[error("no brokers given")]
    Empty,
    /// A property that the tool sets itself.
    #[error("property {name} is set by deltakeep itself and cannot be changed")]
    Owned {
        /// Its name.
        name: String,
    },
    /// A property that the client does not know, or a value it does not take.
    #[error("property {name} is unknown or its value is not accepted")]
    Invalid {
        /// Its name.
        name: String,
    },
}

/// Which messages a consumer sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Isolation {
    /// Committed ones; its ends are those of the last finished transaction.
    Committed,
    /// All; its ends are the true ends of the log. Only for offsets, never for messages.
    Uncommitted,
}

impl Brokers {
    /// Checks a list `host:port,host:port` and the user's librdkafka properties.
    ///
    /// # Errors
    /// [`BrokersError`] names the property, never its value.
    pub fn new(
        list: impl Into<String>,
        properties: BTreeMap<String, String>,
    ) -> Result<Self, BrokersError> {
        let list = list.into();
        if list.split(',').all(|broker| broker.trim().is_empty()) {
            return Err(BrokersError::Empty);
        }
        for (name, value) in &properties {
            if OWNED.contains(&name.as_str()) {
                return Err(BrokersError::Owned { name: name.clone() });
            }
            let mut probe = ClientConfig::new();
            probe.set(name, value);
            if probe.create_native_config().is_err() {
                return Err(BrokersError::Invalid { name: name.clone() });
            }
        }
        Ok(Self { list, properties })
    }

    /// The addresses, `host:port,host:port`.
    pub fn list(&self) -> &str {
        &self.list
    }

    /// Settings of a client that only asks: metadata, offsets, administration. Without a group,
    /// so that its events come through the main queue.
    pub(crate) fn asking(&self, isolation: Isolation) -> ClientConfig {
        let mut config = self.base(&[]);
        config.set("isolation.level", isolation.as_str());
        config
    }

    /// Settings of a consumer that is assigned partitions at offsets, commits nothing, and stops
    /// at an offset that is not there (DESIGN D5). `queue_kib` bounds what it fetches ahead.
    pub(crate) fn consumer(&self, queue_kib: u32) -> ClientConfig {
        let queue = queue_kib.to_string();
        let mut config = self.base(&[
            ("queued.max.messages.kbytes", queue.as_str()),
            // A full queue otherwise stops fetching for a whole second.
            ("fetch.queue.backoff.ms", "5"),
            // The end of a partition is told only after an empty answer, which waits this long.
            ("fetch.wait.max.ms", "50"),
            ("fetch.message.max.bytes", "1048576"),
            ("check.crcs", "true"),
        ]);
        config
            .set("group.id", GROUP)
            .set("isolation.level", Isolation::Committed.as_str())
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "error")
            .set("enable.partition.eof", "true");
        config
    }

    /// Settings of a producer; `limit` is the topic's max.message.bytes, `defaults` are the user's
    /// to change.
    pub(crate) fn producer(&self, limit: usize, defaults: &[(&str, &str)]) -> ClientConfig {
        let mut config = self.base(defaults);
        config
            .set("acks", "all")
            .set("enable.idempotence", "true")
            .set("message.max.bytes", limit.clamp(1000, 1_000_000_000).to_string());
        config
    }

    /// Settings of a producer that sends single messages, each at most once, and has an answer
    /// within `time`.
    pub(crate) fn fence(&self, time: Duration) -> ClientConfig {
        let mut config = self.base(&[]);
        config
            .set("acks", "all")
            .set("enable.idempotence", "false")
            .set("retries", "0")
            .set("linger.ms", "0")
            .set("message.timeout.ms", time.as_millis().to_string());
        config
    }

    /// Registers a transactional id and does nothing with it: whether these brokers allow that.
    ///
    /// # Errors
    /// What the brokers said.
    pub async fn try_transactions(&self, id: String) -> Result<(), Failure> {
        let mut config = self.producer(1 << 20, &[]);
        config.set("transactional.id", id);
        blocking(move || {
            let producer: BaseProducer = config.create().map_err(|e| Failure::of(&e))?;
            let entered = producer.init_transactions(ANSWER).map_err(|e| Failure::of(&e));
            retire(producer);
            entered
        })
        .await
    }

    /// Defaults, then the user's properties, then what every client of ours has.
    fn base(&self, defaults: &[(&str, &str)]) -> ClientConfig {
        let mut config = ClientConfig::new();
        // How long a topic may be unknown after it was known: we look before we use one.
        config.set("topic.metadata.propagation.max.ms", "10000");
        for (name, value) in defaults {
            config.set(*name, *value);
        }
        for (name, value) in &self.properties {
            config.set(name, value);
        }
        config.set("bootstrap.servers", &self.list);
        // A deleted topic must stay deleted: a producer would otherwise make brokers create it.
        config.set("allow.auto.create.topics", "false");
        let loud = tracing::enabled!(target: "librdkafka", tracing::Level::DEBUG);
        config.set_log_level(if loud { RDKafkaLogLevel::Debug } else { RDKafkaLogLevel::Warning });
        config
    }
}

impl Isolation {
    fn as_str(self) -> &'static str {
        match self {
            Self::Committed => "read_committed",
            Self::Uncommitted => "read_uncommitted",
        }
    }
}

/// Whether a property's value must not be shown.
fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let parts = ["password", "secret", "sasl.", "ssl.key", "token", ".pem"];
    parts.iter().any(|part| name.contains(part))
}

impl fmt::Debug for Brokers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |(name, value): (&String, &String)| {
            (name.clone(), if is_secret(name) { "***".to_owned() } else { value.clone() })
        };
        let properties: BTreeMap<_, _> = self.properties.iter().map(shown).collect();
        f.debug_struct("Brokers")
            .field("list", &self.list)
            .field("properties", &properties)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn properties(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn properties_of_the_tool_are_refused_by_name() {
        for name in OWNED {
            let refused = Brokers::new("a:1", properties(&[(name, "1")]));
            assert_eq!(refused, Err(BrokersError::Owned { name: (*name).to_owned() }));
        }
    }

    #[test]
    fn unknown_properties_and_empty_lists_are_refused() {
        let refused = Brokers::new("a:1", properties(&[("no.such.thing", "1")]));
        assert_eq!(refused, Err(BrokersError::Invalid { name: "no.such.thing".into() }));
        assert_eq!(Brokers::new(" ,", BTreeMap::new()), Err(BrokersError::Empty));
    }

    #[test]
    fn secrets_are_not_printed() {
        let secret = [
            ("sasl.password", "hunter2"),
            ("sasl.username", "hunter2"),
            ("ssl.key.password", "hunter2"),
            ("ssl.key.pem", "hunter2"),
            ("ssl.keystore.password", "hunter2"),
            ("sasl.oauthbearer.config", "hunter2"),
        ];
        let mut pairs = secret.to_vec();
        pairs.push(("client.id", "night"));
        let brokers = Brokers::new("a:1", properties(&pairs));
        let text = format!("{brokers:?}");
        assert!(!text.contains("hunter2"), "{text}");
        assert!(text.contains("night") && text.contains("a:1"), "{text}");
    }

    #[test]
    fn what_the_tool_owns_is_set_whatever_the_user_gave() {
        let brokers = Brokers::new("a:1", properties(&[("linger.ms", "50")]));
        let config =
            brokers.map(|b| b.producer(4 << 20, &[("linger.ms", "5")])).unwrap_or_default();
        assert_eq!(config.get("linger.ms"), Some("50"));
        assert_eq!(config.get("acks"), Some("all"));
        assert_eq!(config.get("message.max.bytes"), Some("4194304"));
    }
}
