//! kill -9 at random of the worker, RabbitMQ, ClickHouse and the S3 server while tasks are worked on:
//! every task ends in one distinct final reply, and what it says is true. Owns the rounds; what must
//! hold of ClickHouse is in `fate`.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::time::{Duration, Instant};

use lapin::BasicProperties;
use serde_json::{Value, json};

use crate::amqp::Other;
use crate::chance::Chance;
use crate::desk::Desk;
use crate::fate::{Asked, MEGABYTES, SLOW, SPAN, WORKS, Work};
use crate::process::Process;
use crate::servers::{eventually, kill, setting, sql, take, up};
use crate::support::block_on;

/// Fewer kills prove nothing.
const FLOOR: u64 = 15;
/// No reply takes longer.
const REPLY: Duration = Duration::from_secs(150);

/// Who dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victim {
    Worker,
    Rabbit,
    Clickhouse,
    Store,
    WorkerAndRabbit,
    WorkerAndClickhouse,
}

const VICTIMS: [Victim; 10] = [
    Victim::Worker,
    Victim::Worker,
    Victim::Worker,
    Victim::Worker,
    Victim::Rabbit,
    Victim::Rabbit,
    Victim::Clickhouse,
    Victim::Store,
    Victim::WorkerAndRabbit,
    Victim::WorkerAndClickhouse,
];

/// Time from DELTAKEEP_QUEUE_KILL_SECONDS, and the dice of an earlier run from DELTAKEEP_SEED.
fn given(variable: &str, usual: u64) -> u64 {
    std::env::var(variable).map_or(usual, |text| text.parse().expect("a number"))
}

#[test]
fn killed_at_random_every_task_ends_in_one_true_reply() {
    let _turn = take();
    up("rabbitmq");
    let seed = given("DELTAKEEP_SEED", uuid::Uuid::new_v4().as_u64_pair().0 % 1_000_000);
    let budget = Duration::from_secs(given("DELTAKEEP_QUEUE_KILL_SECONDS", 75));
    let desk = Desk::new("qloop");
    desk.store.fill(MEGABYTES);
    let saved = format!("{}/saved", desk.store.path);
    desk.store.back_up(&saved, &[]);
    let mut rounds = Rounds {
        desk: &desk,
        saved: &saved,
        seed,
        chance: Chance::new(seed),
        line: block_on(Other::new(&desk.queue)),
        worker: None,
        finals: BTreeMap::new(),
        ends: BTreeMap::new(),
    };
    let (began, mut number) = (Instant::now(), 0);
    while began.elapsed() < budget || number < FLOOR {
        number += 1;
        rounds.play(number);
    }
    let ends = rounds.finish(number);
    // Not through println, which shows nothing of a test that passes.
    let _ = writeln!(std::io::stderr(), "queue kill loop: seed {seed}, {number} kills, {ends}");
}

struct Rounds<'a> {
    desk: &'a Desk,
    saved: &'a str,
    seed: u64,
    chance: Chance,
    line: Other,
    worker: Option<Process>,
    /// Final replies by task: each text that came.
    finals: BTreeMap<String, BTreeSet<String>>,
    ends: BTreeMap<String, u64>,
}

impl Rounds<'_> {
    fn play(&mut self, number: u64) {
        let work = *self.chance.pick(&WORKS);
        let victim = *self.chance.pick(&VICTIMS);
        let why = format!("seed {} round {number}, {work:?}, {victim:?}", self.seed);
        if self.worker.is_none() {
            self.worker = Some(self.desk.worker(&["-v", "--s3Retries", "100"]));
        }
        let asked = Asked::new(&self.desk.store, self.saved, number, work);
        let id = format!("{}-{number}", self.desk.store.db);
        let (task, question) = (task(&asked, &id), format!("question-{number}"));
        self.put(&task, &id);
        self.put(&json!({"type": "get_backup", "payload": {"backup_id": id}}), &question);
        std::thread::sleep(Duration::from_millis(self.chance.below(SPAN + 600)));
        self.strike(victim);
        let reply = self.final_reply(&id, &why);
        self.final_reply(&question, &why);
        let end = reply["status"].as_str().unwrap_or_default().to_owned();
        let running = format!(
            "SELECT count() FROM system.backups WHERE startsWith(id, '{id}-a') AND status IN \
             ('CREATING_BACKUP', 'RESTORING')"
        );
        let quiet = eventually(Duration::from_secs(30), || sql(&running) == "0");
        assert!(quiet, "{why}: something still works after {reply}");
        asked.judge(Some(&end), &format!("{why}: {reply}"));
        let code = reply["error"]["code"].as_str().unwrap_or_default();
        *self.ends.entry(format!("{end} {code}").trim_end().to_owned()).or_default() += 1;
    }

    fn put(&self, task: &Value, id: &str) {
        let properties = BasicProperties::default()
            .with_reply_to(self.desk.replies.as_str().into())
            .with_correlation_id(id.into())
            .with_message_id(id.into());
        block_on(self.line.put(&task.to_string(), properties));
    }

    fn strike(&mut self, victim: Victim) {
        let with_worker = [Victim::Worker, Victim::WorkerAndRabbit, Victim::WorkerAndClickhouse]
            .contains(&victim);
        if let Some(worker) = self.worker.take_if(|_| with_worker) {
            worker.signal("KILL");
            assert_eq!(worker.wait().code, None);
        }
        match victim {
            Victim::Worker => {}
            Victim::Rabbit | Victim::WorkerAndRabbit => {
                kill("rabbitmq");
                up("rabbitmq");
                self.line = block_on(Other::new(&self.desk.queue));
            }
            Victim::Clickhouse | Victim::WorkerAndClickhouse => {
                kill("clickhouse");
                up("stores");
            }
            Victim::Store => {
                kill("s3");
                std::thread::sleep(Duration::from_millis(self.chance.below(800)));
                up("stores");
            }
        }
        if self.worker.is_none() {
            self.worker = Some(self.desk.worker(&["-v", "--s3Retries", "100"]));
        }
    }

    /// The final reply to a task; all that come meanwhile are kept.
    fn final_reply(&mut self, id: &str, why: &str) -> Value {
        let began = Instant::now();
        loop {
            if let Some(text) = self.finals.get(id).and_then(|texts| texts.first()) {
                return serde_json::from_str(text).expect("JSON");
            }
            if !self.take_reply() {
                let worker = self.worker.as_ref().map(Process::stderr).unwrap_or_default();
                assert!(began.elapsed() < REPLY, "{why}: no final reply to {id}: {worker}");
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }

    fn take_reply(&mut self) -> bool {
        let Some((body, properties)) = block_on(self.line.take(&self.desk.replies)) else {
            return false;
        };
        let id = properties.correlation_id().as_ref().map(|id| id.as_str().to_owned());
        let reply: Value = serde_json::from_str(&body).expect("a JSON reply");
        if reply["final"] == Value::Bool(true) {
            self.finals.entry(id.unwrap_or_default()).or_default().insert(body);
        }
        true
    }

    /// Nothing is left, and each task of work has one distinct final reply.
    fn finish(mut self, number: u64) -> String {
        let worker = self.worker.take().expect("a worker");
        let done = self.desk.stop(worker);
        assert!(!done.stderr.contains("panic"), "{done}");
        while self.take_reply() {}
        for number in 1..=number {
            let id = format!("{}-{number}", self.desk.store.db);
            let texts = &self.finals[&id];
            assert_eq!(texts.len(), 1, "seed {}: {id} has several: {texts:?}", self.seed);
        }
        for queue in ["", ".dead", ".retry"] {
            block_on(self.line.await_waiting(&format!("{}{queue}", self.desk.queue), 0));
        }
        format!("{:?}", self.ends)
    }
}

/// The task of what is asked for.
pub fn task(asked: &Asked<'_>, id: &str) -> Value {
    let bandwidth: u64 = SLOW.parse().expect("a number");
    let mut object = json!({
        "scope": if asked.work == Work::OverTable { "table" } else { "database" },
        "database": asked.db,
        "backup_path": asked.path,
        "access_key": setting("DELTAKEEP_TEST_S3_ACCESS_KEY"),
        "secret_key": setting("DELTAKEEP_TEST_S3_SECRET_KEY"),
        "max_backup_bandwidth": bandwidth,
    });
    match asked.work {
        Work::Backup => {
            object["backup_id"] = id.into();
            json!({"type": "create_backup", "payload": object})
        }
        work => {
            if work == Work::OverTable {
                object["table"] = "t".into();
            }
            object["overwrite"] = (work != Work::NewName).into();
            json!({"type": "restore_backup", "payload": {"backup_id": id, "request": object}})
        }
    }
}
