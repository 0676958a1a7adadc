//! The tables of a ClickHouse restore in ARCHITECTURE.md against `clickhouse/decide.rs`, over every
//! combination of what the journal and the server can say.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use deltakeep::clickhouse::decide::{
    Beside, Decision, Live, Look, Sent, decide_database, decide_table,
};
use deltakeep::journal::OperationStep;

/// Words of a cell; `any` fits everything.
type Cell = BTreeSet<String>;

/// The rows below a heading: six cells of conditions and the decision.
fn rows(heading: &str) -> Vec<(Vec<Cell>, String)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("ARCHITECTURE.md");
    let text = fs::read_to_string(path).expect("ARCHITECTURE.md is readable");
    let lines = text.lines().skip_while(|line| *line != heading);
    let table = lines.skip_while(|line| !line.starts_with('|')).skip(2);
    let row = |line: &str| {
        let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
        assert_eq!(cells.len(), 8, "not eight cells: {line}");
        let words = |cell: &&str| cell.split(',').map(|word| word.trim().to_owned()).collect();
        (cells[1..7].iter().map(words).collect(), cells[7].to_owned())
    };
    table.take_while(|line| line.starts_with('|')).map(row).collect()
}

fn step(step: OperationStep) -> &'static str {
    match step {
        OperationStep::Planned => "planned",
        OperationStep::Aside => "aside",
        OperationStep::Submitting => "submitting",
        OperationStep::Placing => "placing",
        OperationStep::Cleaning => "cleaning",
        OperationStep::RollingBack => "rolling back",
        OperationStep::Ended => "ended",
    }
}

fn words(look: &Look) -> [&'static str; 6] {
    [
        step(look.step),
        if look.replaces { "something" } else { "nothing" },
        if look.able { "yes" } else { "no" },
        match look.sent {
            Sent::Unknown => "unknown",
            Sent::Running => "running",
            Sent::Done => "done",
            Sent::Failed => "failed",
        },
        match look.live {
            Live::AsBefore => "as before",
            Live::Absent => "absent",
            Live::Fresh => "fresh",
            Live::Other => "other",
        },
        match look.beside {
            Beside::Empty => "empty",
            Beside::Old => "old",
            Beside::Fresh => "fresh",
            Beside::Other => "other",
        },
    ]
}

fn name(decision: Decision) -> &'static str {
    match decision {
        Decision::MoveAside => "move aside",
        Decision::Submit => "submit",
        Decision::Wait => "wait",
        Decision::Verify => "verify",
        Decision::Place => "place",
        Decision::Clean => "clean",
        Decision::DropOld => "drop old",
        Decision::RollBack => "roll back",
        Decision::Cancel => "cancel",
        Decision::DropPartial => "drop partial",
        Decision::MoveBack => "move back",
        Decision::Succeeded => "succeeded",
        Decision::RolledBack => "rolled back",
        Decision::Refuse => "refuse",
        Decision::Stop => "stop",
    }
}

fn looks() -> Vec<Look> {
    use OperationStep as S;
    let steps =
        [S::Planned, S::Aside, S::Submitting, S::Placing, S::Cleaning, S::RollingBack, S::Ended];
    let mut looks = Vec::new();
    for step in steps {
        for sent in [Sent::Unknown, Sent::Running, Sent::Done, Sent::Failed] {
            for live in [Live::AsBefore, Live::Absent, Live::Fresh, Live::Other] {
                for beside in [Beside::Empty, Beside::Old, Beside::Fresh, Beside::Other] {
                    for (replaces, able) in
                        [(true, true), (true, false), (false, true), (false, false)]
                    {
                        looks.push(Look { step, replaces, live, beside, sent, able });
                    }
                }
            }
        }
    }
    looks
}

fn compare(heading: &str, decide: fn(&Look) -> Decision) {
    let rows = rows(heading);
    let mut used = BTreeSet::new();
    for look in looks() {
        let words = words(&look);
        let fits = |(cells, _): &(Vec<Cell>, String)| {
            cells.iter().zip(words).all(|(cell, word)| cell.contains("any") || cell.contains(word))
        };
        let row = rows.iter().position(fits).unwrap_or_else(|| panic!("no row for {words:?}"));
        used.insert(row);
        assert_eq!(name(decide(&look)), rows[row].1, "row {}: {words:?}", row + 1);
    }
    assert_eq!(used.len(), rows.len(), "rows that nothing leads to: only {used:?} are used");
}

#[test]
fn every_restore_of_a_table_is_decided_as_the_table_says() {
    compare("### A restore of a ClickHouse table", decide_table);
}

#[test]
fn every_restore_of_a_database_is_decided_as_the_table_says() {
    compare("### A restore of a ClickHouse database", decide_database);
}

/// Dropping is decided only where what is dropped is known, and nothing is dropped twice over.
#[test]
fn what_was_there_before_is_dropped_only_beside_its_checked_replacement() {
    for look in looks() {
        for decision in [decide_table(&look), decide_database(&look)] {
            match decision {
                Decision::DropOld => {
                    assert_eq!((look.live, look.beside), (Live::Fresh, Beside::Old), "{look:?}");
                    assert_eq!(look.step, OperationStep::Cleaning, "{look:?}");
                }
                Decision::Place => assert_eq!(look.step, OperationStep::Placing, "{look:?}"),
                _ => {}
            }
        }
        if decide_table(&look) == Decision::DropPartial {
            assert_eq!(look.beside, Beside::Fresh, "{look:?}");
        }
        if decide_database(&look) == Decision::DropPartial {
            assert_eq!(look.live, Live::Fresh, "{look:?}");
            let kept = if look.replaces { Beside::Old } else { Beside::Empty };
            assert_eq!(look.beside, kept, "{look:?}");
        }
    }
}
