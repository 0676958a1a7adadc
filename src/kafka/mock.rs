//! An in-process broker for the demo and for tests: the client library's mock cluster. It answers
//! no administration, keeps 5 MiB a partition and knows no real transactions (DESIGN D11); so
//! topics are made here, and delivery to it is idempotent only. Never used for a real backup.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, PoisonError};

use rdkafka::mocking::MockCluster;
use tokio::sync::oneshot;

use super::admin::{self, Asker, Range};
use super::brokers::Isolation;
use super::{Answer, Brokers, Failure, FailureKind, TopicAdmin};

/// A topic to be made, and where to say how it went.
struct Order {
    topic: String,
    partitions: i32,
    done: oneshot::Sender<Result<(), Failure>>,
}

/// The in-process broker and its administration. It ends when this value is dropped.
pub struct MockAdmin {
    brokers: Brokers,
    orders: mpsc::Sender<Order>,
    asker: Arc<Asker>,
    /// The mock cannot delete: names that count as deleted.
    deleted: Mutex<BTreeSet<String>>,
}

impl MockAdmin {
    /// Starts the broker on a thread of its own: the library's handle may not change threads.
    ///
    /// # Errors
    /// [`FailureKind::Refused`] where it does not start.
    pub fn start() -> Result<Arc<Self>, Failure> {
        let (orders, inbox) = mpsc::channel();
        let (address, started) = mpsc::channel();
        std::thread::Builder::new()
            .name("mock-broker".into())
            .spawn(move || serve(&inbox, &address))
            .map_err(|e| Failure::new(FailureKind::Refused, e.to_string()))?;
        let lost = |_| Failure::new(FailureKind::Refused, "the in-process broker did not start");
        let list = started.recv().map_err(lost)??;
        let brokers = Brokers::new(list, BTreeMap::new())
            .map_err(|e| Failure::new(FailureKind::Refused, e.to_string()))?;
        let asker = Asker::new(&brokers, Isolation::Uncommitted)?;
        Ok(Arc::new(Self { brokers, orders, asker, deleted: Mutex::default() }))
    }

    /// How to reach the broker.
    pub fn brokers(&self) -> &Brokers {
        &self.brokers
    }

    async fn order(&self, topic: &str, partitions: u32) -> Result<(), Failure> {
        let lost = || Failure::new(FailureKind::Unreachable, "the in-process broker has ended");
        let (done, result) = oneshot::channel();
        let partitions = i32::try_from(partitions).unwrap_or(i32::MAX);
        let order = Order { topic: topic.to_owned(), partitions, done };
        self.orders.send(order).map_err(|_| lost())?;
        result.await.map_err(|_| lost())?
    }

    fn forgotten(&self, topic: &str) -> bool {
        self.deleted.lock().unwrap_or_else(PoisonError::into_inner).contains(topic)
    }
}

/// Runs the broker until nobody can order from it any more.
fn serve(inbox: &mpsc::Receiver<Order>, address: &mpsc::Sender<Result<String, Failure>>) {
    let cluster = match MockCluster::new(1) {
        Ok(cluster) => cluster,
        Err(error) => {
            let _ = address.send(Err(Failure::of(&error)));
            return;
        }
    };
    let _ = address.send(Ok(cluster.bootstrap_servers()));
    for order in inbox {
        let made = cluster.create_topic(&order.topic, order.partitions, 1);
        let _ = order.done.send(made.map_err(|e| Failure::of(&e)));
    }
}

impl TopicAdmin for MockAdmin {
    fn create<'a>(
        &'a self,
        topic: &'a str,
        partitions: u32,
        _settings: &'a [(&'a str, &'a str)],
    ) -> Answer<'a, ()> {
        Box::pin(async move {
            if self.asker.ranges(topic).await?.is_some() {
                return Err(Failure::new(FailureKind::TopicExists, "the topic exists"));
            }
            self.order(topic, partitions).await
        })
    }

    fn delete<'a>(&'a self, topic: &'a str) -> Answer<'a, ()> {
        let mut deleted = self.deleted.lock().unwrap_or_else(PoisonError::into_inner);
        deleted.insert(topic.to_owned());
        Box::pin(async { Ok(()) })
    }

    fn list<'a>(&'a self, prefix: &'a str) -> Answer<'a, Vec<String>> {
        Box::pin(async move {
            let mut names = admin::list(&self.asker, prefix).await?;
            names.retain(|name| !self.forgotten(name));
            Ok(names)
        })
    }

    fn ranges<'a>(&'a self, topic: &'a str) -> Answer<'a, Option<Vec<Range>>> {
        Box::pin(async move {
            if self.forgotten(topic) { Ok(None) } else { self.asker.ranges(topic).await }
        })
    }

    fn settings<'a>(&'a self, _topic: &'a str) -> Answer<'a, BTreeMap<String, String>> {
        Box::pin(async { Ok(BTreeMap::new()) })
    }

    fn broker_settings(&self) -> Answer<'_, BTreeMap<String, String>> {
        Box::pin(async { Ok(BTreeMap::new()) })
    }

    fn cluster_id(&self) -> Answer<'_, Option<String>> {
        Box::pin(admin::cluster_id(&self.asker))
    }
}
