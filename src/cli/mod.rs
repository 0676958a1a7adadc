//! The command line: what was typed, what it means, and what the process ends with. The only place
//! that reads the environment, the clock and the terminal. Never decides how a backup is made.

pub mod args;
mod commands;
pub mod config;
pub mod connect;
mod console;
pub mod exit_code;
pub mod filter;
pub mod finish;
pub mod kafka_options;
pub mod logging;
mod metrics;
mod progress;
mod report;
pub mod resume;
pub mod settings;
mod signals;
pub mod state_dir;
mod stores;
pub mod topic_options;
pub(crate) mod wiring;

use std::ffi::OsString;

use self::config::{Words, WordsError};
use self::connect::{mask, tells_secret};
use self::exit_code::{ExitCode, Failure};
use self::settings::{Settings, Surroundings};

/// Runs the command that the process was started with.
pub fn main() -> std::process::ExitCode {
    let argv: Vec<_> = std::env::args_os().collect();
    let done = match config::read(&argv) {
        Ok(words) => run(words, &argv),
        Err(WordsError::Words(error)) => return told_by_clap(&error).into(),
        Err(WordsError::File(error)) => Err(error.into()),
    };
    match done {
        Ok(()) => ExitCode::Done.into(),
        Err(failure) => {
            eprintln!("deltakeep: {}\nnext: {}", failure.message, failure.next);
            failure.code.into()
        }
    }
}

/// Prints help, or what is wrong with the command line. Clap quotes what it does not understand,
/// and that can be a connection string.
fn told_by_clap(error: &clap::Error) -> ExitCode {
    if error.use_stderr() {
        eprint!("{}", mask(&error.render().to_string()));
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

/// The token that the environment holds, for runs that are found again without `--connect`.
fn token_of_environment() -> Option<crate::extract::prostore::Secret> {
    let text = std::env::var("DELTAKEEP_TOKEN").ok()?;
    let text = text.trim();
    (!text.is_empty()).then(|| crate::extract::prostore::Secret::new(text))
}
