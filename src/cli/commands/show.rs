//! `version`, `list` and `status`: what is known here of runs, without asking anybody. Owns the
//! wording; changes nothing.

use std::path::Path;

use serde_json::json;

use super::ended;
use crate::cli::args::Output;
use crate::cli::console::say;
use crate::cli::exit_code::Failure;
use crate::cli::filter::{FilterArgs, ListArgs};
use crate::cli::resume::RunChoice;
use crate::cli::stores::{self, ChoiceError, Store};

/// `version`
pub fn version(output: Output) -> Result<(), Failure> {
    let version = env!("CARGO_PKG_VERSION");
    say(&match output {
        Output::Text => format!("deltakeep {version}"),
        Output::Json => json!({ "deltakeep": version }).to_string(),
    });
    Ok(())
}

/// `list`: the newest run of each journal, newest first.
pub fn list(dir: &Path, asked: &ListArgs, output: Output) -> Result<(), Failure> {
    let meant = |store: &Store| {
        let stage = store.stage();
        let any = asked.stage.is_empty() || asked.stage.iter().any(|name| name.name() == stage);
        any && asked.filter.fits(store)
    };
    let stores: Vec<_> = stores::all(dir)?.into_iter().filter(meant).collect();
    if output == Output::Json {
        let one = |store: &Store| {
            let mut document = document(store);
            if asked.ended {
                document["ended"] = ended::summaries(store).into();
            }
            document
        };
        let runs: Vec<_> = stores.iter().map(one).collect();
        say(&json!({ "runs": runs }).to_string());
        return Ok(());
    }
    if stores.is_empty() {
        say(&format!("No runs in {}", dir.display()));
    }
    for store in &stores {
        say(&line(store));
        if asked.ended {
            ended::summaries(store).iter().flatten().for_each(|summary| say(&ended::line(summary)));
        }
    }
    Ok(())
}

/// `status`: one run, the only unfinished one, or the newest.
pub fn status(
    dir: &Path,
    run: &RunChoice,
    filter: &FilterArgs,
    output: Output,
) -> Result<(), Failure> {
    let stores: Vec<_> = stores::all(dir)?.into_iter().filter(|s| filter.fits(s)).collect();
    let store = match run {
        RunChoice::Named(run) => stores::named(&stores.iter().collect::<Vec<_>>(), run, dir)?,
        RunChoice::Obvious => match stores::unfinished(&stores, run, dir) {
            Ok(store) => store,
            Err(ChoiceError::None { .. }) if !stores.is_empty() => stores[0].clone(),
            Err(error) => return Err(error.into()),
        },
    };
    say(&match output {
        Output::Json => document(&store).to_string(),
        Output::Text => text(&store),
    });
    Ok(())
}

fn document(store: &Store) -> serde_json::Value {
    let mut document = serde_json::to_value(&store.status).unwrap_or_default();
    document["stage"] = store.stage().into();
    document["journal"] = store.path.display().to_string().into();
    document
}

fn line(store: &Store) -> String {
    let status = &store.status;
    if status.run.is_empty() {
        return format!("no run {} {}: nothing was new", store.stage(), status.road());
    }
    format!(
        "{} {} {}: {} of {} deltas, started {}",
        status.run,
        store.stage(),
        status.road(),
        status.deltas_done,
        status.deltas,
        status.started
    )
}

fn text(store: &Store) -> String {
    let status = &store.status;
    let mut lines = vec![
        line(store),
        format!("node {}, brokers {}", status.node, status.kafka_brokers),
        format!("rows {}, bytes {} by its last execution", status.rows, status.bytes),
        format!("last sign of life {}", status.updated),
        format!("journal {}", store.path.display()),
    ];
    if let Some(point) = &status.history.recovery_point {
        lines.push(format!("recovery point {point}: the newest delta seen complete"));
    }
    if let Some(time) = store.last_success() {
        lines.push(format!("last up to date {time}"));
    }
    for setting in &status.history.retention {
        let topic = &status.topic;
        lines.push(format!("topic {topic} has {setting}: its oldest increments will vanish"));
    }
    if let Some(failure) = &status.failure {
        lines.push(format!("stopped: {failure}"));
    }
    if matches!(store.stage(), "stopped" | "killed") {
        lines.push(format!("next: deltakeep resume {}", status.run));
    }
    lines.join("\n")
}
