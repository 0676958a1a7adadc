//! A restore by the real engine: real backup topic, real load topics; only the node is a stand-in
//! that loads nothing and at once, so that nothing but filling takes time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use deltakeep::catalog::kafka::KafkaTopic;
use deltakeep::extract::{Allow, Count, Deny, Mark, Marker, Node, SourceError, Sums, Tables};
use deltakeep::journal::RestoreShape;
use deltakeep::journal::sled_store::SledJournal;
use deltakeep::load::kafka::KafkaLoads;
use deltakeep::load::{Hot, Target};
use deltakeep::model::{
    AttemptName, Change, ChangeLog, Datasource, Delta, DeltaDate, DeltaNum, LockCode, Owner, RunId,
    Table,
};
use deltakeep::restore::{Dates, Event, Restore, Settings, Wanted, Watch, World};
use tokio::sync::watch;
use uuid::Uuid;

use crate::cluster::Cluster;
use crate::data;
use crate::measure::{Mark as Moment, Spent};

/// Fills one load topic from `topic`. What it returns was spent from BEGIN DELTA to the seal.
pub async fn fill(cluster: &Cluster, topic: &str) -> Spent {
    let folder = tempfile::tempdir().expect("a folder");
    let journal = SledJournal::open(&folder.path().join("journal")).expect("a journal");
    let stopwatch = Arc::new(Stopwatch::default());
    let (_never, stop) = watch::channel(false);
    let world = RealFilling {
        target: Stub::default(),
        loads: KafkaLoads::new(cluster.brokers.clone(), cluster.admin.clone(), 4 << 20),
        topic: cluster.topic(topic),
    };
    let restore = Restore::open(world, journal, settings(topic), stopwatch.clone(), stop);
    let summary = restore.expect("the journal opens").execute().await.expect("it succeeds");
    assert_eq!(summary.findings.loads, 1);
    stopwatch.0.lock().unwrap_or_else(PoisonError::into_inner).1.expect("it was filled")
}

/// As the command line has them.
fn settings(topic: &str) -> Settings {
    let nonce = AtomicU64::new(0);
    Settings {
        topic: topic.to_owned(),
        owner: Owner { run: RunId(Uuid::new_v4()), day: 1, started: "now".into() },
        shape: RestoreShape {
            source: "shop".into(),
            target: "shop".into(),
            threads: 1,
            partitions: 1,
            message_limit: None,
            datasource: None,
            accept_differences: false,
        },
        wanted: Wanted::default(),
        dates: Dates::Keep,
        keep_marker: false,
        skip: BTreeSet::new(),
        // A repetition would be measured as if it were slowness.
        retries: 0,
        pause: Duration::from_secs(1),
        patience: Duration::from_secs(10),
        nonce: Arc::new(move || nonce.fetch_add(1, Ordering::Relaxed)),
    }
}

/// Takes the time between two events.
#[derive(Default)]
struct Stopwatch(Mutex<(Option<Moment>, Option<Spent>)>);

impl Watch for Stopwatch {
    fn tell(&self, event: Event) {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::DeltaBegun { .. } => taken.0 = Some(Moment::now()),
            Event::Filled(_) => taken.1 = taken.0.as_ref().map(Moment::spent),
            Event::Warning { text } => println!("warning: {text}"),
            _ => {}
        }
    }
}

/// The worlds.
struct RealFilling {
    target: Stub,
    loads: KafkaLoads,
    topic: KafkaTopic,
}

impl World for RealFilling {
    type Target = Stub;
    type Loads = KafkaLoads;
    type Topic = KafkaTopic;
    type Journal = SledJournal;

    fn target(&self) -> &Stub {
        &self.target
    }

    fn loads(&self) -> &KafkaLoads {
        &self.loads
    }

    fn topic(&self) -> &KafkaTopic {
        &self.topic
    }
}

/// A node that says yes to everything and keeps what it needs to be asked for again.
#[derive(Default)]
struct Stub(Mutex<Known>);

#[derive(Default)]
struct Known {
    changes: ChangeLog,
    deltas: Vec<Delta>,
    hot: Option<Hot>,
    owner: Option<Owner>,
    exists: bool,
}

type Answered<T> = Result<T, SourceError>;

impl Stub {
    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Node for Stub {
    async fn last_delta(&self) -> Answered<Option<Delta>> {
        Ok(self.known().deltas.last().copied())
    }

    async fn delta(&self, num: DeltaNum) -> Answered<Option<Delta>> {
        Ok(self.known().deltas.iter().find(|delta| delta.num == num).copied())
    }

    async fn changes(&self) -> Answered<ChangeLog> {
        Ok(self.known().changes.clone())
    }

    async fn tables(&self) -> Answered<Tables> {
        Ok(Tables { tables: vec![data::table()], views: vec![], unknown: vec![] })
    }

    async fn version(&self) -> Answered<String> {
        Ok("6".into())
    }

    async fn preferred(&self, _: DeltaNum, _: &Table) -> Answered<Option<Datasource>> {
        Ok(None)
    }

    async fn count(
        &self,
        _: DeltaNum,
        _: &Table,
        _: Option<&Datasource>,
        _: Count,
    ) -> Answered<Option<u64>> {
        Ok(None)
    }

    async fn delta_sum(&self, _: DeltaNum) -> Answered<Option<String>> {
        Ok(None)
    }

    async fn table_sums(&self, _: DeltaNum, _: &Table, _: &[String], _: bool) -> Answered<Sums> {
        Ok(Sums::default())
    }

    async fn deny(&self, _: &LockCode) -> Answered<Deny> {
        Ok(Deny::Blocked)
    }

    async fn allow(&self, _: &LockCode) -> Answered<Allow> {
        Ok(Allow::NotBlocked)
    }

    async fn marker(&self) -> Answered<Marker> {
        Ok(self.known().owner.clone().map_or(Marker::Absent, Marker::Of))
    }

    async fn mark(&self, owner: &Owner) -> Answered<Mark> {
        self.known().owner = Some(owner.clone());
        Ok(Mark::Done)
    }

    async fn unmark(&self) -> Answered<()> {
        self.known().owner = None;
        Ok(())
    }
}

impl Target for Stub {
    async fn exists(&self) -> Answered<bool> {
        Ok(self.known().exists)
    }

    async fn create_datamart(&self) -> Answered<()> {
        self.known().exists = true;
        Ok(())
    }

    async fn entities(&self) -> Answered<Vec<String>> {
        Ok(vec![])
    }

    async fn active_datasources(&self) -> Answered<Option<Vec<Datasource>>> {
        Ok(None)
    }

    async fn hot(&self) -> Answered<Option<Hot>> {
        Ok(self.known().hot.clone())
    }

    async fn running(&self) -> Answered<u64> {
        Ok(0)
    }

    async fn execute(&self, query: &str) -> Answered<()> {
        let mut known = self.known();
        let num = known.changes.0.len() as u64;
        let (entity, query) = (String::new(), query.to_owned());
        known.changes.0.push(Change { num, entity, query, delta: None, finished: true });
        Ok(())
    }

    async fn erase_change(&self, _: u64) -> Answered<()> {
        Ok(())
    }

    async fn begin(&self, num: DeltaNum) -> Answered<()> {
        self.known().hot = Some(Hot { num, rolling_back: false, finished: BTreeMap::new() });
        Ok(())
    }

    async fn commit(&self, date: DeltaDate) -> Answered<()> {
        let mut known = self.known();
        let num = known.hot.take().map_or(DeltaNum(0), |hot| hot.num);
        known.deltas.push(Delta { num, date, cn_from: 0, cn_to: 0 });
        Ok(())
    }

    async fn rollback(&self) -> Answered<()> {
        self.known().hot = None;
        Ok(())
    }

    async fn make_upload(&self, _: &AttemptName, _: &Table, _: Option<u32>) -> Answered<()> {
        Ok(())
    }

    async fn insert(&self, _: &AttemptName, table: &Table) -> Answered<()> {
        if let Some(hot) = &mut self.known().hot {
            *hot.finished.entry(table.name.clone()).or_default() += 1;
        }
        Ok(())
    }

    async fn drop_upload(&self, _: &AttemptName) -> Answered<()> {
        Ok(())
    }
}
