//! `verify`: whether a backup topic holds what was written to it. Owns the reading, the forms in
//! which the findings are printed and what to type next; what is sound is decided in
//! [`crate::verify`].

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::catalog::kafka::KafkaTopic;
use crate::catalog::{Seen, TopicReader};
use crate::cli::args::Output;
use crate::cli::console::say;
use crate::cli::exit_code::{ExitCode, Failure};
use crate::cli::progress::date_text;
use crate::cli::topic_options::VerifySettings;
use crate::cli::wiring::{self, WiringError};
use crate::verify::against;
use crate::verify::{DatamartReport, Finding, Kind, Level, NodeSums, Report, UNSEEN, Verifier};

/// Findings in the text; JSON has all that are kept.
const SHOWN: usize = 100;
/// How often a long reading says how far it is.
const SAY_EVERY: Duration = Duration::from_secs(10);

/// `verify`
pub async fn verify(output: Output, asked: VerifySettings) -> Result<(), Failure> {
    let brokers = wiring::named_brokers(&asked.topic.brokers, &asked.topic.properties)?;
    let admin: Arc<_> = wiring::admin(&brokers)?;
    let topic = KafkaTopic::new(brokers, admin, asked.topic.topic.as_str());
    let state = topic.state().await.map_err(WiringError::Topic)?;
    let state = state.ok_or_else(|| Failure {
        code: ExitCode::Refused,
        message: format!("topic {} does not exist", asked.topic.topic),
        next: "the same command again with another --topic".to_owned(),
    })?;
    let lows: Vec<_> = state.ranges.iter().map(|(low, _)| *low).collect();
    let mut verifier = Verifier::new(asked.asked);
    let mut progress = Progress::default();
    let mut see = |seen: Seen<'_>| {
        progress.tell(&seen);
        verifier.see(seen);
    };
    let ends = topic.scan(&lows, &mut see).await.map_err(WiringError::Topic)?;
    if let Some(from) = verifier.second_reading(&lows, &ends) {
        tracing::info!("some messages are there twice: they are read again and compared");
        let compared = topic.scan(&from, &mut |seen| verifier.compare(seen, &ends)).await;
        compared.map_err(WiringError::Topic)?;
    }
    let mut report = verifier.finish(&lows);
    if let Some(connection) = &asked.against {
        let node = wiring::node(connection)?;
        let compared = against::compare(&node, &mut report).await;
        compared.map_err(WiringError::Node)?;
    }
    match output {
        Output::Json => say(&document(&asked.topic.topic, &report).to_string()),
        Output::Text => lines(&asked.topic.topic, &report).iter().for_each(|line| say(line)),
    }
    verdict(&asked.topic.topic, &report)
}

/// How far a reading is.
struct Progress {
    since: Instant,
    messages: u64,
    bytes: u64,
}

impl Default for Progress {
    fn default() -> Self {
        Self { since: Instant::now(), messages: 0, bytes: 0 }
    }
}

impl Progress {
    fn tell(&mut self, seen: &Seen<'_>) {
        self.messages += 1;
        self.bytes += (seen.key.len() + seen.body.len()) as u64;
        // The clock is not asked for every message.
        if self.messages.is_multiple_of(256) && self.since.elapsed() >= SAY_EVERY {
            self.since = Instant::now();
            tracing::info!("{} messages, {} bytes read", self.messages, self.bytes);
        }
    }
}

/// What the command ends with.
fn verdict(topic: &str, report: &Report) -> Result<(), Failure> {
    if report.is_good() {
        return Ok(());
    }
    let (damages, gaps) = (report.findings.count(Level::Damage), report.findings.count(Level::Gap));
    let first = report.findings.list().next().map(line).unwrap_or_default();
    let broken = report.datamarts.iter().find_map(|of| Some((of, of.broken.first()?)));
    let next = match broken {
        Some((of, delta)) => format!(
            "deltakeep backup_to_kafka --connect HOST:PORT/{} --topic {topic} --deltaNum {delta}",
            of.datamart
        ),
        None if damages == 0 => {
            format!("deltakeep backup_to_kafka --topic {topic} --fillGaps, or verify --deltaFrom N")
        }
        // Where nothing else is wrong, one of the two has other rows than it had.
        None if report.findings.counts().get(&Kind::Sums) == Some(&damages) => {
            format!("deltakeep backup_to_kafka --topic {topic} --deltaNum N, if the node is right")
        }
        None => "a backup into a new --topic; this one cannot be mended in place".to_owned(),
    };
    Err(Failure {
        code: ExitCode::Wanting,
        message: format!("topic {topic}: {damages} damages, {gaps} gaps; first {first}"),
        next,
    })
}

fn lines(topic: &str, report: &Report) -> Vec<String> {
    let Report { partitions, messages, bytes, .. } = report;
    let mut lines =
        vec![format!("Topic {topic}: {partitions} partitions, {messages} messages, {bytes} bytes")];
    if report.passed_over > 0 {
        lines.push(format!("{} messages are of other datamarts", report.passed_over));
    }
    report.datamarts.iter().for_each(|of| lines.extend(datamart_lines(of)));
    lines.extend(report.against.as_ref().map(against_line));
    lines.extend(report.findings.list().take(SHOWN).map(line));
    let all: u64 = report.findings.counts().values().sum();
    if all > 0 {
        let counts = report.findings.counts().iter();
        let counts: Vec<_> = counts.map(|(kind, n)| format!("{} {n}", kind.name())).collect();
        lines.push(format!("Found: {}", counts.join(", ")));
    }
    lines.push(if report.is_good() { "Sound" } else { "NOT SOUND" }.to_owned());
    lines
}

fn datamart_lines(of: &DatamartReport) -> Vec<String> {
    let DatamartReport { datamart, increments, messages, rows, .. } = of;
    let newest = match of.newest() {
        Some((delta, date)) => {
            let date = date_text(date).unwrap_or_else(|| date.to_string());
            format!("newest delta {delta} of {date}")
        }
        None => "no delta is whole".to_owned(),
    };
    let (whole, broken) = (of.whole.len(), of.broken.len());
    let mut lines = vec![format!(
        "Datamart {datamart}: {whole} whole deltas, {broken} not; {newest}; {increments} \
         increments, {messages} messages, {rows} rows"
    )];
    if of.of_other_tools > 0 {
        let (count, unseen) = (of.of_other_tools, UNSEEN.join("; "));
        lines.push(format!("{count} of them are another tool's; not seen in these: {unseen}"));
    }
    lines
}

fn against_line(NodeSums { newest, equal, different, undecided }: &NodeSums) -> String {
    let newest = newest.map_or("none".to_owned(), |delta| delta.to_string());
    format!(
        "CHECK_SUM against the node, its newest delta {newest}: {equal} tables of deltas equal, \
         {different} different, {undecided} not to be told"
    )
}

fn line(finding: &Finding) -> String {
    let Finding { kind, place, text } = finding;
    let (level, place) = (kind.level().name(), place.to_string());
    if place.is_empty() { format!("{level}: {text}") } else { format!("{level}: {place}: {text}") }
}

fn document(topic: &str, report: &Report) -> Value {
    let counts = report.findings.counts().iter();
    let counts: serde_json::Map<_, _> =
        counts.map(|(kind, count)| (kind.name().to_owned(), json!(count))).collect();
    let findings: Vec<_> = report.findings.list().map(finding).collect();
    let datamarts: Vec<_> = report.datamarts.iter().map(datamart).collect();
    json!({
        "topic": topic,
        "ok": report.is_good(),
        "partitions": report.partitions,
        "messages": report.messages,
        "bytes": report.bytes,
        "otherDatamarts": report.passed_over,
        "datamarts": datamarts,
        "against": report.against.as_ref().map(against_document),
        "counts": counts,
        "findings": findings,
    })
}

fn against_document(NodeSums { newest, equal, different, undecided }: &NodeSums) -> Value {
    json!({
        "newest": newest.map(|delta| delta.0),
        "equal": equal,
        "different": different,
        "undecided": undecided,
    })
}

fn datamart(of: &DatamartReport) -> Value {
    let whole: Vec<_> = of.whole.keys().map(|delta| delta.0).collect();
    let broken: Vec<_> = of.broken.iter().map(|delta| delta.0).collect();
    let newest = of.newest();
    json!({
        "datamart": of.datamart.as_str(),
        "whole": whole,
        "broken": broken,
        "newest": newest.map(|(delta, _)| delta.0),
        "newestDate": newest.and_then(|(_, date)| date_text(date)),
        "increments": of.increments,
        "ofOtherTools": of.of_other_tools,
        "unseen": if of.of_other_tools > 0 { UNSEEN } else { &[] },
        "messages": of.messages,
        "bytes": of.bytes,
        "rows": of.rows,
    })
}

fn finding(finding: &Finding) -> Value {
    let Finding { kind, place, text } = finding;
    json!({
        "kind": kind.name(),
        "level": kind.level().name(),
        "partition": place.partition.map(|p| p.0),
        "offset": place.offset.map(|o| o.0),
        "datamart": place.datamart.as_ref().map(|d| d.as_str()),
        "delta": place.delta.map(|d| d.0),
        "increment": place.increment.as_ref().map(|i| i.0.as_str()),
        "table": place.table.as_ref().map(|t| t.0.as_str()),
        "stream": place.stream.map(|s| s.0),
        "chunk": place.chunk.map(|c| c.0),
        "text": text,
    })
}
