//! Builds the outside worlds of a run from its settings. The only place that names all the
//! technologies at once; never decides what is done with them.

mod drill;
mod restore;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::args::Delivery as Asked;
use super::connect::Connection;
use super::kafka_options::Properties;
use super::settings::{BackupBrokers, CoreBrokers, Means, Ways};
use crate::backup::World;
use crate::catalog::CatalogError;
use crate::catalog::kafka::KafkaTopic;
use crate::deliver::kafka::{Delivery, KafkaSink};
use crate::extract::SourceError;
use crate::extract::prostore::{ProstoreNode, Timeouts};
use crate::extract::source::{
    Patience, ProstoreSource, StagedMessage, StagedReader, StagingTopics, connector_key,
};
use crate::extract::staging::{Staging, StagingReader};
use crate::extract::zookeeper::{self, ZooKeeperError};
use crate::journal::sled_store::SledJournal;
use crate::kafka::{Brokers, BrokersError, ClusterAdmin, Failure, TopicAdmin};
use crate::model::{AttemptName, Partition};

#[cfg(feature = "demo")]
pub use drill::assemble_drill;
pub use drill::{DrillWorld, drill, same_node};
#[cfg(feature = "demo")]
pub use restore::assemble_restore;
pub use restore::{RestoreWorld, restore, topic_only};

/// Parameters of the node that lead to its brokers (PROSTORE.md section 8).
const ZOOKEEPER: &str = "ZOOKEEPER_KAFKA_ADDRESS";
const CHROOT: &str = "ZOOKEEPER_KAFKA_CHROOT";
/// How long ZooKeeper may take.
const ZOOKEEPER_TIME: Duration = Duration::from_secs(15);

/// Why the worlds cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum WiringError {
    /// The node.
    #[error(transparent)]
    Node(#[from] SourceError),
    /// Settings of brokers that the client does not take.
    #[error("{keyword}: {source}")]
    Brokers {
        /// The keyword.
        keyword: &'static str,
        /// What is wrong.
        source: BrokersError,
    },
    /// A client of Kafka.
    #[error("Kafka at {brokers}: {source}")]
    Kafka {
        /// The addresses.
        brokers: String,
        /// What failed.
        source: Failure,
    },
    /// The backup topic.
    #[error(transparent)]
    Topic(#[from] CatalogError),
    /// The node does not say where its brokers are.
    #[error("the node names no ZooKeeper ({ZOOKEEPER}) to ask for its brokers")]
    NoZooKeeper,
    /// The brokers cannot be looked up.
    #[error("looking up the node's brokers: {0}")]
    ZooKeeper(#[from] ZooKeeperError),
}

/// A client of ClickHouse.
///
/// # Errors
/// A [`Failure`] about certificates that mean nothing.
#[cfg(feature = "clickhouse")]
pub fn clickhouse(
    address: &crate::clickhouse::server::Address,
) -> Result<crate::clickhouse::server::ClickhouseServer, super::exit_code::Failure> {
    let server = crate::clickhouse::server::ClickhouseServer::new(address);
    server.map_err(|error| super::exit_code::Failure {
        code: super::exit_code::ExitCode::Usage,
        message: error.to_string(),
        next: "the same command again with PEM files, the key in PKCS #8".to_owned(),
    })
}

/// The real worlds of a run.
#[derive(Clone)]
pub struct RealWorld(Arc<Parts>);

struct Parts {
    node: ProstoreNode,
    source: ProstoreSource<Topics>,
    sink: KafkaSink,
    topic: KafkaTopic,
}

impl World for RealWorld {
    type Node = ProstoreNode;
    type Source = ProstoreSource<Topics>;
    type Sink = KafkaSink;
    type Topic = KafkaTopic;
    type Journal = SledJournal;

    fn node(&self) -> &ProstoreNode {
        &self.0.node
    }

    fn source(&self) -> &ProstoreSource<Topics> {
        &self.0.source
    }

    fn sink(&self) -> &KafkaSink {
        &self.0.sink
    }

    fn topic(&self) -> &KafkaTopic {
        &self.0.topic
    }
}

/// The addresses that were found, to be remembered beside the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// Brokers of the staging topics.
    pub core: String,
    /// Brokers of the backup topic.
    pub backup: String,
    /// Id of the backup topic's cluster.
    pub cluster: String,
}

/// The client of a node.
///
/// # Errors
/// [`WiringError::Node`].
pub fn node(connection: &Connection) -> Result<ProstoreNode, WiringError> {
    let (node, token) = (connection.node.clone(), connection.token.clone());
    Ok(ProstoreNode::new(node, connection.datamart.clone(), token, Timeouts::default())?)
}

/// Finds the brokers and builds everything.
///
/// # Errors
/// [`WiringError`], each case named.
pub async fn build(
    connection: &Connection,
    topic: &str,
    means: &Means,
) -> Result<(RealWorld, Addresses), WiringError> {
    let node = node(connection)?;
    let core = core_brokers(&node, &means.ways).await?;
    let backup = backup_brokers(&core, &means.ways)?;
    let admin = admin(&backup)?;
    let of_topic = KafkaTopic::new(backup.clone(), admin.clone(), topic);
    let cluster = of_topic.cluster_id().await?.unwrap_or_else(|| backup.list().to_owned());
    let addresses =
        Addresses { core: core.list().to_owned(), backup: backup.list().to_owned(), cluster };
    let core_admin = match core == backup {
        true => admin.clone(),
        false => met(&core).await?,
    };
    let parts = Parts {
        source: source(node.clone(), core, core_admin, means.unload_stall),
        node,
        sink: KafkaSink::new(backup, admin, topic, delivery(means.delivery)),
        topic: of_topic,
    };
    Ok((RealWorld(Arc::new(parts)), addresses))
}

/// Worlds over given clients: the demo's in-process broker. An unload that does not grow for
/// `stall` is given up.
#[cfg(feature = "demo")]
pub fn assemble(
    node: ProstoreNode,
    brokers: Brokers,
    admin: Arc<dyn TopicAdmin>,
    topic: &str,
    stall: Duration,
) -> RealWorld {
    let parts = Parts {
        source: source(node.clone(), brokers.clone(), admin.clone(), stall),
        node,
        sink: KafkaSink::new(brokers.clone(), admin.clone(), topic, Delivery::Idempotent)
            .with_quiet(Duration::from_secs(1)),
        topic: KafkaTopic::new(brokers, admin, topic),
    };
    RealWorld(Arc::new(parts))
}

/// Administration of brokers that have answered: what they refuse is told before anything is
/// touched.
async fn met(brokers: &Brokers) -> Result<Arc<dyn TopicAdmin>, WiringError> {
    let admin = admin(brokers)?;
    let told = admin.cluster_id().await;
    told.map_err(|source| WiringError::Kafka { brokers: brokers.list().to_owned(), source })?;
    Ok(admin)
}

/// The unloads of a datamart by themselves: to clear away what they left.
///
/// # Errors
/// [`WiringError`], each case named.
pub async fn unloads(
    connection: &Connection,
    means: &Means,
) -> Result<ProstoreSource<Topics>, WiringError> {
    let node = node(connection)?;
    let core = core_brokers(&node, &means.ways).await?;
    let admin = admin(&core)?;
    Ok(source(node, core, admin, means.unload_stall))
}

fn source(
    node: ProstoreNode,
    brokers: Brokers,
    admin: Arc<dyn TopicAdmin>,
    stall: Duration,
) -> ProstoreSource<Topics> {
    // Who calls an unload dead after so long calls its topic quiet after as long.
    let quiet = Patience::default().quiet.min(stall);
    let patience = Patience { stall, quiet, ..Patience::default() };
    ProstoreSource::new(node, Topics(Staging::new(brokers, admin)), connector_key, patience)
}

/// The brokers that the node's connectors write to: given, else asked of the node (D5). Never
/// those of the backup topic.
pub(super) async fn core_brokers(node: &ProstoreNode, ways: &Ways) -> Result<Brokers, WiringError> {
    let list = match &ways.core {
        CoreBrokers::Given(list) => list.as_str().to_owned(),
        CoreBrokers::AskNode => {
            let connect = node.config(ZOOKEEPER).await?.filter(|address| !address.is_empty());
            let connect = connect.ok_or(WiringError::NoZooKeeper)?;
            let chroot = node.config(CHROOT).await?.unwrap_or_default();
            zookeeper::brokers(&connect, &chroot, ZOOKEEPER_TIME).await?
        }
    };
    brokers("--kafkaPropertyCore", &list, &ways.properties_core)
}

/// The brokers of the backup topic: given, else the core ones (D5).
pub(super) fn backup_brokers(core: &Brokers, ways: &Ways) -> Result<Brokers, WiringError> {
    Ok(match &ways.backup {
        BackupBrokers::Given(list) => brokers("--kafkaProperty", list.as_str(), &ways.properties)?,
        // The backup topic lies with the core brokers, so their client settings apply too.
        BackupBrokers::Core if ways.properties.iter().next().is_none() => core.clone(),
        BackupBrokers::Core => brokers("--kafkaProperty", core.list(), &ways.properties)?,
    })
}

/// Brokers of a backup topic that is looked at by itself.
pub(super) fn named_brokers(
    list: &super::kafka_options::Brokers,
    properties: &Properties,
) -> Result<Brokers, WiringError> {
    brokers("--kafkaProperty", list.as_str(), properties)
}

fn brokers(
    keyword: &'static str,
    list: &str,
    properties: &Properties,
) -> Result<Brokers, WiringError> {
    let properties: BTreeMap<String, String> = properties
        .iter()
        .map(|(name, value)| (name.to_owned(), value.expose().to_owned()))
        .collect();
    Brokers::new(list, properties).map_err(|source| WiringError::Brokers { keyword, source })
}

/// Administration of a cluster.
pub(super) fn admin(brokers: &Brokers) -> Result<Arc<dyn TopicAdmin>, WiringError> {
    let failed = |source| WiringError::Kafka { brokers: brokers.list().to_owned(), source };
    Ok(ClusterAdmin::new(brokers).map_err(failed)?)
}

fn delivery(asked: Asked) -> Delivery {
    match asked {
        Asked::Transactions => Delivery::Transactions,
        Asked::Idempotent => Delivery::Idempotent,
    }
}

/// Staging topics as the unloads see them.
pub struct Topics(Staging);

impl StagingTopics for Topics {
    type Reader = Messages;

    async fn create(&self, name: &AttemptName, partitions: u32) -> Result<(), SourceError> {
        self.0.create(&name.0, partitions).await
    }

    async fn delete(&self, name: &AttemptName) -> Result<(), SourceError> {
        self.0.delete(&name.0).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>, SourceError> {
        self.0.list(prefix).await
    }

    async fn ends(&self, name: &AttemptName) -> Result<Vec<u64>, SourceError> {
        let lost =
            || SourceError::StagingLost { attempt: name.clone(), partition: Partition(0), end: 0 };
        self.0.ends(&name.0).await?.ok_or_else(lost)
    }

    async fn fence(&self, name: &AttemptName) -> Result<Vec<u64>, SourceError> {
        self.0.fence(&name.0, self.ends(name).await?.len()).await
    }

    async fn quiet(&self, name: &AttemptName, wait: Duration) -> Result<bool, SourceError> {
        self.0.quiet_for(&name.0, wait).await
    }

    async fn reader(
        &self,
        name: &AttemptName,
        partition: Partition,
        from: u64,
        end: u64,
    ) -> Result<Messages, SourceError> {
        Ok(Messages(self.0.reader(name, partition, from, end).await?))
    }
}

/// Messages of one staging partition.
pub struct Messages(StagingReader);

impl StagedReader for Messages {
    async fn next(&mut self) -> Result<Option<StagedMessage>, SourceError> {
        let message = self.0.next().await?;
        Ok(message.map(|m| StagedMessage { offset: m.offset, key: m.key, body: m.body }))
    }
}
