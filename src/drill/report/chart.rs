//! The time line of the recovery as a picture: a row for each delta, and one for each of its
//! tables, as long as there is room. Owns places and lengths; never any colour.

use std::collections::BTreeMap;

use super::markup::Markup;
use super::{Bar, Report};

/// Most rows that are drawn: a picture with more shows nothing.
const ROWS: usize = 300;
const WIDTH: f64 = 1000.0;
const LEFT: f64 = 190.0;
const ROW: f64 = 18.0;
const TOP: f64 = 26.0;
/// About how many marks the axis has.
const MARKS: f64 = 8.0;

/// Rows of the picture: a delta, then its tables.
type Rows<'a> = Vec<((u64, Option<&'a str>), Vec<&'a Bar>)>;

/// Draws it; false where nothing took time.
pub fn chart(html: &mut Markup, report: &Report) -> bool {
    let all = rows(&report.timeline);
    let Some(end) = report.timeline.iter().map(|bar| bar.from + bar.seconds).reduce(f64::max)
    else {
        return false;
    };
    let end = end.max(report.recovery.seconds).max(1e-3);
    let drawn = shorten(all);
    let height = TOP + drawn.len() as f64 * ROW + 6.0;
    let view = format!("0 0 {WIDTH} {height}");
    let about = format!("What the recovery spent its {end:.1} seconds on, by delta and table");
    html.open(
        "svg",
        &[("id", "timeline"), ("viewBox", &view), ("role", "img"), ("aria-label", &about)],
    );
    axis(html, end, height);
    for (number, (name, bars)) in drawn.iter().enumerate() {
        row(html, TOP + number as f64 * ROW, *name, bars, end);
    }
    html.close();
    true
}

fn rows(bars: &[Bar]) -> Rows<'_> {
    let mut rows: BTreeMap<(u64, Option<&str>), Vec<&Bar>> = BTreeMap::new();
    for bar in bars {
        rows.entry((bar.delta, bar.table.as_deref())).or_default().push(bar);
    }
    rows.into_iter().collect()
}

/// Deltas without their tables where all of it has no room, and the first ones where they have
/// none either; the table below the picture has everything.
fn shorten(mut rows: Rows<'_>) -> Rows<'_> {
    if rows.len() > ROWS {
        rows.retain(|((_, table), _)| table.is_none());
    }
    rows.truncate(ROWS);
    rows
}

fn place(seconds: f64, end: f64) -> f64 {
    LEFT + (WIDTH - LEFT - 10.0) * seconds / end
}

fn axis(html: &mut Markup, end: f64, height: f64) {
    let step = step(end);
    let mut mark = 0.0;
    while mark <= end {
        let x = format!("{:.1}", place(mark, end));
        let bottom = format!("{height:.1}");
        html.void(
            "line",
            &[("class", "grid"), ("x1", &x), ("x2", &x), ("y1", "18"), ("y2", &bottom)],
        );
        let text = format!("{} s", (mark * 1000.0).round() / 1000.0);
        html.leaf("text", &[("class", "mark"), ("x", &x), ("y", "12")], &text);
        mark += step;
    }
}

/// A round distance between marks: 1, 2 or 5 and zeros.
fn step(end: f64) -> f64 {
    let rough = end / MARKS;
    let power = 10f64.powf(rough.log10().floor());
    let factor = [1.0, 2.0, 5.0].into_iter().find(|factor| factor * power >= rough);
    factor.unwrap_or(10.0) * power
}

fn row(html: &mut Markup, top: f64, name: (u64, Option<&str>), bars: &[&Bar], end: f64) {
    let (delta, table) = name;
    let label = table.map_or_else(|| format!("delta {delta}"), shorten_name);
    let (class, indent) = if table.is_some() { ("label", "14") } else { ("label delta", "0") };
    let base = format!("{:.1}", top + ROW - 5.0);
    html.open("g", &[]);
    html.leaf("text", &[("class", class), ("x", indent), ("y", &base)], &label);
    for bar in bars {
        // What is too short to be seen is drawn as a thin line.
        let (x, length) = (place(bar.from, end), (place(bar.seconds, end) - LEFT).max(1.5));
        let height = if table.is_some() { ROW - 8.0 } else { ROW - 4.0 };
        html.open(
            "rect",
            &[
                ("class", bar.doing),
                ("x", &format!("{x:.1}")),
                ("y", &format!("{:.1}", top + (ROW - height) / 2.0)),
                ("width", &format!("{length:.1}")),
                ("height", &format!("{height:.1}")),
            ],
        );
        html.leaf("title", &[], &tip(bar));
        html.close();
    }
    html.close();
}

fn shorten_name(name: &str) -> String {
    match name.char_indices().nth(24) {
        Some((at, _)) => format!("{}\u{2026}", &name[..at]),
        None => name.to_owned(),
    }
}

fn tip(bar: &Bar) -> String {
    let of = bar.table.as_ref().map_or(String::new(), |table| format!(", table {table}"));
    let doing = match bar.doing {
        "fill" => "messages into the load topic",
        "load" => "loaded by the node",
        "rolledBack" => "rolled back",
        _ => "begin to commit",
    };
    let rows = if bar.table.is_some() { format!(", {} rows", bar.rows) } else { String::new() };
    let (from, seconds, delta) = (bar.from, bar.seconds, bar.delta);
    format!("delta {delta}{of}: {doing}, {seconds:.2} s from {from:.2} s on{rows}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_stand_at_round_numbers() {
        for (end, wanted) in [(8.0, 1.0), (9.0, 2.0), (0.05, 0.01), (3000.0, 500.0)] {
            assert!((step(end) - wanted).abs() < 1e-9, "{end}: {}", step(end));
        }
    }

    #[test]
    fn a_long_recovery_is_drawn_by_delta() {
        let bar = |delta, table: Option<String>| Bar {
            doing: "load",
            delta,
            table,
            from: 0.0,
            seconds: 1.0,
            rows: 1,
            bytes: 1,
        };
        let bars = (0..200).flat_map(|delta| {
            [bar(delta, None), bar(delta, Some("a".into())), bar(delta, Some("b".into()))]
        });
        let bars: Vec<Bar> = bars.collect();
        let drawn = shorten(rows(&bars));
        assert_eq!(drawn.len(), 200);
        assert!(drawn.iter().all(|((_, table), _)| table.is_none()));
    }
}
