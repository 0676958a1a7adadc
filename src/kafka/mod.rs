//! Shared settings of all clients of Kafka: addresses, the user's properties, what the tool sets
//! itself, logging, and the meaning of errors. Never reads or writes a message.

pub mod admin;
mod brokers;
mod failure;
#[cfg(feature = "demo")]
pub mod mock;

pub use admin::{Answer, ClusterAdmin, TopicAdmin};
pub use brokers::{Brokers, BrokersError};
pub use failure::{Failure, FailureKind};

use std::sync::{Arc, Mutex, PoisonError};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

/// Receives what a client says besides its answers: log lines go to `tracing`, and the last
/// complaint is kept, because a timeout alone does not say *why* nobody answered.
#[derive(Clone, Default)]
pub(crate) struct Context {
    complaint: Arc<Mutex<Option<Failure>>>,
}

impl Context {
    /// Reads an error and adds the last complaint to it where the error itself says little.
    pub(crate) fn explain(&self, error: &KafkaError) -> Failure {
        self.add_complaint(Failure::of(error))
    }

    /// Adds the last complaint to a failure that says little by itself.
    pub(crate) fn add_complaint(&self, mut failure: Failure) -> Failure {
        let vague = matches!(failure.kind, FailureKind::Unreachable | FailureKind::Retryable);
        let complaint = self.slot().take().filter(|_| vague);
        if let Some(complaint) = complaint {
            if complaint.kind == FailureKind::NoRights {
                failure.kind = FailureKind::NoRights;
            }
            failure.reason = format!("{} ({})", failure.reason, complaint.reason);
        }
        failure
    }

    /// Whether the last complaint is that the brokers do not let us in.
    pub(crate) fn is_denied(&self) -> bool {
        self.slot().as_ref().is_some_and(|complaint| complaint.kind == FailureKind::NoRights)
    }

    /// Keeps a complaint for the next vague failure.
    pub(crate) fn complain(&self, error: &KafkaError, reason: &str) {
        // With TLS 1.3 a broker refuses our certificate after the handshake, which the client
        // reports as a lost connection.
        let refused = reason.contains("SSL routines") && reason.contains(" alert ");
        let kind = if refused { FailureKind::NoRights } else { Failure::of(error).kind };
        let failure = Failure::new(kind, reason);
        let mut slot = self.slot();
        // "All brokers are down" follows the reason why, and says less.
        if error.rdkafka_error_code() != Some(RDKafkaErrorCode::AllBrokersDown) {
            *slot = Some(failure);
        } else {
            slot.get_or_insert(failure);
        }
    }

    fn slot(&self) -> std::sync::MutexGuard<'_, Option<Failure>> {
        self.complaint.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Hands a log line of the client to `tracing`, one step quieter than the client thinks: it calls
/// every lost connection an error and repairs it by itself.
pub(crate) fn log_line(level: RDKafkaLogLevel, facility: &str, line: &str) {
    use RDKafkaLogLevel as Level;
    match level {
        Level::Emerg | Level::Alert | Level::Critical => {
            tracing::warn!(target: "librdkafka", "{facility} {line}");
        }
        Level::Error | Level::Warning => tracing::info!(target: "librdkafka", "{facility} {line}"),
        Level::Notice | Level::Info => tracing::debug!(target: "librdkafka", "{facility} {line}"),
        Level::Debug => tracing::trace!(target: "librdkafka", "{facility} {line}"),
    }
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, line: &str) {
        log_line(level, facility, line);
    }

    fn stats_raw(&self, _statistics: &[u8]) {}

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(target: "librdkafka", "{reason}");
        self.complain(&error, reason);
    }
}

impl ConsumerContext for Context {}

/// Runs a blocking call of a client on a thread made for that.
pub(crate) async fn blocking<T: Send + 'static>(
    call: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    match tokio::task::spawn_blocking(call).await {
        Ok(result) => result,
        Err(error) => Err(Failure::new(FailureKind::Retryable, format!("call lost: {error}"))),
    }
}

/// Closes a client, which can take a while, without holding up the caller. Works outside a
/// runtime as well, since clients are dropped while one shuts down.
pub(crate) fn retire<T: Send + 'static>(client: T) {
    let name = "kafka-close".to_owned();
    // Without a thread the closure, and with it the client, is dropped here: slower, no worse.
    let _ = std::thread::Builder::new().name(name).spawn(move || drop(client));
}
