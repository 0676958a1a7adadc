//! Whose a task is, remembered by the broker for all workers: a queue without messages, whose name
//! is the task's and one of whose settings is the worker's. The broker refuses to declare a queue
//! again with other settings, and decides so for everybody at once. Owns names and settings of these
//! queues; they go away by themselves.

use lapin::options::QueueDeclareOptions;
use lapin::types::{AMQPValue, FieldTable, LongString, ShortString};
use lapin::{Channel, ErrorKind};
use sha2::{Digest, Sha256};

/// How long an unused queue stays, milliseconds: seven days.
const REMEMBERED: i64 = 7 * 24 * 3600 * 1000;
/// What the broker answers about other settings.
const PRECONDITION_FAILED: u16 = 406;
/// What it answers to users who may not declare such queues.
const ACCESS_REFUSED: u16 = 403;

/// What the broker said.
pub(super) enum Claim {
    /// The task is this worker's.
    Ours,
    /// Another worker said so before.
    Others,
    /// The user may not declare queues of this name.
    Forbidden(ShortString),
}

/// Claims a task. The channel is of no use afterwards, except where the task is ours.
pub(super) async fn claim(
    channel: &Channel,
    queue: &str,
    task: &str,
    worker: &str,
) -> lapin::Result<Claim> {
    let name = name(queue, task);
    let mut settings = FieldTable::default();
    let quorum = AMQPValue::LongString(LongString::from("quorum"));
    settings.insert("x-queue-type".into(), quorum);
    settings.insert("x-expires".into(), AMQPValue::LongLongInt(REMEMBERED));
    settings.insert("x-max-length".into(), AMQPValue::LongLongInt(number(worker)));
    let declared = channel.queue_declare(name.clone(), QueueDeclareOptions::durable(), settings);
    match declared.await {
        Ok(_) => Ok(Claim::Ours),
        Err(error) => match error.kind() {
            ErrorKind::ProtocolError(said) if said.get_id() == PRECONDITION_FAILED => {
                Ok(Claim::Others)
            }
            ErrorKind::ProtocolError(said) if said.get_id() == ACCESS_REFUSED => {
                Ok(Claim::Forbidden(name))
            }
            _ => Err(error),
        },
    }
}

/// Names of queues are public, ids of tasks need not be.
fn name(queue: &str, task: &str) -> ShortString {
    let hash = Sha256::new().chain_update(queue).chain_update([0]).chain_update(task).finalize();
    let hash: String = hash[..16].iter().map(|byte| format!("{byte:02x}")).collect();
    // Names of workers' queues leave room for seven letters only.
    let mut begin = queue.len().min(200);
    while !queue.is_char_boundary(begin) {
        begin -= 1;
    }
    let name = ShortString::try_new(format!("{}.claim.{hash}", &queue[..begin]));
    name.unwrap_or_default()
}

/// A number for a worker: 62 bits of a hash.
fn number(worker: &str) -> i64 {
    let hash = Sha256::digest(worker);
    hash[..8].iter().fold(0_i64, |number, byte| (number << 8) | i64::from(*byte)) & (i64::MAX >> 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_and_workers_have_names_and_numbers_of_their_own() {
        assert_ne!(name("q", "a"), name("q", "b"));
        assert_ne!(name("q", "a"), name("r", "a"));
        assert!(name(&"\u{44f}".repeat(124), "a").as_str().len() <= 255);
        assert!(!name(&"\u{44f}".repeat(124), "a").as_str().is_empty());
        assert_ne!(number("a"), number("b"));
        assert!(number("a") > 0);
    }
}
