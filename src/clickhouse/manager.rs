//! The manager: takes operations on and remembers them. Owns the journal's memory and the rule that
//! one operation works under a name at a time. How a backup and a restore go is in `backup` and
//! `restore`, what is told of them in `told`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Server;
use super::failure::{Code, TaskError};
use super::name::{Name, Object, OperationId};
use super::patience::Patience;
use super::place::Place;
use super::request::{Common, CreateBackup, RestoreBackup, fingerprint};
use super::statement::attempt_id;
use super::watch::Watch;
use crate::journal::{
    JournalError, OnCluster, Operation, OperationEnd, OperationFailure, OperationKind,
    OperationStep, Operations,
};

/// How many ended operations are remembered.
const KEPT: usize = 10_000;

/// How many attempts of an id may have been used by others.
pub(super) const USED: u32 = 100;

/// Backups and restores of one server, with one journal.
pub struct BackupManager<S, J> {
    pub(super) server: S,
    pub(super) patience: Patience,
    now: fn() -> i64,
    memory: Mutex<Memory<J>>,
}

struct Memory<J> {
    journal: J,
    known: BTreeMap<String, Operation>,
    /// Ids that this process works on.
    active: BTreeSet<String>,
}

/// An operation that this process works on; given back when dropped.
pub(super) struct Active<'a, S: Server, J: Operations> {
    manager: &'a BackupManager<S, J>,
    id: String,
}

impl<S: Server, J: Operations> Drop for Active<'_, S, J> {
    fn drop(&mut self) {
        self.manager.memory().active.remove(&self.id);
    }
}

impl<S: Server, J: Operations> BackupManager<S, J> {
    /// A manager. `now` gives milliseconds since 1970.
    ///
    /// # Errors
    /// [`JournalError`] where the journal cannot be read.
    pub fn new(
        server: S,
        journal: J,
        patience: Patience,
        now: fn() -> i64,
    ) -> Result<Self, JournalError> {
        let known = journal.all()?.into_iter().map(|operation| (operation.id.clone(), operation));
        let memory = Memory { known: known.collect(), journal, active: BTreeSet::new() };
        Ok(Self { server, patience, now, memory: Mutex::new(memory) })
    }

    /// The server.
    pub fn server(&self) -> &S {
        &self.server
    }

    /// Operations of the journal that are not at their end, oldest first.
    pub fn unfinished(&self) -> Vec<Operation> {
        let memory = self.memory();
        let open = memory.known.values().filter(|operation| operation.end.is_none());
        let mut open: Vec<_> = open.cloned().collect();
        open.sort_by_key(|operation| operation.created);
        open
    }

    /// All operations of the journal.
    pub(super) fn all_known(&self) -> Vec<Operation> {
        self.memory().known.values().cloned().collect()
    }

    /// What the journal knows of an operation.
    pub fn known(&self, id: &OperationId) -> Option<Operation> {
        self.memory().known.get(id.as_str()).cloned()
    }

    /// `create_backup`. The same id again returns what is known of an operation that succeeded, and
    /// begins one that failed anew.
    ///
    /// # Errors
    /// [`TaskError`] where the operation was refused before it began, or is left open: then
    /// [`TaskError::open`] names it. An operation that failed is returned, with its failure.
    pub async fn create_backup(
        &self,
        id: &OperationId,
        request: &CreateBackup,
        watch: &impl Watch,
    ) -> Result<Operation, TaskError> {
        let asked = fingerprint("create_backup", &request.common, None);
        let fresh = self.fresh(id, OperationKind::Backup, asked, &request.common);
        let (operation, _active) = match self.take_on(fresh)? {
            Taken::Known(operation) => return Ok(operation),
            Taken::On(operation, active) => (operation, active),
        };
        self.drive_backup(operation, Some(request), watch).await
    }

    /// `restore_backup`. `adopt`: the task was delivered before, and what is found of an operation
    /// of this id on the server is its own.
    ///
    /// # Errors
    /// As [`Self::create_backup`].
    pub async fn restore_backup(
        &self,
        id: &OperationId,
        request: &RestoreBackup,
        adopt: bool,
        watch: &impl Watch,
    ) -> Result<Operation, TaskError> {
        let asked = fingerprint("restore_backup", &request.common, Some(request));
        let mut fresh = self.fresh(id, OperationKind::Restore, asked, &request.common);
        fresh.overwrite = request.overwrite;
        let (mut operation, _active) = match self.take_on(fresh)? {
            Taken::Known(operation) => return Ok(operation),
            Taken::On(operation, active) => (operation, active),
        };
        if operation.step == OperationStep::Planned
            && let Err(error) = self.plan_restore(&mut operation, request, adopt).await
        {
            return self.fail(operation, error);
        }
        self.drive_restore(operation, Some(request), watch).await
    }

    /// Brings an operation that a dead process left to its end: what was sent is waited for, what
    /// cannot go on without its keys is rolled back. A backup whose outcome the server forgot is
    /// looked up at its place with `keys`.
    ///
    /// # Errors
    /// [`Code::NotFound`], and as [`Self::create_backup`].
    pub async fn recover(
        &self,
        id: &OperationId,
        keys: Option<&super::Keys>,
        watch: &impl Watch,
    ) -> Result<Operation, TaskError> {
        let missing =
            || TaskError::new(Code::NotFound, format!("no operation {id} in this journal"));
        let operation = self.known(id).ok_or_else(missing)?;
        if operation.end.is_some() {
            return Ok(operation);
        }
        let _active = self.activate(id.as_str())?;
        match operation.kind {
            OperationKind::Backup => self.recover_backup(operation, keys, watch).await,
            OperationKind::Restore => self.drive_restore(operation, None, watch).await,
        }
    }

    /// Forgets an operation whose task is another worker's: this journal has no say in it. One that
    /// is this journal's, or is worked on, stays.
    ///
    /// # Errors
    /// [`JournalError`].
    pub fn disown(&self, id: &OperationId) -> Result<(), JournalError> {
        let mut memory = self.memory();
        let owned = memory.known.get(id.as_str()).is_none_or(|known| known.owned);
        if owned || memory.active.contains(id.as_str()) {
            return Ok(());
        }
        memory.journal.forget(&[id.as_str().to_owned()])?;
        memory.known.remove(id.as_str());
        Ok(())
    }

    fn memory(&self) -> MutexGuard<'_, Memory<J>> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fresh(
        &self,
        id: &OperationId,
        kind: OperationKind,
        fingerprint: [u8; 32],
        common: &Common,
    ) -> Operation {
        let now = (self.now)();
        Operation {
            id: id.as_str().to_owned(),
            kind,
            fingerprint,
            database: common.object.database.as_str().to_owned(),
            table: common.object.table.as_ref().map(|table| table.as_str().to_owned()),
            source_database: None,
            source_table: None,
            path: common.place.path().to_owned(),
            url: common.place.url().to_owned(),
            overwrite: false,
            check: !common.structure_only,
            attempt: 0,
            step: OperationStep::Planned,
            old: None,
            fresh: None,
            views: Vec::new(),
            owned: false,
            created: now,
            updated: now,
            ended: None,
            size: Default::default(),
            checks: Vec::new(),
            failure: None,
            end: None,
            cluster: common
                .cluster
                .as_ref()
                .map(|cluster| OnCluster { name: cluster.as_str().to_owned(), fresh: Vec::new() }),
        }
    }

    fn take_on(&self, fresh: Operation) -> Result<Taken<'_, S, J>, TaskError> {
        let known = self.memory().known.get(&fresh.id).cloned();
        if let Some(known) = &known {
            if known.fingerprint != fresh.fingerprint || known.kind != fresh.kind {
                let message = format!("{} was another request", fresh.id);
                return Err(TaskError::new(Code::IdConflict, message));
            }
            if known.end == Some(OperationEnd::Succeeded) {
                return Ok(Taken::Known(known.clone()));
            }
        }
        let active = self.activate(&fresh.id)?;
        let operation = match known {
            Some(known) if known.end.is_none() => known,
            Some(known) => Operation { attempt: known.attempt, ..fresh },
            None => fresh,
        };
        self.require_free_names(&operation)?;
        let mut operation = operation;
        // Of a backup nothing is begun before its first statement is announced, and that is journalled.
        match operation.kind == OperationKind::Backup && operation.attempt == 0 {
            true => self.remember(&mut operation),
            false => self.put(&mut operation)?,
        }
        Ok(Taken::On(operation, active))
    }

    fn activate(&self, id: &str) -> Result<Active<'_, S, J>, TaskError> {
        if self.memory().active.insert(id.to_owned()) {
            return Ok(Active { manager: self, id: id.to_owned() });
        }
        Err(TaskError::new(Code::Busy, format!("{id} is being worked on")))
    }

    /// A restore has its names for itself; backups share theirs, but not a path.
    fn require_free_names(&self, operation: &Operation) -> Result<(), TaskError> {
        let restores = |other: &Operation| {
            operation.kind == OperationKind::Restore || other.kind == OperationKind::Restore
        };
        let overlaps = |other: &Operation| {
            other.database == operation.database
                && (other.table.is_none()
                    || operation.table.is_none()
                    || other.table == operation.table)
        };
        let writes_there = |other: &Operation| {
            other.path == operation.path
                && (other.kind == OperationKind::Backup || operation.kind == OperationKind::Backup)
        };
        let memory = self.memory();
        let mut open = memory.known.values();
        let busy = open.find(|other| {
            other.id != operation.id
                && other.end.is_none()
                && (writes_there(other) || restores(other) && overlaps(other))
        });
        match busy {
            None => Ok(()),
            Some(other) => {
                let message = format!("operation {} works on that and is not at its end", other.id);
                Err(TaskError::new(Code::Busy, message))
            }
        }
    }

    /// Holds an operation in memory alone.
    pub(super) fn remember(&self, operation: &mut Operation) {
        operation.updated = (self.now)();
        self.memory().known.insert(operation.id.clone(), operation.clone());
    }

    /// Journals an operation, durably with what is journalled next.
    pub(super) fn note(&self, operation: &mut Operation) -> Result<(), TaskError> {
        operation.updated = (self.now)();
        let mut memory = self.memory();
        memory.journal.note(operation).map_err(of_journal)?;
        memory.known.insert(operation.id.clone(), operation.clone());
        Ok(())
    }

    /// Journals an operation.
    pub(super) fn put(&self, operation: &mut Operation) -> Result<(), TaskError> {
        operation.updated = (self.now)();
        let mut memory = self.memory();
        memory.journal.put(operation).map_err(of_journal)?;
        memory.known.insert(operation.id.clone(), operation.clone());
        let ended = memory.known.values().filter(|known| known.end.is_some()).count();
        if operation.end.is_some() && ended > KEPT {
            let ended = memory.known.values().filter(|known| known.end.is_some());
            let oldest = ended.min_by_key(|known| known.updated).map(|known| known.id.clone());
            if let Some(id) = oldest {
                memory.journal.forget(std::slice::from_ref(&id)).map_err(of_journal)?;
                memory.known.remove(&id);
            }
        }
        Ok(())
    }

    /// Journals a step before it is taken.
    pub(super) fn step(
        &self,
        operation: &mut Operation,
        step: OperationStep,
    ) -> Result<(), TaskError> {
        operation.step = step;
        self.put(operation)
    }

    /// Ends an operation.
    pub(super) fn end(
        &self,
        mut operation: Operation,
        end: OperationEnd,
    ) -> Result<Operation, TaskError> {
        operation.end = Some(end);
        operation.ended = Some((self.now)());
        self.step(&mut operation, OperationStep::Ended)?;
        Ok(operation)
    }

    /// Takes the next number of an attempt that the server does not know. An id is good for one
    /// statement, and another journal may have used it.
    pub(super) async fn skip_used(&self, operation: &mut Operation) -> Result<(), TaskError> {
        for _ in 0..USED {
            operation.attempt += 1;
            let id = attempt_id(&operation.id, operation.attempt);
            if self.server.operation(&id).await?.is_none() {
                return self.put(operation);
            }
        }
        let message = format!("ClickHouse knows {USED} attempts of {}", operation.id);
        Err(TaskError::new(Code::IdConflict, message))
    }

    /// Ends an operation that touched nothing, or leaves it open where the server fell silent
    /// before anything was certain.
    pub(super) fn fail(
        &self,
        mut operation: Operation,
        error: TaskError,
    ) -> Result<Operation, TaskError> {
        if error.open.is_some() {
            return Err(error);
        }
        let end = match error.code {
            Code::Cancelled => OperationEnd::Cancelled,
            Code::UnknownOutcome => OperationEnd::Unknown,
            _ => OperationEnd::Failed,
        };
        operation.failure = Some(failure(&error));
        self.end(operation, end)
    }

    /// Asks the watcher once whether the operation is the journal's from here on.
    pub(super) async fn own(
        &self,
        operation: &mut Operation,
        watch: &impl Watch,
    ) -> Result<(), TaskError> {
        if operation.owned {
            return Ok(());
        }
        // It is there whenever its task is this journal's: what owns the task is durable after this.
        self.note(operation)?;
        if !watch.own(operation).await {
            let error = TaskError::new(Code::Busy, "the task went back to its queue");
            return Err(error.of_open(&open_id(operation)));
        }
        operation.owned = true;
        self.put(operation)
    }
}

enum Taken<'a, S: Server, J: Operations> {
    /// It succeeded before.
    Known(Operation),
    /// It is to be worked on.
    On(Operation, Active<'a, S, J>),
}

/// The target of an operation.
pub(super) fn target(operation: &Operation) -> Object {
    Object {
        database: Name::known(&operation.database),
        table: operation.table.as_deref().map(Name::known),
    }
}

/// The place of an operation's backup.
pub(super) fn place(operation: &Operation) -> Place {
    Place::known(&operation.path, &operation.url)
}

/// An operation's id; one of the journal was checked when it was taken on.
pub(super) fn open_id(operation: &Operation) -> OperationId {
    OperationId::known(&operation.id)
}

/// What a journal keeps of an error.
pub(super) fn failure(error: &TaskError) -> OperationFailure {
    OperationFailure {
        code: error.code.as_str().to_owned(),
        message: error.message.clone(),
        clickhouse_code: error.clickhouse_code,
    }
}

fn of_journal(error: JournalError) -> TaskError {
    TaskError::new(Code::Internal, error.to_string())
}
