//! Why a command line means nothing, by name and with what to type instead. Owns no rule: those
//! are in `settings` and beside the options.

use std::path::PathBuf;

use super::connect::ConnectError;
use super::exit_code::{ExitCode, Failure};
use super::kafka_options::KafkaOptionError;
use crate::model::{DatamartError, DeltaNum};

/// Why the command line means nothing.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// A keyword that the command needs.
    #[error("{keyword} is missing")]
    Missing {
        /// The keyword.
        keyword: &'static str,
    },
    /// A connection string that is none. It is not repeated: it can hold a token.
    #[error("--connect is not HOST:PORT/DATAMART: {0}")]
    Connect(#[from] ConnectError),
    /// A scratch that is none. It is not repeated: it can hold a token.
    #[error("--target is not HOST:PORT/DATAMART: {0}")]
    Target(ConnectError),
    /// A token file that cannot be read.
    #[error("--tokenFile {}: {source}", path.display())]
    TokenFile {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A token that no header can carry.
    #[error("the token from {from} is empty or has letters that a token cannot have")]
    BadToken {
        /// Where it came from.
        from: &'static str,
    },
    /// An option about the queue.
    #[cfg(feature = "queue")]
    #[error(transparent)]
    Queue(#[from] super::queue_options::QueueOptionError),
    /// An option about ClickHouse.
    #[cfg(feature = "clickhouse")]
    #[error(transparent)]
    Clickhouse(#[from] super::clickhouse_settings::ClickhouseOptionError),
    /// An option about brokers.
    #[error(transparent)]
    Kafka(#[from] KafkaOptionError),
    /// A topic that Kafka would not take.
    #[error("--topic {topic:?}: a topic is 1 to 249 letters, digits, dots, dashes and underscores")]
    Topic {
        /// The text.
        topic: String,
    },
    /// A datasource that is no name.
    #[error("--datasourceType {name:?}: a datasource is a name without quotes, such as adqm")]
    Datasource {
        /// The text.
        name: String,
    },
    /// A datamart that is no name.
    #[error("--datamart: {0}")]
    Datamart(DatamartError),
    /// A datamart in the topic that is no name.
    #[error("--sourceDatamart: {0}")]
    SourceDatamart(DatamartError),
    /// A first delta behind the last one.
    #[error("--deltaFrom {from} is behind --delta {to}")]
    DeltaRange {
        /// The first.
        from: DeltaNum,
        /// The last.
        to: DeltaNum,
    },
    /// `--nextDeltasCount` alone.
    #[error("--nextDeltasCount counts from --deltaNum, which is missing")]
    CountAlone,
    /// `--fillGaps` with `--deltaNum`.
    #[error("--fillGaps looks for what is missing, --deltaNum names what to export: only one")]
    GapsOfOne,
    /// More deltas than there can be.
    #[error("--deltaNum {first} and {count} more is no range of deltas")]
    Range {
        /// The first delta.
        first: u64,
        /// How many more.
        count: u64,
    },
    /// A patience that is no time.
    #[error("--unloadStall {text:?}: a time from 1s to 24h, such as 90s or 2m")]
    Stall {
        /// The text.
        text: String,
    },
    /// A run that is no id.
    #[error("{text:?} is no run: an id from `deltakeep list`, or its first letters")]
    Run {
        /// The text.
        text: String,
    },
    /// An age that is no time.
    #[error("--maxAge {text:?}: a time such as 26h or 90m")]
    Age {
        /// The text.
        text: String,
    },
    /// A hook that cannot be one. Its text can hold a secret and is not repeated.
    #[error("{keyword} {what}")]
    Hook {
        /// The keyword.
        keyword: &'static str,
        /// What is wrong.
        what: &'static str,
    },
    /// No folder for journals is known.
    #[error("no place for the journals is known: there is no home directory")]
    NoState,
}

impl From<SettingsError> for Failure {
    fn from(error: SettingsError) -> Self {
        let next = match &error {
            SettingsError::Missing { keyword } => format!("the command again with {keyword}"),
            SettingsError::Connect(_) => {
                "--connect 'HOST:PORT/DATAMART', and the token in DELTAKEEP_TOKEN".to_owned()
            }
            SettingsError::Target(_) => {
                "--target 'HOST:PORT/DATAMART', a datamart that does not exist".to_owned()
            }
            SettingsError::TokenFile { .. } | SettingsError::BadToken { .. } => {
                "--tokenFile with a file that holds the token alone".to_owned()
            }
            SettingsError::CountAlone | SettingsError::Range { .. } => {
                "--deltaNum 5 --nextDeltasCount 2 for the deltas 5, 6 and 7".to_owned()
            }
            SettingsError::GapsOfOne => "the command again without one of the two".to_owned(),
            SettingsError::Run { .. } => "deltakeep list".to_owned(),
            SettingsError::Datamart(_) | SettingsError::SourceDatamart(_) => {
                "deltakeep topic show, which names them".to_owned()
            }
            SettingsError::DeltaRange { .. } => {
                "--deltaFrom 5 --delta 7 for the deltas 5, 6 and 7".to_owned()
            }
            SettingsError::Age { .. } => "deltakeep status --maxAge 26h".to_owned(),
            #[cfg(feature = "queue")]
            SettingsError::Queue(_) => "deltakeep worker --help, or send --help".to_owned(),
            #[cfg(feature = "clickhouse")]
            SettingsError::Clickhouse(_) => "deltakeep clickhouse --help".to_owned(),
            SettingsError::NoState => "the command again with --stateDir PATH".to_owned(),
            SettingsError::Kafka(_)
            | SettingsError::Topic { .. }
            | SettingsError::Datasource { .. }
            | SettingsError::Hook { .. }
            | SettingsError::Stall { .. } => "deltakeep backup_to_kafka --help".to_owned(),
        };
        Self { code: ExitCode::Usage, message: error.to_string(), next }
    }
}
