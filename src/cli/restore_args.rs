//! The keywords of a restore as they are typed. Owns names and help; never gives a meaning or a
//! default to anything.

use clap::builder::FalseyValueParser;
use clap::{Args, ValueEnum};

use super::args::{BrokerArgs, OnUnfinished};
use super::finish::FinishArgs;

/// Keywords of a restore. None has a default here.
#[derive(Clone, Debug, Default, Args)]
pub struct RestoreArgs {
    /// Topic that holds the backup
    #[arg(long, value_name = "TOPIC", env = "DELTAKEEP_TOPIC")]
    pub topic: Option<String>,
    /// Datamart in the topic [default: the name in --connect]
    #[arg(
        long = "sourceDatamart",
        visible_alias = "source-datamart",
        value_name = "NAME",
        env = "DELTAKEEP_SOURCE_DATAMART"
    )]
    pub source_datamart: Option<String>,
    /// The last delta to restore [default: the newest in the topic]
    #[arg(long, value_name = "NUMBER", env = "DELTAKEEP_DELTA")]
    pub delta: Option<u64>,
    /// The first delta to restore: brings a datamart up to date that holds all before it
    /// [default: 0]
    #[arg(
        long = "deltaFrom",
        visible_alias = "delta-from",
        value_name = "NUMBER",
        env = "DELTAKEEP_DELTA_FROM"
    )]
    pub delta_from: Option<u64>,
    /// Only tell which deltas the topic lacks; touch nothing. Needs no node where --kafkaBrokers
    /// and --sourceDatamart are given
    #[arg(long, env = "DELTAKEEP_READONLY", value_parser = FalseyValueParser::new())]
    pub readonly: bool,
    /// MESSAGE_LIMIT of the external tables that the node loads through [default: the node's]
    #[arg(
        long = "messageLimit",
        visible_alias = "message-limit",
        value_name = "COUNT",
        env = "DELTAKEEP_MESSAGE_LIMIT",
        value_parser = clap::value_parser!(u32).range(1..)
    )]
    pub message_limit: Option<u32>,
    /// Partitions of the topics that the node loads from [default: 1]
    #[arg(
        long = "partitionsCount",
        visible_alias = "partitions-count",
        value_name = "COUNT",
        env = "DELTAKEEP_PARTITIONS_COUNT",
        value_parser = clap::value_parser!(u32).range(1..=10_000)
    )]
    pub partitions_count: Option<u32>,
    /// Tables of a delta that are loaded at once [default: 1]
    #[arg(
        long = "threadsCount",
        visible_alias = "threads-count",
        value_name = "COUNT",
        env = "DELTAKEEP_THREADS_COUNT",
        value_parser = clap::value_parser!(u32).range(1..=64)
    )]
    pub threads_count: Option<u32>,
    /// Datasource that all tables are created on, instead of those in the topic
    #[arg(
        long = "datasourceType",
        visible_alias = "datasource-type",
        value_name = "NAME",
        env = "DELTAKEEP_DATASOURCE_TYPE"
    )]
    pub datasource_type: Option<String>,
    /// What to do with dates that the node does not take [default: keep]
    #[arg(long, value_enum, env = "DELTAKEEP_DATES")]
    pub dates: Option<DatesName>,
    /// Increment to be taken where a delta has several; may be given several times
    #[arg(long, value_name = "ID")]
    pub increment: Vec<String>,
    /// What a resume may change, too.
    #[command(flatten)]
    pub lenient: LenientArgs,
    /// What to do with an unfinished restore of this topic into this datamart [default: resume]
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
    /// Ways to the brokers.
    #[command(flatten)]
    pub brokers: BrokerArgs,
    /// What is told at the end.
    #[command(flatten)]
    pub finish: FinishArgs,
}

/// What a restore may go on in spite of. Never settings of a host: each is asked for once, by who
/// has read why the restore stopped.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct LenientArgs {
    /// Schema change of the backup that is not to be replayed, by its number; may be given several
    /// times
    #[arg(long = "skipChange", visible_alias = "skip-change", value_name = "NUMBER")]
    pub skip_change: Vec<u64>,
    /// Report check sums that differ from those of the backup, and go on
    #[arg(long = "acceptDifferences", visible_alias = "accept-differences")]
    pub accept_differences: bool,
}

/// What a restore does with dates that the node would refuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DatesName {
    /// Refuse to start.
    Keep,
    /// Move them forward by the least that is needed.
    Bump,
}
