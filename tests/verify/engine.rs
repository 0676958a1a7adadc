//! A run of the real engine over a small datamart in memory: where the messages come from that
//! tests damage. Owns no test.

use std::sync::Arc;
use std::time::Duration;

use deltakeep::backup::{Backup, Settings, Unwatched};
use deltakeep::journal::Shape;
use deltakeep::model::{
    Change, Column, ColumnType, Datamart, Datasource, Delta, DeltaDate, DeltaNum, LockCode, Owner,
    RunId, Table, TableName,
};
use deltakeep::testing::{Inner, Memory, MemoryJournal, MemoryWorld, TestRow};
use tokio::sync::watch;
use uuid::Uuid;

/// Rows of the tables in each delta.
const ROWS: [(&str, [i64; 3]); 3] = [("a", [9, 5, 0]), ("b", [3, 0, 2]), ("c", [0, 1, 4])];

/// The delta in which a key of `a` repeats.
pub const IN_PARTS: DeltaNum = DeltaNum(1);

/// Backs a datamart `db` of three deltas and three tables up into a topic of so many partitions.
pub async fn back_up(seed: u64, partitions: u32) -> Memory {
    let memory = Memory::new(seed);
    fill(&memory);
    let (_never, stop) = watch::channel(false);
    let world = MemoryWorld(memory.clone());
    let journal = MemoryJournal::new(&memory);
    let settings = settings(&memory, partitions);
    let backup = Backup::open(world, journal, settings, Arc::new(Unwatched), stop).unwrap();
    backup.execute().await.expect("nothing disturbs it");
    memory
}

fn settings(memory: &Memory, partitions: u32) -> Settings {
    let datamart = Datamart::parse("db").unwrap();
    let memory = memory.clone();
    Settings {
        code: LockCode::new(&datamart, 9),
        datamart,
        topic: "backup".into(),
        owner: Owner { run: RunId(Uuid::from_u128(7)), day: 9, started: "now".into() },
        shape: Shape {
            datasource: None,
            datasource_fallback: false,
            chunk_size: 2,
            threads: 4,
            partitions,
            checksums: false,
            asked: None,
            fill_gaps: false,
        },
        retries: 3,
        accept_retention: false,
        tool: "test".into(),
        commit_every: Duration::from_millis(3),
        commit_bytes: 2000,
        pause: Duration::from_millis(1),
        nonce: Arc::new(move || memory.lock().random()),
    }
}

pub fn fill(memory: &Memory) {
    let mut inner = memory.lock();
    for (num, (name, rows)) in (0..).zip(ROWS) {
        let query = format!("CREATE TABLE db.{name} (id bigint NOT NULL, v varchar)");
        let entity = name.to_owned();
        inner.changes.0.push(Change { num, entity, query, delta: None, finished: true });
        let column = |name: &str, kind| Column { name: name.into(), kind };
        inner.tables.push(Table {
            name: TableName(name.into()),
            columns: vec![column("id", ColumnType::Bigint), column("v", ColumnType::Varchar(None))],
            datasources: vec![Datasource("adp".into())],
            primary_key: vec!["id".into()],
        });
        for (delta, rows) in (0..).map(DeltaNum).zip(rows) {
            let row = |id| TestRow { id, v: Some(format!("{name} {id}")), sys_op: (id % 2) as i32 };
            inner.rows.insert((delta, TableName(name.into())), (0..rows).map(row).collect());
        }
    }
    for delta in 0..3 {
        let date = DeltaDate(1_700_000_000_000_000 + delta * 1_000_000);
        let num = DeltaNum(delta as u64);
        let cn_to = if num == IN_PARTS { delta + 3 } else { delta };
        inner.deltas.push(Delta { num, date, cn_from: delta, cn_to });
    }
    repeat_a_key(&mut inner);
}

/// One key of `a` is written twice in the delta, so that its rows are delivered in parts (D4.13).
fn repeat_a_key(inner: &mut Inner) {
    let row = |id, v: &str, sys_op| TestRow { id, v: Some(v.into()), sys_op };
    let at = (IN_PARTS, TableName("a".into()));
    let dead = [row(1, "first", 0)];
    let removed = [row(3, "a 3", 1), row(1, "first", 1)];
    let alive = [row(1, "second", 0), row(2, "a 2", 0)];
    inner.rows.insert(at.clone(), [&dead[..], &removed, &alive].concat());
    inner.alive.insert(at, alive.to_vec());
}
