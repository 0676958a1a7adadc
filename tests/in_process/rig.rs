//! A sandbox node, an in-process broker and backups of one datamart between them. Owns no test.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use deltakeep::backup::{Backup, Estimate, Event, RunError, Settings, Summary, Watch, World};
use deltakeep::catalog::TopicReader;
use deltakeep::cli::wiring::{RealWorld, assemble};
use deltakeep::extract::prostore::{ProstoreNode, Timeouts};
use deltakeep::format::{self, Manifest};
use deltakeep::journal::Shape;
use deltakeep::journal::sled_store::SledJournal;
use deltakeep::kafka::TopicAdmin;
use deltakeep::kafka::mock::MockAdmin;
use deltakeep::model::{Datamart, DeltaNum, IncrementId, LockCode, MessageKey, Owner, RunId};
use deltakeep::sandbox::{Fault, Options, Sandbox};
use tokio::sync::watch;
use uuid::Uuid;

pub const TOPIC: &str = "backup";
/// The broker keeps 5 MiB of each.
const PARTITIONS: u32 = 8;

/// A node with the datamart `d`, and where its backup goes.
pub struct Rig {
    pub node: Sandbox,
    pub shape: Shape,
    pub broker: Arc<MockAdmin>,
    folder: tempfile::TempDir,
}

/// Warnings that a run told.
#[derive(Clone, Default)]
pub struct Warnings(pub Arc<Mutex<Vec<String>>>);

impl Watch for Warnings {
    fn tell(&self, event: Event) {
        if let Event::Warning { text } = event {
            self.0.lock().expect("no test panicked here").push(text);
        }
    }
}

impl Rig {
    pub async fn new() -> Self {
        Self::with(Options::default()).await
    }

    pub async fn with(options: Options) -> Self {
        let broker = MockAdmin::start().expect("a broker");
        let options = Options { kafka: broker.brokers().list().to_owned(), ..options };
        let node = Sandbox::start(options).await.expect("a node");
        let shape = Shape {
            datasource: None,
            datasource_fallback: false,
            chunk_size: 1000,
            threads: 4,
            partitions: PARTITIONS,
            checksums: true,
            asked: None,
            fill_gaps: false,
        };
        let folder = tempfile::tempdir().expect("a folder");
        let rig = Self { node, shape, broker, folder };
        rig.sql("CREATE DATABASE d").await;
        rig
    }

    /// Runs a statement that must succeed.
    pub async fn sql(&self, sql: &str) -> Vec<serde_json::Value> {
        self.ask("d", sql).await
    }

    /// Runs a statement about any datamart that must succeed.
    pub async fn ask(&self, datamart: &str, sql: &str) -> Vec<serde_json::Value> {
        let done = self.node.execute(datamart, sql).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
        done["result"].as_array().cloned().unwrap_or_default()
    }

    /// Names of a datamart's entities, external tables among them.
    pub async fn entities(&self, datamart: &str) -> Vec<String> {
        self.client(datamart).entities().await.expect("entities")
    }

    /// Topics that begin so.
    pub async fn topics(&self, prefix: &str) -> Vec<String> {
        self.broker.list(prefix).await.expect("topics")
    }

    /// The node's client for a datamart.
    pub fn client(&self, datamart: &str) -> ProstoreNode {
        let datamart = Datamart::parse(datamart).expect("a name");
        let address = self.node.address().to_string();
        ProstoreNode::new(address, datamart, None, Timeouts::default()).expect("a client")
    }

    /// Closes a delta of these statements; deltas are a minute apart.
    pub async fn delta(&self, number: u64, statements: &[String]) {
        self.sql("BEGIN DELTA").await;
        for statement in statements {
            self.sql(statement).await;
        }
        let (hours, minutes) = (number / 60, number % 60);
        self.sql(&format!("COMMIT DELTA SET '2026-01-01 {hours:02}:{minutes:02}:00'")).await;
    }

    pub fn fault(&self, fault: &str) {
        self.node.add_fault(fault.parse::<Fault>().expect("a fault"));
    }

    fn world(&self) -> RealWorld {
        let brokers = self.broker.brokers().clone();
        assemble(self.client("d"), brokers, self.broker.clone(), TOPIC, Duration::from_secs(1))
    }

    /// A backup, from wherever the journal stands.
    pub async fn backup(&self, watch: &Warnings) -> Result<Summary, RunError> {
        let journal = SledJournal::open(&self.folder.path().join("journal")).expect("a journal");
        let (_never, stop) = watch::channel(false);
        let backup =
            Backup::open(self.world(), journal, self.settings(), Arc::new(watch.clone()), stop);
        backup.expect("the journal opens").execute().await
    }

    /// What a dry run foretells.
    pub async fn estimate(&self, most: u64) -> Estimate {
        let journal = SledJournal::open(&self.folder.path().join("dry-run")).expect("a journal");
        let (_never, stop) = watch::channel(false);
        let watch = Arc::new(Warnings::default());
        let backup = Backup::open(self.world(), journal, self.settings(), watch, stop);
        let backup = backup.expect("the journal opens");
        let draft = backup.draft().await.expect("a draft");
        backup.estimate(&draft, most).await.expect("an estimate")
    }

    /// There is no backup topic yet.
    pub async fn no_topic(&self) -> bool {
        self.world().topic().state().await.expect("a state").is_none()
    }

    fn settings(&self) -> Settings {
        let datamart = Datamart::parse("d").expect("a name");
        Settings {
            code: LockCode::new(&datamart, 21),
            datamart,
            topic: TOPIC.to_owned(),
            owner: Owner { run: RunId(Uuid::new_v4()), day: 21, started: "now".to_owned() },
            shape: self.shape.clone(),
            retries: 3,
            accept_retention: true,
            tool: "test".to_owned(),
            commit_every: Duration::from_secs(1),
            commit_bytes: 64 << 20,
            pause: Duration::from_millis(50),
            nonce: Arc::new(|| Uuid::new_v4().as_u64_pair().0),
        }
    }

    /// `t (id bigint, v varchar)` with these rows in delta 0.
    pub async fn filled(self, rows: u64) -> Self {
        let columns = "(id bigint not null, v varchar, PRIMARY KEY (id)) DISTRIBUTED BY (id)";
        self.sql(&format!("CREATE TABLE t {columns}")).await;
        self.delta(0, &[format!("SANDBOX_FILL(t, {rows})")]).await;
        self
    }

    /// Statements that began so.
    pub fn asked(&self, beginning: &str) -> usize {
        self.node.calls().iter().filter(|call| call.starts_with(beginning)).count()
    }

    /// A backup that must come to its end, with all rows of `t` in delta 0 and nothing twice.
    pub async fn backup_of(&self, rows: u64) -> (Summary, Vec<String>) {
        let warnings = Warnings::default();
        let summary = self.backup(&warnings).await.expect("a backup");
        let manifests = self.manifests().await;
        let table = &manifests[&DeltaNum(0)].tables[0];
        assert_eq!((table.rows_added, table.rows_removed), (rows, 0), "{table:?}");
        let run = summary.run.expect("a run");
        let issue = summary.reissued.iter().find(|(delta, _)| delta.0 == 0).map_or(0, |r| r.1);
        let increment = IncrementId::of(run, DeltaNum(0), issue);
        let messages = self.messages().await;
        let ours = messages.iter().filter(|(key, _)| key.increment == increment);
        let data = ours.filter(|(key, _)| key.table.is_some());
        let found = data.map(|(_, body)| format::staging_rows(body).expect("rows")).sum::<u64>();
        assert_eq!(found, rows);
        let told = warnings.0.lock().expect("no test panicked here").clone();
        (summary, told)
    }

    /// All messages of the backup topic.
    pub async fn messages(&self) -> Vec<(MessageKey, Vec<u8>)> {
        let world = self.world();
        let state = world.topic().state().await.expect("a state").expect("a topic");
        let from: Vec<_> = state.ranges.iter().map(|(low, _)| *low).collect();
        let mut found = Vec::new();
        let mut each = |seen: deltakeep::catalog::Seen<'_>| {
            found.push((format::decode_key(seen.key).expect("a key"), seen.body.to_vec()));
        };
        world.topic().scan(&from, &mut each).await.expect("the topic is read");
        found
    }

    /// The manifest of every delta; each must be there once.
    pub async fn manifests(&self) -> BTreeMap<DeltaNum, Manifest> {
        let mut manifests = BTreeMap::new();
        for (key, body) in self.messages().await {
            if key.table.is_none() && key.is_last {
                let text = format::read_label(&body).expect("a label").manifest;
                let manifest = Manifest::parse(text.expect("a manifest")).expect("it reads");
                assert!(manifests.insert(key.delta, manifest).is_none(), "{} twice", key.delta);
            }
        }
        manifests
    }
}
