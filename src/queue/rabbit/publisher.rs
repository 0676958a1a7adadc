//! Messages to the broker, each confirmed or sent back. Owns a connection of its own, because a
//! broker in want of room stops reading from those that publish, and acks must come through. One
//! message at a time is under way on a channel, so that what comes back is certainly that one;
//! many channels make it fast.

use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::ShortString;
use lapin::{Channel, Confirmation, Connection};
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;

use super::backoff::Backoff;
use super::claim::{self, Claim};
use super::consumer::ended_by;
use super::properties::{properties, short};
use super::topology::{Names, is_missing};
use super::{Settings, closed, until};
use crate::queue::{Address, BrokerError, Outgoing, Published};

/// Largest frame, bytes. Nothing comes here but what was sent, and properties of that are a few texts
/// of at most 255 bytes and a reason.
const FRAME: u32 = 16 * 1024;
/// Most messages under way at once.
const CHANNELS: usize = 64;
/// How long a confirmation may take: a quorum queue without a majority gives none.
const CONFIRM: Duration = Duration::from_secs(30);
/// How long a message waits for a connection before its sender is told that there is none.
const CONNECTION: Duration = Duration::from_secs(10);

/// An open connection.
struct Live {
    connection: Connection,
    idle: Mutex<Vec<Channel>>,
}

/// Sends messages.
pub(super) struct Publisher {
    names: Arc<Names>,
    live: watch::Receiver<Option<Arc<Live>>>,
    turns: Semaphore,
}

/// Keeps a connection to send by.
pub(super) struct Publishing {
    pub settings: Arc<Settings>,
    /// None while messages can be sent, else why not.
    pub trouble: watch::Sender<Option<String>>,
    pub close: watch::Receiver<bool>,
    live: watch::Sender<Option<Arc<Live>>>,
}

/// Both sides of it.
pub(super) fn publisher(
    settings: Arc<Settings>,
    names: Arc<Names>,
    trouble: watch::Sender<Option<String>>,
    close: watch::Receiver<bool>,
) -> (Publisher, Publishing) {
    let (live, current) = watch::channel(None);
    let turns = Semaphore::new(CHANNELS);
    let publisher = Publisher { names, live: current, turns };
    (publisher, Publishing { settings, trouble, close, live })
}

impl Publishing {
    /// Keeps a connection until the worker is closed.
    pub(super) async fn run(mut self) {
        let mut backoff = Backoff::default();
        loop {
            let began = Instant::now();
            let name = format!("{} replies", self.settings.name);
            let opened = tokio::select! {
                opened = self.settings.server.connect(&name, Some(FRAME)) => opened,
                () = until(&mut self.close) => return,
            };
            let reason = match opened {
                Ok(connection) => match self.keep(connection).await {
                    Some(reason) => reason,
                    None => return,
                },
                Err(error) => error.to_string(),
            };
            self.trouble.send_replace(Some(reason.clone()));
            let wait = backoff.next(began.elapsed());
            tracing::warn!("{reason}; replies can be sent again in {:.1} s", wait.as_secs_f64());
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = until(&mut self.close) => return,
            }
        }
    }

    /// Why the connection ended; none where it was closed in order.
    async fn keep(&mut self, connection: Connection) -> Option<String> {
        let mut events = pin!(connection.events_listener());
        let live = Arc::new(Live { connection, idle: Mutex::default() });
        self.live.send_replace(Some(live.clone()));
        self.trouble.send_replace(None);
        let reason = loop {
            if !live.connection.status().connected() {
                break Some("the connection is gone".to_owned());
            }
            tokio::select! {
                biased;
                () = until(&mut self.close) => break None,
                event = events.next() => if let Some(reason) = ended_by(event, &live.connection) {
                    break Some(reason);
                },
            }
        };
        // Those who wait for a confirmation are told so.
        self.live.send_replace(None);
        closed(&live.connection).await;
        reason
    }
}

impl Publisher {
    /// Sends a message and waits for its confirmation.
    ///
    /// # Errors
    /// [`BrokerError`] where there is none; the message may be there all the same.
    pub(super) async fn publish(&self, message: &Outgoing) -> Result<Published, BrokerError> {
        let Some((exchange, key)) = self.address(&message.to) else {
            return Ok(Published::NoSuchQueue);
        };
        let turn = self.turns.acquire().await;
        let _turn = turn.map_err(|_| trouble("the worker is closed"))?;
        let live = self.live().await?;
        let channel = live.channel().await.map_err(|error| trouble(&error))?;
        let mut ended = self.live.clone();
        let sent = tokio::select! {
            sent = send(&channel, exchange, key, message) => sent,
            () = over(&mut ended, &live) => Err(trouble("the connection is gone")),
            () = tokio::time::sleep(CONFIRM) => Err(trouble("no confirmation")),
        };
        // A channel on which something is still under way is not used again.
        if sent.is_ok() && channel.status().connected() {
            live.idle.lock().unwrap_or_else(PoisonError::into_inner).push(channel);
        }
        sent
    }

    /// Claims a task for a worker.
    ///
    /// # Errors
    /// [`BrokerError`] where the broker cannot be asked.
    pub(super) async fn claim(&self, task: &str, worker: &str) -> Result<bool, BrokerError> {
        let live = self.live().await?;
        let mut ended = self.live.clone();
        let channel = live.connection.create_channel().await.map_err(|error| trouble(&error))?;
        let claimed = tokio::select! {
            claimed = claim::claim(&channel, self.names.tasks.as_str(), task, worker) => claimed,
            () = over(&mut ended, &live) => return Err(trouble("the connection is gone")),
            () = tokio::time::sleep(CONFIRM) => return Err(trouble("no answer")),
        };
        match claimed.map_err(|error| trouble(&error))? {
            Claim::Ours => Ok(true),
            Claim::Others => Ok(false),
            Claim::Forbidden(name) => {
                tracing::warn!("no right to configure queue {name}: two workers may do one task");
                Ok(true)
            }
        }
    }

    /// Exchange and routing key; none where there can be no such queue.
    fn address(&self, to: &Address) -> Option<(ShortString, ShortString)> {
        let queue = |name: &ShortString| Some((ShortString::default(), name.clone()));
        match to {
            Address::Queue(name) => queue(&short(name)?),
            Address::Results(key) => Some((self.names.results.clone()?, short(key)?)),
            Address::Dead => queue(&self.names.dead),
            Address::Later => queue(&self.names.retry),
        }
    }

    async fn live(&self) -> Result<Arc<Live>, BrokerError> {
        let mut current = self.live.clone();
        let found = tokio::time::timeout(CONNECTION, current.wait_for(Option::is_some)).await;
        match found {
            Ok(Ok(live)) => live.clone().ok_or_else(|| trouble("no connection")),
            Ok(Err(_)) => Err(trouble("the worker is closed")),
            Err(_) => Err(trouble("no connection")),
        }
    }
}

impl Live {
    async fn channel(&self) -> lapin::Result<Channel> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        if let Some(channel) = idle {
            return Ok(channel);
        }
        let channel = self.connection.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        Ok(channel)
    }
}

/// Waits until another connection, or none, has taken the place of this one.
async fn over(current: &mut watch::Receiver<Option<Arc<Live>>>, live: &Arc<Live>) {
    let other = |now: &Option<Arc<Live>>| !now.as_ref().is_some_and(|now| Arc::ptr_eq(now, live));
    // A keeper that is gone keeps no connection.
    let _ = current.wait_for(other).await;
}

async fn send(
    channel: &Channel,
    exchange: ShortString,
    key: ShortString,
    message: &Outgoing,
) -> Result<Published, BrokerError> {
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let sent = channel.basic_publish(exchange, key, options, &message.body, properties(message));
    let confirmed = match sent.await {
        Ok(confirm) => confirm.await,
        Err(error) => Err(error),
    };
    match confirmed {
        Ok(Confirmation::Ack(None)) => Ok(Published::Taken),
        Ok(Confirmation::Ack(Some(_)) | Confirmation::Nack(Some(_))) => Ok(Published::NoSuchQueue),
        Ok(Confirmation::Nack(None)) => Err(trouble("the queue takes no messages now")),
        Ok(Confirmation::NotRequested) => Err(trouble("the broker gives no confirmations")),
        // The exchange itself.
        Err(error) if is_missing(&error) => Ok(Published::NoSuchQueue),
        Err(error) => Err(trouble(&error)),
    }
}

fn trouble(reason: &(impl std::fmt::Display + ?Sized)) -> BrokerError {
    BrokerError { reason: reason.to_string() }
}
