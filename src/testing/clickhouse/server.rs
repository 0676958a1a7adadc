//! The server in memory as the manager speaks to it. Each command and each answer is a step of the
//! fuse.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::cluster::Ddl;
use super::world::{Db, Stored, Tbl, Work, World};
use crate::clickhouse::statement::Transfer;
use crate::clickhouse::{
    Command, Contents, DatabaseRow, Keys, Name, Object, Place, Server, ServerError,
    ServerOperation, ServerStatus, TableRow,
};
use crate::testing::Fuse;

/// A server in memory; clones are the same server.
#[derive(Clone, Default)]
pub struct MemoryServer {
    world: Arc<Mutex<World>>,
    fuse: Arc<Fuse>,
}

impl MemoryServer {
    /// An empty one that stops with this fuse.
    pub fn new(fuse: Arc<Fuse>) -> Self {
        Self { world: Arc::default(), fuse }
    }

    /// The same server, as another process with a fuse of its own sees it.
    pub fn seen_with(&self, fuse: Arc<Fuse>) -> Self {
        Self { world: self.world.clone(), fuse }
    }

    /// What it holds.
    pub fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn ask<T>(&self, answer: impl FnOnce(&mut World) -> T) -> T {
        self.fuse.step().await;
        tokio::task::yield_now().await;
        let mut world = self.world();
        world.asked += 1;
        world.tick();
        answer(&mut world)
    }
}

impl Server for MemoryServer {
    async fn run(&self, command: Command<'_>) -> Result<(), ServerError> {
        self.fuse.step().await;
        let (done, lost) = {
            let mut world = self.world();
            world.commands += 1;
            let lost =
                world.faults.lose_answer.is_some_and(|nth| world.commands.is_multiple_of(nth));
            (world.run(&command), lost)
        };
        self.fuse.step().await;
        match done {
            Ok(()) if lost => Err(ServerError::Unreachable { reason: "the answer is lost".into() }),
            done => done,
        }
    }

    async fn databases(&self) -> Result<Vec<DatabaseRow>, ServerError> {
        self.ask(|world| Ok(rows_of(&world.databases))).await
    }

    async fn databases_of(&self, _cluster: &Name) -> Result<Vec<DatabaseRow>, ServerError> {
        self.ask(|world| Ok([rows_of(&world.databases), rows_of(&world.elsewhere)].concat())).await
    }

    async fn tables(&self, database: &Name) -> Result<Vec<TableRow>, ServerError> {
        self.ask(|world| Ok(tables_of(&world.databases, database))).await
    }

    async fn tables_of(
        &self,
        _cluster: &Name,
        database: &Name,
    ) -> Result<Vec<TableRow>, ServerError> {
        self.ask(|world| {
            let hosts = [&world.databases, &world.elsewhere];
            Ok(hosts.into_iter().flat_map(|host| tables_of(host, database)).collect())
        })
        .await
    }

    async fn beside(&self) -> Result<Vec<Object>, ServerError> {
        self.ask(|world| {
            let of = |(name, db): (&Name, &Db)| {
                let database = Object { database: name.clone(), table: None };
                let tables = db
                    .tables
                    .keys()
                    .map(|table| Object { database: name.clone(), table: Some(table.clone()) });
                std::iter::once(database).chain(tables).collect::<Vec<_>>()
            };
            let all = world.databases.iter().flat_map(of);
            Ok(all.filter(|object| object.given().is_beside()).collect())
        })
        .await
    }

    async fn beside_of(&self, database: &Name) -> Result<Vec<Object>, ServerError> {
        let mut all = self.beside().await?;
        all.retain(|object| object.is_near(database));
        Ok(all)
    }

    async fn operation(&self, id: &str) -> Result<Option<ServerOperation>, ServerError> {
        self.ask(|world| Ok(world.operations.get(id).map(|(operation, _)| operation.clone()))).await
    }

    async fn logged(&self, _id: &str) -> Result<Option<ServerOperation>, ServerError> {
        Ok(None)
    }

    async fn movement(&self, query: &str) -> Result<Option<u64>, ServerError> {
        self.ask(|world| Ok(world.work_of(query))).await
    }

    async fn operations(&self, most: usize) -> Result<Vec<ServerOperation>, ServerError> {
        self.ask(|world| {
            let all = world.operations.values().map(|(operation, _)| operation.clone());
            Ok(all.take(most).collect())
        })
        .await
    }

    async fn contents(&self, place: &Place, _keys: Option<&Keys>) -> Result<Contents, ServerError> {
        self.ask(|world| {
            let locked = world.stored.get(place.url()).is_some_and(|stored| !stored.finished);
            Ok(Contents { locked, backup: world.manifest(place.url()) })
        })
        .await
    }

    async fn check(&self, database: &Name, table: &Name) -> Result<bool, ServerError> {
        self.ask(|world| {
            let db = world.databases.get(database).ok_or(unknown(81))?;
            let table = db.tables.get(table).ok_or(unknown(60))?;
            Ok(!table.damaged)
        })
        .await
    }
}

/// The databases of a host; each has the server's own.
fn rows_of(host: &BTreeMap<Name, Db>) -> Vec<DatabaseRow> {
    let row = |name: &Name, identity: &str| DatabaseRow {
        name: name.clone(),
        uuid: identity.to_owned(),
        engine: "Atomic".into(),
    };
    let own = row(&Name::known("system"), "uuid-system");
    host.iter().map(|(name, db)| row(name, &db.uuid)).chain([own]).collect()
}

fn tables_of(host: &BTreeMap<Name, Db>, database: &Name) -> Vec<TableRow> {
    let Some(db) = host.get(database) else { return Vec::new() };
    let awake = db.tables.iter().filter(|(_, table)| !table.asleep);
    let row = |(name, table): (&Name, &Tbl)| TableRow {
        name: name.clone(),
        uuid: table.uuid.clone(),
        engine: table.engine.clone(),
        rows: Some(table.rows.len() as u64),
        bytes: Some(8 * table.rows.len() as u64),
    };
    awake.map(row).collect()
}

fn unknown(number: i32) -> ServerError {
    ServerError::refused(number, "it is not there")
}

/// What each host does by itself, and whether all of them are to.
fn ddl_of(command: &Command<'_>) -> Option<(Ddl, bool)> {
    let of = |name: &Name| name.clone();
    let (ddl, cluster) = match command {
        Command::CreateDatabase { cluster, database } => {
            (Ddl::Create { database: of(database) }, cluster)
        }
        Command::DropDatabase { cluster, database } => {
            (Ddl::DropDatabase { database: of(database) }, cluster)
        }
        Command::RenameTable { cluster, database, from, to } => {
            let missing = cluster.is_some();
            (Ddl::Rename { database: of(database), from: of(from), to: of(to), missing }, cluster)
        }
        Command::DropTable { cluster, database, table } => {
            (Ddl::DropTable { database: of(database), table: of(table) }, cluster)
        }
        _ => return None,
    };
    Some((ddl, cluster.is_some()))
}

impl World {
    fn run(&mut self, command: &Command<'_>) -> Result<(), ServerError> {
        if let Some((ddl, cluster)) = ddl_of(command) {
            return self.carry_out(ddl, cluster);
        }
        match command {
            Command::Backup { object, transfer } => self.back_up(object, transfer),
            Command::Restore { source, target, transfer } => self.restore(source, target, transfer),
            Command::RenameDatabase { from, to } => {
                if self.databases.contains_key(*to) {
                    return Err(ServerError::refused(82, "it exists"));
                }
                let db = self.databases.remove(*from).ok_or(unknown(81))?;
                self.databases.insert((*to).clone(), db);
                Ok(())
            }
            Command::Kill { query } => {
                for (operation, work) in self.operations.values_mut() {
                    if operation.query == *query && work.take().is_some() {
                        operation.status = match operation.status.is_restore() {
                            true => ServerStatus::RestoreCancelled,
                            false => ServerStatus::BackupCancelled,
                        };
                    }
                }
                Ok(())
            }
            _ => self.run_on_table(command),
        }
    }

    fn run_on_table(&mut self, command: &Command<'_>) -> Result<(), ServerError> {
        let (Command::ExchangeTables { database, .. }
        | Command::Detach { database, .. }
        | Command::Attach { database, .. }) = command
        else {
            return Err(unknown(62));
        };
        let db = self.databases.get_mut(*database).ok_or(unknown(81))?;
        match command {
            Command::ExchangeTables { one, other, .. } => {
                let (Some(a), Some(b)) = (db.tables.remove(*one), db.tables.remove(*other)) else {
                    return Err(unknown(60));
                };
                db.tables.insert((*one).clone(), b);
                db.tables.insert((*other).clone(), a);
            }
            Command::Detach { view, .. } => {
                let view = db.tables.get_mut(*view).filter(|view| !view.asleep);
                view.ok_or(unknown(60))?.asleep = true;
            }
            Command::Attach { view, .. } => {
                let view = db.tables.get_mut(*view).ok_or(unknown(60))?;
                if !view.asleep {
                    return Err(unknown(57));
                }
                view.asleep = false;
            }
            _ => {}
        }
        Ok(())
    }

    fn require_new(&self, id: &str) -> Result<(), ServerError> {
        match self.operations.contains_key(id) {
            true => Err(ServerError::refused(36, "there is another backup with the same ID")),
            false => Ok(()),
        }
    }

    fn back_up(&mut self, object: &Object, transfer: &Transfer<'_>) -> Result<(), ServerError> {
        self.require_new(&transfer.id)?;
        let url = transfer.place.url();
        let Some(databases) = self.snapshot(object) else { return Err(unknown(81)) };
        if let Some(stored) = self.stored.get(url) {
            let text = match stored.finished {
                true => "Code: 598. DB::Exception: Backup already exists",
                false => "Code: 598. DB::Exception: Backup is being written already",
            };
            self.begin_failed(&transfer.id, url, false, text);
            return Ok(());
        }
        let whole = object.table.is_none();
        let stored = Stored { id: transfer.id.clone(), finished: false, databases, whole };
        self.stored.insert(url.to_owned(), stored);
        let work = Work::Backup { url: url.to_owned() };
        self.begin(&transfer.id, url, ServerStatus::CreatingBackup, Some(work));
        Ok(())
    }

    fn restore(
        &mut self,
        source: &Object,
        target: &Object,
        transfer: &Transfer<'_>,
    ) -> Result<(), ServerError> {
        self.require_new(&transfer.id)?;
        let url = transfer.place.url();
        let stored = self.stored.get(url).filter(|stored| stored.finished);
        let Some(held) = stored.and_then(|stored| stored.databases.get(&source.database)) else {
            let text = "Code: 605. DB::Exception: not found in the backup";
            self.begin_failed(&transfer.id, url, true, text);
            return Ok(());
        };
        let wanted = held
            .tables
            .iter()
            .filter(|(name, _)| source.table.as_ref().is_none_or(|table| table == *name));
        // As the server does it, names of the place are rewritten.
        let moved = |(database, table): &(Name, Name)| match *database == source.database {
            true => (target.database.clone(), table.clone()),
            false => (database.clone(), table.clone()),
        };
        let tables = wanted.map(|(name, table)| {
            let mut table = table.clone();
            table.copies = table.copies.as_ref().map(|(from, to)| (moved(from), moved(to)));
            (target.table.clone().unwrap_or_else(|| name.clone()), table)
        });
        let work = Work::Restore {
            database: target.database.clone(),
            tables: tables.collect(),
            done: 0,
            everywhere: transfer.cluster.is_some(),
        };
        self.begin(&transfer.id, url, ServerStatus::Restoring, Some(work));
        Ok(())
    }
}
