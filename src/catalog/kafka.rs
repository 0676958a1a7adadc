//! The backup topic read through Kafka: what it is, and every committed message of it once. Never
//! writes a message, never commits an offset, never skips to where the log happens to begin.

mod cursor;

use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::{Consumer, StreamConsumer};
use rdkafka::error::KafkaError;
use rdkafka::{Message as _, Offset as Position, TopicPartitionList};

use super::{CatalogError, Seen, TopicReader, TopicState};
use crate::kafka::admin::Range;
use crate::kafka::{Brokers, Context, Failure, FailureKind, TopicAdmin, blocking, retire};
use crate::model::{Offset, Partition};

pub use cursor::KafkaCursor;

/// Settings of topics that we create (DESIGN D5): a backup is kept until its owner deletes it.
const SETTINGS: &[(&str, &str)] = &[
    ("cleanup.policy", "delete"),
    ("retention.ms", "-1"),
    ("retention.bytes", "-1"),
    ("max.message.bytes", "4194304"),
];
/// Settings that [`TopicState`] tells of.
const TOLD: [&str; 4] = ["cleanup.policy", "retention.ms", "retention.bytes", "max.message.bytes"];
/// What a scan fetches ahead, KiB.
const QUEUE: u32 = 16 << 10;
/// How long a scan may see nothing before it asks whether the offsets are still there.
const IDLE: Duration = Duration::from_secs(10);
/// How long it may see nothing at all.
const STALL: Duration = Duration::from_secs(60);
/// How long other writers' open transactions may hold back the end: the brokers' default of the
/// longest transaction there can be.
const OPEN: Duration = Duration::from_secs(15 * 60);
/// How often those are looked at.
const LOOK: Duration = Duration::from_millis(50);
/// Timeout of one question.
const ANSWER: Duration = Duration::from_secs(15);

/// A backup topic on a cluster.
#[derive(Clone)]
pub struct KafkaTopic {
    brokers: Brokers,
    admin: Arc<dyn TopicAdmin>,
    topic: String,
}

type Reader = Arc<StreamConsumer<Context>>;

impl KafkaTopic {
    /// The reader of `topic`. Nothing is asked yet.
    pub fn new(brokers: Brokers, admin: Arc<dyn TopicAdmin>, topic: impl Into<String>) -> Self {
        Self { brokers, admin, topic: topic.into() }
    }

    /// The topic's name.
    pub fn name(&self) -> &str {
        &self.topic
    }

    /// The cluster's id, part of a journal's and a cache's identity (DESIGN D7); none where the
    /// brokers have none.
    ///
    /// # Errors
    /// [`CatalogError::Unreachable`] or [`CatalogError::Refused`].
    pub async fn cluster_id(&self) -> Result<Option<String>, CatalogError> {
        Ok(self.admin.cluster_id().await?)
    }

    async fn ranges(&self) -> Result<Vec<Range>, CatalogError> {
        let missing = || CatalogError::Refused { reason: format!("no topic {}", self.topic) };
        self.admin.ranges(&self.topic).await?.ok_or_else(missing)
    }

    /// The number of partitions to create. Where brokers create topics by themselves, they choose
    /// it (seed: partitionsCount is only for brokers that do not); we then create the topic with
    /// *their* number all the same, because a topic made in passing would have their default
    /// retention, and a backup would expire in it.
    async fn partitions(&self, asked: u32) -> Result<u32, CatalogError> {
        let settings = self.admin.broker_settings().await?;
        let automatic = settings.get("auto.create.topics.enable").is_some_and(|on| on == "true");
        let own = settings.get("num.partitions").and_then(|count| count.parse().ok());
        Ok(own.filter(|_| automatic).unwrap_or(asked))
    }

    fn consumer(&self) -> Result<(Reader, Context), CatalogError> {
        let context = Context::default();
        let config = self.brokers.consumer(QUEUE);
        let consumer = config.create_with_context(context.clone());
        Ok((Arc::new(consumer.map_err(|e| Failure::of(&e))?), context))
    }

    /// Waits until no open transaction lies below the ends: messages of ours can be committed
    /// above another writer's open one, and are hidden until that ends.
    async fn await_stable(&self, reader: &Reader, todo: &[Todo]) -> Result<(), CatalogError> {
        let started = Instant::now();
        for todo in todo {
            while self.stable_end(reader, todo.partition).await? < todo.end {
                if started.elapsed() > OPEN {
                    let reason = format!(
                        "partition {} of {}: a transaction that never ends hides offsets below {}",
                        todo.partition, self.topic, todo.end
                    );
                    return Err(CatalogError::Refused { reason });
                }
                tokio::time::sleep(LOOK).await;
            }
        }
        Ok(())
    }

    async fn stable_end(&self, reader: &Reader, partition: i32) -> Result<i64, CatalogError> {
        let (reader, topic) = (Arc::clone(reader), self.topic.clone());
        let ask = move || {
            let range = reader.fetch_watermarks(&topic, partition, ANSWER);
            range.map(|range| range.1).map_err(|e| Failure::of(&e))
        };
        Ok(blocking(ask).await?)
    }

    fn assign(&self, reader: &Reader, todo: &[Todo]) -> Result<(), Failure> {
        let mut list = TopicPartitionList::new();
        for todo in todo {
            list.add_partition_offset(&self.topic, todo.partition, Position::Offset(todo.next))
                .map_err(|e| Failure::of(&e))?;
        }
        reader.assign(&list).map_err(|e| Failure::of(&e))
    }

    /// Finds out which offset is gone; nothing is wrong where all are there.
    async fn check(&self, todo: &[Todo]) -> Result<(), CatalogError> {
        let ranges = self.ranges().await?;
        for todo in todo.iter().filter(|todo| !todo.done) {
            let range = ranges.get(todo.partition as usize).copied().unwrap_or_default();
            if todo.next < range.0 || todo.end > range.1 {
                return Err(gone(todo.partition, range, todo.next));
            }
        }
        Ok(())
    }

    async fn read(
        &self,
        reader: &Reader,
        context: &Context,
        todo: &mut [Todo],
        each: &mut (dyn FnMut(Seen<'_>) + Send),
    ) -> Result<(), CatalogError> {
        let mut heard = Instant::now();
        while todo.iter().any(|todo| !todo.done) {
            let next = tokio::time::timeout(IDLE, reader.recv()).await;
            match next {
                Ok(Ok(message)) => {
                    heard = Instant::now();
                    let seen = Seen {
                        partition: Partition(message.partition()),
                        offset: Offset(message.offset()),
                        key: message.key().unwrap_or_default(),
                        body: message.payload().unwrap_or_default(),
                    };
                    take(todo, seen, each);
                }
                // Told in order with the messages: all that is readable was read.
                Ok(Err(KafkaError::PartitionEOF(partition))) => {
                    todo.iter_mut()
                        .filter(|t| t.partition == partition)
                        .for_each(|t| t.done = true);
                }
                Ok(Err(error)) => self.judge(context.explain(&error), todo).await?,
                Err(_) => self.check(todo).await?,
            }
            if heard.elapsed() > STALL {
                let silence = Failure::new(FailureKind::Unreachable, "no message for 60 s");
                return Err(context.add_complaint(silence).into());
            }
        }
        Ok(())
    }

    /// Whether a consumer's error ends the scan. Lost connections it repairs by itself.
    async fn judge(&self, failure: Failure, todo: &[Todo]) -> Result<(), CatalogError> {
        match failure.kind {
            FailureKind::OutOfRange | FailureKind::NoTopic => {
                self.check(todo).await?;
                Err(failure.into())
            }
            // Told of the consumer group, which is never joined.
            FailureKind::NoRights if failure.reason.contains("Group") => Ok(()),
            FailureKind::NoRights | FailureKind::Refused => Err(failure.into()),
            _ => Ok(()),
        }
    }
}

/// A partition being read.
struct Todo {
    partition: i32,
    next: i64,
    end: i64,
    done: bool,
}

/// Shows a message below its partition's end; at the end the partition is done.
fn take(todo: &mut [Todo], seen: Seen<'_>, each: &mut (dyn FnMut(Seen<'_>) + Send)) {
    let Some(todo) = todo.iter_mut().find(|todo| todo.partition == seen.partition.0) else {
        return;
    };
    if todo.done {
        return;
    }
    if seen.offset.0 < todo.end {
        each(seen);
    }
    todo.next = seen.offset.0 + 1;
    todo.done = todo.next >= todo.end;
}

/// What is to be read of each partition that has something to read.
fn plan(ranges: &[Range], from: &[Offset]) -> Result<Vec<Todo>, CatalogError> {
    if let Some(extra) = from.iter().skip(ranges.len()).position(|offset| offset.0 > 0) {
        let partition = ranges.len() + extra;
        return Err(gone(partition as i32, (0, 0), from[partition].0));
    }
    let mut todo = Vec::new();
    for (partition, range) in ranges.iter().enumerate() {
        let partition = partition as i32;
        // A partition added since is read from where it begins.
        let next = from.get(partition as usize).map_or(range.0, |offset| offset.0);
        if next < range.0 || next > range.1 {
            return Err(gone(partition, *range, next));
        }
        if next < range.1 {
            todo.push(Todo { partition, next, end: range.1, done: false });
        }
    }
    Ok(todo)
}

fn gone(partition: i32, range: Range, wanted: i64) -> CatalogError {
    CatalogError::Gone {
        partition: Partition(partition),
        low: Offset(range.0),
        high: Offset(range.1),
        wanted: Offset(wanted),
    }
}

impl From<Failure> for CatalogError {
    fn from(failure: Failure) -> Self {
        let reason = failure.reason;
        match failure.kind {
            FailureKind::Unreachable | FailureKind::Retryable => Self::Unreachable { reason },
            _ => Self::Refused { reason },
        }
    }
}

impl TopicReader for KafkaTopic {
    async fn state(&self) -> Result<Option<TopicState>, CatalogError> {
        let Some(ranges) = self.admin.ranges(&self.topic).await? else { return Ok(None) };
        let mut settings = self.admin.settings(&self.topic).await?;
        settings.retain(|name, _| TOLD.contains(&name.as_str()));
        let ranges = ranges.into_iter().map(|range| (Offset(range.0), Offset(range.1))).collect();
        Ok(Some(TopicState { ranges, settings }))
    }

    async fn create(&self, partitions: u32) -> Result<TopicState, CatalogError> {
        if let Some(state) = self.state().await? {
            return Ok(state);
        }
        let partitions = self.partitions(partitions).await?;
        match self.admin.create(&self.topic, partitions, SETTINGS).await {
            Err(failure) if failure.kind != FailureKind::TopicExists => return Err(failure.into()),
            _ => {}
        }
        let lost = || CatalogError::Refused { reason: format!("topic {} vanished", self.topic) };
        self.state().await?.ok_or_else(lost)
    }

    async fn scan(
        &self,
        from: &[Offset],
        each: &mut (dyn FnMut(Seen<'_>) + Send),
    ) -> Result<Vec<Offset>, CatalogError> {
        let ranges = self.ranges().await?;
        let mut todo = plan(&ranges, from)?;
        if !todo.is_empty() {
            let (reader, context) = self.consumer()?;
            self.await_stable(&reader, &todo).await?;
            self.assign(&reader, &todo)?;
            let read = self.read(&reader, &context, &mut todo, each).await;
            retire(reader);
            read?;
        }
        Ok(ranges.into_iter().map(|range| Offset(range.1)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offsets(numbers: &[i64]) -> Vec<Offset> {
        numbers.iter().copied().map(Offset).collect()
    }

    #[test]
    fn offsets_outside_the_log_are_gone() {
        for (from, partition) in [(3, 0), (11, 0)] {
            match plan(&[(4, 10)], &offsets(&[from])) {
                Err(CatalogError::Gone { partition: p, wanted, .. }) => {
                    assert_eq!((p.0, wanted.0), (partition, from));
                }
                _ => panic!("{from} was taken"),
            }
        }
        assert!(matches!(plan(&[(0, 1)], &offsets(&[0, 7])), Err(CatalogError::Gone { .. })));
    }

    #[test]
    fn only_partitions_with_news_are_read_and_new_ones_from_their_beginning() {
        let todo = plan(&[(4, 10), (0, 5), (2, 3)], &offsets(&[10, 3])).unwrap_or_default();
        let read: Vec<_> = todo.iter().map(|t| (t.partition, t.next, t.end)).collect();
        assert_eq!(read, [(1, 3, 5), (2, 2, 3)]);
    }
}
