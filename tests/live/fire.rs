//! What the loops that kill share: seed and time from the environment, a disturbed execution, the
//! tally. Owns no command and no verdict.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::Chance;
use crate::process::{Done, Process};
use crate::sandbox::Sandbox;
use crate::support::kafka;

/// Fewer kills prove nothing.
const FLOOR: u64 = 15;

/// What was done so far.
#[derive(Default)]
pub struct Tally {
    pub kills: u64,
    pub executions: u64,
    pub rewinds: u64,
    pub node_kills: u64,
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

/// Plays rounds until the time is over and enough was killed: DELTAKEEP_KILL_SECONDS, and
/// DELTAKEEP_SEED to play the same again. The node has these further options.
pub fn burn(what: &str, words: &[&str], mut play: impl FnMut(Place<'_>)) {
    let given = std::env::var("DELTAKEEP_SEED").ok();
    let seed = given.map_or_else(
        || uuid::Uuid::new_v4().as_u64_pair().0 % 1_000_000,
        |seed| seed.parse().expect("DELTAKEEP_SEED is a number"),
    );
    let seconds = std::env::var("DELTAKEEP_KILL_SECONDS").unwrap_or_else(|_| "60".into());
    let budget = Duration::from_secs(seconds.parse().expect("DELTAKEEP_KILL_SECONDS is a number"));
    let folder = tempfile::tempdir().expect("a folder");
    let mut node = Sandbox::start(folder.path(), &kafka(), words);
    let (began, mut tally, mut number) = (Instant::now(), Tally::default(), 0);
    while began.elapsed() < budget || tally.kills < FLOOR {
        number += 1;
        let folder = folder.path().join(format!("round-{number}"));
        std::fs::create_dir(&folder).expect("a folder");
        let (node, tally) = (&mut node, &mut tally);
        play(Place { seed, number, folder: &folder, node, tally });
    }
    // Not through println, which shows nothing of a test that passes.
    let mut stderr = std::io::stderr();
    let _ = writeln!(stderr, "{what}: seed {seed}, {number} rounds, {}", tally.text());
}

/// Where a round is played.
pub struct Place<'a> {
    pub seed: u64,
    pub number: u64,
    pub folder: &'a Path,
    pub node: &'a mut Sandbox,
    pub tally: &'a mut Tally,
}

impl Place<'_> {
    /// The chance of this round.
    pub fn chance(&self) -> Chance {
        Chance::new(self.seed.wrapping_mul(1000) + self.number)
    }

    pub fn why(&self) -> String {
        format!("seed {} round {}", self.seed, self.number)
    }
}

/// What befalls an execution.
pub struct Fire {
    /// What goes wrong on the node meanwhile, besides.
    pub faults: &'static [&'static str],
    /// What a process is waited for to print, before half of the kills, and how often at most.
    pub lines: &'static [(&'static str, u64)],
    /// How long an undisturbed execution takes.
    pub span: Duration,
}

impl Fire {
    /// One execution with faults and a kill; the error is what the killed process had printed.
    pub fn disturb(
        &self,
        chance: &mut Chance,
        (node, tally): (&mut Sandbox, &mut Tally),
        start: impl FnOnce(&mut Chance) -> Process,
    ) -> Result<Done, Done> {
        tally.executions += 1;
        if chance.percent(40) {
            let nth = 1 + chance.below(8);
            node.fault(&format!("{}@{nth}", chance.pick(self.faults)));
        }
        let span = self.span * (1 + chance.below(100)) as u32 / 100;
        let kill_node = chance.percent(10);
        let mut process = start(chance);
        // By time alone, kills would miss what takes little of it, commits above all.
        let span = match chance.percent(60) {
            true => {
                let (line, most) = *chance.pick(self.lines);
                let nth = 1 + chance.below(most) as usize;
                process.meet_line(line, nth, self.span * 2);
                Duration::from_millis(chance.below(40))
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
        if let Err(killed) = &ended {
            tally.kills += 1;
            *tally.phases.entry(phase(killed)).or_default() += 1;
        }
        ended
    }
}

/// While nobody runs: the journal is saved, or an earlier state of it is put back, as a disk does
/// that lost what was written last. True where one was put back. Only a journal that knows its run
/// is saved: one that is lost whole ends the run.
pub fn rewind(state: &Path, folder: &Path, knows: bool, chance: &mut Chance) -> bool {
    let (journal, saved) = (state.join("journal"), folder.join("saved"));
    if chance.percent(40) && journal.exists() && knows {
        let _ = std::fs::remove_dir_all(&saved);
        copy(&journal, &saved);
    } else if chance.percent(40) && saved.exists() {
        std::fs::remove_dir_all(&journal).expect("removed");
        copy(&saved, &journal);
        return true;
    }
    false
}

/// What a process was at, by the beginning of the last line it had printed.
fn phase(killed: &Done) -> String {
    let line = killed.last_line();
    let words: Vec<_> = line.split_whitespace().collect();
    let words = words.iter().take_while(|word| word.chars().all(char::is_alphabetic)).take(4);
    let text = words.copied().collect::<Vec<_>>().join(" ");
    if text.is_empty() { "an unknown line".to_owned() } else { text }
}

pub fn copy(from: &Path, to: &Path) {
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
