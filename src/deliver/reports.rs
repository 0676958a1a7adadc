//! What has become of the messages handed to a producer since the last commit: how many bytes are
//! under way, where each one lies, and the first failure. Never talks to a broker.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rdkafka::ClientContext;
use rdkafka::Message as _;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::ProducerContext;
use tokio::sync::Notify;

use crate::kafka::{Context, Failure, FailureKind, log_line};
use crate::model::Offset;

/// How long nothing may be acknowledged before the lane is given up.
const STALL: Duration = Duration::from_secs(60);

/// How long to wait for the reports that follow a fatal error.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// A failure and the bytes of the largest message under way when it came: the client reports an
/// oversized *batch* by failing messages that are innocent.
pub(super) type Blow = (Failure, usize);

/// The messages of one lane since its last commit.
#[derive(Default)]
pub(super) struct Reports {
    state: Mutex<State>,
    moved: Notify,
    context: Context,
}

#[derive(Default)]
struct State {
    slots: Vec<Slot>,
    arrived: usize,
    under_way: usize,
    failure: Option<Failure>,
    /// The client declared itself unusable: reports follow that say why, or none do.
    fatal: Option<Failure>,
}

struct Slot {
    bytes: usize,
    offset: Option<i64>,
}

impl Reports {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts a message in before it is handed over; returns its place.
    pub(super) fn expect(&self, bytes: usize) -> usize {
        let mut state = self.state();
        state.slots.push(Slot { bytes, offset: None });
        state.under_way += bytes;
        state.slots.len() - 1
    }

    /// Takes the newest message out again: the producer did not accept it.
    pub(super) fn withdraw(&self) {
        let mut state = self.state();
        if let Some(slot) = state.slots.pop() {
            state.under_way -= slot.bytes;
        }
    }

    /// Whether nothing was sent since the last commit.
    pub(super) fn is_empty(&self) -> bool {
        self.state().slots.is_empty()
    }

    /// Waits until `bytes` more may be under way: below `bound`, or alone.
    pub(super) async fn room(&self, bytes: usize, bound: usize) -> Result<(), Blow> {
        self.until(|state| state.under_way == 0 || state.under_way + bytes <= bound).await
    }

    /// Waits until every message is acknowledged.
    pub(super) async fn all(&self) -> Result<(), Blow> {
        self.until(|state| state.arrived == state.slots.len()).await
    }

    /// Offsets in the order sent; none where the brokers did not tell each one, as for a message
    /// that they had already. Forgets the messages.
    pub(super) fn take(&self) -> Option<Vec<Offset>> {
        let mut state = self.state();
        state.arrived = 0;
        let slots = std::mem::take(&mut state.slots);
        let told = |slot: Slot| slot.offset.filter(|offset| *offset >= 0).map(Offset);
        slots.into_iter().map(told).collect()
    }

    /// Reads an error of the producer, with its last complaint.
    pub(super) fn explain(&self, error: &KafkaError) -> Failure {
        self.context.explain(error)
    }

    async fn until(&self, ready: impl Fn(&State) -> bool) -> Result<(), Blow> {
        loop {
            let (fatal, patience) = {
                let state = self.state();
                if let Some(failure) = &state.failure {
                    return Err((failure.clone(), state.largest()));
                }
                if ready(&state) {
                    return Ok(());
                }
                (state.fatal.clone(), if state.fatal.is_some() { LAST_WORDS } else { STALL })
            };
            if tokio::time::timeout(patience, self.moved.notified()).await.is_err() {
                return Err((fatal.unwrap_or_else(|| self.stalled()), 0));
            }
        }
    }

    fn stalled(&self) -> Failure {
        let reason = format!("nothing acknowledged for {} s", STALL.as_secs());
        self.context.add_complaint(Failure::new(FailureKind::Unreachable, reason))
    }

    fn arrive(&self, place: usize, offset: i64) {
        let mut state = self.state();
        if let Some(slot) = state.slots.get_mut(place) {
            slot.offset = Some(offset);
            let bytes = slot.bytes;
            state.arrived += 1;
            state.under_way -= bytes;
        }
        drop(state);
        self.moved.notify_one();
    }

    fn fail(&self, failure: Failure) {
        self.state().failure.get_or_insert(failure);
        self.moved.notify_one();
    }
}

impl State {
    fn largest(&self) -> usize {
        let open = self.slots.iter().filter(|slot| slot.offset.is_none());
        open.map(|slot| slot.bytes).max().unwrap_or(0)
    }
}

/// Receives the producer's reports on its polling thread.
pub struct LaneContext {
    reports: Arc<Reports>,
}

impl LaneContext {
    pub(super) fn new(reports: Arc<Reports>) -> Self {
        Self { reports }
    }
}

impl ClientContext for LaneContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        log_line(level, facility, line);
    }

    fn stats_raw(&self, _statistics: &[u8]) {}

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(target: "librdkafka", "{reason}");
        self.reports.context.complain(&error, reason);
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::Fatal) {
            let failure = Failure::new(FailureKind::Retryable, reason);
            self.reports.state().fatal.get_or_insert(failure);
            self.reports.moved.notify_one();
        }
    }
}

impl ProducerContext for LaneContext {
    /// The message's place.
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, place: usize) {
        match result {
            Ok(message) => self.reports.arrive(place, message.offset()),
            Err((error, _)) => self.reports.fail(self.reports.explain(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_that_was_not_told_is_none_to_work_with() {
        for (told, offsets) in [(7, Some(vec![Offset(7)])), (-1001, None), (-1, None)] {
            let reports = Reports::default();
            let place = reports.expect(3);
            reports.arrive(place, told);
            assert_eq!(reports.take(), offsets);
            assert!(reports.is_empty());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_never_acknowledged_counts_as_undelivered() {
        let reports = Reports::default();
        reports.arrive(reports.expect(3), 7);
        assert!(reports.all().await.is_ok());
        reports.expect(5);
        // Neither as delivered nor as no longer under way.
        for waited in [reports.all().await, reports.room(4, 6).await] {
            let told = waited.map_err(|(failure, _)| failure.kind);
            assert_eq!(told, Err(FailureKind::Unreachable));
        }
    }
}
