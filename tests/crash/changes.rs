//! What changes between two executions, or under one: named where a resume must not go on, cured
//! where it can.

use std::sync::Arc;

use deltakeep::backup::{Disagreement, Event, Fault, Watch};
use deltakeep::catalog::CatalogError;
use deltakeep::deliver::SinkError;
use deltakeep::extract::SourceError;
use deltakeep::journal::{Fact, Progress, Record, StreamKey};
use deltakeep::model::Change;
use deltakeep::testing::{Faults, Memory};

use super::judge;
use super::scenario::{Ended, Scenario, is_resumable};

/// A run killed when its journal knew of delivered chunks of an unfinished pair.
async fn half_done() -> Scenario {
    for step in (40..).step_by(3) {
        let mut scenario = Scenario::large();
        match scenario.execute(Some(step)).await {
            Ended::Killed => {}
            other => panic!("it never stands half way: {other:?}"),
        }
        let mut saved = deltakeep::journal::Saved::default();
        scenario.records().into_iter().for_each(|record| saved.apply(record));
        let state = deltakeep::backup::State::of(saved);
        let further = |(key, progress): (&StreamKey, &Progress)| {
            let pair = (key.delta, key.issue, key.table.clone().unwrap());
            let attempt = state.attempt_of(&pair)?;
            let (_, _, end) = attempt.streams()[key.stream.0 as usize - 1];
            Some(progress.chunks > 1 && progress.chunks < end)
        };
        if state.progress.iter().any(|stream| further(stream) == Some(true)) {
            return scenario;
        }
    }
    unreachable!()
}

fn overwrite(scenario: &Scenario) {
    for stored in scenario.memory.lock().topic.iter_mut().flatten() {
        *stored = deltakeep::testing::Stored::Marker;
    }
}

fn truncate(scenario: &Scenario) {
    let mut inner = scenario.memory.lock();
    inner.staging.values_mut().flat_map(|s| &mut s.partitions).for_each(|p| p.truncate(1));
}

async fn fault_of(scenario: &mut Scenario) -> Fault {
    match scenario.execute(None).await {
        Ended::Failed(error) => error.fault,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn an_unload_that_wrote_nothing_never_passes_for_an_empty_table() {
    let mut scenario = Scenario::large();
    scenario.shape.checksums = false;
    scenario.set_faults(Faults { silent_unloads: 100, ..Faults::default() });
    let fault = fault_of(&mut scenario).await;
    let Fault::GaveUp { last, .. } = &fault else { panic!("{fault:?}") };
    assert!(last.contains("wrote no message"), "{last}");
    let summary = scenario.finish().await;
    judge::check(&scenario.memory, &summary, 0);
}

#[tokio::test(start_paused = true)]
async fn a_backup_topic_that_is_gone_is_named() {
    let mut scenario = half_done().await;
    scenario.memory.lock().topic.clear();
    let fault = fault_of(&mut scenario).await;
    assert!(matches!(fault, Fault::Disagrees(Disagreement::TopicGone { .. })), "{fault:?}");
}

#[tokio::test(start_paused = true)]
async fn a_backup_topic_created_anew_is_named() {
    let mut scenario = half_done().await;
    scenario.memory.lock().topic.iter_mut().for_each(Vec::clear);
    let fault = fault_of(&mut scenario).await;
    assert!(matches!(fault, Fault::Catalog(CatalogError::Gone { .. })), "{fault:?}");
    // Filled by another meanwhile: the offsets are there and hold something else.
    let mut scenario = half_done().await;
    overwrite(&scenario);
    let fault = fault_of(&mut scenario).await;
    assert!(matches!(fault, Fault::Disagrees(Disagreement::Position { .. })), "{fault:?}");
}

#[tokio::test(start_paused = true)]
async fn a_backup_topic_with_more_partitions_is_named() {
    let mut scenario = half_done().await;
    scenario.memory.lock().topic.push(vec![]);
    let fault = fault_of(&mut scenario).await;
    assert!(matches!(fault, Fault::Disagrees(Disagreement::Partitions { .. })), "{fault:?}");
}

fn add_change(scenario: &Scenario, entity: &str, query: &str) {
    let mut inner = scenario.memory.lock();
    let num = inner.changes.0.len() as u64;
    let (entity, query) = (entity.to_owned(), query.to_owned());
    inner.changes.0.push(Change { num, entity, query, delta: None, finished: true });
}

#[tokio::test(start_paused = true)]
async fn a_changelog_that_grew_is_ignored_by_the_run_and_one_that_shrank_is_named() {
    let mut scenario = half_done().await;
    add_change(&scenario, "other", "CREATE TABLE db.other (id int)");
    let summary = scenario.finish().await;
    scenario.memory.lock().changes.0.pop();
    judge::check(&scenario.memory, &summary, 0);
    let mut scenario = half_done().await;
    scenario.memory.lock().changes.0.pop();
    let fault = fault_of(&mut scenario).await;
    assert!(matches!(fault, Fault::Disagrees(Disagreement::Changelog { .. })), "{fault:?}");
}

#[tokio::test(start_paused = true)]
async fn a_table_dropped_or_made_again_meanwhile_is_named() {
    for query in ["DROP TABLE db.t0", "create  table db.t0 (id int)", "\n DROP\tTABLE t0"] {
        let mut scenario = half_done().await;
        add_change(&scenario, "t0", query);
        let fault = fault_of(&mut scenario).await;
        let Fault::Disagrees(Disagreement::TableChanged { query: named, .. }) = &fault else {
            panic!("{query}: {fault:?}")
        };
        assert_eq!(named, query);
        let inner = scenario.memory.lock();
        assert!(inner.lock.is_none() && inner.marker.is_none(), "what was taken is given back");
    }
}

#[tokio::test(start_paused = true)]
async fn a_sealed_staging_topic_that_lost_messages_is_written_again() {
    let mut scenario = half_done().await;
    truncate(&scenario);
    let summary = scenario.finish().await;
    judge::check(&scenario.memory, &summary, 0);
    assert!(!summary.reissued.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_delta_that_the_node_denies_is_no_gap_in_the_backup() {
    let seed = (1..).find(|seed| Scenario::new(*seed).memory.lock().deltas.len() > 2);
    let mut scenario = Scenario::new(seed.unwrap());
    scenario.memory.lock().deltas.remove(1);
    let fault = fault_of(&mut scenario).await;
    let stale = matches!(fault, Fault::Source { source: SourceError::Unreadable { .. }, .. });
    assert!(stale, "{fault:?}");
    assert!(scenario.memory.lock().topic.is_empty());
}

/// A later execution of the same run takes the lanes over.
struct Successor(Memory);

impl Watch for Successor {
    fn tell(&self, event: Event) {
        if let Event::Archived { .. } = event {
            self.0.lock().lanes.values_mut().for_each(|lane| lane.epoch += 1);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_fenced_execution_leaves_lock_and_marker_to_its_successor() {
    let mut scenario = Scenario::new(9);
    let watch = Arc::new(Successor(scenario.memory.clone()));
    let error = scenario.backup_watched(watch).execute().await.unwrap_err();
    assert!(matches!(error.fault, Fault::Sink(SinkError::Fenced { .. })), "{error:?}");
    let inner = scenario.memory.lock();
    assert!(inner.lock.is_some() && inner.marker.is_some());
}

#[tokio::test(start_paused = true)]
async fn every_single_answer_of_the_node_and_every_two_in_a_row_can_be_lost() {
    for (seed, width) in [(3, 1), (3, 2), (7, 1), (7, 3)] {
        for first in 1.. {
            let mut scenario = Scenario::new(seed);
            scenario.memory.lock().lose = (first..first + width).collect();
            let mut ended = scenario.execute(None).await;
            if scenario.memory.lock().answers < first {
                assert!(first > 15, "only {first} answers");
                break;
            }
            for _ in 0..4 {
                match ended {
                    Ended::Failed(ref error) if is_resumable(error) => {}
                    _ => break,
                }
                ended = scenario.execute(None).await;
            }
            let Ended::Done(summary) = ended else { panic!("seed {seed} {first}: {ended:?}") };
            judge::check(&scenario.memory, &summary, seed);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_growing_topic_that_the_journal_forgot_is_named() {
    let mut named = 0;
    for seed in 1..12 {
        for step in 30..90 {
            let mut scenario = Scenario::new(seed);
            if !matches!(scenario.execute(Some(step)).await, Ended::Killed) {
                break;
            }
            let grows = scenario.memory.lock().staging.values().any(|s| !s.to_come.is_empty());
            if !grows || scenario.journal.len() < 4 {
                continue;
            }
            scenario.journal.cut(3);
            let summary = scenario.finish().await;
            judge::check(&scenario.memory, &summary, seed);
            named += summary.quarantined.len();
        }
    }
    assert!(named > 0);
}

#[derive(Default)]
struct Warnings(std::sync::Mutex<Vec<String>>);

impl Watch for Warnings {
    fn tell(&self, event: Event) {
        if let Event::Warning { text } = event {
            self.0.lock().unwrap().push(text);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn tables_that_the_changelog_never_created_are_named() {
    let seed = (1..).find(|seed| Scenario::new(*seed).memory.lock().tables.len() > 1);
    let mut scenario = Scenario::new(seed.unwrap());
    // A later change of the table does not create it.
    for change in &mut scenario.memory.lock().changes.0 {
        if change.entity == "t0" {
            change.query = "DROP VIEW db.t0".into();
        }
    }
    let watch = Arc::new(Warnings::default());
    let summary = scenario.backup_watched(watch.clone()).execute().await.unwrap();
    assert_eq!(summary.older_than_log, ["t0"]);
    let told = watch.0.lock().unwrap().join("\n");
    assert!(told.contains("does not create t0:") && told.contains("POPULATE_CHANGELOG"), "{told}");
    assert_eq!(judge::logs_complete(&scenario.memory), [false]);
    let mut whole = Scenario::new(seed.unwrap());
    assert_eq!(whole.finish().await.older_than_log, [""; 0]);
    assert_eq!(judge::logs_complete(&whole.memory), [true]);
}

#[tokio::test(start_paused = true)]
async fn a_view_that_the_changelog_never_created_is_named_and_remembered_by_a_resume() {
    let mut scenario = Scenario::new(1);
    scenario.memory.lock().views = vec!["totals".to_owned()];
    let watch = Arc::new(Warnings::default());
    let summary = scenario.backup_watched(watch.clone()).execute().await.unwrap();
    assert_eq!(summary.older_than_log, ["totals"]);
    let told = watch.0.lock().unwrap().join("\n");
    assert!(told.contains("does not create totals:"), "{told}");
    assert!(judge::logs_complete(&scenario.memory).iter().all(|complete| !complete));
    // Killed behind the plan; its journal tells the resume, whatever the node says by then.
    let planned = |record: &Record| matches!(record, Record::Fact(Fact::Planned { .. }));
    let mut steps = 10;
    let mut killed = loop {
        let mut killed = Scenario::new(1);
        killed.memory.lock().views = vec!["totals".to_owned()];
        assert!(matches!(killed.execute(Some(steps)).await, Ended::Killed));
        if killed.records().iter().any(planned) {
            break killed;
        }
        steps += 1;
    };
    killed.memory.lock().views.clear();
    assert_eq!(killed.finish().await.older_than_log, ["totals"]);
    assert!(judge::logs_complete(&killed.memory).iter().all(|complete| !complete));
}
