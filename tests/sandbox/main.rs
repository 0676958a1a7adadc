//! Owns the proof that the sandbox answers as the recorded node did; never tests the backup itself.
#![allow(clippy::unwrap_used)]

mod harness;
mod recordings;
