//! What the backup topic holds. Owns the traits that read it and that remember what was read; never
//! names a broker's protocol or a file.

pub mod cache;
pub mod index;
pub mod kafka;
pub mod known;
mod meter;

use std::future::Future;

use crate::model::{Offset, Partition};

pub use meter::Meter;

/// How reading the backup topic fails.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// The brokers do not answer.
    #[error("brokers of the backup topic are unreachable: {reason}")]
    Unreachable {
        /// What the client said.
        reason: String,
    },
    /// The brokers refuse: no rights, or settings they do not take.
    #[error("brokers of the backup topic refuse: {reason}")]
    Refused {
        /// What they said.
        reason: String,
    },
    /// An offset that must be there is not (D5: exit 6).
    #[error("partition {partition} has offsets {low} to {high}, but {wanted} was expected")]
    Gone {
        /// The partition.
        partition: Partition,
        /// First offset there.
        low: Offset,
        /// One past the last offset.
        high: Offset,
        /// The offset asked for.
        wanted: Offset,
    },
}

/// The backup topic as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicState {
    /// By partition: first offset and one past the last.
    pub ranges: Vec<(Offset, Offset)>,
    /// Its settings, as far as the brokers tell: `cleanup.policy`, `retention.ms`,
    /// `retention.bytes`, `max.message.bytes`.
    pub settings: std::collections::BTreeMap<String, String>,
}

impl TopicState {
    /// The settings by which the topic forgets its oldest messages, as `name=value`; empty where it
    /// keeps all, as far as the brokers tell (D5 "Topics we create").
    pub fn finite_retention(&self) -> Vec<String> {
        let finite = |name: &&str| self.settings.get(*name).is_some_and(|value| value != "-1");
        let names = ["retention.ms", "retention.bytes"].into_iter().filter(finite);
        names.map(|name| format!("{name}={}", self.settings[name])).collect()
    }
}

/// A message seen in the backup topic.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    /// Where.
    pub partition: Partition,
    /// Where in it.
    pub offset: Offset,
    /// Key bytes; empty where there is none.
    pub key: &'a [u8],
    /// Body bytes; empty where there is none.
    pub body: &'a [u8],
}

/// Reads the backup topic, committed messages only.
pub trait TopicReader: Send + Sync + 'static {
    /// The topic's partitions and settings; none where it does not exist.
    fn state(&self) -> impl Future<Output = Result<Option<TopicState>, CatalogError>> + Send;

    /// Creates the topic with D5's settings, or lets the brokers create it where they do so by
    /// themselves; an existing one is as good. Returns the state afterwards.
    fn create(
        &self,
        partitions: u32,
    ) -> impl Future<Output = Result<TopicState, CatalogError>> + Send;

    /// Reads each partition from `from[p]` to the end it has at the start of the call, in order
    /// within a partition, and shows every message once. Returns the ends: one past the last
    /// offset read, by partition.
    fn scan(
        &self,
        from: &[Offset],
        each: &mut (dyn FnMut(Seen<'_>) + Send),
    ) -> impl Future<Output = Result<Vec<Offset>, CatalogError>> + Send;
}

/// A message read again by its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Where.
    pub partition: Partition,
    /// Where in it.
    pub offset: Offset,
    /// Key bytes.
    pub key: Vec<u8>,
    /// Body bytes.
    pub body: Vec<u8>,
}

/// Reads places of the backup topic again, committed messages only.
pub trait RangeReader: TopicReader {
    /// What gives the messages.
    type Cursor: Cursor;

    /// Opens places for reading: by partition the first and the last offset wanted. What lies
    /// between them and was not asked for is shown too.
    fn open(
        &self,
        places: &std::collections::BTreeMap<Partition, (Offset, Offset)>,
    ) -> impl Future<Output = Result<Self::Cursor, CatalogError>> + Send;
}

/// Gives messages, in order within a partition, holding a bounded number of them.
pub trait Cursor: Send {
    /// The next message; none after the last.
    fn next(&mut self) -> impl Future<Output = Result<Option<Stored>, CatalogError>> + Send;
}

/// Remembers what is known of one topic from one run to the next. What is loaded was known once and
/// is checked against the topic by who uses it; that there is nothing is always right.
pub trait CatalogCache: Send + Sync + 'static {
    /// What was stored last; none where nothing usable was.
    fn load(&self) -> Option<known::Known>;

    /// Stores it, whole or not at all.
    ///
    /// # Errors
    /// What the system said.
    fn store(&self, known: &known::Known) -> std::io::Result<()>;
}

/// Remembers nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Forgetful;

impl CatalogCache for Forgetful {
    fn load(&self) -> Option<known::Known> {
        None
    }

    fn store(&self, _known: &known::Known) -> std::io::Result<()> {
        Ok(())
    }
}
