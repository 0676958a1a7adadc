//! A task of ClickHouse while it is worked on. Owns when it is tried again, when it is left, and
//! which answer it gets; how an operation goes is the manager's.

use std::time::Duration;

use super::ask::Heavy;
use super::reply::{Answer, has_succeeded};
use super::ticket::{Fate, Ticket};
use super::worker::World;
use crate::clickhouse::{Code, OperationId, TaskError};
use crate::journal::Operation;

/// How often a task is tried while ClickHouse does not answer and nothing was begun.
const TRIES: u32 = 5;
/// First and longest pause between two tries.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// How the task came to be here.
pub(super) struct Origin {
    /// A former delivery of it may have begun the operation.
    pub(super) adopt: bool,
    /// The sender gave an id to the task or to the operation.
    pub(super) named: bool,
}

impl<W: World> Ticket<'_, W> {
    /// Works on a backup or restore until it is at its end or has to be left.
    pub(super) async fn operate(&self, id: &OperationId, asked: &Heavy, origin: &Origin) {
        let before = self.inner.manager.known(id).is_some_and(|known| has_succeeded(&known));
        let mut wait = PAUSES.0;
        for tries in 1.. {
            let adopt = origin.adopt || tries > 1;
            let done = match asked {
                Heavy::Create(create) => self.inner.manager.create_backup(id, create, self).await,
                Heavy::Restore(restore) => {
                    self.inner.manager.restore_backup(id, restore, adopt, self).await
                }
                Heavy::Run(_) => return,
            };
            let done = match done {
                Ok(_) if before && !origin.adopt => self.of_repeated(id, asked, origin),
                done => done,
            };
            match self.judge(done, tries) {
                Verdict::Answer(answer) => return self.settle(&answer).await,
                Verdict::Leave => return,
                Verdict::Again => {
                    if self.pause(wait).await {
                        return;
                    }
                    wait = (wait * 2).min(PAUSES.1);
                }
            }
        }
    }

    /// Goes on with an operation that a former process had.
    pub(super) async fn recover(&self, id: &OperationId) {
        let mut wait = PAUSES.0;
        for tries in 1.. {
            let done = match self.inner.manager.known(id) {
                Some(_) => self.inner.manager.recover(id, None, self).await,
                None => Err(TaskError::new(Code::CredentialsLost, "it was never begun")),
            };
            match self.judge(done, tries) {
                Verdict::Answer(answer) => return self.settle(&answer).await,
                Verdict::Leave => return,
                Verdict::Again => {
                    if self.pause(wait).await {
                        return;
                    }
                    wait = (wait * 2).min(PAUSES.1);
                }
            }
        }
    }

    /// The operation of this id had succeeded before this task came.
    fn of_repeated(
        &self,
        id: &OperationId,
        asked: &Heavy,
        origin: &Origin,
    ) -> Result<Operation, TaskError> {
        let known = self.inner.manager.known(id);
        match (asked, known) {
            (Heavy::Create(_), Some(known)) => {
                let text = format!("{} holds the backup of operation {id}", known.path);
                Err(TaskError::new(Code::PathExists, text))
            }
            (_, Some(known)) if origin.named => Ok(known),
            _ => {
                let text = "the same task without an id was done before; give it a backup_id";
                Err(TaskError::new(Code::IdConflict, text))
            }
        }
    }

    fn judge(&self, done: Result<Operation, TaskError>, tries: u32) -> Verdict {
        let owned = match self.fate() {
            Fate::Lost | Fate::Left => return Verdict::Leave,
            Fate::Owned => true,
            Fate::Open => false,
        };
        if !owned && self.is_stopping() {
            return Verdict::Leave;
        }
        match done {
            Ok(operation) => {
                let code = operation.failure.as_ref().map(|failure| failure.code.as_str());
                let silent = code == Some(Code::ClickhouseUnavailable.as_str());
                match silent && !owned && tries < TRIES {
                    true => Verdict::Again,
                    false => Verdict::Answer(Answer::of_operation(&operation)),
                }
            }
            Err(error) if error.open.is_some() => {
                if self.is_stopping() {
                    return Verdict::Leave;
                }
                match error.code.is_retryable() && (owned || tries < TRIES) {
                    true => Verdict::Again,
                    false => Verdict::Answer(Answer::failed(&error)),
                }
            }
            Err(error) => Verdict::Answer(Answer::failed(&error)),
        }
    }
}

/// What comes of a try.
enum Verdict {
    Answer(Answer),
    Again,
    Leave,
}
