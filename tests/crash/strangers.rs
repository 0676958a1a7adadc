//! Others at work on the same datamart: they are recognised, named, and left alone.

use std::sync::{Arc, Mutex};

use deltakeep::backup::{Event, Fault, Holder, Refusal, State, Watch};
use deltakeep::format::decode_key;
use deltakeep::journal::StreamKey;
use deltakeep::model::{Change, DeltaDate, DeltaNum, Owner, RunId};
use deltakeep::testing::{Memory, Stored};
use uuid::Uuid;

use super::scenario::{Ended, Scenario};

async fn fault_of(scenario: &mut Scenario) -> Fault {
    match scenario.execute(None).await {
        Ended::Failed(error) => error.fault,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn another_runs_marker_is_named_and_left() {
    let mut scenario = Scenario::new(1);
    let other = Owner { run: RunId(Uuid::from_u128(99)), day: 7, started: "then".into() };
    scenario.memory.lock().marker = Some(other.clone());
    scenario.memory.lock().lock = Some("backup_db_7".into());
    let fault = fault_of(&mut scenario).await;
    assert!(matches!(fault, Fault::Held(Holder::Run(ref found)) if *found == other), "{fault:?}");
    let inner = scenario.memory.lock();
    assert_eq!(inner.marker, Some(other));
    assert_eq!(inner.lock.as_deref(), Some("backup_db_7"));
    assert!(inner.topic.is_empty() && inner.staging.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_foreign_lock_is_left_even_with_our_code() {
    for code in ["somebody", "backup_db_2", "backup_db_3"] {
        let mut scenario = Scenario::new(2);
        scenario.memory.lock().lock = Some(code.into());
        let fault = fault_of(&mut scenario).await;
        assert!(matches!(fault, Fault::Held(Holder::Lock { .. })), "{fault:?}");
        let inner = scenario.memory.lock();
        assert_eq!(inner.lock.as_deref(), Some(code));
        assert_eq!(inner.marker, None);
    }
}

#[tokio::test(start_paused = true)]
async fn an_unfinished_change_is_refused_before_anything_is_touched() {
    let mut scenario = Scenario::new(3);
    let num = scenario.memory.lock().changes.0.len() as u64;
    let query = "CREATE TABLE db.x (id int)".to_owned();
    let change = Change { num, entity: "x".into(), query, delta: None, finished: false };
    scenario.memory.lock().changes.0.push(change);
    let fault = fault_of(&mut scenario).await;
    let Fault::Refused(Refusal::UnfinishedChange { num: named, query }) = fault else {
        panic!("{fault:?}")
    };
    assert_eq!((named, query.as_str()), (num, "CREATE TABLE db.x (id int)"));
    assert_eq!(scenario.records(), []);
    assert!(!scenario.memory.lock().calls.iter().any(|c| c == "mark" || c == "deny"));
}

#[tokio::test(start_paused = true)]
async fn a_topic_of_another_history_is_refused() {
    let mut scenario = Scenario::new(4);
    scenario.finish().await;
    let date = DeltaDate(1);
    scenario.memory.lock().deltas.iter_mut().for_each(|delta| delta.date = date);
    let fault = fault_of(&mut scenario).await;
    assert!(matches!(fault, Fault::Refused(Refusal::History(_))), "{fault:?}");
}

#[tokio::test(start_paused = true)]
async fn a_topic_ahead_of_the_node_is_refused() {
    let mut scenario = Scenario::new(5);
    scenario.finish().await;
    scenario.memory.lock().deltas.clear();
    let fault = fault_of(&mut scenario).await;
    assert!(matches!(fault, Fault::Refused(Refusal::Range(_))), "{fault:?}");
}

#[tokio::test(start_paused = true)]
async fn an_asked_delta_is_written_again_under_a_new_increment() {
    let mut scenario = Scenario::new(6);
    scenario.finish().await;
    let newest = scenario.memory.lock().deltas.last().map(|d| d.num).unwrap();
    scenario.shape.asked = Some((newest, 5));
    let summary = scenario.finish().await;
    assert_eq!(summary.deltas, [newest]);
    scenario.shape.asked = Some((DeltaNum(newest.0 + 1), 0));
    let fault = fault_of(&mut scenario).await;
    assert!(matches!(fault, Fault::Refused(Refusal::Range(_))), "{fault:?}");
}

#[tokio::test(start_paused = true)]
async fn a_marker_that_vanishes_ends_the_run_and_releases_nothing() {
    let mut scenario = Scenario::new(8);
    for step in 60.. {
        if !matches!(scenario.execute(Some(step)).await, Ended::Killed) {
            panic!("the run ended before its marker could be taken away");
        }
        if scenario.memory.lock().staging.values().next().is_some() {
            break;
        }
    }
    let other = Owner { run: RunId(Uuid::from_u128(98)), day: 1, started: "then".into() };
    scenario.memory.lock().marker = Some(other.clone());
    let lock = scenario.memory.lock().lock.clone();
    let fault = fault_of(&mut scenario).await;
    assert!(matches!(fault, Fault::Held(Holder::Run(_))), "{fault:?}");
    assert_eq!(scenario.memory.lock().marker, Some(other));
    assert_eq!(scenario.memory.lock().lock, lock);
}

/// Takes the marker away when the last increment is complete.
struct LateThief(Memory, Owner);

impl Watch for LateThief {
    fn tell(&self, event: Event) {
        let mut inner = self.0.lock();
        let newest = inner.deltas.last().map(|delta| delta.num);
        if matches!(event, Event::DeltaArchived { delta } if Some(delta) == newest) {
            inner.marker = Some(self.1.clone());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_marker_taken_over_after_the_last_increment_releases_nothing() {
    let mut scenario = Scenario::new(9);
    let other = Owner { run: RunId(Uuid::from_u128(96)), day: 1, started: "then".into() };
    let thief = Arc::new(LateThief(scenario.memory.clone(), other.clone()));
    let error = scenario.backup_watched(thief).execute().await.unwrap_err();
    assert!(matches!(error.fault, Fault::Held(Holder::MarkerLost)), "{error:?}");
    assert_eq!(scenario.memory.lock().marker, Some(other));
    assert!(scenario.memory.lock().lock.is_some(), "the lock is not opened under others");
}

/// Takes the marker away when the first table is delivered.
struct Thief(Memory, Owner, Mutex<Option<DeltaNum>>);

impl Watch for Thief {
    fn tell(&self, event: Event) {
        if let Event::Archived { delta, .. } = event {
            self.2.lock().unwrap().get_or_insert(delta);
            self.0.lock().marker = Some(self.1.clone());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_marker_taken_over_under_a_running_backup_ends_it_without_a_changelog() {
    let mut scenario = Scenario::new(9);
    let other = Owner { run: RunId(Uuid::from_u128(97)), day: 1, started: "then".into() };
    let thief = Arc::new(Thief(scenario.memory.clone(), other.clone(), Mutex::default()));
    let error = scenario.backup_watched(thief.clone()).execute().await.unwrap_err();
    assert!(matches!(error.fault, Fault::Held(Holder::MarkerLost)), "{error:?}");
    let inner = scenario.memory.lock();
    assert_eq!(inner.marker, Some(other));
    assert!(inner.lock.is_some(), "the lock belongs to whoever has the marker");
    let visible = inner.topic.iter().flatten().filter_map(|stored| match stored {
        Stored::Visible(message) => decode_key(&message.key).ok(),
        _ => None,
    });
    let stolen = thief.2.lock().unwrap().unwrap();
    let after = visible.filter(|key| key.table.is_none() && key.delta >= stolen);
    assert_eq!(after.count(), 0, "no changelog was written without the marker");
}

#[tokio::test(start_paused = true)]
async fn what_is_checkpointed_is_not_read_again() {
    let mut checked = 0;
    for seed in 12..60 {
        let mut scenario = Scenario::new(seed);
        if let Some((key, chunks)) = stop_half_way(&mut scenario).await {
            check_reads(&mut scenario, &key, chunks).await;
            checked += 1;
        }
    }
    assert!(checked > 5, "only {checked} streams were stopped half way");
}

/// Kills a run until a stream has some of its chunks in the journal, and not all.
async fn stop_half_way(scenario: &mut Scenario) -> Option<(StreamKey, u64)> {
    for step in (100..2000).step_by(30) {
        if !matches!(scenario.execute(Some(step)).await, Ended::Killed) {
            return None;
        }
        let state = State::of(saved(scenario));
        let started = state.progress.iter().find(|(key, progress)| {
            let pair = key.table.clone().map(|table| (key.delta, key.issue, table));
            let unfinished = pair.is_some_and(|pair| state.attempt_of(&pair).is_some());
            unfinished && progress.chunks > 1
        });
        if let Some((key, progress)) = started {
            scenario.memory.lock().calls.clear();
            return Some((key.clone(), progress.chunks));
        }
    }
    None
}

fn saved(scenario: &Scenario) -> deltakeep::journal::Saved {
    let mut saved = deltakeep::journal::Saved::default();
    scenario.records().into_iter().for_each(|record| saved.apply(record));
    saved
}

async fn check_reads(scenario: &mut Scenario, key: &StreamKey, from: u64) {
    let table = key.table.clone().unwrap();
    let state = State::of(saved(scenario));
    let attempt = state.attempt_of(&(key.delta, key.issue, table)).cloned();
    scenario.finish().await;
    let Some(attempt) = attempt else { return };
    let prefix = format!("read {}/", attempt.attempt.name);
    let calls = scenario.memory.lock().calls.clone();
    let (_, partition, _) = attempt.streams()[key.stream.0 as usize - 1];
    let wanted = format!("{prefix}{partition} from {from}");
    let reads: Vec<_> =
        calls.iter().filter(|c| c.starts_with(&format!("{prefix}{partition} "))).collect();
    assert!(reads.iter().all(|read| **read == wanted), "{reads:?}, wanted {wanted}");
}
