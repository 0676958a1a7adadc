//! From why a drill came to no verdict to what the process ends with and what to type next, and
//! what a failed one ends with. Every match is exhaustive, as for a backup.

use super::{Signal, code_of_journal, next_of_source, of_restore};
use crate::catalog::CatalogError;
use crate::cli::exit_code::{ExitCode, Failure};
use crate::drill::{Fault, Holder, Refusal, Report, RunError};
use crate::restore;

/// The failure of a drill that came to no verdict. `stopped` is the signal that was received.
pub fn of_drill(error: RunError, stopped: Option<Signal>) -> Failure {
    let message = error.to_string();
    let touched = error.touched;
    let resumable = if touched { ExitCode::Stopped } else { ExitCode::Refused };
    let again = if touched { "deltakeep resume" } else { "the same command again" };
    let once = |what: &str| format!("{again}, once {what}");
    let (code, next) = match error.fault {
        Fault::Refused(refusal) => (ExitCode::Refused, next_of_refusal(&refusal).to_owned()),
        Fault::Held(holder) => (ExitCode::HeldByOther, next_of_holder(&holder).to_owned()),
        Fault::Node(source) => (resumable, next_of_source(&source, again)),
        Fault::Catalog(CatalogError::Unreachable { .. }) => (resumable, once("the brokers answer")),
        Fault::Catalog(CatalogError::Refused { .. }) => {
            (resumable, format!("{again}, with rights to read the topic"))
        }
        Fault::Catalog(CatalogError::Gone { .. }) => (resumable, again.to_owned()),
        Fault::Journal(error) => {
            let next = "deltakeep list; a scratch of a lost journal is dropped by hand".to_owned();
            (code_of_journal(&error, resumable), next)
        }
        Fault::Restore(fault) | Fault::Again(fault) => {
            let error = restore::RunError { fault, touched, complete: false, unreleased: false };
            let failure = of_restore(&error, stopped);
            (failure.code, again.to_owned())
        }
        Fault::Report(_) => (ExitCode::Stopped, once("there is room for the reports")),
        Fault::Stopped => match stopped {
            Some(Signal::Interrupt) | None => (ExitCode::Interrupted, again.to_owned()),
            Some(Signal::Terminate) => (ExitCode::Terminated, again.to_owned()),
        },
    };
    Failure { code, message, next }
}

fn next_of_refusal(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::Source(_) => "the same command again with another datamart in --target",
        Refusal::NoTopic { .. } => "the same command again with another --topic, or with --backup",
    }
}

fn next_of_holder(holder: &Holder) -> &'static str {
    match holder {
        Holder::Others { .. } => {
            "the same command again with a datamart in --target that is not there"
        }
        Holder::MarkerLost(_) => {
            "look who works there; then deltakeep abandon, which leaves the datamart alone"
        }
    }
}

/// A drill whose verdict is that the backup is wanting.
pub fn of_verdict(report: &Report) -> Failure {
    let first = report.failures.first().map_or("", |failure| &failure.text);
    let more = match report.failures.len() {
        0 | 1 => String::new(),
        all => format!(" (and {} more)", all - 1),
    };
    Failure {
        code: ExitCode::Wanting,
        message: format!("the drill failed: {first}{more}"),
        next: "read the report (--report); deltakeep verify looks at the topic alone".to_owned(),
    }
}
