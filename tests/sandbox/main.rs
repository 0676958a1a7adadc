//! Owns the proof that the sandbox answers as the recorded node did; never tests the backup itself.
#![cfg(feature = "sandbox")]
#![allow(clippy::unwrap_used)]

mod adqm;
mod crashed_loads;
mod encoder;
mod faults;
mod harness;
mod interface;
mod load_faults;
mod loads;
mod messages;
mod queries;
mod recordings;
mod seed;
mod storage;
mod unloads;
mod vectors;
