//! Folders and side files of stores: names, birth, copies, moving aside, and the status file that
//! can be read while a store is locked. Never opens a store, never deletes one.

use std::fmt;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::table::Broken;
use crate::journal::JournalError;

/// What a journal is of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A backup.
    #[default]
    Backup,
    /// A restore.
    Restore,
    /// A drill, with its restore.
    Drill,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Backup => "backup",
            Self::Restore => "restore",
            Self::Drill => "drill",
        })
    }
}

/// The folder of a store below the state directory (DESIGN D7): readable, safe on any file system,
/// and different for different (cluster, topic, datamart, kind).
pub fn store_path(
    state_dir: &Path,
    cluster: &str,
    topic: &str,
    datamart: &str,
    kind: Kind,
) -> PathBuf {
    path_of(state_dir, (datamart, topic, kind), &[cluster, topic, datamart, &kind.to_string()])
}

/// The folder of a restore's store: different for different nodes, too, since one topic can fill
/// datamarts of one name on several.
pub fn restore_path(
    state_dir: &Path,
    cluster: &str,
    topic: &str,
    (node, datamart): (&str, &str),
) -> PathBuf {
    let kind = Kind::Restore;
    path_of(state_dir, (datamart, topic, kind), &[cluster, topic, node, datamart, "restore"])
}

/// The folder of a drill's store, by its scratch.
pub fn drill_path(
    state_dir: &Path,
    cluster: &str,
    topic: &str,
    (node, scratch): (&str, &str),
) -> PathBuf {
    let kind = Kind::Drill;
    path_of(state_dir, (scratch, topic, kind), &[cluster, topic, node, scratch, "drill"])
}

fn path_of(state_dir: &Path, readable: (&str, &str, Kind), parts: &[&str]) -> PathBuf {
    let (datamart, topic, kind) = readable;
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    let hash: String = hash.finalize()[..8].iter().map(|byte| format!("{byte:02x}")).collect();
    let readable = format!("{}.{}.{kind}", safe(datamart), safe(topic));
    state_dir.join("journal").join(format!("{readable}.{hash}"))
}

/// At most 40 letters, digits, dashes and underscores, in lower case: some file systems do not
/// tell cases apart.
fn safe(text: &str) -> String {
    let keep = |c: char| match c.to_ascii_lowercase() {
        c if c.is_ascii_alphanumeric() || c == '-' => c,
        _ => '_',
    };
    text.chars().take(40).map(keep).collect()
}

/// Makes a store where there is none. It gets its name only when it is whole, so that a store
/// without content is always damage and never an interrupted birth.
pub(super) fn create(
    path: &Path,
    make: impl FnOnce(&Path) -> Result<(), Broken>,
) -> Result<(), JournalError> {
    if path.exists() {
        return Ok(());
    }
    let parent = path.parent().unwrap_or(Path::new("."));
    on_disk(path, fs::create_dir_all(parent))?;
    let young = beside(path, &format!("new-{}", std::process::id()));
    discard_copy(&young);
    make(&young).map_err(|broken| super::error(path, broken))?;
    on_disk(path, sync_folder(&young))?;
    match fs::rename(&young, path) {
        // Another process was faster: its store is as good.
        Err(_) if path.exists() => discard_copy(&young),
        renamed => on_disk(path, renamed)?,
    }
    on_disk(path, File::open(parent).and_then(|folder| folder.sync_all()))
}

/// Copies a store without sled's snapshot, which is only a cache of the log.
pub(super) fn copy_without_snapshot(path: &Path) -> Result<PathBuf, JournalError> {
    let copy = beside(path, &format!("retry-{}", std::process::id()));
    discard_copy(&copy);
    on_disk(path, copy_folder(path, &copy))?;
    Ok(copy)
}

fn copy_folder(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let name = entry.file_name();
        if name.to_string_lossy().starts_with("snap.") {
            continue;
        }
        if entry.file_type()?.is_dir() {
            copy_folder(&entry.path(), &to.join(&name))?;
        } else {
            fs::copy(entry.path(), to.join(&name))?;
        }
    }
    sync_folder(to)
}

/// Removes a copy that we made ourselves.
pub(super) fn discard_copy(copy: &Path) {
    // What stays behind wastes space and harms nothing.
    let _ = fs::remove_dir_all(copy);
}

/// Moves a damaged store to the first free `<name>.bad-<n>`; returns where.
pub(super) fn move_aside(path: &Path) -> Result<PathBuf, JournalError> {
    let free = (1u32..).map(|n| beside(path, &format!("bad-{n}"))).find(|aside| !aside.exists());
    let aside = free.unwrap_or_else(|| beside(path, "bad"));
    rename(path, &aside)?;
    Ok(aside)
}

/// Renames a store, durably.
pub(super) fn rename(from: &Path, to: &Path) -> Result<(), JournalError> {
    on_disk(to, fs::rename(from, to))?;
    let parent = to.parent().unwrap_or(Path::new("."));
    on_disk(to, File::open(parent).and_then(|folder| folder.sync_all()))
}

fn sync_folder(path: &Path) -> io::Result<()> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            File::open(entry.path())?.sync_all()?;
        }
    }
    File::open(path)?.sync_all()
}

/// A name beside the store: the store's, a dot, and more.
fn beside(path: &Path, more: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(more);
    PathBuf::from(name)
}

fn on_disk<T>(path: &Path, done: io::Result<T>) -> Result<T, JournalError> {
    done.map_err(|e| JournalError::Disk { path: path.to_owned(), reason: e.to_string() })
}

fn status_path(path: &Path) -> PathBuf {
    beside(path, "status.json")
}

/// Writes the status of the store in `path`, for readers that cannot open it. Readers see the old
/// text or the new one, never a part. A `pid` field in it names the holder of the store.
///
/// # Errors
/// [`JournalError::Disk`].
pub fn write_status(path: &Path, json: &str) -> Result<(), JournalError> {
    let status = status_path(path);
    let young = beside(path, &format!("status-{}", std::process::id()));
    on_disk(&status, fs::write(&young, json).and_then(|()| fs::rename(&young, &status)))
}

/// Reads what [`write_status`] wrote last; none where nothing was.
///
/// # Errors
/// [`JournalError::Disk`].
pub fn read_status(path: &Path) -> Result<Option<String>, JournalError> {
    let status = status_path(path);
    match fs::read_to_string(&status) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        read => on_disk(&status, read).map(Some),
    }
}

/// The process that the status file names.
pub(super) fn holder(path: &Path) -> Option<u32> {
    let status = read_status(path).ok()??;
    let status: serde_json::Value = serde_json::from_str(&status).ok()?;
    status.get("pid")?.as_u64()?.try_into().ok()
}

/// Names this process in the status file and leaves the rest of it as it is.
pub(super) fn write_holder(path: &Path) -> Result<(), JournalError> {
    let old = read_status(path)?.and_then(|text| serde_json::from_str(&text).ok());
    let mut fields = match old {
        Some(serde_json::Value::Object(fields)) => fields,
        _ => serde_json::Map::new(),
    };
    fields.insert("pid".into(), std::process::id().into());
    write_status(path, &serde_json::Value::Object(fields).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(cluster: &str, topic: &str, datamart: &str, kind: Kind) -> PathBuf {
        store_path(Path::new("/s"), cluster, topic, datamart, kind)
    }

    #[test]
    fn paths_are_readable_and_safe() {
        let path = path("c", "Backup/../топик", "marketing", Kind::Backup);
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        assert!(name.starts_with("marketing.backup_________.backup."), "{name}");
        assert_eq!(path.parent(), Some(Path::new("/s/journal")));
        assert!(name.is_ascii() && name.len() < 120, "{name}");
    }

    #[test]
    fn different_journals_have_different_paths() {
        let base = path("c", "t", "d", Kind::Backup);
        let others = [
            path("c2", "t", "d", Kind::Backup),
            path("c", "T", "d", Kind::Backup),
            path("c", "t", "e", Kind::Backup),
            path("c", "t", "d", Kind::Restore),
            path("ct", "", "d", Kind::Backup),
            restore_path(Path::new("/s"), "c", "t", ("n", "d")),
            restore_path(Path::new("/s"), "c", "t", ("n2", "d")),
        ];
        assert!(others.iter().all(|other| *other != base), "{others:?}");
        let all: std::collections::BTreeSet<_> = others.iter().collect();
        assert_eq!(all.len(), others.len(), "{others:?}");
    }
}
