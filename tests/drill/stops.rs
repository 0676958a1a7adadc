//! Drills that are killed and gone on with.

use deltakeep::drill::report::Verdict;
use deltakeep::testing::TargetFaults;

use super::scenario::{Ended, Scenario};

const SCENARIOS: u64 = 150;

#[tokio::test(start_paused = true)]
async fn an_undisturbed_drill_is_ok_and_leaves_nothing() {
    for seed in 1..100 {
        let mut scenario = Scenario::new(seed).await;
        let report = scenario.finish().await;
        assert_eq!(report.verdict, Verdict::Ok, "seed {seed}: {:?}", report.failures);
        assert_eq!(report.deltas.len(), scenario.history.deltas.len(), "seed {seed}");
        assert_eq!(report.executions, 1, "seed {seed}");
        assert_eq!(scenario.reports.newest(), Some(report), "seed {seed}");
        scenario.require_gone();
    }
}

#[tokio::test(start_paused = true)]
async fn a_drill_killed_at_any_single_step_is_resumed_to_its_verdict() {
    // Every step of one history, and some of a longer one.
    for (from, by) in [(2, 1), (90, 11)] {
        let first = Scenario::filled(from).await;
        for step in (1..).step_by(by) {
            let mut scenario = first.again().await;
            match scenario.execute(Some(step)).await {
                Ended::Done(_) => {
                    assert!(step > 150, "the fuse was not reached after {step} steps");
                    break;
                }
                Ended::Killed => {}
                Ended::Failed(error) => panic!("from {from} step {step}: {error:?}"),
            }
            // Killed behind its very last record it has ended, and there is nothing to resume.
            if !scenario.journal.is_empty() || scenario.reports.newest().is_none() {
                let ended = scenario.execute(None).await;
                assert!(matches!(ended, Ended::Done(_)), "from {from} step {step}: {ended:?}");
            }
            let report = scenario.reports.newest().unwrap();
            assert_eq!(report.verdict, Verdict::Ok, "step {step}: {:?}", report.failures);
            assert_eq!(report.deltas.len(), scenario.history.deltas.len(), "step {step}");
            scenario.require_gone();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn whatever_happens_a_resume_ends_without_the_scratch_and_with_a_report() {
    let mut kills = 0;
    for seed in 1..=SCENARIOS {
        kills += check_random(seed).await;
    }
    println!("{SCENARIOS} scenarios, {kills} kills");
    assert!(kills > SCENARIOS / 2, "only {kills} kills");
}

async fn check_random(seed: u64) -> u64 {
    let mut scenario = Scenario::new(seed).await;
    let lost_answers = scenario.random(4);
    scenario.scratch.set_faults(TargetFaults {
        lost_answers,
        silent_loads: scenario.random(4),
        bad_loads: scenario.random(10),
        bad_rollbacks: scenario.random(40),
        bad_topics: scenario.random(5),
        ..TargetFaults::default()
    });
    scenario.source.set_faults(TargetFaults { lost_answers, ..TargetFaults::default() });
    let mut kills = 0;
    for _ in 0..1 + scenario.random(5) {
        let steps = 1 + scenario.random(700) as i64;
        match scenario.execute(Some(steps)).await {
            Ended::Done(_) => break,
            Ended::Killed => kills += 1,
            // With faults that come and go a stop is as good as a kill.
            Ended::Failed(_) => {}
        }
        if scenario.random(2) == 0 {
            scenario.scratch.zombies_end();
        }
        if scenario.random(3) == 0 && scenario.journal.len() > 1 {
            // The first record stays: without it the scratch is an unknown drill's.
            let kept = 1 + scenario.random(scenario.journal.len() as u64 - 1) as usize;
            scenario.journal.cut(kept);
        }
    }
    if !scenario.journal.is_empty() || scenario.reports.newest().is_none() {
        scenario.finish().await;
    }
    assert!(scenario.reports.newest().is_some(), "seed {seed}");
    scenario.require_gone();
    kills
}

#[tokio::test(start_paused = true)]
async fn an_abandoned_drill_drops_its_scratch_and_writes_no_report() {
    let first = Scenario::filled(5).await;
    for step in (1..600).step_by(7) {
        let mut scenario = first.again().await;
        if matches!(scenario.execute(Some(step)).await, Ended::Done(_)) {
            break;
        }
        let reported = scenario.reports.newest().is_some();
        scenario.drill().abandon().await.unwrap();
        assert_eq!(scenario.reports.newest().is_some(), reported, "step {step}");
        scenario.require_gone();
    }
}
