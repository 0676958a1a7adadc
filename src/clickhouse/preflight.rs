//! What must hold before a restore touches anything, and what is fixed then: which source is meant,
//! what is at the target's place, which of its views could fire. Never changes anything but to make
//! the database of a table that has none.

use super::failure::{Code, TaskError};
use super::manager::{BackupManager, target};
use super::name::{Object, OperationId};
use super::request::RestoreBackup;
use super::statement::{Command, attempt_id};
use super::{DatabaseRow, Server, TableRow};
use crate::journal::{Operation, OperationStep, Operations};

/// The identity of what has none: tables and databases of old engines.
const NO_UUID: &str = "00000000-0000-0000-0000-000000000000";

impl<S: Server, J: Operations> BackupManager<S, J> {
    /// Fixes the plan of a restore and journals it.
    pub(super) async fn plan_restore(
        &self,
        operation: &mut Operation,
        request: &RestoreBackup,
        adopt: bool,
    ) -> Result<(), TaskError> {
        let common = &request.common;
        let contents = self.server.contents(&common.place, common.keys.as_ref()).await?;
        let manifest = contents.backup.ok_or_else(|| {
            let message = match contents.locked {
                true => {
                    format!("{} holds an unfinished backup: .lock without .backup", common.place)
                }
                false => format!("nothing is at {}", common.place),
            };
            TaskError::new(Code::BackupNotFound, message)
        })?;
        let (database, table) = (request.source_database.as_ref(), request.source_table.as_ref());
        let source = manifest.source(&common.object, database, table)?;
        operation.source_database = Some(source.database.as_str().to_owned());
        operation.source_table = source.table.as_ref().map(|table| table.as_str().to_owned());
        operation.check = !common.structure_only;
        if let Some(cluster) = &common.cluster {
            self.plan_cluster(operation, request, cluster, adopt).await?;
            return self.put(operation);
        }
        let databases = self.server.databases().await?;
        let live = databases.iter().find(|row| row.name == common.object.database);
        match &common.object.table {
            None => self.plan_database(operation, request, live).await?,
            Some(_) => self.plan_table(operation, request, live, adopt).await?,
        }
        self.put(operation)
    }

    async fn plan_database(
        &self,
        operation: &mut Operation,
        request: &RestoreBackup,
        live: Option<&DatabaseRow>,
    ) -> Result<(), TaskError> {
        let object = &request.common.object;
        self.require_no_others(object, None).await?;
        self.require_not_sent(operation).await?;
        let Some(live) = live else { return Ok(()) };
        let tables = self.server.tables(&object.database).await?;
        if !request.overwrite && !tables.is_empty() {
            return Err(not_empty(object, tables.len()));
        }
        // Only these can be renamed and keep their identity.
        if !matches!(live.engine.as_str(), "Atomic" | "Shared") || live.uuid == NO_UUID {
            return Err(no_identity(object, &live.engine));
        }
        operation.old = Some(live.uuid.clone());
        let views = tables.iter().filter(|row| row.fires());
        operation.views = views.map(|row| row.name.as_str().to_owned()).collect();
        Ok(())
    }

    /// No RESTORE of this id may be at work for another journal: what it brought so far is there.
    pub(super) async fn require_not_sent(&self, operation: &Operation) -> Result<(), TaskError> {
        for number in operation.attempt + 1.. {
            let id = attempt_id(&operation.id, number);
            match self.server.operation(&id).await? {
                None => break,
                Some(server) if server.status.is_running() => {
                    let message = format!("{id} works for somebody else");
                    return Err(TaskError::new(Code::Busy, message));
                }
                Some(_) => {}
            }
        }
        Ok(())
    }

    async fn plan_table(
        &self,
        operation: &mut Operation,
        request: &RestoreBackup,
        live: Option<&DatabaseRow>,
        adopt: bool,
    ) -> Result<(), TaskError> {
        let object = &request.common.object;
        let Some(table) = &object.table else { return Ok(()) };
        let beside = table.beside(&OperationId::known(&operation.id));
        self.require_no_others(object, adopt.then_some(&beside)).await?;
        if !adopt {
            self.require_not_sent(operation).await?;
        }
        let Some(live) = live else {
            let database = &object.database;
            self.server.run(Command::CreateDatabase { cluster: None, database }).await?;
            return Ok(());
        };
        let tables = self.server.tables(&object.database).await?;
        if let Some(row) = tables.iter().find(|row| row.name == *table) {
            if !request.overwrite {
                return Err(not_empty(object, 1));
            }
            require_replaceable(object, live, row)?;
            operation.old = Some(row.uuid.clone());
        }
        if adopt {
            let there = tables.iter().any(|row| row.name == beside);
            self.adopt(operation, there).await?;
        }
        Ok(())
    }

    /// Another worker sent the RESTORE and died before the task was its own. Its last attempt is
    /// taken over where it works, or has brought a table: `there`.
    pub(super) async fn adopt(
        &self,
        operation: &mut Operation,
        there: bool,
    ) -> Result<(), TaskError> {
        let (mut last, mut works) = (0, false);
        for number in 1.. {
            let id = attempt_id(&operation.id, number);
            let Some(server) = self.server.operation(&id).await? else { break };
            (last, works) = (number, server.status.is_running());
        }
        if !there && !works {
            return Ok(());
        }
        operation.attempt = operation.attempt.max(last);
        operation.step = OperationStep::Submitting;
        Ok(())
    }
}

fn require_replaceable(
    object: &Object,
    database: &DatabaseRow,
    row: &TableRow,
) -> Result<(), TaskError> {
    if !row.holds_data() {
        let message = format!("{object} is a {}: only tables with rows can be swapped", row.engine);
        return Err(TaskError::new(Code::ForbiddenTarget, message));
    }
    if row.uuid == NO_UUID {
        return Err(no_identity(object, &database.engine));
    }
    Ok(())
}

fn not_empty(object: &Object, tables: usize) -> TaskError {
    let message = match &object.table {
        Some(_) => format!("table {object} exists"),
        None => format!("database {object} has {tables} tables"),
    };
    TaskError::new(Code::TargetNotEmpty, message)
}

fn no_identity(object: &Object, engine: &str) -> TaskError {
    let message = format!(
        "{object}: a database of engine {engine} gives no identity to what is in it, so nothing can \
         be replaced safely"
    );
    TaskError::new(Code::ForbiddenTarget, message)
}

/// The names of an operation: its target, and what it keeps beside it.
pub(super) struct Names {
    /// The target.
    pub target: Object,
    /// A table beside the target, or the database beside it.
    pub beside: Object,
    /// As the backup calls it.
    pub source: Object,
}

impl Names {
    /// Those of an operation.
    pub fn of(operation: &Operation) -> Self {
        use super::name::Name;
        let target = target(operation);
        let id = OperationId::known(&operation.id);
        let beside = match &target.table {
            Some(table) => {
                Object { database: target.database.clone(), table: Some(table.beside(&id)) }
            }
            None => Object { database: target.database.beside(&id), table: None },
        };
        let named = |name: &Option<String>| name.as_deref().map(Name::known);
        let source = Object {
            database: named(&operation.source_database).unwrap_or(target.database.clone()),
            table: target
                .table
                .as_ref()
                .map(|table| named(&operation.source_table).unwrap_or(table.clone())),
        };
        Self { target, beside, source }
    }
}
