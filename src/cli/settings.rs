//! What the command line means: checked, with defaults, and nothing left to interpret. Owns the
//! rules between options; reads token files and nothing else of the outside.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::args::{
    BackupArgs, BrokerArgs, Command, CommonArgs, ConfigCommand, Delivery, LowArgs, OnUnfinished,
    Output, TopicCommand,
};
use super::connect::Connection;
use super::drill_settings::DrillSettings;
use super::filter::{ListArgs, StatusOf};
use super::finish::Finish;
use super::kafka_options::{Brokers, Properties, read_secret};
use super::restore_args::LenientArgs;
use super::restore_settings::RestoreTask;
use super::resume::{Again, RunChoice};
pub use super::settings_error::SettingsError;
use super::state_dir::state_dir;
use super::topic_options::{TopicSettings, VerifySettings};
use crate::extract::prostore::Secret;
use crate::journal::Shape;
use crate::model::DeltaNum;

/// Shortest and longest patience with an unload.
const STALL: std::ops::RangeInclusive<i64> = 1..=86_400;

/// What the process was started in.
pub struct Surroundings<'a> {
    /// Variables of the environment.
    pub variable: &'a dyn Fn(&str) -> Option<OsString>,
    /// The current folder.
    pub here: &'a Path,
    /// Whether a token or a password was typed on the command line.
    pub secret_typed: bool,
}

/// Everything the command line means.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where the journals are.
    pub state_dir: PathBuf,
    /// Form of what is printed.
    pub output: Output,
    /// What to say before anything is done.
    pub warnings: Vec<String>,
    /// What to tell others at the end.
    pub finish: Finish,
    /// What to do.
    pub task: Task,
}

/// What to do.
#[derive(Clone, Debug)]
pub enum Task {
    /// A fresh run.
    Backup(Box<BackupSettings>),
    /// Bring a datamart back, or see whether the topic could.
    Restore(RestoreTask),
    /// Prove that a backup restores.
    Drill(Box<DrillSettings>),
    /// See whether a fresh run would work.
    Check(Box<BackupSettings>),
    /// A run that stopped.
    Resume(Box<ResumeSettings>),
    /// Tell of a run, or of the age of backups.
    Status(StatusOf),
    /// Tell of all runs.
    List(ListArgs),
    /// Give a dead run's lock back.
    Unlock(UnlockSettings),
    /// Give a run up.
    Abandon(Box<ResumeSettings>),
    /// Remove what ended runs left behind.
    Cleanup(Box<CleanupSettings>),
    /// Tell of a backup topic.
    TopicShow(TopicSettings),
    /// Look whether a backup topic is sound.
    Verify(VerifySettings),
    /// Back ClickHouse up or restore it.
    #[cfg(feature = "clickhouse")]
    Clickhouse(Box<super::clickhouse_settings::ClickhouseSettings>),
    /// Take tasks from a queue.
    #[cfg(feature = "queue")]
    Worker(Box<super::queue_options::WorkerSettings>),
    /// Send a task to a queue.
    #[cfg(feature = "queue")]
    Send(Box<super::queue_options::SendSettings>),
    /// Print the settings.
    ConfigShow,
    /// Print completions of a shell.
    Completions(clap_complete::Shell),
    /// Print the manual page.
    Man,
    /// Serve the stand-in node.
    #[cfg(feature = "sandbox")]
    Sandbox(Box<crate::sandbox::SandboxArgs>),
    /// Show it all.
    #[cfg(feature = "demo")]
    Demo,
    /// Print the version.
    Version,
}

/// Settings of a fresh run.
#[derive(Clone, Debug)]
pub struct BackupSettings {
    /// Node, datamart, token.
    pub connection: Connection,
    /// The backup topic.
    pub topic: String,
    /// What shapes the content; journalled.
    pub shape: Shape,
    /// What becomes of an unfinished run.
    pub on_unfinished: OnUnfinished,
    /// Whether only to print the plan.
    pub dry_run: bool,
    /// How to get there.
    pub means: Means,
}

/// Settings of a resume.
#[derive(Clone, Debug)]
pub struct ResumeSettings {
    /// Which run.
    pub run: RunChoice,
    /// Node, datamart, token, as far as given again.
    pub connection: Option<Connection>,
    /// The token where no connection was given again.
    pub token: Option<Secret>,
    /// Whether the way of delivery was given again.
    pub delivery_given: bool,
    /// Whether the patience with unloads was given again.
    pub stall_given: bool,
    /// What was given again of the settings that the run keeps.
    pub again: Again,
    /// What a restore may go on in spite of.
    pub lenient: LenientArgs,
    /// Whether only to print what is left.
    pub dry_run: bool,
    /// How to get there; a resume may go other ways than the run.
    pub means: Means,
}

/// Settings of the removal of what ended runs left.
#[derive(Clone, Debug)]
pub struct CleanupSettings {
    /// Node, datamart, token, as far as given: then only runs of that datamart are meant.
    pub connection: Option<Connection>,
    /// The token where no connection was given.
    pub token: Option<Secret>,
    /// A run that no journal here knows, by the first 8 hex digits of its id.
    pub unknown_run: Option<String>,
    /// How to get there.
    pub means: Means,
}

/// Settings that a resume may change: they shape no content.
#[derive(Clone, Debug)]
pub struct Means {
    /// Ways to the brokers.
    pub ways: Ways,
    /// How messages are delivered.
    pub delivery: Delivery,
    /// Patience with an unload that does not grow.
    pub unload_stall: Duration,
    /// Whether finite retention of the backup topic is fine.
    pub accept_retention: bool,
}

/// Ways to the brokers, of backups and restores.
#[derive(Clone, Debug)]
pub struct Ways {
    /// Brokers of the staging and load topics.
    pub core: CoreBrokers,
    /// Brokers of the backup topic.
    pub backup: BackupBrokers,
    /// Client settings for the backup topic's brokers.
    pub properties: Properties,
    /// Client settings for the core brokers.
    pub properties_core: Properties,
    /// Attempts to go on without progress between them.
    pub kafka_retries: u32,
}

/// Where the core brokers are known from (D5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CoreBrokers {
    /// Given.
    Given(Brokers),
    /// From the node's configuration and its ZooKeeper.
    AskNode,
}

/// Where the backup topic's brokers are known from (D5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BackupBrokers {
    /// Given.
    Given(Brokers),
    /// The core brokers.
    Core,
}

/// Settings of `unlock`.
#[derive(Clone, Debug)]
pub struct UnlockSettings {
    /// Node, datamart, token.
    pub connection: Connection,
    /// Where the lock's code is known from.
    pub code: CodeFrom,
    /// Whether an unknown or foreign owner is no obstacle.
    pub yes: bool,
}

/// Where a lock's code is known from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodeFrom {
    /// From the journal here, or the owner marker on the node.
    Traces,
    /// From the day of the month when its run started.
    Day(u8),
}

impl Settings {
    /// Gives the command line its meaning.
    ///
    /// # Errors
    /// [`SettingsError`] for the first rule that is broken.
    pub fn check(args: LowArgs, around: &Surroundings<'_>) -> Result<Self, SettingsError> {
        let mut warnings = Vec::new();
        if around.secret_typed {
            let better = "use --tokenFile, DELTAKEEP_TOKEN or --kafkaProperty NAME=@PATH";
            warnings.push(format!("other users of this host can see what is typed; {better}"));
        }
        let common = &args.common;
        let mut connect = |text: &Option<Secret>| {
            let text = text.as_ref();
            text.map(|text| connection(text, common, around, &mut warnings)).transpose()
        };
        let connection = connect(&common.connect)?;
        let against = match &args.command {
            Command::Verify(verify) => connect(&verify.against)?,
            _ => None,
        };
        let finish = finish(&args.command)?;
        let token = match &connection {
            Some(connection) => connection.token.clone(),
            None => token_elsewhere(&args.common, around, &mut warnings)?,
        };
        let tokens = (against, token);
        let task = task(args.command, connection, tokens, around)?;
        let CommonArgs { state_dir: given, output, .. } = args.common;
        let state_dir = state_dir(given, around.variable, around.here);
        let state_dir = state_dir.ok_or(SettingsError::NoState)?;
        Ok(Self { state_dir, output, warnings, finish, task })
    }
}

fn finish(command: &Command) -> Result<Finish, SettingsError> {
    match command {
        Command::BackupToKafka(args) => Finish::read(&args.finish),
        Command::Resume { again, .. } | Command::Abandon { again, .. } => {
            Finish::read(&again.finish)
        }
        Command::RestoreFromKafka(args) => Finish::read(&args.finish),
        Command::Drill(args) => Finish::read(&args.finish),
        _ => Ok(Finish::default()),
    }
}

fn task(
    command: Command,
    connection: Option<Connection>,
    (against, token): (Option<Connection>, Option<Secret>),
    around: &Surroundings<'_>,
) -> Result<Task, SettingsError> {
    let needed = |connection: Option<Connection>| {
        connection.ok_or(SettingsError::Missing { keyword: "--connect" })
    };
    Ok(match command {
        Command::BackupToKafka(args) => Task::Backup(Box::new(backup(needed(connection)?, &args)?)),
        Command::Check(args) => Task::Check(Box::new(backup(needed(connection)?, &args)?)),
        Command::RestoreFromKafka(args) => Task::Restore(RestoreTask::read(connection, &args)?),
        Command::Drill(args) => {
            Task::Drill(Box::new(DrillSettings::read(needed(connection)?, &args, around.here)?))
        }
        Command::Resume { run, again, lenient } => {
            let asked = resume(run, connection, token, &again)?;
            Task::Resume(Box::new(ResumeSettings { lenient, ..asked }))
        }
        Command::Status(args) => Task::Status(StatusOf::parse(args)?),
        Command::List(args) => Task::List(args),
        Command::Unlock { day, yes } => {
            let code = day.map_or(CodeFrom::Traces, CodeFrom::Day);
            Task::Unlock(UnlockSettings { connection: needed(connection)?, code, yes })
        }
        Command::Abandon { run, again } => {
            Task::Abandon(Box::new(resume(run, connection, token, &again)?))
        }
        Command::Cleanup { unknown_run, again } => {
            if unknown_run.is_some() && connection.is_none() {
                return Err(SettingsError::Missing { keyword: "--connect" });
            }
            let unknown_run = unknown_run.map(digits_of_run).transpose()?;
            let means = means(&again)?;
            Task::Cleanup(Box::new(CleanupSettings { connection, token, unknown_run, means }))
        }
        Command::Topic { what: TopicCommand::Show(args) } => {
            Task::TopicShow(TopicSettings::read(&args)?)
        }
        Command::Verify(args) => Task::Verify(VerifySettings::read(&args, against)?),
        #[cfg(feature = "queue")]
        Command::Worker(args) => {
            Task::Worker(Box::new(super::queue_options::WorkerSettings::check(*args, around)?))
        }
        #[cfg(feature = "queue")]
        Command::Send(args) => {
            Task::Send(Box::new(super::queue_options::SendSettings::check(*args, around)?))
        }
        #[cfg(feature = "clickhouse")]
        Command::Clickhouse(args) => Task::Clickhouse(Box::new(
            super::clickhouse_settings::ClickhouseSettings::check(*args, around)?,
        )),
        Command::Completions { shell } => Task::Completions(shell),
        Command::Man => Task::Man,
        Command::Config { what: ConfigCommand::Show(args) } => {
            Again::read(&args)?;
            means(&args)?;
            Task::ConfigShow
        }
        #[cfg(feature = "sandbox")]
        Command::Sandbox(args) => Task::Sandbox(Box::new(args)),
        #[cfg(feature = "demo")]
        Command::Demo => Task::Demo,
        Command::Version => Task::Version,
    })
}

/// The part of a run's id that its names carry.
fn digits_of_run(text: String) -> Result<String, SettingsError> {
    let well = text.len() == 8 && text.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f'));
    if well { Ok(text) } else { Err(SettingsError::Run { text }) }
}

fn resume(
    run: Option<String>,
    connection: Option<Connection>,
    token: Option<Secret>,
    again: &BackupArgs,
) -> Result<ResumeSettings, SettingsError> {
    Ok(ResumeSettings {
        run: RunChoice::parse(run)?,
        connection,
        token,
        delivery_given: again.delivery.is_some(),
        stall_given: again.unload_stall.is_some(),
        again: Again::read(again)?,
        lenient: LenientArgs::default(),
        dry_run: again.dry_run,
        means: means(again)?,
    })
}

fn backup(connection: Connection, args: &BackupArgs) -> Result<BackupSettings, SettingsError> {
    let again = Again::read(args)?;
    let shape = Shape {
        datasource: again.datasource,
        datasource_fallback: args.datasource_fallback,
        chunk_size: args.chunk_size.unwrap_or(1000),
        threads: args.threads_count.unwrap_or(1),
        partitions: args.partitions_count.unwrap_or(1),
        checksums: !args.no_checksums,
        asked: again.asked,
        fill_gaps: again.fill_gaps,
    };
    Ok(BackupSettings {
        connection,
        topic: again.topic.ok_or(SettingsError::Missing { keyword: "--topic" })?,
        shape,
        on_unfinished: args.on_unfinished.unwrap_or(OnUnfinished::Resume),
        dry_run: args.dry_run,
        means: means(args)?,
    })
}

fn means(args: &BackupArgs) -> Result<Means, SettingsError> {
    Ok(Means {
        ways: Ways::read(&args.brokers)?,
        delivery: args.delivery.unwrap_or(Delivery::Transactions),
        unload_stall: stall(args.unload_stall.as_deref().unwrap_or("120s"))?,
        accept_retention: args.accept_retention,
    })
}

impl Ways {
    /// Reads the options.
    ///
    /// # Errors
    /// [`SettingsError::Kafka`].
    pub fn read(args: &BrokerArgs) -> Result<Self, SettingsError> {
        let list = |keyword, list: &Option<String>| {
            list.as_deref().map(|list| Brokers::parse(keyword, list)).transpose()
        };
        let core = list("--kafkaBrokersCore", &args.kafka_brokers_core)?;
        let backup = list("--kafkaBrokers", &args.kafka_brokers)?;
        Ok(Self {
            core: core.map_or(CoreBrokers::AskNode, CoreBrokers::Given),
            backup: backup.map_or(BackupBrokers::Core, BackupBrokers::Given),
            properties: Properties::parse("--kafkaProperty", &args.kafka_property)?,
            properties_core: Properties::parse("--kafkaPropertyCore", &args.kafka_property_core)?,
            kafka_retries: args.kafka_retries.unwrap_or(10),
        })
    }
}

fn stall(text: &str) -> Result<Duration, SettingsError> {
    let wrong = || SettingsError::Stall { text: text.to_owned() };
    let time: jiff::SignedDuration = text.parse().map_err(|_| wrong())?;
    let time = Some(time).filter(|time| STALL.contains(&time.as_secs()));
    time.and_then(|time| Duration::try_from(time).ok()).ok_or_else(wrong)
}

/// Name of a datasource, lower case.
pub(super) fn datasource(name: &str) -> Result<String, SettingsError> {
    let well = name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if well {
        Ok(name.to_ascii_lowercase())
    } else {
        Err(SettingsError::Datasource { name: name.to_owned() })
    }
}

/// A topic's name by Kafka's own rule.
pub(super) fn topic(topic: &str) -> Result<String, SettingsError> {
    let well = (1..=249).contains(&topic.len())
        && !matches!(topic, "." | "..")
        && topic.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'));
    if well { Ok(topic.to_owned()) } else { Err(SettingsError::Topic { topic: topic.to_owned() }) }
}

/// The deltas asked for: the first, and how many more.
pub(super) fn asked(args: &BackupArgs) -> Result<Option<(DeltaNum, u64)>, SettingsError> {
    match (args.delta_num, args.next_deltas_count) {
        (None, None) => Ok(None),
        (None, Some(_)) => Err(SettingsError::CountAlone),
        (Some(_), _) if args.fill_gaps => Err(SettingsError::GapsOfOne),
        (Some(first), count) => {
            let count = count.unwrap_or(0);
            // A node's numbers are 64 bits with a sign.
            let last = first.checked_add(count).and_then(|last| i64::try_from(last).ok());
            last.ok_or(SettingsError::Range { first, count })?;
            Ok(Some((DeltaNum(first), count)))
        }
    }
}

/// The connection with its token: from the string, from a file, from the environment.
fn connection(
    text: &Secret,
    common: &CommonArgs,
    around: &Surroundings<'_>,
    warnings: &mut Vec<String>,
) -> Result<Connection, SettingsError> {
    let mut connection = Connection::parse(text.expose())?;
    connection.token = match connection.token {
        Some(token) => Some(sendable(token, "--connect")?),
        None => token_elsewhere(common, around, warnings)?,
    };
    Ok(connection)
}

/// The token from a file, else from the environment.
fn token_elsewhere(
    common: &CommonArgs,
    around: &Surroundings<'_>,
    warnings: &mut Vec<String>,
) -> Result<Option<Secret>, SettingsError> {
    match &common.token_file {
        Some(path) => sendable(token_file(path, warnings)?, "--tokenFile").map(Some),
        None => token_variable(around).map(|t| sendable(t, "DELTAKEEP_TOKEN")).transpose(),
    }
}

/// A token that a header can carry.
pub(super) fn sendable(token: Secret, from: &'static str) -> Result<Secret, SettingsError> {
    let text = token.expose();
    if !text.is_empty() && text.chars().all(|c| c.is_ascii_graphic()) {
        Ok(token)
    } else {
        Err(SettingsError::BadToken { from })
    }
}

fn token_variable(around: &Surroundings<'_>) -> Option<Secret> {
    let text = (around.variable)("DELTAKEEP_TOKEN").filter(|text| !text.is_empty())?;
    Some(Secret::new(text.to_string_lossy().trim()))
}

fn token_file(path: &Path, warnings: &mut Vec<String>) -> Result<Secret, SettingsError> {
    use std::os::unix::fs::PermissionsExt;

    let failed = |source| SettingsError::TokenFile { path: path.to_path_buf(), source };
    let mode = std::fs::metadata(path).map_err(failed)?.permissions().mode();
    if mode & 0o077 != 0 {
        let path = path.display();
        warnings.push(format!("other users of this host can read {path}; chmod 600 {path}"));
    }
    let token = read_secret(path).map_err(failed)?;
    Ok(Secret::new(token.expose().trim()))
}
