//! A model of the resume protocol, explored whole within its bounds (`stateright`): writer, crash,
//! zombie, journal roll-back, second runner, unload attempts. The resume decision, the reading of
//! the topic, the horizon and the counting of an unload are the product's own functions, called
//! with real facts; what surrounds them is modelled, each file says what of the product it stands
//! for. ARCHITECTURE.md, "The model", gives the bounds and what is left out.

mod brokers;
mod invariants;
mod moves;
mod records;
mod road;
mod state;
mod worker;

use std::time::Instant;

use stateright::{Checker, HasDiscoveries, Model};

use moves::Protocol;
use state::{Bounds, Rules, Spent};

const NONE: Spent = Spent {
    crashes: 0,
    rollbacks: 0,
    failures: 0,
    lost_commits: 0,
    lost_answers: 0,
    unload_faults: 0,
    lost_staging: 0,
    foreign: 0,
};

/// One run of one table, killed twice, its journal rolled back once, its producers living on.
const WRITER: Bounds = Bounds {
    tables: 1,
    last_is_empty: false,
    lanes: 1,
    runs: 1,
    zombies: true,
    most: Spent { crashes: 2, rollbacks: 1, ..NONE },
    kill_anywhere: false,
    whole_lock: true,
    whole_unload: true,
};

/// One run of two tables, of which one has no changes, in two lanes that write into one partition.
const LANES: Bounds = Bounds {
    tables: 2,
    last_is_empty: true,
    lanes: 2,
    zombies: false,
    most: NONE,
    kill_anywhere: true,
    ..WRITER
};

/// Two runs with the same code, from hosts that know nothing of each other, and a third party that
/// locks without a marker.
const RUNNERS: Bounds = Bounds {
    last_is_empty: true,
    runs: 2,
    zombies: false,
    most: Spent { crashes: 1, foreign: 1, ..NONE },
    whole_lock: false,
    ..WRITER
};

/// One table, and an unload that fails, lies, is never answered, or is written to after its answer.
const UNLOADS: Bounds = Bounds {
    zombies: false,
    most: Spent { crashes: 1, unload_faults: 1, ..NONE },
    whole_unload: false,
    ..WRITER
};

/// Wider bounds where time is given (`scripts/test --long`).
fn within(short: Bounds, long: Spent) -> Bounds {
    match std::env::var_os("DELTAKEEP_LONG") {
        Some(_) => Bounds { most: long, ..short },
        None => short,
    }
}

/// Explores everything; no invariant is broken.
fn holds(name: &str, bounds: Bounds) {
    let begun = Instant::now();
    let checker = Protocol::new(bounds, Rules::ALL).checker();
    let checker = checker.finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    println!(
        "{name}: {} states, {} moves, the longest path has {} ({:?}); bounds: {bounds:?}",
        checker.unique_state_count(),
        checker.state_count(),
        checker.max_depth(),
        begun.elapsed()
    );
    if let Some((broken, path)) = checker.discoveries().into_iter().next() {
        panic!("{name}: \"{broken}\" is broken after {:#?}", path.into_actions());
    }
}

/// Without the rule one of these invariants breaks; the shortest way there is printed.
fn breaks(name: &str, bounds: Bounds, rules: Rules, invariants: &[&'static str]) {
    let checker = Protocol::new(bounds, rules).checker();
    let wanted = HasDiscoveries::AnyOf(invariants.iter().copied().collect());
    let checker = checker.finish_when(wanted).spawn_bfs().join();
    let found = checker.discoveries();
    println!("without {name}: {} states", checker.unique_state_count());
    for (broken, path) in &found {
        let actions = path.clone().into_actions();
        println!("\"{broken}\" breaks after {} moves: {actions:?}", actions.len());
    }
    let expected = |broken: &&str| invariants.contains(broken);
    assert!(found.keys().any(expected), "without {name} none of {invariants:?} breaks");
}

#[test]
fn a_writer_that_crashes_and_forgets_and_its_zombies() {
    let long = Spent { lost_commits: 1, ..WRITER.most };
    holds("writer", within(WRITER, long));
}

#[test]
fn two_lanes_in_one_partition() {
    holds("lanes", LANES);
}

#[test]
fn two_runners_with_the_same_code() {
    let long = Spent { crashes: 1, failures: 1, ..NONE };
    holds("runners", within(RUNNERS, long));
}

#[test]
fn two_runners_that_stop_in_order_and_miss_answers_of_the_node() {
    let most = Spent { failures: 1, lost_answers: 1, ..NONE };
    holds("runners that stop", Bounds { most, ..RUNNERS });
}

#[test]
fn unloads_that_fail_and_lie_and_come_back() {
    let long = Spent { rollbacks: 1, ..UNLOADS.most };
    holds("unloads", within(UNLOADS, long));
}

#[test]
fn without_the_fence_a_zombie_breaks_it() {
    let rules = Rules { fence: false, ..Rules::ALL };
    breaks("the fence", WRITER, rules, &[invariants::TWICE]);
}

#[test]
fn without_the_seal_an_unload_that_goes_on_breaks_it() {
    let rules = Rules { seal: false, ..Rules::ALL };
    breaks("the seal", UNLOADS, rules, &[invariants::WHOLE]);
}

#[test]
fn without_adoption_by_source_a_journal_rolled_back_breaks_it() {
    let rules = Rules { source: false, ..Rules::ALL };
    breaks("adoption by source", WRITER, rules, &[invariants::MIXED]);
}

#[test]
fn without_the_marker_a_second_runner_breaks_it() {
    let rules = Rules { marker: false, ..Rules::ALL };
    breaks("the marker", RUNNERS, rules, &[invariants::LOCK]);
}

#[test]
fn without_pins_a_second_crash_breaks_it() {
    let rules = Rules { pins: false, ..Rules::ALL };
    let bounds = Bounds { most: Spent { crashes: 1, ..NONE }, ..LANES };
    breaks("pins", bounds, rules, &[invariants::RESUMES]);
}
