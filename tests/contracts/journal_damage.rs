//! Damage that a power cut or a bad disk leaves, one kind after another: the journal opens with
//! what was written up to some point, or says that it is damaged and keeps the evidence. It never
//! panics and never shows a state that was not.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use deltakeep::journal::sled_store::SledJournal;
use deltakeep::journal::{Journal, JournalError};
use tempfile::TempDir;

use crate::journal::{batch, saved_after};

const BATCHES: u64 = 1500;

/// A store with many batches; sled leaves its snapshot when it is closed.
fn sound() -> (TempDir, PathBuf) {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("store");
    let mut journal = SledJournal::open(&path).unwrap();
    (0..BATCHES).for_each(|n| journal.write(&batch(n)).unwrap());
    drop(journal);
    (dir, path)
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn snapshots(store: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(store).unwrap().map(|entry| entry.unwrap().path());
    paths.filter(|p| p.file_name().unwrap().to_string_lossy().starts_with("snap.")).collect()
}

fn without_snapshot(store: &Path) {
    snapshots(store).iter().for_each(|path| fs::remove_file(path).unwrap());
}

/// Changes the bytes of a store's log.
fn edit(store: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let path = store.join("db");
    let mut bytes = fs::read(&path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

fn zero(store: &Path, from: usize, length: usize) {
    edit(store, |bytes| {
        let to = bytes.len().min(from + length);
        bytes[from.min(to)..to].fill(0);
    });
}

/// What became of a damaged store.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Outcome {
    /// It opens with so many batches.
    Kept(u64),
    /// It was moved aside.
    Damaged,
}

/// Opens a damaged copy. Whatever happens must be one of the two outcomes, with evidence kept.
fn check_damage(sound: &Path, name: &str, damage: impl FnOnce(&Path)) -> Outcome {
    let dir = TempDir::new().unwrap();
    let store = dir.path().join("store");
    copy(sound, &store);
    damage(&store);
    let opened = SledJournal::open(&store).and_then(|journal| journal.saved());
    let outcome = match opened {
        Ok(saved) => {
            let batches = saved.facts.len() as u64;
            assert!(saved == saved_after(batches), "{name}: a state that never was");
            Outcome::Kept(batches)
        }
        Err(JournalError::Damaged { path, .. }) => {
            assert!(path.join("db").exists(), "{name}: no evidence in {}", path.display());
            assert!(!store.exists(), "{name}: the damaged store is still in place");
            SledJournal::open(&store).unwrap().write(&batch(0)).unwrap();
            Outcome::Damaged
        }
        Err(error) => panic!("{name}: {error}"),
    };
    println!("{name:45} {outcome:?}");
    outcome
}

#[test]
fn a_broken_snapshot_loses_nothing() {
    let (_dir, sound) = sound();
    assert!(!snapshots(&sound).is_empty(), "sled wrote no snapshot");
    let cut = |store: &Path, keep: u64| {
        for path in snapshots(store) {
            let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
            file.set_len(fs::metadata(&path).unwrap().len() * keep / 2).unwrap();
        }
    };
    let whole = Outcome::Kept(BATCHES);
    assert_eq!(check_damage(&sound, "nothing", |_| {}), whole);
    assert_eq!(check_damage(&sound, "snapshot gone", without_snapshot), whole);
    assert_eq!(check_damage(&sound, "snapshot empty", |store| cut(store, 0)), whole);
    assert_eq!(check_damage(&sound, "snapshot half", |store| cut(store, 1)), whole);
    let generating = |store: &Path| {
        fs::write(store.join("snap.0000000000000000.generating"), b"\x28\xb5").unwrap();
    };
    assert_eq!(check_damage(&sound, "snapshot unfinished", generating), whole);
}

#[test]
fn a_broken_log_shows_an_earlier_state_or_is_damaged() {
    let (_dir, sound) = sound();
    let length = fs::metadata(sound.join("db")).unwrap().len() as usize;
    type Damage = fn(&Path, usize);
    let matrix: [(&str, Damage); 8] = [
        ("last 64 KB cut", |s, n| edit(s, |bytes| bytes.truncate(n - (64 << 10)))),
        ("last 600 KB cut", |s, n| edit(s, |bytes| bytes.truncate(n - (600 << 10)))),
        ("log empty", |s, _| edit(s, Vec::clear)),
        ("32 KB of zeros in the middle", |s, n| zero(s, n / 2, 32 << 10)),
        ("4 KB of zeros 80 KB before the end", |s, n| zero(s, n - (80 << 10), 4096)),
        ("4 KB of zeros 400 KB before the end", |s, n| zero(s, n - (400 << 10), 4096)),
        ("first 4 KB zero", |s, _| zero(s, 0, 4096)),
        ("conf empty", |s, _| fs::write(s.join("conf"), b"").unwrap()),
    ];
    for (name, damage) in matrix {
        check_damage(&sound, &format!("{name}, snapshot"), |store| damage(store, length));
        check_damage(&sound, &format!("{name}, no snapshot"), |store| {
            without_snapshot(store);
            damage(store, length);
        });
    }
}

/// Changes entries behind the journal's back, as a page that fell back to an older one would.
fn tamper(store: &Path, change: impl FnOnce(&sled::Db)) {
    let db = sled::open(store).unwrap();
    change(&db);
    db.flush().unwrap();
}

#[test]
fn a_store_that_lost_something_in_the_middle_is_damaged() {
    let (_dir, sound) = sound();
    let first = |db: &sled::Db, kind: &str| db.scan_prefix(kind).next().unwrap().unwrap();
    type Change = fn(&sled::Db, (sled::IVec, sled::IVec));
    let changes: [(&str, Change); 3] = [
        ("f", |db, (key, _)| assert!(db.remove(key).unwrap().is_some())),
        ("p", |db, (key, _)| assert!(db.remove(key).unwrap().is_some())),
        ("f", |db, (_, fact)| {
            // A whole, readable entry, in another's place.
            assert!(db.insert(b"f\0\0\0\0\0\0\0\x07\0\0", fact).unwrap().is_some());
        }),
    ];
    for (kind, change) in changes {
        let outcome = check_damage(&sound, &format!("an entry {kind} changed"), |store| {
            tamper(store, |db| change(db, first(db, kind)));
        });
        assert_eq!(outcome, Outcome::Damaged);
    }
}

#[test]
fn random_damage_never_shows_a_state_that_was_not() {
    let (_dir, sound) = sound();
    let length = fs::metadata(sound.join("db")).unwrap().len() as usize;
    let seed = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().subsec_nanos();
    println!("seed {seed}");
    let mut random = u64::from(seed) | 1;
    let mut next = |below: usize| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (random >> 33) as usize % below
    };
    for round in 0..24 {
        let (at, kind, snapshot) = (next(length), next(3), next(2) == 0);
        check_damage(&sound, &format!("seed {seed} round {round} kind {kind} at {at}"), |store| {
            if !snapshot {
                without_snapshot(store);
            }
            match kind {
                0 => edit(store, |bytes| bytes[at] ^= 0x10),
                1 => zero(store, at & !4095, 4096),
                _ => edit(store, |bytes| bytes.truncate(at)),
            }
        });
    }
}

#[test]
fn a_copy_taken_while_writing_is_an_earlier_state_or_damaged() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("store");
    let mut journal = SledJournal::open(&path).unwrap();
    let live = path.clone();
    let writer = std::thread::spawn(move || {
        (0..2000).for_each(|n| journal.write(&batch(n)).unwrap());
    });
    let mut round = 0;
    while !writer.is_finished() {
        check_damage(&live, &format!("copy {round} while writing"), |_| {});
        round += 1;
    }
    writer.join().unwrap();
}
