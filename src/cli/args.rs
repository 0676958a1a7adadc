//! The command line as it is typed: the seed's keywords, each also in kebab-case and as a variable
//! of the environment. Owns names and help; never gives a meaning or a default to anything.

use std::convert::Infallible;
use std::path::PathBuf;

use clap::builder::FalseyValueParser;
use clap::{Args, Parser, Subcommand, ValueEnum};

use super::drill_args::DrillArgs;
use super::filter::{ListArgs, StatusArgs};
use super::finish::FinishArgs;
use super::restore_args::{LenientArgs, RestoreArgs};
use crate::extract::prostore::Secret;

/// Options that can hold a token or a password show themselves to nobody.
pub(super) fn secret(text: &str) -> Result<Secret, Infallible> {
    Ok(Secret::new(text))
}

/// Resumable backups: Prostore datamarts into a Kafka topic, ClickHouse into an object store.
///
/// Each option can also be a variable of the environment or stand in a file: a flag comes before a
/// variable, that before the file of --config, and that before the default.
#[derive(Debug, Parser)]
#[command(name = "deltakeep", version, max_term_width = 100)]
pub struct LowArgs {
    /// What all commands take.
    #[command(flatten)]
    pub common: CommonArgs,
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// Options before or after the command.
#[derive(Debug, Args)]
pub struct CommonArgs {
    /// Node and datamart: HOST:PORT/DATAMART[?user=jwt&password=TOKEN], also after jdbc:prostore://
    ///
    /// A token typed here can be seen by other users of this host: better --tokenFile or
    /// DELTAKEEP_TOKEN.
    #[arg(
        long,
        global = true,
        value_name = "HOST:PORT/DATAMART",
        env = "DELTAKEEP_CONNECT",
        hide_env_values = true,
        value_parser = secret
    )]
    pub connect: Option<Secret>,
    /// File that holds the node's token
    #[arg(
        long = "tokenFile",
        visible_alias = "token-file",
        global = true,
        value_name = "PATH",
        env = "DELTAKEEP_TOKEN_FILE"
    )]
    pub token_file: Option<PathBuf>,
    /// Where the journals are [default: $STATE_DIRECTORY, ./state of a checkout, or
    /// $XDG_STATE_HOME/deltakeep]
    #[arg(
        long = "stateDir",
        visible_alias = "state-dir",
        global = true,
        value_name = "PATH",
        env = "DELTAKEEP_STATE_DIR"
    )]
    pub state_dir: Option<PathBuf>,
    /// File of settings, TOML: keywords without their dashes; flags and variables come before it
    #[arg(long, global = true, value_name = "PATH", env = "DELTAKEEP_CONFIG")]
    pub config: Option<PathBuf>,
    /// Form of what is printed on stdout
    #[arg(long, global = true, value_enum, default_value = "text", env = "DELTAKEEP_OUTPUT")]
    pub output: Output,
    /// File to log into, besides stderr; a new one each day, the date after its name
    #[arg(
        long = "logFile",
        visible_alias = "log-file",
        global = true,
        value_name = "PATH",
        env = "DELTAKEEP_LOG_FILE"
    )]
    pub log_file: Option<PathBuf>,
    /// Log more: -v what is done, -vv how, -vvv everything
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Back up the new closed deltas of a datamart, or the asked ones, into a Kafka topic
    #[command(name = "backup_to_kafka", visible_alias = "backup-to-kafka")]
    BackupToKafka(BackupArgs),
    /// Look at everything that a backup needs, and change nothing
    Check(Box<BackupArgs>),
    /// Bring a datamart back from its backup topic: under the same or another name, on the same or
    /// another node
    #[command(name = "restore_from_kafka", visible_alias = "restore-from-kafka")]
    RestoreFromKafka(Box<RestoreArgs>),
    /// Prove that a backup restores: into a scratch datamart that is compared, reported and dropped
    Drill(Box<DrillArgs>),
    /// Continue a run that stopped, with the settings it was started with
    Resume {
        /// The run, or the first letters of its id [default: the only unfinished one]
        run: Option<String>,
        /// Settings may be given again; one that differs from the run's is refused.
        #[command(flatten)]
        again: Box<BackupArgs>,
        /// Of a restore.
        #[command(flatten)]
        lenient: LenientArgs,
    },
    /// Tell what a run does or did last
    Status(StatusArgs),
    /// List the runs that are remembered here
    List(ListArgs),
    /// Give back the lock of a datamart that a dead run left denied
    Unlock {
        /// Day of the month when a run started that left no trace, as one of the Java tool does
        #[arg(long, value_name = "1-31", value_parser = clap::value_parser!(u8).range(1..=31))]
        day: Option<u8>,
        /// Unlock although the run is another's or unknown
        #[arg(long)]
        yes: bool,
    },
    /// Give a stopped run up: its lock and leftovers are given back. Of a backup the topic stays as
    /// it is, of a restore the closed deltas stay and the open one is rolled back
    Abandon {
        /// The run, or the first letters of its id [default: the only unfinished one]
        run: Option<String>,
        /// Ways to node and brokers, where they are not those of the run any more.
        #[command(flatten)]
        again: Box<BackupArgs>,
    },
    /// Remove staging topics and external tables that ended runs had to leave behind
    Cleanup {
        /// Also those of a run that no journal here knows: the 8 digits after deltakeep_ in its
        /// names. It must not work anywhere any more
        #[arg(long = "unknownRun", visible_alias = "unknown-run", value_name = "DIGITS")]
        unknown_run: Option<String>,
        /// Ways to node and brokers, where they are not those of the runs any more.
        #[command(flatten)]
        again: Box<BackupArgs>,
    },
    /// Look at a backup topic, without a node
    Topic {
        /// What to do with it.
        #[command(subcommand)]
        what: TopicCommand,
    },
    /// Look whether a backup topic holds what was written to it, without a node
    Verify(VerifyArgs),
    /// Back ClickHouse up into an object store and restore it, by its own BACKUP and RESTORE
    #[cfg(feature = "clickhouse")]
    Clickhouse(Box<super::clickhouse_args::ClickhouseArgs>),
    /// Take tasks from RabbitMQ, carry them out and answer them, until a signal comes
    #[cfg(feature = "queue")]
    Worker(Box<super::queue_options::WorkerArgs>),
    /// Send a task to the worker's queue, and wait for its reply where that is asked for
    #[cfg(feature = "queue")]
    Send(Box<super::queue_options::SendArgs>),
    /// Look at the settings
    Config {
        /// What to do with them.
        #[command(subcommand)]
        what: ConfigCommand,
    },
    /// Print the completions of a shell, for its own folder of them
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Print the manual page
    Man,
    /// Serve a stand-in for a Prostore node
    #[cfg(feature = "sandbox")]
    Sandbox(crate::sandbox::SandboxArgs),
    /// Show a backup, a crash and a resume, without any server
    #[cfg(feature = "demo")]
    Demo,
    /// Print the version
    Version,
}

/// What to do with a topic.
#[derive(Debug, Subcommand)]
pub enum TopicCommand {
    /// Tell which increments it holds, complete or not, their size, and the topic's settings
    Show(TopicArgs),
}

/// The topic that is meant.
#[derive(Debug, Args)]
pub struct TopicArgs {
    /// The topic
    #[arg(long, value_name = "TOPIC", env = "DELTAKEEP_TOPIC")]
    pub topic: Option<String>,
    /// Its brokers
    #[arg(
        long = "kafkaBrokers",
        visible_alias = "kafka-brokers",
        value_name = "HOST:PORT,...",
        env = "DELTAKEEP_KAFKA_BROKERS"
    )]
    pub kafka_brokers: Option<String>,
    /// Setting of the client of these brokers; the value @PATH is read from a file.
    /// In the environment one a line
    #[arg(
        long = "kafkaProperty",
        visible_alias = "kafka-property",
        value_name = "NAME=VALUE",
        env = "DELTAKEEP_KAFKA_PROPERTY",
        hide_env_values = true,
        value_delimiter = '\n',
        value_parser = secret
    )]
    pub kafka_property: Vec<Secret>,
}

/// What is to be verified.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// Only this datamart [default: all that the topic holds]
    #[arg(long, value_name = "NAME")]
    pub datamart: Option<String>,
    /// The delta that the backup is meant to begin with [default: 0]
    #[arg(
        long = "deltaFrom",
        visible_alias = "delta-from",
        value_name = "NUMBER",
        env = "DELTAKEEP_DELTA_FROM"
    )]
    pub delta_from: Option<u64>,
    /// Node and datamart, as for --connect: CHECK_SUM of the topic's rows is compared with the
    /// node's, for each delta and table. --datamart names the one in the topic where it is another
    #[arg(
        long,
        value_name = "HOST:PORT/DATAMART",
        env = "DELTAKEEP_AGAINST",
        hide_env_values = true,
        value_parser = secret
    )]
    pub against: Option<Secret>,
    /// Where.
    #[command(flatten)]
    pub topic: TopicArgs,
}

/// What to do with the settings.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Print every setting, its value without secrets, and who set it: flag, env, file or default
    Show(Box<BackupArgs>),
}

/// Keywords of a backup. None has a default here, so that a resume can tell what was asked.
#[derive(Clone, Debug, Default, Args)]
pub struct BackupArgs {
    /// Datasource to unload from [default: the node chooses for each table]
    #[arg(
        long = "datasourceType",
        visible_alias = "datasource-type",
        value_name = "NAME",
        env = "DELTAKEEP_DATASOURCE_TYPE"
    )]
    pub datasource_type: Option<String>,
    /// Topic that the backup goes to
    #[arg(long, value_name = "TOPIC", env = "DELTAKEEP_TOPIC")]
    pub topic: Option<String>,
    /// The one delta to back up [default: all that are newer than those in the topic]
    #[arg(
        long = "deltaNum",
        visible_alias = "delta-num",
        value_name = "NUMBER",
        env = "DELTAKEEP_DELTA_NUM"
    )]
    pub delta_num: Option<u64>,
    /// How many deltas after --deltaNum too, up to the last closed one
    #[arg(
        long = "nextDeltasCount",
        visible_alias = "next-deltas-count",
        value_name = "COUNT",
        env = "DELTAKEEP_NEXT_DELTAS_COUNT"
    )]
    pub next_deltas_count: Option<u64>,
    /// Export missing and incomplete deltas below the newest complete one, too
    #[arg(
        long = "fillGaps",
        visible_alias = "fill-gaps",
        env = "DELTAKEEP_FILL_GAPS",
        value_parser = FalseyValueParser::new()
    )]
    pub fill_gaps: bool,
    /// Partitions of a backup topic that is created [default: 1]
    #[arg(
        long = "partitionsCount",
        visible_alias = "partitions-count",
        value_name = "COUNT",
        env = "DELTAKEEP_PARTITIONS_COUNT",
        value_parser = clap::value_parser!(u32).range(1..=10_000)
    )]
    pub partitions_count: Option<u32>,
    /// Unloads and deliveries at once [default: 1]
    #[arg(
        long = "threadsCount",
        visible_alias = "threads-count",
        value_name = "COUNT",
        env = "DELTAKEEP_THREADS_COUNT",
        value_parser = clap::value_parser!(u32).range(1..=64)
    )]
    pub threads_count: Option<u32>,
    /// Most rows in one message [default: 1000]
    #[arg(
        long = "chunkSize",
        visible_alias = "chunk-size",
        value_name = "ROWS",
        env = "DELTAKEEP_CHUNK_SIZE",
        value_parser = clap::value_parser!(u32).range(1..=1_000_000)
    )]
    pub chunk_size: Option<u32>,
    /// How messages are delivered [default: transactions]
    #[arg(long, value_enum, env = "DELTAKEEP_DELIVERY")]
    pub delivery: Option<Delivery>,
    /// An unload that does not grow for so long is given up, e.g. 90s or 2m [default: 120s]
    #[arg(
        long = "unloadStall",
        visible_alias = "unload-stall",
        value_name = "TIME",
        env = "DELTAKEEP_UNLOAD_STALL"
    )]
    pub unload_stall: Option<String>,
    /// What to do with an unfinished run of this datamart and topic [default: resume]
    #[arg(
        long = "onUnfinished",
        visible_alias = "on-unfinished",
        value_enum,
        env = "DELTAKEEP_ON_UNFINISHED"
    )]
    pub on_unfinished: Option<OnUnfinished>,
    /// Print what would be done, and touch nothing
    #[arg(
        long = "dryRun",
        visible_alias = "dry-run",
        env = "DELTAKEEP_DRY_RUN",
        value_parser = FalseyValueParser::new()
    )]
    pub dry_run: bool,
    /// Ask the node for no check sums
    #[arg(
        long = "noChecksums",
        visible_alias = "no-checksums",
        env = "DELTAKEEP_NO_CHECKSUMS",
        value_parser = FalseyValueParser::new()
    )]
    pub no_checksums: bool,
    /// Do not warn of a backup topic that forgets its messages after a time
    #[arg(
        long = "acceptRetention",
        visible_alias = "accept-retention",
        env = "DELTAKEEP_ACCEPT_RETENTION",
        value_parser = FalseyValueParser::new()
    )]
    pub accept_retention: bool,
    /// Let the node choose for tables that --datasourceType does not hold
    #[arg(
        long = "datasourceFallback",
        visible_alias = "datasource-fallback",
        env = "DELTAKEEP_DATASOURCE_FALLBACK",
        value_parser = FalseyValueParser::new()
    )]
    pub datasource_fallback: bool,
    /// Ways to the brokers.
    #[command(flatten)]
    pub brokers: BrokerArgs,
    /// What is told at the end.
    #[command(flatten)]
    pub finish: FinishArgs,
}

/// Ways to the brokers, of backups and restores.
#[derive(Clone, Debug, Default, Args)]
pub struct BrokerArgs {
    /// Brokers that Prostore works with [default: asked of the node]
    #[arg(
        long = "kafkaBrokersCore",
        visible_alias = "kafka-brokers-core",
        value_name = "HOST:PORT,...",
        env = "DELTAKEEP_KAFKA_BROKERS_CORE"
    )]
    pub kafka_brokers_core: Option<String>,
    /// Brokers of the backup topic [default: those that Prostore works with]
    #[arg(
        long = "kafkaBrokers",
        visible_alias = "kafka-brokers",
        value_name = "HOST:PORT,...",
        env = "DELTAKEEP_KAFKA_BROKERS"
    )]
    pub kafka_brokers: Option<String>,
    /// Attempts to go on without progress between them [default: 10]
    #[arg(
        long = "kafkaRetries",
        visible_alias = "kafka-retries",
        value_name = "COUNT",
        env = "DELTAKEEP_KAFKA_RETRIES"
    )]
    pub kafka_retries: Option<u32>,
    /// Setting of the client of the backup topic's brokers; the value @PATH is read from a file.
    /// In the environment one a line
    #[arg(
        long = "kafkaProperty",
        visible_alias = "kafka-property",
        value_name = "NAME=VALUE",
        env = "DELTAKEEP_KAFKA_PROPERTY",
        hide_env_values = true,
        value_delimiter = '\n',
        value_parser = secret
    )]
    pub kafka_property: Vec<Secret>,
    /// The same for the brokers that Prostore works with
    #[arg(
        long = "kafkaPropertyCore",
        visible_alias = "kafka-property-core",
        value_name = "NAME=VALUE",
        env = "DELTAKEEP_KAFKA_PROPERTY_CORE",
        hide_env_values = true,
        value_delimiter = '\n',
        value_parser = secret
    )]
    pub kafka_property_core: Vec<Secret>,
}

/// Form of what is printed on stdout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// Lines for people.
    Text,
    /// One JSON document.
    Json,
}

/// How messages reach the backup topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Delivery {
    /// In transactions: nothing is ever seen twice by readers of committed messages.
    Transactions,
    /// For brokers that refuse transactions: after a crash identical copies are possible.
    Idempotent,
}

/// What a backup does with an unfinished run of its datamart and topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OnUnfinished {
    /// Continue it.
    Resume,
    /// Refuse to start.
    Fail,
    /// Give it up, then start.
    Abandon,
}
