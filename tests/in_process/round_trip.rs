//! Random histories, backed up in several runs and restored under another name: equal rows, sums
//! and dates at every delta, an equal changelog, and nothing left behind. No server is needed.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use deltakeep::catalog::kafka::KafkaTopic;
use deltakeep::extract::prostore::ProstoreNode;
use deltakeep::journal::RestoreShape;
use deltakeep::load::kafka::KafkaLoads;
use deltakeep::model::{Owner, RunId};
use deltakeep::restore::{Dates, Restore, Settings, Summary, Unwatched, Wanted, World};
use deltakeep::testing::{Memory, MemoryJournal};
use tokio::sync::watch;
use uuid::Uuid;

use crate::random_history::{History, answer};
use crate::rig::{Rig, TOPIC, Warnings};

const HISTORIES: u64 = 300;
/// At work side by side.
const LANES: u64 = 16;

struct Parts {
    target: ProstoreNode,
    loads: KafkaLoads,
    topic: KafkaTopic,
}

/// The target on the rig's node, and the rig's broker.
struct Target(Arc<Parts>);

impl World for Target {
    type Target = ProstoreNode;
    type Loads = KafkaLoads;
    type Topic = KafkaTopic;
    type Journal = MemoryJournal;

    fn target(&self) -> &ProstoreNode {
        &self.0.target
    }

    fn loads(&self) -> &KafkaLoads {
        &self.0.loads
    }

    fn topic(&self) -> &KafkaTopic {
        &self.0.topic
    }
}

/// Restores `d` into `copy`.
async fn restore(rig: &Rig, history: &mut History) -> Summary {
    let (brokers, admin) = (rig.broker.brokers().clone(), rig.broker.clone());
    let target = rig.client("copy");
    let loads = KafkaLoads::new(brokers.clone(), admin.clone(), 0);
    let topic = KafkaTopic::new(brokers, admin, TOPIC);
    let world = Target(Arc::new(Parts { target, loads, topic }));
    let settings = Settings {
        topic: TOPIC.to_owned(),
        owner: Owner { run: RunId(Uuid::new_v4()), day: 21, started: "now".to_owned() },
        shape: RestoreShape {
            source: "d".to_owned(),
            target: "copy".to_owned(),
            threads: 1 + history.chance().below(3) as u32,
            partitions: 1 + history.chance().below(3) as u32,
            message_limit: None,
            datasource: None,
            accept_differences: false,
        },
        wanted: Wanted::default(),
        dates: Dates::Keep,
        skip: BTreeSet::new(),
        retries: 0,
        pause: Duration::from_millis(50),
        patience: Duration::from_secs(60),
        keep_marker: false,
        nonce: Arc::new(|| Uuid::new_v4().as_u64_pair().0),
    };
    let journal = MemoryJournal::new(&Memory::new(1));
    let (_never, stop) = watch::channel(false);
    let restore = Restore::open(world, journal, settings, Arc::new(Unwatched), stop);
    restore.expect("the journal opens").execute().await.expect("a restore")
}

/// One to three backups of one to three deltas each, schema changes between and after them.
async fn back_up(rig: &mut Rig, history: &mut History) {
    for _ in 0..1 + history.chance().below(3) {
        for _ in 0..1 + history.chance().below(3) {
            let delta = history.delta();
            for change in &delta.changes {
                rig.sql(change).await;
            }
            rig.sql("BEGIN DELTA").await;
            for write in &delta.writes {
                rig.sql(write).await;
            }
            rig.sql(&format!("COMMIT DELTA SET '{}'", delta.date)).await;
        }
        for change in history.changes() {
            rig.sql(&change).await;
        }
        rig.shape.chunk_size = 1 + history.chance().below(9) as u32;
        rig.backup(&Warnings::default()).await.expect("a backup");
    }
}

/// Everything that a restore promises; returns how many rows it was.
async fn judge(rig: &Rig, why: &str, history: &History) -> u64 {
    let mut rows = 0;
    for question in history.questions() {
        let [source, target] = ["d", "copy"]
            .map(|datamart| async { answer(datamart, rig.ask(datamart, &question).await) });
        let (source, target) = (source.await, target.await);
        assert_eq!(target, source, "{why}: {question}");
        rows += if question.starts_with("SELECT") { source.len() as u64 } else { 0 };
    }
    let left = rig.entities("copy").await;
    assert!(!left.iter().any(|name| name.starts_with("deltakeep")), "{why}: {left:?}");
    let topics = rig.topics("deltakeep_").await;
    assert!(topics.is_empty(), "{why}: {topics:?}");
    rows
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_histories_come_back_with_equal_rows_at_every_delta() {
    let (next, rows, parts) = (AtomicU64::new(1), AtomicU64::new(0), AtomicU64::new(0));
    let lane = async || loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed > HISTORIES {
            return;
        }
        let (mut rig, mut history) = (Rig::new().await, History::new(seed));
        back_up(&mut rig, &mut history).await;
        let summary = restore(&rig, &mut history).await;
        let why = format!("seed {seed}");
        assert_eq!(summary.deltas.len() as u64, history.deltas(), "{why}");
        assert!(summary.findings.different.is_empty(), "{why}: {:?}", summary.findings);
        rows.fetch_add(judge(&rig, &why, &history).await, Ordering::Relaxed);
        let manifests = rig.manifests().await;
        let tables = manifests.values().flat_map(|manifest| &manifest.tables);
        let in_parts = tables.filter(|table| table.parts.is_some()).count();
        parts.fetch_add(in_parts as u64, Ordering::Relaxed);
    };
    futures_util::future::join_all((0..LANES).map(|_| lane())).await;
    let (rows, parts) = (rows.into_inner(), parts.into_inner());
    println!("{HISTORIES} histories, {rows} rows compared, {parts} pairs in parts");
    assert!(rows > 20 * HISTORIES && parts > HISTORIES / 3, "{rows} rows, {parts} in parts");
}
