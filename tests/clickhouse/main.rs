//! `deltakeep clickhouse` against the engine of ClickHouse and a real S3 server (scripts/servers).
//! Addresses come from the environment (scripts/test), and without them the tests fail.

#![cfg(feature = "clickhouse")]
#![expect(clippy::expect_used, reason = "a failing test may panic")]

#[path = "../support/chance.rs"]
mod chance;
mod cluster;
mod fate;
mod kill;
mod kill_loop;
mod others;
mod overwrite;
#[path = "../support/process.rs"]
#[expect(dead_code, reason = "other tests use more of it")]
mod process;
mod refused;
mod rig;
mod secrets;
mod seed;
mod servers;
mod stall;
mod tls;
#[path = "../support/tls_relay.rs"]
mod tls_relay;
