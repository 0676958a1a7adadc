//! Sends one task and waits for its replies, on a queue that only this connection sees. Owns that
//! connection; it is not opened again, since the queue for the replies goes with it.

use futures_util::StreamExt;
use lapin::options::{
    BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions,
};
use lapin::types::{FieldTable, ShortString};
use lapin::{Channel, Confirmation, Connection, Consumer};

use super::properties::{message, properties, short};
use super::{RabbitError, Server, closed};
use crate::queue::{Message, Outgoing, Published};

/// A connection of a sender.
pub struct Client {
    server: Server,
    connection: Connection,
    channel: Channel,
    replies: Option<(ShortString, Consumer)>,
}

impl Client {
    /// Connects, with a queue for replies where they are wanted.
    ///
    /// # Errors
    /// [`RabbitError`].
    pub async fn connect(server: Server, wants_replies: bool) -> Result<Self, RabbitError> {
        let connection = server.connect("deltakeep send", None).await?;
        let opened = open(&connection, wants_replies).await;
        let (channel, replies) = opened.map_err(|error| server.failure(&error))?;
        Ok(Self { server, connection, channel, replies })
    }

    /// The queue for replies.
    pub fn reply_to(&self) -> Option<&str> {
        self.replies.as_ref().map(|(queue, _)| queue.as_str())
    }

    /// Sends a message to a queue, and waits until the broker keeps it.
    ///
    /// # Errors
    /// [`RabbitError`].
    pub async fn send(&self, queue: &str, message: &Outgoing) -> Result<Published, RabbitError> {
        let Some(key) = short(queue) else { return Ok(Published::NoSuchQueue) };
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let (body, properties) = (message.body.as_slice(), properties(message));
        let sent = self.channel.basic_publish("".into(), key, options, body, properties).await;
        let confirmed = match sent {
            Ok(confirm) => confirm.await,
            Err(error) => Err(error),
        };
        match confirmed.map_err(|error| self.server.failure(&error))? {
            Confirmation::Ack(None) => Ok(Published::Taken),
            Confirmation::Ack(Some(_)) | Confirmation::Nack(Some(_)) => Ok(Published::NoSuchQueue),
            Confirmation::Nack(None) | Confirmation::NotRequested => Err(RabbitError::Refused {
                server: self.server.place(),
                reason: "the queue takes no messages now".to_owned(),
            }),
        }
    }

    /// The next reply.
    ///
    /// # Errors
    /// [`RabbitError`] once none can come any more.
    pub async fn reply(&mut self) -> Result<Message, RabbitError> {
        let came = match &mut self.replies {
            Some((_, replies)) => replies.next().await,
            None => None,
        };
        match came {
            Some(Ok(mut delivery)) => Ok(message(&mut delivery)),
            Some(Err(error)) => Err(self.server.failure(&error)),
            None => Err(RabbitError::Unreachable {
                server: self.server.place(),
                reason: "the queue for replies is gone".to_owned(),
            }),
        }
    }

    /// Says good-bye.
    pub async fn close(self) {
        closed(&self.connection).await;
    }
}

async fn open(
    connection: &Connection,
    wants_replies: bool,
) -> lapin::Result<(Channel, Option<(ShortString, Consumer)>)> {
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    if !wants_replies {
        return Ok((channel, None));
    }
    let exclusive = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
    let queue = channel.queue_declare("".into(), exclusive, FieldTable::default()).await?;
    let name = queue.name().clone();
    let options = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
    let consumer =
        channel.basic_consume(name.clone(), "".into(), options, FieldTable::default()).await?;
    Ok((channel, Some((name, consumer))))
}
