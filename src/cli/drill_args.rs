//! The keywords of a drill as they are typed. Owns names and help; never gives a meaning or a
//! default to anything.

use std::path::PathBuf;

use clap::Args;
use clap::builder::FalseyValueParser;

use super::args::{BrokerArgs, OnUnfinished, secret};
use super::finish::FinishArgs;
use crate::extract::prostore::Secret;

/// Keywords of a drill. None has a default here.
#[derive(Clone, Debug, Default, Args)]
pub struct DrillArgs {
    /// Topic that holds the backup
    #[arg(long, value_name = "TOPIC", env = "DELTAKEEP_TOPIC")]
    pub topic: Option<String>,
    /// The scratch: a datamart that does not exist. It is created, filled, compared and dropped
    ///
    /// HOST:PORT/DATAMART[?user=jwt&password=TOKEN]; without a token that of the source is used.
    #[arg(
        long,
        value_name = "HOST:PORT/DATAMART",
        env = "DELTAKEEP_TARGET",
        hide_env_values = true,
        value_parser = secret
    )]
    pub target: Option<Secret>,
    /// Folder for the reports: drill.json, drill.xml (JUnit), drill.html
    #[arg(long, value_name = "DIR", env = "DELTAKEEP_REPORT")]
    pub report: Option<PathBuf>,
    /// First back up what is new
    #[arg(long, env = "DELTAKEEP_DRILL_BACKUP", value_parser = FalseyValueParser::new())]
    pub backup: bool,
    /// Leave the scratch; the next drill drops it
    #[arg(long, env = "DELTAKEEP_DRILL_KEEP", value_parser = FalseyValueParser::new())]
    pub keep: bool,
    /// Partitions of the topics that the scratch's node loads from [default: 1]
    #[arg(
        long = "partitionsCount",
        visible_alias = "partitions-count",
        value_name = "COUNT",
        env = "DELTAKEEP_PARTITIONS_COUNT",
        value_parser = clap::value_parser!(u32).range(1..=10_000)
    )]
    pub partitions_count: Option<u32>,
    /// Tables that are loaded, and with --backup unloaded, at once [default: 1]
    #[arg(
        long = "threadsCount",
        visible_alias = "threads-count",
        value_name = "COUNT",
        env = "DELTAKEEP_THREADS_COUNT",
        value_parser = clap::value_parser!(u32).range(1..=64)
    )]
    pub threads_count: Option<u32>,
    /// What to do with an unfinished drill of this topic and scratch [default: resume]
    #[arg(
        long = "onUnfinished",
        visible_alias = "on-unfinished",
        value_enum,
        env = "DELTAKEEP_ON_UNFINISHED"
    )]
    pub on_unfinished: Option<OnUnfinished>,
    /// Ways to the brokers; the core ones are those of the scratch's node.
    #[command(flatten)]
    pub brokers: BrokerArgs,
    /// What is told at the end.
    #[command(flatten)]
    pub finish: FinishArgs,
}
