//! Judges a restored datamart against its source: the same deltas, the same rows at each of them,
//! the same changes, and nothing left behind.

use deltakeep::model::DeltaNum;

use super::scenario::Scenario;

/// Asserts that the target is the source as of `to`, the newest delta where none is given.
pub fn check(scenario: &Scenario, to: Option<u64>) {
    let (seed, source) = (scenario.seed, &scenario.source);
    let target = scenario.target.with(|store| store.clone());
    let dates = |store: &deltakeep::testing::Store| {
        let up_to = store.deltas.iter().filter(|d| to.is_none_or(|to| d.num.0 <= to));
        up_to.map(|d| (d.num, d.date)).collect::<Vec<_>>()
    };
    let restored: Vec<_> = target.deltas.iter().map(|d| (d.num, d.date)).collect();
    assert_eq!(restored, dates(source), "seed {seed}: deltas");
    if to.is_none() {
        let names = |s: &deltakeep::testing::Store| s.tables.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&target), names(source), "seed {seed}: tables");
        assert_eq!(target.views, source.views, "seed {seed}: views");
    }
    for table in target.tables.keys() {
        for (num, _) in &restored {
            check_rows(scenario, &target, *num, table);
        }
    }
    let name = format!("{}.", scenario.shape.target);
    let sent: Vec<_> = target.changes.iter().map(|c| (c.num, c.query.clone())).collect();
    let run = |c: &&deltakeep::model::Change| {
        to.is_none_or(|to| c.delta.is_none_or(|delta| delta.0 < to))
            && !scenario.skip.contains(&c.num)
    };
    let source_changes = source.changes.iter().filter(run);
    let wanted: Vec<_> = (0..).zip(source_changes.map(|c| c.query.replace("db.", &name))).collect();
    assert_eq!(sent, wanted, "seed {seed}: changes");
    assert_eq!(target.hot, None, "seed {seed}: no delta is open");
    assert_eq!(target.marker, None, "seed {seed}: the marker is gone");
    assert!(target.uploads.is_empty(), "seed {seed}: {:?} is left", target.uploads);
    assert!(target.topics.is_empty(), "seed {seed}: {:?} is left", target.topics.keys());
    assert!(scenario.journal.is_empty(), "seed {seed}: an ended run leaves no record");
}

/// Rows of a table that the source has dropped since are known to nobody any more.
fn check_rows(scenario: &Scenario, target: &deltakeep::testing::Store, num: DeltaNum, table: &str) {
    let (seed, source) = (scenario.seed, &scenario.source);
    let created = |store: &deltakeep::testing::Store| {
        store.changes.iter().rev().find(|c| c.entity == table).map(|c| c.delta)
    };
    if !source.tables.contains_key(table) || created(target) != created(source) {
        return;
    }
    let (found, wanted) = (target.as_of(num, table), source.as_of(num, table));
    assert_eq!(found, wanted, "seed {seed}: rows of {table} at delta {num}");
}
