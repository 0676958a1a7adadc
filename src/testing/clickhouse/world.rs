//! What the server in memory holds: databases, tables, views that fire, backups in a store, and
//! operations that work on while nobody looks. Owns the rules; speaks to nobody.

use std::collections::{BTreeMap, VecDeque};

use super::cluster::Ddl;
use crate::clickhouse::{Manifest, Name, Object, ServerError, ServerOperation, ServerStatus};
use crate::journal::OperationSize;

/// A table, or a view that copies what is inserted into another table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tbl {
    /// Its identity.
    pub uuid: String,
    /// Its engine.
    pub engine: String,
    /// Its rows.
    pub rows: Vec<u64>,
    /// Of a view: the table it listens to, and the one it writes to, by name.
    pub copies: Option<((Name, Name), (Name, Name))>,
    /// Of a view: the identity of the table it listens to, until the server is restarted.
    pub bound: Option<String>,
    /// Detached for good.
    pub asleep: bool,
    /// CHECK TABLE finds damage.
    pub damaged: bool,
}

/// A database.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Db {
    /// Its identity.
    pub uuid: String,
    /// What is in it.
    pub tables: BTreeMap<Name, Tbl>,
}

/// What can go wrong.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// A RESTORE fails after so many tables.
    pub fail_after: Option<usize>,
    /// What a RESTORE brings is damaged.
    pub damaged: bool,
    /// Every so many commands the answer is lost, after the work.
    pub lose_answer: Option<usize>,
    /// An operation never moves.
    pub stand_still: bool,
    /// An operation does all of its steps at once.
    pub at_once: bool,
    /// So many steps of an operation move nothing that system.backups shows.
    pub unseen: u64,
    /// Every so many statements for a whole cluster its other host comes to it later.
    pub late: Option<usize>,
    /// The other host hears of no statement for the cluster, and nobody notices.
    pub deaf: bool,
}

/// A finished backup, or its lock.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    pub(super) id: String,
    pub(super) finished: bool,
    pub(super) databases: BTreeMap<Name, Db>,
    pub(super) whole: bool,
}

/// What an operation still has to do.
#[derive(Clone, Debug)]
pub(super) enum Work {
    Backup { url: String },
    Restore { database: Name, tables: Vec<(Name, Tbl)>, done: usize, everywhere: bool },
}

/// Everything the server holds.
#[derive(Default)]
pub struct World {
    /// Databases.
    pub databases: BTreeMap<Name, Db>,
    /// Databases of the cluster's other host.
    pub elsewhere: BTreeMap<Name, Db>,
    /// What goes wrong.
    pub faults: Faults,
    /// How many questions were asked.
    pub asked: usize,
    pub(super) stored: BTreeMap<String, Stored>,
    pub(super) operations: BTreeMap<String, (ServerOperation, Option<Work>)>,
    pub(super) commands: usize,
    /// What the other host has not come to, and how often it was told something.
    pub(super) waiting: VecDeque<Ddl>,
    pub(super) told: usize,
    /// Steps of all operations.
    worked: u64,
    next: u64,
}

impl World {
    /// An identity that nothing else has.
    pub fn uuid(&mut self) -> String {
        self.next += 1;
        format!("uuid-{}", self.next)
    }

    /// The sample: a table, a view that copies it into another, and that one.
    pub fn sample(&mut self, database: &Name, rows: &[u64]) {
        let name = Name::known;
        let (source, copy) = (self.uuid(), self.uuid());
        let table = |identity: &str, rows: &[u64]| Tbl {
            uuid: identity.to_owned(),
            engine: "MergeTree".into(),
            rows: rows.to_vec(),
            copies: None,
            bound: None,
            asleep: false,
            damaged: false,
        };
        let view = Tbl {
            engine: "MaterializedView".into(),
            copies: Some(((database.clone(), name("t")), (database.clone(), name("to")))),
            bound: Some(source.clone()),
            ..table(&self.uuid(), &[])
        };
        let tables = [("t", table(&source, rows)), ("to", table(&copy, rows)), ("view", view)];
        let tables = tables.into_iter().map(|(n, table)| (name(n), table)).collect();
        let identity = self.uuid();
        self.databases.insert(database.clone(), Db { uuid: identity, tables });
    }

    /// Inserts a row, and lets every view fire that listens.
    pub fn insert(&mut self, database: &str, table: &str, row: u64) -> bool {
        let place = (Name::known(database), Name::known(table));
        let held = self.databases.get_mut(&place.0).and_then(|db| db.tables.get_mut(&place.1));
        let Some(held) = held else { return false };
        held.rows.push(row);
        let identity = held.uuid.clone();
        let views = self.databases.values().flat_map(|db| db.tables.values());
        let firing = views.filter(|view| !view.asleep).filter_map(|view| {
            let (from, to) = view.copies.as_ref()?;
            let hears = match &view.bound {
                Some(bound) => *bound == identity,
                None => *from == place,
            };
            hears.then(|| to.clone())
        });
        for (database, table) in firing.collect::<Vec<_>>() {
            let to = self.databases.get_mut(&database).and_then(|db| db.tables.get_mut(&table));
            if let Some(to) = to {
                to.rows.push(row);
            }
        }
        true
    }

    /// The server ends and begins: operations are forgotten where they stand, locks stay, and views
    /// listen to names again.
    pub fn restart(&mut self) {
        self.operations.clear();
        let tables = self.databases.values_mut().flat_map(|db| db.tables.values_mut());
        tables.for_each(|table| table.bound = None);
    }

    /// Lets every operation do a step.
    pub fn tick(&mut self) {
        // A host that is late does not know that somebody waits for it.
        if self.asked.is_multiple_of(3) {
            drop(self.catch_up());
        }
        let ids: Vec<_> = self.operations.keys().cloned().collect();
        for id in ids {
            while self.step(&id) && self.faults.at_once {}
        }
    }

    /// A step of an operation; false where it did none.
    fn step(&mut self, id: &str) -> bool {
        let Some((mut operation, Some(work))) = self.operations.get(id).cloned() else {
            return false;
        };
        if self.faults.stand_still {
            return false;
        }
        self.worked += 1;
        if self.worked <= self.faults.unseen {
            return false;
        }
        operation.size.files += 1;
        let (status, left) = match work {
            Work::Backup { url } => {
                if let Some(stored) = self.stored.get_mut(&url) {
                    stored.finished = true;
                }
                (Ok(ServerStatus::BackupCreated), None)
            }
            Work::Restore { database, tables, done, everywhere } => {
                if let (true, Some((name, table))) = (everywhere, tables.get(done)) {
                    self.restore_elsewhere(&database, name, table);
                }
                let (status, done) = self.restore_one(&database, &tables, done);
                let left = done.map(|done| Work::Restore { database, tables, done, everywhere });
                (status, left)
            }
        };
        match status {
            Ok(status) => operation.status = status,
            Err(ServerError::Refused { number, text }) => {
                operation.status = ServerStatus::RestoreFailed;
                operation.error = format!("Code: {number}. DB::Exception: {text}");
            }
            Err(_) => {}
        }
        self.operations.insert(id.to_owned(), (operation, left));
        true
    }

    fn restore_one(
        &mut self,
        database: &Name,
        tables: &[(Name, Tbl)],
        done: usize,
    ) -> (Result<ServerStatus, ServerError>, Option<usize>) {
        if self.faults.fail_after == Some(done) {
            return (Err(ServerError::refused(499, "the object is missing")), None);
        }
        if done == tables.len() {
            return (Ok(ServerStatus::Restored), None);
        }
        let (fresh, of_database) = (self.uuid(), self.uuid());
        let (name, table) = &tables[done];
        let db = self
            .databases
            .entry(database.clone())
            .or_insert_with(|| Db { uuid: of_database, tables: BTreeMap::new() });
        if let Some(held) = db.tables.get(name)
            && !held.rows.is_empty()
        {
            return (Err(ServerError::refused(608, "it already contains some data")), None);
        }
        let source = table.copies.as_ref().map(|(from, _)| from.1.clone());
        let bound =
            source.and_then(|source| db.tables.get(&source)).map(|table| table.uuid.clone());
        let mut table = Tbl { uuid: fresh, bound, damaged: self.faults.damaged, ..table.clone() };
        if table.copies.is_some() {
            table.damaged = false;
        }
        db.tables.insert(name.clone(), table);
        (Ok(ServerStatus::Restoring), Some(done + 1))
    }

    /// What system.backups shows.
    pub fn operations(&self) -> impl Iterator<Item = &ServerOperation> {
        self.operations.values().map(|(operation, _)| operation)
    }

    /// How much the statement of a query has done; none where none works.
    pub(super) fn work_of(&self, query: &str) -> Option<u64> {
        let mut working = self.operations.values().filter(|(_, work)| work.is_some());
        working.any(|(operation, _)| operation.query == query).then_some(self.worked)
    }

    /// A new operation.
    pub(super) fn begin(&mut self, id: &str, url: &str, status: ServerStatus, work: Option<Work>) {
        let operation = ServerOperation {
            id: id.to_owned(),
            url: url.to_owned(),
            query: format!("query-{id}"),
            status,
            error: String::new(),
            started: self.operations.len() as i64,
            ended: None,
            size: OperationSize::default(),
            bytes_read: 0,
            logged: false,
        };
        self.operations.insert(id.to_owned(), (operation, work));
    }

    /// One that fails at once.
    pub(super) fn begin_failed(&mut self, id: &str, url: &str, restore: bool, text: &str) {
        let status = if restore { ServerStatus::RestoreFailed } else { ServerStatus::BackupFailed };
        self.begin(id, url, status, None);
        if let Some((operation, _)) = self.operations.get_mut(id) {
            operation.error = text.to_owned();
        }
    }

    /// A copy of what a backup of an object holds.
    pub(super) fn snapshot(&self, object: &Object) -> Option<BTreeMap<Name, Db>> {
        let mut db = self.databases.get(&object.database)?.clone();
        if let Some(table) = &object.table {
            db.tables.retain(|name, _| name == table);
            if db.tables.is_empty() {
                return None;
            }
        }
        Some([(object.database.clone(), db)].into())
    }

    /// What lies at an URL.
    pub(super) fn manifest(&self, url: &str) -> Option<Manifest> {
        let stored = self.stored.get(url).filter(|stored| stored.finished)?;
        let tables = stored.databases.iter().flat_map(|(name, db)| {
            db.tables.keys().map(move |table| (name.clone(), table.clone()))
        });
        let databases = stored.databases.keys().filter(|_| stored.whole).cloned().collect();
        Some(Manifest { id: stored.id.clone(), databases, tables: tables.collect() })
    }
}
