//! `cleanup`: removes what ended runs had to leave behind, because a connector still wrote to it
//! (D4.12). Goes by the names in the journals' summaries, which stay the truth of what is left; names
//! of a run that no journal here knows only where the operator names that run. Never touches what an
//! unfinished run may need.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::task::JoinSet;
use uuid::Uuid;

use super::backup::{remember_brokers, remembered_connection};
use crate::cli::args::Output;
use crate::cli::connect::Connection;
use crate::cli::console::say;
use crate::cli::exit_code::{ExitCode, Failure};
use crate::cli::report;
use crate::cli::settings::{CleanupSettings, Means};
use crate::cli::stores::{self, Store};
use crate::cli::wiring::{self, WiringError};
use crate::extract::{Discard, Marker, Node, Source, SourceError};
use crate::journal::sled_store::SledJournal;
use crate::load::Target;
use crate::model::{AttemptName, RunId};

/// What became of the names.
#[derive(Debug, Default)]
struct Outcome {
    removed: BTreeSet<String>,
    /// Name, and why it is left.
    left: Vec<(String, String)>,
    /// Runs whose journals were not looked into, because they are not done.
    unfinished: Vec<String>,
}

/// `cleanup`
///
/// # Errors
/// [`ExitCode::Stopped`] where something is left; [`ExitCode::HeldByOther`] where the named run is at
/// work.
pub async fn cleanup(dir: &Path, output: Output, asked: CleanupSettings) -> Result<(), Failure> {
    let stores = stores::all(dir)?;
    let mut outcome = Outcome::default();
    if let Some(digits) = &asked.unknown_run {
        of_unknown_run(&stores, &asked, digits, &mut outcome).await?;
    }
    for store in stores.iter().filter(|store| is_meant(&asked, store)) {
        if store.stage() == "done" {
            of_store(store, &asked, &mut outcome).await?;
        } else {
            outcome.unfinished.push(store.status.run.clone());
        }
    }
    tell(&outcome, output);
    if outcome.left.is_empty() {
        return Ok(());
    }
    Err(Failure {
        code: ExitCode::Stopped,
        message: format!("{} names are left", outcome.left.len()),
        next: "deltakeep cleanup, later".to_owned(),
    })
}

fn is_meant(asked: &CleanupSettings, store: &Store) -> bool {
    asked
        .connection
        .as_ref()
        .is_none_or(|c| c.node == store.status.node && c.datamart.as_str() == store.status.datamart)
}

/// What the ended runs of one journal left.
async fn of_store(
    store: &Store,
    asked: &CleanupSettings,
    outcome: &mut Outcome,
) -> Result<(), Failure> {
    let journal = SledJournal::open(&store.path)?;
    let names: BTreeSet<_> = journal.ended()?.iter().flat_map(|text| quarantined(text)).collect();
    if names.is_empty() {
        return Ok(());
    }
    let connection = match &asked.connection {
        Some(connection) => connection.clone(),
        None => remembered_connection(&store.status, asked.token.clone())?,
    };
    let mut means = asked.means.clone();
    remember_brokers(&mut means.ways, &store.status);
    discard(&connection, &means, names, outcome).await;
    Ok(journal.amend_ended(|text| without(text, &outcome.removed))?)
}

/// Names in a summary that are still in quarantine; only such as an attempt can have.
fn quarantined(summary: &str) -> Vec<AttemptName> {
    let summary: Value = serde_json::from_str(summary).unwrap_or_default();
    let names = summary["quarantined"].as_array().cloned().unwrap_or_default();
    names.iter().filter_map(|name| AttemptName::parse(name.as_str()?)).collect()
}

/// The summary without these names; none where it has none of them.
fn without(summary: &str, gone: &BTreeSet<String>) -> Option<String> {
    let mut summary: Value = serde_json::from_str(summary).ok()?;
    let names = summary.get_mut("quarantined")?.as_array_mut()?;
    let before = names.len();
    names.retain(|name| name.as_str().is_none_or(|name| !gone.contains(name)));
    (names.len() < before).then(|| summary.to_string())
}

/// Removes each name once nobody writes to its topic, all at the same time: whether a topic is quiet
/// takes seconds to know.
async fn discard(
    connection: &Connection,
    means: &Means,
    names: BTreeSet<AttemptName>,
    outcome: &mut Outcome,
) {
    let source = match wiring::unloads(connection, means).await {
        Ok(source) => Arc::new(source),
        Err(error) => {
            let reason = error.to_string();
            outcome.left.extend(names.into_iter().map(|name| (name.0, reason.clone())));
            return;
        }
    };
    let mut tasks = JoinSet::new();
    for name in names {
        let source = source.clone();
        tasks.spawn(async move { (source.discard(&name, false).await, name.0) });
    }
    for (discarded, name) in tasks.join_all().await {
        match discarded {
            Ok(Discard::Gone) => {
                outcome.removed.insert(name);
            }
            Ok(Discard::Quarantined) => {
                outcome.left.push((name, "a connector still writes to it".to_owned()));
            }
            Err(error) => outcome.left.push((name, error.to_string())),
        }
    }
    outcome.left.sort();
}

/// What a run of another state directory, or one whose journal is lost, left in the datamart and on
/// its brokers. Nobody here can know that it is dead: the operator says so by naming it.
async fn of_unknown_run(
    stores: &[Store],
    asked: &CleanupSettings,
    digits: &str,
    outcome: &mut Outcome,
) -> Result<(), Failure> {
    let Some(connection) = &asked.connection else { return Ok(()) };
    let begins = |store: &&Store| store.status.run.starts_with(digits) && store.stage() != "done";
    if let Some(store) = stores.iter().find(begins) {
        let run = &store.status.run;
        return Err(at_work(run, format!("deltakeep resume {run}; or deltakeep abandon {run}")));
    }
    let node = wiring::node(connection)?;
    if let Marker::Of(owner) = node.marker().await.map_err(failed)?
        && owner.run.short() == digits
    {
        let next = "deltakeep unlock --yes, once it is certain that it is dead".to_owned();
        return Err(at_work(&owner.run.to_string(), next));
    }
    let source = wiring::unloads(connection, &asked.means).await?;
    let run = Uuid::parse_str(&format!("{digits}{}", "0".repeat(24))).map(RunId);
    let Ok(run) = run else { return Ok(()) };
    let found = source.leftovers(run).await.map_err(failed)?;
    let names: BTreeSet<_> = found.iter().filter_map(|name| AttemptName::parse(&name.0)).collect();
    for name in &names {
        // Whether it was a backup or a restore nobody knows; one of the two tables is not there.
        if let Err(error) = node.drop_upload(name).await {
            tracing::debug!("no upload external table {name}: {error}");
        }
    }
    discard(connection, &asked.means, names, outcome).await;
    Ok(())
}

fn at_work(run: &str, next: String) -> Failure {
    let message = format!("run {run} is not done: what it made may be in use");
    Failure { code: ExitCode::HeldByOther, message, next }
}

fn failed(error: SourceError) -> Failure {
    report::of_wiring(WiringError::Node(error))
}

fn tell(outcome: &Outcome, output: Output) {
    let Outcome { removed, left, unfinished } = outcome;
    if output == Output::Json {
        let left: Vec<_> =
            left.iter().map(|(name, why)| json!({ "name": name, "reason": why })).collect();
        let document = json!({ "removed": removed, "left": left, "unfinished": unfinished });
        return say(&document.to_string());
    }
    for name in removed {
        say(&format!("{name} is gone"));
    }
    for (name, why) in left {
        say(&format!("{name} is left: {why}"));
    }
    for run in unfinished {
        say(&format!("run {run} is not done; it clears away by itself: deltakeep resume {run}"));
    }
    if removed.is_empty() && left.is_empty() {
        say("Nothing was left behind");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: &str = "deltakeep_12345678_2_5_1_000000ab";

    #[test]
    fn only_names_of_attempts_are_taken_from_a_summary() {
        let summary = json!({ "quarantined": [NAME, "orders", "deltakeep_owner", 7] }).to_string();
        assert_eq!(quarantined(&summary), [AttemptName(NAME.to_owned())]);
        assert_eq!(quarantined("{}"), []);
        assert_eq!(quarantined("not JSON"), []);
    }

    #[test]
    fn what_is_gone_leaves_the_summary_and_nothing_else_changes() {
        let summary = json!({ "run": "r", "quarantined": [NAME, "other"] }).to_string();
        let gone = BTreeSet::from([NAME.to_owned()]);
        let amended =
            without(&summary, &gone).map(|text| serde_json::from_str::<Value>(&text).ok());
        assert_eq!(amended.flatten(), Some(json!({ "run": "r", "quarantined": ["other"] })));
        assert_eq!(without(&summary, &BTreeSet::new()), None);
        assert_eq!(without("{}", &gone), None);
    }
}
