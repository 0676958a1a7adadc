//! Clients that do the least: one that sends tasks and reads replies, and consumers that answer them
//! at once. They give the same promises as the worker for what they do: a reply is confirmed before
//! its task is acknowledged. Nothing of the crate is used here.

use std::sync::Arc;

use futures_util::StreamExt;
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions,
    ConfirmSelectOptions, QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{
    BasicProperties, Channel, Connection, ConnectionProperties, Consumer, PublisherConfirm,
};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::worker::{CONCURRENCY, Stores};

/// A connection and a channel with confirms.
pub async fn channel(stores: &Stores) -> (Connection, Channel) {
    let url = format!("amqp://guest:guest@{}/%2f", stores.amqp);
    let connection = Connection::connect(&url, ConnectionProperties::default()).await;
    let connection = connection.expect("RabbitMQ answers");
    let channel = connection.create_channel().await.expect("a channel");
    channel.confirm_select(ConfirmSelectOptions::default()).await.expect("confirms");
    (connection, channel)
}

/// Sends tasks and reads replies.
pub struct Sender {
    _connection: Connection,
    channel: Channel,
    replies: Consumer,
    name: String,
}

impl Sender {
    /// A sender with a queue of its own for replies.
    pub async fn new(stores: &Stores) -> Self {
        let (connection, channel) = channel(stores).await;
        let own = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
        let queue = channel.queue_declare("".into(), own, FieldTable::default()).await;
        let name = queue.expect("a queue").name().to_string();
        let options = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
        let replies =
            channel.basic_consume(name.as_str().into(), "".into(), options, FieldTable::default());
        let replies = replies.await.expect("a consumer");
        Self { _connection: connection, channel, replies, name }
    }

    /// Sends one task.
    pub async fn send(&mut self, queue: &str, kind: &str, payload: &Value) {
        self.publish(queue, kind, payload).await.await.expect("confirmed");
    }

    /// Sends a task many times, under ids of their own.
    pub async fn send_many(&mut self, queue: &str, kind: &str, payload: &Value, count: usize) {
        let mut confirms = Vec::new();
        for _ in 0..count {
            confirms.push(self.publish(queue, kind, payload).await);
        }
        for confirm in confirms {
            confirm.await.expect("confirmed");
        }
    }

    async fn publish(&mut self, queue: &str, kind: &str, payload: &Value) -> PublisherConfirm {
        let body = json!({ "type": kind, "payload": payload }).to_string();
        let id = uuid::Uuid::new_v4().to_string();
        let properties = BasicProperties::default()
            .with_delivery_mode(2)
            .with_message_id(id.as_str().into())
            .with_correlation_id(id.as_str().into())
            .with_reply_to(self.name.as_str().into());
        let options = BasicPublishOptions::default();
        let sent = self.channel.basic_publish(
            "".into(),
            queue.into(),
            options,
            body.as_bytes(),
            properties,
        );
        sent.await.expect("sent")
    }

    /// The next reply.
    pub async fn reply(&mut self) -> Value {
        let reply = self.replies.next().await.expect("a reply").expect("a connection");
        serde_json::from_slice(&reply.data).expect("a reply of JSON")
    }
}

/// A consumer that answers every task with what a future makes of its body.
pub struct Bare {
    /// The queue.
    pub queue: String,
    work: JoinHandle<()>,
}

impl Drop for Bare {
    fn drop(&mut self) {
        self.work.abort();
    }
}

impl Bare {
    /// Begins the BACKUP that a task asks for, on a queue that it makes; `looks` first whether
    /// somebody else is at work there, as the worker must.
    pub async fn backups(stores: &Stores, queue: &str, looks: bool) -> Self {
        stores.declare(queue).await;
        let stores_of = Arc::new(stores.clone());
        Self::start(stores, queue, move |task: Value| {
            let stores = stores_of.clone();
            async move {
                if looks {
                    stores.look().await;
                }
                stores.submit(&task["payload"]).await;
                json!({ "status": "succeeded", "final": true })
            }
        })
        .await
    }

    /// Answers without doing anything, on a queue that it makes.
    pub async fn echo(stores: &Stores, queue: &str) -> Self {
        stores.declare(queue).await;
        Self::answers(stores, queue, json!({ "status": "succeeded", "final": true })).await
    }

    /// Answers every task that is in a queue alike.
    pub async fn answers(stores: &Stores, queue: &str, answer: Value) -> Self {
        let answer = Arc::new(answer);
        Self::start(stores, queue, move |_| {
            let answer = answer.clone();
            async move { (*answer).clone() }
        })
        .await
    }

    async fn start<F, A>(stores: &Stores, queue: &str, answer: F) -> Self
    where
        F: Fn(Value) -> A + Clone + Send + Sync + 'static,
        A: Future<Output = Value> + Send + 'static,
    {
        let (connection, channel) = channel(stores).await;
        channel.basic_qos(CONCURRENCY, BasicQosOptions::default()).await.expect("a prefetch");
        let options = BasicConsumeOptions::default();
        let consumer =
            channel.basic_consume(queue.into(), "".into(), options, FieldTable::default());
        let mut consumer = consumer.await.expect("a consumer");
        let work = tokio::spawn(async move {
            let _connection = connection;
            while let Some(Ok(delivery)) = consumer.next().await {
                let (channel, answer) = (channel.clone(), answer.clone());
                tokio::spawn(async move { one(&channel, delivery, answer).await });
            }
        });
        Self { queue: queue.to_owned(), work }
    }
}

async fn one<A: Future<Output = Value>>(
    channel: &Channel,
    delivery: Delivery,
    answer: impl Fn(Value) -> A,
) {
    let task: Value = serde_json::from_slice(&delivery.data).expect("a task of JSON");
    let reply = answer(task).await.to_string();
    let to = delivery.properties.reply_to().clone().expect("a queue for the reply");
    let mut properties = BasicProperties::default().with_delivery_mode(2);
    if let Some(id) = delivery.properties.correlation_id() {
        properties = properties.with_correlation_id(id.clone());
    }
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let sent = channel.basic_publish("".into(), to, options, reply.as_bytes(), properties);
    sent.await.expect("sent").await.expect("confirmed");
    delivery.ack(BasicAckOptions::default()).await.expect("acknowledged");
}
