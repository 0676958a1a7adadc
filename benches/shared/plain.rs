//! The copy that a backup is compared with: one consumer, one producer, keys and bodies unchanged,
//! nothing remembered, nothing checked.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};
use rdkafka::{ClientConfig, ClientContext, Message as _, Offset, TopicPartitionList};

use crate::cluster::Cluster;
use crate::data::Filled;
use crate::measure::{Mark, Spent};

/// As the sink has it.
const UNDER_WAY: usize = 2 << 20;
/// As load topics have it.
const LOADS_UNDER_WAY: usize = 4 << 20;
const PATIENCE: Duration = Duration::from_secs(60);

/// How the copy is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// With our clients' settings: transactions of the same size, the same bytes under way.
    Same,
    /// Idempotent, without transactions, everything else as the library has it.
    #[allow(dead_code, reason = "the restore's benchmark has no use for it")]
    Library,
    /// As load topics are filled: without transactions and keys.
    #[allow(dead_code, reason = "only the restore's benchmark fills load topics")]
    Load,
}

/// Copies the only partition to partition 0 of `to`.
pub fn copy(cluster: &Cluster, filled: &Filled, to: &str, way: Way) -> Spent {
    let flow = Arc::new(Flow::default());
    let producer = producer(cluster, flow.clone(), way);
    let mark = Mark::now();
    let consumer = consumer(cluster, &filled.topic, way);
    let mut open = Open::default();
    for _ in 0..filled.messages() {
        let message = consumer.poll(PATIENCE).expect("a message in time").expect("a message");
        let (key, body) =
            (message.key().unwrap_or_default(), message.payload().unwrap_or_default());
        match way {
            Way::Same => {
                open.begin(&producer);
                flow.wait(UNDER_WAY.saturating_sub(body.len()));
            }
            Way::Load => flow.wait(LOADS_UNDER_WAY.saturating_sub(body.len())),
            Way::Library => {}
        }
        flow.enter(body.len());
        let record = BaseRecord::with_opaque_to(to, body.len()).partition(0).payload(body);
        let record = if way == Way::Load { record } else { record.key(key) };
        producer.send(record).map_err(|(error, _)| error).expect("the queue has room");
        open.bytes += body.len();
        if way == Way::Same && open.is_due() {
            open.commit(&producer);
        }
    }
    match way {
        Way::Same => open.commit(&producer),
        Way::Library => flow.wait(0),
        Way::Load => {
            producer.flush(PATIENCE).expect("all is sent");
            flow.wait(0);
        }
    }
    mark.spent()
}

/// Bytes under way.
#[derive(Default)]
struct Flow {
    bytes: Mutex<usize>,
    less: Condvar,
}

impl Flow {
    fn enter(&self, bytes: usize) {
        *self.bytes.lock().unwrap_or_else(PoisonError::into_inner) += bytes;
    }

    fn leave(&self, bytes: usize) {
        *self.bytes.lock().unwrap_or_else(PoisonError::into_inner) -= bytes;
        self.less.notify_one();
    }

    /// Waits until so many or less are under way.
    fn wait(&self, most: usize) {
        let bytes = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.less.wait_timeout_while(bytes, PATIENCE, |bytes| *bytes > most);
        let (_bytes, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        assert!(!timeout.timed_out(), "nothing was acknowledged");
    }
}

/// Takes the reports on the producer's own thread.
struct Reports(Arc<Flow>);

impl ClientContext for Reports {}

impl ProducerContext for Reports {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, bytes: usize) {
        assert!(result.is_ok(), "a message was not delivered");
        self.0.leave(bytes);
    }
}

type Threaded = ThreadedProducer<Reports>;

/// A transaction.
#[derive(Default)]
struct Open {
    since: Option<Instant>,
    bytes: usize,
}

impl Open {
    fn begin(&mut self, producer: &Threaded) {
        if self.since.is_none() {
            producer.begin_transaction().expect("a transaction begins");
            *self = Self { since: Some(Instant::now()), bytes: 0 };
        }
    }

    fn is_due(&self) -> bool {
        let old = self.since.is_some_and(|since| since.elapsed() >= Duration::from_secs(1));
        old || self.bytes >= 64 << 20
    }

    fn commit(&mut self, producer: &Threaded) {
        if self.since.take().is_some() {
            producer.commit_transaction(PATIENCE).expect("the transaction is committed");
        }
    }
}

fn producer(cluster: &Cluster, flow: Arc<Flow>, way: Way) -> Threaded {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", cluster.brokers.list())
        .set("acks", "all")
        .set("enable.idempotence", "true");
    if way == Way::Load {
        config.set("linger.ms", "50").set("batch.size", "1000000");
        config.set("message.max.bytes", "4194304");
    }
    if way == Way::Same {
        config
            .set("linger.ms", "50")
            .set("batch.size", "524288")
            .set("message.max.bytes", "4194304")
            .set("transactional.id", format!("bench-{}", uuid::Uuid::new_v4()));
    }
    let producer: Threaded = config.create_with_context(Reports(flow)).expect("a producer");
    if way == Way::Same {
        producer.init_transactions(PATIENCE).expect("the brokers know transactions");
    }
    producer
}

fn consumer(cluster: &Cluster, topic: &str, way: Way) -> BaseConsumer {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", cluster.brokers.list()).set("group.id", "bench");
    config.set("enable.auto.commit", "false");
    if way != Way::Library {
        let ahead = if way == Way::Same { "2048" } else { "16384" };
        config
            .set("queued.max.messages.kbytes", ahead)
            .set("fetch.queue.backoff.ms", "5")
            .set("fetch.wait.max.ms", "50")
            .set("fetch.message.max.bytes", "1048576")
            .set("check.crcs", "true")
            .set("isolation.level", "read_committed");
    }
    let consumer: BaseConsumer = config.create().expect("a consumer");
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, 0, Offset::Beginning).expect("a partition");
    consumer.assign(&list).expect("an assignment");
    consumer
}
