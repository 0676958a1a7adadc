//! Owns the connection to Kafka: sending with bounded memory and reading a topic to its end; never knows Avro.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::failure::Failure;

/// Largest message the node's connectors send.
const MAX_REQUEST: usize = 1_048_576;
/// Bytes a record batch adds to a message.
const OVERHEAD: usize = 88;
const ASK: Duration = Duration::from_secs(15);
/// How long a load waits for the next message before it gives up.
const QUIET: Duration = Duration::from_secs(5);

/// How far the messages of one unload are.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    state: Mutex<Sent>,
    settled: Condvar,
}

#[derive(Debug, Default)]
struct Sent {
    pending: u64,
    failure: Option<String>,
}

impl Progress {
    fn with<T>(&self, work: impl FnOnce(&mut Sent) -> T) -> T {
        work(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Notes a failure unless there was one before.
    pub(crate) fn fail(&self, cause: String) {
        self.with(|sent| sent.failure.get_or_insert(cause).len());
    }

    /// Waits until everything sent is acknowledged or failed; the first failure wins.
    pub(crate) fn finish(&self) -> Result<(), String> {
        let guard = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let settled = self.settled.wait_while(guard, |sent| sent.pending > 0);
        let sent = settled.unwrap_or_else(PoisonError::into_inner);
        sent.failure.clone().map_or(Ok(()), Err)
    }
}

struct Deliveries;

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = Arc<Progress>;

    fn delivery(&self, result: &DeliveryResult<'_>, progress: Arc<Progress>) {
        progress.with(|sent| {
            sent.pending = sent.pending.saturating_sub(1);
            if let Err((error, message)) = result {
                sent.failure.get_or_insert(cause(error, message.topic()));
            }
        });
        progress.settled.notify_all();
    }
}

/// The text a connector gives for a failed send.
fn cause(error: &KafkaError, topic: &str) -> String {
    match error.rdkafka_error_code() {
        Some(
            RDKafkaErrorCode::UnknownTopic
            | RDKafkaErrorCode::UnknownTopicOrPartition
            | RDKafkaErrorCode::UnknownPartition
            | RDKafkaErrorCode::MessageTimedOut,
        ) => format!("Topic {topic} not present in metadata after 60000 ms."),
        _ => error.to_string(),
    }
}

/// One message of a topic.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) payload: Vec<u8>,
}

/// A partition and the offsets a load must read: from `next` up to `end`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Range {
    pub(crate) partition: i32,
    pub(crate) next: i64,
    pub(crate) end: i64,
}

/// Kafka as the connectors of the node use it.
pub(crate) struct Broker {
    brokers: String,
    producer: ThreadedProducer<Deliveries>,
}

impl Broker {
    pub(crate) fn new(brokers: &str) -> Result<Self, Failure> {
        let producer = ClientConfig::new()
            .set("bootstrap.servers", brokers)
            .set("acks", "1")
            .set("linger.ms", "2")
            .set("message.timeout.ms", "60000")
            .set("message.max.bytes", MAX_REQUEST.to_string())
            .set("queue.buffering.max.kbytes", "32768")
            .set("queue.buffering.max.messages", "20000")
            .set("log_level", "3")
            .create_with_context(Deliveries)
            .map_err(|e| Failure::Kafka(e.to_string()))?;
        Ok(Broker { brokers: brokers.to_owned(), producer })
    }

    /// Queues a message; waits while the queue is full. The partition follows the key.
    pub(crate) fn send(&self, topic: &str, key: &[u8], value: &[u8], progress: &Arc<Progress>) {
        let size = key.len() + value.len() + OVERHEAD;
        if size > MAX_REQUEST {
            progress.fail(format!(
                "The message is {size} bytes when serialized which is larger than {MAX_REQUEST}, which is the value of the max.request.size configuration."
            ));
            return;
        }
        progress.with(|sent| sent.pending += 1);
        let mut record =
            BaseRecord::with_opaque_to(topic, Arc::clone(progress)).key(key).payload(value);
        loop {
            match self.producer.send(record) {
                Ok(()) => return,
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    record = back;
                    std::thread::sleep(Duration::from_millis(2));
                }
                Err((error, _)) => {
                    progress.fail(cause(&error, topic));
                    progress.with(|sent| sent.pending = sent.pending.saturating_sub(1));
                    return;
                }
            }
        }
    }

    /// Waits a little for messages still queued, when the node stops.
    pub(crate) fn flush(&self) {
        // A broker that is gone already cannot take them any more.
        let _late = self.producer.flush(Duration::from_secs(1));
    }

    fn consumer(&self) -> Result<BaseConsumer, Failure> {
        ClientConfig::new()
            .set("bootstrap.servers", &self.brokers)
            .set("group.id", "sandbox-load")
            .set("enable.auto.commit", "false")
            .set("auto.offset.reset", "earliest")
            .set("fetch.wait.max.ms", "50")
            .set("log_level", "3")
            .create()
            .map_err(|e| Failure::Kafka(e.to_string()))
    }

    /// First and end offsets of every partition; nothing for a topic that does not exist.
    fn ends(consumer: &BaseConsumer, topic: &str) -> Result<Vec<Range>, Failure> {
        let kafka = |e: KafkaError| Failure::Kafka(e.to_string());
        let metadata = consumer.fetch_metadata(Some(topic), ASK).map_err(kafka)?;
        let mut ranges = Vec::new();
        for partition in metadata.topics().iter().flat_map(|t| t.partitions()) {
            let partition = partition.id();
            let (next, end) = consumer.fetch_watermarks(topic, partition, ASK).map_err(kafka)?;
            ranges.push(Range { partition, next, end });
        }
        Ok(ranges)
    }

    /// Opens a topic for one load; `consumed` tells where an earlier load stopped.
    pub(crate) fn open(
        &self,
        topic: &str,
        consumed: impl Fn(i32) -> Option<i64>,
    ) -> Result<TopicReader, Failure> {
        let consumer = self.consumer()?;
        let mut ranges = Self::ends(&consumer, topic)?;
        for range in &mut ranges {
            range.next = consumed(range.partition).map_or(range.next, |at| at.max(range.next));
        }
        let mut list = TopicPartitionList::new();
        for range in ranges.iter().filter(|r| r.next < r.end) {
            list.add_partition_offset(topic, range.partition, Offset::Offset(range.next))
                .map_err(|e| Failure::Kafka(e.to_string()))?;
        }
        consumer.assign(&list).map_err(|e| Failure::Kafka(e.to_string()))?;
        Ok(TopicReader { consumer, ranges })
    }
}

/// A topic being read by one load.
pub(crate) struct TopicReader {
    consumer: BaseConsumer,
    ranges: Vec<Range>,
}

impl TopicReader {
    /// Messages the topic ever held and messages still to read.
    pub(crate) fn counts(&self) -> (i64, i64) {
        let left = self.ranges.iter().map(|r| (r.end - r.next).max(0)).sum();
        (self.ranges.iter().map(|r| r.end).sum(), left)
    }

    /// The next message; `None` at the end, an error when it does not come.
    pub(crate) fn next(&mut self) -> Result<Option<Received>, Failure> {
        let deadline = Instant::now() + QUIET;
        while self.counts().1 > 0 {
            let message = match self.consumer.poll(Duration::from_millis(100)) {
                None if Instant::now() > deadline => {
                    return Err(Failure::Kafka("CHANGE_OFFSET_TIMEOUT".to_owned()));
                }
                None => continue,
                Some(message) => message.map_err(|e| Failure::Kafka(e.to_string()))?,
            };
            let (partition, offset) = (message.partition(), message.offset());
            let Some(range) = self.ranges.iter_mut().find(|r| r.partition == partition) else {
                continue;
            };
            if offset >= range.end {
                continue;
            }
            range.next = offset + 1;
            let payload = message.payload().unwrap_or_default().to_vec();
            return Ok(Some(Received { partition, offset, payload }));
        }
        Ok(None)
    }
}
