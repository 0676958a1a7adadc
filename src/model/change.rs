//! The datamart's log of schema changes and which of its records belong to a delta.
//! Never reads the log itself.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::DeltaNum;

/// One record of the changelog (GET_CHANGES, PROSTORE.md 2.2).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Number, from 0 without gaps.
    pub num: u64,
    /// The entity it is about, lower case.
    pub entity: String,
    /// The normalised statement.
    pub query: String,
    /// Last closed delta when the statement started; none before delta 0.
    pub delta: Option<DeltaNum>,
    /// False while the node still holds it unfinished.
    pub finished: bool,
}

/// All records of a datamart, by number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChangeLog(pub Vec<Change>);

impl ChangeLog {
    /// The record that the node has not finished, if any: it blocks DENY_CHANGES.
    pub fn unfinished(&self) -> Option<&Change> {
        self.0.iter().find(|change| !change.finished)
    }

    /// Records that ran before delta `n`: those with no delta or one below `n` (PROSTORE.md 4).
    pub fn before(&self, n: DeltaNum) -> usize {
        let ran_before = |c: &&Change| c.delta.is_none_or(|d| d < n);
        self.0.iter().take_while(ran_before).count()
    }

    /// SHA-256 over the first `count` records: what a resume compares (DESIGN D3).
    /// None where the log is shorter.
    pub fn hash(&self, count: usize) -> Option<[u8; 32]> {
        let records = self.0.get(..count)?;
        let mut hash = Sha256::new();
        for change in records {
            for part in [&change.num.to_string(), &change.entity, &change.query] {
                hash.update((part.len() as u64).to_be_bytes());
                hash.update(part.as_bytes());
            }
            hash.update(change.delta.map_or(u64::MAX, |d| d.0).to_be_bytes());
        }
        Some(hash.finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(deltas: &[Option<u64>]) -> ChangeLog {
        let change = |(num, delta): (usize, &Option<u64>)| Change {
            num: num as u64,
            entity: "t".into(),
            query: format!("statement {num}"),
            delta: delta.map(DeltaNum),
            finished: true,
        };
        ChangeLog(deltas.iter().enumerate().map(change).collect())
    }

    #[test]
    fn records_run_before_the_delta_that_follows_theirs() {
        let log = log(&[None, None, Some(0), Some(2)]);
        let counts: Vec<_> = (0..4).map(|n| log.before(DeltaNum(n))).collect();
        assert_eq!(counts, [2, 3, 3, 4]);
    }

    #[test]
    fn the_hash_sees_every_field_and_the_count() {
        let one = log(&[None, Some(1)]);
        let mut other = one.clone();
        assert_eq!(one.hash(2), other.hash(2));
        assert_ne!(one.hash(1), one.hash(2));
        assert_eq!(one.hash(3), None);
        other.0[1].query.push('x');
        assert_ne!(one.hash(2), other.hash(2));
        assert_eq!(one.hash(1), other.hash(1));
    }
}
