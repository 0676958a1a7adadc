//! A worker as a process, with a database and a queue of its own, and somebody who sends tasks to it
//! and reads replies.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, ShortString};
use serde_json::{Value, json};

use crate::amqp::{LONGEST, Other};
use crate::process::{Done, Process};
use crate::rig::Rig;
use crate::servers::setting;
use crate::support::block_on;

/// Everything that a test of the worker needs.
pub struct Desk {
    pub store: Rig,
    pub queue: String,
    pub replies: String,
    pub other: Other,
}

impl Desk {
    /// With a database that holds something of everything.
    pub fn new(what: &str) -> Self {
        Self::of(Rig::new(what))
    }

    pub fn of(mut store: Rig) -> Self {
        let queue = format!("{}.tasks", store.db);
        let mut set = |name: &str, value: &str| {
            store.keep.variables.push((name.to_owned(), value.to_owned()));
        };
        set("DELTAKEEP_AMQP", &format!("amqp://{}", setting("DELTAKEEP_TEST_AMQP")));
        set("DELTAKEEP_QUEUE", &queue);
        let other = block_on(Other::new(&queue));
        let replies = format!("{queue}.replies");
        block_on(other.declare(&replies));
        Self { store, queue, replies, other }
    }

    /// Starts a worker and waits until it takes tasks.
    pub fn worker(&self, words: &[&str]) -> Process {
        self.worker_of("state", words)
    }

    /// The same with a state directory of this name.
    pub fn worker_of(&self, state: &str, words: &[&str]) -> Process {
        let words = [&["worker", "--declare"], words].concat();
        let mut worker = self.store.keep.elsewhere(state).start_as(&[], &words);
        worker.await_stderr("are worked on");
        worker
    }

    /// Sends a body as it is.
    pub fn put(&self, body: &str, id: &str) {
        let properties = BasicProperties::default()
            .with_reply_to(self.replies.as_str().into())
            .with_correlation_id(id.into())
            .with_message_id(id.into());
        block_on(self.other.put(body, properties));
    }

    /// The next reply, with the id that it answers.
    pub fn reply(&self) -> (String, Value) {
        let began = Instant::now();
        loop {
            if let Some((body, properties)) = block_on(self.other.take(&self.replies)) {
                let id = properties.correlation_id().as_ref().map(|id| id.as_str().to_owned());
                let body: Value = serde_json::from_str(&body).expect("a JSON reply");
                return (id.unwrap_or_default(), body);
            }
            assert!(began.elapsed() < LONGEST, "no reply");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Sends a task and waits for its last reply.
    pub fn ask(&self, body: &Value, id: &str) -> Value {
        self.put(&body.to_string(), id);
        loop {
            let (of, reply) = self.reply();
            if of == id && reply["final"] == Value::Bool(true) {
                return reply;
            }
        }
    }

    /// The seed's first example.
    pub fn create(&self, path: &str) -> Value {
        json!({
            "type": "create_backup",
            "payload": {
                "scope": "database",
                "database": self.store.db,
                "backup_path": path,
                "access_key": setting("DELTAKEEP_TEST_S3_ACCESS_KEY"),
                "secret_key": setting("DELTAKEEP_TEST_S3_SECRET_KEY"),
            }
        })
    }

    /// The seed's second example.
    pub fn restore(&self, path: &str, database: &str, id: &str) -> Value {
        json!({
            "type": "restore_backup",
            "payload": {
                "backup_id": id,
                "request": {
                    "scope": "database",
                    "database": database,
                    "backup_path": path,
                    "access_key": setting("DELTAKEEP_TEST_S3_ACCESS_KEY"),
                    "secret_key": setting("DELTAKEEP_TEST_S3_SECRET_KEY"),
                    "overwrite": true,
                }
            }
        })
    }

    /// Runs `send`.
    pub fn send(&self, words: &[&str]) -> Done {
        self.store.run(&[&["send"], words].concat())
    }

    /// Dead letters: bodies, with the code in their headers.
    pub fn dead(&self) -> Vec<(String, String)> {
        let queue = format!("{}.dead", self.queue);
        let letter = |(body, properties): (String, BasicProperties)| {
            let code = properties.headers().as_ref().and_then(code_in).unwrap_or_default();
            (body, code)
        };
        std::iter::from_fn(|| block_on(self.other.take(&queue)).map(letter)).collect()
    }

    /// Ends a worker in order.
    pub fn stop(&self, worker: Process) -> Done {
        worker.signal("TERM");
        let done = worker.wait();
        assert_eq!(done.code, Some(0), "{done}");
        done
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        block_on(async {
            for queue in ["", ".dead", ".retry", ".replies"] {
                let name = format!("{}{queue}", self.queue);
                // A test that fails has its own message.
                let _ = self.other.channel.queue_delete(name.into(), Default::default()).await;
            }
        });
    }
}

fn code_in(headers: &FieldTable) -> Option<String> {
    match headers.inner().get(&ShortString::from("code"))? {
        AMQPValue::LongString(code) => Some(code.to_string()),
        _ => None,
    }
}

/// Status and body of what a worker serves.
pub fn get(address: &str, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).expect("it listens");
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let code = answer.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default();
    (code, body)
}
