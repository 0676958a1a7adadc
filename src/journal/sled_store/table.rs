//! One open sled store: entries read whole and checked, changed in batches that are durable when
//! they return. Knows keys and bytes; never looks for another store when this one is broken.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::ErrorKind;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::layout::{self, Head, Key};
use crate::journal::envelope::{self, EnvelopeError};

/// Memory sled may keep pages in.
const CACHE: u64 = 32 << 20;
/// sled lets go of its lock a moment after it is closed: how often, and how long apart, to try.
const TRIES: u32 = 20;
const PAUSE: Duration = Duration::from_millis(25);

/// Why a store does not work.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Broken {
    /// Another opener has it.
    Locked,
    /// It does not hold what was written.
    Damaged(String),
    /// A later version wrote it.
    Newer(u16),
    /// The system refuses, or an entry is too large.
    Disk(String),
}

/// An open store.
pub(super) struct Table {
    db: sled::Db,
    /// sled's file, for fdatasync.
    file: File,
    head: Head,
    /// By entry: what it adds to the sum, and its number of parts.
    index: BTreeMap<Key, (u64, u16)>,
    /// A write failed: what is stored is unknown until the store is opened again.
    failed: bool,
}

impl Table {
    /// Makes an empty store in a folder that does not exist.
    pub(super) fn make(path: &Path) -> Result<(), Broken> {
        let db = open_sled(path)?;
        let file = open_file(path)?;
        let mut table =
            Self { db, file, head: Head::default(), index: BTreeMap::new(), failed: false };
        let made = table.change().commit();
        table.close();
        made
    }

    /// Opens a store and checks everything in it.
    pub(super) fn open(path: &Path) -> Result<Self, Broken> {
        let db = open_patiently(path)?;
        let file = open_file(path)?;
        let mut table =
            Self { db, file, head: Head::default(), index: BTreeMap::new(), failed: false };
        match table.load() {
            Ok(()) => Ok(table),
            Err(broken) => {
                table.close();
                Err(broken)
            }
        }
    }

    /// Closes the store; a damaged one may panic at that.
    pub(super) fn close(self) {
        let _ = guarded(|| {
            drop(self);
            Ok(())
        });
    }

    fn load(&mut self) -> Result<(), Broken> {
        let (head, entries) = self.read_all()?;
        let entry = |(key, bytes): (&Key, &Vec<u8>)| {
            (key.clone(), (layout::hash(key, bytes), layout::parts(bytes.len())))
        };
        self.index = entries.iter().map(entry).collect();
        self.head = head;
        Ok(())
    }

    /// All entries by key, as the head vouches for them.
    pub(super) fn entries(&self) -> Result<BTreeMap<Key, Vec<u8>>, Broken> {
        self.read_all().map(|(_, entries)| entries)
    }

    fn read_all(&self) -> Result<(Head, BTreeMap<Key, Vec<u8>>), Broken> {
        let mut entries = join(self.pairs()?)?;
        let head = entries.remove(layout::HEAD);
        let head = head.ok_or_else(|| Broken::Damaged("it has no head".into()))?;
        let head: Head = read(&head)?;
        let hashes = entries.iter().map(|(key, entry)| layout::hash(key, entry));
        let sum = hashes.fold(0u64, u64::wrapping_add);
        if (entries.len() as u64, sum) != (head.entries, head.sum) {
            let found = entries.len();
            let reason =
                format!("{found} entries are not the {} of batch {}", head.entries, head.batch);
            return Err(Broken::Damaged(reason));
        }
        Ok((head, entries))
    }

    fn pairs(&self) -> Result<Vec<(sled::IVec, sled::IVec)>, Broken> {
        guarded(|| self.db.iter().collect())
    }

    /// Begins a change.
    pub(super) fn change(&mut self) -> Change<'_> {
        Change { head: self.head, table: self, edits: BTreeMap::new() }
    }

    /// Applies a batch and, where it is to be durable, waits until it is on the disk: sled syncs
    /// the data, fdatasync the length of the file as well.
    fn apply(&mut self, batch: sled::Batch, durable: bool) -> Result<(), Broken> {
        if self.failed {
            return Err(Broken::Disk("an earlier write failed; open it again".into()));
        }
        self.failed = true;
        guarded(|| self.db.apply_batch(batch))?;
        if durable {
            guarded(|| self.db.flush().map(|_| ()))?;
            self.file.sync_data().map_err(|e| Broken::Disk(e.to_string()))?;
        }
        self.failed = false;
        Ok(())
    }
}

/// Puts the parts of the entries together. Parts of an entry come in order.
fn join(pairs: Vec<(sled::IVec, sled::IVec)>) -> Result<BTreeMap<Key, Vec<u8>>, Broken> {
    let mut entries: BTreeMap<Key, (u16, Vec<u8>)> = BTreeMap::new();
    for (stored, part) in pairs {
        let split = layout::split_part_key(&stored);
        let (key, number) = split.ok_or_else(|| Broken::Damaged("it has a foreign key".into()))?;
        let (next, entry) = entries.entry(key.to_vec()).or_default();
        if number != *next {
            return Err(Broken::Damaged("an entry lacks a part".into()));
        }
        *next += 1;
        entry.extend_from_slice(&part);
    }
    Ok(entries.into_iter().map(|(key, (_, entry))| (key, entry)).collect())
}

/// Edits that become durable together.
pub(super) struct Change<'a> {
    table: &'a mut Table,
    head: Head,
    edits: BTreeMap<Key, Option<Vec<u8>>>,
}

impl Change<'_> {
    /// The number of the next fact; counts it.
    pub(super) fn next_fact(&mut self) -> u64 {
        self.head.next_fact += 1;
        self.head.next_fact - 1
    }

    /// Facts are numbered from 0 again.
    pub(super) fn restart_facts(&mut self) {
        self.head.next_fact = 0;
    }

    /// The number of the next summary; counts it.
    pub(super) fn next_ended(&mut self) -> u64 {
        self.head.next_ended += 1;
        self.head.next_ended - 1
    }

    /// Writes an entry, over what was there.
    pub(super) fn put<T: Serialize>(&mut self, key: Key, value: &T) -> Result<(), Broken> {
        self.edits.insert(key, Some(envelope::encode(value)?));
        Ok(())
    }

    /// Removes the entries whose key lies in a range, those put before in this change included.
    pub(super) fn remove(&mut self, keys: Range<Key>) {
        let stored = self.table.index.range(keys.clone()).map(|(key, _)| key.clone());
        let put = self.edits.range(keys).map(|(key, _)| key.clone());
        let removed: Vec<Key> = stored.chain(put).collect();
        self.edits.extend(removed.into_iter().map(|key| (key, None)));
    }

    /// Makes the edits durable, all or none.
    pub(super) fn commit(self) -> Result<(), Broken> {
        self.store(true)
    }

    /// Stores the edits, all or none; they are durable with the next [`Self::commit`].
    pub(super) fn note(self) -> Result<(), Broken> {
        self.store(false)
    }

    fn store(mut self, durable: bool) -> Result<(), Broken> {
        let mut batch = sled::Batch::default();
        let mut index = BTreeMap::new();
        for (key, edit) in std::mem::take(&mut self.edits) {
            let old = self.table.index.get(&key).copied();
            let new = edit.as_deref().map(|e| (layout::hash(&key, e), layout::parts(e.len())));
            self.count(old, new);
            stage(&mut batch, &key, edit.as_deref().unwrap_or_default(), old, new);
            index.insert(key, new);
        }
        self.head.batch += 1;
        let head = envelope::encode(&self.head)?;
        batch.insert(layout::part_key(layout::HEAD, 0), head);
        self.table.apply(batch, durable)?;
        self.table.head = self.head;
        for (key, new) in index {
            match new {
                Some(new) => self.table.index.insert(key, new),
                None => self.table.index.remove(&key),
            };
        }
        Ok(())
    }

    fn count(&mut self, old: Option<(u64, u16)>, new: Option<(u64, u16)>) {
        if let Some((hash, _)) = old {
            self.head.sum = self.head.sum.wrapping_sub(hash);
            self.head.entries -= 1;
        }
        if let Some((hash, _)) = new {
            self.head.sum = self.head.sum.wrapping_add(hash);
            self.head.entries += 1;
        }
    }
}

/// Adds an entry's parts to a batch, and the removal of parts it no longer has.
fn stage(
    batch: &mut sled::Batch,
    key: &[u8],
    entry: &[u8],
    old: Option<(u64, u16)>,
    new: Option<(u64, u16)>,
) {
    let (had, has) = (old.map_or(0, |o| o.1), new.map_or(0, |n| n.1));
    for part in 0..has {
        let from = usize::from(part) * layout::PART;
        let to = entry.len().min(from + layout::PART);
        batch.insert(layout::part_key(key, part), &entry[from..to]);
    }
    for part in has..had {
        batch.remove(layout::part_key(key, part));
    }
}

/// Reads an entry's value.
pub(super) fn read<T: DeserializeOwned>(entry: &[u8]) -> Result<T, Broken> {
    envelope::decode(entry).map_err(|error| match error {
        EnvelopeError::Newer { found } => Broken::Newer(found),
        error => Broken::Damaged(error.to_string()),
    })
}

impl From<EnvelopeError> for Broken {
    /// Of writing: what cannot be written is no damage.
    fn from(error: EnvelopeError) -> Self {
        Self::Disk(error.to_string())
    }
}

fn open_patiently(path: &Path) -> Result<sled::Db, Broken> {
    for _ in 1..TRIES {
        match open_sled(path) {
            Err(Broken::Locked) => std::thread::sleep(PAUSE),
            opened => return opened,
        }
    }
    open_sled(path)
}

fn open_sled(path: &Path) -> Result<sled::Db, Broken> {
    let config = sled::Config::new().path(path).flush_every_ms(None).cache_capacity(CACHE);
    guarded(|| config.open())
}

fn open_file(path: &Path) -> Result<File, Broken> {
    File::open(path.join("db")).map_err(|e| Broken::Disk(e.to_string()))
}

/// Calls sled where a panic is caught: a damaged store makes it panic in places (sled issue 1387).
fn guarded<T>(call: impl FnOnce() -> sled::Result<T>) -> Result<T, Broken> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(broken(error)),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
            Err(Broken::Damaged(format!("sled panicked: {}", text.unwrap_or("without a text"))))
        }
    }
}

fn broken(error: sled::Error) -> Broken {
    match error {
        sled::Error::Io(io) if io.to_string().contains("could not acquire lock") => Broken::Locked,
        sled::Error::Io(io) => match io.kind() {
            ErrorKind::UnexpectedEof | ErrorKind::InvalidData | ErrorKind::NotFound => {
                Broken::Damaged(io.to_string())
            }
            _ => Broken::Disk(io.to_string()),
        },
        error => Broken::Damaged(error.to_string()),
    }
}
