//! How a restore goes: look, decide, journal, act, look again. Every way through, a crash included,
//! is the same loop; `decide` says what is next, and nothing here knows what was done before.

use super::cluster::{Told, cluster_of};
use super::decide::{Decision, Look, Sent, decide_database, decide_table};
use super::failure::{Code, TaskError};
use super::manager::{BackupManager, failure, open_id};
use super::name::Name;
use super::preflight::Names;
use super::report::error_of;
use super::request::RestoreBackup;
use super::statement::{Command, Transfer, attempt_id};
use super::waiting::{Ended, error_of_server};
use super::watch::Watch;
use super::{Server, ServerError, TableRow};
use crate::journal::{Operation, OperationEnd, OperationStep, Operations, TableCheck};

/// What is not there, or is there already: said twice, the second time is as good.
const GONE_OR_THERE: [i32; 4] = [57, 60, 81, 82];

impl<S: Server, J: Operations> BackupManager<S, J> {
    /// Brings a restore to its end. Without the request no RESTORE is sent.
    pub(super) async fn drive_restore(
        &self,
        mut operation: Operation,
        request: Option<&RestoreBackup>,
        watch: &impl Watch,
    ) -> Result<Operation, TaskError> {
        let mut told = Told::default();
        loop {
            watch.tell(&operation);
            let look = self.look(&operation, request.is_some(), watch).await?;
            let decision = match operation.table {
                Some(_) => decide_table(&look),
                None => decide_database(&look),
            };
            tracing::debug!(?look, ?decision, "restore {}", operation.id);
            told.require_heard(&operation, decision)?;
            let done = match decision {
                Decision::Succeeded => return self.end(operation, OperationEnd::Succeeded),
                Decision::RolledBack => return self.rolled_back(operation),
                Decision::Refuse => {
                    let message = "the target changed after it was looked at";
                    let error = TaskError::new(Code::TargetChanged, message);
                    return self.fail(operation, error);
                }
                Decision::Stop => return Err(disagrees(&operation, &look)),
                Decision::Submit => self.submit(&mut operation, request, watch).await,
                Decision::Wait => self.await_restore(&mut operation, watch).await,
                Decision::Verify => self.verify(&mut operation, watch).await,
                Decision::Clean => self.step(&mut operation, OperationStep::Cleaning),
                Decision::RollBack => {
                    let error = self.why_back(&operation, &look, watch).await?;
                    self.roll_back(&mut operation, error)
                }
                Decision::Cancel => self.cancel(&operation, watch).await.map(|_| ()),
                Decision::MoveAside => self.move_aside(&mut operation, watch).await,
                Decision::Place => self.place(&mut operation, look.replaces, watch).await,
                Decision::DropOld | Decision::DropPartial | Decision::MoveBack => {
                    self.put_right(&operation, decision).await
                }
            };
            done?;
        }
    }

    async fn submit(
        &self,
        operation: &mut Operation,
        request: Option<&RestoreBackup>,
        watch: &impl Watch,
    ) -> Result<(), TaskError> {
        let Some(request) = request else { return Ok(()) };
        let names = Names::of(operation);
        if names.target.table.is_none() {
            // Restored in its place: whoever got the task next would take a part of it for another's.
            self.own(operation, watch).await?;
        }
        self.sleep_views(operation, &names).await?;
        operation.attempt += 1;
        self.step(operation, OperationStep::Submitting)?;
        let sent = match self.send_restore(operation, &names, request).await {
            Err(error) if error.is_used_id() => match self.skip_used(operation).await {
                Ok(()) => self.send_restore(operation, &names, request).await,
                Err(error) => return self.roll_back(operation, error),
            },
            sent => sent,
        };
        match sent {
            Ok(()) => self.own(operation, watch).await,
            Err(ServerError::Unreachable { reason }) => {
                tracing::warn!(%reason, "no answer to RESTORE {}", operation.id);
                tokio::time::sleep(self.patience.grace).await;
                self.own(operation, watch).await
            }
            Err(error) => self.roll_back(operation, error.into()),
        }
    }

    async fn send_restore(
        &self,
        operation: &Operation,
        names: &Names,
        request: &RestoreBackup,
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
        let target = if names.target.table.is_some() { &names.beside } else { &names.target };
        let command = Command::Restore { source: &names.source, target, transfer };
        self.server.run(command).await
    }

    /// Views of the database that was moved aside still name the place where it was: after a
    /// restart of the server they would fire for rows that go into what replaces it.
    async fn sleep_views(&self, operation: &Operation, names: &Names) -> Result<(), TaskError> {
        if names.target.table.is_some() || operation.old.is_none() {
            return Ok(());
        }
        for view in &operation.views {
            let (database, view) = (&names.beside.database, &Name::known(view));
            self.said_twice(operation, Command::Detach { database, view }).await?;
        }
        Ok(())
    }

    /// Waits for the RESTORE; why it failed is kept for the end.
    async fn await_restore(
        &self,
        operation: &mut Operation,
        watch: &impl Watch,
    ) -> Result<(), TaskError> {
        self.own(operation, watch).await?;
        match self.wait(operation, watch).await? {
            Ended::Done | Ended::Forgotten => Ok(()),
            Ended::Failed(error) => self.roll_back(operation, error),
        }
    }

    /// Checks every table that holds rows. ClickHouse itself says RESTORED over flipped bytes.
    async fn verify(&self, operation: &mut Operation, watch: &impl Watch) -> Result<(), TaskError> {
        self.own(operation, watch).await?;
        let id = open_id(operation);
        let open = |error: ServerError| TaskError::from(error).of_open(&id);
        let attempt = attempt_id(&operation.id, operation.attempt);
        if let Ok(Some(server)) = self.server.operation(&attempt).await {
            operation.size = server.size;
        }
        if let Some(error) = self.note_hosts(operation, watch).await? {
            return self.roll_back(operation, error);
        }
        let names = Names::of(operation);
        let database = &names.target.database;
        let all = self.patiently(operation, watch, || self.server.tables(database)).await?;
        let all = all.map_err(open)?;
        let restored = match &names.beside.table {
            Some(beside) => with_inner(all, beside),
            None => all,
        };
        if let (Some(_), Some(row)) = (&names.beside.table, restored.first()) {
            operation.fresh = Some(row.uuid.clone());
        }
        let mut checks = Vec::new();
        for row in restored.iter().filter(|row| row.holds_data()) {
            let passed = !operation.check
                || self
                    .patiently(operation, watch, || self.server.check(database, &row.name))
                    .await?
                    .map_err(open)?;
            let beside = names.beside.table.as_ref().filter(|beside| row.name == **beside);
            let name = beside.and(names.target.table.as_ref()).unwrap_or(&row.name);
            checks.push(TableCheck {
                table: name.as_str().to_owned(),
                rows: row.rows.unwrap_or(0),
                bytes: row.bytes.unwrap_or(0),
                passed,
            });
        }
        operation.checks = checks;
        let bad = operation.checks.iter().filter(|check| !check.passed);
        let bad: Vec<_> = bad.map(|check| check.table.as_str()).collect();
        if !bad.is_empty() {
            let message = format!("CHECK TABLE found damage in {}", bad.join(", "));
            return self.roll_back(operation, TaskError::new(Code::VerifyFailed, message));
        }
        let next = match names.target.table {
            Some(_) => OperationStep::Placing,
            None => OperationStep::Cleaning,
        };
        self.step(operation, next)
    }

    /// The first step that is not undone by waiting: the operation must be ours alone before.
    async fn move_aside(
        &self,
        operation: &mut Operation,
        watch: &impl Watch,
    ) -> Result<(), TaskError> {
        self.own(operation, watch).await?;
        let names = Names::of(operation);
        self.step(operation, OperationStep::Aside)?;
        let (from, to) = (&names.target.database, &names.beside.database);
        match self.server.run(Command::RenameDatabase { from, to }).await {
            Ok(()) => Ok(()),
            Err(ServerError::Unreachable { .. }) => {
                tokio::time::sleep(self.patience.grace).await;
                Ok(())
            }
            Err(error) => self.roll_back(operation, error.into()),
        }
    }

    async fn place(
        &self,
        operation: &mut Operation,
        replaces: bool,
        watch: &impl Watch,
    ) -> Result<(), TaskError> {
        let names = Names::of(operation);
        let (Some(table), Some(beside)) = (&names.target.table, &names.beside.table) else {
            return Ok(());
        };
        let (database, cluster) = (&names.target.database, cluster_of(operation));
        let cluster = cluster.as_ref();
        let command = match replaces {
            true => Command::ExchangeTables { database, one: table, other: beside },
            false => Command::RenameTable { cluster, database, from: beside, to: table },
        };
        match self.server.run(command).await {
            Ok(()) => Ok(()),
            Err(ServerError::Unreachable { .. }) => {
                tokio::time::sleep(self.patience.grace).await;
                Ok(())
            }
            Err(error) if cluster.is_some() => self.not_placed(operation, error, watch).await,
            Err(error) => self.roll_back(operation, error.into()),
        }
    }

    /// Drops and moves that are right whenever `decide` asks for them; each can be said twice.
    async fn put_right(&self, operation: &Operation, what: Decision) -> Result<(), TaskError> {
        let names = Names::of(operation);
        let (live, aside) = (&names.target.database, &names.beside.database);
        let cluster = cluster_of(operation);
        let cluster = cluster.as_ref();
        match (what, &names.beside.table) {
            (Decision::DropOld | Decision::DropPartial, Some(table)) => {
                self.said_twice(operation, Command::DropTable { cluster, database: live, table })
                    .await
            }
            (Decision::DropOld, None) => {
                self.said_twice(operation, Command::DropDatabase { cluster, database: aside }).await
            }
            (Decision::DropPartial, None) => {
                self.said_twice(operation, Command::DropDatabase { cluster, database: live }).await
            }
            _ => {
                // They wake while the place is empty: nothing can be inserted that they would miss.
                for view in &operation.views {
                    let view = &Name::known(view);
                    self.said_twice(operation, Command::Attach { database: aside, view }).await?;
                }
                let back = Command::RenameDatabase { from: aside, to: live };
                self.said_twice(operation, back).await
            }
        }
    }

    /// A command that may be said again; without an answer the next look tells. A refusal leaves the
    /// operation open.
    async fn said_twice(
        &self,
        operation: &Operation,
        command: Command<'_>,
    ) -> Result<(), TaskError> {
        match self.server.run(command).await {
            Ok(()) => Ok(()),
            Err(ServerError::Unreachable { .. }) => {
                tokio::time::sleep(self.patience.grace).await;
                Ok(())
            }
            Err(error) if GONE_OR_THERE.iter().any(|number| error.is(*number)) => Ok(()),
            Err(error) => Err(TaskError::from(error).of_open(&open_id(operation))),
        }
    }

    /// Why an operation goes back: what the server says of its RESTORE, where that failed.
    async fn why_back(
        &self,
        operation: &Operation,
        look: &Look,
        watch: &impl Watch,
    ) -> Result<TaskError, TaskError> {
        if look.sent != Sent::Failed || operation.step != OperationStep::Submitting {
            return Ok(lost(operation, look));
        }
        let id = attempt_id(&operation.id, operation.attempt);
        let answer = self.patiently(operation, watch, || self.server.operation(&id)).await?;
        Ok(match answer {
            Ok(Some(server)) => error_of_server(&server),
            _ => lost(operation, look),
        })
    }

    pub(super) fn roll_back(
        &self,
        operation: &mut Operation,
        error: TaskError,
    ) -> Result<(), TaskError> {
        tracing::warn!(%error, "restore {} goes back", operation.id);
        operation.failure.get_or_insert_with(|| failure(&error));
        self.step(operation, OperationStep::RollingBack)
    }

    /// Where nothing was touched it is a failure like any other.
    fn rolled_back(&self, mut operation: Operation) -> Result<Operation, TaskError> {
        let untouched = operation.step == OperationStep::Planned;
        let error = match &operation.failure {
            Some(failure) => error_of(failure),
            None => TaskError::new(Code::CredentialsLost, "it stopped before the RESTORE was sent"),
        };
        if untouched {
            return self.fail(operation, error);
        }
        operation.failure = Some(failure(&error));
        self.end(operation, OperationEnd::RolledBack)
    }
}

/// A table; behind it, where it is a view that keeps rows in a table of its own, that one.
fn with_inner(all: Vec<TableRow>, name: &Name) -> Vec<TableRow> {
    let Some(at) = all.iter().position(|row| row.name == *name) else { return Vec::new() };
    let inner = format!(".inner_id.{}", all[at].uuid);
    let (mut found, others): (Vec<_>, _) = all.into_iter().partition(|row| row.name == *name);
    found.extend(others.into_iter().filter(|row| row.name.as_str() == inner));
    found
}

/// Why an operation goes back whose RESTORE did not say why itself.
fn lost(operation: &Operation, look: &Look) -> TaskError {
    match (operation.step, look.sent) {
        (OperationStep::Placing, _) => {
            let message = "the target was replaced by somebody else while the restore worked";
            TaskError::new(Code::TargetChanged, message)
        }
        (_, Sent::Done) => {
            let message =
                "the RESTORE is done, and what it brought is gone: somebody else dropped it";
            TaskError::new(Code::TargetChanged, message)
        }
        (_, Sent::Unknown) if operation.attempt > 0 => TaskError::new(
            Code::ClickhouseUnavailable,
            "ClickHouse does not know the RESTORE: it was restarted, or the statement never came",
        ),
        _ => TaskError::new(Code::CredentialsLost, "it stopped before the RESTORE was sent"),
    }
}

fn disagrees(operation: &Operation, look: &Look) -> TaskError {
    let Names { target, beside, .. } = Names::of(operation);
    let message = format!(
        "step {:?}, but at {target} is {:?} and at {beside} {:?}: somebody else changed them; nothing \
         was touched",
        operation.step, look.live, look.beside
    );
    TaskError::new(Code::TargetChanged, message).of_open(&open_id(operation))
}
