//! What is different where a whole cluster is restored: the names on all of its hosts count, what is
//! done is done on all of them, and what some have done is not taken back. Never replaces anything.

use super::backup::require_none;
use super::decide::Decision;
use super::failure::{Code, ServerError, TaskError};
use super::manager::{BackupManager, open_id};
use super::name::{Name, Object};
use super::preflight::Names;
use super::request::RestoreBackup;
use super::statement::Command;
use super::watch::Watch;
use super::{DatabaseRow, Server, TableRow};
use crate::journal::{Operation, Operations};

/// Hosts had too little time for a statement; they do it when they come to it.
const LATE: i32 = 159;

/// How often hosts are told the same before it is left open.
const TOLD: u32 = 5;

/// What the hosts of a cluster were told last, and how often.
#[derive(Default)]
pub(super) struct Told(Option<Decision>, u32);

impl Told {
    /// Hosts may show for ever what they were told to drop or to rename: those that the cluster has
    /// and its ZooKeeper does not know. A server alone does what it answers for.
    pub fn require_heard(
        &mut self,
        operation: &Operation,
        decision: Decision,
    ) -> Result<(), TaskError> {
        let same = self.0.replace(decision) == Some(decision);
        self.1 = if same { self.1 + 1 } else { 1 };
        let told = matches!(decision, Decision::DropPartial | Decision::Place);
        let Some(cluster) = cluster_of(operation).filter(|_| told && self.1 > TOLD) else {
            return Ok(());
        };
        let message = format!("a host of cluster {cluster} does not do what it is told");
        Err(TaskError::new(Code::Timeout, message).of_open(&open_id(operation)))
    }
}

/// The cluster of an operation.
pub(super) fn cluster_of(operation: &Operation) -> Option<Name> {
    operation.cluster.as_ref().map(|cluster| Name::known(&cluster.name))
}

impl<S: Server, J: Operations> BackupManager<S, J> {
    /// Databases of the server, or of every host of the operation's cluster.
    pub(super) async fn databases_seen(
        &self,
        operation: &Operation,
    ) -> Result<Vec<DatabaseRow>, ServerError> {
        match cluster_of(operation) {
            Some(cluster) => self.server.databases_of(&cluster).await,
            None => self.server.databases().await,
        }
    }

    /// What is in a database of the server, or of every host of the operation's cluster.
    pub(super) async fn tables_seen(
        &self,
        operation: &Operation,
        database: &Name,
    ) -> Result<Vec<TableRow>, ServerError> {
        match cluster_of(operation) {
            Some(cluster) => self.server.tables_of(&cluster, database).await,
            None => self.server.tables(database).await,
        }
    }

    /// What must hold before a cluster is restored: no host has the target, so that nothing of
    /// anybody else is ever dropped. `adopt` as for [`BackupManager::restore_backup`].
    pub(super) async fn plan_cluster(
        &self,
        operation: &mut Operation,
        request: &RestoreBackup,
        cluster: &Name,
        adopt: bool,
    ) -> Result<(), TaskError> {
        let target = &request.common.object;
        let beside = Names::of(operation).beside;
        let databases = self.server.databases_of(cluster).await?;
        let tables = self.server.tables_of(cluster, &target.database).await?;
        let tables: Vec<Name> = tables.into_iter().map(|row| row.name).collect();
        let mine = beside.table.as_ref().filter(|_| adopt);
        let whole = databases.iter().map(|row| (row.name.clone(), None));
        let part = tables.iter().map(|name| (target.database.clone(), Some(name.clone())));
        let all = whole.chain(part).map(|(database, table)| Object { database, table });
        let others: Vec<_> = all.filter(|object| object.is_near(&target.database)).collect();
        require_none(target, mine, &others)?;
        let hosts = |name: &str| databases.iter().filter(|row| row.name.as_str() == name).count();
        let here = hosts(target.database.as_str());
        let Some(table) = &target.table else {
            self.require_not_sent(operation).await?;
            return match here {
                0 => Ok(()),
                _ => Err(is_there(target, cluster)),
            };
        };
        if tables.contains(table) {
            return Err(is_there(target, cluster));
        }
        if adopt {
            let there = mine.is_some_and(|mine| tables.contains(mine));
            self.adopt(operation, there).await?;
        } else {
            self.require_not_sent(operation).await?;
        }
        // Every host has this one.
        if here < hosts("system") {
            let database = &target.database;
            self.server.run(Command::CreateDatabase { cluster: Some(cluster), database }).await?;
        }
        Ok(())
    }

    /// Remembers what the restored table is on each host, and requires a part of what was restored
    /// on the server itself: the other hosts' cannot be checked.
    pub(super) async fn note_hosts(
        &self,
        operation: &mut Operation,
        watch: &impl Watch,
    ) -> Result<Option<TaskError>, TaskError> {
        let Some(cluster) = cluster_of(operation) else { return Ok(None) };
        let id = open_id(operation);
        let open = |error: ServerError| TaskError::from(error).of_open(&id);
        let Object { database, table } = Names::of(operation).beside;
        let here = match &table {
            None => {
                let target = Names::of(operation).target.database;
                let all = self.patiently(operation, watch, || self.server.databases()).await?;
                all.map_err(open)?.iter().any(|row| row.name == target)
            }
            Some(table) => {
                let ask = || self.server.tables_of(&cluster, &database);
                let all = self.patiently(operation, watch, ask).await?.map_err(open)?;
                let restored = all.into_iter().filter(|row| row.name == *table);
                if let Some(cluster) = &mut operation.cluster {
                    cluster.fresh = restored.map(|row| row.uuid).collect();
                }
                let all = self.patiently(operation, watch, || self.server.tables(&database));
                all.await?.map_err(open)?.iter().any(|row| row.name == *table)
            }
        };
        Ok((!here).then(|| {
            let message = format!(
                "nothing of it is on this server, so nothing can be checked: connect to a host of \
                 cluster {cluster}"
            );
            TaskError::new(Code::VerifyFailed, message)
        }))
    }

    /// What follows from a rename that a cluster refused. Some hosts may have done it, or will once
    /// they come to it: then it is left open and said again by whoever recovers it.
    pub(super) async fn not_placed(
        &self,
        operation: &mut Operation,
        error: ServerError,
        watch: &impl Watch,
    ) -> Result<(), TaskError> {
        let Names { target, .. } = Names::of(operation);
        let ask = || self.tables_seen(operation, &target.database);
        let seen = self.patiently(operation, watch, ask).await?;
        let some =
            |rows: Vec<TableRow>| rows.iter().any(|row| Some(&row.name) == target.table.as_ref());
        match error.is(LATE) || seen.map_or(true, some) {
            true => Err(TaskError::from(error).of_open(&open_id(operation))),
            false => self.roll_back(operation, error.into()),
        }
    }
}

fn is_there(target: &Object, cluster: &Name) -> TaskError {
    let what = if target.table.is_some() { "table" } else { "database" };
    let message = format!(
        "a host of cluster {cluster} has {what} {target}, and nothing is replaced on a cluster, not \
         even what is empty: drop it there, or restore under another name"
    );
    TaskError::new(Code::TargetNotEmpty, message)
}
