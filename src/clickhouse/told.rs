//! What is told of operations: the journal's and the server's, joined. Begins and changes nothing.

use super::Server;
use super::failure::{Code, TaskError};
use super::list::{self, Entry, Page, Query};
use super::manager::{BackupManager, USED};
use super::name::OperationId;
use super::statement::attempt_id;
use crate::journal::{Operation, Operations};

/// How many of the server's own operations are looked at for a list.
const SHOWN: usize = 2000;

impl<S: Server, J: Operations> BackupManager<S, J> {
    /// `list_backups`
    ///
    /// # Errors
    /// [`TaskError`] where the server does not answer.
    pub async fn list_backups(&self, query: &Query) -> Result<Page, TaskError> {
        let (servers, beside) = tokio::join!(self.server.operations(SHOWN), self.server.beside());
        let (servers, beside) = (servers?, beside?);
        let operations = self.all_known();
        Ok(list::page(operations, servers, beside, query))
    }

    /// `get_backup`. An operation at its end is told of without asking the server.
    ///
    /// # Errors
    /// [`Code::NotFound`], or the server does not answer.
    pub async fn get_backup(&self, id: &OperationId) -> Result<Entry, TaskError> {
        match self.known(id) {
            Some(operation) if operation.end.is_some() => {
                Ok(Entry { operation: Some(operation), server: None, beside: None })
            }
            Some(operation) => entry_of(&self.server, id, Some(operation)).await,
            None => entry_of(&self.server, &self.shown_as(id).await?, None).await,
        }
    }

    /// What the server shows an operation of another journal as: its newest attempt.
    async fn shown_as(&self, id: &OperationId) -> Result<OperationId, TaskError> {
        let mut shown = id.clone();
        for number in 1..=USED {
            let attempt = id.attempt(number);
            if self.server.operation(&attempt).await?.is_none() {
                break;
            }
            shown = OperationId::known(&attempt);
        }
        Ok(shown)
    }
}

/// Joins what a journal knows of an operation with what the server shows, or has in its log.
///
/// # Errors
/// [`Code::NotFound`] where neither knows it; the server does not answer, and nothing else tells.
pub async fn entry_of<S: Server>(
    server: &S,
    id: &OperationId,
    operation: Option<Operation>,
) -> Result<Entry, TaskError> {
    let shown = match &operation {
        Some(operation) => attempt_id(&operation.id, operation.attempt),
        None => id.as_str().to_owned(),
    };
    let server = match server.operation(&shown).await {
        Ok(None) => server.logged(&shown).await,
        answer => answer,
    };
    match (operation, server) {
        (None, Ok(None)) => {
            Err(TaskError::new(Code::NotFound, format!("no operation {id} is known")))
        }
        (None, Err(error)) => Err(error.into()),
        // What the journal knows needs no server.
        (operation, server) => {
            let server = server.unwrap_or(None);
            Ok(Entry { operation, server, beside: None })
        }
    }
}
