//! Tasks as they come: a connection, a channel and a consumer, and others whenever they are gone.
//! Owns the end of all three; whatever goes wrong with one ends them together.

use std::pin::pin;
use std::sync::Arc;

use futures_util::StreamExt;
use lapin::options::{BasicCancelOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use lapin::{Acker, Channel, Connection, Consumer, Event};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use super::acks::{self, Verdict};
use super::backoff::Backoff;
use super::properties::message;
use super::topology::{self, Names};
use super::{RabbitError, Settings, closed, until};
use crate::queue::{Delivery, Message};

/// A task of RabbitMQ.
pub struct RabbitDelivery {
    message: Message,
    acker: Acker,
    verdicts: mpsc::UnboundedSender<Verdict>,
    /// An ack was asked for.
    decided: std::sync::atomic::AtomicBool,
}

impl RabbitDelivery {
    /// False once its connection is gone: the task is somebody else's.
    pub(super) fn is_ours(&self) -> bool {
        self.acker.usable() && !self.verdicts.is_closed()
    }
}

impl Delivery for RabbitDelivery {
    fn message(&self) -> &Message {
        &self.message
    }

    async fn ack(&self) -> bool {
        self.decided.store(true, std::sync::atomic::Ordering::Relaxed);
        let (told, heard) = oneshot::channel();
        let verdict = Verdict::Ack(self.acker.clone(), told);
        self.verdicts.send(verdict).is_ok() && heard.await.unwrap_or(false)
    }

    async fn answered(&self) {
        self.decided.store(true, std::sync::atomic::Ordering::Relaxed);
        // Without a connection the broker gives it to somebody else, who answers it, too.
        let _ = self.verdicts.send(Verdict::Answered(self.acker.clone()));
    }
}

impl Drop for RabbitDelivery {
    fn drop(&mut self) {
        if !self.decided.load(std::sync::atomic::Ordering::Relaxed) {
            // Without a connection there is nothing to give back.
            let _ = self.verdicts.send(Verdict::GiveBack(self.acker.clone()));
        }
    }
}

/// An open consumer.
pub(super) struct Session {
    connection: Connection,
    channel: Channel,
    consumer: Consumer,
    verdicts: mpsc::UnboundedSender<Verdict>,
}

/// What is there for as long as the worker.
pub(super) struct Consuming {
    pub settings: Arc<Settings>,
    pub names: Arc<Names>,
    pub tasks: mpsc::UnboundedSender<RabbitDelivery>,
    /// None while tasks come, else why not.
    pub trouble: watch::Sender<Option<String>>,
    pub stop: watch::Receiver<bool>,
    pub close: watch::Receiver<bool>,
}

impl Consuming {
    /// Opens a connection, looks for the queues, and consumes.
    ///
    /// # Errors
    /// [`RabbitError`].
    pub(super) async fn open(&self) -> Result<Session, RabbitError> {
        let settings = &self.settings;
        let connection = settings.server.connect(&settings.name, None).await?;
        topology::require(&connection, settings, &self.names).await?;
        let opened = self.consume(&connection).await;
        let (channel, consumer) = opened.map_err(|error| settings.server.failure(&error))?;
        let (verdicts, asked) = mpsc::unbounded_channel();
        tokio::spawn(acks::carry_out(channel.clone(), settings.prefetch, asked));
        Ok(Session { connection, channel, consumer, verdicts })
    }

    async fn consume(&self, connection: &Connection) -> lapin::Result<(Channel, Consumer)> {
        let channel = connection.create_channel().await?;
        channel.basic_qos(self.settings.prefetch, BasicQosOptions::default()).await?;
        let options = BasicConsumeOptions::default();
        let queue = self.names.tasks.clone();
        let consumer = channel.basic_consume(queue, "".into(), options, FieldTable::default());
        let consumer = consumer.await?;
        Ok((channel, consumer))
    }

    /// Tasks until the worker is closed; begins with a session where there is one.
    pub(super) async fn run(mut self, mut first: Option<Session>) {
        let mut backoff = Backoff::default();
        let mut close = self.close.clone();
        loop {
            let began = Instant::now();
            let opened = match first.take() {
                Some(session) => Ok(session),
                None => tokio::select! {
                    opened = self.open() => opened,
                    () = until(&mut close) => return,
                },
            };
            let reason = match opened {
                Ok(session) => {
                    self.trouble.send_replace(None);
                    tracing::info!("tasks come from queue {}", self.names.tasks);
                    match self.work(session).await {
                        Some(reason) => reason,
                        None => return,
                    }
                }
                Err(error) => error.to_string(),
            };
            self.trouble.send_replace(Some(reason.clone()));
            // Tasks are not wanted any more; what was taken cannot be acknowledged any more.
            if *self.stop.borrow() {
                return;
            }
            let wait = backoff.next(began.elapsed());
            tracing::warn!("{reason}; tasks are asked for again in {:.1} s", wait.as_secs_f64());
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = until(&mut close) => return,
            }
        }
    }

    /// Why the session ended; none where it was closed in order.
    async fn work(&mut self, mut session: Session) -> Option<String> {
        let mut events = pin!(session.connection.events_listener());
        let mut stopped = *self.stop.borrow();
        if stopped {
            session.cancel().await;
        }
        let reason = loop {
            tokio::select! {
                biased;
                () = until(&mut self.close) => break None,
                event = events.next() => if let Some(reason) = ended_by(event, &session.connection) {
                    break Some(reason);
                },
                () = until(&mut self.stop), if !stopped => {
                    stopped = true;
                    session.cancel().await;
                }
                came = session.consumer.next(), if !stopped => match came {
                    Some(Ok(delivery)) => self.hand_on(delivery, &session),
                    Some(Err(error)) => break Some(error.to_string()),
                    None => break Some("the broker cancelled the consumer".to_owned()),
                },
            }
        };
        closed(&session.connection).await;
        reason
    }

    fn hand_on(&self, mut came: lapin::message::Delivery, session: &Session) {
        let message = message(&mut came);
        let (acker, verdicts) = (came.acker, session.verdicts.clone());
        let decided = false.into();
        // A worker that is gone wants nothing.
        let _ = self.tasks.send(RabbitDelivery { message, acker, verdicts, decided });
    }
}

impl Session {
    /// No more tasks; those that came can still be acknowledged.
    async fn cancel(&self) {
        let options = BasicCancelOptions::default();
        if let Err(error) = self.channel.basic_cancel(self.consumer.tag(), options).await {
            tracing::debug!("the consumer is gone already: {error}");
        }
    }
}

/// Why a connection is of no use any more after what it tells. It tells of errors of its channels,
/// too: those concern nobody but their users.
pub(super) fn ended_by(event: Option<Event>, connection: &Connection) -> Option<String> {
    let gone = !connection.status().connected();
    match event {
        Some(Event::ConnectionBlocked(reason)) => {
            Some(format!("the broker takes no messages: {reason}"))
        }
        Some(Event::Error(error)) if gone => Some(error.to_string()),
        Some(_) | None if gone => Some("the connection is gone".to_owned()),
        Some(_) => None,
        None => Some("the connection is gone".to_owned()),
    }
}
