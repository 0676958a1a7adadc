//! Acknowledgements that are known to be heard. AMQP answers no ack, so something that it does
//! answer is asked after it on the same channel; many acks share one question. Owns the channel's
//! acks from its opening to its end; never acks on another channel than the delivery's.

use std::time::Duration;

use futures_util::future::join_all;
use lapin::options::{BasicAckOptions, BasicNackOptions, BasicQosOptions};
use lapin::{Acker, Channel};
use tokio::sync::{mpsc, oneshot};

/// How long a task that was dropped is held before the broker gets it back: without a pause it
/// would come and go at full speed.
const HOLD: Duration = Duration::from_secs(1);

/// What becomes of a delivery.
pub(super) enum Verdict {
    /// It is taken over; tells whether the broker heard it.
    Ack(Acker, oneshot::Sender<bool>),
    /// Nothing is owed for it; nobody waits until the broker has heard.
    Answered(Acker),
    /// It goes back to the queue.
    GiveBack(Acker),
}

/// Carries verdicts out until the channel is gone or nobody is left to ask.
pub(super) async fn carry_out(
    channel: Channel,
    prefetch: u16,
    mut verdicts: mpsc::UnboundedReceiver<Verdict>,
) {
    while let Some(first) = verdicts.recv().await {
        let (mut acks, mut answered) = (Vec::new(), Vec::new());
        let mut next = Some(first);
        while let Some(verdict) = next {
            match verdict {
                Verdict::Ack(acker, told) => acks.push((acker, told)),
                Verdict::Answered(acker) => answered.push(acker),
                Verdict::GiveBack(acker) => drop(tokio::spawn(give_back(acker))),
            }
            next = verdicts.try_recv().ok();
        }
        let of_answered = answered.iter().map(|acker| acker.ack(BasicAckOptions::default()));
        let of_acks = acks.iter().map(|(acker, _)| acker.ack(BasicAckOptions::default()));
        // All together, so that they go in one packet. What was answered comes again where this fails.
        let (_, sent) = tokio::join!(join_all(of_answered), join_all(of_acks));
        if acks.is_empty() {
            continue;
        }
        // The same prefetch as before: a question without a consequence. Its answer comes after the
        // broker's channel has taken the acks in.
        let asked = channel.basic_qos(prefetch, BasicQosOptions::default()).await;
        for ((_, told), sent) in acks.into_iter().zip(sent) {
            let heard = asked.is_ok() && matches!(sent, Ok(true));
            // Whoever asked may be gone.
            let _ = told.send(heard);
        }
        if asked.is_err() {
            return;
        }
    }
}

async fn give_back(acker: Acker) {
    tokio::time::sleep(HOLD).await;
    let back = BasicNackOptions { requeue: true, ..BasicNackOptions::default() };
    if let Err(error) = acker.nack(back).await {
        tracing::debug!("a task goes back with its connection: {error}");
    }
}
