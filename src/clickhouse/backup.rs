//! How a backup goes: looked at first, sent as ASYNC, waited for, read back. A backup destroys
//! nothing, so what is in doubt is looked up at its place, and a transient failure is tried again
//! under a new id. Owns no statement.

use super::failure::{Code, TaskError};
use super::manager::{BackupManager, open_id, place};
use super::manifest::Contents;
use super::name::{Name, Object};
use super::request::CreateBackup;
use super::statement::{Command, Transfer, attempt_id, attempt_of};
use super::waiting::Ended;
use super::watch::Watch;
use super::{Keys, Server, ServerError};
use crate::journal::{Operation, OperationEnd, OperationStep, Operations};

/// What lies at an operation's place, seen from the operation.
enum Found {
    /// A finished backup that it wrote itself, by this attempt.
    Ours(u32),
    /// One that it began itself, and that works on.
    AtWork,
    /// Nothing.
    Free,
    /// Something that stands in the way.
    InTheWay(TaskError),
}

/// What comes after a look.
enum Next {
    /// It is finished, by this attempt.
    Found(u32),
    /// It works.
    Wait,
    /// It does not end as asked.
    Fail(TaskError),
}

impl<S: Server, J: Operations> BackupManager<S, J> {
    /// Brings a backup to its end. Without the request no statement is sent.
    pub(super) async fn drive_backup(
        &self,
        mut operation: Operation,
        request: Option<&CreateBackup>,
        watch: &impl Watch,
    ) -> Result<Operation, TaskError> {
        let mut pause = self.patience.first;
        for tries in 1.. {
            if operation.step == OperationStep::Planned {
                match self.begin_backup(&mut operation, request, watch).await {
                    Next::Found(number) => return self.end_found(operation, number).await,
                    Next::Wait => {}
                    Next::Fail(error) => return self.fail(operation, error),
                }
            }
            self.own(&mut operation, watch).await?;
            let ended = self.wait(&mut operation, watch).await?;
            if matches!(ended, Ended::Done) {
                return self.finish_backup(operation, request, watch).await;
            }
            let error = match self.after(&mut operation, ended, request, watch).await? {
                Next::Found(number) => return self.end_found(operation, number).await,
                Next::Wait => continue,
                Next::Fail(error) => error,
            };
            let again = request.is_some()
                && tries < self.patience.attempts
                && matches!(error.code, Code::StorageError | Code::ClickhouseUnavailable);
            if !again || watch.is_stopped() {
                return self.fail(operation, error);
            }
            tracing::warn!(%error, "backup {} is tried again", operation.id);
            tokio::time::sleep(pause).await;
            pause = self.patience.longer(pause);
            self.step(&mut operation, OperationStep::Planned)?;
        }
        // The loop ends by returning.
        self.fail(operation, TaskError::new(Code::Internal, "too many attempts"))
    }

    /// Looks, and sends the statement where nothing is in the way.
    async fn begin_backup(
        &self,
        operation: &mut Operation,
        request: Option<&CreateBackup>,
        watch: &impl Watch,
    ) -> Next {
        let Some(request) = request else {
            return Next::Fail(TaskError::new(Code::CredentialsLost, "it was never sent"));
        };
        match self.preflight_backup(operation, request, watch).await {
            Ok(Found::Ours(number)) => Next::Found(number),
            Ok(Found::AtWork) => Next::Wait,
            Ok(Found::Free) => match self.submit_backup(operation, request, watch).await {
                Ok(()) => Next::Wait,
                Err(error) => Next::Fail(error),
            },
            Ok(Found::InTheWay(error)) | Err(error) => Next::Fail(error),
        }
    }

    /// What a statement means that did not end as asked: its place tells, where that can be seen.
    async fn after(
        &self,
        operation: &mut Operation,
        ended: Ended,
        request: Option<&CreateBackup>,
        watch: &impl Watch,
    ) -> Result<Next, TaskError> {
        let error = match ended {
            Ended::Failed(error) if !is_in_the_way(&error) => return Ok(Next::Fail(error)),
            Ended::Failed(error) => Some(error),
            Ended::Done | Ended::Forgotten => None,
        };
        let found = self.find(operation, keys_of(request), watch).await;
        Ok(match (found, error) {
            (Ok(Found::Ours(number)), _) => Next::Found(number),
            (Ok(Found::AtWork), _) => Next::Wait,
            (Ok(Found::InTheWay(found)), error) => {
                let clickhouse_code = error.and_then(|error| error.clickhouse_code);
                Next::Fail(TaskError { clickhouse_code, ..found })
            }
            (Ok(Found::Free) | Err(_), Some(error)) => Next::Fail(error),
            (Ok(Found::Free), None) => Next::Fail(forgotten()),
            (Err(error), None) => return Err(error.of_open(&open_id(operation))),
        })
    }

    /// Brings a backup that a dead process left to its end.
    pub(super) async fn recover_backup(
        &self,
        mut operation: Operation,
        keys: Option<&Keys>,
        watch: &impl Watch,
    ) -> Result<Operation, TaskError> {
        if operation.step == OperationStep::Planned {
            let error = TaskError::new(Code::CredentialsLost, "it was never sent");
            return self.fail(operation, error);
        }
        match self.wait(&mut operation, watch).await? {
            Ended::Done => self.end(operation, OperationEnd::Succeeded),
            Ended::Failed(error) => self.fail(operation, error),
            Ended::Forgotten => match self.look_up(&operation, keys, watch).await {
                Ok(Found::Ours(number)) => self.end_found(operation, number).await,
                Ok(Found::InTheWay(error)) => self.fail(operation, error),
                Ok(Found::Free | Found::AtWork) => self.fail(operation, forgotten()),
                Err(error) => {
                    let message = format!("the server was restarted; its place: {}", error.message);
                    self.fail(operation, TaskError::new(Code::UnknownOutcome, message))
                }
            },
        }
    }

    async fn preflight_backup(
        &self,
        operation: &mut Operation,
        request: &CreateBackup,
        watch: &impl Watch,
    ) -> Result<Found, TaskError> {
        self.require_no_others(&request.common.object, None).await?;
        // What is missing and what is in the way ClickHouse finds by itself: to ask before would cost
        // every backup more time than its acceptance.
        let found = match operation.attempt > 0 || watch.is_redelivered() {
            true => self.find(operation, request.common.keys.as_ref(), watch).await?,
            false => Found::Free,
        };
        if matches!(found, Found::Free) {
            self.announce(operation, watch)?;
        }
        Ok(found)
    }

    /// Journals that the next statement is being sent. Of a task that comes again if this process
    /// dies, whoever gets it looks for what was sent: that needs no journal before it is owned.
    fn announce(&self, operation: &mut Operation, watch: &impl Watch) -> Result<(), TaskError> {
        operation.attempt += 1;
        operation.step = OperationStep::Submitting;
        match watch.is_kept() && !operation.owned {
            true => self.remember(operation),
            false => self.put(operation)?,
        }
        watch.tell(operation);
        Ok(())
    }

    /// Ends a backup that was found finished at its place, with what the server still tells of it.
    async fn end_found(
        &self,
        mut operation: Operation,
        number: u32,
    ) -> Result<Operation, TaskError> {
        operation.attempt = number;
        let id = attempt_id(&operation.id, number);
        if let Ok(Some(server)) = self.server.operation(&id).await {
            operation.size = server.size;
        }
        self.end(operation, OperationEnd::Succeeded)
    }

    /// Looks at the place of an operation, and takes over what another worker sent for the same task
    /// and left at work there.
    async fn find(
        &self,
        operation: &mut Operation,
        keys: Option<&Keys>,
        watch: &impl Watch,
    ) -> Result<Found, TaskError> {
        let found = self.look_up(operation, keys, watch).await?;
        if !matches!(&found, Found::InTheWay(error) if error.code == Code::PathLocked) {
            return Ok(found);
        }
        let shown = place(operation).shown();
        for number in 1.. {
            let id = attempt_id(&operation.id, number);
            match self.server.operation(&id).await? {
                Some(server) if server.status.is_running() && server.url == shown => {
                    operation.attempt = number;
                    self.step(operation, OperationStep::Submitting)?;
                    return Ok(Found::AtWork);
                }
                // Numbers of before a restart of the server are not known, either.
                None if number > operation.attempt => break,
                _ => {}
            }
        }
        Ok(found)
    }

    /// Looks at the place of an operation.
    async fn look_up(
        &self,
        operation: &Operation,
        keys: Option<&Keys>,
        watch: &impl Watch,
    ) -> Result<Found, TaskError> {
        let place = place(operation);
        let Contents { locked, backup } = self.server.contents(&place, keys).await?;
        let ours = |id: &str| {
            let number = attempt_of(&operation.id, id)?;
            (number <= operation.attempt || watch.is_redelivered()).then_some(number)
        };
        let number = backup.as_ref().and_then(|backup| ours(&backup.id));
        Ok(match (backup, number) {
            (Some(_), Some(number)) => Found::Ours(number),
            (Some(backup), None) => Found::InTheWay(TaskError::new(
                Code::PathExists,
                format!("{place} holds the backup {}", backup.id),
            )),
            (None, _) if locked => Found::InTheWay(TaskError::new(
                Code::PathLocked,
                format!(
                    "{place}/.lock is there without a finished backup: one is being written there, \
                     or was and never ended"
                ),
            )),
            (None, _) => Found::Free,
        })
    }

    async fn submit_backup(
        &self,
        operation: &mut Operation,
        request: &CreateBackup,
        watch: &impl Watch,
    ) -> Result<(), TaskError> {
        let sent = match self.send_backup(operation, request).await {
            Err(error) if error.is_used_id() => {
                // Somebody else's attempt, or one of another worker that had this task.
                operation.attempt -= 1;
                match self.find(operation, request.common.keys.as_ref(), watch).await? {
                    Found::Free => {}
                    Found::AtWork => return Ok(()),
                    Found::Ours(number) => {
                        operation.attempt = number;
                        return Ok(());
                    }
                    Found::InTheWay(error) => return Err(error),
                }
                self.skip_used(operation).await?;
                self.send_backup(operation, request).await
            }
            sent => sent,
        };
        match sent {
            Ok(()) => Ok(()),
            // It may have come all the same; whoever waits looks for it.
            Err(ServerError::Unreachable { reason }) => {
                tracing::warn!(%reason, "no answer to BACKUP {}", operation.id);
                tokio::time::sleep(self.patience.grace).await;
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn send_backup(
        &self,
        operation: &Operation,
        request: &CreateBackup,
    ) -> Result<(), ServerError> {
        let common = &request.common;
        let transfer = Transfer {
            id: attempt_id(&operation.id, operation.attempt),
            place: &common.place,
            keys: common.keys.as_ref(),
            base: common.base.as_ref(),
            structure_only: common.structure_only,
            bandwidth: common.bandwidth,
            cluster: common.cluster.as_ref(),
            retries: self.patience.retries,
        };
        self.server.run(Command::Backup { object: &common.object, transfer }).await
    }

    /// A backup counts once it can be read from its place.
    async fn finish_backup(
        &self,
        operation: Operation,
        request: Option<&CreateBackup>,
        watch: &impl Watch,
    ) -> Result<Operation, TaskError> {
        let Some(request) = request else { return self.end(operation, OperationEnd::Succeeded) };
        match self.look_up(&operation, request.common.keys.as_ref(), watch).await {
            Ok(Found::Ours(_)) => self.end(operation, OperationEnd::Succeeded),
            Ok(Found::InTheWay(error)) => self.fail(operation, error),
            Ok(Found::Free | Found::AtWork) => {
                let message = "ClickHouse says it is done, and nothing is at the path";
                self.fail(operation, TaskError::new(Code::BackupDamaged, message))
            }
            // The store or the server fell silent after it was done.
            Err(error) if error.code.is_retryable() => self.end(operation, OperationEnd::Succeeded),
            Err(error) => self.fail(operation, error),
        }
    }

    /// Nobody else may be at work on these names: what another operation keeps beside a name tells
    /// of it. `mine` is what this operation keeps there itself.
    pub(super) async fn require_no_others(
        &self,
        object: &Object,
        mine: Option<&Name>,
    ) -> Result<(), TaskError> {
        require_none(object, mine, &self.server.beside_of(&object.database).await?)
    }
}

/// What is beside a database or in it concerns whoever works on that, but `mine`.
pub(super) fn require_none(
    object: &Object,
    mine: Option<&Name>,
    others: &[Object],
) -> Result<(), TaskError> {
    let concerns = |other: &&Object| match (&other.table, &object.table) {
        (Some(given), Some(table)) => given.is_beside_of(table),
        _ => true,
    };
    match others.iter().filter(concerns).map(Object::given).find(|given| Some(*given) != mine) {
        None => Ok(()),
        Some(given) => {
            let message = format!("{given} tells of another operation on {object}");
            Err(TaskError::new(Code::Busy, message))
        }
    }
}

fn is_in_the_way(error: &TaskError) -> bool {
    matches!(error.code, Code::PathExists | Code::PathLocked)
}

fn forgotten() -> TaskError {
    let message = "the server was restarted, and nothing is at the path";
    TaskError::new(Code::ClickhouseUnavailable, message)
}

fn keys_of(request: Option<&CreateBackup>) -> Option<&Keys> {
    request.and_then(|request| request.common.keys.as_ref())
}
