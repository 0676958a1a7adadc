//! `clickhouse`: backups and restores of ClickHouse, one operation a process. Owns the choice of the
//! store that remembers it, and what is printed. Never decides how an operation goes.

use std::path::{Path, PathBuf};

use serde_json::json;
use tokio::sync::watch;

use crate::cli::args::Output;
use crate::cli::clickhouse_settings::{ClickhouseSettings, ClickhouseTask};
use crate::cli::console::say;
use crate::cli::exit_code::{ExitCode, Failure};
use crate::cli::report::{of_store, of_task};
use crate::cli::signals::{self, Received};
use crate::cli::wiring;
use crate::clickhouse::list::{Query, page};
use crate::clickhouse::report::{error_of, of_entry, of_operation, of_page};
use crate::clickhouse::server::ClickhouseServer;
use crate::clickhouse::{
    BackupManager, Code, Entry, OperationId, Server, Status, Task, TaskError, Watch, entry_of,
};
use crate::journal::sled_store::SledOperations;
use crate::journal::{JournalError, Operation, OperationEnd, Operations};

type Manager = BackupManager<ClickhouseServer, SledOperations>;

/// How many of the server's own operations are looked at for a list.
const SHOWN: usize = 2000;

/// `deltakeep clickhouse ...`
pub async fn clickhouse(
    dir: &Path,
    output: Output,
    settings: ClickhouseSettings,
) -> Result<(), Failure> {
    let (stop, received) = signals::listen().map_err(|error| Failure {
        code: ExitCode::Unexpected,
        message: format!("no signals can be received: {error}"),
        next: "the same command again".to_owned(),
    })?;
    let command = Commands { dir, output, settings, asker: Asker(stop), received };
    let task = match command.settings.task.clone() {
        ClickhouseTask::Recover(id) => return command.recover(id.as_ref()).await,
        ClickhouseTask::Task(task) => *task,
    };
    match task {
        Task::Create(request) => {
            let id = request.id.clone().unwrap_or_else(new_id);
            let manager = command.manager_for(&id)?;
            let done = manager.create_backup(&id, &request, &command.asker).await;
            command.ended(done)
        }
        Task::Restore(request) => {
            let id = request.id.clone().unwrap_or_else(new_id);
            let manager = command.manager_for(&id)?;
            let done = manager.restore_backup(&id, &request, false, &command.asker).await;
            command.ended(done)
        }
        Task::List(query) => command.list(&query).await,
        Task::Get(id) => command.get(&id).await,
    }
}

fn new_id() -> OperationId {
    OperationId::known(&uuid::Uuid::new_v4().to_string())
}

/// Whoever typed the command: the operation is the journal's at once.
struct Asker(watch::Receiver<bool>);

impl Watch for Asker {
    async fn own(&self, operation: &Operation) -> bool {
        tracing::info!("operation {}: ClickHouse works on it", operation.id);
        true
    }

    fn tell(&self, operation: &Operation) {
        tracing::info!(step = ?operation.step, files = operation.size.files, "{}", operation.id);
    }

    fn is_stopped(&self) -> bool {
        *self.0.borrow()
    }
}

struct Commands<'a> {
    dir: &'a Path,
    output: Output,
    settings: ClickhouseSettings,
    asker: Asker,
    received: Received,
}

impl Commands<'_> {
    fn server(&self) -> Result<ClickhouseServer, Failure> {
        wiring::clickhouse(&self.settings.address)
    }

    fn manager(&self, store: SledOperations) -> Result<Manager, Failure> {
        let now = || jiff::Timestamp::now().as_millisecond();
        Ok(BackupManager::new(self.server()?, store, self.settings.patience, now)?)
    }

    fn slots(&self) -> Vec<PathBuf> {
        SledOperations::slots(self.dir, &self.settings.address.url)
    }

    /// Stores that remember something: those of commands, and the worker's.
    fn stores(&self) -> Vec<PathBuf> {
        let mut stores = self.slots();
        stores.push(SledOperations::of_worker(self.dir, &self.settings.address.url));
        stores.retain(|path| path.exists());
        stores
    }

    /// The manager whose store remembers this operation, else one with a store that nobody uses.
    fn manager_for(&self, id: &OperationId) -> Result<Manager, Failure> {
        match self.store_of(id)? {
            Some(store) => self.manager(store),
            None => self.manager(self.free_store()?),
        }
    }

    fn free_store(&self) -> Result<SledOperations, Failure> {
        let mut last = None;
        for path in self.slots() {
            match SledOperations::open(&path) {
                Err(error @ JournalError::InUse { .. }) => last = Some(error),
                opened => return Ok(opened?),
            }
        }
        let none = JournalError::InUse { path: self.dir.to_owned(), holder: None };
        Err(of_store(last.unwrap_or(none)))
    }

    /// The store that remembers an operation.
    fn store_of(&self, id: &OperationId) -> Result<Option<SledOperations>, Failure> {
        let remembers = |all: &[Operation]| all.iter().any(|known| known.id == id.as_str());
        for path in self.stores() {
            match SledOperations::open(&path) {
                Ok(store) if remembers(&store.all()?) => return Ok(Some(store)),
                Ok(_) => {}
                Err(error @ JournalError::InUse { .. }) => {
                    if remembers(&SledOperations::told(&path)?) {
                        return Err(of_store(error));
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(None)
    }

    /// Everything that the stores of this server remember, those of other processes included.
    fn remembered(&self) -> Result<Vec<Operation>, Failure> {
        let mut all = Vec::new();
        for path in self.stores() {
            match SledOperations::open(&path) {
                Ok(store) => all.extend(store.all()?),
                Err(JournalError::InUse { .. }) => all.extend(SledOperations::told(&path)?),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(all)
    }

    async fn list(&self, query: &Query) -> Result<(), Failure> {
        let servers = self.server()?.operations(SHOWN).await;
        let servers = servers.map_err(|error| of_task(&error.into(), None))?;
        let beside = self.server()?.beside().await;
        let beside = beside.map_err(|error| of_task(&error.into(), None))?;
        let found = page(self.remembered()?, servers, beside, query);
        match self.output {
            Output::Json => say(&of_page(&found).to_string()),
            Output::Text => {
                found.entries.iter().for_each(|entry| say(&line(entry)));
                if let Some(cursor) = &found.cursor {
                    say(&format!("more: --cursor {cursor}"));
                }
            }
        }
        Ok(())
    }

    async fn get(&self, id: &OperationId) -> Result<(), Failure> {
        let ours = self.remembered()?.into_iter().find(|known| known.id == id.as_str());
        let entry = entry_of(&self.server()?, id, ours).await;
        let entry = of_entry(&entry.map_err(|error| of_task(&error, None))?);
        match self.output {
            Output::Json => say(&json!({ "operation": entry }).to_string()),
            Output::Text => say(&format!("{entry:#}")),
        }
        Ok(())
    }

    async fn recover(&self, id: Option<&OperationId>) -> Result<(), Failure> {
        let open: Vec<_> = match id {
            Some(id) => vec![id.clone()],
            None => {
                let open = self.remembered()?.into_iter().filter(|known| known.end.is_none());
                open.map(|known| OperationId::known(&known.id)).collect()
            }
        };
        if open.is_empty() && self.output == Output::Text {
            say("Every operation is at its end");
        }
        let mut failed = None;
        for id in open {
            let missing =
                || TaskError::new(Code::NotFound, format!("no operation {id} is known here"));
            let store = self.store_of(&id)?.ok_or_else(|| of_task(&missing(), None))?;
            let manager = self.manager(store)?;
            let keys = self.settings.keys.as_ref();
            // Put back is what was asked for, whatever it was that failed.
            match manager.recover(&id, keys, &self.asker).await {
                Ok(operation) => self.tell(&operation),
                Err(error) => failed = Some(of_task(&error, self.received.first())),
            }
        }
        failed.map_or(Ok(()), Err)
    }

    fn tell(&self, operation: &Operation) {
        match self.output {
            Output::Json => say(&json!({ "operation": of_operation(operation) }).to_string()),
            Output::Text => say(&told(operation)),
        }
    }

    /// Prints an operation; one that did not succeed is a failure all the same.
    fn ended(&self, done: Result<Operation, TaskError>) -> Result<(), Failure> {
        let operation = done.map_err(|error| of_task(&error, self.received.first()))?;
        self.tell(&operation);
        match &operation.failure {
            Some(failure) if operation.end != Some(OperationEnd::Succeeded) => {
                Err(of_task(&error_of(failure), None))
            }
            _ => Ok(()),
        }
    }
}

fn line(entry: &Entry) -> String {
    let value = of_entry(entry);
    let text = |field: &str| value[field].as_str().unwrap_or("-").to_owned();
    let place = match entry.operation {
        Some(_) => text("location"),
        None => value["server"]["location"].as_str().unwrap_or("-").to_owned(),
    };
    let began = match entry.operation {
        Some(_) => text("started_at"),
        None => value["server"]["started_at"].as_str().unwrap_or("-").to_owned(),
    };
    format!(
        "{began}  {:<8} {:<12} {}  {}  {place}",
        text("kind"),
        text("status"),
        entry.id(),
        text("database")
    )
}

fn told(operation: &Operation) -> String {
    let rows: u64 = operation.checks.iter().map(|check| check.rows).sum();
    let checked = match operation.checks.len() {
        0 => String::new(),
        tables => format!(", {tables} tables with {rows} rows checked"),
    };
    format!(
        "{} {}: {}, {} files, {} bytes{checked}",
        operation.id,
        Status::of(operation).as_str(),
        operation.path,
        operation.size.files,
        operation.size.bytes
    )
}
