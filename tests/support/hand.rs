//! A worker of a queue that can die, in memory, and the broker and server that it works with.

#![allow(dead_code, clippy::unwrap_used, reason = "a part of it is used by each test")]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use deltakeep::clickhouse::{BackupManager, Patience};
use deltakeep::journal::{Operations, TaskState, Tasks};
use deltakeep::queue::{
    Address, CommandRule, Counts, Message, OptionRule, Served, Settings, Takes, Worker, World,
};
use deltakeep::testing::Fuse;
use deltakeep::testing::clickhouse::{MemoryOperations, MemoryServer};
use deltakeep::testing::queue::{Cut, Exchange, MemoryBroker, MemoryRunner, MemoryTasks};
use serde_json::{Value, json};
use tokio::sync::watch;

/// Longer than any patience of a worker.
pub const LONG: Duration = Duration::from_secs(40 * 24 * 3600);
/// Longer than a task in doubt is waited for.
pub const QUIET: Duration = Duration::from_secs(3600);

/// What a worker in memory works with.
struct Memory;

impl World for Memory {
    type Broker = MemoryBroker;
    type Server = MemoryServer;
    type Operations = MemoryOperations;
    type Tasks = MemoryTasks;
    type Runner = MemoryRunner;
}

/// A broker and a server.
pub struct Place {
    pub exchange: Exchange,
    pub server: MemoryServer,
}

impl Place {
    pub fn new() -> Self {
        let server = MemoryServer::new(Arc::new(Fuse::default()));
        Self { exchange: Exchange::default(), server }
    }

    /// Final replies to a task, each body once.
    pub fn finals(&self, id: &str) -> BTreeSet<String> {
        let all = self.exchange.sent().into_iter();
        let ours = all.filter(|sent| sent.message_id.as_deref() == Some(&format!("{id}/final")));
        ours.map(|sent| {
            assert_eq!(sent.to, Address::Queue("replies".into()));
            assert_eq!(sent.correlation_id.as_deref(), Some(format!("c-{id}").as_str()));
            String::from_utf8(sent.body).unwrap()
        })
        .collect()
    }

    pub fn reply(&self, id: &str) -> Value {
        let finals = self.finals(id);
        assert_eq!(finals.len(), 1, "{id}: {finals:#?}");
        serde_json::from_str(finals.first().unwrap()).unwrap()
    }

    pub fn status(&self, id: &str) -> String {
        self.reply(id)["status"].as_str().unwrap().to_owned()
    }

    /// Waits until tasks have their final reply, and the queue is empty.
    pub async fn answered(&self, ids: &[&str]) {
        let all = |exchange: &Exchange| {
            ids.iter().all(|id| !self.finals(id).is_empty()) && exchange.tasks() == 0
        };
        tokio::time::timeout(LONG, self.exchange.until(all)).await.unwrap_or_else(|_| {
            panic!("no final reply to {ids:?}; {} tasks are left", self.exchange.tasks())
        });
    }
}

/// A worker that can die: what it remembers is here.
pub struct Hand {
    pub name: String,
    pub fuse: Arc<Fuse>,
    pub operations: MemoryOperations,
    pub tasks: MemoryTasks,
    pub runner: MemoryRunner,
    pub cuts: Vec<Cut>,
    pub settings: Settings,
}

/// How a life ended.
pub enum Life {
    Killed,
    Stopped(Served, Counts),
}

impl Hand {
    pub fn new(name: &str, cuts: &[Cut]) -> Self {
        let fuse = Arc::new(Fuse::default());
        let option = |name: &str, takes, allowed| OptionRule {
            names: vec![name.to_owned()],
            takes,
            allowed,
        };
        let rule = |kind: &str, subject: Option<&str>| CommandRule {
            kind: kind.to_owned(),
            subject: subject.map(str::to_owned),
            options: vec![option("topic", Takes::One, true), option("stateDir", Takes::One, false)],
        };
        let commands = [("backup_to_kafka", None), ("resume", Some("run")), ("verify", None)];
        let operations = MemoryOperations::new(fuse.clone());
        Self {
            name: name.to_owned(),
            tasks: MemoryTasks::new(&operations, fuse.clone()),
            operations,
            runner: MemoryRunner::new(fuse.clone()),
            fuse,
            cuts: cuts.to_vec(),
            settings: Settings {
                worker: name.to_owned(),
                commands: commands.map(|(kind, subject)| rule(kind, subject)).to_vec(),
                ..Settings::default()
            },
        }
    }

    /// Works until it is killed at a step, or `done`; then it stops in order.
    pub async fn live(
        &self,
        place: &Place,
        steps: Option<i64>,
        done: impl Future<Output = ()>,
    ) -> Life {
        self.fuse.set(steps);
        let (asked, stop) = watch::channel(false);
        let (exchange, fuse) = (&place.exchange, self.fuse.clone());
        let broker =
            MemoryBroker::new(exchange, &self.name, fuse.clone(), self.cuts.clone(), stop.clone());
        let second = Duration::from_secs(1);
        let patience = Patience { stall: 60 * second, cancel: 60 * second, ..Patience::default() };
        let server = place.server.seen_with(fuse.clone());
        let manager = BackupManager::new(server, self.operations.clone(), patience, || 7).unwrap();
        let (tasks, runner) = (self.tasks.clone(), self.runner.clone());
        let settings = self.settings.clone();
        let worker =
            Worker::<Memory>::new(broker, Arc::new(manager), tasks, runner, settings, || 7)
                .unwrap();
        let life = {
            let serve = worker.serve(stop);
            tokio::pin!(serve);
            let over = tokio::select! {
                biased;
                () = fuse.blown() => Some(Life::Killed),
                served = &mut serve => {
                    assert!(fuse.is_blown(), "it ended by itself: {served:?}");
                    Some(Life::Killed)
                }
                () = done => None,
            };
            match over {
                Some(life) => life,
                None => {
                    asked.send(true).unwrap();
                    tokio::select! {
                        biased;
                        () = fuse.blown() => Life::Killed,
                        served = &mut serve => Life::Stopped(served, worker.counts()),
                    }
                }
            }
        };
        drop(worker);
        // What it had at work is gone once it was looked at.
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        place.exchange.lose(&self.name);
        self.tasks.die();
        self.fuse.set(None);
        self.require_operations();
        life
    }

    /// What is this worker's and no queue's any more is in its journal, too.
    fn require_operations(&self) {
        let known = self.operations.all().unwrap();
        for task in self.tasks.all().unwrap() {
            let is_known = || known.iter().any(|operation| operation.id == task.id);
            let is_owned = task.state == TaskState::Acked && task.words.is_empty();
            assert!(!is_owned || is_known(), "nobody knows of {}", task.id);
        }
    }

    pub fn states(&self) -> Vec<TaskState> {
        self.tasks.all().unwrap().into_iter().map(|task| task.state).collect()
    }
}

pub fn message(id: &str, body: &Value) -> Message {
    Message {
        body: body.to_string().into_bytes(),
        message_id: Some(id.to_owned()),
        correlation_id: Some(format!("c-{id}")),
        reply_to: Some("replies".to_owned()),
        ..Message::default()
    }
}

pub fn backup(table: bool, path: &str) -> Value {
    let mut request = json!({
        "scope": if table { "table" } else { "database" }, "database": "live",
        "backup_path": format!("s3://my-bucket/{path}"),
        "access_key": "caNary-access-1", "secret_key": "caNary-secret-1",
    });
    if table {
        request["table"] = "t".into();
    }
    json!({"type": "create_backup", "payload": request})
}
