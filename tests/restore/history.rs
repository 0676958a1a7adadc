//! Random histories of a source datamart, and their backup. Owns how the source's versions become
//! what the node of the backup's tests tells.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use deltakeep::backup::{Backup, Settings, Unwatched};
use deltakeep::journal::Shape;
use deltakeep::model::{
    ChangeLog, Datamart, DeltaDate, DeltaNum, LockCode, Owner, RunId, TableName,
};
use deltakeep::testing::{Memory, MemoryJournal, MemoryWorld, Store, TestRow, table};
use tokio::sync::watch;
use uuid::Uuid;

pub fn random(memory: &Memory, below: u64) -> u64 {
    memory.lock().random() % below.max(1)
}

fn chance(memory: &Memory, percent: u64) -> bool {
    memory.lock().chance(percent)
}

/// Schema changes between two deltas.
pub fn change(source: &mut Store, memory: &Memory) {
    for _ in 0..random(memory, 3) {
        let name = format!("t{}", random(memory, 4));
        let exists = source.tables.contains_key(&name);
        let drops = exists && chance(memory, 30);
        let query = match exists {
            false => format!("CREATE TABLE db.{name} (id bigint, v varchar)"),
            true if drops => format!("DROP TABLE db.{name}"),
            true => {
                let number = source.changes.len();
                format!("CREATE VIEW db.v{number} AS\nSELECT id FROM db.{name}")
            }
        };
        source.change(&query).unwrap();
    }
}

/// One delta: each table gets up to two loads; `busy` percent write some keys again and again.
pub fn delta(source: &mut Store, memory: &Memory, busy: u64) {
    let num = source.deltas.len() as u64;
    source.begin(DeltaNum(num)).unwrap();
    let tables: Vec<String> = source.tables.keys().cloned().collect();
    for name in tables.into_iter().filter(|_| chance(memory, 70)) {
        if chance(memory, busy) {
            self::busy(source, memory, &name);
            continue;
        }
        let mut ids: Vec<i64> = (0..40).filter(|_| chance(memory, 30)).collect();
        let second = ids.split_off(random(memory, ids.len() as u64 + 1) as usize);
        for ids in [ids, second] {
            load(source, memory, &name, ids);
        }
    }
    let date = 1_700_000_000_000_000 + num as i64 * 1_000_000;
    source.commit(DeltaDate(date)).unwrap();
}

/// Several loads that meet the same keys.
pub fn busy(source: &mut Store, memory: &Memory, name: &str) {
    for _ in 0..2 + random(memory, 3) {
        let ids: BTreeSet<i64> = (0..6).map(|_| random(memory, 12) as i64).collect();
        load(source, memory, name, ids);
    }
}

fn load(source: &mut Store, memory: &Memory, name: &str, ids: impl IntoIterator<Item = i64>) {
    let rows: Vec<TestRow> = ids.into_iter().map(|id| row(source, memory, name, id)).collect();
    if !rows.is_empty() {
        let cn = source.start(name, "").unwrap();
        source.end(cn, &rows, true);
    }
}

pub fn row(source: &Store, memory: &Memory, name: &str, id: i64) -> TestRow {
    let alive = source.tables[name].iter().any(|v| v.id == id && v.to.is_none());
    let removes = alive && chance(memory, 40);
    let v = (!chance(memory, 20)).then(|| format!("text {}", random(memory, 50)));
    TestRow { id, v, sys_op: i32::from(removes) }
}

/// What the source is now becomes what the node tells.
pub fn publish(source: &Store, memory: &Memory) {
    let mut inner = memory.lock();
    inner.deltas = source.deltas.clone();
    inner.changes = ChangeLog(source.changes.clone());
    inner.tables = source.tables.keys().map(|name| table(name)).collect();
    inner.rows.clear();
    inner.sums.clear();
    inner.alive.clear();
    for delta in &source.deltas {
        for name in source.tables.keys() {
            let place = (delta.num, TableName(name.clone()));
            inner.rows.insert(place.clone(), source.increment(delta.num, name));
            let sums = (source.check_sum(delta.num, name), source.snapshot(delta.num, name));
            inner.sums.insert(place.clone(), sums);
            let alive = source.as_of(delta.num, name).into_iter();
            inner.alive.insert(place, alive.map(|(id, v)| TestRow { id, v, sys_op: 0 }).collect());
        }
    }
}

/// Backs up what is closed and not in the topic.
pub async fn back_up(source: &Store, memory: &Memory, number: u128, partitions: u32) {
    back_up_some(source, memory, number, partitions, None).await;
}

/// Backs up these deltas.
pub async fn back_up_some(
    source: &Store,
    memory: &Memory,
    number: u128,
    partitions: u32,
    asked: Option<(DeltaNum, u64)>,
) {
    publish(source, memory);
    let datamart = Datamart::parse("db").unwrap();
    let random = memory.clone();
    let settings = Settings {
        code: LockCode::new(&datamart, 3),
        datamart,
        topic: "backup".into(),
        owner: Owner { run: RunId(Uuid::from_u128(number)), day: 3, started: "now".into() },
        shape: Shape {
            datasource: None,
            datasource_fallback: false,
            chunk_size: 1 + self::random(memory, 9) as u32,
            threads: 1 + self::random(memory, 3) as u32,
            partitions,
            checksums: true,
            asked,
            fill_gaps: false,
        },
        retries: 3,
        accept_retention: true,
        tool: "test".into(),
        commit_every: Duration::from_millis(3),
        commit_bytes: 2000,
        pause: Duration::from_millis(1),
        nonce: Arc::new(move || random.lock().random()),
    };
    let (_never, stop) = watch::channel(false);
    let world = MemoryWorld(memory.clone());
    let journal = MemoryJournal::new(memory);
    let backup = Backup::open(world, journal, settings, Arc::new(Unwatched), stop).unwrap();
    backup.execute().await.unwrap();
}
