//! How a backup goes: looked at first, sent as ASYNC, waited for, read back. A backup destroys
//! nothing, so what is in doubt is looked up at its place, and a transient failure is tried again
//! under a new id. Owns no statement.

use super::failure::{Code, TaskError};
use super::manager::{BackupManager, Watch, open_id, place};
use super::manifest::Contents;
use super::name::Name;
use super::request::CreateBackup;
use super::statement::{Command, Transfer, attempt_id};
use super::waiting::Ended;
use super::{Keys, Server, ServerError};
use crate::journal::{Operation, OperationEnd, OperationStep, Operations};

/// What lies at an operation's place, seen from the operation.
enum Found {
    /// A finished backup that it wrote itself.
    Ours,
    /// Nothing.
    Free,
    /// Something that stands in the way.
    InTheWay(TaskError),
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
                let Some(request) = request else {
                    let error = TaskError::new(Code::CredentialsLost, "it was never sent");
                    return self.fail(operation, error);
                };
                match self.preflight_backup(&operation, request).await {
                    Ok(Found::Ours) => return self.end(operation, OperationEnd::Succeeded),
                    Ok(Found::Free) => {}
                    Ok(Found::InTheWay(error)) | Err(error) => return self.fail(operation, error),
                }
                if let Err(error) = self.submit_backup(&mut operation, request, watch).await {
                    return self.fail(operation, error);
                }
            }
            self.own(&mut operation, watch).await?;
            let error = match self.wait(&mut operation, watch).await? {
                Ended::Done => return self.finish_backup(operation, request).await,
                Ended::Failed(error) => self.named(&operation, request, error).await,
                Ended::Forgotten => match self.look_up(&operation, keys_of(request)).await {
                    Ok(Found::Ours) => return self.end(operation, OperationEnd::Succeeded),
                    Ok(Found::InTheWay(error)) => return self.fail(operation, error),
                    Ok(Found::Free) => forgotten(),
                    Err(error) => return Err(error.of_open(&open_id(&operation))),
                },
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
            Ended::Forgotten => match self.look_up(&operation, keys).await {
                Ok(Found::Ours) => self.end(operation, OperationEnd::Succeeded),
                Ok(Found::InTheWay(error)) => self.fail(operation, error),
                Ok(Found::Free) => self.fail(operation, forgotten()),
                Err(error) => {
                    let message = format!("the server was restarted; its place: {}", error.message);
                    self.fail(operation, TaskError::new(Code::UnknownOutcome, message))
                }
            },
        }
    }

    async fn preflight_backup(
        &self,
        operation: &Operation,
        request: &CreateBackup,
    ) -> Result<Found, TaskError> {
        let object = &request.common.object;
        self.require_no_others(object, None).await?;
        // What is missing and what is in the way ClickHouse finds by itself: to ask before would cost
        // every backup more time than its acceptance.
        if operation.attempt == 0 {
            return Ok(Found::Free);
        }
        self.look_up(operation, request.common.keys.as_ref()).await
    }

    /// The error of a statement; where something is in its way, told by what that is.
    async fn named(
        &self,
        operation: &Operation,
        request: Option<&CreateBackup>,
        error: TaskError,
    ) -> TaskError {
        if !matches!(error.code, Code::PathExists | Code::PathLocked) {
            return error;
        }
        match self.look_up(operation, keys_of(request)).await {
            Ok(Found::InTheWay(found)) => {
                TaskError { clickhouse_code: error.clickhouse_code, ..found }
            }
            Ok(Found::Ours | Found::Free) | Err(_) => error,
        }
    }

    /// Looks at the place of an operation.
    async fn look_up(
        &self,
        operation: &Operation,
        keys: Option<&Keys>,
    ) -> Result<Found, TaskError> {
        let place = place(operation);
        let Contents { locked, backup } = self.server.contents(&place, keys).await?;
        let ours = |id: &str| {
            (1..=operation.attempt).any(|number| attempt_id(&operation.id, number) == id)
        };
        Ok(match backup {
            Some(backup) if ours(&backup.id) => Found::Ours,
            Some(backup) => Found::InTheWay(TaskError::new(
                Code::PathExists,
                format!("{place} holds the backup {}", backup.id),
            )),
            None if locked => Found::InTheWay(TaskError::new(
                Code::PathLocked,
                format!(
                    "{place}/.lock is there without a finished backup: one is being written there, \
                     or was and never ended"
                ),
            )),
            None => Found::Free,
        })
    }

    async fn submit_backup(
        &self,
        operation: &mut Operation,
        request: &CreateBackup,
        watch: &impl Watch,
    ) -> Result<(), TaskError> {
        operation.attempt += 1;
        self.step(operation, OperationStep::Submitting)?;
        watch.tell(operation);
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
        match self.server.run(Command::Backup { object: &common.object, transfer }).await {
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

    /// A backup counts once it can be read from its place.
    async fn finish_backup(
        &self,
        operation: Operation,
        request: Option<&CreateBackup>,
    ) -> Result<Operation, TaskError> {
        let Some(request) = request else { return self.end(operation, OperationEnd::Succeeded) };
        match self.look_up(&operation, request.common.keys.as_ref()).await {
            Ok(Found::Ours) => self.end(operation, OperationEnd::Succeeded),
            Ok(Found::InTheWay(error)) => self.fail(operation, error),
            Ok(Found::Free) => {
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
        object: &super::Object,
        mine: Option<&Name>,
    ) -> Result<(), TaskError> {
        let of = |name: &Name, base: &Name| {
            name.is_beside()
                && Some(name) != mine
                && name.as_str().starts_with(&format!("{base}__bk_"))
        };
        let (databases, tables) =
            tokio::join!(self.server.databases(), self.server.tables(&object.database));
        let wanted = |name: &Name| match &object.table {
            Some(table) => of(name, table),
            None => name.is_beside() && Some(name) != mine,
        };
        let mut databases = databases?.into_iter().map(|row| row.name);
        let mut tables = tables?.into_iter().map(|row| row.name);
        let found = databases.find(|name| of(name, &object.database));
        match found.or_else(|| tables.find(wanted)) {
            None => Ok(()),
            Some(name) => {
                let message = format!("{name} tells of another operation on {object}");
                Err(TaskError::new(Code::Busy, message))
            }
        }
    }
}

fn forgotten() -> TaskError {
    let message = "the server was restarted, and nothing is at the path";
    TaskError::new(Code::ClickhouseUnavailable, message)
}

fn keys_of(request: Option<&CreateBackup>) -> Option<&Keys> {
    request.and_then(|request| request.common.keys.as_ref())
}
