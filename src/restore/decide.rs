//! What is left to do for a delta: a pure function of what the journal says and of what the
//! target shows (D8). ARCHITECTURE.md prints its table; a test compares the two.

use std::collections::{BTreeMap, BTreeSet};

use crate::load::Hot;
use crate::model::{AttemptName, Delta, DeltaNum, TableName};

use super::state::{Chosen, Fate, State};

/// What the target shows of a delta, once no write operation is under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Look {
    /// The delta, where it is closed.
    pub closed: Option<Delta>,
    /// The hot delta.
    pub hot: Option<Hot>,
    /// The delta before is closed, or there is none before.
    pub is_next: bool,
    /// The owner marker named this run before this pass came: a hot delta can be its own.
    pub marked: bool,
}

/// What to do about a delta.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// It is done.
    Skip,
    /// It is closed as intended: note it.
    Adopt,
    /// It is closed and the journal does not know: compare its sums, then note it.
    Compare,
    /// Go on in the hot delta, after noting what became of loads without an answer.
    GoOn {
        /// They were carried out.
        done: Vec<AttemptName>,
        /// They were not.
        failed: Vec<AttemptName>,
    },
    /// Roll the hot delta back, then begin anew.
    RollBack,
    /// Replay changes and begin.
    Begin,
    /// A hot delta is somebody else's: touch nothing.
    Held {
        /// Its number.
        hot: DeltaNum,
    },
    /// Somebody else changed what this run had done.
    Changed {
        /// What, as text.
        reason: &'static str,
    },
}

/// Decides about a delta. `provable` names the tables whose sums will be compared before COMMIT:
/// only there an unanswered load is believed to have come whole.
pub fn decide(
    chosen: &Chosen,
    state: &State,
    look: &Look,
    provable: &BTreeSet<TableName>,
) -> Decision {
    let n = chosen.delta;
    let done = state.done.is_some_and(|done| n <= done);
    let begun = state.begun == Some(n);
    if let Some(closed) = &look.closed {
        return match closed.date == chosen.date {
            false => Decision::Changed { reason: "it was closed with another date" },
            true if done => Decision::Skip,
            true if begun && state.committing => Decision::Adopt,
            true => Decision::Compare,
        };
    }
    match &look.hot {
        _ if done => Decision::Changed { reason: "it was closed, and is not any more" },
        Some(hot) if hot.num != n || !begun || !look.marked => Decision::Held { hot: hot.num },
        Some(hot) if hot.rolling_back => Decision::RollBack,
        Some(hot) => match settle(state, n, &hot.finished, provable) {
            Some((done, failed)) => Decision::GoOn { done, failed },
            None => Decision::RollBack,
        },
        None if look.is_next => Decision::Begin,
        None => Decision::Changed { reason: "the delta before it is not closed any more" },
    }
}

/// What became of loads whose answer is not known; none where the operations that the target has
/// finished are not those of the journal. A failed load may or may not count as an operation, so
/// beside one nothing can be told of another.
fn settle(
    state: &State,
    delta: DeltaNum,
    finished: &BTreeMap<TableName, u64>,
    provable: &BTreeSet<TableName>,
) -> Option<(Vec<AttemptName>, Vec<AttemptName>)> {
    let (mut carried_out, mut not) = (Vec::new(), Vec::new());
    let mut tables: BTreeSet<&TableName> = finished.keys().collect();
    tables.extend(state.loads_of(delta).map(|(_, load)| &load.table));
    for table in tables {
        let of_table = |fate| {
            let loads = state.loads_of(delta);
            let same = loads.filter(move |(_, load)| load.table == *table && load.fate == fate);
            same.map(|(name, _)| name.clone()).collect::<Vec<_>>()
        };
        let found = finished.get(table).copied().unwrap_or(0);
        let (done, failed) = (of_table(Fate::Done).len(), of_table(Fate::Failed).len());
        let (done, failed) = (done as u64, failed as u64);
        match &of_table(Fate::Sent)[..] {
            [] if (done..=done + failed).contains(&found) => {}
            [sent] if failed == 0 && found == done => not.push(sent.clone()),
            [sent] if failed == 0 && found == done + 1 && provable.contains(table) => {
                carried_out.push(sent.clone());
            }
            _ => return None,
        }
    }
    Some((carried_out, not))
}
