//! deltakeep backs up Prostore datamarts into a Kafka topic, one increment per closed delta, and
//! resumes a run that died at any instant.
//!
//! The modules are the stages of the flow: [`plan`] says what is to be done, [`extract`] reads it
//! from the node, [`mod@format`] gives it the documented bytes, [`deliver`] hands it to the backup
//! topic, [`catalog`] knows what that topic holds, [`journal`] remembers every step, and
//! [`backup`] joins them. [`verify`] reads a topic back, [`restore`] brings a datamart back from it,
//! and [`drill`] proves that. `clickhouse` drives the BACKUP and RESTORE of ClickHouse;
//! `queue` takes tasks from RabbitMQ.
//! [`model`] is the vocabulary. See ARCHITECTURE.md.

pub mod backup;
pub mod catalog;
pub mod cli;
#[cfg(feature = "clickhouse")]
pub mod clickhouse;
pub mod deliver;
#[cfg(feature = "demo")]
pub mod demo;
pub mod drill;
pub mod extract;
pub mod format;
pub mod journal;
pub mod kafka;
pub mod load;
pub mod model;
pub mod plan;
#[cfg(feature = "queue")]
pub mod queue;
pub mod restore;
#[cfg(feature = "sandbox")]
pub mod sandbox;
#[doc(hidden)]
pub mod testing;
pub mod verify;
