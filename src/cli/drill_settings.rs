//! What the command line of a drill means. Owns its rules; connects to nothing.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::args::{Delivery, OnUnfinished};
use super::connect::Connection;
use super::drill_args::DrillArgs;
use super::settings::{BackupSettings, Means, SettingsError, Ways, sendable, topic};
use crate::journal::{RestoreShape, Shape};

/// Settings of a drill.
#[derive(Clone, Debug)]
pub struct DrillSettings {
    /// The live source.
    pub source: Connection,
    /// The scratch.
    pub scratch: Connection,
    /// The backup topic.
    pub topic: String,
    /// What shapes the restore.
    pub restore: RestoreShape,
    /// The scratch stays.
    pub keep: bool,
    /// Folder of the reports.
    pub report: Option<PathBuf>,
    /// The backup that is made first.
    pub backup: Option<Box<BackupSettings>>,
    /// What becomes of an unfinished drill.
    pub on_unfinished: OnUnfinished,
    /// How to get there.
    pub ways: Ways,
}

impl DrillSettings {
    /// Reads the options; `here` is what a folder without a root begins at.
    ///
    /// # Errors
    /// [`SettingsError`] for the first rule that is broken.
    pub fn read(source: Connection, args: &DrillArgs, here: &Path) -> Result<Self, SettingsError> {
        let missing = |keyword| SettingsError::Missing { keyword };
        let ways = Ways::read(&args.brokers)?;
        let topic = topic(args.topic.as_deref().ok_or(missing("--topic"))?)?;
        let target = args.target.as_ref().ok_or(missing("--target"))?;
        let mut scratch = Connection::parse(target.expose()).map_err(SettingsError::Target)?;
        scratch.token = match scratch.token {
            Some(token) => Some(sendable(token, "--target")?),
            None => source.token.clone(),
        };
        let threads = args.threads_count.unwrap_or(1);
        let restore = RestoreShape {
            source: source.datamart.to_string(),
            target: scratch.datamart.to_string(),
            threads,
            partitions: args.partitions_count.unwrap_or(1),
            message_limit: None,
            datasource: None,
            accept_differences: true,
        };
        let backup = args.backup.then(|| Box::new(backup(&source, &topic, threads, &ways)));
        Ok(Self {
            source,
            scratch,
            topic,
            restore,
            keep: args.keep,
            report: args.report.as_ref().map(|folder| here.join(folder)),
            backup,
            on_unfinished: args.on_unfinished.unwrap_or(OnUnfinished::Resume),
            ways,
        })
    }
}

/// The backup of what is new, with the defaults of the command.
fn backup(source: &Connection, topic: &str, threads: u32, ways: &Ways) -> BackupSettings {
    BackupSettings {
        connection: source.clone(),
        topic: topic.to_owned(),
        shape: Shape {
            datasource: None,
            datasource_fallback: false,
            chunk_size: 1000,
            threads,
            partitions: 1,
            checksums: true,
            asked: None,
            fill_gaps: false,
        },
        on_unfinished: OnUnfinished::Resume,
        dry_run: false,
        means: Means {
            ways: ways.clone(),
            delivery: Delivery::Transactions,
            unload_stall: Duration::from_secs(120),
            accept_retention: false,
        },
    }
}
