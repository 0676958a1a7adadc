//! The metrics file of the end of a command, as Prometheus' textfile collector reads it. Owns the
//! names of the metrics; never serves them.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::finish::Report;
use crate::journal::sled_store::Kind;

type Labels = Vec<(&'static str, String)>;
type Gauges = Family<Labels, Gauge<f64, AtomicU64>>;

/// Writes the file; readers see the old text or the new one, never a part.
///
/// # Errors
/// What the system said.
pub fn write(path: &Path, report: &Report) -> std::io::Result<()> {
    let now = jiff::Timestamp::now().as_second() as f64;
    let text = text(report, now).map_err(std::io::Error::other)?;
    let mut young = path.as_os_str().to_owned();
    young.push(format!(".{}", std::process::id()));
    let young = PathBuf::from(young);
    std::fs::write(&young, text)?;
    std::fs::rename(&young, path)
}

/// The metrics of a report at a time, in seconds since 1970.
///
/// # Errors
/// Where the text cannot be made.
pub fn text(report: &Report, now: f64) -> Result<String, std::fmt::Error> {
    // One host can back up and restore the same datamart and topic.
    let mut registry = Registry::with_prefix(match report.kind {
        Kind::Backup => "deltakeep",
        Kind::Restore => "deltakeep_restore",
        Kind::Drill => "deltakeep_drill",
    });
    let labels: Labels =
        vec![("datamart", report.datamart.clone()), ("topic", report.topic.clone())];
    let mut add = |name: &str, help: &str, value: Option<f64>| {
        let Some(value) = value else { return };
        let family = Gauges::default();
        family.get_or_create(&labels).set(value);
        registry.register(name, help, family);
    };
    let history = report.status.as_ref().map(|status| &status.history);
    let time = |text: Option<&String>| {
        text.and_then(|text| text.parse::<jiff::Timestamp>().ok()).map(|t| t.as_second() as f64)
    };
    let success = time(history.and_then(|history| history.last_success.as_ref()));
    let point = time(history.and_then(|history| history.recovery_point.as_ref()));
    let (rows, bytes) = report.delivered();
    let of_history = |value: fn(&super::stores::History) -> f64| Some(history.map_or(0.0, value));
    add("last_success_timestamp_seconds", "When the backup was last up to date", success);
    add("last_run_timestamp_seconds", "When a command last ended", Some(now));
    add("last_status", "Exit code of the last command", Some(f64::from(report.exit)));
    add("duration_seconds", "How long the last command took", Some(report.seconds));
    add("rows", "Rows delivered by the last command", Some(rows as f64));
    add("bytes", "Bytes delivered by the last command", Some(bytes as f64));
    let behind = report.deltas_behind().map(|deltas| deltas as f64);
    add("deltas_behind", "Closed deltas known to be missing in the topic", behind);
    add("resumes", "Executions of the run after its first", of_history(|h| f64::from(h.resumes)));
    add("lock_held", "1 where the lock was not given back", of_history(|h| h.lock_held.into()));
    let age = point.map(|point| (now - point).max(0.0));
    add("recovery_point_age_seconds", "Age of the newest delta seen complete", age);
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_known_is_left_out_and_the_rest_is_labelled() {
        let report = Report {
            command: "resume",
            kind: Kind::Backup,
            datamart: "shop".into(),
            topic: "keep".into(),
            exit: 5,
            failure: None,
            seconds: 1.5,
            status: None,
            fresh: false,
        };
        let text = text(&report, 100.0).expect("a text");
        for line in [
            "deltakeep_last_status{datamart=\"shop\",topic=\"keep\"} 5.0",
            "deltakeep_duration_seconds{datamart=\"shop\",topic=\"keep\"} 1.5",
            "deltakeep_lock_held{datamart=\"shop\",topic=\"keep\"} 0.0",
        ] {
            assert!(text.contains(line), "{line} is not in {text}");
        }
        assert!(!text.contains("last_success") && !text.contains("deltas_behind"), "{text}");
    }
}
