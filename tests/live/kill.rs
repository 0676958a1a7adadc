//! kill -9 at random: whatever the instant, a resume brings the backup to its end, and an
//! independent reader finds what an undisturbed run wrote. Owns the rounds of the loop.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use deltakeep::model::{AttemptName, RunId};

use crate::Chance;
use crate::fire::{Fire, Place, Tally, burn, copy, rewind};
use crate::process::{Done, Keep, Process};
use crate::sandbox::Sandbox;
use crate::support::{self, eventually, judge, kafka, topics, unique};

/// Executions of one round that are disturbed, at most.
const DISTURBED: u64 = 9;
/// Executions after the last kill, at most.
const CALM: usize = 5;
/// What goes wrong on the node meanwhile, besides.
const FAULTS: &[&str] = &[
    "drop-answer",
    "drop-unload-answer",
    "zombie-unload=300",
    "zombie-unload=1500",
    "fail-unload-after=1",
    "hang-unload-after=1",
    "double-last",
    "duplicate-chunk",
    "skip-chunk",
    "silent-unload",
    "reader-down",
    "lost-deny",
    "slow-unload=20",
    "stale-delta-ok",
];

/// What a process is waited for to print, before half of the kills, and how often at most.
const LINES: &[(&str, u64)] = &[
    ("Deny changes", 12),
    ("Started backup delta processing", 12),
    ("Successfully created download ext table", 12),
    (", added rows", 12),
    (", removed rows", 12),
    ("Successfully dropped download ext table", 12),
    ("Successfully expload", 12),
    ("Trying to send data message", 12),
    ("Trying to send data message", 12),
    ("Trying to send data message", 12),
    ("Successfully archived delta table", 12),
    ("Start archiving delta changelog", 12),
    ("Trying to send changelog message", 12),
    ("delta num 1", 12),
    ("Allow changes", 12),
    ("BACKUP is done", 12),
];

#[test]
fn a_run_killed_at_random_loses_and_doubles_nothing() {
    burn("kill loop", &[], |place| Round::new(&place).play(place));
}

#[test]
fn a_table_whose_unload_dies_again_and_again_is_still_backed_up() {
    let folder = tempfile::tempdir().expect("a folder");
    let node = Sandbox::start(folder.path(), &kafka(), &["--fault", "slow-unload=500@always"]);
    node.sql("", "CREATE DATABASE stubborn");
    let small = "(id bigint not null, v varchar, PRIMARY KEY (id)) DISTRIBUTED BY (id)";
    node.sql("stubborn", &format!("CREATE TABLE t {small}"));
    node.script("stubborn", "BEGIN DELTA\nSANDBOX_FILL(t, 100)\nCOMMIT DELTA");
    let keep = Keep::new(folder.path(), &node.address, "stubborn");
    let topic = unique("stubborn");
    let words = words(&topic, &mut Chance::new(1));
    // More often than one execution would try it by itself.
    for _ in 0..7 {
        let mut process = keep.start(&refs(&words));
        process.await_line("Successfully created download ext table");
        assert!(process.wait_for(Duration::ZERO).is_err());
    }
    node.clear_faults();
    keep.expect(0, &refs(&words));
    let found = judge((&kafka(), &topic, "stubborn"), None, folder.path(), "stubborn");
    assert_eq!(found.deltas(), [0]);
    node.require_free("stubborn", "stubborn");
}

#[test]
fn a_journal_that_forgot_its_plan_does_not_wait_for_its_own_dead_transactions() {
    let folder = tempfile::tempdir().expect("a folder");
    let node = Sandbox::start(folder.path(), &kafka(), &[]);
    fill(&node, "forgot", &mut Chance::new(5));
    let keep = Keep::new(folder.path(), &node.address, "forgot");
    let topic = unique("forgot");
    let words = words(&topic, &mut Chance::new(5));
    let kill_after = |line: &str| {
        let mut process = keep.start(&refs(&words));
        process.await_line(line);
        assert!(process.wait_for(Duration::ZERO).is_err());
    };
    let (journal, saved) = (keep.state.join("journal"), folder.path().join("saved"));
    kill_after("Deny changes");
    copy(&journal, &saved);
    // Somewhere between the first message and the commit a transaction is open.
    for milliseconds in [5, 10, 20, 30, 40, 60, 80, 120] {
        let mut process = keep.start(&refs(&words));
        process.meet_line("Trying to send data message", 2, Duration::from_secs(40));
        let killed = process.wait_for(Duration::from_millis(milliseconds));
        let killed = killed.expect_err("it waited for nobody");
        assert!(killed.stdout.contains("Trying to send data message"), "{killed}");
        std::fs::remove_dir_all(&journal).expect("removed");
        copy(&saved, &journal);
    }
    // Nor does a fresh run wait for those of a run that was given up.
    let began = Instant::now();
    keep.expect(0, &[refs(&words), vec!["--onUnfinished", "abandon"]].concat());
    assert!(began.elapsed() < Duration::from_secs(40), "it took {:?}", began.elapsed());
    judge((&kafka(), &topic, "forgot"), None, folder.path(), "forgot");
    node.require_free("forgot", "forgot");
}

/// One datamart, backed up under fire.
struct Round {
    why: String,
    chance: Chance,
    folder: PathBuf,
    keep: Keep,
    datamart: String,
    topic: String,
    words: Vec<String>,
    /// The verdict on an undisturbed run.
    expect: PathBuf,
    fire: Fire,
    /// Runs that were seen.
    runs: Vec<RunId>,
    /// The last execution was a resume of nothing, and named the command.
    nothing: bool,
}

impl Round {
    fn new(place: &Place<'_>) -> Self {
        let (mut chance, why, folder) = (place.chance(), place.why(), place.folder);
        let (node, datamart) = (&*place.node, format!("round{}", place.number));
        fill(node, &datamart, &mut chance);
        let keep = Keep::new(folder, &node.address, &datamart);
        let (calm, topic) = (unique("calm"), unique("kill"));
        let words = words(&calm, &mut chance);
        let began = Instant::now();
        let done = keep.elsewhere("calm").run(&refs(&words));
        let span = began.elapsed();
        assert_eq!(done.code, Some(0), "{why}: {done}");
        let expect = judge((&kafka(), &calm, &datamart), None, folder, &why).path;
        let words = self::words(&topic, &mut chance);
        let fire = Fire { faults: FAULTS, lines: LINES, span };
        let (folder, runs, nothing) = (folder.to_owned(), Vec::new(), false);
        Self { why, chance, folder, keep, datamart, topic, words, expect, fire, runs, nothing }
    }

    fn play(mut self, place: Place<'_>) {
        let Place { node, tally, .. } = place;
        let mut done = false;
        for _ in 0..2 + self.chance.below(DISTURBED - 1) {
            if self.disturbed(node, tally) {
                done = true;
                break;
            }
            let knows = !self.runs.is_empty();
            let back = rewind(&self.keep.state, &self.folder, knows, &mut self.chance);
            tally.rewinds += u64::from(back);
        }
        node.clear_faults();
        let mut endings = Vec::new();
        while !done {
            assert!(
                endings.len() < CALM,
                "{}: not done after {CALM} undisturbed executions:\n{}",
                self.why,
                endings.join("\n")
            );
            let ended = start(&self.keep, &self.words, self.nothing, &mut self.chance).wait();
            done = self.is_done(&ended, false);
            endings.push(ended.to_string());
        }
        self.check(node);
    }

    /// One execution with faults and a kill; true where it came to the end of the backup.
    fn disturbed(&mut self, node: &mut Sandbox, tally: &mut Tally) -> bool {
        let (keep, words) = (&self.keep, &self.words);
        let nothing = self.nothing;
        let start = |chance: &mut Chance| start(keep, words, nothing, chance);
        match self.fire.disturb(&mut self.chance, (node, tally), start) {
            Ok(done) => self.is_done(&done, true),
            Err(killed) => {
                self.remember(&killed);
                self.nothing = false;
                false
            }
        }
    }

    fn remember(&mut self, done: &Done) {
        let run = done.run().map(|run| RunId(run.parse().expect("a run")));
        self.runs.extend(run.filter(|run| !self.runs.contains(run)));
    }

    /// Whether the backup came to its end; any other way to stop than those promised is a failure.
    fn is_done(&mut self, done: &Done, faulty: bool) -> bool {
        self.remember(done);
        self.nothing = done.code == Some(2);
        match done.code {
            Some(0) => return true,
            // The run ended in the instant before its kill, or never began.
            Some(2) if done.stderr.contains("unfinished run") => {}
            Some(2) if done.stderr.contains("is not unfinished") => {}
            Some(5) => {}
            // Without its node or after a lost answer to ALLOW.
            Some(3 | 8) if faulty => {}
            _ => panic!("{}: {done}", self.why),
        }
        false
    }

    fn check(&self, node: &Sandbox) {
        let Self { why, datamart, topic, folder, .. } = self;
        // What the loop took for the end may be the end of an earlier run of the same deltas.
        let again = self.keep.run(&refs(&self.words));
        assert_eq!(again.code, Some(0), "{why}: {again}");
        assert!(again.stdout.contains("Nothing to back up"), "{why}: {again}");
        judge((&kafka(), topic, datamart), Some(&self.expect), folder, why);
        node.require_free(datamart, why);
        for run in &self.runs {
            let prefix = AttemptName::prefix(*run);
            let gone = || topics(&kafka(), &prefix).is_empty();
            let left = || topics(&kafka(), &prefix);
            assert!(eventually(Duration::from_secs(3), gone), "{why}: left behind: {:?}", left());
        }
        support::delete_topic(&kafka(), topic);
    }
}

/// The next execution: the run goes on by either command, and where there is none only the first
/// begins one.
fn start(keep: &Keep, words: &[String], nothing: bool, chance: &mut Chance) -> Process {
    if keep.state.join("journal").exists() && !nothing && chance.percent(60) {
        keep.start_as(&[], &["resume", "--unloadStall", "1s"])
    } else {
        keep.start(&refs(words))
    }
}

fn refs(words: &[String]) -> Vec<&str> {
    words.iter().map(String::as_str).collect()
}

/// A backup command of a random shape.
fn words(topic: &str, chance: &mut Chance) -> Vec<String> {
    let kafka = kafka();
    let words = ["backup_to_kafka", "--topic", topic, "--kafkaBrokersCore", &kafka];
    let mut words: Vec<_> = words.iter().map(|word| (*word).to_owned()).collect();
    let chunk = (20 + chance.below(60)).to_string();
    words.extend(["--chunkSize".to_owned(), chunk, "--unloadStall".to_owned(), "1s".to_owned()]);
    // More threads than tables, every second time: tables come in several streams then.
    for (keyword, most) in [("--threadsCount", 8), ("--partitionsCount", 3)] {
        words.extend([keyword.to_owned(), (1 + chance.below(most)).to_string()]);
    }
    if chance.percent(30) {
        words.push("--noChecksums".to_owned());
    }
    words
}

/// A datamart with empty, small, large and all-types tables, several deltas, and deletions.
fn fill(node: &Sandbox, datamart: &str, chance: &mut Chance) {
    node.sql("", &format!("CREATE DATABASE {datamart}"));
    let small = "(id bigint not null, v varchar, PRIMARY KEY (id)) DISTRIBUTED BY (id)";
    let types = "(id bigint not null, b boolean, i32 int32, i int, big bigint, f float, \
                 d double, c char(10), v varchar, u uuid, l link, dt date, t time, ts timestamp, \
                 PRIMARY KEY (id)) DISTRIBUTED BY (id)";
    let tables = [("nothing", small), ("little", small), ("much", small), ("types", types)];
    let late = chance.pick(&tables).0;
    let create = |name: &str, columns: &str| {
        node.sql(datamart, &format!("CREATE TABLE {name} {columns}"));
    };
    for (name, columns) in tables.iter().filter(|(name, _)| *name != late) {
        create(name, columns);
    }
    for delta in 0..2 + chance.below(3) {
        if delta == 1 {
            let (name, columns) = tables.iter().find(|(name, _)| *name == late).expect("it");
            create(name, columns);
        }
        node.sql(datamart, "BEGIN DELTA");
        for (name, _) in tables.iter().filter(|(name, _)| delta > 0 || *name != late) {
            change(node, datamart, name, delta, chance);
        }
        node.sql(datamart, &format!("COMMIT DELTA SET '2026-01-01 00:00:0{delta}'"));
    }
}

/// Rows in and out of one table in the open delta.
fn change(node: &Sandbox, datamart: &str, table: &str, delta: u64, chance: &mut Chance) {
    let rows = match table {
        "nothing" => return,
        "little" => chance.below(4),
        "much" => 300 + chance.below(1500),
        _ => chance.below(120),
    };
    if delta > 0 && chance.percent(60) {
        let from = chance.below(300 * delta);
        let to = from + 1 + chance.below(200);
        node.sql(datamart, &format!("DELETE FROM {table} WHERE id > {from} AND id < {to}"));
    }
    if rows > 0 {
        node.sql(datamart, &format!("SANDBOX_FILL({table}, {rows})"));
    }
}
