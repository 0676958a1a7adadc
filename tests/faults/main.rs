//! Faults for real: while the binary backs a datamart up, a broker dies or freezes, the network is
//! cut or slowed, the node dies or its answers are lost, the disk is full or read-only, the day
//! changes. After each the run ends with exit code 0 or 5, is resumed once the fault is over, and
//! then the promise holds: an independent reader finds every row once, and no topic, table, lock or
//! marker is left. Owns the scenes, the proxy and the cluster's brokers, which it kills; starts no
//! server itself.
//!
//! `scripts/test --test faults` runs the short ones, about a minute; `scripts/test --long --test
//! faults` all of them. One that is left out says so and why. Addresses come from the environment
//! (scripts/test, or `scripts/servers env`).
//!
//! | file | faults |
//! |---|---|
//! | `brokers.rs` | leader killed; one gone for good; all gone for a while; one frozen |
//! | `network.rs` | connections cut; slowed; silent |
//! | `node.rs` | node killed and started again; its answers lost |
//! | `disk.rs` | state directory full; read-only |
//! | `clock.rs` | midnight between stop and resume |
//! | `security.rs` | no fault: SASL and TLS; wrong password, wrong authority |

mod brokers;
mod clock;
mod cluster;
mod disk;
mod network;
mod node;
#[path = "../support/process.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod process;
mod proxy;
#[path = "../support/rig.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod rig;
#[path = "../support/sandbox.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod sandbox;
mod scene;
mod security;
#[path = "../support/mod.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod support;

/// Whether faults that take minutes are wanted; says so where they are not.
fn long(what: &str) -> bool {
    let wanted = std::env::var_os("DELTAKEEP_LONG").is_some();
    if !wanted {
        skipped(what, "it takes minutes; scripts/test --long runs it");
    }
    wanted
}

/// Says that something is left out. Not through println, which shows nothing of a test that passes.
fn skipped(what: &str, why: &str) {
    use std::io::Write;
    // In one piece: other tests write too.
    let _ = std::io::stderr().write_all(format!("skipped: {what}: {why}\n").as_bytes());
}
