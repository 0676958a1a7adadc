//! What the benchmarks copy: a table of 15 fields, 157 bytes a row, 1000 rows a message, in a
//! staging topic as connectors write it. Owns the bytes; measures nothing.

use deltakeep::deliver::kafka::{Delivery, KafkaSink};
use deltakeep::deliver::{Lane, Message, Sink};
use deltakeep::format::container::{begin_map, end_map, put_block, put_entry};
use deltakeep::model::{Column, ColumnType, Datasource, Partition, RunId, Table, TableName};
use uuid::Uuid;

use crate::cluster::Cluster;

/// Rows in a message.
pub const ROWS: u64 = 1000;
/// Bytes of a row.
pub const ROW_BYTES: usize = 157;
/// Different bodies in a topic.
const BODIES: usize = 16;
const SYNC: [u8; 16] = *b"sync marker of 1";
/// The columns without `sys_op`: name, type, and the type in a connector's schema. The last text
/// fills the row up.
const COLUMNS: [(&str, ColumnType, &str); 14] = [
    ("id", ColumnType::Bigint, LONG),
    ("customer", ColumnType::Bigint, LONG),
    ("store", ColumnType::Int32, INT),
    ("product", ColumnType::Bigint, LONG),
    ("units", ColumnType::Int32, INT),
    ("price", ColumnType::Double, DOUBLE),
    ("discount", ColumnType::Float, FLOAT),
    ("paid", ColumnType::Boolean, BOOLEAN),
    ("day", ColumnType::Date, INT),
    ("sold_at", ColumnType::Timestamp(None), LONG),
    ("changed_at", ColumnType::Timestamp(None), LONG),
    ("code", ColumnType::Varchar(None), TEXT),
    ("city", ColumnType::Varchar(None), TEXT),
    ("note", ColumnType::Varchar(None), TEXT),
];
/// The statement that makes the table: `verify` compares the schema of the rows with it.
pub const CREATE: &str = "CREATE TABLE sales (id bigint, customer bigint, store int32, \
     product bigint, units int32, price double, discount float, paid boolean, day date, \
     sold_at timestamp, changed_at timestamp, code varchar, city varchar, note varchar)";
const LONG: &str = r#""long""#;
const INT: &str = r#""int""#;
const DOUBLE: &str = r#""double""#;
const FLOAT: &str = r#""float""#;
const BOOLEAN: &str = r#""boolean""#;
const TEXT: &str = r#"{"type":"string","avro.java.string":"String"}"#;

/// A sealed staging topic.
#[derive(Clone, Debug)]
pub struct Filled {
    /// Its name.
    pub topic: String,
    /// By partition: messages.
    pub ends: Vec<u64>,
    /// Bytes of keys and bodies.
    pub bytes: u64,
}

impl Filled {
    /// Messages of all partitions.
    pub fn messages(&self) -> u64 {
        self.ends.iter().sum()
    }
}

/// The table the rows belong to.
pub fn table() -> Table {
    let columns =
        COLUMNS.iter().map(|(name, kind, _)| Column { name: (*name).into(), kind: *kind });
    Table {
        name: TableName("sales".into()),
        columns: columns.collect(),
        datasources: vec![Datasource("adp".into())],
        primary_key: vec!["id".into()],
    }
}

/// Makes a staging topic of `chunks` full messages, spread over the partitions, one connector
/// stream to each; and the one empty message of the removed rows.
pub async fn fill(cluster: &Cluster, partitions: u32, chunks: u64) -> Filled {
    fill_with(cluster, partitions, chunks, ROWS).await
}

/// The same with so many rows in a message.
pub async fn fill_with(cluster: &Cluster, partitions: u32, chunks: u64, rows: u64) -> Filled {
    let topic = cluster.new_topic("staging", partitions).await;
    let delivery = Delivery::Idempotent;
    let sink = KafkaSink::new(cluster.brokers.clone(), cluster.admin.clone(), &topic, delivery);
    let mut lane = sink.open(RunId(Uuid::new_v4()), 0).await.expect("a lane");
    let mut filled = Filled { topic, ends: vec![0; partitions as usize], bytes: 0 };
    let bodies: Vec<Vec<u8>> = (0..BODIES).map(|seed| body(seed as u64, rows)).collect();
    let each = chunks.div_ceil(u64::from(partitions));
    for chunk in 1..=each {
        for stream in 0..partitions {
            let key = key("STARTED", stream, partitions, chunk, chunk == each);
            send(&mut lane, &mut filled, stream, key, &bodies[chunk as usize % BODIES]).await;
        }
    }
    send(&mut lane, &mut filled, 0, key("FINISHED", 0, 1, 1, true), &body(0, 0)).await;
    lane.commit().await.expect("the staging topic is filled");
    filled
}

async fn send<L: Lane>(lane: &mut L, filled: &mut Filled, to: u32, key: Vec<u8>, body: &[u8]) {
    filled.ends[to as usize] += 1;
    filled.bytes += (key.len() + body.len()) as u64;
    let message = Message { partition: Partition(to as i32), key, body: body.to_vec() };
    lane.send(message).await.expect("the staging topic takes a message");
}

/// A key as the ADP connector writes it.
fn key(verb: &str, stream: u32, streams: u32, chunk: u64, is_last: bool) -> Vec<u8> {
    let names: Vec<&str> = COLUMNS.iter().map(|(name, ..)| *name).collect();
    let statement = format!(
        "INSERT INTO deltakeep_bench SELECT {}, 0 AS sys_op FROM sales \
         FOR SYSTEM_TIME {verb} IN (0,0)",
        names.join(", ")
    );
    let mut record = Vec::new();
    put_text(&mut record, &statement);
    put_long(&mut record, i64::from(stream));
    put_long(&mut record, i64::from(streams));
    put_long(&mut record, chunk as i64);
    record.push(u8::from(is_last));
    let schema = r#"{"type":"record","name":"DtmQueryResponseMetadata","namespace":"io.arenadata.kafka.postgres.avro.model","fields":[{"name":"tableName","type":"string"},{"name":"streamNumber","type":"int"},{"name":"streamTotal","type":"int"},{"name":"chunkNumber","type":"int"},{"name":"isLastChunk","type":"boolean"}]}"#;
    container(schema, &record, 1)
}

/// A body as the ADP connector writes it.
fn body(seed: u64, rows: u64) -> Vec<u8> {
    let field = |(name, _, kind): &(&str, ColumnType, &str)| {
        format!(r#"{{"name":"{name}","type":["null",{kind}],"default":null}}"#)
    };
    let fields: Vec<String> = COLUMNS.iter().map(field).collect();
    let schema = format!(
        r#"{{"type":"record","name":"deltakeep_bench","namespace":"shop","fields":[{},{{"name":"sys_op","type":["null","int"],"default":null}}]}}"#,
        fields.join(",")
    );
    let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut block = Vec::new();
    (0..rows).for_each(|_| put_row(&mut block, &mut random));
    container(&schema, &block, rows as usize)
}

fn container(schema: &str, block: &[u8], records: usize) -> Vec<u8> {
    let mut out = Vec::new();
    begin_map(&mut out, 1);
    put_entry(&mut out, "avro.schema", schema.as_bytes());
    end_map(&mut out);
    out.extend_from_slice(&SYNC);
    if records > 0 {
        put_block(&mut out, records, block);
        out.extend_from_slice(&SYNC);
    }
    out
}

/// One row of exactly [`ROW_BYTES`] bytes.
fn put_row(out: &mut Vec<u8>, random: &mut u64) {
    let end = out.len() + ROW_BYTES;
    for (name, _, kind) in &COLUMNS[..13] {
        out.push(2);
        match *kind {
            LONG => put_long(out, (next(random) >> 20) as i64),
            INT => put_long(out, (next(random) >> 44) as i64),
            DOUBLE => out.extend_from_slice(&next(random).to_le_bytes()),
            FLOAT => out.extend_from_slice(&next(random).to_le_bytes()[..4]),
            BOOLEAN => out.push((next(random) >> 63) as u8),
            _ => put_text(out, &format!("{name} {}", next(random) >> 40)),
        }
    }
    // The last text: its branch, its length in one byte, itself; then sys_op in two bytes.
    out.push(2);
    let length = end - 2 - out.len() - 1;
    put_long(out, length as i64);
    (0..length).for_each(|_| out.push(b'a' + (next(random) >> 59) as u8 % 26));
    out.extend_from_slice(&[2, 0]);
    assert_eq!(out.len(), end, "a row of another size");
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put_long(out, text.len() as i64);
    out.extend_from_slice(text.as_bytes());
}

/// Zigzag, seven bits a byte.
fn put_long(out: &mut Vec<u8>, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)) as u64;
    while rest > 0x7f {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

/// xorshift64*.
fn next(state: &mut u64) -> u64 {
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    state.wrapping_mul(0x2545_f491_4f6c_dd1d)
}
