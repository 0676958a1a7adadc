//! Tasks from a message queue. Owns the traits of what is outside: [`Broker`], which has the tasks
//! and takes the replies, and [`Runner`], which runs a command of this program. Names no technology;
//! decides nothing: that is in the files beside it.

mod answering;
pub mod ask;
pub mod child;
pub mod command;
pub mod counts;
pub mod decide;
pub mod envelope;
mod going_on;
mod ledger;
pub mod limits;
pub mod mask;
mod operation;
pub mod rabbit;
pub mod reply;
mod running;
mod taking;
mod ticket;
pub mod worker;

use std::collections::BTreeMap;

pub use command::{CommandRule, OptionRule, Takes};
pub use counts::Counts;
pub use limits::Limits;
pub use worker::{Served, Settings, Worker, World};

/// Largest body of a task, bytes.
pub const LARGEST: usize = 64 * 1024;

/// A task as it came.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Message {
    /// The body; it may hold secrets.
    pub body: Vec<u8>,
    /// MIME type, where it is given.
    pub content_type: Option<String>,
    /// The sender's id of the message.
    pub message_id: Option<String>,
    /// What the sender knows the reply by.
    pub correlation_id: Option<String>,
    /// The queue that waits for the reply.
    pub reply_to: Option<String>,
    /// The property `type`.
    pub kind: Option<String>,
    /// Headers that are texts, numbers or flags, as texts.
    pub headers: BTreeMap<String, String>,
    /// It was delivered before, to this worker or another; only a hint.
    pub redelivered: bool,
}

/// Where a message goes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Address {
    /// To a queue by its name.
    Queue(String),
    /// To the exchange for results of those who name no queue, under a routing key.
    Results(String),
    /// Where unreadable tasks are kept.
    Dead,
    /// Back to the queue of tasks, after a pause.
    Later,
}

/// A message to be sent: persistent, and only where somebody takes it.
#[derive(Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// Where to.
    pub to: Address,
    /// The body, JSON.
    pub body: Vec<u8>,
    /// Its id.
    pub message_id: Option<String>,
    /// As the task had it.
    pub correlation_id: Option<String>,
    /// The queue that waits for the reply; only of a task that is sent back.
    pub reply_to: Option<String>,
    /// The property `type`.
    pub kind: Option<String>,
    /// Further headers.
    pub headers: BTreeMap<String, String>,
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Published {
    /// The broker keeps it.
    Taken,
    /// The broker has no queue for it.
    NoSuchQueue,
}

/// The broker cannot be spoken to; it is tried again by whoever holds the connection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the broker: {reason}")]
pub struct BrokerError {
    /// What failed; never an address with a password.
    pub reason: String,
}

/// The queue of tasks and the queues of replies.
pub trait Broker: Send + Sync {
    /// A task that this worker holds.
    type Delivery: Delivery;

    /// The next task; none once the worker was asked to stop. Waits over lost connections.
    fn next(&self) -> impl Future<Output = Option<Self::Delivery>> + Send;

    /// Sends a message, and waits until the broker has confirmed it or sent it back.
    ///
    /// # Errors
    /// [`BrokerError`] where no confirmation came: it may be there all the same.
    fn publish(
        &self,
        message: &Outgoing,
    ) -> impl Future<Output = Result<Published, BrokerError>> + Send;

    /// Says before all workers that a task is this worker's: asked where an ack may have come or
    /// not, and where a task was delivered before. True where no other worker said so earlier; the
    /// same worker may say it again. Remembered for days, also while no worker is there. A broker
    /// that cannot remember that answers true, and two workers can then answer one task.
    ///
    /// # Errors
    /// [`BrokerError`] where it cannot be asked now.
    fn claim(
        &self,
        _task: &str,
        _worker: &str,
    ) -> impl Future<Output = Result<bool, BrokerError>> + Send {
        std::future::ready(Ok(true))
    }
}

/// A task that this worker holds and has not acknowledged. Dropped without an ack, it goes back to
/// the queue at the latest when the connection ends.
pub trait Delivery: Send + Sync {
    /// The task.
    fn message(&self) -> &Message;

    /// Tells the broker that the task is taken over. True once the broker has certainly heard it: it
    /// answered a question that was asked after the ack on the same channel. False where the
    /// connection by which the task came is gone: the task goes to somebody else, or did.
    fn ack(&self) -> impl Future<Output = bool> + Send;

    /// Tells the broker that nothing is owed for the task any more, and does not wait until it has
    /// heard: one that comes again is answered again.
    fn answered(&self) -> impl Future<Output = ()> + Send;
}

/// A command of this program with its options: `words[0]` is its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Work {
    /// Name and options; no secret is in them.
    pub words: Vec<String>,
    /// Name of the credentials, from the worker's settings, that it runs with.
    pub credentials: Option<String>,
}

/// Why a command could not be started.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RunnerError {
    /// The worker's settings have no credentials of this name.
    #[error("no credentials are named {name:?} here")]
    UnknownCredentials {
        /// The name.
        name: String,
    },
    /// The system did not start it.
    #[error("the command cannot be started: {reason}")]
    NotStarted {
        /// What the system said.
        reason: String,
    },
}

/// Runs commands of this program.
pub trait Runner: Send + Sync {
    /// A command at work.
    type Running: Running;

    /// Starts a command.
    ///
    /// # Errors
    /// [`RunnerError`].
    fn start(&self, work: &Work)
    -> impl Future<Output = Result<Self::Running, RunnerError>> + Send;
}

/// A command at work.
pub trait Running: Send {
    /// Waits until its first record is durable, and returns the run's id; none where it ended
    /// without having begun a run.
    fn begun(&mut self) -> impl Future<Output = Option<String>> + Send;

    /// Waits for its end.
    fn ended(&mut self) -> impl Future<Output = Ending> + Send;

    /// Asks it to stop in order; its run goes on with a later `resume`.
    fn stop(&mut self);
}

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// Its exit code (README); none where it was killed.
    pub code: Option<i32>,
    /// The JSON document that it printed, where it printed one.
    pub output: Option<serde_json::Value>,
    /// Its last line of the log, where it failed.
    pub message: String,
}
