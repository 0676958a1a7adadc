//! The restore's engine in memory: random histories are backed up by the real backup engine and
//! restored; whatever is killed, lost or cut back, a resume ends in the same datamart.

#![allow(clippy::unwrap_used, reason = "a test that meets the unexpected is to fail")]

mod damage;
mod history;
mod judge;
mod refusals;
mod scenario;
mod stops;
mod sums;
mod written;
