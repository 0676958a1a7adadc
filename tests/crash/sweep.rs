//! What is delivered is cleared away beside the work: nothing is lost of it, nothing piles up.

use std::collections::BTreeMap;

use deltakeep::backup::{Fault, RunError, State};
use deltakeep::extract::SourceError;
use deltakeep::journal::Saved;
use deltakeep::model::{Delta, DeltaDate, DeltaNum};
use deltakeep::testing::{Faults, TestRow};

use super::judge;
use super::scenario::{Ended, Scenario};

/// A hundred staging topics and more, if they all stayed.
fn long(seed: u64) -> Scenario {
    let scenario = Scenario::new(seed);
    let mut inner = scenario.memory.lock();
    let tables: Vec<_> = inner.tables.iter().map(|table| table.name.clone()).collect();
    inner.rows.clear();
    inner.changed.clear();
    inner.alive.clear();
    let mut alive: BTreeMap<_, Vec<TestRow>> = BTreeMap::new();
    inner.deltas = (0..120)
        .map(|num| {
            let date = DeltaDate(1_700_000_000_000_000 + num * 1_000_000);
            Delta { num: DeltaNum(num as u64), date, cn_from: num, cn_to: num }
        })
        .collect();
    inner.changes.0.iter_mut().for_each(|change| change.delta = None);
    for delta in (0..120).map(DeltaNum) {
        for table in &tables {
            let row = TestRow { id: delta.0 as i64, v: None, sys_op: 0 };
            let all = alive.entry(table.clone()).or_default();
            all.push(row.clone());
            inner.alive.insert((delta, table.clone()), all.clone());
            inner.changed.insert((delta, table.clone()), vec![row.clone()]);
            inner.rows.insert((delta, table.clone()), vec![row]);
        }
    }
    drop(inner);
    scenario
}

fn state(scenario: &Scenario) -> State {
    let mut saved = Saved::default();
    scenario.records().into_iter().for_each(|record| saved.apply(record));
    State::of(saved)
}

fn is_failed_discard(error: &RunError) -> bool {
    matches!(&error.fault, Fault::Source { source: SourceError::Brokers { .. }, .. })
}

#[tokio::test(start_paused = true)]
async fn a_delivered_topic_that_cannot_be_deleted_ends_the_run_before_many_pile_up() {
    let mut scenario = long(1);
    scenario.set_faults(Faults { failed_discards: 100, ..Faults::default() });
    let Ended::Failed(error) = scenario.execute(None).await else { panic!("it ended well") };
    assert!(is_failed_discard(&error), "{error:?}");
    let left = scenario.memory.lock().staging.len();
    assert!((1..60).contains(&left), "{left} topics are left");
    assert_eq!(state(&scenario).leftovers().len(), left, "the journal knows of them");
    let summary = scenario.finish().await;
    judge::check(&scenario.memory, &summary, 1);
}

#[tokio::test(start_paused = true)]
async fn topics_do_not_pile_up_where_brokers_are_slow_to_delete_them() {
    let mut scenario = long(2);
    scenario.set_faults(Faults { slow_discards: 1000, ..Faults::default() });
    let memory = scenario.memory.clone();
    let mut most = 0;
    let ended = {
        let run = scenario.execute(None);
        tokio::pin!(run);
        loop {
            tokio::select! {
                ended = &mut run => break ended,
                () = tokio::time::sleep(std::time::Duration::from_millis(100)) => {
                    most = most.max(memory.lock().staging.len());
                }
            }
        }
    };
    let Ended::Done(summary) = ended else { panic!("{ended:?}") };
    assert!((16..16 + 2 * 8 + 2).contains(&most), "{most} topics at once");
    judge::check(&memory, &summary, 2);
}

#[tokio::test(start_paused = true)]
async fn a_run_killed_while_it_clears_away_leaves_it_to_the_resume() {
    let mut left = 0;
    for step in (20..1000).step_by(7) {
        let mut scenario = Scenario::new(5);
        scenario.set_faults(Faults { slow_discards: 50, ..Faults::default() });
        if !matches!(scenario.execute(Some(step)).await, Ended::Killed) {
            break;
        }
        let delivered = state(&scenario).delivered();
        left += delivered.len();
        let summary = scenario.finish().await;
        judge::check(&scenario.memory, &summary, step as u64);
    }
    assert!(left > 0, "no kill met a delivered topic");
}
