//! The backup topic written through Kafka: one producer per lane, with transactions or without
//! (DESIGN D5). Never reads a message, and never hands one to a producer twice.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::producer::{BaseRecord, Producer, ThreadedProducer};

use super::reports::{LaneContext, Reports};
use super::{Lane, Message, Sink, SinkError};
use crate::kafka::{Brokers, Failure, FailureKind, TopicAdmin, blocking, retire};
use crate::model::{Offset, RunId};

/// Bytes handed to a producer and not yet acknowledged, by lane. More only costs the idempotent
/// client processor time, and lengthens what a crash repeats (DESIGN D5).
const UNDER_WAY: usize = 2 << 20;
/// How a producer waits for a batch to fill. While five *messages* are under way (not requests) the
/// idempotent client sends no more, and where what waits is older than its linger time it asks the
/// clock and the socket without pause: three quarters of all processor time. So the linger time is
/// longer than an answer takes; a commit does not wait for it. Batches of a quarter of what may be
/// under way are sent as soon as they are full.
const FULL_BATCHES: &[(&str, &str)] = &[("linger.ms", "50"), ("batch.size", "524288")];
/// Without transactions the end of a commit is only waited for, so waits must be short.
const SHORT_WAITS: &[(&str, &str)] = &[("linger.ms", "5")];
/// What a record and its batch add to key and body, rounded up.
const FRAMING: usize = 128;
/// The brokers' default of max.message.bytes, where they do not tell the topic's.
const DEFAULT_LIMIT: usize = 1_048_588;
/// How long a transaction may stay open. A run that died leaves one that long before the eyes of
/// every reader, unless it is resumed; a slow network must get 64 MB through in it.
const TRANSACTION: &str = "120000";
/// How long to wait for the transaction coordinator.
const COORDINATOR: Duration = Duration::from_secs(60);
/// How long a failed commit may wait for the reason.
const HEAR: Duration = Duration::from_secs(1);
/// How long an aborting lane may hold up its owner.
const ABORT: Duration = Duration::from_secs(2);
/// How often the tail is looked at while it settles.
const LOOK: Duration = Duration::from_millis(250);

/// How messages are delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// Transactions: a crash leaves nothing half visible.
    Transactions,
    /// No transactions, for brokers that refuse them: identical copies are possible after a crash.
    Idempotent,
}

/// The backup topic of a cluster.
pub struct KafkaSink {
    brokers: Brokers,
    admin: Arc<dyn TopicAdmin>,
    topic: String,
    delivery: Delivery,
    quiet: Duration,
}

impl KafkaSink {
    /// The sink of `topic`. Nothing is asked yet.
    pub fn new(
        brokers: Brokers,
        admin: Arc<dyn TopicAdmin>,
        topic: impl Into<String>,
        delivery: Delivery,
    ) -> Self {
        let quiet = Duration::from_secs(5);
        Self { brokers, admin, topic: topic.into(), delivery, quiet }
    }

    /// How long the tail must have been quiet for [`Sink::settle`] without transactions;
    /// 5 s unless told (DESIGN D5).
    pub fn with_quiet(mut self, quiet: Duration) -> Self {
        self.quiet = quiet;
        self
    }

    fn patience(&self) -> Duration {
        let config = self.brokers.producer(0, &[]);
        let told = config.get("transaction.timeout.ms").unwrap_or(TRANSACTION);
        Duration::from_millis(told.parse().unwrap_or(u64::MAX))
    }

    async fn limit(&self) -> Result<usize, Failure> {
        let settings = self.admin.settings(&self.topic).await?;
        let told = settings.get("max.message.bytes").and_then(|bytes| bytes.parse().ok());
        Ok(told.unwrap_or(DEFAULT_LIMIT))
    }

    async fn ends(&self) -> Result<Vec<(i64, i64)>, SinkError> {
        let missing = || SinkError::Refused { reason: format!("topic {} is missing", self.topic) };
        self.admin.ranges(&self.topic).await.map_err(sink_error)?.ok_or_else(missing)
    }

    fn start(&self, run: RunId, lane: u32, limit: usize) -> Result<Started, Failure> {
        let batching = match self.delivery {
            Delivery::Transactions => FULL_BATCHES,
            Delivery::Idempotent => SHORT_WAITS,
        };
        let mut config = self.brokers.producer(limit, batching);
        match self.delivery {
            Delivery::Transactions => {
                config.set("transactional.id", format!("deltakeep-{run}-{lane}"));
                if config.get("transaction.timeout.ms").is_none() {
                    config.set("transaction.timeout.ms", TRANSACTION);
                }
            }
            // A message that times out alone would leave a hole before its followers. Nothing
            // times out: the lane gives up as a whole.
            Delivery::Idempotent => {
                config.set("enable.gapless.guarantee", "true").set("message.timeout.ms", "0");
            }
        }
        let reports = Arc::new(Reports::default());
        let context = LaneContext::new(Arc::clone(&reports));
        let producer = config.create_with_context(context).map_err(|e| Failure::of(&e))?;
        Ok(Started { producer, reports })
    }
}

/// A producer and where its reports go.
struct Started {
    producer: ThreadedProducer<LaneContext>,
    reports: Arc<Reports>,
}

/// Registers the lane's transactional id: fences a predecessor, aborts what it left open.
fn enter(started: Started) -> Result<Started, Failure> {
    let entered = started.producer.init_transactions(COORDINATOR);
    let Err(error) = entered else { return Ok(started) };
    let mut failure = started.reports.explain(&error);
    retire(started.producer);
    let hint = "brokers that do not allow transactions take --delivery idempotent";
    if failure.kind != FailureKind::Fenced {
        failure.reason = format!("no transaction: {}; {hint}", failure.reason);
    }
    Err(failure)
}

impl Sink for KafkaSink {
    type Lane = KafkaLane;

    async fn open(&self, run: RunId, lane: u32) -> Result<KafkaLane, SinkError> {
        // A missing topic is told at once: a producer would wait for somebody to create it.
        self.ends().await?;
        let limit = self.limit().await.map_err(sink_error)?;
        let started = self.start(run, lane, limit).map_err(sink_error)?;
        let entered = match self.delivery {
            Delivery::Transactions => blocking(move || enter(started)).await,
            Delivery::Idempotent => Ok(started),
        };
        let Started { producer, reports } = entered.map_err(|failure| match failure.kind {
            FailureKind::Fenced => SinkError::Fenced { lane },
            _ => sink_error(failure),
        })?;
        Ok(KafkaLane {
            lane,
            topic: self.topic.clone(),
            limit,
            delivery: self.delivery,
            producer: Some(producer),
            reports,
            begun: false,
            since: None,
            patience: self.patience(),
            broken: false,
        })
    }

    /// Without transactions: waits for a quiet tail, but not longer than twelve times the quiet
    /// it asks for, since other datamarts may write to the topic without pause.
    async fn settle(&self) -> Result<(), SinkError> {
        if self.delivery == Delivery::Transactions {
            return Ok(());
        }
        let started = Instant::now();
        let mut last = (self.ends().await?, Instant::now());
        while last.1.elapsed() < self.quiet {
            if started.elapsed() > self.quiet * 12 {
                tracing::warn!(topic = %self.topic, "the topic is never quiet; going on");
                break;
            }
            tokio::time::sleep(LOOK.min(self.quiet)).await;
            let ends = self.ends().await?;
            if ends != last.0 {
                last = (ends, Instant::now());
            }
        }
        Ok(())
    }
}

/// What a failure means to the engine, where no lane or message is known.
fn sink_error(failure: Failure) -> SinkError {
    let reason = failure.reason;
    match failure.kind {
        FailureKind::NoRights | FailureKind::Refused | FailureKind::NoTopic => {
            SinkError::Refused { reason }
        }
        _ => SinkError::Interrupted { reason },
    }
}

/// A lane: one producer, at most one open transaction.
pub struct KafkaLane {
    lane: u32,
    topic: String,
    limit: usize,
    delivery: Delivery,
    /// None only while the lane is dropped.
    producer: Option<ThreadedProducer<LaneContext>>,
    reports: Arc<Reports>,
    /// A transaction is open.
    begun: bool,
    /// When it began.
    since: Option<Instant>,
    /// How long the brokers let it stay open.
    patience: Duration,
    /// An error happened, or a commit was abandoned: the outcome is unknown.
    broken: bool,
}

impl KafkaLane {
    fn producer(&self) -> Result<ThreadedProducer<LaneContext>, SinkError> {
        let usable = self.producer.as_ref().filter(|_| !self.broken);
        usable.cloned().ok_or_else(|| SinkError::Interrupted {
            reason: format!("lane {} failed before and cannot be used", self.lane),
        })
    }

    /// Ends the lane's usefulness and says why, as exactly as the client knows.
    fn fail(&mut self, failure: Failure, largest: usize) -> SinkError {
        self.broken = true;
        let fatal = self.producer.as_ref().and_then(|p| p.client().fatal_error());
        let failure = match fatal {
            // That a message is too large is the reason, that a gap follows only the result.
            Some((code, text)) if failure.kind != FailureKind::TooLarge => {
                Failure::new(Failure::of_code(code).kind, text)
            }
            _ => failure,
        };
        match failure.kind {
            FailureKind::Fenced => {
                fenced(self.lane, self.since.map(|s| s.elapsed()), self.patience)
            }
            FailureKind::TooLarge => SinkError::TooLarge { bytes: largest, limit: self.limit },
            _ => sink_error(failure),
        }
    }

    async fn begin(&mut self, producer: &ThreadedProducer<LaneContext>) -> Result<(), SinkError> {
        let handle = producer.clone();
        let began = blocking(move || handle.begin_transaction().map_err(|e| Failure::of(&e)));
        self.begun = true;
        self.since = Some(Instant::now());
        began.await.map_err(|failure| self.fail(failure, 0))
    }

    /// Hands a message to the producer, which copies it. Returns false where its queue is full.
    fn hand_over(
        &self,
        producer: &ThreadedProducer<LaneContext>,
        message: &Message,
    ) -> Result<bool, Failure> {
        let bytes = size(message);
        let record = BaseRecord::with_opaque_to(&self.topic, self.reports.expect(bytes))
            .partition(message.partition.0)
            .key(&message.key)
            .payload(&message.body);
        let Err((error, _)) = producer.send(record) else { return Ok(true) };
        self.reports.withdraw();
        if error.rdkafka_error_code() == Some(rdkafka::types::RDKafkaErrorCode::QueueFull) {
            return Ok(false);
        }
        Err(Failure::of(&error))
    }

    async fn finish_transaction(
        &mut self,
        producer: ThreadedProducer<LaneContext>,
    ) -> Result<(), SinkError> {
        let reports = Arc::clone(&self.reports);
        // Sends what still waits for a full batch, and takes its reports.
        let commit =
            move || producer.commit_transaction(COORDINATOR).map_err(|e| reports.explain(&e));
        if let Err(failure) = blocking(commit).await {
            // Why a message failed says more than that its transaction did. Its report may still
            // be on its way.
            let told = tokio::time::timeout(HEAR, self.reports.all()).await;
            let (failure, largest) = told.ok().and_then(Result::err).unwrap_or((failure, 0));
            return Err(self.fail(failure, largest));
        }
        self.begun = false;
        Ok(())
    }
}

/// Brokers fence a lane for its successor, and for a transaction that was open too long: after a
/// process or a network that stood still. Only the first is somebody else's doing.
fn fenced(lane: u32, open: Option<Duration>, patience: Duration) -> SinkError {
    if open.is_none_or(|open| open < patience) {
        return SinkError::Fenced { lane };
    }
    let reason = format!("the transaction of lane {lane} was open for too long");
    SinkError::Interrupted { reason }
}

/// Key and body.
fn size(message: &Message) -> usize {
    message.key.len() + message.body.len()
}

impl Lane for KafkaLane {
    async fn send(&mut self, message: Message) -> Result<(), SinkError> {
        let producer = self.producer()?;
        let bytes = size(&message);
        if bytes + FRAMING > self.limit {
            return Err(SinkError::TooLarge { bytes, limit: self.limit });
        }
        if self.delivery == Delivery::Transactions && !self.begun {
            self.begin(&producer).await?;
        }
        loop {
            let room = self.reports.room(bytes, UNDER_WAY).await;
            room.map_err(|(failure, largest)| self.fail(failure, largest))?;
            match self.hand_over(&producer, &message) {
                Ok(true) => return Ok(()),
                Ok(false) => tokio::time::sleep(Duration::from_millis(5)).await,
                Err(failure) => return Err(self.fail(failure, bytes)),
            }
        }
    }

    async fn commit(&mut self) -> Result<Vec<Offset>, SinkError> {
        let producer = self.producer()?;
        if self.reports.is_empty() && !self.begun {
            return Ok(Vec::new());
        }
        // A commit that is abandoned half way leaves an unknown outcome as an error does.
        self.broken = true;
        if self.begun {
            self.finish_transaction(producer).await?;
        }
        let arrived = self.reports.all().await;
        arrived.map_err(|(failure, largest)| self.fail(failure, largest))?;
        // Durable, but nobody knows where: the resume path reads it from the topic.
        let unknown = || SinkError::Interrupted { reason: "a position was not told".to_owned() };
        let offsets = self.reports.take().ok_or_else(unknown)?;
        self.broken = false;
        Ok(offsets)
    }
}

impl Drop for KafkaLane {
    /// Aborts an open transaction, so that readers need not wait until the brokers give it up.
    /// Waits for that shortly; whoever opens the lane again aborts it anyway.
    fn drop(&mut self) {
        let Some(producer) = self.producer.take() else { return };
        if !self.begun {
            return retire(producer);
        }
        let (done, aborted) = std::sync::mpsc::channel();
        let abort = move || {
            if let Err(error) = producer.abort_transaction(ABORT) {
                tracing::debug!(reason = %Failure::of(&error), "transaction not aborted");
            }
            let _ = done.send(());
            drop(producer);
        };
        if std::thread::Builder::new().name("kafka-abort".into()).spawn(abort).is_ok() {
            let _ = aborted.recv_timeout(ABORT);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_that_was_open_too_long_is_nobody_elses_doing() {
        let (short, long) = (Duration::from_secs(1), Duration::from_secs(130));
        let patience = Duration::from_secs(120);
        for open in [None, Some(short)] {
            assert!(matches!(fenced(3, open, patience), SinkError::Fenced { lane: 3 }));
        }
        assert!(matches!(fenced(3, Some(long), patience), SinkError::Interrupted { .. }));
    }
}
