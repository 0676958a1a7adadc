//! The journals of this host and what their status files say: enough to find a run again and to
//! go on with it. Owns the status document; never opens a store itself.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::resume::RunChoice;
use crate::journal::JournalError;
use crate::journal::sled_store::{Kind, read_status, write_status};

/// Where a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// A process works on it, or was killed.
    Running,
    /// It stopped and can be resumed.
    Stopped,
    /// It is done.
    Done,
}

/// The status document of a store (docs/json.md). No field holds a secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// Process that opened the store last.
    pub pid: u32,
    /// A backup or a restore; documents of earlier versions are of backups.
    #[serde(default)]
    pub kind: Kind,
    /// The run.
    pub run: String,
    /// Where it stands.
    pub stage: Stage,
    /// The datamart; of a restore the one that is filled.
    pub datamart: String,
    /// The datamart in the topic, of a restore.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// host:port of the live source, of a drill.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_node: Option<String>,
    /// The backup topic.
    pub topic: String,
    /// host:port of the node.
    pub node: String,
    /// Brokers of the backup topic.
    pub kafka_brokers: String,
    /// Brokers of the staging topics.
    pub kafka_brokers_core: String,
    /// How messages are delivered.
    pub delivery: String,
    /// Patience with an unload that does not grow, seconds; 0 in documents of earlier versions.
    #[serde(default)]
    pub unload_stall_seconds: u64,
    /// The lock's code word.
    pub code: String,
    /// When the run started, UTC.
    pub started: String,
    /// When this was written, UTC.
    pub updated: String,
    /// Deltas of the plan.
    pub deltas: usize,
    /// Deltas complete.
    pub deltas_done: usize,
    /// Rows delivered by the last execution.
    pub rows: u64,
    /// Bytes delivered by the last execution.
    pub bytes: u64,
    /// What outlives the run.
    #[serde(flatten)]
    pub history: History,
    /// Why the last execution stopped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

/// What is known of a backup beyond its newest run. All of it may be missing: documents of earlier
/// versions have none of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct History {
    /// When the backup was last known to be up to date, UTC; also where there was nothing new.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_success: Option<String>,
    /// When the newest delta was closed that was seen complete, UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recovery_point: Option<String>,
    /// Executions of the run after its first.
    pub resumes: u32,
    /// The lock was taken and not yet given back.
    pub lock_held: bool,
    /// Settings by which the topic forgets its oldest increments, as `name=value`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub retention: Vec<String>,
}

impl Status {
    /// From where to where.
    pub fn road(&self) -> String {
        let Self { datamart, topic, source, .. } = self;
        match self.kind {
            Kind::Backup => format!("{datamart} to {topic}"),
            Kind::Drill => {
                let source = source.as_deref().unwrap_or_default();
                format!("drill of {source} from {topic} in {datamart}")
            }
            Kind::Restore => match source.as_ref().filter(|source| *source != datamart) {
                Some(source) => format!("{source} of {topic} to {datamart}"),
                None => format!("{topic} to {datamart}"),
            },
        }
    }
}

/// A store found below the state directory.
#[derive(Clone, Debug)]
pub struct Store {
    /// Its folder.
    pub path: PathBuf,
    /// Its status.
    pub status: Status,
}

impl Store {
    /// True while the process that opened it last still lives.
    pub fn is_busy(&self) -> bool {
        self.status.stage == Stage::Running && is_alive(self.status.pid)
    }

    /// When the backup was last known to be up to date.
    pub fn last_success(&self) -> Option<&str> {
        let Status { history, stage, failure, updated, .. } = &self.status;
        // Documents of earlier versions tell it only of a run that is done.
        let done = *stage == Stage::Done && failure.is_none();
        history.last_success.as_deref().or(done.then_some(updated.as_str()))
    }

    /// What to call its stage: a run whose process is gone was killed.
    pub fn stage(&self) -> &'static str {
        match self.status.stage {
            Stage::Done => "done",
            Stage::Stopped => "stopped",
            Stage::Running if self.is_busy() => "running",
            Stage::Running => "killed",
        }
    }
}

/// A number may belong to somebody else after a restart of the host, so the name must be ours too.
fn is_alive(pid: u32) -> bool {
    let name = |pid: &str| std::fs::read(Path::new("/proc").join(pid).join("comm")).ok();
    let found = name(&pid.to_string());
    pid != std::process::id() && found.is_some() && found == name("self")
}

/// Why no run is chosen.
#[derive(Debug, thiserror::Error)]
pub enum ChoiceError {
    /// There is none.
    #[error("no unfinished run in {}", state_dir.display())]
    None {
        /// Where was looked.
        state_dir: PathBuf,
    },
    /// No run of that name.
    #[error("no run {run} in {}", state_dir.display())]
    Unknown {
        /// What was asked for.
        run: String,
        /// Where was looked.
        state_dir: PathBuf,
    },
    /// More than one.
    #[error("several runs: {}", runs.join(", "))]
    Several {
        /// Their ids, each with its datamart and topic.
        runs: Vec<String>,
    },
}

/// All stores, newest first.
///
/// # Errors
/// [`JournalError::Disk`] where the folder cannot be read.
pub fn all(state_dir: &Path) -> Result<Vec<Store>, JournalError> {
    let folder = state_dir.join("journal");
    let entries = match std::fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(vec![]),
        Err(error) => return Err(JournalError::Disk { path: folder, reason: error.to_string() }),
    };
    let mut stores = Vec::new();
    for entry in entries.flatten().filter(|entry| entry.path().is_dir()) {
        stores.extend(read(&entry.path())?);
    }
    stores.sort_by(|a, b| b.status.started.cmp(&a.status.started));
    Ok(stores)
}

/// A store by its folder; none where it has no readable status.
///
/// # Errors
/// [`JournalError::Disk`].
pub fn read(path: &Path) -> Result<Option<Store>, JournalError> {
    let status = read_status(path)?.and_then(|text| serde_json::from_str(&text).ok());
    Ok(status.map(|status| Store { path: path.to_owned(), status }))
}

/// Writes a store's status.
///
/// # Errors
/// [`JournalError::Disk`].
pub fn write(path: &Path, status: &Status) -> Result<(), JournalError> {
    let json = serde_json::to_string(status);
    let failed =
        |e: serde_json::Error| JournalError::Disk { path: path.to_owned(), reason: e.to_string() };
    write_status(path, &json.map_err(failed)?)
}

/// Writes the status of what is done. The journal is what counts: where only the status cannot be
/// written, as on a full disk, the work is done all the same.
pub fn note(path: &Path, status: &Status) {
    if let Err(error) = write(path, status) {
        tracing::warn!("{error}: `deltakeep status` will tell what was true before");
    }
}

/// The unfinished run that is meant.
///
/// # Errors
/// [`ChoiceError`].
pub fn unfinished(stores: &[Store], choice: &RunChoice, dir: &Path) -> Result<Store, ChoiceError> {
    let open: Vec<_> = stores.iter().filter(|store| store.status.stage != Stage::Done).collect();
    match (choice, &open[..]) {
        (RunChoice::Obvious, [only]) => Ok((*only).clone()),
        (RunChoice::Obvious, []) => Err(ChoiceError::None { state_dir: dir.to_owned() }),
        (RunChoice::Obvious, several) => Err(ChoiceError::Several { runs: names(several) }),
        (RunChoice::Named(run), open) => named(open, run, dir),
    }
}

/// The run whose id begins so.
///
/// # Errors
/// [`ChoiceError`].
pub fn named(stores: &[&Store], run: &str, dir: &Path) -> Result<Store, ChoiceError> {
    let begins = |store: &&&Store| store.status.run.replace('-', "").starts_with(run);
    let found: Vec<&Store> = stores.iter().filter(begins).copied().collect();
    match found[..] {
        [only] => Ok(only.clone()),
        [] => Err(ChoiceError::Unknown { run: run.to_owned(), state_dir: dir.to_owned() }),
        _ => Err(ChoiceError::Several { runs: names(&found) }),
    }
}

fn names(stores: &[&Store]) -> Vec<String> {
    stores.iter().map(|store| format!("{} ({})", store.status.run, store.status.road())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(run: &str, stage: Stage) -> Store {
        let status = Status {
            pid: u32::MAX,
            kind: Kind::Backup,
            source_node: None,
            source: None,
            run: run.into(),
            stage,
            datamart: "db".into(),
            topic: "t".into(),
            node: "n:1".into(),
            kafka_brokers: "k:1".into(),
            kafka_brokers_core: "k:1".into(),
            delivery: "transactions".into(),
            unload_stall_seconds: 0,
            code: "backup_db_1".into(),
            started: "2026-11-21T05:25:00Z".into(),
            updated: "2026-11-21T05:25:00Z".into(),
            deltas: 1,
            deltas_done: 0,
            rows: 0,
            bytes: 0,
            history: History::default(),
            failure: None,
        };
        Store { path: "/s".into(), status }
    }

    #[test]
    fn the_only_unfinished_run_is_the_obvious_one_and_several_are_listed() {
        let dir = Path::new("/s");
        let choose = |stores: &[Store]| unfinished(stores, &RunChoice::Obvious, dir);
        let (a, b) = (store("aaaa-1", Stage::Running), store("bbbb-2", Stage::Stopped));
        let done = store("cccc-3", Stage::Done);
        let only = choose(&[done.clone(), a.clone()]).map(|store| store.status.run);
        assert_eq!(only.ok().as_deref(), Some("aaaa-1"));
        assert!(matches!(choose(std::slice::from_ref(&done)), Err(ChoiceError::None { .. })));
        assert!(matches!(choose(&[a.clone(), b.clone()]), Err(ChoiceError::Several { .. })));
        let named = |run: &str| {
            unfinished(&[a.clone(), b.clone(), done.clone()], &RunChoice::Named(run.into()), dir)
        };
        assert_eq!(named("bbbb").map(|store| store.status.run).ok().as_deref(), Some("bbbb-2"));
        assert!(matches!(named("cccc"), Err(ChoiceError::Unknown { .. })));
    }

    #[test]
    fn a_run_whose_process_is_gone_was_killed() {
        assert_eq!(store("a", Stage::Running).stage(), "killed");
        assert_eq!(store("a", Stage::Stopped).stage(), "stopped");
    }
}
