//! The servers that the benchmarks of the queue use, and the worker as a process. Measures nothing.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime};

use lapin::options::{QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::{AMQPValue, FieldTable};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::bare::channel;

/// Tasks that a consumer holds at a time; the worker's is the same.
pub const CONCURRENCY: u16 = 8;

/// The servers.
#[derive(Clone)]
pub struct Stores {
    /// host:port of RabbitMQ.
    pub amqp: String,
    clickhouse: clickhouse::Client,
    database: String,
}

impl Stores {
    /// Those that `scripts/servers env` names.
    pub fn of_environment() -> Self {
        let clickhouse = clickhouse::Client::default()
            .with_url(format!("http://{}", setting("CLICKHOUSE")))
            .with_user(setting("CLICKHOUSE_USER"))
            .with_password(setting("CLICKHOUSE_PASSWORD"));
        let database = format!("bench_{}", uuid::Uuid::new_v4().simple());
        Self { amqp: setting("AMQP"), clickhouse, database }
    }

    /// Makes what is backed up: as little as there can be.
    pub async fn fill(&self) {
        let database = &self.database;
        self.sql(&format!("CREATE DATABASE {database}")).await;
        self.sql(&format!("CREATE TABLE {database}.t (a UInt64) ENGINE = MergeTree ORDER BY a"))
            .await;
        self.sql(&format!("INSERT INTO {database}.t SELECT 1")).await;
    }

    /// Leaves nothing.
    pub async fn clear(&self) {
        self.sql(&format!("DROP DATABASE {} SYNC", self.database)).await;
    }

    /// A task to back the table up, where nothing is.
    pub fn backup(&self) -> Value {
        let (database, path) = (&self.database, uuid::Uuid::new_v4());
        json!({
            "scope": "table",
            "database": database,
            "table": "t",
            "backup_path": format!("s3://my-bucket/{database}/{path}"),
            "access_key": setting("S3_ACCESS_KEY"),
            "secret_key": setting("S3_SECRET_KEY"),
        })
    }

    /// Looks whether another operation has names beside the table or its database.
    pub async fn look(&self) {
        let names = |of: &str| {
            let query = self.clickhouse.query(&format!("SELECT name FROM system.{of}"));
            async move { query.fetch_all::<String>().await.expect("ClickHouse answers") }
        };
        let tables = format!("tables WHERE database = '{}'", self.database);
        let (databases, tables) = tokio::join!(names("databases"), names(&tables));
        let mut all = databases.iter().chain(&tables);
        assert!(!all.any(|name| name.contains("__bk_")), "nobody else is at work");
    }

    /// Sends the statement that such a task asks for.
    pub async fn submit(&self, payload: &Value) {
        let text = |field: &str| payload[field].as_str().expect("a text").to_owned();
        let url = text("backup_path").replace("s3://", &format!("http://{}/", setting("S3")));
        let statement = format!(
            "BACKUP TABLE {}.t TO S3({{u:String}}, {{a:String}}, {{s:String}}) SETTINGS id='{}' ASYNC",
            self.database,
            uuid::Uuid::new_v4()
        );
        let query = self.clickhouse.query_raw(&statement).param("u", url);
        let query = query.param("a", text("access_key")).param("s", text("secret_key"));
        query.execute().await.expect("ClickHouse accepts it");
    }

    /// Milliseconds from a time to the one at which ClickHouse began what a task asks for.
    pub async fn accepted(&self, payload: &Value, sent: SystemTime) -> f64 {
        let path = payload["backup_path"].as_str().expect("a text").replace("s3://my-bucket/", "");
        let began = format!(
            "SELECT toUnixTimestamp64Micro(start_time) FROM system.backups WHERE position(name, '{path}') > 0"
        );
        let began = self.clickhouse.query(&began).fetch_one::<i64>().await.expect("it is known");
        let sent = sent.duration_since(SystemTime::UNIX_EPOCH).expect("a clock that was set");
        began as f64 / 1e3 - sent.as_secs_f64() * 1e3
    }

    /// Waits until ClickHouse has nothing left to do.
    pub async fn settled(&self) {
        let running = "SELECT count() FROM system.backups WHERE status = 'CREATING_BACKUP'";
        while self.clickhouse.query(running).fetch_one::<u64>().await.expect("an answer") > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn sql(&self, statement: &str) {
        self.clickhouse.query(statement).execute().await.expect(statement);
    }

    /// Makes a queue, empty.
    pub async fn declare(&self, queue: &str) {
        let (connection, channel) = channel(self).await;
        for name in [queue.to_owned(), format!("{queue}.dead"), format!("{queue}.retry")] {
            let gone = channel.queue_delete(name.as_str().into(), QueueDeleteOptions::default());
            gone.await.expect("deleted");
        }
        let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        let mut quorum = FieldTable::default();
        quorum.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
        channel.queue_declare(queue.into(), durable, quorum).await.expect("declared");
        connection.close(200, "done".into()).await.expect("closed");
    }
}

fn setting(name: &str) -> String {
    let name = format!("DELTAKEEP_TEST_{name}");
    std::env::var(&name).unwrap_or_else(|_| panic!("{name} is not set; use scripts/bench"))
}

/// A worker in a process of its own.
pub struct Worker {
    /// Its queue.
    pub queue: String,
    child: Child,
    folder: TempDir,
}

impl Worker {
    /// Starts on a queue that it makes itself.
    pub fn start(queue: &str) -> Self {
        Self::start_in(queue, TempDir::new().expect("a folder"))
    }

    fn start_in(queue: &str, folder: TempDir) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_deltakeep"));
        let number = CONCURRENCY.to_string();
        command.args(["worker", "--declare", "--queue", queue, "--concurrency", &number]);
        let server = |name: &str| format!("http://{}", setting(name));
        command.args(["--amqp", &format!("amqp://{}/%2f", setting("AMQP"))]);
        command.args(["--clickhouse", &server("CLICKHOUSE"), "--s3Endpoint", &server("S3")]);
        command.args(["--allowHttp"]).env_clear().env("HOME", folder.path());
        command.env("DELTAKEEP_STATE_DIR", folder.path());
        command.env("DELTAKEEP_CLICKHOUSE_USER", setting("CLICKHOUSE_USER"));
        command.env("DELTAKEEP_CLICKHOUSE_PASSWORD", setting("CLICKHOUSE_PASSWORD"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().expect("the worker starts");
        Self { queue: queue.to_owned(), child, folder }
    }

    /// Ends it, and starts another one on the same state and another queue.
    pub fn again(mut self, queue: &str) -> Self {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let folder = std::mem::replace(&mut self.folder, TempDir::new().expect("a folder"));
        Self::start_in(queue, folder)
    }

    /// Processor time it ever took, in the kernel's ticks of 10 ms.
    pub fn ticks(&self) -> u64 {
        let stat = self.proc("stat");
        let (_, fields) = stat.rsplit_once(") ").expect("a command's name");
        fields.split(' ').skip(11).take(2).map(|n| n.parse::<u64>().expect("a number")).sum()
    }

    /// How often one of its threads was ever woken or put aside.
    pub fn switches(&self) -> u64 {
        let threads = std::fs::read_dir(format!("/proc/{}/task", self.child.id()));
        let threads = threads.expect("it runs").flatten();
        threads
            .map(|thread| {
                number(
                    &format!("task/{}/status", thread.file_name().display()),
                    self,
                    "voluntary_ctxt_switches:",
                )
            })
            .sum()
    }

    /// Memory that it has, KiB.
    pub fn resident_kib(&self) -> u64 {
        number("status", self, "VmRSS:")
    }

    fn proc(&self, file: &str) -> String {
        std::fs::read_to_string(format!("/proc/{}/{file}", self.child.id())).expect("it runs")
    }
}

fn number(file: &str, worker: &Worker, field: &str) -> u64 {
    let text = worker.proc(file);
    let line = text.lines().find(|line| line.starts_with(field)).expect("a field");
    line.split_whitespace().nth(1).and_then(|value| value.parse().ok()).expect("a number")
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
