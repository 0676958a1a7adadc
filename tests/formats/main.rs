//! The format module against the outside: recorded messages, apache-avro as oracle, golden bytes,
//! an independent reader, and hostile bytes. Owns no helper that other test binaries need.

#![allow(clippy::unwrap_used, reason = "a failing test may panic")]

mod check_sums;
mod golden;
mod hostile;
mod recorded;
mod round_trips;
mod support;
