//! What the suites share: addresses, names, sample records. Owns no test.

use std::collections::BTreeMap;
use std::sync::Arc;

use deltakeep::catalog::kafka::KafkaTopic;
use deltakeep::deliver::Message;
use deltakeep::deliver::kafka::{Delivery, KafkaSink};
use deltakeep::kafka::{Brokers, ClusterAdmin, TopicAdmin};
use deltakeep::model::{Partition, RunId};
use uuid::Uuid;

/// An address from the environment; without it the test fails, it is never skipped.
pub fn address(variable: &str) -> String {
    std::env::var(variable)
        .unwrap_or_else(|_| panic!("{variable} is not set; start servers: scripts/servers up"))
}

/// A cluster under test.
pub struct Cluster {
    pub brokers: Brokers,
    pub admin: Arc<dyn TopicAdmin>,
}

impl Cluster {
    pub fn at(list: String) -> Self {
        let brokers = Brokers::new(list, BTreeMap::new()).unwrap();
        let admin: Arc<dyn TopicAdmin> = ClusterAdmin::new(&brokers).unwrap();
        Self { brokers, admin }
    }

    pub fn plain() -> Self {
        Self::at(address("DELTAKEEP_TEST_KAFKA"))
    }

    pub fn automatic() -> Self {
        Self::at(address("DELTAKEEP_TEST_KAFKA_AUTO"))
    }

    pub fn topic(&self, name: &str) -> KafkaTopic {
        KafkaTopic::new(self.brokers.clone(), Arc::clone(&self.admin), name)
    }

    pub fn sink(&self, name: &str, delivery: Delivery) -> KafkaSink {
        KafkaSink::new(self.brokers.clone(), Arc::clone(&self.admin), name, delivery)
    }
}

/// A name that no other test and no earlier run of this one has.
pub fn unique(what: &str) -> String {
    format!("contract_{what}_{}", Uuid::new_v4().simple())
}

pub fn run() -> RunId {
    RunId(Uuid::new_v4())
}

pub fn message(partition: i32, key: &str, body: &[u8]) -> Message {
    Message { partition: Partition(partition), key: key.into(), body: body.to_vec() }
}
