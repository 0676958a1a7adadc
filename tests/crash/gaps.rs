//! Deltas that are missing or incomplete below the newest complete one: told of, and exported when
//! `--fillGaps` asks for it, whatever is killed meanwhile.

use std::sync::{Arc, Mutex};

use deltakeep::backup::{Event, Watch};
use deltakeep::model::DeltaNum;
use deltakeep::testing::Faults;

use super::judge;
use super::scenario::{Ended, Scenario, is_resumable};

#[derive(Default)]
struct Warnings(Mutex<String>);

impl Watch for Warnings {
    fn tell(&self, event: Event) {
        if let Event::Warning { text } = event {
            self.0.lock().unwrap().push_str(&text);
        }
    }
}

/// A topic that holds the newest delta, parts of what a given-up run wrote, and nothing else.
async fn gapped(seed: u64) -> Option<Scenario> {
    let mut scenario = Scenario::new(seed);
    let newest = scenario.memory.lock().deltas.last().map(|d| d.num)?;
    if newest < DeltaNum(2) {
        return None;
    }
    let steps = 60 + scenario.random(160) as i64;
    if !matches!(scenario.execute(Some(steps)).await, Ended::Killed) {
        return None;
    }
    scenario.memory.fuse().set(None);
    scenario.backup().abandon().await.unwrap();
    // One that came to its end leaves no gap.
    scenario.backup().draft().await.unwrap().deltas.last()?;
    scenario.shape.asked = Some((newest, 0));
    scenario.finish().await;
    scenario.shape.asked = None;
    Some(scenario)
}

#[tokio::test(start_paused = true)]
async fn gaps_are_told_of_and_stay_until_they_are_asked_for() {
    let (mut parts, mut nothing) = (0, 0);
    for seed in 1..150 {
        let Some(mut scenario) = gapped(seed).await else { continue };
        let before = scenario.memory.lock().topic.clone();
        let told = Arc::new(Warnings::default());
        let summary = scenario.backup_watched(told.clone()).execute().await.unwrap();
        assert_eq!(summary.run, None, "seed {seed}");
        assert_eq!(scenario.memory.lock().topic, before, "seed {seed}");
        let told = told.0.lock().unwrap().clone();
        scenario.shape.fill_gaps = true;
        let filled = scenario.finish().await;
        assert_eq!(told.contains("--fillGaps"), filled.run.is_some(), "seed {seed}: {told}");
        parts += u32::from(told.contains("only a part"));
        nothing += u32::from(told.contains("lacks"));
    }
    assert!(parts > 3 && nothing > 3, "{parts} with parts, {nothing} with nothing");
}

#[tokio::test(start_paused = true)]
async fn gaps_are_filled_exactly_whatever_is_killed_meanwhile() {
    let (mut kills, mut filled) = (0, 0);
    for seed in 1..300 {
        let Some(mut scenario) = gapped(seed).await else { continue };
        scenario.shape.fill_gaps = true;
        let faults =
            Faults { lost_answers: 2, interrupted: 4, lost_staging: 9, ..Faults::default() };
        scenario.set_faults(faults);
        let mut done = None;
        for _ in 0..3 {
            let steps = 1 + scenario.random(300) as i64;
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
            if seed % 5 == 0 {
                scenario.journal.cut(1);
            }
            // What a resume is told does not count: its journal knows what was asked.
            scenario.shape.fill_gaps = scenario.journal.is_empty();
        }
        let summary = match done {
            Some(summary) => summary,
            None => scenario.finish().await,
        };
        judge::check(&scenario.memory, &summary, seed);
        filled += 1;
    }
    assert!(kills > 100 && filled > 50, "{kills} kills, {filled} filled");
}
