//! What an error of the client means to us, in plain words and without secrets.
//! Never decides what is done about it.

use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

/// What kind of trouble it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// Nobody answers: wrong address, network, brokers down.
    Unreachable,
    /// The brokers could not do it now; the same may work later.
    Retryable,
    /// A later instance took over the transactional id.
    Fenced,
    /// A message or batch is larger than the topic takes.
    TooLarge,
    /// Missing or wrong credentials, or missing rights.
    NoRights,
    /// The topic or partition does not exist.
    NoTopic,
    /// The topic exists already.
    TopicExists,
    /// The offset asked for is not in the log.
    OutOfRange,
    /// The brokers or the client will never do it.
    Refused,
}

/// A failed request to the brokers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Failure {
    /// What it means.
    pub kind: FailureKind,
    /// What was said, free of configuration values.
    pub reason: String,
}

impl Failure {
    /// A failure seen by us, not reported by the client.
    pub fn new(kind: FailureKind, reason: impl Into<String>) -> Self {
        Self { kind, reason: reason.into() }
    }

    /// Reads an error of the client.
    ///
    /// A `ClientConfig` error carries the property's value, which may be a password: only its name
    /// is kept.
    pub fn of(error: &KafkaError) -> Self {
        match error {
            KafkaError::AdminOp(code) => Self::of_code(*code),
            KafkaError::Transaction(error) => {
                Self { kind: kind_of(error.code()), reason: error.string() }
            }
            KafkaError::ClientConfig(_, _, name, _) => {
                let reason = format!("property {name} is unknown or its value is not accepted");
                Self::new(FailureKind::Refused, reason)
            }
            KafkaError::ClientCreation(text) | KafkaError::AdminOpCreation(text) => {
                Self::new(FailureKind::Refused, text.clone())
            }
            KafkaError::Nul(_) => Self::new(FailureKind::Refused, "a text holds a zero byte"),
            other => match other.rdkafka_error_code() {
                Some(code) => Self::of_code(code),
                None => Self::new(FailureKind::Retryable, other.to_string()),
            },
        }
    }

    /// Reads a code of the client or of a broker.
    pub fn of_code(code: Code) -> Self {
        Self::new(kind_of(code), code.to_string())
    }
}

/// The meaning of each code that we act on; the rest may pass by itself.
fn kind_of(code: Code) -> FailureKind {
    match code {
        Code::BrokerTransportFailure
        | Code::AllBrokersDown
        | Code::Resolve
        | Code::OperationTimedOut
        | Code::TimedOutQueue
        | Code::MessageTimedOut
        | Code::NetworkException => FailureKind::Unreachable,
        Code::Fenced | Code::ProducerFenced | Code::InvalidProducerEpoch => FailureKind::Fenced,
        Code::MessageSizeTooLarge | Code::MessageBatchTooLarge => FailureKind::TooLarge,
        Code::UnknownTopic
        | Code::UnknownPartition
        | Code::UnknownTopicOrPartition
        | Code::UnknownTopicId => FailureKind::NoTopic,
        Code::TopicAlreadyExists => FailureKind::TopicExists,
        Code::OffsetOutOfRange | Code::AutoOffsetReset | Code::NoOffset => FailureKind::OutOfRange,
        code if is_denial(code) => FailureKind::NoRights,
        code if is_final(code) => FailureKind::Refused,
        _ => FailureKind::Retryable,
    }
}

/// Credentials or rights are missing.
fn is_denial(code: Code) -> bool {
    matches!(
        code,
        Code::Authentication
            | Code::SSL
            | Code::SaslAuthenticationFailed
            | Code::UnsupportedSASLMechanism
            | Code::IllegalSASLState
            | Code::TopicAuthorizationFailed
            | Code::GroupAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::TransactionalIdAuthorizationFailed
            | Code::SecurityDisabled
    )
}

/// Asking again will not help.
fn is_final(code: Code) -> bool {
    matches!(
        code,
        Code::UnsupportedVersion
            | Code::UnsupportedFeature
            | Code::UnsupportedForMessageFormat
            | Code::UnsupportedCompressionType
            | Code::NotImplemented
            | Code::InvalidArgument
            | Code::InvalidConfig
            | Code::InvalidRequest
            | Code::InvalidTopic
            | Code::InvalidPartitions
            | Code::InvalidReplicationFactor
            | Code::InvalidRequiredAcks
            | Code::InvalidTransactionTimeout
            | Code::InvalidRecord
            | Code::PolicyViolation
            | Code::TopicDeletionDisabled
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_read_by_what_can_be_done_about_them() {
        let kind = |code| Failure::of_code(code).kind;
        assert_eq!(kind(Code::AllBrokersDown), FailureKind::Unreachable);
        assert_eq!(kind(Code::NotEnoughReplicas), FailureKind::Retryable);
        assert_eq!(kind(Code::InvalidProducerEpoch), FailureKind::Fenced);
        assert_eq!(kind(Code::TransactionalIdAuthorizationFailed), FailureKind::NoRights);
        assert_eq!(kind(Code::InvalidTransactionTimeout), FailureKind::Refused);
        assert_eq!(kind(Code::AutoOffsetReset), FailureKind::OutOfRange);
    }

    #[test]
    fn a_refused_property_is_named_without_its_value() {
        let mut config = rdkafka::ClientConfig::new();
        config.set("security.protocol", "hunter2");
        let error = config.create_native_config().err().map(|e| Failure::of(&e));
        let reason = error.map(|f| f.reason).unwrap_or_default();
        assert!(reason.contains("security.protocol"), "{reason}");
        assert!(!reason.contains("hunter2"), "{reason}");
    }
}
