//! Which deltas a run exports (seed, "Порядок работы команды"; DESIGN D4.3). Never asks the node
//! or the topic itself.

use std::collections::BTreeSet;

use crate::model::DeltaNum;

/// What the operator asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// Every delta above the newest complete one in the topic.
    New,
    /// Those, and every delta below it that the topic does not hold completely (`--fillGaps`).
    NewAndGaps,
    /// This delta and that many after it, as far as they are closed.
    From {
        /// `--deltaNum`
        first: DeltaNum,
        /// `--nextDeltasCount`
        further: u64,
    },
}

/// Why there is no range.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoRange {
    /// The topic's newest complete delta is newer than the node's.
    #[error("the topic holds delta {topic}, but the node's newest closed delta is {}", show(node))]
    TopicAhead {
        /// Newest complete delta in the topic.
        topic: DeltaNum,
        /// Newest closed delta of the node.
        node: Option<DeltaNum>,
    },
    /// The delta asked for is not closed.
    #[error("delta {asked} is not closed yet: the newest closed delta is {}", show(newest))]
    NotClosed {
        /// `--deltaNum`
        asked: DeltaNum,
        /// Newest closed delta of the node.
        newest: Option<DeltaNum>,
    },
}

fn show(delta: &Option<DeltaNum>) -> String {
    delta.map_or_else(|| "none".to_owned(), |d| d.to_string())
}

/// The deltas to export, in order; none where nothing newer is closed.
///
/// `newest` is the node's newest closed delta, `complete` the deltas of this datamart that are
/// complete in the topic.
///
/// # Errors
/// [`NoRange`] where the topic is ahead of the node or the asked delta is not closed.
pub fn delta_range(
    newest: Option<DeltaNum>,
    complete: &BTreeSet<DeltaNum>,
    asked: Asked,
) -> Result<Vec<DeltaNum>, NoRange> {
    let highest = complete.last().copied();
    if let Some(topic) = highest.filter(|&topic| newest.is_none_or(|node| topic > node)) {
        return Err(NoRange::TopicAhead { topic, node: newest });
    }
    let range = match (asked, newest) {
        (Asked::From { first, .. }, newest) if newest.is_none_or(|n| first > n) => {
            return Err(NoRange::NotClosed { asked: first, newest });
        }
        (_, None) => return Ok(vec![]),
        (Asked::From { first, further }, Some(newest)) => {
            first.0..=newest.0.min(first.0.saturating_add(further))
        }
        (Asked::New, Some(newest)) => highest.map_or(0, |highest| highest.0 + 1)..=newest.0,
        (Asked::NewAndGaps, Some(newest)) => {
            let missing = (0..=newest.0).map(DeltaNum).filter(|delta| !complete.contains(delta));
            return Ok(missing.collect());
        }
    };
    Ok(range.map(DeltaNum).collect())
}

/// The deltas below the newest complete one that the topic does not hold completely.
pub fn gaps(complete: &BTreeSet<DeltaNum>) -> Vec<DeltaNum> {
    let below = 0..complete.last().map_or(0, |highest| highest.0);
    below.map(DeltaNum).filter(|delta| !complete.contains(delta)).collect()
}

/// Numbers for people, runs of them as first and last: `0, 3 to 7`.
pub fn shown(deltas: &[DeltaNum]) -> String {
    let runs = deltas.chunk_by(|a, b| a.0 + 1 == b.0);
    let text = |run: &[DeltaNum]| match run {
        [first, .., last] => format!("{first} to {last}"),
        few => few.first().map(DeltaNum::to_string).unwrap_or_default(),
    };
    runs.map(text).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(newest: Option<u64>, complete: Option<u64>) -> Result<Vec<u64>, NoRange> {
        let complete = (0..complete.map_or(0, |highest| highest + 1)).map(DeltaNum).collect();
        let found = delta_range(newest.map(DeltaNum), &complete, Asked::New)?;
        Ok(found.into_iter().map(|delta| delta.0).collect())
    }

    #[test]
    fn an_empty_topic_gets_all_closed_deltas() {
        assert_eq!(range(Some(2), None), Ok(vec![0, 1, 2]));
    }

    #[test]
    fn a_topic_with_deltas_gets_only_those_above_its_maximum() {
        assert_eq!(range(Some(3), Some(1)), Ok(vec![2, 3]));
    }

    #[test]
    fn nothing_newer_exports_nothing() {
        assert_eq!(range(Some(3), Some(3)), Ok(vec![]));
        assert_eq!(range(None, None), Ok(vec![]));
    }

    #[test]
    fn a_topic_ahead_of_the_node_is_refused() {
        assert!(matches!(range(Some(2), Some(3)), Err(NoRange::TopicAhead { .. })));
        assert!(matches!(range(None, Some(0)), Err(NoRange::TopicAhead { .. })));
    }

    #[test]
    fn an_asked_delta_is_exported_again_and_further_ones_stop_at_the_last_closed() {
        let asked = |first, further| Asked::From { first: DeltaNum(first), further };
        let complete = BTreeSet::from([DeltaNum(5)]);
        let range = |a| {
            let found = delta_range(Some(DeltaNum(5)), &complete, a)?;
            Ok(found.into_iter().map(|delta| delta.0).collect::<Vec<_>>())
        };
        assert_eq!(range(asked(2, 0)), Ok(vec![2]));
        assert_eq!(range(asked(4, 7)), Ok(vec![4, 5]));
        assert_eq!(range(asked(4, u64::MAX)), Ok(vec![4, 5]));
        let above: Result<_, NoRange> = range(asked(6, 0));
        assert!(matches!(above, Err(NoRange::NotClosed { .. })));
    }

    #[test]
    fn gaps_are_what_is_not_complete_below_the_newest_and_are_filled_with_what_is_new() {
        let complete = [1, 3, 4].map(DeltaNum).into_iter().collect();
        let filled = delta_range(Some(DeltaNum(6)), &complete, Asked::NewAndGaps);
        assert_eq!(filled, Ok([0, 2, 5, 6].map(DeltaNum).to_vec()));
        assert_eq!(gaps(&complete), [0, 2].map(DeltaNum));
        let whole = delta_range(Some(DeltaNum(4)), &complete, Asked::New);
        assert_eq!(whole, Ok(vec![]), "without being asked nobody fills them");
        let ahead = delta_range(Some(DeltaNum(3)), &complete, Asked::NewAndGaps);
        assert!(matches!(ahead, Err(NoRange::TopicAhead { .. })));
        assert_eq!(gaps(&BTreeSet::new()), []);
        assert_eq!(shown(&[0, 2, 3, 4, 9].map(DeltaNum)), "0, 2 to 4, 9");
    }
}
