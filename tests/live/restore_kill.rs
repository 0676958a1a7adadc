//! kill -9 at random while a datamart is restored: whatever the instant, a resume ends in the same
//! target as an undisturbed restore, and nothing is left behind. Owns the rounds of the loop.

use std::path::PathBuf;
use std::time::Instant;

use crate::Chance;
use crate::fire::{Fire, Place, Tally, burn, rewind};
use crate::process::{Done, Keep, Process};
use crate::random_history::{History, answer};
use crate::round_trip::{Source, require_clean, words};
use crate::sandbox::Sandbox;
use crate::support::{delete_topic, kafka, unique};

/// Executions of one round that are disturbed, at most.
const DISTURBED: u64 = 9;
/// Executions after the last kill, at most.
const CALM: usize = 6;
/// What goes wrong on the node meanwhile, besides.
const FAULTS: &[&str] = &[
    "drop-answer",
    "drop-load-answer",
    "lost-begin",
    "lost-commit",
    "lost-rollback",
    "zombie-load=300",
    "zombie-load=1500",
    "late-load=300",
    "late-load=1500",
    "lying-load",
    "fail-load",
    "fail-load-counted",
    "slow-load=300",
    "slow-rollback=700",
    "stuck-rollback",
    "unfinished-ddl",
    "wrong-sum",
    "fail-commit",
    "stale-delta-ok",
];

/// What a process is waited for to print, before half of the kills, and how often at most.
const LINES: &[(&str, u64)] = &[
    ("Started RESTORE process", 1),
    ("Delta range", 1),
    (" replayed: ", 5),
    ("Started restore delta processing", 5),
    ("Successfully filled load topic", 8),
    ("Successfully loaded delta table", 8),
    ("Successfully restored delta", 5),
    ("RESTORE is done", 1),
];

#[test]
fn a_restore_killed_at_random_ends_in_the_target_of_an_undisturbed_one() {
    // Loads take a while, so that kills meet them.
    burn("kill loop of restores", &["--loadDelay", "60"], |mut place| {
        let round = Round::new(&place);
        round.play(&mut place);
    });
}

/// One datamart, restored under fire.
struct Round {
    why: String,
    chance: Chance,
    folder: PathBuf,
    keep: Keep,
    source: String,
    history: History,
    target: String,
    topic: String,
    words: Vec<String>,
    fire: Fire,
    /// Runs that were seen.
    runs: Vec<String>,
    /// The journal was put back, and may have forgotten the open delta.
    forgetful: bool,
    /// The last execution was a resume of nothing.
    nothing: bool,
}

impl Round {
    fn new(place: &Place<'_>) -> Self {
        let (mut chance, why) = (place.chance(), place.why());
        let source = Source::filled(place);
        let topic = unique("fire");
        let of = |datamart: &str, state: &str| {
            Keep::new(place.folder, &place.node.address, datamart).elsewhere(state)
        };
        let backup =
            words("backup_to_kafka", &topic, &["--chunkSize", "40", "--threadsCount", "2"]);
        of(&source.datamart, "backup").expect(0, &refs(&backup));
        let threads = (1 + chance.below(3)).to_string();
        let more = ["--sourceDatamart", &source.datamart, "--threadsCount", &threads];
        let words = words("restore_from_kafka", &topic, &more);
        let (calm, target) = (format!("calm{}", place.number), format!("fire{}", place.number));
        let began = Instant::now();
        of(&calm, "calm").expect(0, &refs(&words));
        let fire = Fire { faults: FAULTS, lines: LINES, span: began.elapsed() };
        source.require_equal(place.node, &calm, &why);
        let keep = of(&target, "fire");
        let Source { datamart: source, history, .. } = source;
        let (folder, runs, forgetful) = (place.folder.to_owned(), Vec::new(), false);
        Self {
            why,
            chance,
            folder,
            keep,
            source,
            history,
            target,
            topic,
            words,
            fire,
            runs,
            forgetful,
            nothing: false,
        }
    }

    fn play(mut self, place: &mut Place<'_>) {
        let mut done = false;
        for _ in 0..2 + self.chance.below(DISTURBED - 1) {
            if self.disturbed(place.node, place.tally) {
                done = true;
                break;
            }
            let knows = !self.runs.is_empty();
            if rewind(&self.keep.state, &self.folder, knows, &mut self.chance) {
                place.tally.rewinds += 1;
                self.forgetful = true;
            }
        }
        place.node.clear_faults();
        let mut endings = Vec::new();
        while !done {
            assert!(
                endings.len() < CALM,
                "{}: not done after {CALM} undisturbed executions:\n{}",
                self.why,
                endings.join("\n")
            );
            let ended = start(&self.keep, &self.words, self.nothing, &mut self.chance).wait();
            done = self.is_done(&ended, false, place.node);
            endings.push(ended.to_string());
        }
        self.check(place.node);
    }

    /// One execution with faults and a kill; true where it came to the end of the restore.
    fn disturbed(&mut self, node: &mut Sandbox, tally: &mut Tally) -> bool {
        let (keep, words) = (&self.keep, &self.words);
        let nothing = self.nothing;
        let start = |chance: &mut Chance| start(keep, words, nothing, chance);
        match self.fire.disturb(&mut self.chance, (node, tally), start) {
            Ok(done) => self.is_done(&done, true, node),
            Err(killed) => {
                self.remember(&killed);
                self.nothing = false;
                false
            }
        }
    }

    fn remember(&mut self, done: &Done) {
        self.runs.extend(done.run().filter(|run| !self.runs.contains(run)));
    }

    /// Whether the restore came to its end; any other way to stop than those promised is a failure.
    fn is_done(&mut self, done: &Done, faulty: bool, node: &Sandbox) -> bool {
        self.remember(done);
        self.nothing = done.code == Some(2);
        let says = |text: &str| done.stderr.contains(text);
        match done.code {
            Some(0) => return true,
            // The run ended in the instant before its kill, or never began.
            Some(2) if says("unfinished run") || says("is not unfinished") => {}
            Some(3) if says("the target is not empty") => return true,
            Some(5) => {}
            // Loaded otherwise than backed up, or answered so: rolled back, to be loaded again.
            Some(6) if says("the sum is") => {}
            // A journal that lost its tail does not know the delta that it left open.
            Some(7) if self.forgetful && says("this run did not begin it") => {
                node.sql(&self.target, "ROLLBACK DELTA");
            }
            // Without its node, or after a lost answer.
            Some(3 | 8) if faulty => {}
            _ => panic!("{}: {done}", self.why),
        }
        false
    }

    fn check(&self, node: &Sandbox) {
        for question in self.history.questions() {
            let ask = |name: &str| answer(name, node.sql(name, &question));
            assert_eq!(ask(&self.target), ask(&self.source), "{}: {question}", self.why);
        }
        require_clean(node, &self.target, self.runs.iter().map(String::as_str), &self.why);
        delete_topic(&kafka(), &self.topic);
    }
}

/// The next execution: the run goes on by either command, and where there is none only the first
/// begins one.
fn start(keep: &Keep, words: &[String], nothing: bool, chance: &mut Chance) -> Process {
    if keep.state.join("journal").exists() && !nothing && chance.percent(60) {
        keep.start_as(&[], &["resume"])
    } else {
        keep.start(&refs(words))
    }
}

fn refs(words: &[String]) -> Vec<&str> {
    words.iter().map(String::as_str).collect()
}
