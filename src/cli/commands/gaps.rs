//! `restore_from_kafka --readonly`: which deltas the topic lacks, up to the newest one that there
//! is. Touches nothing, neither node nor topic.

use serde_json::json;

use crate::catalog::kafka::KafkaTopic;
use crate::catalog::{CatalogError, Seen, TopicReader};
use crate::cli::args::Output;
use crate::cli::console::say;
use crate::cli::exit_code::{ExitCode, Failure};
use crate::cli::report;
use crate::cli::restore_settings::GapsSettings;
use crate::cli::wiring::{self, WiringError};
use crate::extract::prostore::ProstoreNode;
use crate::extract::{Node, SourceError};
use crate::load::Target;
use crate::model::{DeltaDate, DeltaNum, Offset};
use crate::restore::Wanted;
use crate::restore::choose::{NoChoice, choose};
use crate::restore::contents::{Contents, Damage};
use crate::restore::gaps::{self, Report};

/// `restore_from_kafka --readonly`
///
/// # Errors
/// [`ExitCode::Wanting`] where the topic lacks anything.
pub async fn look(output: Output, asked: GapsSettings) -> Result<(), Failure> {
    let GapsSettings { connection, topic: name, source, ways } = asked;
    let (topic, node) = wiring::topic_only(connection.as_ref(), &name, &ways).await?;
    let mut contents = Contents::new(source);
    if !read(&topic, &mut contents).await.map_err(|error| failed(WiringError::Topic(error)))? {
        return Err(Failure {
            code: ExitCode::Refused,
            message: format!("topic {name} does not exist"),
            next: "the same command again with another --topic".to_owned(),
        });
    }
    let dates = match &node {
        Some(node) => dates(node, &contents).await.map_err(|e| failed(WiringError::Node(e)))?,
        None => Vec::new(),
    };
    let report = gaps::report(&contents, &dates);
    let conflict = conflict(&contents, &report);
    say(&match output {
        Output::Json => json(&name, &contents, &report, conflict.as_ref()).to_string(),
        Output::Text => text(&contents, &report, conflict.as_ref()).join("\n"),
    });
    judge(&report, conflict)
}

/// Why no restore could choose among increments, although none is missing.
fn conflict(contents: &Contents, report: &Report) -> Option<NoChoice> {
    let whole = report.gaps.is_empty() && report.newest.is_some();
    let chosen =
        whole.then(|| choose(contents, &Wanted { to: report.newest, ..Wanted::default() }));
    chosen.and_then(Result::err)
}

fn text(contents: &Contents, report: &Report, conflict: Option<&NoChoice>) -> Vec<String> {
    let mut lines = report.lines();
    lines.extend(contents.damage().iter().map(|damage| {
        let Damage { partition, offset, delta, reason } = damage;
        format!("damaged: partition {partition} offset {offset} (delta {delta}): {reason}")
    }));
    lines.extend(conflict.map(ToString::to_string));
    lines
}

fn json(
    topic: &str,
    contents: &Contents,
    report: &Report,
    conflict: Option<&NoChoice>,
) -> serde_json::Value {
    let damage = |damage: &Damage| {
        json!({
            "partition": damage.partition.0,
            "offset": damage.offset.0,
            "delta": damage.delta.0,
            "text": damage.reason,
        })
    };
    let mut document = report.to_json();
    document["topic"] = topic.into();
    document["datamart"] = contents.datamart.as_str().into();
    document["ok"] =
        (report.newest.is_some() && report.gaps.is_empty() && conflict.is_none()).into();
    document["damaged"] = contents.damage().iter().map(damage).collect();
    document["conflict"] = conflict.map(ToString::to_string).into();
    document
}

fn failed(error: WiringError) -> Failure {
    report::of_wiring(error)
}

/// Reads the topic whole; false where there is none.
async fn read(topic: &KafkaTopic, contents: &mut Contents) -> Result<bool, CatalogError> {
    let Some(state) = topic.state().await? else { return Ok(false) };
    let from: Vec<Offset> = state.ranges.iter().map(|(low, _)| *low).collect();
    topic.scan(&from, &mut |seen: Seen<'_>| contents.see(seen)).await?;
    Ok(true)
}

/// The newest closed delta of the datamart, and the dates of those that tell one history from
/// another; none where there is no such datamart.
async fn dates(
    node: &ProstoreNode,
    contents: &Contents,
) -> Result<Vec<(DeltaNum, DeltaDate)>, SourceError> {
    if !node.exists().await? {
        return Ok(Vec::new());
    }
    let Some(mut newest) = node.last_delta().await? else { return Ok(Vec::new()) };
    // GET_DELTA_OK can be stale behind a balancer; GET_DELTA_BY_NUM is not (PROSTORE.md 3).
    while let Some(next) = node.delta(DeltaNum(newest.num.0 + 1)).await? {
        newest = next;
    }
    let mut dates = vec![(newest.num, newest.date)];
    let told = contents.whole();
    for num in [told.first(), told.last()].into_iter().flatten() {
        let found = node.delta(*num).await?;
        dates.extend(found.map(|delta| (delta.num, delta.date)));
    }
    Ok(dates)
}

fn judge(report: &Report, conflict: Option<NoChoice>) -> Result<(), Failure> {
    let wanting = |message: String, next: &str| {
        Err(Failure { code: ExitCode::Wanting, message, next: next.to_owned() })
    };
    match &report.newest {
        None => wanting(
            "the topic holds nothing of this datamart".to_owned(),
            "the same command again with another --topic or --sourceDatamart",
        ),
        Some(_) if report.gaps.is_empty() => match conflict {
            None => Ok(()),
            Some(conflict) => {
                wanting(conflict.to_string(), "deltakeep restore_from_kafka with --increment ID")
            }
        },
        Some(_) => {
            wanting(report.gaps.to_string(), "deltakeep backup_to_kafka --fillGaps on the source")
        }
    }
}
