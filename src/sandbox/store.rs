//! Owns the embedded database: its file, its schema and its connections; never knows what a statement means.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::failure::Failure;

/// Value of `sys_to` of a version that is still open.
pub(crate) const OPEN: i64 = i64::MAX;

const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS datamart(name TEXT PRIMARY KEY);
CREATE TABLE IF NOT EXISTS entity(
    id INTEGER PRIMARY KEY AUTOINCREMENT, datamart TEXT NOT NULL, name TEXT NOT NULL,
    body TEXT NOT NULL, UNIQUE(datamart, name));
CREATE TABLE IF NOT EXISTS change(
    datamart TEXT NOT NULL, num INTEGER NOT NULL, entity TEXT NOT NULL, query TEXT NOT NULL,
    started INTEGER NOT NULL, finished INTEGER, delta INTEGER, PRIMARY KEY(datamart, num));
CREATE TABLE IF NOT EXISTS deny(datamart TEXT PRIMARY KEY, code TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS delta(
    datamart TEXT NOT NULL, num INTEGER NOT NULL, date INTEGER NOT NULL,
    cn_from INTEGER NOT NULL, cn_to INTEGER NOT NULL, PRIMARY KEY(datamart, num));
CREATE TABLE IF NOT EXISTS hot(
    datamart TEXT PRIMARY KEY, num INTEGER NOT NULL, cn_from INTEGER NOT NULL, next_cn INTEGER NOT NULL,
    rolling_back INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS operation(
    ticket INTEGER PRIMARY KEY AUTOINCREMENT, datamart TEXT NOT NULL, cn INTEGER NOT NULL, target TEXT NOT NULL, external TEXT,
    query TEXT NOT NULL, status INTEGER NOT NULL, UNIQUE(datamart, cn));
CREATE TABLE IF NOT EXISTS consumed(
    grp TEXT NOT NULL, topic TEXT NOT NULL, part INTEGER NOT NULL, next INTEGER NOT NULL,
    PRIMARY KEY(grp, topic, part));
";

/// The database and its connections: one writer, any number of readers.
///
/// Readers see the state of the moment their query began, so a long unload blocks nobody.
#[derive(Debug)]
pub(crate) struct Store {
    file: PathBuf,
    writer: Mutex<Connection>,
    readers: Mutex<Vec<Connection>>,
    /// A directory to remove with the store.
    temporary: Option<PathBuf>,
}

impl Store {
    /// Opens the store in `directory`, or in a fresh temporary one that goes away with it.
    pub(crate) fn open(directory: Option<&Path>) -> Result<Self, Failure> {
        let (directory, temporary) = match directory {
            Some(directory) => (directory.to_owned(), None),
            None => {
                let name = format!("deltakeep-sandbox-{}", uuid::Uuid::new_v4());
                let directory = std::env::temp_dir().join(name);
                (directory.clone(), Some(directory))
            }
        };
        std::fs::create_dir_all(&directory)
            .map_err(|e| Failure::Store(format!("{}: {e}", directory.display())))?;
        let file = directory.join("sandbox.sqlite");
        let writer = connect(&file)?;
        // A killed process loses nothing in this mode; only a power cut could.
        writer.pragma_update(
            None,
            "synchronous",
            if temporary.is_some() { "OFF" } else { "NORMAL" },
        )?;
        writer.execute_batch(SCHEMA)?;
        Ok(Store { file, writer: Mutex::new(writer), readers: Mutex::default(), temporary })
    }

    /// Runs `work` in a write transaction; it is undone when `work` fails.
    pub(crate) fn write<T>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let mut writer = self.writer();
        let transaction = writer.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let result = work(&transaction)?;
        transaction.commit()?;
        Ok(result)
    }

    /// Runs `work` on a reader, within one snapshot.
    pub(crate) fn read<T>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let pooled = self.readers().pop();
        let mut conn = match pooled {
            Some(conn) => conn,
            None => connect(&self.file)?,
        };
        let result = {
            let snapshot = conn.transaction()?;
            work(&snapshot)
        };
        self.readers().push(conn);
        result
    }

    fn writer(&self) -> MutexGuard<'_, Connection> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn readers(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.readers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        if let Some(directory) = &self.temporary {
            self.readers().clear();
            // Nothing to do about a file that cannot be removed: it is in the temporary directory.
            let _unremovable = std::fs::remove_dir_all(directory);
        }
    }
}

fn connect(file: &Path) -> Result<Connection, Failure> {
    let conn = Connection::open(file)?;
    conn.busy_timeout(Duration::from_secs(60))?;
    conn.pragma_update(None, "journal_mode", "WAL")?;
    conn.pragma_update(None, "temp_store", "FILE")?;
    conn.pragma_update(None, "case_sensitive_like", true)?;
    conn.set_prepared_statement_cache_capacity(32);
    Ok(conn)
}
