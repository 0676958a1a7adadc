//! How long relabelling takes: one body of 1000 rows, 157 bytes each, as a median over rounds and
//! as a ratio to copying the same bytes. Prints one line for `scripts/bench`; asserts nothing.

use std::hint::black_box;
use std::time::Instant;

use deltakeep::format::container::{begin_map, end_map, put_block, put_entry};
use deltakeep::format::{Labeller, encode_key, row_schema};
use deltakeep::model::{
    ChunkNumber, Column, ColumnType, Datamart, DeltaDate, DeltaNum, IncrementId, MessageKey,
    StreamNumber, TableName,
};

const ROWS: usize = 1000;
const ROW_BYTES: usize = 157;
const ROUNDS: usize = 9;
const CALLS: u32 = 2000;

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

/// Median over the rounds, in microseconds for one call.
fn median(mut call: impl FnMut()) -> f64 {
    let mut rounds: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            (0..CALLS).for_each(|_| call());
            start.elapsed().as_secs_f64() * 1e6 / f64::from(CALLS)
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    rounds[ROUNDS / 2]
}

fn main() {
    let columns = columns();
    let body = staging_body(&columns);
    let key = key();
    let key_bytes = encode_key(&key);
    let mut labeller = Labeller::new(&columns);
    let mut out = Vec::new();
    let label = median(|| {
        let labelled = labeller.label(&key, &key_bytes, "staging/0/3", None, &body, &mut out);
        black_box(labelled.expect("a sound body"));
    });
    let mut copied = Vec::with_capacity(body.len());
    let copy = median(|| {
        copied.clear();
        copied.extend_from_slice(black_box(&body));
        black_box(&copied);
    });
    let crc = median(|| {
        black_box(crc_fast::crc32_iscsi(black_box(&body)));
    });
    let ratio = label / copy;
    let bytes = body.len();
    println!(
        "label: {label:.2} us for a body of {bytes} bytes, {ratio:.1} times a memcpy ({copy:.2} us), \
         of it crc32c {crc:.2} us"
    );
}
