//! Random datamarts and runs over them. Owns how a run is built, stopped and gone on with.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use deltakeep::backup::{Backup, Fault, RunError, Settings, Summary, Unwatched, Watch};
use deltakeep::journal::{Record, Shape};
use deltakeep::model::{
    Change, ChangeLog, Column, ColumnType, Datamart, Datasource, Delta, DeltaDate, DeltaNum,
    LockCode, Owner, RunId, Table, TableName,
};
use deltakeep::testing::{Faults, Inner, Memory, MemoryJournal, MemoryWorld, TestRow};
use tokio::sync::watch;
use uuid::Uuid;

use super::catalog::MemoryCache;

/// A scenario: everything follows from its seed.
pub struct Scenario {
    pub memory: Memory,
    pub journal: MemoryJournal,
    pub shape: Shape,
    pub cache: MemoryCache,
    /// Names the run of the next fresh start, and its day.
    pub starts: u32,
    seed: u64,
}

/// How an execution ended.
#[derive(Debug)]
pub enum Ended {
    Done(Summary),
    Failed(RunError),
    Killed,
}

impl Scenario {
    pub fn new(seed: u64) -> Self {
        let memory = Memory::new(seed);
        let shape = fill(&memory);
        let journal = MemoryJournal::new(&memory);
        let cache = MemoryCache::default();
        Self { memory, journal, shape, cache, starts: 0, seed }
    }

    /// One with many rows in several tables.
    pub fn large() -> Self {
        let rows = |s: &Self| s.memory.lock().rows.values().map(Vec::len).sum::<usize>();
        let is_large = |s: &Self| rows(s) > 120 && s.shape.chunk_size < 5;
        (1..).map(Self::new).find(is_large).unwrap()
    }

    pub fn random(&self, below: u64) -> u64 {
        self.memory.lock().random() % below.max(1)
    }

    pub fn set_faults(&self, faults: Faults) {
        self.memory.lock().faults = faults;
    }

    fn settings(&mut self) -> Settings {
        self.starts += 1;
        let day = (self.starts % 28 + 1) as u8;
        let datamart = Datamart::parse("db").unwrap();
        let number = u128::from(self.seed) << 32 | u128::from(self.starts);
        let owner = Owner { run: RunId(Uuid::from_u128(number)), day, started: "now".into() };
        let memory = self.memory.clone();
        Settings {
            code: LockCode::new(&datamart, day),
            datamart,
            topic: "backup".into(),
            owner,
            shape: self.shape.clone(),
            retries: 3,
            accept_retention: false,
            tool: "test".into(),
            commit_every: Duration::from_millis(3),
            commit_bytes: 2000,
            pause: Duration::from_millis(1),
            nonce: Arc::new(move || memory.lock().random()),
        }
    }

    pub fn backup(&mut self) -> Backup<MemoryWorld> {
        self.backup_watched(Arc::new(Unwatched))
    }

    pub fn backup_watched(&mut self, watch: Arc<dyn Watch>) -> Backup<MemoryWorld> {
        let (_never, stop) = watch::channel(false);
        let world = MemoryWorld(self.memory.clone());
        let settings = self.settings();
        let backup = Backup::open(world, self.journal.clone(), settings, watch, stop).unwrap();
        backup.remembering(self.cache.clone())
    }

    /// One execution, killed at the fuse's step.
    pub async fn execute(&mut self, steps: Option<i64>) -> Ended {
        self.memory.fuse().set(steps);
        let backup = self.backup();
        let memory = self.memory.clone();
        let ended = tokio::select! {
            biased;
            () = memory.fuse().blown() => Ended::Killed,
            done = backup.execute() => match done {
                Ok(summary) => Ended::Done(summary),
                Err(error) => Ended::Failed(error),
            },
        };
        drop(backup);
        // The dead journal's error may come before the kill is noticed.
        let ended = if memory.fuse().is_blown() { Ended::Killed } else { ended };
        // Tasks of a killed run are ended before anything else happens, as a dead process's are.
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        self.memory.fuse().set(None);
        ended
    }

    /// What can happen while nobody runs.
    pub fn meanwhile(&mut self) {
        let mut inner = self.memory.lock();
        inner.zombies_write();
        inner.lose_staging();
        drop(inner);
        if self.random(4) == 0 {
            self.cache.lose();
        }
        if self.random(3) == 0 && self.journal.len() > 1 {
            let kept = 1 + self.random(self.journal.len() as u64 - 1) as usize;
            self.journal.cut(kept);
        }
    }

    /// Executes until it is done, without faults at the end.
    pub async fn finish(&mut self) -> Summary {
        self.set_faults(Faults::default());
        match self.execute(None).await {
            Ended::Done(summary) => summary,
            other => panic!("seed {}: the last resume ended with {other:?}", self.seed),
        }
    }

    pub fn records(&self) -> Vec<Record> {
        self.journal.records()
    }
}

/// True for failures that a resume is promised to cure.
pub fn is_resumable(error: &RunError) -> bool {
    matches!(
        error.fault,
        Fault::Source { .. }
            | Fault::Sink(_)
            | Fault::Catalog(_)
            | Fault::GaveUp { .. }
            | Fault::Again(_)
    )
}

fn fill(memory: &Memory) -> Shape {
    let mut inner = memory.lock();
    let tables = 1 + inner.random() % 4;
    let deltas = 1 + inner.random() % 4;
    for number in 0..tables {
        let created = inner.random() % 3;
        let delta = created.checked_sub(1).map(DeltaNum);
        let name = format!("t{number}");
        let query = format!("CREATE TABLE db.{name} (id bigint, v varchar)");
        let change = Change { num: number, entity: name.clone(), query, delta, finished: true };
        inner.changes.0.push(change);
        inner.tables.push(Table {
            name: TableName(name),
            columns: vec![
                Column { name: "id".into(), kind: ColumnType::Bigint },
                Column { name: "v".into(), kind: ColumnType::Varchar(None) },
            ],
            datasources: vec![Datasource("adp".into())],
            primary_key: vec!["id".into()],
        });
    }
    inner.changes.0.sort_by_key(|change| change.delta);
    (0..).zip(&mut inner.changes.0).for_each(|(num, change)| change.num = num);
    let mut histories: BTreeMap<TableName, History> = BTreeMap::new();
    for delta in 0..deltas {
        let num = DeltaNum(delta);
        let date = DeltaDate(1_700_000_000_000_000 + delta as i64 * 1_000_000);
        let cn_from = delta as i64 * 10;
        let operations = if inner.chance(25) { 0 } else { 1 + (inner.random() % 8) as i64 };
        inner.deltas.push(Delta { num, date, cn_from, cn_to: cn_from + operations });
        let log = ChangeLog(inner.changes.0.clone());
        let tables = inner.tables.clone();
        for table in deltakeep::plan::tables_of(num, &tables, &log) {
            let keys = if inner.chance(40) { 8 } else { 1000 };
            let history =
                histories.entry(table.name.clone()).or_insert(History { keys, ..<_>::default() });
            let rows = if inner.chance(30) { 0 } else { inner.random() % 40 };
            let written = history.write(&mut inner, rows, operations > 0);
            let at = (num, table.name.clone());
            inner.rows.insert(at.clone(), written.rows);
            inner.changed.insert(at.clone(), written.versions);
            inner.alive.insert(at, history.now.values().cloned().collect());
        }
    }
    Shape {
        datasource: None,
        datasource_fallback: false,
        chunk_size: 1 + (inner.random() % 9) as u32,
        threads: 1 + (inner.random() % 8) as u32,
        partitions: 1 + (inner.random() % 3) as u32,
        checksums: inner.chance(50),
        asked: None,
        fill_gaps: false,
    }
}

/// A table over its deltas: rows by key. Few keys are written again and again inside one delta.
#[derive(Default)]
struct History {
    keys: u64,
    now: BTreeMap<i64, TestRow>,
}

/// What one delta did to a table.
#[derive(Default)]
struct Written {
    /// Rows added and removed, as the node tells of them.
    rows: Vec<TestRow>,
    /// The versions among them, each once.
    versions: Vec<TestRow>,
}

impl History {
    /// So many writes of single rows; of different ones where the delta has one operation.
    fn write(&mut self, inner: &mut Inner, writes: u64, again: bool) -> Written {
        let mut written = Written::default();
        let (mut touched, mut born) = (BTreeSet::new(), BTreeSet::new());
        for _ in 0..writes {
            let id = (inner.random() % self.keys) as i64;
            if !touched.insert(id) && !again {
                continue;
            }
            match self.now.remove(&id) {
                Some(old) if inner.chance(40) => {
                    // A version that the delta itself added is counted already.
                    if !born.remove(&id) {
                        written.versions.push(old.clone());
                    }
                    written.rows.push(TestRow { sys_op: 1, ..old });
                }
                _ => {
                    let row = self.row(inner, id);
                    born.insert(id);
                    self.now.insert(id, row.clone());
                    written.versions.push(row.clone());
                    written.rows.push(row);
                }
            }
        }
        written
    }

    /// Few values, so that a row comes back as it was.
    fn row(&self, inner: &mut Inner, id: i64) -> TestRow {
        let values = if self.keys > 10 { 50 } else { 4 };
        let v = (!inner.chance(20)).then(|| format!("text {}", inner.random() % values));
        TestRow { id, v, sys_op: 0 }
    }
}
