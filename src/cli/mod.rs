//! The command line: what was typed, what it means, and what the process ends with. The only place
//! that reads the environment, the clock and the terminal. Never decides how a backup is made.

pub mod args;
#[cfg(feature = "clickhouse")]
pub mod clickhouse_args;
#[cfg(feature = "clickhouse")]
pub mod clickhouse_settings;
mod commands;
pub mod config;
pub mod connect;
mod console;
pub mod drill_args;
mod drill_console;
pub mod drill_files;
pub mod drill_settings;
pub mod exit_code;
pub mod filter;
pub mod finish;
pub mod kafka_options;
pub mod logging;
mod metrics;
mod progress;
#[cfg(feature = "queue")]
mod queue_commands;
#[cfg(feature = "queue")]
pub mod queue_options;
mod report;
pub mod restore_args;
mod restore_console;
pub mod restore_settings;
pub mod resume;
#[cfg(feature = "queue")]
mod served;
pub mod settings;
mod settings_error;
mod signals;
pub mod state_dir;
mod stores;
pub mod topic_options;
#[doc(hidden)]
pub mod wiring;

use std::ffi::OsString;

use self::args::Output;
use self::config::{Words, WordsError};
use self::connect::{mask_typed, tells_secret};
use self::exit_code::{ExitCode, Failure};
use self::settings::{Settings, Surroundings};

/// Runs the command that the process was started with.
pub fn main() -> std::process::ExitCode {
    let argv: Vec<_> = std::env::args_os().collect();
    let words = match config::read(&argv) {
        Ok(words) => words,
        Err(WordsError::Words(error)) => return told_by_clap(&error, &argv).into(),
        // Which form was asked for may stand in the very file that cannot be read.
        Err(WordsError::File(error)) => return ended(Err(error.into()), Output::Text),
    };
    let output = words.args.common.output;
    ended(run(words, &argv), output)
}

fn ended(done: Result<(), Failure>, output: Output) -> std::process::ExitCode {
    match done {
        Ok(()) => ExitCode::Done.into(),
        Err(failure) => {
            tell_failure(&failure, output);
            failure.code.into()
        }
    }
}

/// People read stderr; programs that asked for JSON get their one document all the same.
fn tell_failure(failure: &Failure, output: Output) {
    let Failure { code, message, next } = failure;
    console::note(&format!("deltakeep: {message}\nnext: {next}"));
    // A check that was found wanting has printed its document already.
    if output == Output::Json && !console::has_said() {
        let failure = serde_json::json!({ "code": *code as u8, "message": message, "next": next });
        console::say(&serde_json::json!({ "failure": failure }).to_string());
    }
}

/// Prints help, or what is wrong with the command line. Clap quotes what it does not understand,
/// and that can be a connection string.
fn told_by_clap(error: &clap::Error, argv: &[OsString]) -> ExitCode {
    if error.use_stderr() {
        eprint!("{}", mask_typed(&error.render().to_string(), argv));
        ExitCode::Usage
    } else {
        print!("{}", error.render());
        ExitCode::Done
    }
}

fn run(words: Words, argv: &[OsString]) -> Result<(), Failure> {
    let Words { args, settings: shown, warnings } = words;
    let log = logging::start(args.common.verbose, args.common.log_file.as_deref());
    let _log = log.map_err(|error| Failure {
        code: ExitCode::Usage,
        message: error.to_string(),
        next: "the command again with another --logFile".to_owned(),
    })?;
    let here = std::env::current_dir().unwrap_or_default();
    let secret_typed = argv.iter().any(|word| tells_secret(&word.to_string_lossy()));
    let variable = |name: &str| std::env::var_os(name);
    let around = Surroundings { variable: &variable, here: &here, secret_typed };
    let settings = Settings::check(args, &around)?;
    for warning in warnings.iter().chain(&settings.warnings) {
        tracing::warn!("{warning}");
    }
    tracing::debug!(?settings, "started");
    commands::dispatch(settings, &shown)
}
