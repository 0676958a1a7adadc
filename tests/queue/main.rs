//! The queue against a real RabbitMQ, and the worker with it against ClickHouse, S3 and Kafka
//! (scripts/servers). Addresses come from the environment (scripts/test), and without them the
//! tests fail.

#![cfg(feature = "queue")]
#![expect(clippy::expect_used, reason = "a failing test may panic")]

mod adapter;
mod amqp;
mod broken;
#[path = "../clickhouse/servers.rs"]
#[expect(dead_code, reason = "other tests use more of it")]
mod servers;
