//! Pairs whose keys repeat: three parts that follow one another, over any crash; two halves, by
//! name, where parts are impossible.

use std::collections::BTreeSet;

use deltakeep::backup::State;
use deltakeep::format::TableManifest;
use deltakeep::journal::{Fact, Record, Saved};
use deltakeep::model::{Datasource, DeltaNum, Part, TableName};
use deltakeep::testing::Faults;

use super::judge;
use super::scenario::{Ended, Scenario, is_resumable};

/// What the complete increments of a finished run say of their tables.
fn manifests(scenario: &Scenario) -> Vec<(DeltaNum, TableManifest)> {
    let increments = judge::increments(&scenario.memory);
    let complete = increments.iter().filter(|(_, messages)| judge::is_complete(messages));
    let tables = complete.flat_map(|((delta, _), messages)| {
        judge::manifest(messages).tables.into_iter().map(|table| (*delta, table))
    });
    tables.collect()
}

fn state(scenario: &Scenario) -> State {
    let mut saved = Saved::default();
    scenario.records().into_iter().for_each(|record| saved.apply(record));
    State::of(saved)
}

#[tokio::test(start_paused = true)]
async fn repeated_keys_come_in_parts_and_all_others_are_exact() {
    let (mut exact, mut inexact) = (0, 0);
    for seed in 1..100 {
        let mut scenario = Scenario::new(seed);
        let summary = scenario.finish().await;
        judge::check(&scenario.memory, &summary, seed);
        assert_eq!(summary.in_halves, []);
        for (delta, table) in manifests(&scenario) {
            let rows = scenario.memory.lock().rows[&(delta, table.name.clone())].clone();
            let keys: BTreeSet<i64> = rows.iter().map(|row| row.id).collect();
            let repeat = keys.len() < rows.len();
            assert_eq!(table.parts.is_some(), repeat, "seed {seed}: {delta} {}", table.name);
            assert!(repeat || table.exact, "seed {seed}: {delta} {}", table.name);
            exact += u32::from(repeat && table.exact);
            inexact += u32::from(!table.exact);
        }
    }
    assert!(exact > 20 && inexact > 20, "{exact} pairs in parts are exact, {inexact} are not");
}

#[tokio::test(start_paused = true)]
async fn where_parts_are_impossible_two_halves_are_delivered_and_named() {
    let faults: [Faults; 3] = [
        Faults { refused_counts: 100, ..Faults::default() },
        Faults { refused_parts: 100, ..Faults::default() },
        Faults { unmerged_parts: 100, ..Faults::default() },
    ];
    for faults in faults {
        let mut named = 0;
        for seed in 1..60 {
            let mut scenario = Scenario::new(seed);
            scenario.set_faults(faults);
            let Ended::Done(summary) = scenario.execute(None).await else { panic!("seed {seed}") };
            judge::check(&scenario.memory, &summary, seed);
            let in_halves: BTreeSet<(DeltaNum, TableName)> = manifests(&scenario)
                .into_iter()
                .filter(|(_, table)| !table.exact && table.parts.is_none())
                .map(|(delta, table)| (delta, table.name))
                .collect();
            let summary: BTreeSet<_> = summary.in_halves.into_iter().collect();
            assert!(in_halves.is_subset(&summary), "seed {seed}: {in_halves:?}, {summary:?}");
            named += in_halves.len();
        }
        assert!(named > 20, "{faults:?}: only {named} pairs");
    }
}

/// Runs of which the first pair with repeated keys is unloaded in parts.
fn with_parts(count: usize) -> impl Iterator<Item = u64> {
    let repeats = |seed: &u64| {
        let scenario = Scenario::new(*seed);
        let inner = scenario.memory.lock();
        let first = inner.rows.values().find(|rows| !rows.is_empty());
        first.is_some_and(|rows| {
            let keys: BTreeSet<i64> = rows.iter().map(|row| row.id).collect();
            keys.len() < rows.len() && rows.len() > 6
        }) && inner.rows.len() < 4
            && scenario.shape.chunk_size < 5
    };
    (1..).filter(repeats).take(count)
}

#[tokio::test(start_paused = true)]
async fn a_run_in_parts_killed_at_any_single_step_is_resumed_exactly() {
    for seed in with_parts(1) {
        let mut half_way = BTreeSet::new();
        for step in 1.. {
            let mut scenario = Scenario::new(seed);
            match scenario.execute(Some(step)).await {
                Ended::Done(_) => break,
                Ended::Killed => {}
                Ended::Failed(error) => panic!("seed {seed} step {step}: {error:?}"),
            }
            half_way.insert(sealed_parts(&scenario));
            scenario.memory.lock().zombies_write();
            let summary = scenario.finish().await;
            if scenario.memory.lock().deltas.len() == summary.deltas.len() {
                judge::check(&scenario.memory, &summary, seed * 1_000_000 + step as u64);
            }
        }
        assert!(half_way.is_superset(&[0, 1, 2, 3].into()), "seed {seed}: {half_way:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_killed_before_it_refuses_its_parts_does_not_deliver_them() {
    let mut all_sealed = 0;
    for seed in with_parts(2) {
        for step in 1.. {
            let mut scenario = Scenario::new(seed);
            scenario.set_faults(Faults { unmerged_parts: 100, ..Faults::default() });
            match scenario.execute(Some(step)).await {
                Ended::Done(_) => break,
                Ended::Killed => {}
                Ended::Failed(error) => panic!("seed {seed} step {step}: {error:?}"),
            }
            if sealed_parts(&scenario) < 3 {
                continue;
            }
            all_sealed += 1;
            let summary = scenario.finish().await;
            judge::check(&scenario.memory, &summary, seed * 1_000_000 + step as u64);
        }
    }
    assert!(all_sealed > 0, "no run was killed with three sealed parts that do not add up");
}

/// How many parts of an unfinished pair the journal knows as sealed.
fn sealed_parts(scenario: &Scenario) -> usize {
    let state = state(scenario);
    let open = state.keys.keys().filter(|pair| !state.pairs.contains_key(*pair));
    let parts = open.map(|pair| state.parts_of(pair).iter().flatten().count());
    parts.max().unwrap_or(0)
}

/// Kills a run until chunks of a pair in parts are in the journal, and not all of them.
async fn stop_half_way(seed: u64) -> Option<Scenario> {
    for step in (60..1500).step_by(3) {
        let mut scenario = Scenario::new(seed);
        if !matches!(scenario.execute(Some(step)).await, Ended::Killed) {
            return None;
        }
        let state = state(&scenario);
        let stopped = state.progress.iter().any(|(key, progress)| {
            let pair = (key.delta, key.issue, key.table.clone().unwrap());
            let unfinished = !state.pairs.contains_key(&pair) && state.in_parts(&pair);
            unfinished && progress.chunks > 1
        });
        if stopped {
            return Some(scenario);
        }
    }
    None
}

#[tokio::test(start_paused = true)]
async fn a_part_lost_after_its_first_chunks_were_delivered_is_written_again() {
    let mut lost = 0;
    for seed in with_parts(6) {
        for part in Part::ALL {
            let Some(mut scenario) = stop_half_way(seed).await else { continue };
            let name = state(&scenario).attempts.values().find(|a| a.part == Some(part)).cloned();
            let staging = name.map(|attempt| attempt.attempt.name.0).unwrap();
            if scenario.memory.lock().staging.remove(&staging).is_none() {
                continue;
            }
            let summary = scenario.finish().await;
            judge::check(&scenario.memory, &summary, seed);
            // A part whose chunks are all delivered is not read again.
            lost += usize::from(!summary.reissued.is_empty());
        }
    }
    assert!(lost > 5, "only {lost} deltas were written again");
}

#[tokio::test(start_paused = true)]
async fn all_parts_and_their_counts_name_one_datasource_whatever_the_node_prefers_later() {
    for seed in with_parts(2) {
        for step in (60..400).step_by(15) {
            let mut scenario = Scenario::new(seed);
            let both = vec![Datasource("adp".into()), Datasource("adqm".into())];
            let swap = |scenario: &Scenario, order: &[Datasource]| {
                let mut inner = scenario.memory.lock();
                inner.tables.iter_mut().for_each(|table| table.datasources = order.to_vec());
            };
            swap(&scenario, &both);
            let mut ended = scenario.execute(Some(step)).await;
            let mut records = scenario.records();
            swap(&scenario, &[both[1].clone(), both[0].clone()]);
            while let Ended::Killed = ended {
                ended = scenario.execute(Some(400)).await;
                let known = scenario.records();
                records = if known.is_empty() { records } else { known };
            }
            require_one_datasource(&records, seed);
        }
    }
}

fn require_one_datasource(records: &[Record], seed: u64) {
    let mut counted = std::collections::BTreeMap::new();
    for record in records {
        match record {
            Record::Fact(Fact::KeysCounted { delta, issue, table, datasource, .. }) => {
                counted.insert((*delta, *issue, table.clone()), datasource.clone());
            }
            Record::Fact(Fact::PartOpened { attempt, issue, .. }) => {
                let pair = (attempt.delta, *issue, attempt.table.clone());
                assert_eq!(counted[&pair], attempt.datasource, "seed {seed}: {pair:?}");
                assert_eq!(attempt.partitions, 1);
            }
            _ => {}
        }
    }
}

#[tokio::test(start_paused = true)]
async fn whatever_happens_to_parts_a_resume_keeps_the_promise() {
    for seed in with_parts(60) {
        let mut scenario = Scenario::new(seed);
        let faults = Faults {
            lost_answers: scenario.random(4),
            bad_unloads: scenario.random(15),
            silent_unloads: scenario.random(10),
            late_commits: scenario.random(60),
            interrupted: scenario.random(10),
            lost_staging: scenario.random(30),
            refused_counts: scenario.random(4),
            refused_parts: scenario.random(4),
            unmerged_parts: scenario.random(4),
            ..Faults::default()
        };
        scenario.set_faults(faults);
        let mut done = None;
        for _ in 0..1 + scenario.random(5) {
            let steps = 1 + scenario.random(300) as i64;
            match scenario.execute(Some(steps)).await {
                Ended::Done(summary) => {
                    done = Some(summary);
                    break;
                }
                Ended::Killed => {}
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
    }
}
