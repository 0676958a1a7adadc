//! How long relabelling takes: one body of 1000 rows, 157 bytes each, beside copying the same bytes
//! in memory and beside their check sum, in rounds of all three. Prints a table for `scripts/bench`;
//! asserts nothing.

#[allow(dead_code, reason = "only medians are needed here")]
#[path = "shared/measure.rs"]
mod measure;

use std::hint::black_box;
use std::time::Instant;

use deltakeep::format::container::{begin_map, end_map, put_block, put_entry};
use deltakeep::format::{Labeller, encode_key, row_schema};
use deltakeep::model::{
    ChunkNumber, Column, ColumnType, Datamart, DeltaDate, DeltaNum, IncrementId, MessageKey,
    StreamNumber, TableName,
};

use measure::median;

const ROWS: usize = 1000;
const ROW_BYTES: usize = 157;
const ROUNDS: usize = 7;
/// A round is the median of so many bursts: one that another program interrupted does not count.
const BURSTS: usize = 101;
const CALLS: u32 = 20;

fn columns() -> Vec<Column> {
    let kinds = [ColumnType::Bigint, ColumnType::Varchar(None), ColumnType::Timestamp(None)];
    let column = |place: usize| Column { name: format!("c{place}"), kind: kinds[place % 3] };
    (0..14).map(column).collect()
}

fn staging_body(columns: &[Column]) -> Vec<u8> {
    let mut body = Vec::new();
    begin_map(&mut body, 1);
    put_entry(&mut body, "avro.schema", row_schema(columns).as_bytes());
    end_map(&mut body);
    body.extend_from_slice(&[7; 16]);
    // Labelling never looks into rows, so any bytes do.
    let rows: Vec<u8> = (0..ROWS * ROW_BYTES).map(|n| (n * 31 % 251) as u8).collect();
    put_block(&mut body, ROWS, &rows);
    body.extend_from_slice(&[7; 16]);
    body
}

fn key() -> MessageKey {
    MessageKey {
        increment: IncrementId("f81d4fae-7dec-11d0-a765-00a0c91e6bf6".into()),
        datamart: Datamart::parse("marketing").expect("a plain name"),
        delta: DeltaNum(55),
        date: DeltaDate(1_638_360_336_000_000),
        table: Some(TableName("sales".into())),
        stream: StreamNumber(1),
        stream_total: 1,
        chunk: ChunkNumber(4),
        is_last: false,
    }
}

/// Microseconds for one call, in one round.
fn round(mut call: impl FnMut()) -> f64 {
    let burst = |_| {
        let start = Instant::now();
        (0..CALLS).for_each(|_| call());
        start.elapsed().as_secs_f64() * 1e6 / f64::from(CALLS)
    };
    median((0..BURSTS).map(burst)).0
}

fn main() {
    let columns = columns();
    let body = staging_body(&columns);
    let key = key();
    let key_bytes = encode_key(&key);
    let mut labeller = Labeller::new(&columns);
    let (mut out, mut copied) = (Vec::new(), Vec::with_capacity(body.len()));
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let label = round(|| {
            let labelled = labeller.label(&key, &key_bytes, "staging/0/3", None, &body, &mut out);
            black_box(labelled.expect("a sound body"));
        });
        let copy = round(|| {
            copied.clear();
            copied.extend_from_slice(black_box(&body));
            black_box(&copied);
        });
        let crc = round(|| {
            black_box(crc_fast::crc32_iscsi(black_box(&body)));
        });
        rounds.push((label, copy, crc));
    }
    println!("a body of {} bytes, {ROUNDS} rounds", body.len());
    print("label, us", rounds.iter().map(|(label, ..)| *label), "   claim: at most 5");
    print("of it its check sum, us", rounds.iter().map(|(.., crc)| *crc), "");
    print("copy in memory, us", rounds.iter().map(|(_, copy, _)| *copy), "");
    print("label / copy in memory", rounds.iter().map(|(label, copy, _)| label / copy), "");
}

fn print(name: &str, values: impl Iterator<Item = f64>, claim: &str) {
    let (middle, least, most) = median(values);
    println!("{name:32} {:>22}{claim}", format!("{middle:.2} ({least:.2}, {most:.2})"));
}
