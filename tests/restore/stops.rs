//! Restores that are killed and gone on with.

use deltakeep::model::DeltaNum;
use deltakeep::testing::TargetFaults;

use super::judge;
use super::scenario::{Ended, Scenario};

/// Random scenarios; each is killed several times at random steps.
const SCENARIOS: u64 = 300;

#[tokio::test(start_paused = true)]
async fn an_undisturbed_restore_brings_the_source_back() {
    let mut in_parts = 0;
    for seed in 1..=SCENARIOS {
        let mut scenario = Scenario::new(seed).await;
        in_parts += u64::from(scenario.in_parts() > 0);
        let summary = scenario.finish().await;
        judge::check(&scenario, None);
        assert!(summary.findings.unverified.is_empty(), "seed {seed}");
    }
    assert!(in_parts > SCENARIOS / 4, "{in_parts} with repeated keys");
}

#[tokio::test(start_paused = true)]
async fn a_replica_is_brought_up_to_date_delta_by_delta() {
    for seed in 1..50 {
        let mut scenario = Scenario::new(seed).await;
        for to in 0..scenario.source.deltas.len() as u64 {
            scenario.wanted.from = Some(DeltaNum(to));
            scenario.wanted.to = Some(DeltaNum(to));
            scenario.finish().await;
            if to + 1 < scenario.source.deltas.len() as u64 {
                judge::check(&scenario, Some(to));
            }
        }
        judge::check(&scenario, None);
        scenario.grow().await;
        scenario.wanted.from = Some(DeltaNum(scenario.target.with(|t| t.deltas.len() as u64)));
        scenario.wanted.to = None;
        scenario.finish().await;
        judge::check(&scenario, None);
    }
}

#[tokio::test(start_paused = true)]
async fn deltas_backed_up_again_stand_for_themselves() {
    for seed in 1..60 {
        let mut scenario = Scenario::new(seed).await;
        let first = scenario.random(scenario.source.deltas.len() as u64);
        scenario.back_up_again(first, 1).await;
        scenario.finish().await;
        judge::check(&scenario, None);
    }
}

#[tokio::test(start_paused = true)]
async fn a_restore_killed_at_any_single_step_is_resumed_exactly() {
    for seed in [3, 11] {
        for step in 1.. {
            let mut scenario = Scenario::new(seed).await;
            match scenario.execute(Some(step)).await {
                Ended::Done(_) => {
                    assert!(step > 80, "the fuse was not reached after {step} steps");
                    break;
                }
                Ended::Killed => {}
                Ended::Failed(error) => panic!("seed {seed} step {step}: {error:?}"),
            }
            if !scenario.journal.is_empty() || scenario.target.with(|t| t.deltas.is_empty()) {
                // Nothing else went wrong: one resume is enough, and keeps what was loaded.
                let ended = scenario.execute(None).await;
                assert!(matches!(ended, Ended::Done(_)), "seed {seed} step {step}: {ended:?}");
                let calls = scenario.memory.lock().calls.clone();
                assert!(!calls.contains(&"rollback".to_owned()), "seed {seed} step {step}");
            }
            judge::check(&scenario, None);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn whatever_happens_a_resume_brings_the_source_back() {
    let mut kills = 0;
    for seed in 1..=SCENARIOS {
        kills += check_random(seed).await;
    }
    println!("{SCENARIOS} scenarios, {kills} kills");
    assert!(kills > SCENARIOS, "only {kills} kills");
}

async fn check_random(seed: u64) -> u64 {
    let mut scenario = Scenario::new(seed).await;
    scenario.target.set_faults(TargetFaults {
        lost_answers: scenario.random(4),
        silent_loads: scenario.random(8),
        bad_loads: scenario.random(15),
        bad_rollbacks: scenario.random(40),
        bad_changes: scenario.random(15),
        bad_topics: scenario.random(5),
    });
    let mut kills = 0;
    for _ in 0..1 + scenario.random(6) {
        let steps = 1 + scenario.random(500) as i64;
        match scenario.execute(Some(steps)).await {
            Ended::Done(_) => {
                judge::check(&scenario, None);
                return kills;
            }
            Ended::Killed => kills += 1,
            Ended::Failed(error) if scenario.cures(&error) => {}
            Ended::Failed(error) => panic!("seed {seed}: {error:?}"),
        }
        if scenario.journal.is_empty() && scenario.target.with(|target| !target.deltas.is_empty()) {
            break;
        }
        if scenario.random(2) == 0 {
            scenario.target.zombies_end();
        }
        if scenario.random(3) == 0 && scenario.journal.len() > 1 {
            let kept = 1 + scenario.random(scenario.journal.len() as u64 - 1) as usize;
            scenario.journal.cut(kept);
            scenario.cut = true;
        }
    }
    // Killed behind its very last record, a run has nothing to resume.
    if !scenario.journal.is_empty() || scenario.target.with(|target| target.deltas.is_empty()) {
        scenario.finish().await;
    }
    judge::check(&scenario, None);
    kills
}
