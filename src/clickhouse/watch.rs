//! Who asked for an operation, as the manager sees them: told of it, and asked whose it is. Owns no
//! decision about an operation.

use crate::journal::Operation;

/// Who asked for an operation.
pub trait Watch: Send + Sync {
    /// From here on the operation is the journal's alone: ClickHouse has accepted the statement, or
    /// the first step that cannot be undone by waiting is next. False: somebody else has the task,
    /// nothing more may be done.
    fn own(&self, operation: &Operation) -> impl Future<Output = bool> + Send;

    /// Something was journalled.
    fn tell(&self, _operation: &Operation) {}

    /// Whether to leave off at the next safe place.
    fn is_stopped(&self) -> bool {
        false
    }

    /// Whether the task comes again if this process dies before it is owned: what is known of it
    /// until then need not outlive the process.
    fn is_kept(&self) -> bool {
        false
    }

    /// Whether the task was given to somebody before who may have begun it and died: a finished
    /// backup of this id at its place is then its own.
    fn is_redelivered(&self) -> bool {
        false
    }
}

/// Nobody: whoever asked waits, and no queue has the task.
#[derive(Clone, Copy, Debug, Default)]
pub struct Alone;

impl Watch for Alone {
    async fn own(&self, _operation: &Operation) -> bool {
        true
    }
}
