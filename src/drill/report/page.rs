//! The report as one page for people: nothing of it is loaded from elsewhere, and no script runs.

use super::chart::chart;
use super::markup::Markup;
use super::{Delta, Entities, Report, Sums, Table, Verdict};

/// Most tables of deltas in the page that are as they should be; drill.json has all.
const EQUAL: usize = 2000;

const STYLE: &str = "
:root { color-scheme: light dark; --line: #8884; --soft: #8882; --good: #1a7f37; --bad: #c62828;
  --warn: #9a6700; --delta: #8c959f; --fill: #54aeff; --load: #0969da; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 72rem; padding: 1.5rem; }
h1 { font-size: 1.5rem; margin: 0 0 .25rem; } h2 { font-size: 1.15rem; margin: 2rem 0 .5rem; }
p { margin: .25rem 0; } .quiet { opacity: .75; }
.verdict { border-left: .4rem solid; padding: .6rem 1rem; margin: 1rem 0; background: var(--soft); }
.ok, .equal, .equalToSource, .same { color: var(--good); }
.failed, .differs, .notRestored { color: var(--bad); }
.notComparable, .unknown, .warning { color: var(--warn); }
.figures { display: flex; flex-wrap: wrap; gap: .75rem; padding: 0; margin: 1rem 0; }
.figures div { border: 1px solid var(--line); border-radius: .4rem; padding: .5rem .9rem; }
.figures dt { font-size: .8rem; opacity: .75; } .figures dd { margin: 0; font-size: 1.2rem; }
.wide { overflow-x: auto; } table { border-collapse: collapse; width: 100%; font-size: .88rem; }
th, td { text-align: left; padding: .25rem .6rem; border-bottom: 1px solid var(--line);
  vertical-align: top; overflow-wrap: anywhere; }
th { white-space: nowrap; } #entities th { width: 1%; }
.number { text-align: right; font-variant-numeric: tabular-nums; }
td.sum { font-family: ui-monospace, monospace; font-size: .8rem; }
svg { width: 100%; height: auto; } svg text { fill: currentColor; font-size: 11px; }
svg .mark { text-anchor: middle; opacity: .7; } svg .label.delta { font-weight: 600; }
svg .grid { stroke: var(--line); } rect.delta { fill: var(--delta); opacity: .45; }
rect.fill { fill: var(--fill); } rect.load { fill: var(--load); }
rect.rolledBack { fill: var(--bad); }
.key span { display: inline-block; width: .8rem; height: .8rem; margin: 0 .35rem 0 1rem; }
.key .delta { background: var(--delta); } .key .fill { background: var(--fill); }
.key .load { background: var(--load); } .key .rolledBack { background: var(--bad); }
";
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'";

/// The page.
pub fn page(report: &Report) -> String {
    let mut html = Markup::html();
    html.open("html", &[("lang", "en")]);
    head(&mut html, report);
    html.open("body", &[]);
    verdict(&mut html, report);
    figures(&mut html, report);
    list(&mut html, "failures", "What failed", report.failures.iter().map(|f| &f.text[..]));
    list(&mut html, "warnings", "What should be known", report.warnings.iter().map(|w| &w[..]));
    timeline(&mut html, report);
    deltas(&mut html, report);
    tables(&mut html, report);
    if let Some(found) = &report.entities {
        entities(&mut html, found);
    }
    let text =
        format!("deltakeep {}, drill {}. The same in full: drill.json.", report.tool, report.run);
    html.leaf("p", &[("class", "quiet")], &text);
    html.finish()
}

fn head(html: &mut Markup, report: &Report) {
    html.open("head", &[]);
    html.void("meta", &[("charset", "utf-8")]);
    html.void("meta", &[("http-equiv", "Content-Security-Policy"), ("content", POLICY)]);
    html.void("meta", &[("name", "viewport"), ("content", "width=device-width")]);
    html.leaf("title", &[], &format!("Drill of {}", report.topic));
    html.leaf("style", &[], STYLE);
    html.close();
}

fn verdict(html: &mut Markup, report: &Report) {
    let (class, text) = match report.verdict {
        Verdict::Ok => ("verdict ok", "The backup restores, and holds what was backed up."),
        Verdict::Failed => ("verdict failed", "The drill failed."),
    };
    html.leaf("h1", &[], &format!("Drill of backup topic {}", report.topic));
    let (source, scratch) = (&report.source, &report.scratch.place);
    let fate = if report.scratch.dropped { "and dropped" } else { "and kept" };
    let what = format!(
        "{} on {}, restored into {} on {}, compared, {fate}. {} to {}, in {} execution{}.",
        source.datamart,
        source.node,
        scratch.datamart,
        scratch.node,
        report.started,
        report.ended,
        report.executions,
        if report.executions == 1 { "" } else { "s" },
    );
    html.leaf("p", &[("class", "quiet")], &what);
    html.leaf("p", &[("id", "verdict"), ("class", class)], text);
}

fn figures(html: &mut Markup, report: &Report) {
    let recovery = &report.recovery;
    let point = report.recovery_point.as_ref();
    let nothing = || "nothing".to_owned();
    let figures = [
        ("Recovery time", duration(recovery.seconds)),
        ("Recovery point", point.map_or_else(nothing, |p| format!("delta {}", p.delta))),
        ("Age of the recovery point", point.map_or_else(nothing, |p| duration(p.age_seconds))),
        ("Deltas behind the source", point.map_or_else(nothing, |p| p.deltas_behind.to_string())),
        ("Deltas restored", recovery.deltas.to_string()),
        ("Rows", recovery.rows.to_string()),
        ("Rows per second", format!("{:.0}", recovery.rows_per_second)),
        ("MB per second", format!("{:.2}", recovery.megabytes_per_second)),
    ];
    html.open("dl", &[("class", "figures"), ("id", "figures")]);
    for (name, value) in figures {
        html.open("div", &[]);
        html.leaf("dt", &[], name);
        html.leaf("dd", &[], &value);
        html.close();
    }
    html.close();
}

/// As people say it.
fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 60.0 => format!("{s:.1} s"),
        s if s < 3600.0 => format!("{:.0} min {:.0} s", (s / 60.0).floor(), s % 60.0),
        s if s < 172_800.0 => format!("{:.0} h {:.0} min", (s / 3600.0).floor(), s % 3600.0 / 60.0),
        s => format!("{:.0} days", s / 86_400.0),
    }
}

fn list<'a>(html: &mut Markup, id: &str, title: &str, lines: impl Iterator<Item = &'a str>) {
    let mut lines = lines.peekable();
    if lines.peek().is_none() {
        return;
    }
    html.leaf("h2", &[], title);
    html.open("ul", &[("id", id)]);
    for line in lines {
        html.leaf("li", &[], line);
    }
    html.close();
}

fn timeline(html: &mut Markup, report: &Report) {
    html.leaf("h2", &[], "Time line of the recovery");
    if !chart(html, report) {
        html.leaf("p", &[("id", "timeline")], "Nothing was loaded.");
        return;
    }
    html.open("p", &[("class", "key quiet")]);
    for (class, text) in [
        ("delta", "delta, begin to commit"),
        ("fill", "messages into the load topic"),
        ("load", "loaded by the node"),
        ("rolledBack", "rolled back"),
    ] {
        html.leaf("span", &[("class", class)], "");
        html.text(text);
    }
    html.close();
}

fn head_row(html: &mut Markup, names: &[&str]) {
    html.open("thead", &[]);
    html.open("tr", &[]);
    for name in names {
        // Numbers stand right, and so do their names.
        let is_number = matches!(*name, "delta" | "rows" | "seconds");
        html.leaf("th", &[("class", if is_number { "number" } else { "text" })], name);
    }
    html.close();
    html.close();
}

fn deltas(html: &mut Markup, report: &Report) {
    html.leaf("h2", &[], "Deltas");
    html.open("div", &[("class", "wide")]);
    html.open("table", &[("id", "deltas")]);
    head_row(
        html,
        &["delta", "closed by the backup", "in the scratch", "in the source", "rows", "seconds"],
    );
    html.open("tbody", &[]);
    for delta in &report.deltas {
        of_delta(html, report, delta);
    }
    html.close();
    html.close();
    html.close();
}

fn of_delta(html: &mut Markup, report: &Report, delta: &Delta) {
    let class = |date: &Option<String>, missing| match date {
        Some(date) if *date == delta.date => "same",
        Some(_) => "differs",
        None => missing,
    };
    let text = |date: &Option<String>| date.clone().unwrap_or_else(|| "not closed".to_owned());
    let spans = report.timeline.iter();
    let spans = spans.filter(|bar| bar.doing == "delta" && bar.delta == delta.delta);
    let seconds: f64 = spans.map(|bar| bar.seconds).sum();
    let rows: u64 = delta.tables.iter().map(|table| table.rows).sum();
    html.open("tr", &[]);
    html.leaf("td", &[("class", "number")], &delta.delta.to_string());
    html.leaf("td", &[], &delta.date);
    let (scratch, source) = (&delta.scratch_date, &delta.source_date);
    html.leaf("td", &[("class", class(scratch, "notRestored"))], &text(scratch));
    html.leaf("td", &[("class", class(source, "unknown"))], &text(source));
    html.leaf("td", &[("class", "number")], &rows.to_string());
    html.leaf("td", &[("class", "number")], &format!("{seconds:.2}"));
    html.close();
}

fn tables(html: &mut Markup, report: &Report) {
    html.leaf("h2", &[], "Tables by delta");
    let names = ["delta", "table", "rows", "backup and scratch", "live source", "sums"];
    html.open("div", &[("class", "wide")]);
    html.open("table", &[("id", "tables")]);
    head_row(html, &names);
    html.open("tbody", &[]);
    let (mut equal, mut left_out) = (0, 0);
    for delta in &report.deltas {
        for table in &delta.tables {
            let is_equal = table.outcome == "equal" && table.source != "differs";
            equal += usize::from(is_equal);
            match is_equal && equal > EQUAL {
                true => left_out += 1,
                false => of_table(html, delta.delta, table),
            }
        }
    }
    html.close();
    html.close();
    html.close();
    if left_out > 0 {
        let text = format!("{left_out} more are equal; drill.json names them.");
        html.leaf("p", &[("class", "quiet")], &text);
    }
}

fn of_table(html: &mut Markup, delta: u64, table: &Table) {
    let outcome = match table.outcome {
        "equal" => "equal",
        "equalToSource" => "equal to the source; the backup has no sum",
        "differs" => "differs",
        "notRestored" => "not restored",
        _ => "not comparable",
    };
    let with = |text: &str, reason: &Option<String>| match reason {
        Some(reason) => format!("{text}: {reason}"),
        None => text.to_owned(),
    };
    html.open("tr", &[]);
    html.leaf("td", &[("class", "number")], &delta.to_string());
    html.leaf("td", &[], &table.table);
    html.leaf("td", &[("class", "number")], &table.rows.to_string());
    html.leaf("td", &[("class", table.outcome)], &with(outcome, &table.reason));
    html.leaf("td", &[("class", table.source)], &with(table.source, &table.source_reason));
    html.leaf("td", &[("class", "sum")], &sums(table));
    html.close();
}

/// The sum of the scratch, and others only where they differ from it.
fn sums(table: &Table) -> String {
    let one = |name: &str, sums: &Sums| {
        let all = [("", &sums.scratch), ("backup ", &sums.manifest), ("source ", &sums.source)];
        let mut told: Vec<String> = Vec::new();
        for (who, sum) in all.iter().filter_map(|(who, sum)| sum.as_ref().map(|sum| (who, sum))) {
            if told.is_empty() || Some(sum) != sums.scratch.as_ref() {
                told.push(format!("{who}{sum}"));
            }
        }
        (!told.is_empty()).then(|| format!("{name} {}", told.join(", ")))
    };
    let found = [one("changes", &table.check_sum), one("state", &table.check_sum_snapshot)];
    found.into_iter().flatten().collect::<Vec<_>>().join("; ")
}

fn entities(html: &mut Markup, found: &Entities) {
    html.leaf("h2", &[], "Tables and views");
    html.open("table", &[("id", "entities")]);
    html.open("tbody", &[]);
    for (class, title, names) in [
        ("same", "as in the backup", &found.equal),
        ("differs", "missing in the scratch", &found.missing),
        ("differs", "not in the backup", &found.unexpected),
        ("unknown", "newer in the live source", &found.newer_in_source),
    ] {
        if !names.is_empty() {
            html.open("tr", &[]);
            html.leaf("th", &[("class", class)], title);
            html.leaf("td", &[], &names.join(", "));
            html.close();
        }
    }
    html.close();
    html.close();
}
