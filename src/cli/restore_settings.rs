//! What the command line of a restore means. Owns its rules; connects to nothing.

use std::collections::BTreeSet;

use super::args::OnUnfinished;
use super::connect::Connection;
use super::restore_args::{DatesName, RestoreArgs};
use super::settings::{BackupBrokers, SettingsError, Ways, datasource, topic};
use crate::journal::RestoreShape;
use crate::model::{Datamart, DeltaNum, IncrementId};
use crate::restore::{Dates, Wanted};

/// Settings of a restore.
#[derive(Clone, Debug)]
pub struct RestoreSettings {
    /// Node, target datamart, token.
    pub connection: Connection,
    /// The backup topic.
    pub topic: String,
    /// What shapes a fresh run; journalled.
    pub shape: RestoreShape,
    /// Which deltas, by which increments.
    pub wanted: Wanted,
    /// What becomes of dates that the node would refuse.
    pub dates: Dates,
    /// Changes not to be replayed.
    pub skip: BTreeSet<u64>,
    /// What becomes of an unfinished run.
    pub on_unfinished: OnUnfinished,
    /// Whether only to print the plan.
    pub dry_run: bool,
    /// How to get there.
    pub ways: Ways,
}

/// Settings of a look at what a topic lacks.
#[derive(Clone, Debug)]
pub struct GapsSettings {
    /// Node, datamart, token; none where only the topic is asked.
    pub connection: Option<Connection>,
    /// The backup topic.
    pub topic: String,
    /// The datamart in it.
    pub source: Datamart,
    /// How to get there.
    pub ways: Ways,
}

/// What `restore_from_kafka` is to do.
#[derive(Clone, Debug)]
pub enum RestoreTask {
    /// Fill a datamart.
    Restore(Box<RestoreSettings>),
    /// Tell what the topic lacks.
    Gaps(Box<GapsSettings>),
}

impl RestoreTask {
    /// Reads the options.
    ///
    /// # Errors
    /// [`SettingsError`] for the first rule that is broken.
    pub fn read(connection: Option<Connection>, args: &RestoreArgs) -> Result<Self, SettingsError> {
        let missing = |keyword| SettingsError::Missing { keyword };
        let ways = Ways::read(&args.brokers)?;
        let topic = topic(args.topic.as_deref().ok_or(missing("--topic"))?)?;
        let source = args.source_datamart.as_deref().map(Datamart::parse).transpose();
        let source = source.map_err(SettingsError::SourceDatamart)?;
        let asks_node = args.readonly && connection.is_none();
        if asks_node && ways.backup == BackupBrokers::Core {
            return Err(missing("--connect"));
        }
        let of_target = || connection.as_ref().map(|connection| connection.datamart.clone());
        let named = if args.readonly { "--sourceDatamart" } else { "--connect" };
        let source = source.or_else(of_target).ok_or(missing(named))?;
        if args.readonly {
            let settings = GapsSettings { connection, topic, source, ways };
            return Ok(Self::Gaps(Box::new(settings)));
        }
        let connection = connection.ok_or(missing("--connect"))?;
        let (from, to) = (args.delta_from.map(DeltaNum), args.delta.map(DeltaNum));
        if let (Some(from), Some(to)) = (from, to)
            && from > to
        {
            return Err(SettingsError::DeltaRange { from, to });
        }
        let increments = args.increment.iter().map(|id| IncrementId(id.clone())).collect();
        let shape = RestoreShape {
            source: source.to_string(),
            target: connection.datamart.to_string(),
            threads: args.threads_count.unwrap_or(1),
            partitions: args.partitions_count.unwrap_or(1),
            message_limit: args.message_limit,
            datasource: args.datasource_type.as_deref().map(datasource).transpose()?,
            accept_differences: args.lenient.accept_differences,
        };
        Ok(Self::Restore(Box::new(RestoreSettings {
            connection,
            topic,
            shape,
            wanted: Wanted { from, to, increments },
            dates: match args.dates {
                None | Some(DatesName::Keep) => Dates::Keep,
                Some(DatesName::Bump) => Dates::Bump,
            },
            skip: args.lenient.skip_change.iter().copied().collect(),
            on_unfinished: args.on_unfinished.unwrap_or(OnUnfinished::Resume),
            dry_run: args.dry_run,
            ways,
        })))
    }
}
