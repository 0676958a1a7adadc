//! What is asked for while somebody kills, and what must hold of it afterwards: what was there
//! before is whole or replaced as a whole, nothing is left beside it, and the same can be asked for
//! again. Owns the verdict on one operation; kills nobody.

use crate::rig::Rig;
use crate::servers::{delete_object, sql};

/// How much is moved, and how fast, bytes a second.
pub const MEGABYTES: u64 = 3;
/// Slow enough to be met at work.
pub const SLOW: &str = "2000000";
/// How long an operation takes so, milliseconds.
pub const SPAN: u64 = 1300;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    Backup,
    OverDatabase,
    OverTable,
    NewName,
}

pub const WORKS: [Work; 4] = [Work::Backup, Work::OverDatabase, Work::OverTable, Work::NewName];

impl Work {
    /// Steps that a killer waits for in half of the rounds; the rest is by time alone.
    pub fn steps(self) -> &'static [&'static str] {
        match self {
            Self::Backup => &["Submitting"],
            Self::OverDatabase => &["Aside", "Submitting", "Cleaning"],
            Self::OverTable => &["Submitting", "Placing", "Cleaning"],
            Self::NewName => &["Submitting", "Cleaning"],
        }
    }
}

/// An operation that was asked for.
pub struct Asked<'a> {
    rig: &'a Rig,
    /// Where the backup lies that restores take.
    saved: &'a str,
    number: u64,
    pub work: Work,
    /// The database that is worked on.
    pub db: String,
    /// Where its backup lies, or comes to lie.
    pub path: String,
    /// What the rig's database held before.
    before: String,
}

impl<'a> Asked<'a> {
    /// The next one; what is there before differs from what is restored.
    pub fn new(rig: &'a Rig, saved: &'a str, number: u64, work: Work) -> Self {
        let row = 20_000 + number;
        sql(&format!("INSERT INTO {}.t VALUES ({row}, 'late')", rig.db));
        let db = match work {
            Work::NewName => format!("{}_{number}", rig.db),
            _ => rig.db.clone(),
        };
        let path = match work {
            Work::Backup => format!("{}/{number}", rig.path),
            _ => saved.to_owned(),
        };
        let before = rig.counts(&rig.db);
        Self { rig, saved, number, work, db, path, before }
    }

    /// The command.
    pub fn words<'w>(&'w self, more: &[&'w str]) -> Vec<&'w str> {
        let (what, own): (_, &[&str]) = match self.work {
            Work::Backup => ("create-backup", &[]),
            Work::OverDatabase => ("restore-backup", &["--overwrite"]),
            Work::OverTable => ("restore-backup", &["--overwrite", "--table", "t"]),
            Work::NewName => ("restore-backup", &[]),
        };
        self.rig.words(what, &self.db, &self.path, &[own, more].concat())
    }

    /// Judges by the end that was told; none where it was never taken on. Puts the rig's database
    /// right for the next one.
    pub fn judge(&self, end: Option<&str>, why: &str) {
        let db = &self.db;
        self.rig.require_tidy();
        let done = end == Some("succeeded");
        let restored = format!("{0}\t{0}\t{0}\t{0}\t5", 1000 + MEGABYTES);
        match self.work {
            Work::Backup => {
                assert_eq!(self.rig.counts(db), self.before, "{why}: a backup changed its source");
                self.use_path_again(end, why);
            }
            Work::OverDatabase if done => assert_eq!(self.rig.counts(db), restored, "{why}"),
            Work::OverTable if done => {
                let count = sql(&format!("SELECT count() FROM {db}.t"));
                assert_eq!(count, (1000 + MEGABYTES).to_string(), "{why}");
            }
            Work::OverDatabase | Work::OverTable => {
                assert_eq!(self.rig.counts(db), self.before, "{why}, {end:?}: not as before");
            }
            Work::NewName if done => assert_eq!(self.rig.counts(db), restored, "{why}"),
            Work::NewName => {
                assert_eq!(sql(&format!("EXISTS DATABASE {db}")), "0", "{why}: a part was left");
            }
        }
        if self.work != Work::Backup && !done {
            let again = self.rig.run(&self.words(&[]));
            assert_eq!(again.code, Some(0), "{why}: asked for again: {again}");
        }
        if self.work == Work::NewName {
            sql(&format!("DROP DATABASE {db} SYNC SETTINGS check_table_dependencies = 0"));
        }
        self.put_right(&restored, why);
    }

    /// The base of the next operation, whatever this one left.
    fn put_right(&self, restored: &str, why: &str) {
        let db = &self.rig.db;
        self.rig.restore(0, db, self.saved, &["--overwrite"]);
        assert_eq!(self.rig.counts(db), restored, "{why}: put right");
        // Each row reaches each view once.
        sql(&format!("INSERT INTO {db}.t VALUES (15000, 'z')"));
        let more = format!("{0}\t{0}\t{0}\t{0}\t5", 1001 + MEGABYTES);
        assert_eq!(self.rig.counts(db), more, "{why}: views");
    }

    /// A backup that succeeded is restored; else the path takes one, or what is in its way is named.
    fn use_path_again(&self, end: Option<&str>, why: &str) {
        let words = self.words(&[]);
        let again = self.rig.run(&words);
        if end == Some("succeeded") {
            assert!(again.stderr.contains("PATH_EXISTS"), "{why}: {again}");
        } else if again.stderr.contains("PATH_LOCKED") {
            // The lock that was named.
            delete_object(&format!("tests/{}/{}/.lock", self.rig.db, self.number));
            let again = self.rig.run(&words);
            assert_eq!(again.code, Some(0), "{why}: without its lock: {again}");
        } else {
            assert_eq!(again.code, Some(0), "{why}: {again}");
        }
        let copy = format!("{}_copy", self.rig.db);
        self.rig.restore(0, &copy, &self.path, &[]);
        let counts = self.rig.counts(&copy);
        assert_eq!(counts, self.rig.counts(&self.rig.db), "{why}: the backup");
        sql(&format!("DROP DATABASE {copy} SYNC SETTINGS check_table_dependencies = 0"));
    }
}
