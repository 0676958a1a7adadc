//! Which deltas a run exports (seed, "Порядок работы команды"; DESIGN D4.3). Never asks the node
//! or the topic itself.

use std::ops::RangeInclusive;

use crate::model::DeltaNum;

/// What the operator asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// Every delta above the newest complete one in the topic.
    New,
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

/// The deltas to export; none where nothing newer is closed.
///
/// `newest` is the node's newest closed delta, `complete` the highest delta of this datamart that
/// is complete in the topic.
///
/// # Errors
/// [`NoRange`] where the topic is ahead of the node or the asked delta is not closed.
pub fn delta_range(
    newest: Option<DeltaNum>,
    complete: Option<DeltaNum>,
    asked: Asked,
) -> Result<Option<RangeInclusive<u64>>, NoRange> {
    if let Some(topic) = complete.filter(|&topic| newest.is_none_or(|node| topic > node)) {
        return Err(NoRange::TopicAhead { topic, node: newest });
    }
    match (asked, newest) {
        (Asked::From { first, .. }, newest) if newest.is_none_or(|n| first > n) => {
            Err(NoRange::NotClosed { asked: first, newest })
        }
        (_, None) => Ok(None),
        (Asked::From { first, further }, Some(newest)) => {
            Ok(Some(first.0..=newest.0.min(first.0.saturating_add(further))))
        }
        (Asked::New, Some(newest)) => {
            let first = complete.map_or(0, |c| c.0 + 1);
            Ok((first <= newest.0).then_some(first..=newest.0))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(newest: Option<u64>, complete: Option<u64>) -> Result<Option<Vec<u64>>, NoRange> {
        let found = delta_range(newest.map(DeltaNum), complete.map(DeltaNum), Asked::New)?;
        Ok(found.map(Iterator::collect))
    }

    #[test]
    fn an_empty_topic_gets_all_closed_deltas() {
        assert_eq!(range(Some(2), None), Ok(Some(vec![0, 1, 2])));
    }

    #[test]
    fn a_topic_with_deltas_gets_only_those_above_its_maximum() {
        assert_eq!(range(Some(3), Some(1)), Ok(Some(vec![2, 3])));
    }

    #[test]
    fn nothing_newer_exports_nothing() {
        assert_eq!(range(Some(3), Some(3)), Ok(None));
        assert_eq!(range(None, None), Ok(None));
    }

    #[test]
    fn a_topic_ahead_of_the_node_is_refused() {
        assert!(matches!(range(Some(2), Some(3)), Err(NoRange::TopicAhead { .. })));
        assert!(matches!(range(None, Some(0)), Err(NoRange::TopicAhead { .. })));
    }

    #[test]
    fn an_asked_delta_is_exported_again_and_further_ones_stop_at_the_last_closed() {
        let asked = |first, further| Asked::From { first: DeltaNum(first), further };
        let range = |a| delta_range(Some(DeltaNum(5)), Some(DeltaNum(5)), a);
        assert_eq!(range(asked(2, 0)), Ok(Some(2..=2)));
        assert_eq!(range(asked(4, 7)), Ok(Some(4..=5)));
        assert_eq!(range(asked(4, u64::MAX)), Ok(Some(4..=5)));
        assert!(matches!(range(asked(6, 0)), Err(NoRange::NotClosed { .. })));
    }
}
