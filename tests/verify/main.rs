//! Verification of topics in memory: what the engine wrote is sound, and whatever is done to its
//! messages is told, by `verify` and by the catalog behind `topic show`.

#![allow(clippy::unwrap_used, reason = "a test that meets the unexpected is to fail")]

mod against;
mod damage;
mod engine;
mod foreign;
mod history;
mod hostile;
#[path = "../support/resealed.rs"]
mod resealed;
mod topic;
