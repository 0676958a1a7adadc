//! What every implementation of a trait must do, run on the real things: Kafka, ZooKeeper, and
//! stores on the disk. Tests that need servers fail without them; `scripts/servers up` starts them.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a failing test may panic")]

mod catalog;
mod cursor;
mod golden;
mod journal;
mod journal_crash;
mod journal_damage;
mod loads;
mod mock;
mod sink;
mod staging;
mod support;
mod topic;
mod zookeeper;
