//! Whether a topic belongs to the history of the datamart (DESIGN D3). Never asks for dates.

use crate::model::{DeltaDate, DeltaNum};

/// The topic was filled from another history: a dropped and re-created datamart, or another one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("delta {delta} was closed at {topic} in the topic, but {} on the node",
        node.map_or("is unknown".to_owned(), |d| format!("at {d}")))]
pub struct OtherHistory {
    /// The delta whose date differs.
    pub delta: DeltaNum,
    /// Its date in the topic's keys, microseconds.
    pub topic: DeltaDate,
    /// Its date on the node, microseconds; none where the node has no such delta.
    pub node: Option<DeltaDate>,
}

/// Compares the dates of a delta as the topic's keys and the node have it.
///
/// # Errors
/// [`OtherHistory`] where they differ.
pub fn check_history(
    delta: DeltaNum,
    topic: DeltaDate,
    node: Option<DeltaDate>,
) -> Result<(), OtherHistory> {
    if node == Some(topic) { Ok(()) } else { Err(OtherHistory { delta, topic, node }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_dates_are_one_history_and_anything_else_is_not() {
        let check = |node| check_history(DeltaNum(1), DeltaDate(7), node);
        assert!(check(Some(DeltaDate(7))).is_ok());
        assert!(check(Some(DeltaDate(8))).is_err());
        assert!(check(None).is_err());
    }
}
