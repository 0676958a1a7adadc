//! Where increments go: the backup topic, written through *lanes*. Owns the trait; never names a
//! broker's protocol.

pub mod kafka;
mod reports;

use std::future::Future;

use crate::model::{Offset, Partition, RunId};

/// How a write to the backup topic fails.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// The brokers cannot take it now: abort, and enter the resume path again (D5).
    #[error("brokers did not take the messages: {reason}")]
    Interrupted {
        /// What the client said.
        reason: String,
    },
    /// Another instance of this run took the lane over; this one is fenced.
    #[error("lane {lane} was taken over by another instance of this run")]
    Fenced {
        /// The lane.
        lane: u32,
    },
    /// A message is larger than the topic takes.
    #[error("a message of {bytes} bytes is larger than the topic's limit of {limit}")]
    TooLarge {
        /// Its size, key and body.
        bytes: usize,
        /// The topic's max.message.bytes.
        limit: usize,
    },
    /// The brokers refuse for good: no rights, no transactions, no such topic.
    #[error("brokers refuse: {reason}")]
    Refused {
        /// What they said.
        reason: String,
    },
}

/// A message ready for the backup topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Destination.
    pub partition: Partition,
    /// Key bytes.
    pub key: Vec<u8>,
    /// Body bytes.
    pub body: Vec<u8>,
}

/// A lane: one sequence of transactions. Messages sent since the last commit become visible to
/// read_committed readers together.
pub trait Lane: Send {
    /// Hands a message over; waits while too many bytes are under way. Messages of one partition
    /// keep their order.
    fn send(&mut self, message: Message) -> impl Future<Output = Result<(), SinkError>> + Send;

    /// Waits until all messages sent since the last commit are durable and visible, and returns
    /// where each lies, in the order they were sent. Without messages it does nothing.
    ///
    /// # Errors
    /// After any error the outcome is unknown: the lane is to be dropped, and the topic read.
    fn commit(&mut self) -> impl Future<Output = Result<Vec<Offset>, SinkError>> + Send;
}

/// The backup topic as a place to write.
pub trait Sink: Send + Sync + 'static {
    /// A lane of this topic.
    type Lane: Lane;

    /// Opens lane `lane` of `run`: fences a living predecessor and aborts what it left open.
    fn open(
        &self,
        run: RunId,
        lane: u32,
    ) -> impl Future<Output = Result<Self::Lane, SinkError>> + Send;

    /// Waits until nothing that a dead instance handed over can still arrive. Transactions make
    /// this immediate; without them the tail must have been quiet for a while (D5).
    fn settle(&self) -> impl Future<Output = Result<(), SinkError>> + Send;
}
