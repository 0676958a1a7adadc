//! The fixtures in the shape of the older tool (tests/fixtures/older_tool/README.md). Owns their
//! reading; no test.

/// Partition, key and body, in the order of each partition's offsets.
pub type Line = (usize, Vec<u8>, Vec<u8>);

/// Four deltas of `sourcedb`, in two partitions.
pub fn sourcedb() -> Vec<Line> {
    lines(include_str!("../fixtures/older_tool/sourcedb.tsv"))
}

/// CHECK_SUM of its tables that the recorded node answered, by delta (06_import_restore).
pub const SUMS: [(&str, [u64; 4]); 2] = [
    ("table1_adp", [4_385_080_838, 3_486_358_987, 0, 1_852_794_987]),
    ("comp", [3_418_869_198, 3_298_138_015, 0, 0]),
];

fn lines(text: &str) -> Vec<Line> {
    text.lines().map(line).collect()
}

fn line(text: &str) -> Line {
    let [partition, key, body] = text.split('\t').collect::<Vec<_>>().try_into().expect("a line");
    (partition.parse().expect("a partition"), unhex(key), unhex(body))
}

fn unhex(text: &str) -> Vec<u8> {
    let byte = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).expect("hex");
    (0..text.len()).step_by(2).map(byte).collect()
}

/// Two deltas of `edge`, in one partition; in the second one keys repeat.
#[allow(dead_code, reason = "tests of the binary use the other one")]
pub fn edge() -> Vec<Line> {
    lines(include_str!("../fixtures/older_tool/edge.tsv"))
}
