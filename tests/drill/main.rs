//! The drill's engine in memory: random histories are backed up by the real backup engine and
//! drilled; whatever is killed, lost or cut back, a resume ends without the scratch and with a
//! report. Its reports as files.

#![allow(clippy::unwrap_used, reason = "a test that meets the unexpected is to fail")]

#[path = "../restore/history.rs"]
mod history;
mod reports;
mod scenario;
mod scratch;
mod stops;
mod verdicts;
