//! Keys that occur more than once inside one delta (DESIGN D4.13): the three parts such a pair is
//! unloaded in, and what counts of keys prove about them. Never asks anything.

use serde::{Deserialize, Serialize};

/// One of the parts of a pair with repeated keys, in the order in which a restore loads them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Part {
    /// Rows that the delta added and that are not there at its end.
    Dead,
    /// Rows that the delta removed.
    Removed,
    /// Rows that the delta added and that are there at its end.
    Alive,
}

impl Part {
    /// All of them, in order.
    pub const ALL: [Self; 3] = [Self::Dead, Self::Removed, Self::Alive];

    /// `deltakeep.part` of its chunks: 1, 2 or 3.
    pub fn number(self) -> u8 {
        self as u8 + 1
    }
}

/// What a node counts of one (delta, table) to find repeated keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyCounts {
    /// Rows added.
    pub started: u64,
    /// Rows removed.
    pub finished: u64,
    /// Different keys among both.
    pub keys: u64,
    /// Different keys among the rows added that are there at the delta's end. None where it was
    /// not asked or the node cannot say; so are the two below.
    pub alive: Option<u64>,
    /// Different keys among the rows added that are not there at the delta's end.
    pub dead: Option<u64>,
    /// Keys that have such a row and of which the delta removed an older row as well.
    pub replaced: Option<u64>,
}

impl KeyCounts {
    /// True where a key occurs more than once among the rows added and removed.
    pub fn repeat(&self) -> bool {
        self.started + self.finished != self.keys
    }

    /// True where parts of so many rows lead to the right rows at the delta's end, loaded one after
    /// the other. The third must hold each key that is there at the end exactly once: a datasource
    /// that read the second branch of INTERSECT without merging it would return more. Fewer rows
    /// than were added are right: equal versions of a key count once in EXCEPT and INTERSECT.
    pub fn fit(&self, [dead, removed, alive]: [u64; 3]) -> bool {
        Some(alive) == self.alive && removed == self.finished && dead + alive <= self.started
    }

    /// True where CHECK_SUM of what a restore of these parts makes equals that of the source:
    /// nothing collapsed, no key has two dead versions, and none has an older row removed before
    /// a dead one came (the restore would close the older row as replaced, not as removed). What
    /// the node did not say counts against it.
    pub fn exact(&self, rows: [u64; 3]) -> bool {
        self.fit(rows)
            && rows[0] + rows[2] == self.started
            && self.dead == Some(rows[0])
            && self.replaced == Some(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three rows added of which one is alive, one removed.
    const COUNTS: KeyCounts = KeyCounts {
        started: 3,
        finished: 1,
        keys: 3,
        alive: Some(1),
        dead: Some(2),
        replaced: Some(0),
    };

    #[test]
    fn parts_fit_where_all_is_removed_and_alive_and_no_more_is_there_than_was_added() {
        assert!(COUNTS.fit([2, 1, 1]));
        assert!(COUNTS.fit([1, 1, 1]), "equal versions count once");
        for rows in [[3, 1, 1], [2, 0, 1], [2, 2, 1], [2, 1, 0], [2, 1, 2], [1, 1, 2]] {
            assert!(!COUNTS.fit(rows), "{rows:?}");
        }
        assert!(!KeyCounts { alive: None, ..COUNTS }.fit([2, 1, 1]));
    }

    #[test]
    fn a_restore_is_exact_where_nothing_collapsed_and_nothing_older_was_replaced() {
        assert!(COUNTS.exact([2, 1, 1]));
        assert!(!COUNTS.exact([1, 1, 1]));
        for (dead, replaced) in
            [(Some(1), Some(0)), (None, Some(0)), (Some(2), Some(1)), (Some(2), None)]
        {
            assert!(!KeyCounts { dead, replaced, ..COUNTS }.exact([2, 1, 1]));
        }
    }
}
