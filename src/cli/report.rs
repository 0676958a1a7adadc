//! From what failed to what the process ends with and what the operator is told to type next.
//! Every match is exhaustive: a new failure does not compile until its code is chosen here.

mod drill;
mod restore;

use super::exit_code::{ExitCode, Failure};
use super::stores::ChoiceError;
use super::wiring::WiringError;
use crate::backup::{Fault, Refusal, RunError};
use crate::catalog::CatalogError;
#[cfg(feature = "clickhouse")]
use crate::clickhouse::{Code, TaskError};
use crate::deliver::SinkError;
use crate::extract::SourceError;
use crate::journal::JournalError;
use crate::kafka::FailureKind;
#[cfg(feature = "queue")]
use crate::queue::rabbit::RabbitError;

pub use drill::{of_drill, of_verdict};
pub use restore::of_restore;

/// The signal that asked a run to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// SIGINT
    Interrupt,
    /// SIGTERM
    Terminate,
}

/// The failure of a run. `stopped` is the signal that was received, if any.
pub fn of_run(error: &RunError, stopped: Option<Signal>) -> Failure {
    let mut message = error.to_string();
    if let Some(code) = &error.unreleased {
        message.push_str(&format!(
            "; changes may still be denied, release them with: ALLOW_CHANGES(<datamart>, '{code}')"
        ));
    }
    if error.complete {
        let next = "deltakeep unlock --connect HOST:PORT/DATAMART".to_owned();
        return Failure { code: ExitCode::NotReleased, message, next };
    }
    let code = code_of(&error.fault, error.touched, stopped);
    Failure { code, message, next: next_of(&error.fault, error.touched) }
}

fn code_of(fault: &Fault, touched: bool, stopped: Option<Signal>) -> ExitCode {
    let resumable = if touched { ExitCode::Stopped } else { ExitCode::Refused };
    match fault {
        Fault::Refused(_) | Fault::Source { .. } | Fault::GaveUp { .. } | Fault::Again(_) => {
            resumable
        }
        Fault::Sink(error) => match error {
            SinkError::Interrupted { .. }
            | SinkError::TooLarge { .. }
            | SinkError::Refused { .. } => resumable,
            SinkError::Fenced { .. } => ExitCode::HeldByOther,
        },
        Fault::Catalog(error) => match error {
            CatalogError::Unreachable { .. } | CatalogError::Refused { .. } => resumable,
            CatalogError::Gone { .. } => ExitCode::Disagrees,
        },
        Fault::Journal(error) => code_of_journal(error, resumable),
        Fault::Disagrees(_) => ExitCode::Disagrees,
        Fault::Held(_) => ExitCode::HeldByOther,
        Fault::Stopped => match stopped {
            Some(Signal::Interrupt) | None => ExitCode::Interrupted,
            Some(Signal::Terminate) => ExitCode::Terminated,
        },
        Fault::Unexpected(_) => ExitCode::Unexpected,
    }
}

fn code_of_journal(error: &JournalError, on_disk: ExitCode) -> ExitCode {
    match error {
        JournalError::InUse { .. } => ExitCode::HeldByOther,
        JournalError::Damaged { .. } | JournalError::Newer { .. } => ExitCode::Journal,
        JournalError::Disk { .. } => on_disk,
    }
}

fn next_of(fault: &Fault, touched: bool) -> String {
    let again = if touched { "deltakeep resume" } else { "the same command again" };
    match fault {
        Fault::Refused(refusal) => next_of_refusal(refusal).to_owned(),
        Fault::Source { source, .. } => next_of_source(source, again),
        Fault::Sink(SinkError::Fenced { .. }) => "deltakeep status".to_owned(),
        Fault::Sink(SinkError::TooLarge { .. }) => {
            "raise max.message.bytes of the topic, then: deltakeep resume".to_owned()
        }
        Fault::Sink(SinkError::Interrupted { .. }) => format!("{again}, once the brokers answer"),
        Fault::Sink(SinkError::Refused { .. }) | Fault::Catalog(CatalogError::Refused { .. }) => {
            format!("{again}, with rights on the topic and on transactional ids deltakeep-*")
        }
        Fault::Catalog(CatalogError::Unreachable { .. }) => {
            format!("{again}, once the brokers answer")
        }
        Fault::Catalog(CatalogError::Gone { .. }) | Fault::Disagrees(_) => {
            "deltakeep abandon, then the backup again".to_owned()
        }
        Fault::Journal(error) => next_of_journal(error).to_owned(),
        Fault::Held(_) => "deltakeep unlock, once it is certain that nobody works there".to_owned(),
        Fault::Stopped | Fault::Again(_) => again.to_owned(),
        Fault::GaveUp { .. } => {
            format!("restart the node's reader connector, then: {again}")
        }
        Fault::Unexpected(_) => format!("{again}; please report this with the log"),
    }
}

fn next_of_refusal(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::UnfinishedChange { .. } => {
            "finish the schema change by sending its text again, or ERASE_CHANGE_OPERATION; then \
             the same command again"
        }
        Refusal::Range(_) => "the same command again with a --deltaNum that is closed",
        Refusal::Datasource(_) => {
            "another --datasourceType, or --datasourceFallback to let the node choose for these"
        }
        Refusal::History(_) | Refusal::Compacted { .. } => {
            "the same command again with another --topic"
        }
    }
}

fn next_of_source(source: &SourceError, again: &str) -> String {
    match source {
        SourceError::Unreachable { .. } | SourceError::Brokers { .. } => {
            format!("{again}, once it answers")
        }
        SourceError::NoRights { .. } => format!("{again}, with a token in DELTAKEEP_TOKEN"),
        SourceError::NoDatamart { .. } => {
            "the same command again with the datamart's name in --connect".to_owned()
        }
        SourceError::Refused { .. }
        | SourceError::PartRefused { .. }
        | SourceError::CutShort { .. }
        | SourceError::Unreadable { .. }
        | SourceError::Stalled { .. }
        | SourceError::StagingLost { .. }
        | SourceError::BadChunk { .. } => again.to_owned(),
    }
}

fn next_of_journal(error: &JournalError) -> &'static str {
    match error {
        JournalError::InUse { .. } => "deltakeep status, and wait for the run to end",
        JournalError::Damaged { .. } => {
            "deltakeep unlock, then the backup again: complete increments stay"
        }
        JournalError::Newer { .. } => "the newer deltakeep that wrote it",
        JournalError::Disk { .. } => "make room or give rights, then: deltakeep resume",
    }
}

/// The failure of an operation on ClickHouse; `stopped` is the signal that was received, if any.
#[cfg(feature = "clickhouse")]
pub fn of_task(error: &TaskError, stopped: Option<Signal>) -> Failure {
    let next = match &error.open {
        Some(id) => format!("deltakeep clickhouse recover --op {id}, with the same --clickhouse"),
        None => next_of_task(error.code).to_owned(),
    };
    let code = match (&error.open, stopped) {
        (Some(_), Some(Signal::Interrupt)) => ExitCode::Interrupted,
        (Some(_), Some(Signal::Terminate)) => ExitCode::Terminated,
        (Some(_), None) | (None, _) => code_of_task(error.code),
    };
    Failure { code, message: error.to_string(), next }
}

/// The failure of RabbitMQ.
#[cfg(feature = "queue")]
pub fn of_rabbit(error: &RabbitError) -> Failure {
    let (code, next) = match error {
        RabbitError::Unreachable { .. } => {
            (ExitCode::Refused, "the same command again, once RabbitMQ answers")
        }
        RabbitError::Refused { .. } => (
            ExitCode::Refused,
            "the same command with another user, password or virtual host, or with more rights",
        ),
        RabbitError::Missing { .. } => (ExitCode::Refused, "the same command with --declare"),
        RabbitError::Name => (ExitCode::Usage, "the same command with another --queue"),
        RabbitError::Stopped => (ExitCode::Terminated, "the same command again"),
    };
    Failure { code, message: error.to_string(), next: next.to_owned() }
}

/// What to type next; a hint names fields of a task where a keyword is not much else.
#[cfg(feature = "clickhouse")]
fn next_of_task(code: Code) -> &'static str {
    match code {
        Code::BadRequest | Code::UnknownField => "deltakeep clickhouse --help",
        Code::ForbiddenTarget => "another target, or --scope database instead of table",
        Code::PathNotAllowed => "a --path below one of --allowPath",
        Code::SourceNotFound => "the same command with a --database and --table that exist",
        Code::NotInBackup | Code::AmbiguousSource => {
            "the same command with --sourceDatabase and --sourceTable"
        }
        Code::BackupNotFound => "the same command with the --path of a finished backup",
        Code::PathExists => "the same command with a new --path",
        Code::PathLocked => {
            "the same command with a new --path; or, once no backup writes there, delete .lock"
        }
        Code::IdConflict => "the same command with a new --id",
        Code::TargetNotEmpty => "the same command with another target, or --overwrite",
        Code::DefinitionDiffers => "the same command with --overwrite, or another target",
        Code::CredentialsLost | Code::Cancelled => "the same command again",
        Code::StorageError => {
            "the same command again, once the object store answers and has the bucket"
        }
        Code::ClickhouseUnavailable => "the same command again, once ClickHouse answers",
        Code::Timeout | Code::Stalled => {
            "the same command again; look at the object store and its load"
        }
        Code::Busy => "the same command again, once the other operation has ended",
        Code::TargetChanged => "look at what is there now, then the same command with a new --id",
        Code::NotFound => "deltakeep clickhouse list-backups",
        other => other.hint(),
    }
}

#[cfg(feature = "clickhouse")]
fn code_of_task(code: Code) -> ExitCode {
    match code {
        Code::BadJson
        | Code::BadRequest
        | Code::UnknownField
        | Code::UnknownType
        | Code::UnsupportedVersion => ExitCode::Usage,
        Code::ForbiddenTarget
        | Code::PathNotAllowed
        | Code::SourceNotFound
        | Code::NotInBackup
        | Code::BackupNotFound
        | Code::AmbiguousSource
        | Code::PathExists
        | Code::PathLocked
        | Code::IdConflict
        | Code::TargetNotEmpty
        | Code::DefinitionDiffers
        | Code::ReplicatedPathConflict
        | Code::AccessDenied
        | Code::BadCredentials
        | Code::NotFound => ExitCode::Refused,
        Code::VerifyFailed | Code::BackupDamaged => ExitCode::Wanting,
        Code::StorageError
        | Code::ClickhouseUnavailable
        | Code::Timeout
        | Code::Stalled
        | Code::CredentialsLost
        | Code::Cancelled
        | Code::UnknownOutcome => ExitCode::Stopped,
        Code::TargetChanged => ExitCode::Disagrees,
        Code::Busy => ExitCode::HeldByOther,
        Code::Internal => ExitCode::Unexpected,
    }
}

/// A store of operations or tasks that cannot be opened: it has no run, and a worker that holds it
/// works until it is stopped.
#[cfg(feature = "clickhouse")]
pub fn of_store(error: JournalError) -> Failure {
    let held = matches!(error, JournalError::InUse { .. });
    let failure = Failure::from(error);
    match held {
        true => {
            Failure { next: "the same command once that process has ended".to_owned(), ..failure }
        }
        false => failure,
    }
}

impl From<JournalError> for Failure {
    fn from(error: JournalError) -> Self {
        let code = code_of_journal(&error, ExitCode::Refused);
        Self { code, message: error.to_string(), next: next_of_journal(&error).to_owned() }
    }
}

/// The failure of a client that could not be built.
pub fn of_wiring(error: WiringError) -> Failure {
    error.into()
}

impl From<WiringError> for Failure {
    fn from(error: WiringError) -> Self {
        let message = error.to_string();
        let again = "the same command again";
        let (code, next) = match &error {
            WiringError::Brokers { .. } => {
                (ExitCode::Usage, format!("{again} with other client properties"))
            }
            WiringError::Node(source) => (ExitCode::Refused, next_of_source(source, again)),
            WiringError::Kafka { source, .. } if source.kind == FailureKind::NoRights => {
                (ExitCode::Refused, with_credentials(again, "--kafkaPropertyCore"))
            }
            WiringError::Topic(CatalogError::Refused { .. }) => {
                (ExitCode::Refused, with_credentials(again, "--kafkaProperty"))
            }
            WiringError::Kafka { .. } | WiringError::Topic(_) => {
                (ExitCode::Refused, format!("{again}, once the brokers answer"))
            }
            WiringError::NoZooKeeper | WiringError::ZooKeeper(_) => {
                (ExitCode::Refused, format!("{again} with --kafkaBrokersCore HOST:PORT"))
            }
        };
        Self { code, message, next }
    }
}

fn with_credentials(again: &str, keyword: &str) -> String {
    format!("{again}, with credentials and certificates that these brokers take in {keyword}")
}

impl From<ChoiceError> for Failure {
    fn from(error: ChoiceError) -> Self {
        let next = match &error {
            ChoiceError::None { .. } | ChoiceError::Unknown { .. } => "deltakeep list",
            ChoiceError::Several { .. } => "the same command again with one of these runs",
        };
        Self { code: ExitCode::Usage, message: error.to_string(), next: next.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backup::Holder;
    use crate::model::{DeltaNum, LockCode, Offset, Partition};
    use crate::plan::NoRange;

    fn failure(fault: Fault, touched: bool) -> Failure {
        of_run(&RunError { fault, touched, complete: false, unreleased: None }, None)
    }

    fn code(fault: Fault, touched: bool) -> ExitCode {
        failure(fault, touched).code
    }

    #[test]
    fn the_same_failure_is_refused_before_and_resumable_after_the_first_touch() {
        let unreachable = || {
            let (node, reason) = ("n:1".into(), "refused".into());
            Fault::from(SourceError::Unreachable { node, reason })
        };
        assert_eq!(code(unreachable(), false), ExitCode::Refused);
        assert_eq!(code(unreachable(), true), ExitCode::Stopped);
        assert!(failure(unreachable(), true).next.contains("deltakeep resume"));
        let range = NoRange::NotClosed { asked: DeltaNum(9), newest: None };
        assert_eq!(code(Fault::Refused(range.into()), false), ExitCode::Refused);
    }

    #[test]
    fn others_disagreements_and_signals_have_their_codes() {
        let datamart = crate::model::Datamart::parse("db").expect("a plain name");
        let lock = Holder::Lock { code: LockCode::new(&datamart, 9) };
        assert_eq!(code(lock.into(), true), ExitCode::HeldByOther);
        let (partition, low, high) = (Partition(0), Offset(5), Offset(9));
        let gone = CatalogError::Gone { partition, low, high, wanted: Offset(1) };
        assert_eq!(code(gone.into(), true), ExitCode::Disagrees);
        assert_eq!(code(Fault::Stopped, true), ExitCode::Interrupted);
        let stopped = RunError {
            fault: Fault::Stopped,
            touched: true,
            complete: false,
            unreleased: Some(LockCode::new(&datamart, 9)),
        };
        let failure = of_run(&stopped, Some(Signal::Terminate));
        assert_eq!(failure.code, ExitCode::Terminated);
        assert!(failure.message.contains("'backup_db_9'"), "{}", failure.message);
        let complete = RunError { complete: true, ..stopped };
        assert_eq!(of_run(&complete, None).code, ExitCode::NotReleased);
    }
}
