//! What is delivered is cleared away beside the work: nothing is lost of it, nothing piles up.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use deltakeep::backup::{Event, Fault, RunError, State, Watch};
use deltakeep::extract::SourceError;
use deltakeep::journal::Saved;
use deltakeep::model::{Change, Delta, DeltaDate, DeltaNum, Table, TableName};
use deltakeep::testing::{Faults, Inner, Memory, TestRow};

use super::judge;
use super::scenario::{Ended, Scenario};

/// Two deltas of sixty tables with a row each: many staging topics, if they all stayed.
fn wide(seed: u64) -> Scenario {
    let scenario = Scenario::new(seed);
    let mut inner = scenario.memory.lock();
    let Inner { tables, changes, deltas, rows, changed, alive, .. } = &mut *inner;
    let (table, change) = (tables[0].clone(), changes.0[0].clone());
    tables.clear();
    changes.0.clear();
    for number in 0..60 {
        let name = TableName(format!("t{number}"));
        tables.push(Table { name: name.clone(), ..table.clone() });
        let query = format!("CREATE TABLE db.{name} (id bigint, v varchar)");
        let (entity, delta) = (name.0, None);
        changes.0.push(Change { num: number, entity, query, delta, ..change.clone() });
    }
    deltas.clear();
    rows.clear();
    changed.clear();
    alive.clear();
    for num in 0..2 {
        let date = DeltaDate(1_700_000_000_000_000 + num * 1_000_000);
        deltas.push(Delta { num: DeltaNum(num as u64), date, cn_from: num, cn_to: num });
        for table in tables.iter() {
            let at = (DeltaNum(num as u64), table.name.clone());
            let row = |id| TestRow { id, v: None, sys_op: 0 };
            rows.insert(at.clone(), vec![row(num)]);
            changed.insert(at.clone(), vec![row(num)]);
            alive.insert(at, (0..=num).map(row).collect());
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
    let mut scenario = wide(1);
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
    let mut scenario = wide(2);
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

/// Counts the staging topics that are there when a changelog begins.
struct Left(Memory, AtomicUsize);

impl Watch for Left {
    fn tell(&self, event: Event) {
        if let Event::ChangelogStarted { .. } = event {
            self.1.fetch_add(self.0.lock().staging.len(), Ordering::SeqCst);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_delivered_is_cleared_away_when_the_changelog_begins() {
    let mut scenario = wide(3);
    scenario.set_faults(Faults { slow_discards: 50, ..Faults::default() });
    let left = Arc::new(Left(scenario.memory.clone(), AtomicUsize::new(0)));
    let summary = scenario.backup_watched(left.clone()).execute().await.unwrap();
    assert_eq!(left.1.load(Ordering::SeqCst), 0);
    judge::check(&scenario.memory, &summary, 3);
}
