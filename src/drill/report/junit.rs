//! The report as JUnit XML: each delta, table and name is a test case, so that a build server shows
//! what failed. What could not be compared is skipped, never passed.

use super::markup::Markup;
use super::{Delta, Entities, Failure, Part, Report, Table};

struct Case {
    class: String,
    name: String,
    seconds: f64,
    failure: Option<String>,
    skipped: Option<String>,
}

impl Case {
    fn new(class: &str, name: String) -> Self {
        Self { class: class.to_owned(), name, seconds: 0.0, failure: None, skipped: None }
    }
}

/// The XML text.
pub fn junit(report: &Report) -> String {
    let deltas = report.deltas.iter().map(|delta| of_delta(report, delta)).collect();
    let tables = report.deltas.iter();
    let tables = tables.flat_map(|d| d.tables.iter().map(|table| of_table(d.delta, table)));
    let suites: Vec<(&str, Vec<Case>)> = vec![
        ("restore", vec![of_restore(report)]),
        ("deltas", deltas),
        ("entities", report.entities.as_ref().map(of_entities).unwrap_or_default()),
        ("tables", tables.chain(of_everything(report)).collect()),
    ];
    let all = || suites.iter().flat_map(|(_, cases)| cases);
    let seconds = format!("{:.3}", report.recovery.seconds);
    let mut xml = Markup::xml();
    let failures = all().filter(|case| case.failure.is_some()).count().to_string();
    xml.open(
        "testsuites",
        &[
            ("name", "deltakeep drill"),
            ("tests", &all().count().to_string()),
            ("failures", &failures),
            ("errors", "0"),
            ("time", &seconds),
        ],
    );
    for (name, cases) in &suites {
        suite(&mut xml, report, name, cases);
    }
    xml.finish()
}

fn suite(xml: &mut Markup, report: &Report, name: &str, cases: &[Case]) {
    let count =
        |fits: fn(&Case) -> bool| cases.iter().filter(|case| fits(case)).count().to_string();
    let seconds: f64 = cases.iter().map(|case| case.seconds).sum();
    xml.open(
        "testsuite",
        &[
            ("name", name),
            ("tests", &cases.len().to_string()),
            ("failures", &count(|case| case.failure.is_some())),
            ("errors", "0"),
            ("skipped", &count(|case| case.skipped.is_some())),
            ("time", &format!("{seconds:.3}")),
            ("timestamp", report.started.trim_end_matches('Z')),
        ],
    );
    for case in cases {
        let seconds = format!("{:.3}", case.seconds);
        xml.open(
            "testcase",
            &[("classname", &case.class), ("name", &case.name), ("time", &seconds)],
        );
        if let Some(text) = &case.failure {
            xml.leaf("failure", &[("message", text), ("type", name)], text);
        }
        if let Some(text) = &case.skipped {
            xml.void("skipped", &[("message", text)]);
        }
        xml.close();
    }
    xml.close();
}

fn texts(report: &Report, part: Part) -> impl Iterator<Item = &Failure> {
    report.failures.iter().filter(move |failure| failure.part == part)
}

fn of_restore(report: &Report) -> Case {
    let name = format!("topic {} into {}", report.topic, report.scratch.place.datamart);
    Case {
        seconds: report.recovery.seconds,
        failure: texts(report, Part::Restore).next().map(|failure| failure.text.clone()),
        ..Case::new("restore", name)
    }
}

fn of_delta(report: &Report, delta: &Delta) -> Case {
    let mut failed =
        texts(report, Part::Delta).filter(|failure| failure.delta == Some(delta.delta));
    let spans = report.timeline.iter();
    let spans = spans.filter(|bar| bar.doing == "delta" && bar.delta == delta.delta);
    Case {
        seconds: spans.map(|bar| bar.seconds).sum(),
        failure: failed.next().map(|failure| failure.text.clone()),
        ..Case::new("deltas", format!("delta {} closed at {}", delta.delta, delta.date))
    }
}

fn of_entities(entities: &Entities) -> Vec<Case> {
    let equal = entities.equal.iter().map(|name| (name, None));
    let missing = entities.missing.iter().map(|name| (name, Some("is missing in the scratch")));
    let more = entities.unexpected.iter().map(|name| (name, Some("is not in the backup")));
    let case = |(name, failure): (&String, Option<&str>)| Case {
        failure: failure.map(|what| format!("{name} {what}")),
        ..Case::new("entities", name.clone())
    };
    equal.chain(missing).chain(more).map(case).collect()
}

fn of_table(delta: u64, table: &Table) -> Case {
    let reason = table.reason.clone().unwrap_or_default();
    let failed = matches!(table.outcome, "differs" | "notRestored");
    let skipped = table.outcome == "notComparable";
    Case {
        failure: failed.then(|| reason.clone()),
        skipped: skipped.then_some(reason),
        ..Case::new(&format!("delta {delta}"), table.table.clone())
    }
}

/// What failed about all tables together.
fn of_everything(report: &Report) -> impl Iterator<Item = Case> {
    let of_all = texts(report, Part::Sums).filter(|failure| failure.table.is_none());
    of_all.map(|failure| Case {
        failure: Some(failure.text.clone()),
        ..Case::new("tables", "everything".to_owned())
    })
}
