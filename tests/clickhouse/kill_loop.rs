//! kill -9 at random of the command, of ClickHouse and of the S3 server while backups and restores
//! work: whatever the instant, the operation comes to an end that is told and that holds. Owns the
//! rounds; what holds is in `fate`.

use std::io::Write;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::chance::Chance;
use crate::fate::{Asked, MEGABYTES, SLOW, SPAN, WORKS, Work};
use crate::process::Process;
use crate::rig::{Rig, json};
use crate::servers::{eventually, kill, sql, take, up};

/// Fewer kills prove nothing.
const FLOOR: u64 = 15;

/// Who dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victim {
    Command,
    Clickhouse,
    Both,
    Store,
}

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
        let asked = Asked::new(self.rig, self.saved, self.number, work);
        let killed = {
            let mut process = self.start(&asked, &id);
            self.meet(&mut process, work);
            self.strike(process, victim)
        };
        up("stores");
        let end = self.end_of(&id, &why);
        asked.judge(end.as_deref(), &why);
        (killed, end.unwrap_or_else(|| "never taken on".to_owned()))
    }

    fn start(&self, asked: &Asked<'_>, id: &str) -> Process {
        let log = self.log();
        let more = ["--id", id, "--maxBackupBandwidth", SLOW, "--s3Retries", "100"];
        let words = asked.words(&more);
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
}
