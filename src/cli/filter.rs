//! Which runs `list` and `status` tell of: by datamart, topic, stage and age. Owns these options
//! and their meaning; reads no store.

use std::time::Duration;

use clap::{Args, ValueEnum};

use super::resume::RunChoice;
use super::settings::SettingsError;
use super::stores::Store;

/// Options of `list`.
#[derive(Clone, Debug, Default, Args)]
pub struct ListArgs {
    /// Which backups.
    #[command(flatten)]
    pub filter: FilterArgs,
    /// Only runs in this stage; may be given several times
    #[arg(long, value_enum)]
    pub stage: Vec<StageName>,
    /// Tell also of the runs that ended before, from journals that no run works with
    #[arg(long)]
    pub ended: bool,
}

/// Options of `status`.
#[derive(Clone, Debug, Default, Args)]
pub struct StatusArgs {
    /// The run, or the first letters of its id [default: the newest]
    pub run: Option<String>,
    /// End with 4 where a backup was not brought up to date for so long, e.g. 26h
    #[arg(long = "maxAge", visible_alias = "max-age", value_name = "TIME", conflicts_with = "run")]
    pub max_age: Option<String>,
    /// Which backups.
    #[command(flatten)]
    pub filter: FilterArgs,
}

/// Which backups are meant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub struct FilterArgs {
    /// Only backups of this datamart
    #[arg(long, value_name = "NAME")]
    pub datamart: Option<String>,
    /// Only backups into this topic
    #[arg(long, value_name = "TOPIC")]
    pub topic: Option<String>,
}

impl FilterArgs {
    /// Whether a store is meant. Names of datamarts know no case.
    pub fn fits(&self, store: &Store) -> bool {
        let status = &store.status;
        let datamart = self.datamart.as_ref();
        datamart.is_none_or(|name| name.eq_ignore_ascii_case(&status.datamart))
            && self.topic.as_ref().is_none_or(|topic| *topic == status.topic)
    }
}

/// A stage as it is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum StageName {
    /// A process works on it.
    Running,
    /// Its process is gone.
    Killed,
    /// It ended before its end.
    Stopped,
    /// It is done.
    Done,
}

impl StageName {
    /// As stores call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Killed => "killed",
            Self::Stopped => "stopped",
            Self::Done => "done",
        }
    }
}

/// What `status` is to tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StatusOf {
    /// Of one run.
    Run(RunChoice, FilterArgs),
    /// Whether backups are younger than this.
    Age(Duration, FilterArgs),
}

impl StatusOf {
    /// Reads the options.
    ///
    /// # Errors
    /// [`SettingsError`] for a run that is no id and an age that is no time.
    pub fn parse(args: StatusArgs) -> Result<Self, SettingsError> {
        let Some(text) = args.max_age else {
            return Ok(Self::Run(RunChoice::parse(args.run)?, args.filter));
        };
        let time: Option<jiff::SignedDuration> = text.parse().ok();
        let time = time.and_then(|time| Duration::try_from(time).ok()).filter(|t| !t.is_zero());
        time.map(|time| Self::Age(time, args.filter)).ok_or(SettingsError::Age { text })
    }
}
