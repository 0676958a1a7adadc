//! The real engine, node client and delivery in this process, against a sandbox node and an
//! in-process broker: what needs thousands of statements, or a look at each of them. No server is
//! needed. Owns no test itself.
#![cfg(feature = "demo")]

#[path = "../support/chance.rs"]
mod chance;
mod counted;
mod estimate;
mod faults;
mod history;
#[path = "../support/random_history.rs"]
mod random_history;
mod rig;
mod round_trip;

use chance::Chance;
