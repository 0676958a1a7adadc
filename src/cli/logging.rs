//! Where log lines go: to stderr by -v, and into a file by --logFile. Owns the subscriber. Secrets
//! are not filtered here: they have no Display and a Debug that hides them.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use tracing::Level;
use tracing::level_filters::LevelFilter;
use tracing_appender::non_blocking::WorkerGuard;
use tracing_appender::rolling::{RollingFileAppender, Rotation};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::prelude::*;

/// Why logging cannot start.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// The path names no file.
    #[error("--logFile {} names no file", path.display())]
    NoFile {
        /// The path.
        path: PathBuf,
    },
    /// The file cannot be made.
    #[error("--logFile {}: {reason}", path.display())]
    CannotOpen {
        /// The path.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
}

/// Writes the last lines of the log file when it is dropped.
#[must_use = "the log file ends with this"]
pub struct LogGuard {
    _file: Option<WorkerGuard>,
}

/// Starts logging, for the whole process.
///
/// # Errors
/// [`LoggingError`] where the file cannot be made; nothing is logged then.
pub fn start(verbose: u8, file: Option<&Path>) -> Result<LogGuard, LoggingError> {
    let (writer, guard) = file.map(open).transpose()?.unzip();
    let stderr = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).without_time();
    // Its own complaint about a closed stderr would end the process.
    let stderr = stderr.log_internal_errors(false);
    // Colours are for eyes: a journal or a mail would show their codes.
    let stderr = stderr.with_ansi(std::io::stderr().is_terminal());
    let stderr = stderr.with_target(verbose > 1).with_filter(filter(verbose));
    // A file is read when something went wrong: it has at least what -v shows.
    let file = writer.map(|writer| {
        let layer = tracing_subscriber::fmt::layer().with_writer(writer).with_ansi(false);
        layer.with_filter(filter(verbose.max(1)))
    });
    let subscriber = tracing_subscriber::registry().with(stderr).with(file);
    // A second start in one process, as tests make it, keeps the first subscriber.
    let _ = tracing::subscriber::set_global_default(subscriber);
    Ok(LogGuard { _file: guard })
}

fn open(
    path: &Path,
) -> Result<(tracing_appender::non_blocking::NonBlocking, WorkerGuard), LoggingError> {
    let no_file = || LoggingError::NoFile { path: path.to_path_buf() };
    let name = path.file_name().ok_or_else(no_file)?.to_string_lossy().into_owned();
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let appender = RollingFileAppender::builder()
        .rotation(Rotation::DAILY)
        .filename_prefix(name)
        .build(folder.unwrap_or(Path::new(".")))
        .map_err(|e| LoggingError::CannotOpen {
            path: path.to_path_buf(),
            reason: e.to_string(),
        })?;
    Ok(tracing_appender::non_blocking(appender))
}

/// Our own lines by -v; those of libraries one step behind, so that -v stays readable.
fn filter(verbose: u8) -> Targets {
    let (own, others) = match verbose {
        0 => (Level::WARN, Level::ERROR),
        1 => (Level::INFO, Level::WARN),
        2 => (Level::DEBUG, Level::INFO),
        _ => (Level::TRACE, Level::DEBUG),
    };
    // The client of RabbitMQ warns of messages that come back by quoting them, with the secrets of
    // tasks, and what it has to say about lost connections is said by us.
    Targets::new()
        .with_default(LevelFilter::from(others))
        .with_target("lapin", LevelFilter::OFF)
        .with_target("deltakeep", own)
}
