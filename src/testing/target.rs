//! The target of the world in memory: a [`Store`] behind the traits, with the node's ways of
//! failing: answers that get lost, loads that go on without their client, successes that loaded
//! nothing, a ROLLBACK that stops half way, a schema change that stays open.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::extract::{Allow, Count, Deny, Mark, Marker, Node, SourceError, Sums, Tables};
use crate::load::{Hot, LoadWriter, Loads, Scratch, Target};
use crate::model::{
    AttemptName, ChangeLog, Column, ColumnType, Datasource, Delta, DeltaDate, DeltaNum, LockCode,
    Owner, RunId, Table, TableName,
};
use crate::restore::World;

use super::journal::MemoryJournal;
use super::rows::{TestRow, read_rows};
use super::store::{Operation, Store, Topic};
use super::world::Memory;

/// How often things go wrong in the target, in percent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TargetFaults {
    /// An answer is lost although the work was done.
    pub lost_answers: u64,
    /// A load is answered as done although nothing was loaded.
    pub silent_loads: u64,
    /// A load fails.
    pub bad_loads: u64,
    /// A rollback stops half way.
    pub bad_rollbacks: u64,
    /// A schema change fails and stays open.
    pub bad_changes: u64,
    /// A load topic loses what was written to it last.
    pub bad_topics: u64,
}

/// Somebody else at work: sees the name of each answer and can change the store behind it.
pub type Intruder = Box<dyn FnMut(&str, &mut Store) + Send>;

/// The target in memory; clones share it.
#[derive(Clone)]
pub struct MemoryTarget {
    memory: Memory,
    store: Arc<Mutex<(Store, TargetFaults)>>,
    intruder: Arc<Mutex<Option<Intruder>>>,
}

type Answered<T> = Result<T, SourceError>;

fn refused(statement: &str, message: String) -> SourceError {
    SourceError::Refused { statement: statement.to_owned(), message }
}

impl MemoryTarget {
    /// A node without the datamart, that burns the fuse of `memory`.
    pub fn new(memory: &Memory) -> Self {
        Self { memory: memory.clone(), store: Arc::default(), intruder: Arc::default() }
    }

    fn lock(&self) -> MutexGuard<'_, (Store, TargetFaults)> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks into it, or changes it.
    pub fn with<R>(&self, at: impl FnOnce(&mut Store) -> R) -> R {
        at(&mut self.lock().0)
    }

    /// How often things go wrong from here on.
    pub fn set_faults(&self, faults: TargetFaults) {
        self.lock().1 = faults;
    }

    /// Lets somebody else work on it, after each answer; nobody any more where none is given.
    pub fn set_intruder(&self, intruder: Option<Intruder>) {
        *self.intruder.lock().unwrap_or_else(PoisonError::into_inner) = intruder;
    }

    fn chance(&self, percent: impl Fn(TargetFaults) -> u64) -> bool {
        let percent = percent(self.lock().1);
        self.memory.lock().chance(percent)
    }

    /// A statement whose answer can be lost after its effect.
    async fn ask<R>(&self, name: &str, effect: impl FnOnce(&mut Store) -> R) -> Answered<R> {
        let effect = |store: &mut Store| {
            let answer = effect(store);
            let mut intruder = self.intruder.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(intruder) = intruder.as_mut() {
                intruder(name, store);
            }
            answer
        };
        let answer = self.memory.call(name, |_| self.with(effect)).await;
        match self.chance(|faults| faults.lost_answers) {
            true => Err(SourceError::Unreachable { node: "memory".into(), reason: name.into() }),
            false => Ok(answer),
        }
    }

    async fn tell<R>(
        &self,
        name: &str,
        effect: impl FnOnce(&mut Store) -> Result<R, String>,
    ) -> Answered<R> {
        self.ask(name, effect).await?.map_err(|message| refused(name, message))
    }

    /// The end of a write operation, whoever waits for it.
    fn end(&self, operation: &Operation) -> Result<(), String> {
        let fails = self.chance(|faults| faults.bad_loads);
        let silent = self.chance(|faults| faults.silent_loads);
        // Nothing says whether the node counts a failed operation.
        let counts = self.memory.lock().chance(50);
        self.with(|store| {
            let topic = store.topics.entry(operation.topic.clone()).or_default();
            let read = std::mem::replace(&mut topic.read, true);
            let rows: Vec<TestRow> = topic.bodies.iter().flat_map(|body| read_rows(body)).collect();
            let blank = topic.bodies.iter().any(|body| read_rows(body).is_empty());
            if !read && (fails || blank || rows.is_empty()) {
                store.end(operation.cn, &[], counts);
                return Err("Mppw load failed: FIRST_OFFSET_TIMEOUT".to_owned());
            }
            let nothing = read || silent;
            store.end(operation.cn, if nothing { &[] } else { &rows }, true);
            Ok(())
        })
    }

    /// Loads that nobody waits for come to their end.
    pub fn zombies_end(&self) {
        let running = self.with(|store| store.hot.as_ref().map(|hot| hot.running.clone()));
        for operation in running.unwrap_or_default() {
            self.end(&operation).ok();
        }
    }
}

impl Node for MemoryTarget {
    async fn last_delta(&self) -> Answered<Option<Delta>> {
        self.ask("last_delta", |store| store.deltas.last().copied()).await
    }

    async fn delta(&self, num: DeltaNum) -> Answered<Option<Delta>> {
        self.ask("delta", |store| store.deltas.iter().find(|d| d.num == num).copied()).await
    }

    async fn changes(&self) -> Answered<ChangeLog> {
        self.ask("changes", |store| ChangeLog(store.changes.clone())).await
    }

    async fn tables(&self) -> Answered<Tables> {
        self.ask("tables", |store| {
            let tables = store.tables.keys().map(|name| table(name)).collect();
            Tables { tables, views: vec![], unknown: vec![] }
        })
        .await
    }

    async fn version(&self) -> Answered<String> {
        self.ask("version", |_| "5.5.0".to_owned()).await
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

    async fn table_sums(
        &self,
        delta: DeltaNum,
        table: &Table,
        _: &[String],
        snapshot: bool,
    ) -> Answered<Sums> {
        self.ask("sums", |store| Sums {
            changes: Some(store.check_sum(delta, &table.name.0)),
            snapshot: snapshot.then(|| store.snapshot(delta, &table.name.0)),
        })
        .await
    }

    async fn deny(&self, _: &LockCode) -> Answered<Deny> {
        Ok(Deny::Blocked)
    }

    async fn allow(&self, _: &LockCode) -> Answered<Allow> {
        Ok(Allow::NotBlocked)
    }

    async fn marker(&self) -> Answered<Marker> {
        self.ask("marker", |store| match &store.marker {
            None => Marker::Absent,
            Some(owner) => Marker::Of(owner.clone()),
        })
        .await
    }

    async fn mark(&self, owner: &Owner) -> Answered<Mark> {
        self.ask("mark", |store| match &store.marker {
            Some(_) => Mark::Exists,
            None => {
                store.marker = Some(owner.clone());
                Mark::Done
            }
        })
        .await
    }

    async fn unmark(&self) -> Answered<()> {
        self.ask("unmark", |store| store.marker = None).await
    }
}

/// A table of the tests.
pub fn table(name: &str) -> Table {
    Table {
        name: TableName(name.to_owned()),
        columns: vec![
            Column { name: "id".into(), kind: ColumnType::Bigint },
            Column { name: "v".into(), kind: ColumnType::Varchar(None) },
        ],
        datasources: vec![Datasource("adp".into())],
        primary_key: vec!["id".into()],
    }
}

impl Target for MemoryTarget {
    async fn exists(&self) -> Answered<bool> {
        self.ask("exists", |store| store.exists).await
    }

    async fn create_datamart(&self) -> Answered<()> {
        self.tell("create_datamart", |store| match std::mem::replace(&mut store.exists, true) {
            true => Err("Database db already exists".to_owned()),
            false => Ok(()),
        })
        .await
    }

    async fn entities(&self) -> Answered<Vec<String>> {
        self.ask("entities", |store| {
            let names = store.tables.keys().chain(&store.views).chain(&store.uploads);
            let marker = store.marker.as_ref().map(|_| Owner::MARKER.to_owned());
            names.cloned().chain(marker).collect()
        })
        .await
    }

    async fn active_datasources(&self) -> Answered<Option<Vec<Datasource>>> {
        self.ask("active", |_| Some(vec![Datasource("adp".into())])).await
    }

    async fn hot(&self) -> Answered<Option<Hot>> {
        self.ask("hot", |store| store.hot()).await
    }

    async fn running(&self) -> Answered<u64> {
        let count = |store: &mut Store| store.hot.as_ref().map_or(0, |hot| hot.running.len());
        let running = self.ask("running", count).await?;
        // The node goes on with what it has begun.
        self.zombies_end();
        Ok(running as u64)
    }

    async fn execute(&self, query: &str) -> Answered<()> {
        self.tell("open change", |store| store.open_change(query)).await?;
        if self.chance(|faults| faults.bad_changes) {
            return Err(refused(query, "by chance".into()));
        }
        self.tell("change", |store| store.end_change()).await
    }

    async fn erase_change(&self, num: u64) -> Answered<()> {
        self.tell("erase", |store| match store.changes.last() {
            Some(open) if !open.finished && open.num == num => {
                store.changes.pop();
                Ok(())
            }
            _ => Err("Active operation does not exist".to_owned()),
        })
        .await
    }

    async fn begin(&self, delta: DeltaNum) -> Answered<()> {
        self.tell("begin", |store| store.begin(delta)).await
    }

    async fn commit(&self, date: DeltaDate) -> Answered<()> {
        self.tell("commit", |store| store.commit(date)).await
    }

    async fn rollback(&self) -> Answered<()> {
        let stops = self.chance(|faults| faults.bad_rollbacks);
        self.tell("rollback", |store| match &mut store.hot {
            Some(hot) if stops => {
                hot.rolling_back = true;
                hot.running.clear();
                Err("Can't rollback delta by datamart [db]".to_owned())
            }
            _ => store.rollback(),
        })
        .await
    }

    async fn make_upload(&self, name: &AttemptName, _: &Table, _: Option<u32>) -> Answered<()> {
        self.tell("make upload", |store| match store.uploads.insert(name.0.clone()) {
            true => Ok(()),
            false => Err(format!("Entity db.{name} already exists")),
        })
        .await
    }

    async fn insert(&self, name: &AttemptName, table: &Table) -> Answered<()> {
        let cn = self.tell("insert", |store| match store.uploads.contains(&name.0) {
            true => store.start(&table.name.0, &name.0),
            false => Err(format!("Entity db.{name} does not exist")),
        });
        let cn = cn.await?;
        let operation = Operation { cn, table: table.name.0.clone(), topic: name.0.clone() };
        // A crash in between leaves the load to a node that goes on with it.
        self.memory.call("loaded", |_| ()).await;
        let answer = self.end(&operation);
        self.tell("load answer", |_| answer).await
    }

    async fn drop_upload(&self, name: &AttemptName) -> Answered<()> {
        self.ask("drop upload", |store| {
            store.uploads.remove(&name.0);
        })
        .await
    }
}

impl Scratch for MemoryTarget {
    async fn drop_datamart(&self) -> Answered<()> {
        self.tell("drop datamart", |store| match store.exists {
            false => Err("Database db does not exist".to_owned()),
            true => {
                let (topics, used) =
                    (std::mem::take(&mut store.topics), std::mem::take(&mut store.used));
                *store = Store { topics, used, ..Store::default() };
                Ok(())
            }
        })
        .await
    }
}

/// Fills a load topic in memory.
pub struct MemoryWriter {
    target: MemoryTarget,
    name: String,
}

impl LoadWriter for MemoryWriter {
    async fn append(&mut self, body: &[u8]) -> Answered<()> {
        let (target, name) = (self.target.clone(), self.name.clone());
        let append = |store: &mut Store| match store.topics.get_mut(&name) {
            Some(topic) => {
                topic.bodies.push(body.to_vec());
                true
            }
            None => false,
        };
        let there = self.target.memory.call("append", |_| target.with(append)).await;
        match there {
            true => Ok(()),
            false => Err(SourceError::Brokers { reason: format!("no topic {}", self.name) }),
        }
    }

    async fn seal(self) -> Answered<u64> {
        let loses = self.target.chance(|faults| faults.bad_topics);
        let count = |store: &mut Store| {
            let topic = store.topics.entry(self.name.clone()).or_default();
            if loses {
                topic.bodies.pop();
            }
            topic.bodies.len() as u64
        };
        Ok(self.target.memory.call("seal", |_| self.target.with(count)).await)
    }
}

impl Loads for MemoryTarget {
    type Writer = MemoryWriter;

    async fn make(&self, name: &AttemptName, _partitions: u32) -> Answered<MemoryWriter> {
        let make = |store: &mut Store| {
            store.topics.insert(name.0.clone(), Topic::default());
            store.used.insert(name.0.clone())
        };
        let made = self.memory.call("make topic", |_| self.with(make)).await;
        assert!(made, "load topic {name} was used twice");
        Ok(MemoryWriter { target: self.clone(), name: name.0.clone() })
    }

    async fn delete(&self, name: &AttemptName) -> Answered<()> {
        let delete = |store: &mut Store| {
            store.topics.remove(&name.0);
        };
        self.memory.call("delete topic", |_| self.with(delete)).await;
        Ok(())
    }

    async fn leftovers(&self, run: RunId) -> Answered<Vec<AttemptName>> {
        let prefix = AttemptName::prefix(run);
        let left = |store: &mut Store| {
            let ours = store.topics.keys().filter(|name| name.starts_with(&prefix));
            ours.cloned().map(AttemptName).collect()
        };
        Ok(self.memory.call("load leftovers", |_| self.with(left)).await)
    }
}

/// The worlds of a restore over one [`Memory`].
#[derive(Clone)]
pub struct RestoreWorld {
    /// Holds the backup topic.
    pub memory: Memory,
    /// The target.
    pub target: MemoryTarget,
}

impl World for RestoreWorld {
    type Target = MemoryTarget;
    type Loads = MemoryTarget;
    type Topic = Memory;
    type Journal = MemoryJournal;

    fn target(&self) -> &MemoryTarget {
        &self.target
    }

    fn loads(&self) -> &MemoryTarget {
        &self.target
    }

    fn topic(&self) -> &Memory {
        &self.memory
    }
}
