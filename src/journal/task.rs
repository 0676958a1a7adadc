//! What is remembered of a task of the queue: one record, overwritten before each step is taken.
//! Never holds a secret nor the task's body. Variants and fields are only appended.

use serde::{Deserialize, Serialize};

use super::JournalError;

/// Whose a task is, and what is owed for it. A state is written before it is true.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum TaskState {
    /// It came; it is the broker's.
    Taken,
    /// It is being acknowledged: whose it is shows only by whether it comes again.
    Acking,
    /// It is this worker's.
    Acked,
    /// It is at its end; the reply is written and not confirmed.
    Answered,
    /// The reply is confirmed, or nobody waits for it.
    Done,
}

/// A task of the queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueTask {
    /// What the task itself is known by; two tasks can ask for one operation.
    pub key: String,
    /// Id of the operation that it asks for.
    pub id: String,
    /// Its type.
    pub kind: String,
    /// The sender's id, which replies carry.
    pub task_id: String,
    /// Hash of what is asked for, without secrets.
    pub asked: [u8; 32],
    /// The queue that waits for the reply.
    pub reply_to: Option<String>,
    /// What the sender knows the reply by.
    pub correlation_id: Option<String>,
    /// What the sender wants back, JSON.
    pub meta: Option<String>,
    /// How often it was taken.
    pub deliveries: u32,
    /// Whose it is.
    pub state: TaskState,
    /// The command that it asks for, where it is one of this program's.
    pub words: Vec<String>,
    /// Name of the credentials of that command.
    pub credentials: Option<String>,
    /// The run that the command began.
    pub run: Option<String>,
    /// The body of the final reply, JSON.
    pub reply: Option<String>,
    /// When it first came, milliseconds since 1970.
    pub created: i64,
    /// When it was last written.
    pub updated: i64,
}

/// Durable memory of tasks. One writer.
pub trait Tasks: Send + 'static {
    /// Every task that is remembered.
    ///
    /// # Errors
    /// [`JournalError`].
    fn all(&self) -> Result<Vec<QueueTask>, JournalError>;

    /// Writes a task over what was known of it, durable when it returns.
    ///
    /// # Errors
    /// [`JournalError`].
    fn put(&mut self, task: &QueueTask) -> Result<(), JournalError>;

    /// Forgets tasks.
    ///
    /// # Errors
    /// [`JournalError`].
    fn forget(&mut self, keys: &[String]) -> Result<(), JournalError>;
}
