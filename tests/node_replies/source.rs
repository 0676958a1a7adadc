//! Unloads against a scripted node and brokers in memory.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use deltakeep::extract::source::{
    Patience, ProstoreSource, StagedKey, StagedMessage, StagedReader, StagingTopics,
};
use deltakeep::extract::{ChunkReader, Discard, Half, Seal, Source, SourceError, UnloadStep};
use deltakeep::model::{
    Attempt, AttemptName, Column, ColumnType, Datasource, DeltaNum, Partition, RunId, Table,
    TableName,
};
use uuid::Uuid;

use super::node_of;
use super::server::Answer::{Lost, Never, Recorded};
use super::server::{Answer, Server};

/// A topic: its ends, and how often it will still grow by a message when it is looked at.
type Topic = (Vec<u64>, u32);

/// Brokers in memory.
#[derive(Clone, Default)]
struct Topics(Arc<Mutex<BTreeMap<String, Topic>>>);

struct Messages(Vec<StagedMessage>);

impl StagedReader for Messages {
    async fn next(&mut self) -> Result<Option<StagedMessage>, SourceError> {
        Ok(self.0.pop())
    }
}

impl Topics {
    fn growing(self, times: u32) -> Self {
        self.0.lock().expect("not poisoned").insert(name().0, (vec![0, 0], times));
        self
    }

    fn names(&self) -> Vec<String> {
        self.0.lock().expect("not poisoned").keys().cloned().collect()
    }
}

impl StagingTopics for Topics {
    type Reader = Messages;

    async fn create(&self, name: &AttemptName, partitions: u32) -> Result<(), SourceError> {
        let mut topics = self.0.lock().expect("not poisoned");
        topics.entry(name.0.clone()).or_insert((vec![0; partitions as usize], 0));
        Ok(())
    }

    async fn delete(&self, name: &AttemptName) -> Result<(), SourceError> {
        self.0.lock().expect("not poisoned").remove(&name.0);
        Ok(())
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>, SourceError> {
        Ok(self.names().into_iter().filter(|name| name.starts_with(prefix)).collect())
    }

    async fn ends(&self, name: &AttemptName) -> Result<Vec<u64>, SourceError> {
        let mut topics = self.0.lock().expect("not poisoned");
        let gone = SourceError::Brokers { reason: "no such topic".into() };
        let (ends, grows) = topics.get_mut(&name.0).ok_or(gone)?;
        if *grows > 0 {
            *grows -= 1;
            ends[0] += 1;
        }
        Ok(ends.clone())
    }

    async fn fence(&self, name: &AttemptName) -> Result<Vec<u64>, SourceError> {
        self.ends(name).await
    }

    async fn quiet(&self, name: &AttemptName, wait: Duration) -> Result<bool, SourceError> {
        let before = self.ends(name).await.ok();
        tokio::time::sleep(wait).await;
        Ok(before == self.ends(name).await.ok())
    }

    async fn reader(
        &self,
        _: &AttemptName,
        _: Partition,
        from: u64,
        end: u64,
    ) -> Result<Messages, SourceError> {
        let message = |offset| {
            let key = format!("INSERT FROM t FOR SYSTEM_TIME STARTED IN (1,1)/{offset}");
            StagedMessage { offset, key: key.into_bytes(), body: vec![1] }
        };
        Ok(Messages((from..end).rev().map(message).collect()))
    }
}

/// Keys of these tests are a statement and a chunk number.
fn read_key(key: &[u8]) -> Result<StagedKey, String> {
    let text = std::str::from_utf8(key).map_err(|e| e.to_string())?;
    let (statement, chunk) = text.split_once('/').ok_or("no key")?;
    let chunk = chunk.parse().map_err(|_| "no number")?;
    Ok(StagedKey {
        statement: statement.to_owned(),
        stream: 0,
        stream_total: 1,
        chunk,
        is_last: false,
    })
}

fn run() -> RunId {
    RunId(Uuid::from_u128(0x1234_5678_9abc_def0_1122_3344_5566_7788))
}

fn name() -> AttemptName {
    AttemptName::new(run(), DeltaNum(1), 0, 1, 0xab)
}

fn attempt() -> Attempt {
    Attempt {
        name: name(),
        delta: DeltaNum(1),
        table: TableName("comp".into()),
        datasource: Some(Datasource("adp".into())),
        partitions: 2,
        chunk_size: 10,
    }
}

fn table() -> Table {
    let columns = vec![Column { name: "k1".into(), kind: ColumnType::Int }];
    Table {
        name: TableName("comp".into()),
        columns,
        datasources: Vec::new(),
        primary_key: vec!["k1".into()],
    }
}

fn source(server: &Server, topics: Topics) -> ProstoreSource<Topics> {
    let patience = Patience {
        stall: Duration::from_millis(100),
        tick: Duration::from_millis(10),
        quiet: Duration::from_millis(20),
        quiet_tries: 2,
    };
    ProstoreSource::new(node_of(server), topics, read_key, patience)
}

fn server(insert: Vec<Answer>) -> Server {
    let drop = vec![Recorded("done"), Recorded("drop_missing")];
    let script = vec![
        ("CREATE DOWNLOAD", vec![Recorded("done")]),
        ("INSERT INTO", insert),
        ("DROP DOWNLOAD", drop),
        ("/entities", vec![Recorded("entities")]),
    ];
    Server::start(script)
}

#[tokio::test]
async fn an_unload_takes_its_steps_in_order_and_leaves_no_table() {
    let server = server(vec![Recorded("done")]);
    let topics = Topics::default().growing(1);
    let steps = Mutex::new(Vec::new());
    let tell = |step| steps.lock().expect("not poisoned").push(step);
    let seal = source(&server, topics).unload(&attempt(), &table(), &tell).await;
    assert_eq!(seal.ok(), Some(Seal { ends: vec![1, 0] }));
    let expected = [
        UnloadStep::TopicCreated { partitions: 2 },
        UnloadStep::TableCreated,
        UnloadStep::Inserted { half: Half::Added },
        UnloadStep::Inserted { half: Half::Removed },
        UnloadStep::TableDropped,
    ];
    assert_eq!(steps.into_inner().ok().as_deref(), Some(&expected[..]));
    assert_eq!(server.requests("STARTED IN (1,1) DATASOURCE_TYPE = 'adp'").len(), 1);
    assert_eq!(server.requests("FINISHED IN (1,1) DATASOURCE_TYPE = 'adp'").len(), 1);
    assert_eq!(server.requests("DROP DOWNLOAD").len(), 1);
}

#[tokio::test]
async fn an_unload_that_stands_still_is_given_up_and_the_next_one_gets_twice_the_time() {
    let server = server(vec![Never]);
    let source = source(&server, Topics::default());
    let began = std::time::Instant::now();
    let first = source.unload(&attempt(), &table(), &|_| ()).await;
    let (first_took, began) = (began.elapsed(), std::time::Instant::now());
    let second = source.unload(&attempt(), &table(), &|_| ()).await;
    assert!(matches!(first, Err(SourceError::Stalled { .. })), "{first:?}");
    assert!(matches!(second, Err(SourceError::Stalled { .. })), "{second:?}");
    assert!(first_took >= Duration::from_millis(100), "{first_took:?}");
    assert!(began.elapsed() >= Duration::from_millis(200), "{:?}", began.elapsed());
}

#[tokio::test]
async fn an_unload_that_grows_is_waited_for() {
    let server = server(vec![Never]);
    let source = source(&server, Topics::default().growing(30));
    let began = std::time::Instant::now();
    let unload = source.unload(&attempt(), &table(), &|_| ()).await;
    assert!(matches!(unload, Err(SourceError::Stalled { .. })), "{unload:?}");
    assert!(began.elapsed() >= Duration::from_millis(390), "{:?}", began.elapsed());
}

#[tokio::test]
async fn an_answer_that_is_lost_is_an_error_and_nothing_is_sent_twice() {
    let server = server(vec![Lost]);
    let unload = source(&server, Topics::default()).unload(&attempt(), &table(), &|_| ()).await;
    assert!(matches!(unload, Err(SourceError::Unreachable { .. })), "{unload:?}");
    assert_eq!(server.requests("INSERT INTO").len(), 1);
}

#[tokio::test]
async fn what_an_answered_attempt_leaves_is_deleted_and_again_is_as_good() {
    let server = server(vec![Recorded("done")]);
    let topics = Topics::default().growing(9);
    let source = source(&server, topics.clone());
    assert_eq!(source.leftovers(run()).await.ok(), Some(vec![name()]));
    assert_eq!(source.discard(&name(), true).await.ok(), Some(Discard::Gone));
    assert_eq!(source.discard(&name(), true).await.ok(), Some(Discard::Gone));
    assert_eq!((server.requests("DROP DOWNLOAD").len(), topics.names().len()), (2, 0));
    assert_eq!(source.leftovers(run()).await.ok(), Some(Vec::new()));
}

#[tokio::test]
async fn a_table_whose_topic_is_gone_is_a_leftover_too() {
    let body = r#"[{"mnemonic":"deltakeep_12345678_1_0_1_000000ab"},{"mnemonic":"comp"},
        {"mnemonic":"deltakeep_99999999_1_0_1_000000ab"},{"mnemonic":"deltakeep_owner"}]"#;
    let server = Server::start(vec![("/entities", vec![Answer::Made(200, body)])]);
    let source = source(&server, Topics::default());
    assert_eq!(source.leftovers(run()).await.ok(), Some(vec![name()]));
}

#[tokio::test]
async fn a_topic_that_somebody_still_writes_to_is_quarantined_until_it_is_quiet() {
    let server = server(vec![Recorded("done")]);
    let topics = Topics::default().growing(5);
    let source = source(&server, topics.clone());
    assert_eq!(source.discard(&name(), false).await.ok(), Some(Discard::Quarantined));
    assert_eq!((server.requests("DROP DOWNLOAD").len(), topics.names().len()), (1, 1));
    assert_eq!(source.discard(&name(), false).await.ok(), Some(Discard::Gone));
    assert_eq!(topics.names().len(), 0);
}

#[tokio::test]
async fn chunks_are_read_with_their_keys_and_a_bad_key_names_its_place() {
    let server = server(vec![Recorded("done")]);
    let source = source(&server, Topics::default());
    let mut reader = source.read(&attempt(), Partition(1), 3, 5).await.expect("a reader");
    let mut seen = Vec::new();
    while let Some(chunk) = reader.next().await.expect("a chunk") {
        seen.push((chunk.offset, chunk.half, chunk.chunk));
    }
    assert_eq!(seen, [(3, Half::Added, 3), (4, Half::Added, 4)]);
    let strict = ProstoreSource::new(
        node_of(&server),
        Topics::default(),
        |_| Err("not Avro".to_owned()),
        Patience::default(),
    );
    let mut reader = strict.read(&attempt(), Partition(1), 3, 5).await.expect("a reader");
    let error = reader.next().await.expect_err("a bad key").to_string();
    assert!(error.contains("partition 1 offset 3: not Avro"), "{error}");
}
