//! `status --maxAge`: whether every backup of this host was brought up to date lately, for
//! monitoring. Owns that judgement; asks no server.

use std::path::Path;
use std::time::Duration;

use serde_json::json;

use crate::cli::args::Output;
use crate::cli::console::say;
use crate::cli::exit_code::{ExitCode, Failure};
use crate::cli::filter::FilterArgs;
use crate::cli::stores::{self, Stage, Store};
use crate::journal::sled_store::Kind;

/// How a backup stands.
struct Age<'a> {
    store: &'a Store,
    seconds: Option<u64>,
    fresh: bool,
}

/// `status --maxAge`
pub fn judge(
    dir: &Path,
    most: Duration,
    filter: &FilterArgs,
    output: Output,
) -> Result<(), Failure> {
    let stores: Vec<_> = stores::all(dir)?
        .into_iter()
        .filter(|s| s.status.kind == Kind::Backup && filter.fits(s))
        .collect();
    let now = jiff::Timestamp::now();
    let ages: Vec<_> = stores.iter().map(|store| age(store, most, now)).collect();
    match output {
        Output::Text => ages.iter().for_each(|age| say(&line(age))),
        Output::Json => {
            let backups: Vec<_> = ages.iter().map(document).collect();
            let fresh = !ages.is_empty() && ages.iter().all(|age| age.fresh);
            let seconds = most.as_secs();
            say(&json!({ "fresh": fresh, "maxAgeSeconds": seconds, "backups": backups })
                .to_string());
        }
    }
    let message = match (ages.iter().filter(|age| !age.fresh).count(), ages.len()) {
        (0, 0) => format!("no backup is known in {}", dir.display()),
        (0, _) => return Ok(()),
        (old, all) => format!("{old} of {all} backups are older than {} s", most.as_secs()),
    };
    let unfinished = ages.iter().any(|age| !age.fresh && age.store.status.stage != Stage::Done);
    let next = if unfinished { "deltakeep resume" } else { "deltakeep backup_to_kafka" };
    Err(Failure { code: ExitCode::Wanting, message, next: next.to_owned() })
}

fn age(store: &Store, most: Duration, now: jiff::Timestamp) -> Age<'_> {
    let then: Option<jiff::Timestamp> = store.last_success().and_then(|text| text.parse().ok());
    let seconds = then.map(|then| now.duration_since(then).as_secs().max(0).unsigned_abs());
    let fresh = seconds.is_some_and(|seconds| seconds <= most.as_secs());
    Age { store, seconds, fresh }
}

fn line(age: &Age<'_>) -> String {
    let status = &age.store.status;
    let word = if age.fresh { "fresh" } else { "old" };
    let when = match age.seconds {
        Some(seconds) => format!("up to date {seconds} s ago"),
        None => "never up to date".to_owned(),
    };
    format!("{word} {} to {}: {when}, {}", status.datamart, status.topic, age.store.stage())
}

fn document(age: &Age<'_>) -> serde_json::Value {
    let status = &age.store.status;
    json!({
        "datamart": status.datamart,
        "topic": status.topic,
        "lastSuccess": age.store.last_success(),
        "ageSeconds": age.seconds,
        "fresh": age.fresh,
        "stage": age.store.stage(),
    })
}
