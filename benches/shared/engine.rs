//! A backup by the real engine: real staging reader, real sink, real topic; only the node and its
//! unloads are stand-ins, so that nothing but delivery takes time.

use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use deltakeep::backup::{Backup, Event, Settings, Watch, World};
use deltakeep::catalog::kafka::KafkaTopic;
use deltakeep::deliver::kafka::{Delivery, KafkaSink};
use deltakeep::extract::prostore::{ProstoreNode, Timeouts};
use deltakeep::extract::source::{
    Patience, ProstoreSource, SealedReader, StagedMessage, StagedReader, StagingTopics,
    connector_key,
};
use deltakeep::extract::staging::{Staging, StagingReader};
use deltakeep::extract::{Discard, Half, Seal, Source, SourceError, UnloadStep};
use deltakeep::journal::{Journal, JournalError, Record, Saved, Shape};
use deltakeep::model::{
    Attempt, AttemptName, Change, Datamart, Datasource, Delta, DeltaDate, DeltaNum, LockCode,
    Owner, Part, Partition, RunId, Table,
};
use deltakeep::testing::Memory;
use tokio::sync::watch;
use uuid::Uuid;

use crate::cluster::Cluster;
use crate::data::{self, Filled};
use crate::measure::{Mark, Spent};

/// Backs the staged rows up into `topic`. What it returns was spent from the seal to the moment
/// the table was durable and journalled; everything else is stand-ins or done once for a run.
pub async fn back_up<J: Journal>(
    cluster: &Cluster,
    filled: &Filled,
    topic: &str,
    threads: u32,
    journal: J,
) -> Spent {
    let stopwatch = Arc::new(Stopwatch::default());
    let journal = Timed { journal, spent: stopwatch.clone() };
    let (_never, stop) = watch::channel(false);
    let world = RealDelivery::new(cluster, filled, topic);
    let settings = settings(topic, threads);
    let backup =
        Backup::<RealDelivery<Timed<J>>>::open(world, journal, settings, stopwatch.clone(), stop);
    let summary = backup.expect("the journal opens").execute().await.expect("the run succeeds");
    assert_eq!(summary.chunks, filled.messages() + 1, "chunks and the changelog");
    stopwatch.spent()
}

/// As the command line has them.
pub fn settings(topic: &str, threads: u32) -> Settings {
    let datamart = Datamart::parse("shop").expect("a plain name");
    let nonce = AtomicU64::new(0);
    Settings {
        code: LockCode::new(&datamart, 1),
        datamart,
        topic: topic.to_owned(),
        owner: Owner { run: RunId(Uuid::new_v4()), day: 1, started: "now".into() },
        shape: Shape {
            datasource: None,
            datasource_fallback: false,
            chunk_size: data::ROWS as u32,
            threads,
            partitions: 1,
            checksums: false,
            asked: None,
            fill_gaps: false,
        },
        // A repetition would be measured as if it were slowness.
        retries: 0,
        accept_retention: true,
        tool: "bench".into(),
        commit_every: Duration::from_secs(1),
        commit_bytes: 64 << 20,
        pause: Duration::from_secs(1),
        nonce: Arc::new(move || nonce.fetch_add(1, Ordering::Relaxed)),
    }
}

/// A journal that tells how long it took.
struct Timed<J> {
    journal: J,
    spent: Arc<Stopwatch>,
}

impl<J: Journal> Journal for Timed<J> {
    fn saved(&self) -> Result<Saved, JournalError> {
        self.journal.saved()
    }

    fn write(&mut self, batch: &[Record]) -> Result<(), JournalError> {
        let started = Instant::now();
        let written = self.journal.write(batch);
        self.spent.lock().journal += started.elapsed();
        written
    }

    fn end(&mut self, summary: &str) -> Result<(), JournalError> {
        self.journal.end(summary)
    }
}

/// Takes the time between two events, and the journal's part of it.
#[derive(Default)]
struct Stopwatch(Mutex<Taken>);

#[derive(Default)]
struct Taken {
    began: Option<Mark>,
    spent: Option<Spent>,
    journal: Duration,
}

impl Stopwatch {
    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn spent(&self) -> Spent {
        self.lock().spent.expect("the table was archived")
    }
}

impl Watch for Stopwatch {
    fn tell(&self, event: Event) {
        let mut taken = self.lock();
        match event {
            Event::Sealed { .. } => {
                *taken = Taken { began: Some(Mark::now()), ..Taken::default() };
            }
            Event::Archived { .. } => {
                let spent = taken.began.as_ref().map(Mark::spent);
                taken.spent = spent.map(|spent| Spent { journal: taken.journal, ..spent });
            }
            Event::Warning { text } => println!("warning: {text}"),
            _ => {}
        }
    }
}

/// The worlds.
pub struct RealDelivery<J> {
    node: Memory,
    source: Unloaded,
    sink: KafkaSink,
    topic: KafkaTopic,
    journal: PhantomData<fn() -> J>,
}

impl<J> RealDelivery<J> {
    /// Over a staging topic that is filled already.
    pub fn new(cluster: &Cluster, filled: &Filled, topic: &str) -> Self {
        let (brokers, admin) = (cluster.brokers.clone(), cluster.admin.clone());
        Self {
            node: node(),
            source: Unloaded::new(cluster, filled),
            sink: KafkaSink::new(brokers, admin, topic, Delivery::Transactions),
            topic: cluster.topic(topic),
            journal: PhantomData,
        }
    }
}

impl<J: Journal> World for RealDelivery<J> {
    type Node = Memory;
    type Source = Unloaded;
    type Sink = KafkaSink;
    type Topic = KafkaTopic;
    type Journal = J;

    fn node(&self) -> &Memory {
        &self.node
    }

    fn source(&self) -> &Unloaded {
        &self.source
    }

    fn sink(&self) -> &KafkaSink {
        &self.sink
    }

    fn topic(&self) -> &KafkaTopic {
        &self.topic
    }
}

/// A datamart of one delta and one table.
fn node() -> Memory {
    let memory = Memory::new(1);
    let mut inner = memory.lock();
    let date = DeltaDate(1_700_000_000_000_000);
    inner.deltas.push(Delta { num: DeltaNum(0), date, cn_from: 0, cn_to: 0 });
    let table = data::table();
    let query = data::CREATE.to_owned();
    let entity = table.name.0.clone();
    inner.changes.0.push(Change { num: 0, entity, query, delta: None, finished: true });
    inner.tables.push(table);
    drop(inner);
    memory
}

/// Unloads that are done already: every attempt is the filled topic, read by the real reader.
pub struct Unloaded {
    source: ProstoreSource<Topics>,
    filled: Filled,
}

impl Unloaded {
    fn new(cluster: &Cluster, filled: &Filled) -> Self {
        let datamart = Datamart::parse("shop").expect("a plain name");
        // Reading asks the node nothing.
        let nobody = "127.0.0.1:1".to_owned();
        let node = ProstoreNode::new(nobody, datamart, None, Timeouts::default());
        let node = node.expect("an HTTP client");
        let topics = Topics(Staging::new(cluster.brokers.clone(), cluster.admin.clone()));
        let source = ProstoreSource::new(node, topics, connector_key, Patience::default());
        Self { source, filled: filled.clone() }
    }
}

impl Source for Unloaded {
    type Reader = SealedReader<Messages>;

    async fn unload(
        &self,
        _attempt: &Attempt,
        _table: &Table,
        _tell: &(dyn Fn(UnloadStep) + Send + Sync),
    ) -> Result<Seal, SourceError> {
        Ok(Seal { ends: self.filled.ends.clone() })
    }

    /// Never asked: the delta has one write operation.
    async fn unload_part(
        &self,
        attempt: &Attempt,
        _table: &Table,
        _part: Part,
        _tell: &(dyn Fn(UnloadStep) + Send + Sync),
    ) -> Result<Seal, SourceError> {
        let (statement, message) = (attempt.name.0.clone(), "no parts here".to_owned());
        Err(SourceError::PartRefused { statement, message })
    }

    async fn rows(
        &self,
        delta: DeltaNum,
        table: &Table,
        datasource: Option<&Datasource>,
        half: Half,
    ) -> Result<u64, SourceError> {
        self.source.rows(delta, table, datasource, half).await
    }

    async fn read(
        &self,
        attempt: &Attempt,
        partition: Partition,
        from: u64,
        end: u64,
    ) -> Result<Self::Reader, SourceError> {
        let name = AttemptName(self.filled.topic.clone());
        let attempt = Attempt { name, ..attempt.clone() };
        self.source.read(&attempt, partition, from, end).await
    }

    async fn discard(&self, _name: &AttemptName, _answered: bool) -> Result<Discard, SourceError> {
        Ok(Discard::Gone)
    }

    async fn leftovers(&self, _run: RunId) -> Result<Vec<AttemptName>, SourceError> {
        Ok(Vec::new())
    }
}

/// Staging topics, of which only the reading is real.
pub struct Topics(Staging);

impl StagingTopics for Topics {
    type Reader = Messages;

    async fn create(&self, _name: &AttemptName, _partitions: u32) -> Result<(), SourceError> {
        Ok(())
    }

    async fn delete(&self, _name: &AttemptName) -> Result<(), SourceError> {
        Ok(())
    }

    async fn list(&self, _prefix: &str) -> Result<Vec<String>, SourceError> {
        Ok(Vec::new())
    }

    async fn ends(&self, _name: &AttemptName) -> Result<Vec<u64>, SourceError> {
        Ok(Vec::new())
    }

    async fn fence(&self, _name: &AttemptName) -> Result<Vec<u64>, SourceError> {
        Ok(Vec::new())
    }

    async fn quiet(&self, _name: &AttemptName, _wait: Duration) -> Result<bool, SourceError> {
        Ok(true)
    }

    async fn reader(
        &self,
        name: &AttemptName,
        partition: Partition,
        from: u64,
        end: u64,
    ) -> Result<Messages, SourceError> {
        Ok(Messages(self.0.reader(name, partition, from, end).await?))
    }
}

/// Messages of the filled topic.
pub struct Messages(StagingReader);

impl StagedReader for Messages {
    async fn next(&mut self) -> Result<Option<StagedMessage>, SourceError> {
        let message = self.0.next().await?;
        Ok(message.map(|m| StagedMessage { offset: m.offset, key: m.key, body: m.body }))
    }
}
