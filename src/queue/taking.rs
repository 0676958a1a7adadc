//! One delivery from its arrival on: refused, answered at once, sent back, or worked on. Owns that
//! each delivery is acknowledged only when nothing is owed for it, or its task is this worker's.

use serde_json::Value;
use tokio::sync::{OwnedSemaphorePermit, watch};

use super::ask::{self, Ask, Heavy};
use super::decide::Meeting;
use super::envelope::{self, Envelope, Refusal};
use super::ledger::AtWork;
use super::operation::Origin;
use super::reply::Answer;
use super::ticket::{Ticket, stopped};
use super::worker::{DeliveryOf, Inner, World};
use super::{Address, Broker, Delivery, Message, Outgoing, Published};
use crate::clickhouse::{Code, OperationId, TaskError};
use crate::journal::{QueueTask, TaskState};

/// A task that came and is to be worked on.
struct Coming<'a, W: World> {
    delivery: &'a DeliveryOf<W>,
    envelope: Envelope,
    /// The queue that waits for replies.
    to: Option<String>,
    /// The operation that it asks for.
    id: OperationId,
    heavy: Box<Heavy>,
    /// A second copy of it may have been taken by somebody.
    again: bool,
}

impl<W: World> Inner<W> {
    /// Takes one delivery as far as it goes.
    pub(super) async fn handle(&self, delivery: DeliveryOf<W>, stop: watch::Receiver<bool>) {
        let message = delivery.message();
        let known = |kind: &str| ask::is_kind(&self.settings, kind);
        let mut envelope = match envelope::read(message, &self.settings.queue, known) {
            Ok(envelope) => envelope,
            Err(refusal) => {
                return self.refuse(&delivery, &refusal, self.to_of(message).ok()).await;
            }
        };
        let asked = self.to_of(message).and_then(|to| {
            let asked = ask::read(&mut envelope, &self.settings)?;
            Ok((to, asked))
        });
        match asked {
            Err(error) => {
                let refusal = Refusal {
                    error,
                    kind: Some(envelope.kind),
                    task_id: envelope.task_id,
                    meta: envelope.meta,
                };
                self.refuse(&delivery, &refusal, self.to_of(message).ok()).await;
            }
            Ok((to, Ask::Light(light))) => self.answer(&delivery, &envelope, to, light).await,
            Ok((to, Ask::Heavy(id, heavy))) => {
                let (delivery, again) = (&delivery, envelope::is_again(message));
                let coming = Coming { delivery, envelope, to, id, heavy, again };
                self.take(coming, stop).await;
            }
        }
    }

    /// Where replies to a message go.
    fn to_of(&self, message: &Message) -> Result<Option<String>, TaskError> {
        let prefix = self.settings.reply_prefix.as_deref();
        envelope::reply_to(message, &self.settings.queue, prefix)
    }

    /// A task that is worked on, if it is to be.
    async fn take(&self, coming: Coming<'_, W>, stop: watch::Receiver<bool>) {
        let Coming { delivery, envelope, id, heavy, again, .. } = &coming;
        let Some((known, _at_work)) = self.take_on(&coming, &stop).await else { return };
        let Some(_slot) = self.slot(delivery, &envelope.kind, &stop).await else { return };
        let _running = self.meter.running(&envelope.kind);
        let known = known.filter(|known| known.state != TaskState::Done);
        // Whatever was remembered of it, another delivery of it may be with somebody else.
        let in_doubt = known.as_ref().is_some_and(|known| known.state != TaskState::Taken);
        let origin = Origin {
            adopt: *again || known.is_some(),
            named: envelope.named || *id != envelope.operation,
        };
        let mut task = self.record(known, &coming);
        // Of a first delivery nothing is lost with its record; what kills its worker comes again.
        match *again || task.deliveries > 1 {
            false => self.ledger.remember(&mut task),
            true => {
                if let Err(error) = self.ledger.put(&mut task) {
                    return self.break_with(error);
                }
            }
        }
        let is_poison = task.deliveries > self.settings.poison;
        let mut ticket = Ticket::of_delivery(self, delivery, task, *again || in_doubt, stop);
        if is_poison {
            return self.end_poison(delivery, envelope, &ticket).await;
        }
        let heard = envelope::wants_progress(delivery.message()).then(|| ticket.tell_progress());
        let work = async {
            match &**heavy {
                Heavy::Run(_) => ticket.run().await,
                asked => ticket.operate(id, asked, &origin).await,
            }
        };
        match heard {
            None => work.await,
            Some(heard) => tokio::select! {
                biased;
                () = work => {}
                () = ticket.pump(heard) => {}
            },
        }
    }

    /// What is known of a task that is to be worked on; none where it is answered or dropped, or the
    /// worker is asked to stop.
    async fn take_on(
        &self,
        coming: &Coming<'_, W>,
        stop: &watch::Receiver<bool>,
    ) -> Option<(Option<QueueTask>, AtWork<'_, W::Tasks>)> {
        let Coming { delivery, envelope, to, id, again, .. } = coming;
        let (meeting, known, at_work) = self.meet(envelope, *again, stop).await?;
        let (code, text) = match meeting {
            Meeting::TakeOn => return Some((known, at_work?)),
            Meeting::Drop => {
                delivery.answered().await;
                return None;
            }
            Meeting::Repeat => {
                self.repeat(delivery, known, to.clone()).await;
                return None;
            }
            Meeting::Conflict => (Code::IdConflict, "a task of this id asked for something else"),
            Meeting::Busy => (Code::Busy, "the same task without an id is being worked on"),
        };
        let error = TaskError::new(code, text);
        self.answer_error(delivery, envelope, to.clone(), id, &error).await;
        None
    }

    /// Meets a task; none where the worker is asked to stop first. Another delivery of one that is at
    /// work waits until that one is this worker's: acknowledged before, it would be with nobody if
    /// the worker died now.
    async fn meet(
        &self,
        envelope: &Envelope,
        again: bool,
        stop: &watch::Receiver<bool>,
    ) -> Option<(Meeting, Option<QueueTask>, Option<AtWork<'_, W::Tasks>>)> {
        loop {
            let changed = self.ledger.changed();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let met = self.ledger.meet(envelope, again);
            let is_owned = met.1.as_ref().is_some_and(|known| known.state >= TaskState::Acked);
            if met.0 != Meeting::Drop || is_owned {
                return Some(met);
            }
            tokio::select! {
                () = changed => {}
                () = stopped(stop) => return None,
            }
        }
    }

    /// What is remembered of a task that is taken on.
    fn record(&self, known: Option<QueueTask>, coming: &Coming<'_, W>) -> QueueTask {
        let Coming { delivery, envelope, to, id, heavy, .. } = coming;
        let (words, credentials) = match &**heavy {
            Heavy::Run(work) => (work.words.clone(), work.credentials.clone()),
            Heavy::Create(_) | Heavy::Restore(_) => (Vec::new(), None),
        };
        QueueTask {
            key: envelope.key.clone(),
            id: id.as_str().to_owned(),
            kind: envelope.kind.clone(),
            task_id: envelope.task_id.clone(),
            asked: envelope.asked,
            reply_to: to.clone(),
            correlation_id: delivery.message().correlation_id.clone(),
            meta: envelope.meta.as_ref().map(Value::to_string),
            deliveries: known.as_ref().map_or(0, |known| known.deliveries) + 1,
            state: TaskState::Taken,
            words,
            credentials,
            run: known.as_ref().and_then(|known| known.run.clone()),
            reply: None,
            created: known.as_ref().map_or_else(|| self.now(), |known| known.created),
            updated: 0,
        }
    }

    /// A slot for a task. None where it was sent back, goes back, or the worker is asked to stop.
    async fn slot(
        &self,
        delivery: &DeliveryOf<W>,
        kind: &str,
        stop: &watch::Receiver<bool>,
    ) -> Option<OwnedSemaphorePermit> {
        let slots = self.slots.of(kind);
        if let Ok(slot) = slots.clone().try_acquire_owned() {
            return Some(slot);
        }
        let message = delivery.message();
        let later = Outgoing {
            to: Address::Later,
            body: message.body.clone(),
            message_id: message.message_id.clone(),
            correlation_id: message.correlation_id.clone(),
            reply_to: message.reply_to.clone(),
            kind: message.kind.clone(),
            headers: envelope::headers_again(message),
        };
        match self.broker.publish(&later).await {
            Ok(Published::Taken) => {
                self.meter.count(|counts| counts.later += 1);
                delivery.answered().await;
                None
            }
            Ok(Published::NoSuchQueue) => tokio::select! {
                slot = slots.acquire_owned() => slot.ok(),
                () = stopped(stop) => None,
            },
            Err(_) => None,
        }
    }

    /// A task that was taken too often: whoever took it died of it.
    async fn end_poison(
        &self,
        delivery: &DeliveryOf<W>,
        envelope: &Envelope,
        ticket: &Ticket<'_, W>,
    ) {
        let times = self.settings.poison;
        let text = format!("it was taken {times} times and never came to its end");
        let error = TaskError::new(Code::Internal, text);
        tracing::error!("task {} is poison: {}", envelope.task_id, error.message);
        if self.bury(delivery.message(), &error, Some(&envelope.kind)).await {
            ticket.settle(&Answer::failed(&error)).await;
        }
    }
}
