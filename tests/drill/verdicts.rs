//! What a drill says of backups that are wanting.

use deltakeep::drill::report::{Part, Report, Verdict};
use deltakeep::model::DeltaNum;
use deltakeep::testing::{Store, Stored};

use super::scenario::Scenario;

fn parts(report: &Report) -> Vec<Part> {
    report.failures.iter().map(|failure| failure.part).collect()
}

/// A table with rows in a delta: the newest there is.
fn table_of(scenario: &Scenario) -> (DeltaNum, String) {
    let history = &scenario.history;
    let found = history.deltas.iter().rev().find_map(|delta| {
        let mut names = history.tables.keys();
        let filled = |name: &&String| !history.increment(delta.num, name).is_empty();
        names.find(filled).map(|name| (delta.num, name.clone()))
    });
    found.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_damaged_message_fails_the_drill_and_is_named() {
    let mut failed = 0;
    for seed in (1..80).step_by(4) {
        let mut scenario = Scenario::filled(seed).await;
        let place = {
            let mut inner = scenario.memory.lock();
            let partition = inner.topic.iter().position(|messages| !messages.is_empty()).unwrap();
            let messages = &mut inner.topic[partition];
            let at = messages.iter().position(|m| matches!(m, Stored::Visible(_))).unwrap();
            let Stored::Visible(message) = &mut messages[at] else { unreachable!() };
            let end = message.body.len() - 20;
            message.body[end] ^= 1;
            (partition as i32, at as i64)
        };
        let report = scenario.finish().await;
        assert_eq!(report.verdict, Verdict::Failed, "seed {seed}");
        assert_eq!(parts(&report)[0], Part::Restore, "seed {seed}");
        let named = format!("partition {} offset {}", place.0, place.1);
        assert!(report.failures[0].text.contains(&named), "{:?}", report.failures[0]);
        scenario.require_gone();
        failed += 1;
    }
    assert_eq!(failed, 20);
}

/// Somebody writes to the scratch between COMMIT and the comparison.
#[tokio::test(start_paused = true)]
async fn rows_that_are_not_those_of_the_backup_fail_the_drill() {
    for seed in 1..20 {
        let mut scenario = Scenario::filled(seed).await;
        let (delta, table) = table_of(&scenario);
        let name = table.clone();
        scenario.scratch.set_intruder(Some(Box::new(move |call, store: &mut Store| {
            if call == "commit"
                && store.deltas.last().is_some_and(|d| d.num == delta)
                && let Some(version) = store.tables.get_mut(&name).and_then(|v| v.last_mut())
            {
                version.v = Some("not what was backed up".into());
            }
        })));
        let report = scenario.finish().await;
        assert_eq!(report.verdict, Verdict::Failed, "seed {seed}");
        let named = |f: &&deltakeep::drill::report::Failure| f.table.as_ref() == Some(&table);
        assert!(report.failures.iter().any(|f| f.part == Part::Sums && named(&f)), "seed {seed}");
        assert!(report.counts["differs"] > 0, "seed {seed}: {:?}", report.counts);
        scenario.require_gone();
    }
}

#[tokio::test(start_paused = true)]
async fn a_table_that_is_not_in_the_backup_fails_the_drill() {
    let mut scenario = Scenario::filled(3).await;
    let mut added = false;
    scenario.scratch.set_intruder(Some(Box::new(move |call, store: &mut Store| {
        if call == "commit" && !added {
            added = true;
            store.views.insert("sneaked_in".into());
        }
    })));
    let report = scenario.finish().await;
    assert_eq!(parts(&report), [Part::Entities]);
    assert!(report.failures[0].text.contains("sneaked_in"), "{:?}", report.failures);
}

#[tokio::test(start_paused = true)]
async fn a_source_that_changed_since_is_a_second_column_and_no_failure() {
    let mut scenario = Scenario::filled(3).await;
    let (_, table) = table_of(&scenario);
    scenario.source.with(|source| {
        let versions = source.tables.get_mut(&table).unwrap();
        versions.last_mut().unwrap().v = Some("changed after the backup".into());
    });
    let report = scenario.finish().await;
    assert_eq!(report.verdict, Verdict::Ok, "{:?}", report.failures);
    assert!(report.warnings.iter().any(|w| w.contains(&table)), "{:?}", report.warnings);
    let differ = report.deltas.iter().flat_map(|d| &d.tables).filter(|t| t.source == "differs");
    assert!(differ.count() > 0);
}

#[tokio::test(start_paused = true)]
async fn the_recovery_is_told_in_numbers() {
    let mut scenario = Scenario::filled(6).await;
    let rows = |scenario: &Scenario| -> usize {
        let (history, names) = (&scenario.history, scenario.history.tables.keys());
        let of = |name: &String| {
            history.deltas.iter().map(|d| history.increment(d.num, name).len()).sum::<usize>()
        };
        names.map(of).sum()
    };
    let wanted = rows(&scenario) as u64;
    let report = scenario.finish().await;
    assert!(report.recovery.rows >= wanted, "{} of {wanted}", report.recovery.rows);
    assert!(report.recovery.seconds > 0.0 && report.recovery.rows_per_second > 0.0);
    let last = scenario.history.deltas.last().unwrap();
    let point = report.recovery_point.clone().unwrap();
    assert_eq!((point.delta, point.deltas_behind), (last.num.0, 0));
    assert!(point.age_seconds > 1e6, "{}", point.age_seconds);
    let bars = |doing: &str| report.timeline.iter().filter(|bar| bar.doing == doing).count();
    assert_eq!(bars("delta"), scenario.history.deltas.len());
    assert!(bars("load") > 0 && bars("load") == bars("fill"));
}
