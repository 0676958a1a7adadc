//! The queues that a worker needs: looked for at each start, and made where that is asked for.
//! Owns their names and kinds; never changes or removes what is there.

use lapin::options::{ExchangeDeclareOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable, LongString, ShortString};
use lapin::{Channel, Connection, ErrorKind, ExchangeKind};

use super::properties::short;
use super::{RabbitError, Settings};

/// How long a task that is sent back pauses, milliseconds.
const PAUSE: i32 = 5000;
/// What AMQP answers about what is not there.
const NOT_FOUND: u16 = 404;

/// Names of the queues of a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Names {
    /// The queue of tasks.
    pub tasks: ShortString,
    /// Unreadable tasks.
    pub dead: ShortString,
    /// Tasks that pause.
    pub retry: ShortString,
    /// The exchange of results.
    pub results: Option<ShortString>,
}

impl Names {
    /// The names; none where one is empty or too long for AMQP.
    pub(super) fn of(queue: &str, results: Option<&str>) -> Option<Self> {
        let name = |text: String| short(&text).filter(|name| !name.as_str().is_empty());
        Some(Self {
            tasks: name(queue.to_owned())?,
            dead: name(format!("{queue}.dead"))?,
            retry: name(format!("{queue}.retry"))?,
            results: match results {
                Some(results) => Some(name(results.to_owned())?),
                None => None,
            },
        })
    }
}

/// Looks for everything, and makes what is missing where the settings say so.
///
/// # Errors
/// [`RabbitError::Missing`] names the first thing that is not there.
pub(super) async fn require(
    connection: &Connection,
    settings: &Settings,
    names: &Names,
) -> Result<(), RabbitError> {
    let look = Look { connection, settings };
    look.queue(&names.tasks, &[]).await?;
    look.queue(&names.dead, &[]).await?;
    // A task that pauses must not be lost on its way back.
    let back = [
        ("x-message-ttl", AMQPValue::LongInt(PAUSE)),
        ("x-dead-letter-exchange", text("")),
        ("x-dead-letter-routing-key", text(names.tasks.as_str())),
        ("x-dead-letter-strategy", text("at-least-once")),
        ("x-overflow", text("reject-publish")),
    ];
    look.queue(&names.retry, &back).await?;
    match &names.results {
        Some(results) => look.exchange(results).await,
        None => Ok(()),
    }
}

fn text(text: &str) -> AMQPValue {
    AMQPValue::LongString(LongString::from(text))
}

struct Look<'a> {
    connection: &'a Connection,
    settings: &'a Settings,
}

impl Look<'_> {
    /// What is missing closes the channel that it was looked for on.
    async fn channel(&self) -> Result<Channel, RabbitError> {
        let opened = self.connection.create_channel().await;
        opened.map_err(|error| self.settings.server.failure(&error))
    }

    async fn queue(
        &self,
        name: &ShortString,
        more: &[(&str, AMQPValue)],
    ) -> Result<(), RabbitError> {
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::durable() };
        let channel = self.channel().await?;
        let found = channel.queue_declare(name.clone(), options, FieldTable::default()).await;
        if self.is_there(found.map(drop), "queue", name)? {
            return Ok(());
        }
        let mut kind = FieldTable::default();
        kind.insert("x-queue-type".into(), text("quorum"));
        for (argument, value) in more {
            kind.insert((*argument).into(), value.clone());
        }
        let options = QueueDeclareOptions::durable();
        let made = self.channel().await?.queue_declare(name.clone(), options, kind).await;
        made.map(drop).map_err(|error| self.settings.server.failure(&error))
    }

    async fn exchange(&self, name: &ShortString) -> Result<(), RabbitError> {
        let options = ExchangeDeclareOptions { passive: true, durable: true, ..Default::default() };
        let declare = |channel: Channel, options| async move {
            let none = FieldTable::default();
            channel.exchange_declare(name.clone(), ExchangeKind::Topic, options, none).await
        };
        let found = declare(self.channel().await?, options).await;
        if self.is_there(found, "exchange", name)? {
            return Ok(());
        }
        let options = ExchangeDeclareOptions { durable: true, ..Default::default() };
        let made = declare(self.channel().await?, options).await;
        made.map_err(|error| self.settings.server.failure(&error))
    }

    /// False where it is missing and is to be made.
    fn is_there(
        &self,
        found: Result<(), lapin::Error>,
        what: &'static str,
        name: &ShortString,
    ) -> Result<bool, RabbitError> {
        match found {
            Ok(()) => Ok(true),
            Err(error) if is_missing(&error) && self.settings.declare => Ok(false),
            Err(error) if is_missing(&error) => {
                Err(RabbitError::Missing { what, name: name.as_str().to_owned() })
            }
            Err(error) => Err(self.settings.server.failure(&error)),
        }
    }
}

/// Whether the broker said that something is not there.
pub(super) fn is_missing(error: &lapin::Error) -> bool {
    matches!(error.kind(), ErrorKind::ProtocolError(said) if said.get_id() == NOT_FOUND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_amqp_has_no_room_for_are_none() {
        let names = Names::of("backup", Some("done")).expect("names");
        assert_eq!(names.retry.as_str(), "backup.retry");
        assert_eq!(names.dead.as_str(), "backup.dead");
        assert_eq!(Names::of(&"q".repeat(250), None), None);
        assert_eq!(Names::of("q", Some("")), None);
        assert!(Names::of(&"q".repeat(249), None).is_some());
    }
}
