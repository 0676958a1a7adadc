//! The table of a restore's deltas in ARCHITECTURE.md against `restore/decide.rs`, over every
//! combination of what the journal and the target can say.

use std::collections::{BTreeMap, BTreeSet};

use deltakeep::journal::{Fact, RestoreFact};
use deltakeep::load::Hot;
use deltakeep::model::{AttemptName, Delta, DeltaDate, DeltaNum, IncrementId, TableName};
use deltakeep::restore::{Chosen, Decision, Look, State, decide};

use super::resume_tables::Oracle;

const DELTA: DeltaNum = DeltaNum(7);
const DATE: DeltaDate = DeltaDate(77);

fn table(name: &str) -> TableName {
    TableName(name.into())
}

/// Loads of the open delta: table, and how far they came.
type Loads<'a> = &'a [(&'a str, &'a str)];

fn state(journal: &str, loads: Loads<'_>) -> State {
    let delta = DELTA;
    let mut facts = vec![RestoreFact::DeltaBegun { delta }];
    for (number, (of, fate)) in loads.iter().enumerate() {
        let name = AttemptName(format!("load {number}"));
        let (opened, sent) = (name.clone(), name.clone());
        facts.push(RestoreFact::LoadOpened { name: opened, delta, table: table(of), part: 0 });
        if *fate != "opened" {
            facts.push(RestoreFact::LoadSent { name: sent, messages: 1, rows: 1 });
        }
        match *fate {
            "done" => facts.push(RestoreFact::LoadDone { name }),
            "failed" => facts.push(RestoreFact::LoadFailed { name }),
            _ => {}
        }
    }
    match journal {
        "nothing" => facts.clear(),
        "begun" => {}
        "committing" => facts.push(RestoreFact::CommitIntended { delta }),
        "done" => facts.push(RestoreFact::DeltaDone { delta }),
        other => panic!("no such word for the journal: {other}"),
    }
    let mut state = State::default();
    facts.into_iter().for_each(|fact| state.apply(Fact::Restore(fact)));
    state
}

fn hot(num: u64, rolling_back: bool, finished: &[(&str, u64)]) -> Option<Hot> {
    let finished = finished.iter().map(|(name, count)| (table(name), *count));
    Some(Hot { num: DeltaNum(num), rolling_back, finished: finished.collect::<BTreeMap<_, _>>() })
}

fn look(hot: Option<Hot>) -> Look {
    Look { closed: None, hot, is_next: true, marked: true }
}

fn closed(date: i64) -> Look {
    let delta = Delta { num: DELTA, date: DeltaDate(date), cn_from: 3, cn_to: 5 };
    Look { closed: Some(delta), ..look(None) }
}

/// Loads and targets in which the words are true. Sums of table `p` can be compared.
fn cases(target: &str) -> Vec<(Loads<'static>, Look)> {
    let open = |finished: &[(&str, u64)]| look(hot(7, false, finished));
    match target {
        "closed with another date" => vec![(&[], closed(78))],
        "closed" => vec![(&[], closed(77)), (&[("p", "done")], closed(77))],
        "open and not ours" => vec![
            (&[], look(hot(6, false, &[]))),
            (&[], look(hot(8, true, &[]))),
            (&[], Look { marked: false, ..open(&[]) }),
        ],
        "rolling back" => vec![(&[("p", "done")], look(hot(7, true, &[("p", 1)])))],
        "open as journalled" => vec![
            (&[], open(&[])),
            (&[("p", "opened")], open(&[])),
            (&[("p", "done"), ("p", "done"), ("q", "done")], open(&[("p", 2), ("q", 1)])),
            (&[("p", "done"), ("p", "failed")], open(&[("p", 1)])),
            (&[("p", "done"), ("p", "failed")], open(&[("p", 2)])),
            (&[("p", "done"), ("p", "sent")], open(&[("p", 1)])),
            (&[("q", "sent")], open(&[])),
        ],
        "open with the unanswered load" => vec![
            (&[("p", "sent")], open(&[("p", 1)])),
            (&[("p", "done"), ("p", "sent"), ("q", "done")], open(&[("p", 2), ("q", 1)])),
        ],
        "open otherwise" => vec![
            (&[("p", "done")], open(&[])),
            (&[("p", "done")], open(&[("p", 2)])),
            (&[("p", "done")], open(&[("p", 1), ("x", 1)])),
            (&[("p", "opened")], open(&[("p", 1)])),
            (&[("q", "sent")], open(&[("q", 1)])),
            (&[("p", "failed"), ("p", "sent")], open(&[("p", 1)])),
            (&[("p", "sent")], open(&[("p", 2)])),
        ],
        "next" => vec![(&[], look(None)), (&[("p", "done")], look(None))],
        "not next" => vec![(&[], Look { is_next: false, ..look(None) })],
        other => panic!("no such word for the target: {other}"),
    }
}

fn name(decision: &Decision) -> &'static str {
    match decision {
        Decision::Skip => "skip",
        Decision::Adopt => "adopt",
        Decision::Compare => "compare its sums, then adopt",
        Decision::GoOn { done, .. } if done.is_empty() => "go on",
        Decision::GoOn { done, failed } => {
            assert_eq!((done.len(), failed.len()), (1, 0));
            "note it as loaded, go on"
        }
        Decision::RollBack => "roll back, begin",
        Decision::Begin => "begin",
        Decision::Held { .. } => "stop: held",
        Decision::Changed { .. } => "stop: changed",
    }
}

#[test]
fn every_delta_of_a_restore_is_decided_as_the_table_says() {
    let mut oracle = Oracle::new("### A delta of a restore");
    let chosen = Chosen { delta: DELTA, increment: IncrementId("i".into()), date: DATE };
    let provable = BTreeSet::from([table("p")]);
    let targets = [
        "closed with another date",
        "closed",
        "open and not ours",
        "rolling back",
        "open as journalled",
        "open with the unanswered load",
        "open otherwise",
        "next",
        "not next",
    ];
    for journal in ["nothing", "begun", "committing", "done"] {
        for target in targets {
            let wanted = oracle.decide(journal, target);
            for (loads, look) in cases(target) {
                let decision = decide(&chosen, &state(journal, loads), &look, &provable);
                assert_eq!(name(&decision), wanted, "{journal} | {target}: {loads:?} {look:?}");
            }
        }
    }
    oracle.require_all_used();
}
