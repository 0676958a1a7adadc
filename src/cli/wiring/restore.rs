//! Builds the outside worlds of a restore: the target's node, the topics that it loads from, the
//! backup topic. Never decides what is done with them.

use std::sync::Arc;

use super::{
    Addresses, WiringError, admin, backup_brokers, core_brokers, met, named_brokers, node,
};
use crate::catalog::TopicReader;
use crate::catalog::kafka::KafkaTopic;
use crate::cli::connect::Connection;
use crate::cli::settings::{BackupBrokers, Ways};
use crate::extract::prostore::ProstoreNode;
use crate::journal::sled_store::SledJournal;
use crate::load::kafka::KafkaLoads;
use crate::restore::World;

/// The real worlds of a restore.
#[derive(Clone)]
pub struct RestoreWorld(Arc<Parts>);

struct Parts {
    target: ProstoreNode,
    loads: KafkaLoads,
    topic: KafkaTopic,
}

impl World for RestoreWorld {
    type Target = ProstoreNode;
    type Loads = KafkaLoads;
    type Topic = KafkaTopic;
    type Journal = SledJournal;

    fn target(&self) -> &ProstoreNode {
        &self.0.target
    }

    fn loads(&self) -> &KafkaLoads {
        &self.0.loads
    }

    fn topic(&self) -> &KafkaTopic {
        &self.0.topic
    }
}

/// Finds the brokers and builds everything.
///
/// # Errors
/// [`WiringError`], each case named.
pub async fn restore(
    connection: &Connection,
    topic: &str,
    ways: &Ways,
) -> Result<(RestoreWorld, Addresses), WiringError> {
    let target = node(connection)?;
    let core = core_brokers(&target, ways).await?;
    let backup = backup_brokers(&core, ways)?;
    let backup_admin = admin(&backup)?;
    let of_topic = KafkaTopic::new(backup.clone(), backup_admin.clone(), topic);
    let cluster = of_topic.cluster_id().await?.unwrap_or_else(|| backup.list().to_owned());
    let core_admin = match core == backup {
        true => backup_admin,
        false => met(&core).await?,
    };
    let addresses =
        Addresses { core: core.list().to_owned(), backup: backup.list().to_owned(), cluster };
    let largest = largest(&of_topic).await?;
    let loads = KafkaLoads::new(core, core_admin, largest);
    Ok((RestoreWorld(Arc::new(Parts { target, loads, topic: of_topic })), addresses))
}

/// Worlds over given clients: the demo's in-process broker.
#[cfg(feature = "demo")]
pub fn assemble_restore(
    target: ProstoreNode,
    brokers: crate::kafka::Brokers,
    admin: Arc<dyn crate::kafka::TopicAdmin>,
    topic: &str,
) -> RestoreWorld {
    let loads = KafkaLoads::new(brokers.clone(), admin.clone(), 0);
    let topic = KafkaTopic::new(brokers, admin, topic);
    RestoreWorld(Arc::new(Parts { target, loads, topic }))
}

/// The largest message that the backup topic can hold, as far as its brokers tell: a load topic
/// must take it, too.
async fn largest(topic: &KafkaTopic) -> Result<usize, WiringError> {
    let state = topic.state().await?;
    let told = state.and_then(|state| state.settings.get("max.message.bytes")?.parse().ok());
    Ok(told.unwrap_or(0))
}

/// The backup topic by itself, and the node where one is named.
///
/// # Errors
/// [`WiringError`], each case named.
pub async fn topic_only(
    connection: Option<&Connection>,
    topic: &str,
    ways: &Ways,
) -> Result<(KafkaTopic, Option<ProstoreNode>), WiringError> {
    let node = connection.map(node).transpose()?;
    let brokers = match (&ways.backup, &node) {
        (BackupBrokers::Given(list), _) => named_brokers(list, &ways.properties)?,
        (BackupBrokers::Core, Some(node)) => {
            backup_brokers(&core_brokers(node, ways).await?, ways)?
        }
        (BackupBrokers::Core, None) => return Err(WiringError::NoZooKeeper),
    };
    let admin = admin(&brokers)?;
    Ok((KafkaTopic::new(brokers, admin, topic), node))
}
