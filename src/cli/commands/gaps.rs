//! `restore_from_kafka --readonly`: which deltas the topic lacks, up to the newest one that there
//! is. Touches nothing, neither node nor topic.

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
use crate::restore::contents::Contents;
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
    say(&match output {
        Output::Json => report.to_json().to_string(),
        Output::Text => report.lines().join("\n"),
    });
    judge(&report)
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

fn judge(report: &Report) -> Result<(), Failure> {
    let wanting = |message: String, next: &str| {
        Err(Failure { code: ExitCode::Wanting, message, next: next.to_owned() })
    };
    match &report.newest {
        None => wanting(
            "the topic holds nothing of this datamart".to_owned(),
            "the same command again with another --topic or --sourceDatamart",
        ),
        Some(_) if report.gaps.is_empty() => Ok(()),
        Some(_) => {
            wanting(report.gaps.to_string(), "deltakeep backup_to_kafka --fillGaps on the source")
        }
    }
}
