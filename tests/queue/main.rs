//! The queue against a real RabbitMQ, and the worker with it against ClickHouse, S3 and Kafka
//! (scripts/servers). Addresses come from the environment (scripts/test), and without them the
//! tests fail.

#![cfg(feature = "queue")]
#![expect(clippy::expect_used, reason = "a failing test may panic")]
#![expect(clippy::await_holding_lock, reason = "each test has a runtime of its own, and waits")]

mod adapter;
mod amqp;
#[path = "../support/rig.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod backup_rig;
mod broken;
#[path = "../support/chance.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod chance;
mod commands;
mod desk;
#[path = "../clickhouse/fate.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod fate;
mod kill;
#[path = "../support/process.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod process;
#[path = "../clickhouse/rig.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod rig;
#[path = "../support/sandbox.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod sandbox;
#[path = "../clickhouse/servers.rs"]
#[allow(dead_code, reason = "other tests use more of it")]
mod servers;
#[path = "../support/mod.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod support;
#[path = "../support/tls_relay.rs"]
mod tls_relay;
mod two;
mod worker;
