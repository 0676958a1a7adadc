//! What is printed of a restore: its draft and its account. Owns the wording; asks nothing.

use std::path::Path;

use serde_json::json;

use super::restore::Job;
use crate::cli::args::Output;
use crate::cli::console::say;
use crate::cli::exit_code::Failure;
use crate::cli::progress::date_text;
use crate::cli::stores;
use crate::plan;
use crate::restore::{Draft, Summary};

/// The last lines of a restore that came to its end.
pub(super) fn account(job: &Job, summary: &Summary) {
    if job.output == Output::Json {
        return say(&summary.to_json(&job.topic, &job.shape).to_string());
    }
    for (delta, table) in &summary.findings.unverified {
        tracing::warn!("delta {delta}, table {table}: its sum could not be compared");
    }
    for (delta, table) in &summary.findings.different {
        tracing::warn!("delta {delta}, table {table}: its sum differs from the backup's");
    }
    if !summary.matviews.is_empty() {
        say(&format!(
            "Materialized views refill by themselves; their synchronisation should be off \
             meanwhile: {}",
            summary.matviews.join(", ")
        ));
    }
    for (table, views) in &summary.outside {
        let views: Vec<_> = views.iter().map(String::as_str).collect();
        say(&format!(
            "External or standalone table {table} is not part of a backup: make it by hand; views \
             on it: {}",
            views.join(", ")
        ));
    }
    say("RESTORE is done");
}

/// What `--dryRun` prints.
pub(super) fn draft(job: &Job, draft: &Draft) {
    let (topic, target) = (&job.topic, &job.shape.target);
    if job.output == Output::Json {
        let delta = |(chosen, changes): (&crate::restore::Chosen, &u64)| {
            json!({
                "delta": chosen.delta.0,
                "increment": chosen.increment.0,
                "date": date_text(chosen.date),
                "changesBefore": changes,
            })
        };
        let deltas: Vec<_> = draft.deltas.iter().zip(&draft.changes).map(delta).collect();
        let document = json!({
            "dryRun": true,
            "topic": topic,
            "source": job.shape.source,
            "target": target,
            "deltas": deltas,
            "changesAfter": draft.trailing,
        });
        return say(&document.to_string());
    }
    let deltas: Vec<_> = draft.deltas.iter().map(|chosen| chosen.delta).collect();
    say(&format!("Deltas to restore from topic {topic} into {target}: [{}]", plan::shown(&deltas)));
    let changes = draft.changes.last().copied().unwrap_or(0);
    say(&format!("Schema changes before the last delta: {changes}, after it: {}", draft.trailing));
    if let Some(last) = draft.deltas.last() {
        let date = date_text(last.date).unwrap_or_default();
        say(&format!("State as of delta {}, closed at {date}", last.delta));
    }
    say("Nothing was touched");
}

/// What is left of a restore, by its status.
///
/// # Errors
/// Those of the disk.
pub(super) fn left(path: &Path, output: Output) -> Result<(), Failure> {
    let status = stores::read(path)?.map(|store| store.status);
    let (done, of) = status.map_or((0, 0), |status| (status.deltas_done, status.deltas));
    say(&match output {
        Output::Json => json!({ "dryRun": true, "deltas": of, "deltasDone": done }).to_string(),
        Output::Text => format!("{done} of {of} deltas are complete; the rest would follow"),
    });
    Ok(())
}
