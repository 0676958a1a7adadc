//! Stop at every effect, in memory: whatever is killed, lost or cut back, a resume ends with one
//! complete increment per delta, each chunk exactly once, and nothing left behind.

#![allow(clippy::unwrap_used, reason = "a test that meets the unexpected is to fail")]

mod catalog;
mod changes;
#[cfg(feature = "clickhouse")]
mod clickhouse;
#[cfg(feature = "clickhouse")]
mod clickhouse_again;
#[cfg(feature = "clickhouse")]
mod clickhouse_cluster;
mod gaps;
#[cfg(feature = "queue")]
#[path = "../support/hand.rs"]
mod hand;
mod judge;
mod parts;
#[cfg(feature = "queue")]
mod queue;
mod restore;
mod scenario;
mod stops;
mod strangers;
mod sweep;
