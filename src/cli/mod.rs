//! The command line: what was typed, what it means, and what the process ends with. The only place
//! that reads the environment, the clock and the terminal. Never decides how a backup is made.

pub mod args;
mod commands;
pub mod connect;
mod console;
pub mod exit_code;
pub mod kafka_options;
pub mod logging;
mod progress;
mod report;
pub mod resume;
pub mod settings;
mod signals;
pub mod state_dir;
mod stores;
pub(crate) mod wiring;

use std::ffi::OsString;

use clap::Parser;

use self::args::{LowArgs, Output};
use self::connect::{mask, tells_secret};
use self::exit_code::{ExitCode, Failure};
use self::settings::{Settings, Surroundings};

/// Runs the command that the process was started with.
pub fn main() -> std::process::ExitCode {
    let argv: Vec<_> = std::env::args_os().collect();
    let args = match LowArgs::try_parse_from(&argv) {
        Ok(args) => args,
        Err(error) => return told_by_clap(&error).into(),
    };
    let output = args.common.output;
    match run(args, &argv) {
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
    eprintln!("deltakeep: {message}\nnext: {next}");
    if output == Output::Json {
        let failure = serde_json::json!({ "code": *code as u8, "message": message, "next": next });
        console::say(&serde_json::json!({ "failure": failure }).to_string());
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

fn run(args: LowArgs, argv: &[OsString]) -> Result<(), Failure> {
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
    for warning in &settings.warnings {
        tracing::warn!("{warning}");
    }
    tracing::debug!(?settings, "started");
    commands::dispatch(settings)
}
