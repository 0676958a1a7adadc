//! The worker beside bare clients that do the least that could be called the same: how long a task
//! waits until ClickHouse has accepted its statement, how many questions are answered in a second,
//! and what the worker takes while nothing comes. Prints for `scripts/bench`; asserts nothing about
//! time.

#[path = "shared/bare.rs"]
mod bare;
#[allow(dead_code, reason = "what a process of ours took is told elsewhere")]
#[path = "shared/measure.rs"]
mod measure;
#[path = "shared/worker.rs"]
mod worker;

use std::time::{Duration, Instant, SystemTime};

use bare::{Bare, Sender};
use measure::median;
use serde_json::{Value, json};
use worker::{Stores, Worker};

/// Backups of each round and kind.
const BACKUPS: usize = 30;
/// Questions of each round and kind.
const QUESTIONS: usize = 1000;
/// How long the worker is watched while nothing comes.
const IDLE: Duration = Duration::from_secs(10);

#[tokio::main]
async fn main() {
    let rounds = rounds();
    let stores = Stores::of_environment();
    stores.fill().await;
    let mut sender = Sender::new(&stores).await;
    let (worker, known) = accept(&stores, &mut sender, rounds).await;
    let worker = questions(&stores, &mut sender, rounds, worker, &known).await;
    idle(&worker).await;
    stores.clear().await;
}

fn rounds() -> usize {
    let given = std::env::var("DELTAKEEP_BENCH_ROUNDS").ok();
    given.map_or(7, |rounds| rounds.parse().expect("DELTAKEEP_BENCH_ROUNDS is a number"))
}

/// From a task's delivery to the time at which ClickHouse says that it began; the delivery is half an
/// echo after the sending. One task at a time, and each backup is at its end before the next task
/// comes. Returns the worker and its last reply.
async fn accept(stores: &Stores, sender: &mut Sender, rounds: usize) -> (Worker, Value) {
    stores.declare("bench_worker").await;
    let worker = Worker::start("bench_worker");
    let bare = Bare::backups(stores, "bench_bare", true).await;
    let blind = Bare::backups(stores, "bench_blind", false).await;
    let echo = Bare::echo(stores, "bench_echo").await;
    let queues = [worker.queue.as_str(), &bare.queue, &blind.queue, &echo.queue];
    let (mut spent, mut ratios): ([Vec<f64>; 4], [Vec<f64>; 2]) = Default::default();
    let mut known = Value::Null;
    for _ in 0..rounds {
        let mut round: [Vec<f64>; 4] = Default::default();
        for _ in 0..BACKUPS {
            for (kind, queue) in queues.iter().enumerate() {
                let task = stores.backup();
                let (began, sent) = (Instant::now(), SystemTime::now());
                sender.send(queue, "create_backup", &task).await;
                let reply = last(sender).await;
                let echoed = began.elapsed().as_secs_f64() * 1e3;
                stores.settled().await;
                round[kind].push(match kind {
                    3 => echoed,
                    _ => stores.accepted(&task, sent).await,
                });
                if kind == 0 {
                    known = reply;
                }
            }
        }
        let middle = round.each_ref().map(|spent| median(spent.iter().copied()).0);
        let way = middle[3] / 2.0;
        for (kind, ratios) in ratios.iter_mut().enumerate() {
            ratios.push((middle[0] - way) / (middle[kind + 1] - way));
        }
        for (kind, spent) in spent.iter_mut().enumerate() {
            let less = if kind == 3 { 0.0 } else { way };
            spent.extend(round[kind].iter().map(|spent| spent - less));
        }
    }
    println!(
        "{BACKUPS} backups a round, {rounds} rounds; ms from delivery until ClickHouse accepted (least, \
         most)"
    );
    let names = ["worker", "bare client", "the statement alone", "echo, there and back"];
    for (kind, (name, spent)) in names.iter().zip(spent).enumerate() {
        let claim = if kind == 0 { "   claim: under 10" } else { "" };
        println!("{name:32} {:>22}{claim}", range(median(spent)));
    }
    let [bare, blind] = ratios.map(|ratios| range(median(ratios)));
    println!("{:32} {bare:>22}   claim: under 2", "worker / bare client");
    println!("{:32} {blind:>22}", "worker / the statement alone");
    (worker, known)
}

/// Questions that wait in the queue, from the first reply to the last.
async fn questions(
    stores: &Stores,
    sender: &mut Sender,
    rounds: usize,
    mut worker: Worker,
    known: &Value,
) -> Worker {
    let question = json!({ "backup_id": known["backup_id"] });
    let mut spent: [Vec<f64>; 2] = Default::default();
    for _ in 0..rounds {
        let queue = |kind: &str| format!("bench_get_{kind}");
        for kind in ["worker", "bare"] {
            stores.declare(&queue(kind)).await;
            sender.send_many(&queue(kind), "get_backup", &question, QUESTIONS).await;
        }
        worker = worker.again(&queue("worker"));
        spent[0].push(rate(sender).await);
        let bare = Bare::answers(stores, &queue("bare"), known.clone()).await;
        spent[1].push(rate(sender).await);
        drop(bare);
    }
    let ratio = median(spent[0].iter().zip(&spent[1]).map(|(worker, bare)| worker / bare));
    println!(
        "{QUESTIONS} get_backup waiting in a queue, {rounds} rounds; replies a second (least, most)"
    );
    for (name, spent) in ["worker", "bare loop"].iter().zip(spent) {
        let (middle, least, most) = median(spent);
        println!("{name:32} {:>22}", format!("{middle:.0} ({least:.0}, {most:.0})"));
    }
    println!("{:32} {:>22}   claim: at least 0.7", "worker / bare loop", range(ratio));
    worker
}

/// Replies a second, from the first to the last.
async fn rate(sender: &mut Sender) -> f64 {
    require(&sender.reply().await, "succeeded");
    let began = Instant::now();
    for _ in 1..QUESTIONS {
        require(&sender.reply().await, "succeeded");
    }
    (QUESTIONS - 1) as f64 / began.elapsed().as_secs_f64()
}

/// What the worker takes while nothing comes.
async fn idle(worker: &Worker) {
    tokio::time::sleep(Duration::from_secs(2)).await;
    let before = (worker.ticks(), worker.switches());
    tokio::time::sleep(IDLE).await;
    let seconds = IDLE.as_secs_f64();
    let cpu = (worker.ticks() - before.0) as f64 * 10.0 / seconds;
    let wakes = (worker.switches() - before.1) as f64 / seconds;
    println!("worker, idle for {seconds} s after all that");
    let line = |name: &str, value: String, claim: &str| println!("{name:32} {value:>22}{claim}");
    let mib = worker.resident_kib() as f64 / 1024.0;
    line("memory, MiB", format!("{mib:.1}"), "   claim: under 40");
    line("processor, ms a second", format!("{cpu:.1}"), "");
    line("wake-ups a second", format!("{wakes:.1}"), "");
}

/// The final reply; what is told of progress comes before it.
async fn last(sender: &mut Sender) -> Value {
    loop {
        let reply = sender.reply().await;
        if reply["final"] == true {
            require(&reply, "succeeded");
            return reply;
        }
    }
}

fn require(reply: &Value, status: &str) {
    assert_eq!(reply["status"], status, "{reply}");
}

fn range((middle, least, most): (f64, f64, f64)) -> String {
    format!("{middle:.2} ({least:.2}, {most:.2})")
}
