//! A small datamart on a node of its own, and a backup of it: what most tests begin with. Owns no
//! test.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::process::Keep;
use crate::sandbox::Sandbox;
use crate::support::{Judged, judge, kafka, unique};

/// Node, datamart `d` with the tables `a` and `b`, and where its backup goes.
pub struct Rig {
    pub folder: TempDir,
    pub node: Sandbox,
    pub keep: Keep,
    pub topic: String,
    pub brokers: String,
    deltas: std::cell::Cell<u64>,
}

impl Rig {
    pub fn new(what: &str) -> Self {
        Self::over(what, &kafka(), &[])
    }

    /// With other brokers, and further options of the node. The datamart has two deltas.
    pub fn over(what: &str, brokers: &str, words: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let node = Sandbox::start(folder.path(), brokers, words);
        let columns = "(id bigint not null, v varchar, PRIMARY KEY (id)) DISTRIBUTED BY (id)";
        node.sql("", "CREATE DATABASE d");
        node.script("d", &format!("CREATE TABLE a {columns}\nCREATE TABLE b {columns}"));
        let keep = Keep::new(folder.path(), &node.address, "d");
        let (topic, brokers) = (unique(what), brokers.to_owned());
        let rig = Self { folder, node, keep, topic, brokers, deltas: Default::default() };
        rig.delta("SANDBOX_FILL(a, 200)\nSANDBOX_FILL(b, 5)");
        rig.delta("DELETE FROM a WHERE id < 50\nSANDBOX_FILL(a, 60)");
        rig
    }

    /// Closes one more delta with these statements in it.
    pub fn delta(&self, statements: &str) {
        let second = self.deltas.replace(self.deltas.get() + 1);
        let end = format!("COMMIT DELTA SET '2026-01-01 00:00:{second:02}'");
        self.node.script("d", &format!("BEGIN DELTA\n{statements}\n{end}"));
    }

    /// A backup command: 20 rows a message, patience for tests, and more words.
    pub fn words<'a>(&'a self, more: &[&'a str]) -> Vec<&'a str> {
        let mut words = vec!["backup_to_kafka", "--topic", &self.topic, "--chunkSize", "20"];
        words.extend(["--kafkaBrokersCore", &self.brokers, "--unloadStall", "1s"]);
        words.extend(more);
        words
    }

    /// Whoever comes next finds a slow node: every message takes so many milliseconds.
    pub fn slow(&self, milliseconds: u64) {
        self.node.fault(&format!("slow-unload={milliseconds}@always"));
    }

    /// Kills a backup -9 while it unloads; returns its run.
    pub fn leave_killed_run(&self, words: &[&str]) -> String {
        self.slow(80);
        let mut process = self.keep.start(words);
        process.await_line("Successfully created download ext table");
        let killed = process.wait_for(std::time::Duration::ZERO).expect_err("it was not done");
        self.node.clear_faults();
        killed.run().expect("a run")
    }

    /// The judge finds exactly these deltas, each complete and once.
    pub fn judge(&self, deltas: &[u64]) -> Judged {
        let of = (&*self.brokers, &*self.topic, "d");
        let found = judge(of, None, self.folder.path(), &self.topic);
        assert_eq!(found.deltas(), deltas, "{}", self.topic);
        found
    }

    /// What an undisturbed run of the same datamart writes, as a verdict to be equal to.
    pub fn undisturbed(&self) -> PathBuf {
        let topic = unique("calm");
        let words = self.words(&["--threadsCount", "2"]);
        let calm = words.iter().map(|word| if *word == self.topic { &*topic } else { *word });
        self.keep.elsewhere("calm").expect(0, &calm.collect::<Vec<_>>());
        judge((&self.brokers, &topic, "d"), None, self.folder.path(), &topic).path
    }

    /// The judge finds what an undisturbed run wrote, and nobody holds the datamart.
    pub fn judge_against(&self, expect: &Path) {
        let of = (&*self.brokers, &*self.topic, "d");
        judge(of, Some(expect), self.folder.path(), &self.topic);
        self.require_free();
    }

    /// Nobody holds the datamart any more.
    pub fn require_free(&self) {
        self.node.require_free("d", &self.topic);
    }
}
