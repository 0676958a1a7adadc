//! kill -9 at random: whatever the instant, a resume brings the backup to its end, and an
//! independent reader finds what an undisturbed run wrote. Owns the loop and its dice.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use deltakeep::model::{AttemptName, RunId};

use crate::process::{Done, Keep, Process};
use crate::sandbox::Sandbox;
use crate::support::{self, Chance, eventually, judge, kafka, topics, unique};

/// Fewer kills prove nothing.
const FLOOR: u64 = 15;
/// Executions of one round that are disturbed, at most.
const DISTURBED: u64 = 9;
/// Executions after the last kill, at most.
const CALM: u32 = 5;
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

/// What a process is waited for to print, before half of the kills.
const LINES: &[&str] = &[
    "Deny changes",
    "Started backup delta processing",
    "Successfully created download ext table",
    ", added rows",
    ", removed rows",
    "Successfully dropped download ext table",
    "Successfully expload",
    "Trying to send data message",
    "Trying to send data message",
    "Trying to send data message",
    "Successfully archived delta table",
    "Start archiving delta changelog",
    "Trying to send changelog message",
    "delta num 1",
    "Allow changes",
    "BACKUP is done",
];

#[test]
fn a_run_killed_at_random_loses_and_doubles_nothing() {
    let given = std::env::var("DELTAKEEP_SEED").ok();
    let seed = given.map_or_else(
        || uuid::Uuid::new_v4().as_u64_pair().0 % 1_000_000,
        |seed| seed.parse().expect("DELTAKEEP_SEED is a number"),
    );
    let seconds = std::env::var("DELTAKEEP_KILL_SECONDS").unwrap_or_else(|_| "60".into());
    let budget = Duration::from_secs(seconds.parse().expect("DELTAKEEP_KILL_SECONDS is a number"));
    let folder = tempfile::tempdir().expect("a folder");
    let mut node = Sandbox::start(folder.path(), &kafka(), &[]);
    let (began, mut tally, mut rounds) = (Instant::now(), Tally::default(), 0);
    while began.elapsed() < budget || tally.kills < FLOOR {
        rounds += 1;
        let folder = folder.path().join(format!("round-{rounds}"));
        std::fs::create_dir(&folder).expect("a folder");
        Round::new(seed, rounds, &folder, &node).play(&mut node, &mut tally);
    }
    // Not through println, which shows nothing of a test that passes.
    let mut stderr = std::io::stderr();
    let _ = writeln!(stderr, "kill loop: seed {seed}, {rounds} rounds, {}", tally.text());
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

/// What was done so far.
#[derive(Default)]
struct Tally {
    kills: u64,
    executions: u64,
    rewinds: u64,
    node_kills: u64,
    /// Kills by the last line that the killed process had printed.
    phases: BTreeMap<String, u64>,
}

impl Tally {
    fn text(&self) -> String {
        let phases: Vec<_> =
            self.phases.iter().map(|(p, n)| format!("  {n:4} after {p}")).collect();
        format!(
            "{} kills in {} executions, {} kills of the node, {} journals put back\n{}",
            self.kills,
            self.executions,
            self.node_kills,
            self.rewinds,
            phases.join("\n")
        )
    }
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
    /// The verdict on an undisturbed run, and how long that took.
    expect: PathBuf,
    span: Duration,
    /// Runs that were seen.
    runs: Vec<RunId>,
}

impl Round {
    fn new(seed: u64, number: u64, folder: &Path, node: &Sandbox) -> Self {
        let mut chance = Chance::new(seed.wrapping_mul(1000) + number);
        let datamart = format!("round{number}");
        fill(node, &datamart, &mut chance);
        let keep = Keep::new(folder, &node.address, &datamart);
        let why = format!("seed {seed} round {number}");
        let (calm, topic) = (unique("calm"), unique("kill"));
        let words = words(&calm, &mut chance);
        let began = Instant::now();
        let done = keep.elsewhere("calm").run(&refs(&words));
        let span = began.elapsed();
        assert_eq!(done.code, Some(0), "{why}: {done}");
        let expect = judge((&kafka(), &calm, &datamart), None, folder, &why).path;
        let words = self::words(&topic, &mut chance);
        let (folder, runs) = (folder.to_owned(), Vec::new());
        Self { why, chance, folder, keep, datamart, topic, words, expect, span, runs }
    }

    fn play(mut self, node: &mut Sandbox, tally: &mut Tally) {
        let mut done = false;
        for _ in 0..2 + self.chance.below(DISTURBED - 1) {
            if self.disturbed(node, tally) {
                done = true;
                break;
            }
            self.meanwhile(tally);
        }
        node.clear_faults();
        let mut calm = 0;
        while !done {
            calm += 1;
            assert!(calm <= CALM, "{}: not done after {CALM} undisturbed executions", self.why);
            let ended = self.start().wait();
            done = self.is_done(&ended, false);
        }
        self.check(node);
    }

    /// The next execution: the run goes on by either command.
    fn start(&mut self) -> Process {
        let resume = self.keep.state.join("journal").exists() && self.chance.percent(60);
        if resume {
            self.keep.start_as(&[], &["resume", "--unloadStall", "1s"])
        } else {
            self.keep.start(&refs(&self.words))
        }
    }

    /// One execution with faults and a kill; true where it came to the end of the backup.
    fn disturbed(&mut self, node: &mut Sandbox, tally: &mut Tally) -> bool {
        tally.executions += 1;
        if self.chance.percent(40) {
            let nth = 1 + self.chance.below(8);
            node.fault(&format!("{}@{nth}", self.chance.pick(FAULTS)));
        }
        let span = self.span * (1 + self.chance.below(100)) as u32 / 100;
        let kill_node = self.chance.percent(10);
        let mut process = self.start();
        // By time alone, kills would miss what takes little of it, commits above all.
        let span = match self.chance.percent(60) {
            true => {
                let (line, nth) = (*self.chance.pick(LINES), 1 + self.chance.below(12));
                process.meet_line(line, nth as usize, self.span * 2);
                Duration::from_millis(self.chance.below(40))
            }
            false => span,
        };
        if kill_node {
            std::thread::sleep(span / 2);
            node.kill();
            tally.node_kills += 1;
        }
        let ended = process.wait_for(if kill_node { span / 2 } else { span });
        if kill_node {
            node.start_again();
        }
        match ended {
            Ok(done) => self.is_done(&done, true),
            Err(killed) => {
                tally.kills += 1;
                *tally.phases.entry(phase(&killed)).or_default() += 1;
                self.remember(&killed);
                false
            }
        }
    }

    /// While nobody runs: the journal is saved, or an earlier state of it is put back, as a disk
    /// does that lost what was written last.
    fn meanwhile(&mut self, tally: &mut Tally) {
        let (journal, saved) = (self.keep.state.join("journal"), self.folder.join("saved"));
        if self.chance.percent(40) && journal.exists() {
            let _ = std::fs::remove_dir_all(&saved);
            copy(&journal, &saved);
        } else if self.chance.percent(40) && saved.exists() && !self.runs.is_empty() {
            std::fs::remove_dir_all(&journal).expect("removed");
            copy(&saved, &journal);
            tally.rewinds += 1;
        }
    }

    fn remember(&mut self, done: &Done) {
        let run = done.run().map(|run| RunId(run.parse().expect("a run")));
        self.runs.extend(run.filter(|run| !self.runs.contains(run)));
    }

    /// Whether the backup came to its end; any other way to stop than those promised is a failure.
    fn is_done(&mut self, done: &Done, faulty: bool) -> bool {
        self.remember(done);
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

/// What a process was at, by the beginning of the last line it had printed.
fn phase(killed: &Done) -> String {
    let line = killed.last_line();
    let words: Vec<_> = line.split_whitespace().collect();
    let words = words.iter().take_while(|word| word.chars().all(char::is_alphabetic)).take(4);
    let text = words.copied().collect::<Vec<_>>().join(" ");
    if text.is_empty() { "an unknown line".to_owned() } else { text }
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

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder").flatten() {
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            copy(&from, &to);
        } else {
            std::fs::copy(&from, &to).expect("copied");
        }
    }
}
