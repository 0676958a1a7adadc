//! kill -9 at random of the command, of ClickHouse and of the S3 server while backups and restores
//! work: whatever the instant, the operation comes to an end that is told, what was there before is
//! whole or replaced as a whole, and the same can be asked for again. Owns the rounds.

use std::io::Write;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::chance::Chance;
use crate::process::Process;
use crate::rig::{Rig, json};
use crate::servers::{delete_object, eventually, kill, sql, take, up};

/// Fewer kills prove nothing.
const FLOOR: u64 = 15;
/// How much is moved, and how fast, bytes a second.
const MEGABYTES: u64 = 3;
const SLOW: &str = "2000000";
/// How long an operation takes, milliseconds.
const SPAN: u64 = 1300;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Work {
    Backup,
    OverDatabase,
    OverTable,
    NewName,
}

/// Who dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victim {
    Command,
    Clickhouse,
    Both,
    Store,
}

impl Work {
    /// Steps that a killer waits for in half of the rounds; the rest is by time alone.
    fn steps(self) -> &'static [&'static str] {
        match self {
            Self::Backup => &["Submitting"],
            Self::OverDatabase => &["Aside", "Submitting", "Cleaning"],
            Self::OverTable => &["Submitting", "Placing", "Cleaning"],
            Self::NewName => &["Submitting", "Cleaning"],
        }
    }
}

const WORKS: [Work; 4] = [Work::Backup, Work::OverDatabase, Work::OverTable, Work::NewName];
const VICTIMS: [Victim; 6] = [
    Victim::Command,
    Victim::Command,
    Victim::Clickhouse,
    Victim::Clickhouse,
    Victim::Both,
    Victim::Store,
];

/// Time from DELTAKEEP_CLICKHOUSE_KILL_SECONDS, and the dice of an earlier run from DELTAKEEP_SEED.
fn given(variable: &str, usual: u64) -> u64 {
    std::env::var(variable).map_or(usual, |text| text.parse().expect("a number"))
}

#[test]
fn killed_at_random_every_operation_ends_and_no_row_is_lost_or_doubled() {
    let _turn = take();
    let seed = given("DELTAKEEP_SEED", uuid::Uuid::new_v4().as_u64_pair().0 % 1_000_000);
    let budget = Duration::from_secs(given("DELTAKEEP_CLICKHOUSE_KILL_SECONDS", 45));
    let (began, mut kills, mut number) = (Instant::now(), 0, 0);
    let mut ends = std::collections::BTreeMap::<String, u64>::new();
    let rig = Rig::new("loop");
    rig.fill(MEGABYTES);
    let saved = format!("{}/saved", rig.path);
    rig.back_up(&saved, &[]);
    while began.elapsed() < budget || kills < FLOOR {
        number += 1;
        let chance = Chance::new(seed.wrapping_mul(1000) + number);
        let mut round = Round { rig: &rig, saved: &saved, number, seed, chance };
        let (killed, end) = round.play();
        kills += u64::from(killed);
        *ends.entry(end).or_default() += 1;
    }
    // Not through println, which shows nothing of a test that passes.
    let _ = writeln!(
        std::io::stderr(),
        "ClickHouse kill loop: seed {seed}, {number} rounds, {kills} kills, ends {ends:?}"
    );
}

struct Round<'a> {
    rig: &'a Rig,
    saved: &'a str,
    number: u64,
    seed: u64,
    chance: Chance,
}

impl Round<'_> {
    fn play(&mut self) -> (bool, String) {
        let work = *self.chance.pick(&WORKS);
        let victim = *self.chance.pick(&VICTIMS);
        let why = format!("seed {} round {}, {work:?}, {victim:?}", self.seed, self.number);
        let id = format!("{}-{}", self.rig.db, self.number);
        // What is there before differs from what is restored.
        let row = 20_000 + self.number;
        sql(&format!("INSERT INTO {}.t VALUES ({row}, 'late')", self.rig.db));
        let before = self.rig.counts(&self.rig.db);
        let (db, path) = self.names(work);
        let killed = {
            let mut process = self.start(work, &db, &path, &id);
            self.meet(&mut process, work);
            self.strike(process, victim)
        };
        up("stores");
        let end = self.end_of(&id, &why);
        self.judge(work, &db, &path, &before, end.as_deref(), &why);
        (killed, end.unwrap_or_else(|| "never taken on".to_owned()))
    }

    /// The database that is worked on, and the place.
    fn names(&self, work: Work) -> (String, String) {
        let db = match work {
            Work::NewName => format!("{}_{}", self.rig.db, self.number),
            _ => self.rig.db.clone(),
        };
        let path = match work {
            Work::Backup => format!("{}/{}", self.rig.path, self.number),
            _ => self.saved.to_owned(),
        };
        (db, path)
    }

    fn words<'w>(
        &'w self,
        work: Work,
        db: &'w str,
        path: &'w str,
        more: &[&'w str],
    ) -> Vec<&'w str> {
        let (what, own): (_, &[&str]) = match work {
            Work::Backup => ("create-backup", &[]),
            Work::OverDatabase => ("restore-backup", &["--overwrite"]),
            Work::OverTable => ("restore-backup", &["--overwrite", "--table", "t"]),
            Work::NewName => ("restore-backup", &[]),
        };
        let more = [own, more].concat();
        self.rig.words(what, db, path, &more)
    }

    fn start(&self, work: Work, db: &str, path: &str, id: &str) -> Process {
        let log = self.log();
        let more = ["--id", id, "--maxBackupBandwidth", SLOW, "--s3Retries", "100"];
        let words = self.words(work, db, path, &more);
        self.rig.keep.start_as(&["-v", "--logFile", &log], &words)
    }

    fn log(&self) -> String {
        self.rig.keep.folder.join(format!("{}.log", self.number)).to_string_lossy().into_owned()
    }

    /// Waits for an instant: a step in the log, or some time.
    fn meet(&mut self, process: &mut Process, work: Work) {
        if self.chance.percent(50) {
            let step = format!("step={}", self.chance.pick(work.steps()));
            let seen = || std::fs::read_to_string(self.log()).is_ok_and(|log| log.contains(&step));
            eventually(Duration::from_millis(SPAN), || seen() || !process.is_alive());
            std::thread::sleep(Duration::from_millis(self.chance.below(20)));
        } else {
            std::thread::sleep(Duration::from_millis(self.chance.below(SPAN)));
        }
    }

    /// Kills; false where the command had ended before.
    fn strike(&mut self, mut process: Process, victim: Victim) -> bool {
        let alive = process.is_alive();
        if matches!(victim, Victim::Command | Victim::Both) && alive {
            process.signal("KILL");
        }
        match victim {
            Victim::Command => {}
            Victim::Clickhouse | Victim::Both => kill("clickhouse"),
            Victim::Store => {
                kill("s3");
                std::thread::sleep(Duration::from_millis(self.chance.below(800)));
            }
        }
        up("stores");
        // Whatever it ends with, it ends.
        process.wait();
        alive
    }

    /// Brings the operation to its end and returns that; none where it was never taken on.
    fn end_of(&self, id: &str, why: &str) -> Option<String> {
        let told = |words: &[&str]| {
            let done = self.rig.run(&[&["clickhouse", "--output", "json"], words].concat());
            match done.code {
                Some(0) => Some(json(&done)),
                _ if done.stderr.contains("NOT_FOUND") => None,
                _ => panic!("{why}: {done}"),
            }
        };
        told(&["recover", "--op", id])?;
        let known: Value = told(&["get-backup", id])?;
        assert_eq!(known["operation"]["final"], true, "{why}: {known}");
        let running = format!(
            "SELECT count() FROM system.backups WHERE startsWith(id, '{id}-a') AND status IN \
             ('CREATING_BACKUP', 'RESTORING')"
        );
        assert_eq!(sql(&running), "0", "{why}: something still works");
        Some(known["operation"]["status"].as_str().expect("a status").to_owned())
    }

    fn judge(&self, work: Work, db: &str, path: &str, before: &str, end: Option<&str>, why: &str) {
        self.rig.require_tidy();
        let done = end == Some("succeeded");
        let restored = format!("{0}\t{0}\t{0}\t{0}\t5", 1000 + MEGABYTES);
        match work {
            Work::Backup => {
                assert_eq!(self.rig.counts(db), before, "{why}: a backup changed its source");
                self.use_path_again(path, end, why);
            }
            Work::OverDatabase if done => assert_eq!(self.rig.counts(db), restored, "{why}"),
            Work::OverTable if done => {
                let count = sql(&format!("SELECT count() FROM {db}.t"));
                assert_eq!(count, (1000 + MEGABYTES).to_string(), "{why}");
            }
            Work::OverDatabase | Work::OverTable => {
                assert_eq!(self.rig.counts(db), before, "{why}, {end:?}: not as before");
            }
            Work::NewName if done => assert_eq!(self.rig.counts(db), restored, "{why}"),
            Work::NewName => {
                assert_eq!(sql(&format!("EXISTS DATABASE {db}")), "0", "{why}: a part was left");
            }
        }
        if work != Work::Backup && !done {
            let again = self.rig.run(&self.words(work, db, path, &[]));
            assert_eq!(again.code, Some(0), "{why}: asked for again: {again}");
        }
        if work == Work::NewName {
            sql(&format!("DROP DATABASE {db} SYNC SETTINGS check_table_dependencies = 0"));
        }
        // The base of the next round, whatever this one left.
        let words = self.words(Work::OverDatabase, &self.rig.db, self.saved, &[]);
        let reset = self.rig.run(&words);
        assert_eq!(reset.code, Some(0), "{why}: {reset}");
        assert_eq!(self.rig.counts(&self.rig.db), restored, "{why}: put right");
        // Each row reaches each view once.
        sql(&format!("INSERT INTO {}.t VALUES (15000, 'z')", self.rig.db));
        let more = format!("{0}\t{0}\t{0}\t{0}\t5", 1001 + MEGABYTES);
        assert_eq!(self.rig.counts(&self.rig.db), more, "{why}: views");
    }

    /// A backup that succeeded is restored; else the path takes one, or what is in its way is named.
    fn use_path_again(&self, path: &str, end: Option<&str>, why: &str) {
        let words = self.words(Work::Backup, &self.rig.db, path, &[]);
        let again = self.rig.run(&words);
        if end == Some("succeeded") {
            assert!(again.stderr.contains("PATH_EXISTS"), "{why}: {again}");
        } else if again.stderr.contains("PATH_LOCKED") {
            delete_object(&format!("tests/{}/{}/.lock", self.rig.db, self.number));
            let free = self.rig.run(&words);
            assert_eq!(free.code, Some(0), "{why}: without its lock: {free}");
        } else {
            assert_eq!(again.code, Some(0), "{why}: {again}");
        }
        let copy = format!("{}_copy", self.rig.db);
        self.rig.restore(0, &copy, path, &[]);
        let counts = self.rig.counts(&copy);
        assert_eq!(counts, self.rig.counts(&self.rig.db), "{why}: the backup");
        sql(&format!("DROP DATABASE {copy} SYNC SETTINGS check_table_dependencies = 0"));
    }
}
