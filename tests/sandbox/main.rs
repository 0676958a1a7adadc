//! Owns the proof that the sandbox answers as the recorded node did; never tests the backup itself.
#![cfg(feature = "sandbox")]
#![allow(clippy::unwrap_used)]

mod adqm;
mod encoder;
mod faults;
mod harness;
mod interface;
mod loads;
mod messages;
mod queries;
mod recordings;
mod seed;
mod storage;
mod unloads;
mod vectors;
