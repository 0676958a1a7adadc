//! A plain client of RabbitMQ, for what others than the product do there, and RabbitMQ's own tools.

use std::process::Command;
use std::time::Duration;

use deltakeep::queue::rabbit::{Rabbit, Server, Settings};
use lapin::options::{
    BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions,
    QueueDeleteOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use tokio::sync::watch;

use crate::servers::setting;

/// Longest that anything is waited for.
pub const LONGEST: Duration = Duration::from_secs(60);

/// A connection of somebody else, and a queue that belongs to the test.
pub struct Other {
    _connection: Connection,
    pub channel: Channel,
    pub queue: String,
}

pub fn server() -> Server {
    Server::parse(&format!("amqp://{}", setting("DELTAKEEP_TEST_AMQP"))).expect("an address")
}

/// Settings with a queue of its own.
pub fn settings(what: &str) -> Settings {
    let tail = uuid::Uuid::new_v4().simple().to_string();
    Settings {
        server: server(),
        queue: format!("{what}.{}", &tail[..10]),
        results: None,
        declare: true,
        prefetch: 8,
        name: format!("test {what} {}", &tail[..10]),
    }
}

/// A started adapter with its stop.
pub async fn start(settings: &Settings) -> (Rabbit, watch::Sender<bool>) {
    let (stop, stopped) = watch::channel(false);
    let rabbit = Rabbit::start(settings.clone(), stopped).await.expect("a connection");
    (rabbit, stop)
}

impl Other {
    pub async fn new(queue: &str) -> Self {
        let url = format!("amqp://{}", setting("DELTAKEEP_TEST_AMQP"));
        let connection = Connection::connect(&url, ConnectionProperties::default()).await;
        let connection = connection.expect("a connection");
        let channel = connection.create_channel().await.expect("a channel");
        let confirms = channel.confirm_select(ConfirmSelectOptions::default()).await;
        confirms.expect("confirms");
        Self { _connection: connection, channel, queue: queue.to_owned() }
    }

    pub async fn declare(&self, queue: &str) {
        let options = QueueDeclareOptions::durable();
        let made = self.channel.queue_declare(queue.into(), options, FieldTable::default()).await;
        made.expect("a queue");
    }

    /// A queue that ends with this connection and writes nothing to disk.
    pub async fn declare_for_itself(&self, queue: &str) {
        let options = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
        let made = self.channel.queue_declare(queue.into(), options, FieldTable::default()).await;
        made.expect("a queue");
    }

    pub async fn put(&self, body: &str, properties: BasicProperties) {
        let (queue, options) = (self.queue.as_str().into(), BasicPublishOptions::default());
        let properties = properties.with_delivery_mode(2);
        let sent =
            self.channel.basic_publish("".into(), queue, options, body.as_bytes(), properties);
        let confirmed = sent.await.expect("sent").await.expect("confirmed");
        assert!(confirmed.is_ack());
    }

    /// Messages that wait in a queue.
    pub async fn waiting(&self, queue: &str) -> u32 {
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::durable() };
        let found = self.channel.queue_declare(queue.into(), options, FieldTable::default()).await;
        found.expect("a queue").message_count()
    }

    /// Waits until so many messages wait in a queue.
    pub async fn await_waiting(&self, queue: &str, count: u32) {
        let began = std::time::Instant::now();
        loop {
            let found = self.waiting(queue).await;
            if found == count {
                return;
            }
            assert!(began.elapsed() < LONGEST, "{queue} has {found} messages, not {count}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Takes a message away.
    pub async fn take(&self, queue: &str) -> Option<(String, BasicProperties)> {
        let options = BasicGetOptions { no_ack: true };
        let got = self.channel.basic_get(queue.into(), options).await.expect("asked");
        let got = got?.delivery;
        Some((String::from_utf8_lossy(&got.data).into_owned(), got.properties))
    }

    pub async fn delete(&self, queue: &str) {
        let deleted = self.channel.queue_delete(queue.into(), QueueDeleteOptions::default()).await;
        deleted.expect("deleted");
    }

    /// Removes the queues of a worker.
    pub async fn tidy(&self) {
        for queue in ["", ".dead", ".retry"] {
            self.delete(&format!("{}{queue}", self.queue)).await;
        }
    }
}

/// What is waited for, or the test fails.
pub async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(LONGEST, what).await.expect("in time")
}

/// Closes connections by their names, as an administrator does.
pub fn close_connections(name: &str) {
    let eval = format!(
        "[rabbit_networking:close_connection(P, \"test\") || [{{pid, P}}, {{client_properties, C}}] \
         <- rabbit_networking:connection_info_all([pid, client_properties]), lists:keymember(<<\"\
         {name}\">>, 3, C)]."
    );
    ctl(&["eval", &eval]);
}

/// RabbitMQ's own tool.
pub fn ctl(words: &[&str]) -> String {
    let address = setting("DELTAKEEP_TEST_AMQP");
    let port: u16 = address.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port");
    let home = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("target/dev-servers/rabbitmq");
    let done = Command::new("/usr/lib/rabbitmq/bin/rabbitmqctl")
        .env("HOME", home)
        .env("RABBITMQ_CONF_ENV_FILE", "/dev/null")
        .env("ERL_EPMD_PORT", (port + 3).to_string())
        .args(["-n", &format!("deltakeep{port}@localhost")])
        .args(words)
        .output()
        .expect("rabbitmqctl runs");
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&done.stdout),
        String::from_utf8_lossy(&done.stderr)
    );
    assert!(done.status.success(), "rabbitmqctl {words:?}: {text}");
    text
}
