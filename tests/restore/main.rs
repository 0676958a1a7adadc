//! The restore's engine in memory: random histories are backed up by the real backup engine and
//! restored; whatever is killed, lost or cut back, a resume ends in the same datamart.

#![allow(clippy::unwrap_used, reason = "a test that meets the unexpected is to fail")]

mod damage;
mod history;
mod judge;
#[path = "../support/older_tool.rs"]
mod older_tool;
mod older_tool_shape;
mod refusals;
mod scenario;
mod stops;
mod sums;
mod written;
