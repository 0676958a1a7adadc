//! What a restore refuses, and that it then has touched nothing.

use deltakeep::model::{Delta, DeltaNum, Owner, RunId};
use deltakeep::restore::{Dates, Disagreement, Fault, Holder, Refusal, Wanting};
use deltakeep::testing::{Store, Stored};
use uuid::Uuid;

use super::judge;
use super::scenario::{Ended, Scenario};

/// Everything of the target that a restore could have touched.
fn marks(store: &Store) -> String {
    let mut store = store.clone();
    store.used.clear();
    format!("{store:?}")
}

async fn refused(scenario: &mut Scenario) -> Fault {
    let before = scenario.target.with(|store| marks(store));
    let fault = scenario.fault().await;
    assert_eq!(scenario.target.with(|store| marks(store)), before, "{fault:?}");
    assert!(scenario.journal.is_empty(), "{fault:?}");
    fault
}

#[tokio::test(start_paused = true)]
async fn a_target_that_holds_something_is_refused() {
    let mut scenario = Scenario::new(5).await;
    scenario.target.with(|store| {
        *store = Store::created();
        store.uploads.insert("somebodys".into());
    });
    let fault = refused(&mut scenario).await;
    assert!(matches!(fault, Fault::Refused(Refusal::NotEmpty { .. })), "{fault:?}");
    let mut scenario = Scenario::new(5).await;
    scenario.finish().await;
    let fault = refused(&mut scenario).await;
    assert!(matches!(fault, Fault::Refused(Refusal::NotEmpty { .. })), "{fault:?}");
    let first = DeltaNum(scenario.source.deltas.len() as u64 + 1);
    scenario.grow().await;
    scenario.grow().await;
    scenario.wanted.from = Some(first);
    let fault = refused(&mut scenario).await;
    assert!(matches!(fault, Fault::Refused(Refusal::NotAt { .. })), "{fault:?}");
}

#[tokio::test(start_paused = true)]
async fn another_history_an_open_delta_and_an_open_change_are_refused() {
    let mut scenario = Scenario::new(6).await;
    scenario.wanted.to = Some(DeltaNum(0));
    scenario.finish().await;
    scenario.grow().await;
    (scenario.wanted.from, scenario.wanted.to) = (Some(DeltaNum(1)), None);
    let whole = scenario.target.with(|store| store.clone());

    scenario.target.with(|store| store.deltas[0].date.0 += 1_000_000);
    let fault = refused(&mut scenario).await;
    assert!(matches!(fault, Fault::Refused(Refusal::OtherHistory { .. })), "{fault:?}");

    scenario.target.with(|store| {
        *store = whole.clone();
        store.begin(DeltaNum(1)).unwrap();
    });
    let fault = refused(&mut scenario).await;
    assert!(matches!(fault, Fault::Refused(Refusal::Hot { .. })), "{fault:?}");

    scenario.target.with(|store| {
        *store = whole.clone();
        store.open_change("CREATE TABLE db.x (id bigint)").unwrap();
    });
    let fault = refused(&mut scenario).await;
    assert!(matches!(fault, Fault::Refused(Refusal::UnfinishedChange { .. })), "{fault:?}");

    scenario.target.with(|store| {
        *store = whole.clone();
        store.change("CREATE TABLE db.x (id bigint)").unwrap();
    });
    let fault = refused(&mut scenario).await;
    assert!(matches!(fault, Fault::Refused(Refusal::Replay(_))), "{fault:?}");

    scenario.target.with(|store| *store = whole.clone());
    scenario.finish().await;
    judge::check(&scenario, None);
}

#[tokio::test(start_paused = true)]
async fn dates_that_the_node_refuses_are_moved_and_a_replica_goes_on_behind_them() {
    let mut scenario = Scenario::empty(8);
    scenario.grow_within_a_second().await;
    let fault = refused(&mut scenario).await;
    assert!(matches!(fault, Fault::Refused(Refusal::Date(_))), "{fault:?}");
    scenario.dates = Dates::Bump;
    scenario.finish().await;
    let dates = |scenario: &Scenario| {
        let seconds = |delta: &Delta| (delta.date.0 - 1_700_000_000_000_000) / 1_000_000;
        scenario.target.with(|store| store.deltas.iter().map(seconds).collect::<Vec<_>>())
    };
    assert_eq!(dates(&scenario), [0, 1]);
    scenario.grow_within_a_second().await;
    scenario.wanted.from = Some(DeltaNum(2));
    scenario.dates = Dates::Keep;
    let fault = refused(&mut scenario).await;
    assert!(matches!(fault, Fault::Refused(Refusal::OtherHistory { .. })), "{fault:?}");
    scenario.dates = Dates::Bump;
    let moved = scenario.target.with(|store| store.clone());
    scenario.target.with(|store| store.deltas[1].date.0 += 1_000_000);
    let fault = refused(&mut scenario).await;
    assert!(matches!(fault, Fault::Refused(Refusal::OtherHistory { .. })), "{fault:?}");
    scenario.target.with(|store| *store = moved);
    scenario.finish().await;
    assert_eq!(dates(&scenario), [0, 1, 2, 3]);
}

#[tokio::test(start_paused = true)]
async fn another_runs_marker_is_named_and_left() {
    let mut scenario = Scenario::new(7).await;
    let other = Owner { run: RunId(Uuid::from_u128(99)), day: 7, started: "then".into() };
    scenario.target.with(|store| {
        *store = Store::created();
        store.marker = Some(other.clone());
    });
    let fault = refused(&mut scenario).await;
    assert!(matches!(fault, Fault::Held(Holder::Run(ref found)) if *found == other), "{fault:?}");
}

/// Kills a restore when a delta is open in the target.
async fn half_done() -> Scenario {
    let seed = Scenario::large(1).await.seed;
    for step in 20.. {
        let mut scenario = Scenario::new(seed).await;
        let Ended::Killed = scenario.execute(Some(step)).await else { break };
        let hot = scenario.target.with(|store| store.hot().filter(|hot| hot.num.0 > 0));
        if hot.is_some_and(|hot| !hot.finished.is_empty()) {
            return scenario;
        }
    }
    panic!("seed {seed}: no delta was open half way")
}

#[tokio::test(start_paused = true)]
async fn an_open_delta_of_somebody_else_is_left() {
    let mut scenario = half_done().await;
    // The operator gave the target back by hand, and began a delta of his own.
    scenario.target.with(|store| {
        store.rollback().unwrap();
        store.marker = None;
        let next = DeltaNum(store.deltas.len() as u64);
        store.begin(next).unwrap();
    });
    let before = scenario.target.with(|store| store.hot.clone());
    let fault = scenario.fault().await;
    assert!(matches!(fault, Fault::Held(Holder::Hot(_))), "{fault:?}");
    assert_eq!(scenario.target.with(|store| store.hot.clone()), before);
}

#[tokio::test(start_paused = true)]
async fn a_delta_that_somebody_else_closed_is_named() {
    let mut scenario = half_done().await;
    scenario.target.zombies_end();
    scenario.target.with(|store| {
        let last = store.deltas.last().map_or(0, |delta| delta.date.0);
        store.commit(deltakeep::model::DeltaDate(last + 77_000_000)).unwrap();
    });
    let fault = scenario.fault().await;
    assert!(matches!(fault, Fault::Disagrees(Disagreement::Changed { .. })), "{fault:?}");
}

/// Writes to the open delta when the first load is done; not into a table that is dropped later,
/// where differences are accepted.
struct Intruder {
    target: deltakeep::testing::MemoryTarget,
    done: std::sync::atomic::AtomicBool,
    dropped: String,
}

impl Intruder {
    fn into(scenario: &Scenario) -> Self {
        let drops = scenario.source.changes.iter().map(|change| change.query.to_uppercase());
        let dropped: Vec<String> = drops.filter(|query| query.starts_with("DROP")).collect();
        Self {
            target: scenario.target.clone(),
            done: Default::default(),
            dropped: dropped.join("\n"),
        }
    }
}

impl deltakeep::restore::Watch for Intruder {
    fn tell(&self, event: deltakeep::restore::Event) {
        let first = || !self.done.swap(true, std::sync::atomic::Ordering::SeqCst);
        if let deltakeep::restore::Event::Loaded(deltakeep::restore::Amount { table, .. }) = event
            && !self.dropped.contains(&table.0.to_uppercase())
            && first()
        {
            self.target.with(|store| {
                let cn = store.start(&table.0, "").unwrap();
                let row = deltakeep::testing::TestRow { id: 9999, v: None, sys_op: 0 };
                store.end(cn, &[row], true);
            });
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_of_others_into_the_open_delta_is_rolled_back_with_it() {
    // Their row is seen by its sum, or by the operation where nothing has a sum.
    for accept in [false, true] {
        let mut scenario = Scenario::large(1).await;
        scenario.shape.accept_differences = accept;
        let watch = Intruder::into(&scenario);
        let ended = scenario.restore_watched(std::sync::Arc::new(watch)).execute().await;
        match ended {
            Ok(_) => assert!(accept),
            Err(error) => {
                let sums = matches!(error.fault, Fault::Disagrees(Disagreement::Sums { .. }));
                assert!(sums && !accept, "{error:?}");
                scenario.finish().await;
            }
        }
        judge::check(&scenario, None);
    }
}

#[tokio::test(start_paused = true)]
async fn abandon_rolls_the_open_delta_back_and_keeps_the_closed_ones() {
    let mut scenario = half_done().await;
    let closed = scenario.target.with(|store| store.deltas.clone());
    assert!(!closed.is_empty());
    scenario.restore().abandon().await.unwrap();
    let target = scenario.target.with(|store| store.clone());
    assert_eq!((target.deltas, target.hot, target.marker), (closed, None, None));
    assert!(target.uploads.is_empty() && target.topics.is_empty());
    assert!(scenario.journal.is_empty());
}

/// Every data message flipped in turn: never a silent success, and the delta is rolled back.
#[tokio::test(start_paused = true)]
async fn a_flipped_byte_is_named_with_its_place() {
    let whole = Scenario::large(1).await;
    let (seed, topic) = (whole.seed, whole.memory.lock().topic.clone());
    for (partition, stored) in topic.iter().enumerate() {
        for (offset, stored) in stored.iter().enumerate() {
            let Stored::Visible(message) = stored else { continue };
            let mut scenario = Scenario::new(seed).await;
            let mut flipped = message.clone();
            let at = scenario.random(flipped.body.len() as u64) as usize;
            flipped.body[at] ^= 4;
            scenario.memory.lock().topic[partition][offset] = Stored::Visible(flipped);
            let fault = refused(&mut scenario).await;
            assert!(matches!(fault, Fault::Wanting(Wanting::Choice { .. })), "{fault:?}");
            let place = format!("partition {partition} offset {offset}");
            assert!(fault.to_string().contains(&place), "{fault}");
        }
    }
}

/// A message that changes after the choice is caught before its delta is closed.
#[tokio::test(start_paused = true)]
async fn a_byte_flipped_under_a_running_restore_is_named_and_its_delta_rolled_back() {
    let mut scenario = Scenario::large(1).await;
    let watch = std::sync::Arc::new(Flips(scenario.memory.clone()));
    let error = scenario.restore_watched(watch).execute().await.unwrap_err();
    let named = matches!(error.fault, Fault::Wanting(Wanting::Damaged { .. }));
    assert!(named, "{error:?}");
    let target = scenario.target.with(|store| store.clone());
    assert!(target.deltas.is_empty() && target.hot.is_none() && target.marker.is_none());
}

struct Flips(deltakeep::testing::Memory);

impl deltakeep::restore::Watch for Flips {
    fn tell(&self, event: deltakeep::restore::Event) {
        if let deltakeep::restore::Event::DeltaBegun { .. } = event {
            for stored in self.0.lock().topic.iter_mut().flatten() {
                if let Stored::Visible(message) = stored {
                    let at = message.body.len() - 1;
                    message.body[at] ^= 1;
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn lost_messages_leave_gaps_and_an_increment_lost_later_is_named() {
    let mut scenario = Scenario::large(1).await;
    let lose = |scenario: &Scenario| {
        let mut inner = scenario.memory.lock();
        let stored = inner.topic.iter_mut().flatten();
        let lost = stored.filter(|stored| matches!(stored, Stored::Visible(_))).nth(1);
        *lost.unwrap() = Stored::Marker;
    };
    lose(&scenario);
    let fault = refused(&mut scenario).await;
    assert!(matches!(fault, Fault::Wanting(Wanting::Choice { .. })), "{fault:?}");
    let mut scenario = half_done().await;
    lose(&scenario);
    let fault = scenario.fault().await;
    assert!(matches!(fault, Fault::Disagrees(Disagreement::IncrementGone { .. })), "{fault:?}");
}

/// Identical second copies and messages of others change nothing.
#[tokio::test(start_paused = true)]
async fn doubled_and_foreign_messages_do_no_harm() {
    for seed in 1..30 {
        let mut scenario = Scenario::new(seed).await;
        let copies: Vec<_> = scenario.memory.lock().topic.iter().flatten().cloned().collect();
        for copy in copies {
            let at = scenario.random(3);
            let mut inner = scenario.memory.lock();
            let partition = inner.topic.len() - 1;
            match (at, copy) {
                (0, Stored::Visible(message)) => {
                    let home = message.partition.0 as usize;
                    inner.topic[home].push(Stored::Visible(message));
                }
                (1, Stored::Visible(mut message)) => {
                    message.key = b"somebody's".to_vec();
                    inner.topic[partition].push(Stored::Visible(message));
                }
                _ => {}
            }
        }
        scenario.finish().await;
        judge::check(&scenario, None);
    }
}
