//! The journal in a sled store: durable writes, whole reads, and a way out of damage. Owns the
//! folder of one store; never interprets a record, never deletes what it cannot read.
//!
//! What sled alone does not give is added here: a write ends with fdatasync,
//! because sled syncs only its data and not the file's length; every call runs where a panic is
//! caught; and a sum over all entries tells a store that lost its tail, which is allowed, from one
//! that lost something in the middle, which is not.

mod ended;
mod home;
mod layout;
mod operations;
mod table;
mod tasks;

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

pub use home::{Kind, drill_path, read_status, restore_path, store_path, write_status};
pub use operations::SledOperations;
pub use tasks::SledTasks;

use self::table::{Broken, Change, Table};
use super::{Fact, Journal, JournalError, Record, Saved};

/// How many ended runs are remembered.
pub const ENDED: u64 = 100;

/// The journal of one (cluster, topic, datamart, kind), open for writing by this process alone.
pub struct SledJournal {
    path: PathBuf,
    /// None once it was found damaged and moved aside.
    table: Mutex<Option<Table>>,
}

impl SledJournal {
    /// Opens the store in `path`, or makes it. Everything in it is read and checked. Where sled
    /// cannot open it, a copy without sled's snapshot is tried once, since the snapshot is only a
    /// cache of the log and breaks most easily; the original is kept aside in any case.
    ///
    /// # Errors
    /// [`JournalError::InUse`] names the process where the status file does;
    /// [`JournalError::Damaged`] names the folder it was moved to.
    pub fn open(path: &Path) -> Result<Self, JournalError> {
        home::create(path, Table::make)?;
        let table = match Table::open(path) {
            Ok(table) => table,
            Err(Broken::Damaged(reason)) => repair(path, reason)?,
            Err(broken) => return Err(error(path, broken)),
        };
        home::write_holder(path)?;
        Ok(Self { path: path.to_owned(), table: Mutex::new(Some(table)) })
    }

    /// The store's folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Summaries of the last runs that ended, oldest first, at most [`ENDED`].
    ///
    /// # Errors
    /// [`JournalError::Damaged`]: the store was moved aside.
    pub fn ended(&self) -> Result<Vec<String>, JournalError> {
        self.with(ended::read)
    }

    /// Rewrites summaries of ended runs: `amend` returns the new text, or none to leave one as it
    /// is. All or none.
    ///
    /// # Errors
    /// [`JournalError::Damaged`]: the store was moved aside; [`JournalError::Disk`].
    pub fn amend_ended(&self, amend: impl Fn(&str) -> Option<String>) -> Result<(), JournalError> {
        self.with(|table| ended::amend(table, amend))
    }

    /// Runs something on the store; damage moves it aside and closes the journal for good.
    fn with<T>(
        &self,
        act: impl FnOnce(&mut Table) -> Result<T, Broken>,
    ) -> Result<T, JournalError> {
        let mut slot = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(table) = slot.as_mut() else {
            let reason = "it was found damaged before".to_owned();
            return Err(JournalError::Damaged { path: self.path.clone(), reason });
        };
        match act(table) {
            Ok(value) => Ok(value),
            Err(Broken::Damaged(reason)) => {
                if let Some(table) = slot.take() {
                    table.close();
                }
                let path = home::move_aside(&self.path)?;
                Err(JournalError::Damaged { path, reason })
            }
            Err(broken) => Err(error(&self.path, broken)),
        }
    }
}

/// Tries a copy without the snapshot. The original goes aside, whatever comes of it.
fn repair(path: &Path, reason: String) -> Result<Table, JournalError> {
    let copy = home::copy_without_snapshot(path)?;
    let sound = Table::open(&copy).map(Table::close);
    let aside = home::move_aside(path)?;
    match sound {
        Ok(()) => {
            home::rename(&copy, path)?;
            tracing::warn!(
                damaged = %aside.display(), %reason,
                "the journal was repaired from its log; the damaged store is kept"
            );
            Table::open(path).map_err(|broken| error(path, broken))
        }
        Err(Broken::Damaged(_)) => {
            home::discard_copy(&copy);
            Err(JournalError::Damaged { path: aside, reason })
        }
        Err(broken) => Err(error(&aside, broken)),
    }
}

fn error(path: &Path, broken: Broken) -> JournalError {
    let path = path.to_owned();
    match broken {
        Broken::Locked => JournalError::InUse { holder: home::holder(&path), path },
        Broken::Newer(found) => JournalError::Newer { path, found, known: super::envelope::FORMAT },
        Broken::Disk(reason) => JournalError::Disk { path, reason },
        Broken::Damaged(reason) => JournalError::Damaged { path, reason },
    }
}

impl Drop for SledJournal {
    fn drop(&mut self) {
        let slot = self.table.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(table) = slot.take() {
            table.close();
        }
    }
}

impl Journal for SledJournal {
    fn saved(&self) -> Result<Saved, JournalError> {
        self.with(|table| {
            let mut saved = Saved::default();
            for (key, entry) in table.entries()? {
                if layout::is_record(&key) {
                    saved.apply(table::read(&entry)?);
                }
            }
            Ok(saved)
        })
    }

    fn write(&mut self, batch: &[Record]) -> Result<(), JournalError> {
        if batch.is_empty() {
            return Ok(());
        }
        self.with(|table| {
            let mut change = table.change();
            for record in batch {
                add(&mut change, record)?;
            }
            change.commit()
        })
    }

    fn end(&mut self, summary: &str) -> Result<(), JournalError> {
        self.with(|table| ended::write(table, summary))
    }
}

/// Adds a record to a change. Progress of a delta goes with the delta's end, so that the store
/// does not grow with the work (DESIGN D7).
fn add(change: &mut Change<'_>, record: &Record) -> Result<(), Broken> {
    match record {
        Record::Fact(fact) => {
            let key = layout::fact_key(change.next_fact());
            change.put(key, record)?;
            if let Fact::DeltaDone { delta, .. } = fact {
                change.remove(layout::progress_of(*delta));
            }
        }
        Record::Progress(key, _) => change.put(layout::progress_key(key)?, record)?,
        Record::Horizon(_) => change.put(layout::horizon_key(), record)?,
    }
    Ok(())
}
