//! Whose the scratch is: nothing of others is ever dropped, and the source never.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use deltakeep::drill::{Fault, Holder, Refusal};
use deltakeep::model::{Owner, RunId};
use deltakeep::testing::{Store, Version};
use uuid::Uuid;

use super::scenario::{Ended, Scenario};

fn stranger(number: u128) -> Owner {
    Owner { run: RunId(Uuid::from_u128(number)), day: 7, started: "before".into() }
}

/// Somebody's datamart.
fn foreign() -> Store {
    let version = Version { id: 1, v: None, from: 0, to: None, removed: false };
    let mut store = Store::created();
    store.tables.insert("precious".into(), vec![version]);
    store
}

fn fault(ended: Ended) -> (Fault, bool) {
    match ended {
        Ended::Failed(error) => (error.fault, error.touched),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_scratch_of_others_is_refused_and_not_touched() {
    let marked = |owner| Store { marker: Some(owner), ..Store::created() };
    for theirs in [foreign(), Store::created(), marked(stranger(5))] {
        let mut scenario = Scenario::new(3).await;
        scenario.scratch.with(|store| *store = theirs.clone());
        let (fault, touched) = fault(scenario.execute(None).await);
        assert!(matches!(fault, Fault::Held(Holder::Others { .. })), "{fault:?}");
        assert!(!touched && scenario.journal.is_empty());
        let now = scenario.scratch.with(|store| store.clone());
        assert_eq!((now.tables, now.marker), (theirs.tables, theirs.marker));
        assert!(now.exists && now.deltas.is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn the_source_is_refused_however_it_is_spelled() {
    let mut scenario = Scenario::new(3).await;
    let drill = scenario.drill_with(|settings| {
        settings.shape.scratch = settings.shape.source.clone();
        settings.shape.scratch.node = settings.shape.scratch.node.to_uppercase();
    });
    let error = drill.execute().await.unwrap_err();
    assert!(matches!(error.fault, Fault::Refused(Refusal::Source(_))) && !error.touched);
    assert!(scenario.memory.lock().calls.iter().all(|call| call != "create_datamart"));

    // Under names that do not look alike: a scratch that an earlier drill kept is now the source.
    let mut scenario = Scenario::new(3).await;
    let kept = stranger(77);
    scenario.known.insert(kept.run);
    scenario.source.with(|source| source.marker = Some(kept));
    scenario.scratch = scenario.source.clone();
    let (fault, touched) = fault(scenario.execute(None).await);
    assert!(matches!(fault, Fault::Refused(Refusal::Source(_))) && !touched, "{fault:?}");
    assert!(scenario.source.with(|source| source.exists && !source.deltas.is_empty()));
}

#[tokio::test(start_paused = true)]
async fn a_kept_scratch_makes_room_for_the_next_drill_of_its_journal_only() {
    let mut scenario = Scenario::new(4).await;
    scenario.keep = true;
    let report = scenario.finish().await;
    assert!(!report.scratch.dropped);
    let kept = scenario.scratch.with(|store| store.clone());
    assert_eq!(kept.deltas.len(), scenario.history.deltas.len());
    let owner = kept.marker.unwrap();

    let (held, _) = fault(scenario.execute(None).await);
    assert!(
        matches!(held, Fault::Held(Holder::Others { owner: Some(found), .. }) if found == owner)
    );
    scenario.known.insert(owner.run);
    scenario.keep = false;
    scenario.finish().await;
    scenario.require_gone();
}

#[tokio::test(start_paused = true)]
async fn a_datamart_that_took_the_scratchs_place_survives_a_resume() {
    let mut met = 0;
    let first = Scenario::filled(2).await;
    for step in (3..800).step_by(5) {
        let mut scenario = first.again().await;
        if !matches!(scenario.execute(Some(step)).await, Ended::Killed) {
            break;
        }
        if scenario.journal.is_empty() || !scenario.scratch.with(|store| store.exists) {
            continue;
        }
        scenario.scratch.with(|store| *store = foreign());
        match scenario.execute(None).await {
            Ended::Failed(error) => {
                assert!(matches!(error.fault, Fault::Held(_)), "step {step}: {:?}", error.fault);
                met += 1;
            }
            // The scratch was done with already.
            Ended::Done(_) => {}
            Ended::Killed => unreachable!(),
        }
        let tables = scenario.scratch.with(|store| store.tables.clone());
        assert_eq!(tables, foreign().tables, "step {step}");
        scenario.drill().abandon().await.unwrap();
        let tables = scenario.scratch.with(|store| store.tables.clone());
        assert_eq!(tables, foreign().tables, "step {step}: abandoned");
    }
    assert!(met > 20, "only {met} kills left a scratch");
}

/// Somebody changes the marker after the n-th time that it was read. The drill may drop the scratch
/// only where it did not look again after that: nobody can look later than directly before.
#[tokio::test(start_paused = true)]
async fn the_marker_is_read_again_directly_before_the_drop() {
    let (mut saved, mut dropped) = (0, 0);
    let first = Scenario::filled(2).await;
    for change_at in 1..400 {
        let mut scenario = first.again().await;
        let (read, read_at_drop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let (seen, at_drop) = (read.clone(), read_at_drop.clone());
        scenario.scratch.set_intruder(Some(Box::new(move |call, store| match call {
            "marker" => {
                let now = seen.fetch_add(1, Ordering::SeqCst) + 1 == change_at;
                store.marker =
                    store.marker.take().map(|owner| if now { stranger(9) } else { owner });
            }
            "drop datamart" => at_drop.store(seen.load(Ordering::SeqCst), Ordering::SeqCst),
            _ => {}
        })));
        let ended = scenario.execute(None).await;
        let reads = read.load(Ordering::SeqCst);
        if reads < change_at {
            break;
        }
        match read_at_drop.load(Ordering::SeqCst) {
            0 => {
                assert!(matches!(ended, Ended::Failed(_)), "{change_at}: {ended:?}");
                let marker = scenario.scratch.with(|store| store.marker.clone());
                assert_eq!(marker, Some(stranger(9)), "{change_at}");
                saved += 1;
            }
            last => {
                assert_eq!(last, change_at, "dropped although read again after the change");
                dropped += 1;
            }
        }
    }
    assert!(saved > 3 && dropped == 1, "{saved} saved, {dropped} dropped");
}
