//! The journal's contract, on the sled store and on plain memory, and what only the store has:
//! its lock, its status file, its memory of ended runs.

use std::path::Path;
use std::sync::{Arc, Mutex};

use deltakeep::journal::sled_store::{
    ENDED, Kind, SledJournal, read_status, store_path, write_status,
};
use deltakeep::journal::{Fact, Journal, JournalError, Progress, Record, Saved, StreamKey};
use deltakeep::model::{AttemptName, DeltaNum, Offset, StreamNumber, TableName};
use tempfile::TempDir;

/// The simplest journal there can be.
#[derive(Clone, Default)]
struct MemoryJournal(Arc<Mutex<Saved>>);

impl Journal for MemoryJournal {
    fn saved(&self) -> Result<Saved, JournalError> {
        Ok(self.0.lock().unwrap().clone())
    }

    fn write(&mut self, batch: &[Record]) -> Result<(), JournalError> {
        apply(&mut self.0.lock().unwrap(), batch);
        Ok(())
    }

    fn end(&mut self, _summary: &str) -> Result<(), JournalError> {
        *self.0.lock().unwrap() = Saved::default();
        Ok(())
    }
}

/// What a batch makes of what was saved.
pub fn apply(saved: &mut Saved, batch: &[Record]) {
    for record in batch {
        saved.apply(record.clone());
        if let Record::Fact(Fact::DeltaDone { delta, .. }) = record {
            saved.progress.retain(|key, _| key.delta != *delta);
        }
    }
}

pub fn stream(delta: u64, stream: u32) -> StreamKey {
    StreamKey {
        delta: DeltaNum(delta),
        issue: 0,
        table: Some(TableName("sales".into())),
        stream: StreamNumber(stream),
    }
}

pub fn progress(delta: u64, number: u32, chunks: u64) -> Record {
    Record::Progress(stream(delta, number), Progress { chunks, ..Progress::default() })
}

/// The `n`-th batch of a long run: a fact in each, so that the number of facts tells how many
/// batches there were; now and then a large one, and a finished delta.
pub fn batch(n: u64) -> Vec<Record> {
    let delta = n / 40;
    let name = AttemptName(format!("deltakeep_{n}"));
    let mut batch = vec![progress(delta, (n % 5) as u32, n)];
    batch.push(match n % 40 {
        39 => Record::Fact(Fact::DeltaDone { delta: DeltaNum(delta), issue: 0 }),
        20 => Record::Fact(Fact::Sealed { name, ends: vec![n; 4000] }),
        _ => Record::Fact(Fact::AttemptGone { name }),
    });
    batch.push(Record::Horizon(vec![Offset(n as i64); 3]));
    if n % 40 == 39 {
        batch.push(progress(delta + 1, 9, 0));
    }
    batch
}

/// What a run has saved after `n` batches.
pub fn saved_after(n: u64) -> Saved {
    let mut saved = Saved::default();
    (0..n).for_each(|n| apply(&mut saved, &batch(n)));
    saved
}

fn check_journal<J: Journal>(mut open: impl FnMut() -> J) {
    let mut journal = open();
    assert_eq!(journal.saved().unwrap(), Saved::default());
    journal.write(&[]).unwrap();
    for n in 0..100 {
        journal.write(&batch(n)).unwrap();
        if n % 33 == 0 {
            drop(journal);
            journal = open();
        }
    }
    assert_eq!(journal.saved().unwrap(), saved_after(100));
    journal.end("{}").unwrap();
    assert_eq!(journal.saved().unwrap(), Saved::default());
    journal.write(&batch(0)).unwrap();
    drop(journal);
    assert_eq!(open().saved().unwrap(), saved_after(1));
}

#[test]
fn memory_keeps_the_contract() {
    let memory = MemoryJournal::default();
    check_journal(|| memory.clone());
}

#[test]
fn the_store_keeps_the_contract() {
    let dir = TempDir::new().unwrap();
    let path = store_path(dir.path(), "cluster", "topic", "marketing", Kind::Backup);
    check_journal(|| SledJournal::open(&path).unwrap());
}

#[test]
fn progress_of_a_finished_delta_is_forgotten_with_it() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("store");
    let mut journal = SledJournal::open(&path).unwrap();
    journal.write(&[progress(1, 1, 5), progress(2, 1, 6)]).unwrap();
    let done = Record::Fact(Fact::DeltaDone { delta: DeltaNum(1), issue: 0 });
    journal.write(&[progress(1, 2, 7), done]).unwrap();
    let saved = journal.saved().unwrap();
    assert_eq!(saved.progress.into_keys().collect::<Vec<_>>(), [stream(2, 1)]);
}

#[test]
fn a_large_record_is_kept_and_shrinks_again() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("store");
    let mut journal = SledJournal::open(&path).unwrap();
    let large: Vec<_> = (0..400_000).map(Offset).collect();
    journal.write(&[Record::Horizon(large.clone())]).unwrap();
    drop(journal);
    let mut journal = SledJournal::open(&path).unwrap();
    assert_eq!(journal.saved().unwrap().horizon, large);
    journal.write(&[Record::Horizon(vec![Offset(1)])]).unwrap();
    drop(journal);
    assert_eq!(SledJournal::open(&path).unwrap().saved().unwrap().horizon, [Offset(1)]);
    assert_eq!(std::fs::read_dir(path.join("blobs")).unwrap().count(), 0, "sled syncs no blobs");
}

#[test]
fn a_record_beyond_the_limit_is_refused_and_harms_nothing() {
    let dir = TempDir::new().unwrap();
    let mut journal = SledJournal::open(&dir.path().join("store")).unwrap();
    let huge = Record::Horizon(vec![Offset(i64::MAX); 2_000_000]);
    let refused = journal.write(&[progress(1, 1, 1), huge]);
    assert!(matches!(refused, Err(JournalError::Disk { .. })), "{refused:?}");
    assert_eq!(journal.saved().unwrap(), Saved::default());
    journal.write(&batch(0)).unwrap();
}

#[test]
fn the_last_ended_runs_are_remembered() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("store");
    let mut journal = SledJournal::open(&path).unwrap();
    for n in 0..ENDED + 5 {
        journal.write(&batch(n)).unwrap();
        journal.end(&format!("{{\"run\":{n}}}")).unwrap();
    }
    drop(journal);
    let ended = SledJournal::open(&path).unwrap().ended().unwrap();
    let expected: Vec<_> = (5..ENDED + 5).map(|n| format!("{{\"run\":{n}}}")).collect();
    assert_eq!(ended, expected);
}

#[test]
fn a_store_in_use_names_its_holder() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("store");
    let journal = SledJournal::open(&path).unwrap();
    let Err(JournalError::InUse { path: told, holder }) = SledJournal::open(&path) else {
        panic!("it was opened twice")
    };
    assert_eq!((told.as_path(), holder), (path.as_path(), Some(std::process::id())));
    drop(journal);
    SledJournal::open(&path).unwrap();
}

#[test]
fn the_status_is_readable_while_the_store_is_locked() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("store");
    assert_eq!(read_status(&path).unwrap(), None);
    let journal = SledJournal::open(&path).unwrap();
    write_status(&path, r#"{"chunks":7}"#).unwrap();
    assert_eq!(read_status(&path).unwrap().as_deref(), Some(r#"{"chunks":7}"#));
    drop(journal);
    SledJournal::open(&path).unwrap();
    let status: serde_json::Value =
        serde_json::from_str(&read_status(&path).unwrap().unwrap()).unwrap();
    assert_eq!(status["chunks"], 7);
    assert_eq!(status["pid"], std::process::id());
}

#[test]
fn a_store_of_a_later_version_is_left_alone() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("store");
    SledJournal::open(&path).unwrap().write(&batch(0)).unwrap();
    raise_format(&path);
    let Err(JournalError::Newer { found: 2, known: 1, .. }) = SledJournal::open(&path) else {
        panic!("it was not recognised")
    };
    assert!(path.exists() && !dir.path().join("store.bad-1").exists());
}

/// Rewrites the head as format 2 would: same envelope, higher number.
fn raise_format(path: &Path) {
    let db = sled::open(path).unwrap();
    let key = b"m\0\0";
    let mut head = db.get(key).unwrap().unwrap().to_vec();
    head[3] = 2;
    let mut hash = crc32fast::Hasher::new();
    hash.update(&head[..4]);
    hash.update(&head[8..]);
    head[4..8].copy_from_slice(&hash.finalize().to_be_bytes());
    db.insert(key, head).unwrap();
    db.flush().unwrap();
}
