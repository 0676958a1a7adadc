//! From a drill's journal to its report. Pure.

use std::collections::BTreeSet;

use jiff::Timestamp;

use crate::drill::compare::{self, Outcome, SourceSays, outcome, source_says};
use crate::drill::state::{self, State};
use crate::journal::drill_record::{self as record, Doing, PairCompared, Span, Told};
use crate::journal::{Place as Named, RestoreFact};
use crate::model::{DeltaDate, DeltaNum, Moment};

use super::{
    Bar, Delta, Entities, Failure, Part, Place, Recovery, RecoveryPoint, Report, SCHEMA_VERSION,
    Scratch, Sums, Table, Verdict,
};

impl Report {
    /// What the journal of a drill amounts to.
    pub fn of(state: &State, tool: &str) -> Self {
        let began = state.owned.or(state.started.as_ref().map(|s| s.at)).unwrap_or(Moment(0));
        let pairs = || state.deltas.values().flat_map(|delta| &delta.pairs);
        let entities = state.entities.as_ref().map(entities);
        let (failures, warnings) = (failures(state, entities.as_ref()), warnings(state));
        let started = state.started.clone();
        let shape = started.as_ref().map(|started| started.shape.clone());
        let place = |place: Option<Named>| {
            place.map_or(Place { node: String::new(), datamart: String::new() }, named)
        };
        let at = started.as_ref().map_or(Moment(0), |started| started.at);
        let (ended, dropped) = state.done.unwrap_or((at, false));
        Self {
            schema_version: SCHEMA_VERSION,
            tool: tool.to_owned(),
            run: started.as_ref().map_or(String::new(), |s| s.owner.run.to_string()),
            verdict: if failures.is_empty() { Verdict::Ok } else { Verdict::Failed },
            failures,
            warnings,
            topic: started.map(|started| started.topic).unwrap_or_default(),
            source: place(shape.as_ref().map(|shape| shape.source.clone())),
            scratch: Scratch { place: place(shape.map(|shape| shape.scratch)), dropped },
            started: utc(at.0),
            ended: utc(ended.0),
            executions: 1 + state.resumed.len() as u64,
            recovery: recovery(state, began),
            recovery_point: recovery_point(state, at),
            counts: compare::count(pairs()),
            entities,
            deltas: state.deltas.iter().map(|(num, found)| delta(*num, found)).collect(),
            timeline: state.spans.iter().map(|span| bar(span, began)).collect(),
        }
    }
}

fn named(place: Named) -> Place {
    Place { node: place.node, datamart: place.datamart }
}

/// A time of day; what no calendar has is told as its number.
fn utc(micros: i64) -> String {
    Timestamp::from_microsecond(micros).map_or_else(|_| format!("{micros} us"), |t| t.to_string())
}

fn seconds(from: Moment, to: Moment) -> f64 {
    // A clock that was set back makes no negative times.
    to.0.saturating_sub(from.0).max(0) as f64 / 1e6
}

fn restored(state: &State) -> impl Iterator<Item = (&DeltaNum, &state::Compared)> {
    state.deltas.iter().filter(|(_, delta)| delta.scratch.is_some())
}

fn recovery(state: &State, began: Moment) -> Recovery {
    let seconds = state.restored.as_ref().map_or(0.0, |restored| seconds(began, restored.at));
    let loads = state.spans.iter().filter(|span| span.doing == Doing::Load);
    let (rows, bytes) = loads.fold((0, 0), |sum, span| (sum.0 + span.rows, sum.1 + span.bytes));
    let per_second = |count: u64| if seconds > 0.0 { count as f64 / seconds } else { 0.0 };
    Recovery {
        seconds,
        deltas: restored(state).count() as u64,
        rows,
        bytes,
        rows_per_second: per_second(rows),
        megabytes_per_second: per_second(bytes) / 1e6,
    }
}

fn recovery_point(state: &State, at: Moment) -> Option<RecoveryPoint> {
    let (delta, found) = restored(state).last()?;
    let newest = state.judged.as_ref().and_then(|judged| judged.newest).map(|(num, _)| num);
    Some(RecoveryPoint {
        delta: delta.0,
        date: utc(found.backup.0),
        age_seconds: seconds(Moment(found.backup.0), at),
        newest_of_source: newest.map(|newest| newest.0),
        deltas_behind: newest.map_or(0, |newest| newest.0.saturating_sub(delta.0)),
    })
}

fn failures(state: &State, entities: Option<&Entities>) -> Vec<Failure> {
    let mut failures = Vec::new();
    if let Some(failing) = state.restored.as_ref().and_then(|restored| restored.failing.as_ref()) {
        failures.push(of_restore(failing));
    }
    for (num, delta) in &state.deltas {
        failures.extend(of_delta(*num, delta));
        failures.extend(delta.pairs.iter().filter_map(|pair| of_pair(*num, pair)));
    }
    for (names, what) in entities.into_iter().flat_map(|e| {
        [(&e.missing, "is missing in the scratch"), (&e.unexpected, "is not in the backup")]
    }) {
        let text = |name: &String| failure(Part::Entities, None, None, format!("{name} {what}"));
        failures.extend(names.iter().map(text));
    }
    if failures.is_empty() {
        failures.extend(not_compared(state));
    }
    let pairs = || state.deltas.values().flat_map(|delta| &delta.pairs);
    let proved = pairs().any(|p| matches!(outcome(p), Outcome::Equal | Outcome::EqualToSource));
    // Rows of tables that are gone by the backup's own changes are nothing to be proved.
    let rows: u64 = pairs().filter(|p| p.changes.scratch != Told::NoTable).map(|p| p.rows).sum();
    if failures.is_empty() && rows > 0 && !proved {
        let text = "nothing of what was restored could be compared".to_owned();
        failures.push(failure(Part::Sums, None, None, text));
    }
    failures
}

/// Deltas that were restored and of which nobody looked whether they are equal.
fn not_compared(state: &State) -> Vec<Failure> {
    let chosen = state.restore.iter().filter_map(|fact| match fact {
        RestoreFact::DeltaChosen { delta, .. } => Some(*delta),
        _ => None,
    });
    let left = chosen.filter(|delta| !state.deltas.contains_key(delta));
    let text = |delta| format!("delta {delta} was not compared");
    left.map(|delta| failure(Part::Delta, Some(delta), None, text(delta))).collect()
}

fn failure(part: Part, delta: Option<DeltaNum>, table: Option<String>, text: String) -> Failure {
    let delta = delta.map(|delta| delta.0);
    Failure { part, text, delta, table, partition: None, offset: None }
}

fn of_restore(failing: &record::Failing) -> Failure {
    let table = failing.table.as_ref().map(|table| table.0.clone());
    let (partition, offset) = failing.message.map(|(p, o)| (p.0, o.0)).unzip();
    let text = failing.text.clone();
    Failure { partition, offset, ..failure(Part::Restore, failing.delta, table, text) }
}

fn of_delta(num: DeltaNum, delta: &state::Compared) -> Option<Failure> {
    let text = match delta.scratch {
        Some(date) if date == delta.backup => return None,
        Some(date) => {
            let wanted = utc(delta.backup.0);
            format!(
                "delta {num} is closed at {} in the scratch, at {wanted} in the backup",
                utc(date.0)
            )
        }
        None => format!("delta {num} is not closed in the scratch"),
    };
    Some(failure(Part::Delta, Some(num), None, text))
}

fn of_pair(num: DeltaNum, pair: &PairCompared) -> Option<Failure> {
    let Outcome::Differs { .. } = outcome(pair) else { return None };
    let table = pair.table.0.clone();
    let text = format!("delta {num}, table {table}: {}", reason(pair).unwrap_or_default());
    Some(failure(Part::Sums, Some(num), Some(table), text))
}

/// Why a pair is not equal.
fn reason(pair: &PairCompared) -> Option<String> {
    match outcome(pair) {
        Outcome::Equal | Outcome::EqualToSource => None,
        Outcome::Differs { sum, wanted, found } => {
            Some(format!("{sum} is {found} in the scratch, should be {wanted}"))
        }
        Outcome::NotRestored => Some("the delta was not restored".to_owned()),
        Outcome::NotComparable(reason) => Some(reason),
    }
}

fn warnings(state: &State) -> Vec<String> {
    let pairs = || {
        let with = |(num, delta): (&DeltaNum, &'_ state::Compared)| (*num, delta.pairs.clone());
        state
            .deltas
            .iter()
            .map(with)
            .flat_map(|(num, pairs)| pairs.into_iter().map(move |p| (num, p)))
    };
    let mut warnings = Vec::new();
    let mut tell = |count: usize, what: &str, first: Option<String>| {
        if let Some(first) = first {
            warnings.push(format!("{count} tables of deltas {what}; the first: {first}"));
        }
    };
    let differ: Vec<_> = pairs().filter(|(_, p)| source_says(p) == SourceSays::Differs).collect();
    let name =
        |(num, pair): &(DeltaNum, PairCompared)| format!("delta {num}, table {}", pair.table);
    let what = "are not in the live source any more as they were backed up";
    tell(differ.len(), what, differ.first().map(name));
    let open = |(_, pair): &(DeltaNum, PairCompared)| {
        pair.rows > 0 && matches!(outcome(pair), Outcome::NotComparable(_))
    };
    let open: Vec<_> = pairs().filter(open).collect();
    let first = open.first();
    let why = first.and_then(|(_, pair)| reason(pair)).unwrap_or_default();
    tell(open.len(), "could not be compared", first.map(|pair| format!("{}: {why}", name(pair))));
    for (num, delta) in &state.deltas {
        if delta.source.is_some_and(|source| source != delta.backup) {
            let text = "has another date in the live source: the backup is of another history";
            warnings.push(format!("delta {num} {text}"));
        }
    }
    warnings
}

fn entities(found: &state::Entities) -> Entities {
    let set = |names: &[String]| names.iter().cloned().collect::<BTreeSet<_>>();
    let (backup, scratch) = (set(&found.backup), set(&found.scratch));
    let source = set(&found.source);
    let list =
        |names: std::collections::btree_set::Difference<'_, String>| names.cloned().collect();
    Entities {
        equal: backup.intersection(&scratch).cloned().collect(),
        missing: list(backup.difference(&scratch)),
        unexpected: list(scratch.difference(&backup)),
        newer_in_source: list(source.difference(&backup)),
    }
}

fn delta(num: DeltaNum, found: &state::Compared) -> Delta {
    let date = |date: Option<DeltaDate>| date.map(|date| utc(date.0));
    Delta {
        delta: num.0,
        date: utc(found.backup.0),
        scratch_date: date(found.scratch),
        source_date: date(found.source),
        tables: found.pairs.iter().map(table).collect(),
    }
}

fn table(pair: &PairCompared) -> Table {
    let (source, source_reason) = match source_says(pair) {
        SourceSays::Same => ("same", None),
        SourceSays::Differs => ("differs", None),
        SourceSays::Unknown(why) => ("unknown", Some(why)),
    };
    Table {
        table: pair.table.0.clone(),
        rows: pair.rows,
        outcome: compare::word(&outcome(pair)),
        reason: reason(pair),
        source,
        source_reason,
        exact: pair.exact,
        check_sum: sums(&pair.changes),
        check_sum_snapshot: sums(&pair.snapshot),
    }
}

fn sums(sums: &record::Sums) -> Sums {
    let text = |told: &Told| match told {
        Told::Sum(sum) => Some(sum.clone()),
        _ => None,
    };
    let (manifest, scratch) = (text(&sums.manifest), text(&sums.scratch));
    Sums { manifest, scratch, source: text(&sums.source) }
}

fn bar(span: &Span, began: Moment) -> Bar {
    Bar {
        doing: match span.doing {
            Doing::Delta => "delta",
            Doing::Fill => "fill",
            Doing::Load => "load",
            Doing::RolledBack => "rolledBack",
        },
        delta: span.delta.0,
        table: span.table.as_ref().map(|table| table.0.clone()),
        from: seconds(began, span.from),
        seconds: seconds(span.from, span.to),
        rows: span.rows,
        bytes: span.bytes,
    }
}
