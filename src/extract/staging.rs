//! Staging and load topics on the core brokers: make, watch, read by position, delete. The
//! technology side of unloads; never talks to the node, never reads a key.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::{Consumer, StreamConsumer};
use rdkafka::error::KafkaError;
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::{Message as _, Offset as Position, TopicPartitionList};

use super::SourceError;
use crate::kafka::{Brokers, Context, Failure, FailureKind, TopicAdmin, retire};
use crate::model::{AttemptName, Partition};

/// Settings of staging topics (DESIGN D4.6): what an unload wrote must not expire while it is
/// delivered, whatever the brokers' defaults are.
const SETTINGS: &[(&str, &str)] =
    &[("cleanup.policy", "delete"), ("retention.ms", "-1"), ("retention.bytes", "-1")];
/// Below this a reader fetches ahead, KiB; it then holds one fetch more. More does not copy faster,
/// and every worker has a reader.
const QUEUE: u32 = 2 << 10;
/// How long a reader may see nothing before it asks whether its offsets are still there.
const IDLE: Duration = Duration::from_secs(2);
/// How long it may see nothing at all.
const STALL: Duration = Duration::from_secs(60);

/// How long the brokers may take for a fence.
const FENCE: Duration = Duration::from_secs(30);

/// Staging topics of the core brokers.
#[derive(Clone)]
pub struct Staging {
    brokers: Brokers,
    admin: Arc<dyn TopicAdmin>,
}

/// A message of a staging topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Staged {
    /// Its offset in the staging partition.
    pub offset: u64,
    /// Key bytes; empty where there is none.
    pub key: Vec<u8>,
    /// Body bytes; empty where there is none.
    pub body: Vec<u8>,
}

impl Staging {
    /// Staging topics on `brokers`. Nothing is asked yet.
    pub fn new(brokers: Brokers, admin: Arc<dyn TopicAdmin>) -> Self {
        Self { brokers, admin }
    }

    /// Creates a topic; one of this name is as good, since names are never used twice (D4.6).
    ///
    /// # Errors
    /// [`SourceError::Brokers`].
    pub async fn create(&self, topic: &str, partitions: u32) -> Result<(), SourceError> {
        match self.admin.create(topic, partitions, SETTINGS).await {
            Err(failure) if failure.kind != FailureKind::TopicExists => Err(failure.into()),
            _ => Ok(()),
        }
    }

    /// Deletes a topic; an unknown one is gone already.
    ///
    /// # Errors
    /// [`SourceError::Brokers`].
    pub async fn delete(&self, topic: &str) -> Result<(), SourceError> {
        Ok(self.admin.delete(topic).await?)
    }

    /// Topics that begin with `prefix`, sorted.
    ///
    /// # Errors
    /// [`SourceError::Brokers`].
    pub async fn list(&self, prefix: &str) -> Result<Vec<String>, SourceError> {
        Ok(self.admin.list(prefix).await?)
    }

    /// By partition, the number of messages; what a watch compares and a seal keeps (D4.7). None
    /// where the topic does not exist.
    ///
    /// # Errors
    /// [`SourceError::Brokers`].
    pub async fn ends(&self, topic: &str) -> Result<Option<Vec<u64>>, SourceError> {
        let ranges = self.admin.ranges(topic).await?;
        Ok(ranges.map(|ranges| ranges.iter().map(|range| whole(range.1)).collect()))
    }

    /// Puts an empty message behind everything that anybody has written so far, and returns where
    /// it lies, by partition. Brokers tell an end only once all replicas have what lies below, while
    /// a writer may have been answered before (acks=1): only a message that all replicas have proves
    /// that everything before it is there to be read.
    ///
    /// # Errors
    /// [`SourceError::Brokers`]; a fence may lie there all the same.
    pub async fn fence(&self, topic: &str, partitions: usize) -> Result<Vec<u64>, SourceError> {
        let context = Context::default();
        let producer: FutureProducer<Context> = self
            .brokers
            .fence(FENCE)
            .create_with_context(context.clone())
            .map_err(|e| Failure::of(&e))?;
        let fences = fences(&producer, &context, topic, partitions).await;
        retire(producer);
        Ok(fences?)
    }

    /// Whether nothing was written to the topic for `quiet`; a missing topic is quiet (D4.12).
    /// Answers early where something comes.
    ///
    /// # Errors
    /// [`SourceError::Brokers`].
    pub async fn quiet_for(&self, topic: &str, quiet: Duration) -> Result<bool, SourceError> {
        let (before, started) = (self.ends(topic).await?, Instant::now());
        while before.is_some() && started.elapsed() < quiet {
            let rest = quiet.saturating_sub(started.elapsed());
            tokio::time::sleep(rest.min(Duration::from_secs(1))).await;
            let now = self.ends(topic).await?;
            if now.is_some() && now != before {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Opens a partition for reading from offset `from` up to, and without, `end`.
    ///
    /// # Errors
    /// [`SourceError::StagingLost`] where these offsets are not all there.
    pub async fn reader(
        &self,
        topic: &AttemptName,
        partition: Partition,
        from: u64,
        end: u64,
    ) -> Result<StagingReader, SourceError> {
        let mut reader = StagingReader {
            admin: Arc::clone(&self.admin),
            topic: topic.clone(),
            partition,
            next: from,
            end,
            consumer: None,
            context: Context::default(),
        };
        if from < end {
            reader.check().await?;
            reader.consumer = Some(reader.assign(&self.brokers)?);
        }
        Ok(reader)
    }
}

/// Sends an empty message to each partition, all at once; returns where each lies.
async fn fences(
    producer: &FutureProducer<Context>,
    context: &Context,
    topic: &str,
    partitions: usize,
) -> Result<Vec<u64>, Failure> {
    let lost = |what: &str| Failure::new(FailureKind::Retryable, what);
    let mut sent = Vec::with_capacity(partitions);
    for partition in 0..i32::try_from(partitions).unwrap_or(i32::MAX) {
        let record = FutureRecord::<(), ()>::to(topic).partition(partition).payload(&());
        sent.push(producer.send_result(record).map_err(|(error, _)| context.explain(&error))?);
    }
    let mut places = Vec::with_capacity(partitions);
    for sent in sent {
        let told = sent.await.map_err(|_| lost("the client gave up"))?;
        let place = told.map_err(|(error, _)| context.explain(&error))?;
        places.push(u64::try_from(place.offset).map_err(|_| lost("a position was not told"))?);
    }
    Ok(places)
}

/// An offset of the log as a count; offsets are never negative.
fn whole(offset: i64) -> u64 {
    u64::try_from(offset).unwrap_or(0)
}

/// Reads a sealed partition in order. Fetches ahead, at most two fetches.
pub struct StagingReader {
    admin: Arc<dyn TopicAdmin>,
    topic: AttemptName,
    partition: Partition,
    next: u64,
    end: u64,
    /// None where there is nothing to read.
    consumer: Option<StreamConsumer<Context>>,
    context: Context,
}

impl StagingReader {
    /// The next message; none at the end.
    ///
    /// # Errors
    /// [`SourceError::StagingLost`] where offsets below the end are not there (any more): a chunk
    /// number is a position, so a hole would shift every later chunk (D4.7).
    pub async fn next(&mut self) -> Result<Option<Staged>, SourceError> {
        let mut waited = Duration::ZERO;
        while self.next < self.end {
            match self.receive().await {
                Ok(Ok(staged)) => return self.accept(staged).map(Some),
                Ok(Err(error)) => self.judge(&error).await?,
                Err(_) => {
                    waited += IDLE;
                    self.check().await?;
                }
            }
            if waited >= STALL {
                let silence = Failure::new(FailureKind::Unreachable, "no message for 60 s");
                return Err(self.context.add_complaint(silence).into());
            }
        }
        Ok(None)
    }

    async fn receive(&self) -> Result<Result<Staged, KafkaError>, tokio::time::error::Elapsed> {
        let Some(consumer) = &self.consumer else { return Ok(Err(KafkaError::Canceled)) };
        let next = tokio::time::timeout(IDLE, consumer.recv()).await?;
        Ok(next.map(|message| Staged {
            offset: whole(message.offset()),
            key: message.key().unwrap_or_default().to_vec(),
            body: message.payload().unwrap_or_default().to_vec(),
        }))
    }

    fn accept(&mut self, staged: Staged) -> Result<Staged, SourceError> {
        if staged.offset != self.next {
            return Err(self.lost());
        }
        self.next += 1;
        Ok(staged)
    }

    /// Whether a consumer's error ends the reading. Lost connections it repairs by itself.
    async fn judge(&self, error: &KafkaError) -> Result<(), SourceError> {
        if let KafkaError::PartitionEOF(_) = error {
            return Err(self.lost());
        }
        let failure = self.context.explain(error);
        match failure.kind {
            FailureKind::OutOfRange => Err(self.lost()),
            FailureKind::NoTopic => self.check().await,
            // Told of the consumer group, which is never joined.
            FailureKind::NoRights if failure.reason.contains("Group") => Ok(()),
            FailureKind::NoRights | FailureKind::Refused => Err(failure.into()),
            _ => Ok(()),
        }
    }

    /// Asks whether the offsets still to be read are there.
    async fn check(&self) -> Result<(), SourceError> {
        let ranges = self.admin.ranges(&self.topic.0).await?.unwrap_or_default();
        let range = usize::try_from(self.partition.0).ok().and_then(|p| ranges.get(p));
        match range {
            Some(range) if whole(range.0) <= self.next && self.end <= whole(range.1) => Ok(()),
            _ => Err(self.lost()),
        }
    }

    fn assign(&self, brokers: &Brokers) -> Result<StreamConsumer<Context>, Failure> {
        let consumer: StreamConsumer<Context> = brokers
            .consumer(QUEUE)
            .create_with_context(self.context.clone())
            .map_err(|e| Failure::of(&e))?;
        let mut list = TopicPartitionList::new();
        let from = Position::Offset(i64::try_from(self.next).unwrap_or(i64::MAX));
        list.add_partition_offset(&self.topic.0, self.partition.0, from)
            .and_then(|()| consumer.assign(&list))
            .map_err(|e| Failure::of(&e))?;
        Ok(consumer)
    }

    fn lost(&self) -> SourceError {
        SourceError::StagingLost {
            attempt: self.topic.clone(),
            partition: self.partition,
            end: self.end,
        }
    }
}

impl Drop for StagingReader {
    fn drop(&mut self) {
        if let Some(consumer) = self.consumer.take() {
            retire(consumer);
        }
    }
}

impl From<Failure> for SourceError {
    fn from(failure: Failure) -> Self {
        Self::Brokers { reason: failure.reason }
    }
}
