//! Waiting for the server: until it answers, until a statement has ended, until one that stands still
//! was cancelled. Owns no decision about what is done then.

use std::time::Duration;

use super::failure::{Code, ServerError, TaskError};
use super::manager::{BackupManager, open_id};
use super::patience::Movement;
use super::statement::{Command, attempt_id};
use super::watch::Watch;
use super::{Server, ServerOperation};
use crate::journal::{Operation, Operations};

/// How often the server may not know an operation before it counts as forgotten.
const MISSES: u32 = 3;

/// How a statement ended.
pub(super) enum Ended {
    /// As asked.
    Done,
    /// Otherwise.
    Failed(TaskError),
    /// The server does not know it any more.
    Forgotten,
}

impl<S: Server, J: Operations> BackupManager<S, J> {
    /// Asks the server until it answers, as long as patience lasts. Only for questions and for what
    /// can be said twice.
    pub(super) async fn patiently<T, F>(
        &self,
        operation: &Operation,
        watch: &impl Watch,
        ask: impl Fn() -> F,
    ) -> Result<Result<T, ServerError>, TaskError>
    where
        F: Future<Output = Result<T, ServerError>>,
    {
        let (mut pause, mut silent) = (self.patience.first, Duration::ZERO);
        loop {
            match ask().await {
                Err(ServerError::Unreachable { reason }) => {
                    if silent.is_zero() {
                        let most = self.patience.silence.as_secs();
                        tracing::warn!(%reason, "no answer; asked again for {most} s at most");
                    }
                    if silent >= self.patience.silence || watch.is_stopped() {
                        let error = ServerError::Unreachable { reason };
                        return Err(TaskError::from(error).of_open(&open_id(operation)));
                    }
                }
                answer => return Ok(answer),
            }
            tokio::time::sleep(pause).await;
            silent += pause;
            pause = self.patience.longer(pause);
        }
    }

    /// Waits for the statement of the last attempt.
    pub(super) async fn wait(
        &self,
        operation: &mut Operation,
        watch: &impl Watch,
    ) -> Result<Ended, TaskError> {
        let id = attempt_id(&operation.id, operation.attempt);
        let (mut pause, mut misses) = (self.patience.first, 0);
        let mut movement = Movement::default();
        loop {
            let answer = self.patiently(operation, watch, || self.server.operation(&id)).await?;
            match answer.map_err(|error| TaskError::from(error).of_open(&open_id(operation)))? {
                Some(server) if server.status.is_done() => {
                    operation.size = server.size;
                    return Ok(Ended::Done);
                }
                Some(server) if server.status.is_running() => {
                    misses = 0;
                    operation.size = server.size;
                    watch.tell(operation);
                    if !movement.moves(&server, pause) {
                        movement.works(self.work_of(&server).await);
                    }
                    if movement.stands(self.patience.stall) {
                        return self.cancel(operation, watch).await.map(Ended::Failed);
                    }
                }
                Some(server) => return Ok(Ended::Failed(error_of_server(&server))),
                None if misses >= MISSES => return Ok(self.logged_end(operation, &id).await),
                None => misses += 1,
            }
            if watch.is_stopped() {
                let error = TaskError::new(Code::Cancelled, "asked to stop; ClickHouse goes on");
                return Err(error.of_open(&open_id(operation)));
            }
            tokio::time::sleep(pause).await;
            pause = self.patience.longer(pause);
        }
    }

    /// How much its statement has moved; none where that cannot be seen.
    async fn work_of(&self, server: &ServerOperation) -> Option<u64> {
        match self.server.movement(&server.query).await {
            // A row that stays though nobody works on it any more has been seen, and stands.
            Ok(work) => Some(work.unwrap_or(0)),
            Err(error) => {
                tracing::debug!(%error, "the work of {} cannot be seen", server.id);
                None
            }
        }
    }

    /// How a statement ended that the server forgot, if its log tells.
    async fn logged_end(&self, operation: &mut Operation, id: &str) -> Ended {
        match self.server.logged(id).await {
            Ok(Some(server)) if server.status.is_done() => {
                operation.size = server.size;
                Ended::Done
            }
            Ok(Some(server)) if !server.status.is_running() => {
                Ended::Failed(error_of_server(&server))
            }
            _ => Ended::Forgotten,
        }
    }

    /// Asks the statement of the last attempt to end, and waits for that as long as patience lasts.
    /// Returns why it was asked to; left open where it does not end.
    pub(super) async fn cancel(
        &self,
        operation: &Operation,
        watch: &impl Watch,
    ) -> Result<TaskError, TaskError> {
        let id = attempt_id(&operation.id, operation.attempt);
        let stalled = TaskError::new(Code::Stalled, "nothing moved for a long time");
        let (mut pause, mut waited) = (self.patience.first, Duration::ZERO);
        loop {
            let answer = self.patiently(operation, watch, || self.server.operation(&id)).await?;
            match answer {
                Ok(Some(server)) if server.status.is_running() => {
                    // Said again and again: a KILL is lost where the server is restarted.
                    let kill = Command::Kill { query: &server.query };
                    if let Err(error) = self.server.run(kill).await {
                        tracing::debug!(%error, "cancelling {id}");
                    }
                }
                Ok(_) => return Ok(stalled),
                Err(error) => return Err(TaskError::from(error).of_open(&open_id(operation))),
            }
            if waited >= self.patience.cancel {
                let message = format!("{id} stands still and does not end though it was asked to");
                return Err(TaskError::new(Code::Stalled, message).of_open(&open_id(operation)));
            }
            tokio::time::sleep(pause).await;
            waited += pause;
            pause = self.patience.longer(pause);
        }
    }
}

/// Why a statement failed, as the server says.
pub(super) fn error_of_server(server: &ServerOperation) -> TaskError {
    use super::ServerStatus as S;
    match server.status {
        S::BackupCancelled | S::RestoreCancelled => {
            TaskError::new(Code::Cancelled, "ClickHouse cancelled it")
        }
        _ => ServerError::from_text(&server.error).into(),
    }
}
