//! Load topics on Kafka: made, filled by one idempotent producer without transactions, sealed by
//! their ends, deleted. Never talks to the node, never uses a name twice, never writes a marker
//! that a node would stop at (PROSTORE.md 6).

use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};
use tokio::sync::Notify;

use super::{LoadWriter, Loads};
use crate::extract::SourceError;
use crate::kafka::{
    Brokers, Context, Failure, FailureKind, TopicAdmin, blocking, log_line, retire,
};
use crate::model::{AttemptName, RunId};

/// Bytes handed to the producer and not yet acknowledged, of all load topics together. More does
/// not copy faster.
const UNDER_WAY: usize = 4 << 20;
/// Full batches, because the idempotent client sends no more while five are under way; a seal does
/// not wait for a batch to fill.
const BATCHES: &[(&str, &str)] = &[("linger.ms", "50"), ("batch.size", "1000000")];
/// Least limit of a message in a load topic: that of the backup topics that we create.
const LEAST: usize = 4 << 20;
/// What a record and its batch add to a body, rounded up.
const FRAMING: usize = 128;
/// How long nothing may be acknowledged before the producer is given up.
const STALL: Duration = Duration::from_secs(60);
/// How long to wait for the reports that follow a fatal error.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// Load topics on the brokers that the node works with.
pub struct KafkaLoads {
    brokers: Brokers,
    admin: Arc<dyn TopicAdmin>,
    /// Largest message that a load topic takes.
    limit: usize,
    /// Shared by all writers: a delta of a thousand tables has as many of them open.
    shared: Mutex<Option<Arc<Shared>>>,
}

/// The producer and what became of its messages.
struct Shared {
    /// None only while it is dropped.
    producer: Option<ThreadedProducer<Reports>>,
    flow: Arc<Flow>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        if let Some(producer) = self.producer.take() {
            retire(producer);
        }
    }
}

/// What is under way.
#[derive(Default)]
struct Flow {
    state: Mutex<State>,
    moved: Notify,
    context: Context,
}

#[derive(Default)]
struct State {
    under_way: usize,
    /// The first failure: no writer of this producer can go on, for a message may be missing
    /// before those of others.
    failure: Option<Failure>,
    /// The client declared itself unusable: reports follow that say why, or none do.
    fatal: Option<Failure>,
    /// A writer ended before its seal: nobody wants what it left in the queue.
    spoiled: bool,
}

impl Flow {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `ready`, as long as something moves.
    async fn until(&self, ready: impl Fn(&State) -> bool) -> Result<(), Failure> {
        loop {
            let mut moved = pin!(self.moved.notified());
            // From here on nothing that moves is missed.
            moved.as_mut().enable();
            let (fatal, patience) = {
                let state = self.state();
                if let Some(failure) = &state.failure {
                    return Err(failure.clone());
                }
                if ready(&state) {
                    return Ok(());
                }
                (state.fatal.clone(), if state.fatal.is_some() { LAST_WORDS } else { STALL })
            };
            if tokio::time::timeout(patience, moved).await.is_err() {
                return Err(self.fail(fatal.unwrap_or_else(|| self.stalled())));
            }
        }
    }

    fn stalled(&self) -> Failure {
        let reason = format!("nothing acknowledged for {} s", STALL.as_secs());
        self.context.add_complaint(Failure::new(FailureKind::Unreachable, reason))
    }

    fn fail(&self, failure: Failure) -> Failure {
        let first = self.state().failure.get_or_insert(failure).clone();
        self.moved.notify_waiters();
        first
    }

    fn leave(&self, bytes: usize) {
        self.state().under_way -= bytes;
        self.moved.notify_waiters();
    }
}

/// Receives the producer's reports on its polling thread.
struct Reports(Arc<Flow>);

impl ClientContext for Reports {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        log_line(level, facility, line);
    }

    fn stats_raw(&self, _statistics: &[u8]) {}

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(target: "librdkafka", "{reason}");
        self.0.context.complain(&error, reason);
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::Fatal) {
            let failure = Failure::new(FailureKind::Retryable, reason);
            self.0.state().fatal.get_or_insert(failure);
            self.0.moved.notify_waiters();
        }
    }
}

impl ProducerContext for Reports {
    /// Bytes of the message.
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, bytes: usize) {
        if let Err((error, _)) = result {
            self.0.fail(self.0.context.explain(error));
        }
        self.0.leave(bytes);
    }
}

impl KafkaLoads {
    /// Load topics on `brokers`; messages of the backup topic are at most `largest` bytes. Nothing
    /// is asked yet.
    pub fn new(brokers: Brokers, admin: Arc<dyn TopicAdmin>, largest: usize) -> Self {
        let limit = largest.max(LEAST);
        Self { brokers, admin, limit, shared: Mutex::default() }
    }

    /// The producer, a new one where the last one is of no use any more.
    fn shared(&self) -> Result<Arc<Shared>, Failure> {
        let mut slot = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let usable = |shared: &&Arc<Shared>| {
            let state = shared.flow.state();
            state.failure.is_none() && state.fatal.is_none() && !state.spoiled
        };
        if let Some(shared) = slot.as_ref().filter(usable) {
            return Ok(Arc::clone(shared));
        }
        let mut config = self.brokers.producer(self.limit, BATCHES);
        // A message that times out alone would leave its followers without it. Nothing times out:
        // the producer gives up as a whole.
        config.set("enable.gapless.guarantee", "true").set("message.timeout.ms", "0");
        let flow = Arc::new(Flow::default());
        let context = Reports(Arc::clone(&flow));
        let producer = config.create_with_context(context).map_err(|e| Failure::of(&e))?;
        Ok(slot.insert(Arc::new(Shared { producer: Some(producer), flow })).clone())
    }
}

impl Loads for KafkaLoads {
    type Writer = KafkaWriter;

    async fn make(&self, name: &AttemptName, partitions: u32) -> Result<KafkaWriter, SourceError> {
        let limit = self.limit.to_string();
        let settings = [
            ("cleanup.policy", "delete"),
            ("retention.ms", "-1"),
            ("retention.bytes", "-1"),
            ("max.message.bytes", limit.as_str()),
        ];
        // One of this name that is there already is not fresh: the next pass takes another name.
        self.admin.create(&name.0, partitions, &settings).await?;
        Ok(KafkaWriter {
            topic: name.0.clone(),
            sent: vec![0; partitions.max(1) as usize],
            next: 0,
            limit: self.limit,
            shared: self.shared()?,
            admin: Arc::clone(&self.admin),
            sealed: false,
        })
    }

    async fn delete(&self, name: &AttemptName) -> Result<(), SourceError> {
        Ok(self.admin.delete(&name.0).await?)
    }

    async fn leftovers(&self, run: RunId) -> Result<Vec<AttemptName>, SourceError> {
        let names = self.admin.list(&AttemptName::prefix(run)).await?;
        Ok(names.iter().filter_map(|name| AttemptName::parse(name)).collect())
    }
}

/// Fills one load topic, its partitions in turn.
pub struct KafkaWriter {
    topic: String,
    /// By partition: messages handed over.
    sent: Vec<i64>,
    next: usize,
    limit: usize,
    shared: Arc<Shared>,
    admin: Arc<dyn TopicAdmin>,
    sealed: bool,
}

impl KafkaWriter {
    /// Hands a message to the producer, which copies it. False where its queue is full.
    fn hand_over(&self, body: &[u8]) -> Result<bool, Failure> {
        let flow = &self.shared.flow;
        let Some(producer) = &self.shared.producer else { return Ok(false) };
        flow.state().under_way += body.len();
        let record: BaseRecord<'_, (), [u8], usize> =
            BaseRecord::with_opaque_to(&self.topic, body.len())
                .partition(self.next as i32)
                .payload(body);
        let Err((error, _)) = producer.send(record) else { return Ok(true) };
        flow.leave(body.len());
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::QueueFull) => Ok(false),
            _ => Err(flow.fail(Failure::of(&error))),
        }
    }

    /// Sends what waits for a full batch, and waits until all of it is acknowledged.
    async fn flush(&self) -> Result<(), Failure> {
        let shared = Arc::clone(&self.shared);
        let flushed = blocking(move || {
            let Some(producer) = &shared.producer else { return Ok(()) };
            producer.flush(STALL).map_err(|error| shared.flow.context.explain(&error))
        });
        let flushed = flushed.await;
        // Why a message failed says more than that the flush did.
        self.shared.flow.until(|state| state.under_way == 0 || flushed.is_err()).await?;
        flushed
    }
}

impl LoadWriter for KafkaWriter {
    async fn append(&mut self, body: &[u8]) -> Result<(), SourceError> {
        if body.len() + FRAMING > self.limit {
            let (bytes, limit) = (body.len(), self.limit);
            let reason = format!("a message of {bytes} bytes is above a load topic's {limit}");
            return Err(SourceError::Brokers { reason });
        }
        let room =
            |state: &State| state.under_way == 0 || state.under_way + body.len() <= UNDER_WAY;
        loop {
            self.shared.flow.until(room).await?;
            if self.hand_over(body)? {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        self.sent[self.next] += 1;
        self.next = (self.next + 1) % self.sent.len();
        Ok(())
    }

    async fn seal(mut self) -> Result<u64, SourceError> {
        self.flush().await?;
        self.sealed = true;
        let ranges = self.admin.ranges(&self.topic).await?.unwrap_or_default();
        let whole = |(range, sent): (&(i64, i64), &i64)| range.0 == 0 && range.1 == *sent;
        if ranges.len() != self.sent.len() || !ranges.iter().zip(&self.sent).all(whole) {
            let (topic, sent) = (&self.topic, &self.sent);
            let reason = format!("load topic {topic} holds offsets {ranges:?}, sent were {sent:?}");
            return Err(SourceError::Brokers { reason });
        }
        Ok(ranges.iter().map(|range| range.1.unsigned_abs()).sum())
    }
}

impl Drop for KafkaWriter {
    /// Its messages would go on waiting for a topic that is soon deleted.
    fn drop(&mut self) {
        if !self.sealed {
            self.shared.flow.state().spoiled = true;
        }
    }
}
