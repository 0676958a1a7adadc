//! Replies that no journal keeps: to what is refused, to what is answered at once, and once more to
//! what was answered before. Owns that such a delivery is acknowledged after its reply, so that a
//! reply which may be lost is asked for again.

use super::ask::Light;
use super::envelope::{Envelope, Refusal};
use super::mask::mask;
use super::reply::{self, Answer, Asker};
use super::worker::{DeliveryOf, Inner, World};
use super::{Address, Broker, Delivery, Message, Outgoing, Published, ask};
use crate::clickhouse::report::{of_entry, of_page};
use crate::clickhouse::{OperationId, TaskError};
use crate::journal::QueueTask;

/// Longest reason in a header, letters: the properties of a message have to fit into a frame.
const REASON: usize = 1000;

impl<W: World> Inner<W> {
    /// A message that is no task: an error reply where somebody waits for one, and what can be kept
    /// of it is kept elsewhere. All of that comes out the same when it is delivered again.
    pub(super) async fn refuse(
        &self,
        delivery: &DeliveryOf<W>,
        refusal: &Refusal,
        to: Option<Option<String>>,
    ) {
        let kind = refusal.kind.as_deref();
        tracing::warn!(code = %refusal.error.code, "task {} is refused", refusal.task_id);
        let asker =
            Asker { task_id: &refusal.task_id, kind, operation: None, meta: refusal.meta.as_ref() };
        let answer = Answer::failed(&refusal.error);
        let to = to.flatten();
        if self.reply(delivery.message(), to.as_deref(), asker, &answer).await
            && self.bury(delivery.message(), &refusal.error, kind).await
        {
            delivery.answered().await;
            self.meter.ended(kind, answer.outcome(), self.now());
        }
    }

    /// Sends a reply that no journal keeps; false where nobody can tell whether it came.
    async fn reply(
        &self,
        message: &Message,
        to: Option<&str>,
        asker: Asker<'_>,
        answer: &Answer,
    ) -> bool {
        let Some(to) = reply::address(to, self.settings.results.as_deref()) else { return true };
        let reply = Outgoing {
            to,
            body: answer.body(asker, true).into_bytes(),
            message_id: Some(reply::final_id(asker.task_id)),
            correlation_id: message.correlation_id.clone(),
            reply_to: None,
            kind: asker.kind.map(str::to_owned),
            headers: Default::default(),
        };
        match self.broker.publish(&reply).await {
            Ok(Published::Taken) => true,
            Ok(Published::NoSuchQueue) => {
                tracing::warn!("nobody takes the reply to task {}", asker.task_id);
                true
            }
            Err(error) => {
                tracing::debug!(%error, "task {} goes back to its queue", asker.task_id);
                false
            }
        }
    }

    /// Keeps what may be kept of a message; false where nobody can tell whether it is kept.
    pub(super) async fn bury(
        &self,
        message: &Message,
        error: &TaskError,
        kind: Option<&str>,
    ) -> bool {
        let body = mask(&message.body, |kind| ask::is_kind(&self.settings, kind));
        let reason: String = error.message.chars().take(REASON).collect();
        let headers = [
            ("code", error.code.as_str()),
            ("reason", reason.as_str()),
            ("worker", self.settings.worker.as_str()),
        ];
        let headers = headers.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let dead = Outgoing {
            to: Address::Dead,
            body: body.to_string().into_bytes(),
            message_id: message.message_id.clone(),
            correlation_id: message.correlation_id.clone(),
            reply_to: None,
            kind: kind.map(str::to_owned),
            headers: headers.into(),
        };
        match self.broker.publish(&dead).await {
            Ok(Published::Taken) => {
                self.meter.count(|counts| counts.dead += 1);
                true
            }
            Ok(Published::NoSuchQueue) => {
                tracing::warn!("there is no queue for unreadable tasks; one is not kept");
                true
            }
            Err(_) => false,
        }
    }

    /// What is answered at once. No journal has it: when it is delivered again it is asked again.
    pub(super) async fn answer(
        &self,
        delivery: &DeliveryOf<W>,
        envelope: &Envelope,
        to: Option<String>,
        light: Light,
    ) {
        let _running = self.meter.running(&envelope.kind);
        let mut operation = None;
        let found = match light {
            Light::List(query) => {
                self.manager.list_backups(&query).await.map(|page| of_page(&page))
            }
            Light::Get(id) => {
                let found = self.manager.get_backup(&id).await.map(|entry| of_entry(&entry));
                operation = Some(id);
                found
            }
        };
        let answer = match found {
            Ok(result) => Answer::done(result),
            Err(error) => Answer::failed(&error),
        };
        let asker = asker(envelope, operation.as_ref());
        if self.reply(delivery.message(), to.as_deref(), asker, &answer).await {
            delivery.answered().await;
            self.meter.ended(Some(&envelope.kind), answer.outcome(), self.now());
        }
    }

    /// The same final reply, to whoever asks this time.
    pub(super) async fn repeat(
        &self,
        delivery: &DeliveryOf<W>,
        known: Option<QueueTask>,
        to: Option<String>,
    ) {
        let message = delivery.message();
        let again = known.map(|known| QueueTask {
            reply_to: to,
            correlation_id: message.correlation_id.clone(),
            ..known
        });
        let reply = again.and_then(|task| reply::of_task(&task, self.settings.results.as_deref()));
        let sent = match &reply {
            Some(reply) => self.broker.publish(reply).await.is_ok(),
            None => true,
        };
        if sent {
            delivery.answered().await;
        }
    }

    pub(super) async fn answer_error(
        &self,
        delivery: &DeliveryOf<W>,
        envelope: &Envelope,
        to: Option<String>,
        id: &OperationId,
        error: &TaskError,
    ) {
        let answer = Answer::failed(error);
        let asker = asker(envelope, Some(id));
        if self.reply(delivery.message(), to.as_deref(), asker, &answer).await {
            delivery.answered().await;
            self.meter.ended(Some(&envelope.kind), answer.outcome(), self.now());
        }
    }
}

fn asker<'a>(envelope: &'a Envelope, operation: Option<&'a OperationId>) -> Asker<'a> {
    Asker {
        task_id: &envelope.task_id,
        kind: Some(&envelope.kind),
        operation: operation.map(OperationId::as_str),
        meta: envelope.meta.as_ref(),
    }
}
