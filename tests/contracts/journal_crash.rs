//! The journal's writer killed with -9 at random moments: what was acknowledged is there, nothing
//! is half there, and the store opens every time.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use deltakeep::journal::Journal;
use deltakeep::journal::sled_store::SledJournal;
use tempfile::TempDir;

use crate::journal::{batch, saved_after};

const STORE: &str = "DELTAKEEP_TEST_CHILD_STORE";
const KILLS: u32 = 20;

/// Not a test: the writer that gets killed. Says each batch that is durable.
#[test]
#[ignore = "the child of another test"]
fn child() {
    let Ok(path) = std::env::var(STORE) else { return };
    let mut journal = SledJournal::open(Path::new(&path)).unwrap();
    let mut n = journal.saved().unwrap().facts.len() as u64;
    loop {
        journal.write(&batch(n)).unwrap();
        n += 1;
        println!("durable {n}");
    }
}

/// Starts a writer, kills it after `life`, returns how many batches it acknowledged.
fn live(path: &Path, life: Duration) -> Option<u64> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "journal_crash::child", "--ignored", "--nocapture"])
        .env(STORE, path)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let stdout = BufReader::new(child.stdout.take().unwrap());
    let reader = std::thread::spawn(move || {
        let lines = stdout.lines().map_while(Result::ok);
        lines.filter_map(|line| line.strip_prefix("durable ")?.parse().ok()).last()
    });
    std::thread::sleep(life);
    child.kill().unwrap();
    child.wait().unwrap();
    reader.join().unwrap()
}

#[test]
fn a_killed_writer_loses_nothing_that_it_acknowledged() {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("store");
    let seed = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().subsec_nanos();
    let (mut random, mut acknowledged, started) = (u64::from(seed) | 1, 0, Instant::now());
    for kill in 0..KILLS {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let life = Duration::from_millis(5 + (random >> 33) % 250);
        acknowledged = live(&path, life).unwrap_or(acknowledged);
        let saved = SledJournal::open(&path).unwrap().saved().unwrap();
        let written = saved.facts.len() as u64;
        assert!(written >= acknowledged, "kill {kill}, seed {seed}: {written} < {acknowledged}");
        assert!(saved == saved_after(written), "kill {kill}, seed {seed}: not a prefix");
        acknowledged = written;
    }
    assert!(acknowledged > 100, "the writer hardly wrote: {acknowledged}");
    println!("{KILLS} kills, seed {seed}, {acknowledged} batches, {:?}", started.elapsed());
}
