//! What decides about a restore, as the server shows it: what is under the operation's names, and how
//! its RESTORE stands. Never changes anything.

use super::decide::{Beside, Live, Look, Sent};
use super::failure::TaskError;
use super::manager::{BackupManager, open_id};
use super::name::Name;
use super::preflight::Names;
use super::statement::attempt_id;
use super::watch::Watch;
use super::{Server, ServerError};
use crate::journal::{Operation, OperationStep, Operations};

impl<S: Server, J: Operations> BackupManager<S, J> {
    /// Everything that decides, as the server shows it now.
    pub(super) async fn look(
        &self,
        operation: &Operation,
        able: bool,
        watch: &impl Watch,
    ) -> Result<Look, TaskError> {
        // First this: what a RESTORE that is done brought must be there when the names are looked at.
        let sent = self.sent(operation, watch).await?;
        let names = Names::of(operation);
        let database = &names.target.database;
        let found = |answer: Result<Vec<(Name, String)>, ServerError>| {
            answer.map_err(|error| TaskError::from(error).of_open(&open_id(operation)))
        };
        let (rows, live, beside) = match (&names.target.table, &names.beside.table) {
            (Some(table), Some(beside)) => {
                let rows = self.patiently(operation, watch, || async {
                    let rows = self.tables_seen(operation, database).await?;
                    Ok(rows.into_iter().map(|row| (row.name, row.uuid)).collect())
                });
                (found(rows.await?)?, table, beside)
            }
            _ => {
                let rows = self.patiently(operation, watch, || async {
                    let rows = self.databases_seen(operation).await?;
                    Ok(rows.into_iter().map(|row| (row.name, row.uuid)).collect())
                });
                (found(rows.await?)?, database, &names.beside.database)
            }
        };
        // On a cluster each host has its own.
        let identities = |name: &Name| -> Vec<&str> {
            rows.iter().filter(|row| row.0 == *name).map(|row| row.1.as_str()).collect()
        };
        Ok(Look {
            step: operation.step,
            replaces: operation.old.is_some(),
            live: live_of(operation, &identities(live)),
            beside: beside_of(operation, &identities(beside)),
            sent,
            able: able && !watch.is_stopped(),
        })
    }

    /// How the RESTORE of the last attempt stands. One that is not known is asked for again: the
    /// server may take a moment.
    async fn sent(&self, operation: &Operation, watch: &impl Watch) -> Result<Sent, TaskError> {
        let asked =
            matches!(operation.step, OperationStep::Submitting | OperationStep::RollingBack);
        if operation.attempt == 0 || !asked {
            return Ok(Sent::Unknown);
        }
        let id = attempt_id(&operation.id, operation.attempt);
        for _ in 0..3 {
            let answer = self.patiently(operation, watch, || self.server.operation(&id)).await?;
            match answer.map_err(|error| TaskError::from(error).of_open(&open_id(operation)))? {
                None => tokio::time::sleep(self.patience.first).await,
                Some(server) if server.status.is_running() => return Ok(Sent::Running),
                Some(server) if server.status.is_done() => return Ok(Sent::Done),
                Some(_) => return Ok(Sent::Failed),
            }
        }
        Ok(Sent::Unknown)
    }
}

/// What the identities under the target's name tell.
fn live_of(operation: &Operation, found: &[&str]) -> Live {
    match (found, operation.old.as_deref()) {
        ([], None) => Live::AsBefore,
        ([], Some(_)) => Live::Absent,
        ([identity], Some(old)) if *identity == old => Live::AsBefore,
        // A database is restored in its place; a table has its identity from its check on.
        _ if operation.table.is_none() => Live::Fresh,
        _ if found.iter().any(|identity| is_fresh(operation, identity)) => Live::Fresh,
        _ => Live::Other,
    }
}

/// What the identities under the name beside it tell.
fn beside_of(operation: &Operation, found: &[&str]) -> Beside {
    match (found, &operation.table, &operation.fresh) {
        ([], ..) => Beside::Empty,
        ([identity], ..) if operation.old.as_deref() == Some(*identity) => Beside::Old,
        // Before its check the name alone tells that it is ours: nobody else gives it.
        (_, Some(_), None) => Beside::Fresh,
        (_, Some(_), _) if found.iter().all(|identity| is_fresh(operation, identity)) => {
            Beside::Fresh
        }
        _ => Beside::Other,
    }
}

/// Whether this is the restored table, here or on a host of the cluster.
fn is_fresh(operation: &Operation, identity: &str) -> bool {
    let mut on_hosts = operation.cluster.iter().flat_map(|cluster| &cluster.fresh);
    operation.fresh.as_deref() == Some(identity) || on_hosts.any(|fresh| fresh == identity)
}
