//! Unloads of a datamart: the node's external tables joined with the staging topics that its
//! connectors write to. Owns the order of steps inside an attempt, the patience with an unload that
//! does not answer, and what becomes of an attempt's leavings (D4.6, D4.7, D4.12). Names no broker
//! technology.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::arrival::Arrival;
use super::prostore::{ProstoreNode, names_the_size};
use super::{
    ChunkReader, Discard, Half, Rows, Seal, Source, SourceError, StagedChunk, UnloadStep, sql,
};
use crate::format;
use crate::model::{
    Attempt, AttemptName, Datasource, DeltaNum, Part, Partition, RunId, Table, TableName,
};

/// A message of a staging topic as it lies there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StagedMessage {
    /// Its offset.
    pub offset: u64,
    /// Key bytes; empty where there is none.
    pub key: Vec<u8>,
    /// Body bytes; empty where there is none.
    pub body: Vec<u8>,
}

/// Reads a range of a staging partition, in order.
pub trait StagedReader: Send {
    /// The next message; none at the end of the range.
    fn next(&mut self) -> impl Future<Output = Result<Option<StagedMessage>, SourceError>> + Send;
}

/// The brokers that the node's connectors write to.
pub trait StagingTopics: Send + Sync + 'static {
    /// Reader of one partition.
    type Reader: StagedReader;

    /// Creates a topic with D4.6's settings; one of this name is ours from a lost answer.
    fn create(
        &self,
        name: &AttemptName,
        partitions: u32,
    ) -> impl Future<Output = Result<(), SourceError>> + Send;

    /// Deletes a topic; none there is as good.
    fn delete(&self, name: &AttemptName) -> impl Future<Output = Result<(), SourceError>> + Send;

    /// Names of the topics that begin with `prefix`.
    fn list(&self, prefix: &str) -> impl Future<Output = Result<Vec<String>, SourceError>> + Send;

    /// By partition: one past the last offset.
    fn ends(
        &self,
        name: &AttemptName,
    ) -> impl Future<Output = Result<Vec<u64>, SourceError>> + Send;

    /// By partition: one past everything that anybody has written so far, whether or not all
    /// replicas have it. What is written later lies beyond.
    fn fence(
        &self,
        name: &AttemptName,
    ) -> impl Future<Output = Result<Vec<u64>, SourceError>> + Send;

    /// Waits so long and tells whether the topic did not grow meanwhile; a missing one does not.
    fn quiet(
        &self,
        name: &AttemptName,
        wait: Duration,
    ) -> impl Future<Output = Result<bool, SourceError>> + Send;

    /// Opens a partition for reading from `from` up to `end`. An offset of the range that is not
    /// there any more is [`SourceError::StagingLost`].
    fn reader(
        &self,
        name: &AttemptName,
        partition: Partition,
        from: u64,
        end: u64,
    ) -> impl Future<Output = Result<Self::Reader, SourceError>> + Send;
}

/// What a connector's key says. Its bytes are the format's business.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StagedKey {
    /// The whole text of the statement that asked for the unload.
    pub statement: String,
    /// Number of the stream, from 0 or 1.
    pub stream: u32,
    /// How many streams the connector says there are.
    pub stream_total: u32,
    /// Number of the message in its stream, from 1.
    pub chunk: u32,
    /// Last-chunk flag.
    pub is_last: bool,
}

/// Reads a connector's key; the text says what is wrong with it.
pub type KeyReader = fn(&[u8]) -> Result<StagedKey, String>;

/// The key as the node's own connectors write it.
///
/// # Errors
/// What is wrong with it.
pub fn connector_key(bytes: &[u8]) -> Result<StagedKey, String> {
    let key = format::decode_staging_key(bytes).map_err(|error| error.to_string())?;
    Ok(StagedKey {
        statement: key.statement.into_owned(),
        stream: key.stream,
        stream_total: key.stream_total,
        chunk: key.chunk,
        is_last: key.is_last,
    })
}

/// How long the unloads of a datamart are waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// Without growth of the staging topic an unload is given up after this, doubled each time it
    /// happens to the same (delta, table).
    pub stall: Duration,
    /// How often growth is looked for.
    pub tick: Duration,
    /// A topic that did not grow for so long is quiet.
    pub quiet: Duration,
    /// How often a topic is given that time before it is left behind.
    pub quiet_tries: u32,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            stall: Duration::from_secs(120),
            tick: Duration::from_secs(1),
            quiet: Duration::from_secs(10),
            quiet_tries: 3,
        }
    }
}

/// Doublings of the patience stop here.
const MOST_DOUBLINGS: u32 = 6;

/// The unloads of one datamart.
pub struct ProstoreSource<T> {
    node: ProstoreNode,
    topics: T,
    read_key: KeyReader,
    patience: Patience,
    /// How often an unload of each (delta, table) stood still.
    stalls: Mutex<BTreeMap<(DeltaNum, TableName), u32>>,
}

impl<T: StagingTopics> ProstoreSource<T> {
    /// Joins a node with the brokers that its connectors write to.
    pub fn new(node: ProstoreNode, topics: T, read_key: KeyReader, patience: Patience) -> Self {
        Self { node, topics, read_key, patience, stalls: Mutex::default() }
    }

    /// One statement. An answer that is lost although the work was done is as good as one that came.
    async fn insert(
        &self,
        attempt: &Attempt,
        table: &Table,
        rows: Rows,
    ) -> Result<(), SourceError> {
        match self.answer(attempt, table, rows).await {
            Err(lost @ SourceError::Unreachable { .. }) => {
                match self.has_arrived(attempt, table, rows).await {
                    Ok(true) => Ok(()),
                    // Why it cannot be known matters less than what was lost.
                    Ok(false) | Err(_) => Err(lost),
                }
            }
            Err(SourceError::Refused { statement, message }) => {
                let wrote = self.has_written(&attempt.name).await;
                Err(if wrote || names_the_size(&message) {
                    SourceError::CutShort { statement, message }
                } else {
                    SourceError::Refused { statement, message }
                })
            }
            answer => answer,
        }
    }

    async fn has_written(&self, name: &AttemptName) -> bool {
        self.topics.ends(name).await.is_ok_and(|ends| ends.iter().any(|end| *end > 0))
    }

    /// Whether all rows of a statement that nobody answered for are there, in whole streams. A topic
    /// that grows is waited for; nothing else that still writes can matter, for the seal will lie
    /// behind what was counted.
    async fn has_arrived(
        &self,
        attempt: &Attempt,
        table: &Table,
        rows: Rows,
    ) -> Result<bool, SourceError> {
        loop {
            while !self.topics.quiet(&attempt.name, self.patience.tick).await? {}
            let arrival = self.arrival(attempt, rows.half()).await?;
            if arrival.is_nothing() {
                return Ok(false);
            }
            let rows = self.selected(attempt, table, rows).await?;
            if arrival.is_whole(rows) {
                tracing::info!(attempt = %attempt.name, rows, "all came though no answer did");
                return Ok(true);
            }
            if self.topics.quiet(&attempt.name, self.patience.quiet).await? {
                return Ok(false);
            }
        }
    }

    /// How many rows a statement of an unload selects in its datasource.
    async fn selected(
        &self,
        attempt: &Attempt,
        table: &Table,
        rows: Rows,
    ) -> Result<u64, SourceError> {
        match rows {
            Rows::Half(half) => {
                self.rows(attempt.delta, table, attempt.datasource.as_ref(), half).await
            }
            Rows::Part(part) => self.node.count_part(attempt, table, part).await,
        }
    }

    async fn arrival(&self, attempt: &Attempt, half: Half) -> Result<Arrival, SourceError> {
        let mut arrival = Arrival::default();
        for (partition, end) in (0..).zip(self.topics.ends(&attempt.name).await?) {
            let mut reader = self.read(attempt, Partition(partition), 0, end).await?;
            while let Some(chunk) = reader.next().await? {
                if chunk.half == half {
                    let rows = format::staging_rows(&chunk.body);
                    let bad =
                        |reason: format::FormatError| reader.bad(chunk.offset, reason.to_string());
                    arrival.take(&chunk, rows.map_err(bad)?);
                }
            }
        }
        Ok(arrival)
    }

    async fn answer(
        &self,
        attempt: &Attempt,
        table: &Table,
        rows: Rows,
    ) -> Result<(), SourceError> {
        match rows {
            Rows::Half(half) => self.watch(attempt, self.node.unload(attempt, table, half)).await,
            Rows::Part(part) => {
                self.watch(attempt, self.node.unload_part(attempt, table, part)).await
            }
        }
    }

    /// Waits for the answer of an unload: it can hang for ever, and only its topic tells a slow one
    /// from a dead one.
    async fn watch(
        &self,
        attempt: &Attempt,
        answer: impl Future<Output = Result<(), SourceError>>,
    ) -> Result<(), SourceError> {
        tokio::pin!(answer);
        let limit = self.limit(attempt);
        let (mut ends, mut still) = (None, Duration::ZERO);
        loop {
            tokio::select! {
                biased;
                answer = &mut answer => return answer,
                () = tokio::time::sleep(self.patience.tick) => {}
            }
            // Brokers that do not answer are no growth either: the connector cannot write.
            let now = self.topics.ends(&attempt.name).await.ok().or_else(|| ends.clone());
            still = if now == ends { still + self.patience.tick } else { Duration::ZERO };
            ends = now;
            if still >= limit {
                return Err(self.stalled(attempt, still));
            }
        }
    }

    async fn unload_all(
        &self,
        attempt: &Attempt,
        table: &Table,
        statements: &[Rows],
        tell: &(dyn Fn(UnloadStep) + Send + Sync),
    ) -> Result<Seal, SourceError> {
        self.topics.create(&attempt.name, attempt.partitions).await?;
        tell(UnloadStep::TopicCreated { partitions: attempt.partitions });
        self.node.create_download(attempt, table).await?;
        tell(UnloadStep::TableCreated);
        for rows in statements {
            self.insert(attempt, table, *rows).await?;
            tell(UnloadStep::Inserted { half: rows.half() });
        }
        // Connectors answer once the leaders have everything (acks=1, PROSTORE 6), but the ends that
        // brokers tell are those that all replicas have: they would cut an unload short.
        let ends = self.topics.fence(&attempt.name).await?;
        self.node.drop_download(&attempt.name).await?;
        tell(UnloadStep::TableDropped);
        Ok(Seal { ends })
    }

    fn limit(&self, attempt: &Attempt) -> Duration {
        let stalls = self.stalls.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (attempt.delta, attempt.table.clone());
        let doublings = stalls.get(&key).copied().unwrap_or(0).min(MOST_DOUBLINGS);
        self.patience.stall * 2_u32.pow(doublings)
    }

    fn stalled(&self, attempt: &Attempt, still: Duration) -> SourceError {
        let mut stalls = self.stalls.lock().unwrap_or_else(PoisonError::into_inner);
        *stalls.entry((attempt.delta, attempt.table.clone())).or_default() += 1;
        SourceError::Stalled { attempt: attempt.name.clone(), seconds: still.as_secs() }
    }

    /// Whether nothing writes to a topic any more, given a bounded time to become so.
    async fn becomes_quiet(&self, name: &AttemptName) -> Result<bool, SourceError> {
        for _ in 0..self.patience.quiet_tries {
            if self.topics.quiet(name, self.patience.quiet).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

impl<T: StagingTopics> Source for ProstoreSource<T> {
    type Reader = SealedReader<T::Reader>;

    async fn unload(
        &self,
        attempt: &Attempt,
        table: &Table,
        tell: &(dyn Fn(UnloadStep) + Send + Sync),
    ) -> Result<Seal, SourceError> {
        let halves = [Rows::Half(Half::Added), Rows::Half(Half::Removed)];
        self.unload_all(attempt, table, &halves, tell).await
    }

    async fn unload_part(
        &self,
        attempt: &Attempt,
        table: &Table,
        part: Part,
        tell: &(dyn Fn(UnloadStep) + Send + Sync),
    ) -> Result<Seal, SourceError> {
        self.unload_all(attempt, table, &[Rows::Part(part)], tell).await
    }

    async fn rows(
        &self,
        delta: DeltaNum,
        table: &Table,
        datasource: Option<&Datasource>,
        half: Half,
    ) -> Result<u64, SourceError> {
        self.node.count_rows(delta, table, datasource, half).await
    }

    async fn read(
        &self,
        attempt: &Attempt,
        partition: Partition,
        from: u64,
        end: u64,
    ) -> Result<Self::Reader, SourceError> {
        let messages = self.topics.reader(&attempt.name, partition, from, end).await?;
        let read_key = self.read_key;
        Ok(SealedReader { messages, attempt: attempt.name.clone(), partition, read_key })
    }

    async fn discard(&self, name: &AttemptName, answered: bool) -> Result<Discard, SourceError> {
        // First the table: an INSERT that is still on its way fails on it.
        self.node.drop_download(name).await?;
        if !answered && !self.becomes_quiet(name).await? {
            return Ok(Discard::Quarantined);
        }
        self.topics.delete(name).await?;
        Ok(Discard::Gone)
    }

    async fn leftovers(&self, run: RunId) -> Result<Vec<AttemptName>, SourceError> {
        let prefix = AttemptName::prefix(run);
        let mut names: BTreeSet<_> = self.topics.list(&prefix).await?.into_iter().collect();
        names.extend(self.node.entities().await?);
        Ok(names.into_iter().filter(|name| name.starts_with(&prefix)).map(AttemptName).collect())
    }
}

/// Reads the chunks of one sealed partition.
pub struct SealedReader<R> {
    messages: R,
    attempt: AttemptName,
    partition: Partition,
    read_key: KeyReader,
}

impl<R: StagedReader> ChunkReader for SealedReader<R> {
    async fn next(&mut self) -> Result<Option<StagedChunk>, SourceError> {
        let message = self.messages.next().await?;
        message.map(|message| self.chunk(message)).transpose()
    }
}

impl<R> SealedReader<R> {
    fn chunk(&self, message: StagedMessage) -> Result<StagedChunk, SourceError> {
        let offset = message.offset;
        let key = (self.read_key)(&message.key).map_err(|reason| self.bad(offset, reason))?;
        let half = sql::half_of(&key.statement);
        let half = half.ok_or_else(|| self.bad(offset, "its key names no half".to_owned()))?;
        Ok(StagedChunk {
            offset,
            half,
            stream: key.stream,
            stream_total: key.stream_total,
            chunk: key.chunk,
            is_last: key.is_last,
            body: message.body,
        })
    }

    fn bad(&self, offset: u64, reason: String) -> SourceError {
        let attempt = self.attempt.clone();
        SourceError::BadChunk { attempt, partition: self.partition, offset, reason }
    }
}
