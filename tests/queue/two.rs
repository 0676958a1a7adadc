//! Two workers of a queue, each with a journal of its own, and one of them killed at a step of an
//! overwrite: before its ack the other one gets the task; afterwards the other one says `orphaned`
//! and BUSY, and the operation is ended by who began it or by `clickhouse recover`. Owns the rounds;
//! what must hold of ClickHouse is in `fate`.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::desk::Desk;
use crate::fate::{Asked, MEGABYTES, Work};
use crate::kill::task;
use crate::process::Process;
use crate::servers::take;

/// Decisions about an overwrite, as the worker's log names them, in the order in which they come
/// first; the worker is killed once it has come so far.
const DATABASE: [&str; 5] = ["MoveAside", "Submit", "Wait", "Verify", "DropOld"];
const TABLE: [&str; 5] = ["Submit", "Wait", "Verify", "Place", "DropOld"];
/// How long a worker may take for anything.
const LONGEST: Duration = Duration::from_secs(100);

#[test]
fn of_two_workers_the_one_that_is_left_never_touches_what_is_not_its_own() {
    let _turn = take();
    crate::servers::up("rabbitmq");
    let desk = Desk::new("pair");
    desk.store.fill(MEGABYTES);
    let saved = format!("{}/saved", desk.store.path);
    desk.store.back_up(&saved, &[]);
    let mut told = Vec::new();
    let rounds = [(Work::OverDatabase, DATABASE), (Work::OverTable, TABLE)];
    let steps = rounds.iter().flat_map(|(work, steps)| {
        std::iter::once((*work, None)).chain(steps.iter().map(|step| (*work, Some(*step))))
    });
    for (number, (work, step)) in (1..).zip(steps) {
        let asked = Asked::new(&desk.store, &saved, number, work);
        let pair = Pair { desk: &desk, asked: &asked, number, step };
        told.push(format!("{work:?} {}: {}", step.unwrap_or("sent"), pair.play()));
    }
    // Both ways to end were met, else the steps were not.
    assert!(told.iter().any(|line| line.contains("the other")), "{told:#?}");
    assert!(told.iter().any(|line| line.contains("orphaned")), "{told:#?}");
}

struct Pair<'a> {
    desk: &'a Desk,
    asked: &'a Asked<'a>,
    number: u64,
    step: Option<&'static str>,
}

impl Pair<'_> {
    /// Kills the worker that has the task; returns what became of that.
    fn play(&self) -> String {
        let why = format!("{:?} killed at {:?}", self.asked.work, self.step);
        let id = format!("{}-{}", self.desk.store.db, self.number);
        let mut first = self.worker("first");
        self.desk.put(&task(self.asked, &id).to_string(), &id);
        match self.step {
            Some(step) => first.await_stderr(&format!("decision={step}")),
            None => std::thread::sleep(Duration::from_millis(self.number)),
        }
        first.signal("KILL");
        assert_eq!(first.wait().code, None, "{why}: killed");
        let second = self.worker("second");
        let (reply, told) = match self.seen_by_the_other(&id, &why) {
            Seen::Answered(reply) => (reply, "the other answered"),
            Seen::Orphaned => {
                self.require_busy(&why);
                (self.end_by_the_first(&id, &why), "orphaned, ended by the first")
            }
            Seen::Nothing => (self.end_by_the_first(&id, &why), "nothing left but its reply"),
        };
        self.desk.stop(second);
        let end = reply["status"].as_str().expect("a status").to_owned();
        self.asked.judge(Some(&end), &format!("{why}: {reply}"));
        format!("{told}, {end}")
    }

    fn worker(&self, name: &str) -> Process {
        self.desk.worker_of(&self.state(name), &["-vv", "--s3Retries", "100"])
    }

    /// Workers of one round remember nothing of another: what is in doubt keeps a name busy.
    fn state(&self, name: &str) -> String {
        format!("{name}-{}", self.number)
    }

    /// What the second worker makes of the task, once that is certain.
    fn seen_by_the_other(&self, id: &str, why: &str) -> Seen {
        let began = Instant::now();
        let mut absent = 0;
        loop {
            let question = format!("list-{id}-{}", began.elapsed().as_micros());
            self.desk.put(&json!({"type": "list_backups", "payload": {}}).to_string(), &question);
            let (of, reply) = self.desk.reply();
            if of == id {
                // The answer to the question comes, too.
                self.desk.reply();
                return Seen::Answered(reply);
            }
            let operations = reply["result"]["operations"].as_array().expect("a list");
            // The server knows it by the id of the statement.
            let statement = format!("{id}-a1");
            let found =
                operations.iter().find(|shown| shown["id"] == id || shown["id"] == statement);
            match found.map(|operation| operation["status"].as_str().expect("a status")) {
                Some("orphaned") => return Seen::Orphaned,
                Some(_) if found.is_some_and(|operation| operation["source"] != "clickhouse") => {
                    absent = 0;
                }
                _ => absent += 1,
            }
            if absent > 40 {
                return Seen::Nothing;
            }
            assert!(began.elapsed() < LONGEST, "{why}: {reply}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// What is orphaned is left alone: a task for the same names is BUSY.
    fn require_busy(&self, why: &str) {
        let id = format!("{}-{}-too", self.desk.store.db, self.number);
        let reply = self.desk.ask(&task(self.asked, &id), &id);
        assert_eq!(reply["error"]["code"], "BUSY", "{why}: {reply}");
    }

    /// The first worker comes back, in every second round after its operation was recovered by hand.
    fn end_by_the_first(&self, id: &str, why: &str) -> Value {
        if self.number.is_multiple_of(2) {
            let keep = self.desk.store.keep.elsewhere(&self.state("first"));
            let done = keep.start_as(&[], &["clickhouse", "recover", "--op", id]).wait();
            assert_eq!(done.code, Some(0), "{why}: {done}");
        }
        let first = self.worker("first");
        let (of, reply) = self.desk.reply();
        assert_eq!((of.as_str(), &reply["final"]), (id, &Value::Bool(true)), "{why}: {reply}");
        self.desk.stop(first);
        reply
    }
}

/// How a task looks to the worker that is left.
enum Seen {
    /// It was this worker's, and is at its end.
    Answered(Value),
    /// It is the dead worker's.
    Orphaned,
    /// Nothing shows it.
    Nothing,
}
