//! The brokers that the benchmarks use, and topics that are gone afterwards.

use std::collections::BTreeMap;
use std::sync::Arc;

use deltakeep::catalog::kafka::KafkaTopic;
use deltakeep::kafka::{Brokers, ClusterAdmin, TopicAdmin};
use uuid::Uuid;

/// The cluster.
pub struct Cluster {
    /// Its addresses.
    pub brokers: Brokers,
    /// Its administration.
    pub admin: Arc<dyn TopicAdmin>,
}

impl Cluster {
    /// The one that `DELTAKEEP_TEST_KAFKA` names.
    pub fn of_environment() -> Self {
        let list = std::env::var("DELTAKEEP_TEST_KAFKA");
        let list = list.expect("DELTAKEEP_TEST_KAFKA is not set; use scripts/bench");
        let brokers = Brokers::new(list, BTreeMap::new()).expect("an address");
        let admin: Arc<dyn TopicAdmin> = ClusterAdmin::new(&brokers).expect("a client");
        Self { brokers, admin }
    }

    /// The topic as the engine sees it.
    pub fn topic(&self, name: &str) -> KafkaTopic {
        KafkaTopic::new(self.brokers.clone(), self.admin.clone(), name)
    }

    /// A new topic with the settings of a backup topic; but once deleted it frees its disk at
    /// once, so that writing it back does not disturb the next measurement.
    pub async fn new_topic(&self, kind: &str, partitions: u32) -> String {
        let name = format!("bench_{kind}_{}", Uuid::new_v4().simple());
        let settings = [
            ("cleanup.policy", "delete"),
            ("retention.ms", "-1"),
            ("retention.bytes", "-1"),
            ("max.message.bytes", "4194304"),
            ("file.delete.delay.ms", "0"),
        ];
        let created = self.admin.create(&name, partitions, &settings).await;
        created.expect("the topic is created");
        name
    }

    /// Deletes a topic.
    pub async fn delete(&self, topic: &str) {
        self.admin.delete(topic).await.expect("the topic is deleted");
    }
}
