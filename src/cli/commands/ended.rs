//! Runs that came to their end, as their journals remember them. Owns how a summary is found and told
//! again; touches no node and no topic.

use serde_json::Value;

use crate::cli::args::Output;
use crate::cli::console::say;
use crate::cli::exit_code::{ExitCode, Failure};
use crate::cli::stores::Store;
use crate::journal::sled_store::SledJournal;

/// Summaries of the runs that ended, oldest first; none where the journal is in use. A run that
/// was killed keeps its journal untouched for its resume.
pub fn summaries(store: &Store) -> Option<Vec<Value>> {
    if store.stage() != "done" {
        return None;
    }
    let summaries = SledJournal::open(&store.path).and_then(|journal| journal.ended());
    let summaries = summaries.inspect_err(|error| tracing::warn!("{error}")).ok()?;
    Some(summaries.iter().filter_map(|text| serde_json::from_str(text).ok()).collect())
}

/// What a list says of a summary.
pub fn line(summary: &Value) -> String {
    let text = |field: &str| summary[field].as_str().unwrap_or("-").to_owned();
    let (deltas, rows) = (&summary["deltas"], &summary["rows"]);
    format!("  ended {}: deltas {deltas}, {rows} rows by its last execution", text("run"))
}

/// Tells the summary of a run that came to its end before, and ends as it did: whoever asked for the
/// run may have died before the answer came, and asks again. None where no journal remembers it, or
/// it was given up.
pub fn tell_again(stores: &[Store], run: &str, output: Output) -> Option<Result<(), Failure>> {
    let meant = |summary: &Value| {
        let id = summary["run"].as_str().unwrap_or_default().replace('-', "");
        id.starts_with(run) && summary["abandoned"] != Value::Bool(true)
    };
    let mut found = stores.iter().filter_map(summaries).flatten().filter(meant);
    let (summary, None) = (found.next()?, found.next()) else { return None };
    say(&match output {
        Output::Json => summary.to_string(),
        Output::Text => format!("Run {} is done", summary["run"].as_str().unwrap_or_default()),
    });
    Some(match summary["drill"] == "failed" {
        true => Err(Failure {
            code: ExitCode::Wanting,
            message: "the drill failed".to_owned(),
            next: "read the report (--report); deltakeep verify looks at the topic alone"
                .to_owned(),
        }),
        false => Ok(()),
    })
}
