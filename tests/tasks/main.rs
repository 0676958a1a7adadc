//! Tasks of a queue, in memory: what the manual and the schemas say of them is what the worker does;
//! whatever is sent has an answer, and no secret goes anywhere.

#![cfg(feature = "queue")]
#![allow(clippy::unwrap_used, reason = "a test that meets the unexpected is to fail")]

#[path = "../support/hand.rs"]
mod hand;
mod manual;
mod payloads;
mod schema;
mod work;
