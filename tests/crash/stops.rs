//! Runs that are killed and gone on with.

use deltakeep::backup::State;
use deltakeep::format::decode_key;
use deltakeep::journal::Saved;
use deltakeep::testing::{Faults, Stored};

use super::judge;
use super::scenario::{Ended, Scenario, is_resumable};

/// Random scenarios; each is killed several times at random steps.
const SCENARIOS: u64 = 1500;

#[tokio::test(start_paused = true)]
async fn an_undisturbed_run_keeps_the_promise() {
    for seed in 1..200 {
        let mut scenario = Scenario::new(seed);
        let summary = scenario.finish().await;
        judge::check(&scenario.memory, &summary, seed);
        assert_eq!(scenario.records(), [], "an ended run leaves no record");
    }
}

#[tokio::test(start_paused = true)]
async fn every_third_history_has_tables_in_several_streams() {
    let mut several = 0;
    for seed in 1..=60 {
        let mut scenario = Scenario::new(seed);
        scenario.finish().await;
        let inner = scenario.memory.lock();
        let keys = inner.topic.iter().flatten().filter_map(|stored| match stored {
            Stored::Visible(message) => Some(decode_key(&message.key).unwrap()),
            _ => None,
        });
        several += usize::from(keys.into_iter().any(|key| key.stream_total > 1));
    }
    assert!(several >= 20, "only {several} of 60");
}

#[tokio::test(start_paused = true)]
async fn a_second_run_finds_nothing_new() {
    for seed in 1..100 {
        let mut scenario = Scenario::new(seed);
        scenario.finish().await;
        let before = scenario.memory.lock().topic.clone();
        let again = scenario.finish().await;
        assert_eq!(again.run, None, "seed {seed}");
        assert_eq!(scenario.memory.lock().topic, before, "seed {seed}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_killed_at_any_single_step_is_resumed_exactly() {
    for seed in [3, 7, 11] {
        for step in 1.. {
            let mut scenario = Scenario::new(seed);
            match scenario.execute(Some(step)).await {
                Ended::Done(_) => {
                    assert!(step > 50, "the fuse was not reached after {step} steps");
                    break;
                }
                Ended::Killed => {}
                Ended::Failed(error) => panic!("seed {seed} step {step}: {error:?}"),
            }
            check_intents(&scenario, step);
            scenario.memory.lock().zombies_write();
            let summary = scenario.finish().await;
            if scenario.memory.lock().deltas.len() == summary.deltas.len() {
                judge::check(&scenario.memory, &summary, seed * 1_000_000 + step as u64);
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn messages_that_do_not_fit_are_made_smaller() {
    let mut reissued = 0;
    for seed in 1..60 {
        for (connector_rows, topic_bytes) in [(2, 0), (0, 545), (3, 545)] {
            let mut scenario = Scenario::new(seed);
            scenario.shape.chunk_size = 40;
            scenario.set_faults(Faults { connector_rows, topic_bytes, ..Faults::default() });
            let mut ended = scenario.execute(None).await;
            for _ in 0..5 {
                let Ended::Failed(error) = ended else { break };
                assert!(is_resumable(&error), "seed {seed}: {error:?}");
                ended = scenario.execute(None).await;
            }
            let Ended::Done(summary) = ended else { panic!("seed {seed}: {ended:?}") };
            reissued += summary.reissued.len();
            judge::check(&scenario.memory, &summary, seed);
        }
    }
    assert!(reissued > 20, "only {reissued} deltas were written again");
}

/// Whatever exists outside stands in the journal already (intent before effect, D4.2).
fn check_intents(scenario: &Scenario, step: i64) {
    let mut saved = Saved::default();
    scenario.records().into_iter().for_each(|record| saved.apply(record));
    let state = State::of(saved);
    let inner = scenario.memory.lock();
    for name in inner.staging.keys().chain(&inner.tables_made) {
        let known = state.attempts.keys().any(|attempt| attempt.0 == *name);
        assert!(known, "step {step}: {name} exists and the journal does not know it");
    }
    assert!(inner.marker.is_none() || state.started.is_some(), "step {step}: a marker of nobody");
}

#[tokio::test(start_paused = true)]
async fn whatever_happens_a_resume_keeps_the_promise() {
    let mut kills = 0;
    for seed in 1..=SCENARIOS {
        kills += check_random(seed).await;
    }
    println!("{SCENARIOS} scenarios, {kills} kills");
    assert!(kills > SCENARIOS, "only {kills} kills");
}

async fn check_random(seed: u64) -> u64 {
    let mut scenario = Scenario::new(seed);
    let faults = Faults {
        lost_answers: scenario.random(4),
        bad_unloads: scenario.random(15),
        silent_unloads: scenario.random(10),
        late_commits: scenario.random(60),
        interrupted: scenario.random(10),
        lost_staging: scenario.random(30),
        failed_discards: scenario.random(10),
        slow_discards: scenario.random(4),
        ..Faults::default()
    };
    scenario.set_faults(faults);
    let mut kills = 0;
    let mut done = None;
    for _ in 0..1 + scenario.random(5) {
        let steps = 1 + scenario.random(400) as i64;
        match scenario.execute(Some(steps)).await {
            Ended::Done(summary) => {
                done = Some(summary);
                break;
            }
            Ended::Killed => kills += 1,
            Ended::Failed(error) if is_resumable(&error) => {}
            Ended::Failed(error) => panic!("seed {seed}: {error:?}"),
        }
        scenario.meanwhile();
    }
    let summary = match done {
        Some(summary) => summary,
        None => scenario.finish().await,
    };
    judge::check(&scenario.memory, &summary, seed);
    kills
}
