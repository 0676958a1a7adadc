//! What to do about the scratch datamart of a drill: a pure function of what the journal says and
//! of what the node shows (D9). ARCHITECTURE.md prints its table; a test compares the two.

use crate::journal::Place;
use crate::model::Owner;

/// What the journal says of the scratch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// Nothing.
    #[default]
    Nothing,
    /// It was absent, and CREATE DATABASE may have been sent.
    Intended,
    /// It carries our marker.
    Owned,
    /// The restore into it has begun.
    Restoring,
    /// DROP DATABASE may have been sent.
    Dropping,
    /// It is gone, or left as it was asked.
    Done,
}

/// What the node shows of the scratch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Look {
    /// There is no such datamart.
    Absent,
    /// It is there and holds nothing at all, not even a marker.
    Bare,
    /// It carries our marker.
    Ours {
        /// It holds a delta, a schema change or an entity.
        filled: bool,
    },
    /// It carries the marker of a drill that this journal remembers: it was kept.
    Kept(Owner),
    /// Anything else.
    Others,
    /// The marker that it carries is seen in the source, too: they are one datamart.
    Source,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Nothing is left to do.
    Skip,
    /// Note that it was dropped.
    NoteDropped,
    /// Create it and mark it.
    Create,
    /// Mark it.
    Mark,
    /// Go on in it.
    GoOn,
    /// Drop it, then look again.
    Drop,
    /// It is the source: touch nothing.
    Source,
    /// It is somebody else's: touch nothing.
    Held,
}

/// Decides about the scratch.
pub fn decide(phase: Phase, look: &Look) -> Decision {
    match (phase, look) {
        (Phase::Done, _) => Decision::Skip,
        (_, Look::Source) => Decision::Source,
        (Phase::Dropping, Look::Absent) => Decision::NoteDropped,
        (_, Look::Absent) => Decision::Create,
        (Phase::Intended, Look::Bare) => Decision::Mark,
        (Phase::Dropping, Look::Ours { .. }) => Decision::Drop,
        (Phase::Restoring, Look::Ours { .. }) | (_, Look::Ours { filled: false }) => Decision::GoOn,
        (_, Look::Ours { filled: true }) => Decision::Drop,
        (Phase::Nothing, Look::Kept(_)) => Decision::Drop,
        _ => Decision::Held,
    }
}

/// True where two places are spelled as one datamart of one node. Other spellings of one node are
/// found by the marker ([`Look::Source`]).
pub fn is_same(one: &Place, other: &Place) -> bool {
    let node = |place: &Place| place.node.trim_end_matches('.').to_ascii_lowercase();
    node(one) == node(other) && one.datamart.eq_ignore_ascii_case(&other.datamart)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(node: &str, datamart: &str) -> Place {
        Place { node: node.into(), datamart: datamart.into() }
    }

    #[test]
    fn one_datamart_is_known_by_its_usual_spellings() {
        let source = place("node.example:9090", "sales");
        assert!(is_same(&source, &place("NODE.example:9090", "Sales")));
        for other in [place("node.example:9091", "sales"), place("node.example:9090", "scratch")] {
            assert!(!is_same(&source, &other), "{other:?}");
        }
    }

    #[test]
    fn nothing_of_others_is_ever_dropped() {
        let phases = [
            Phase::Nothing,
            Phase::Intended,
            Phase::Owned,
            Phase::Restoring,
            Phase::Dropping,
            Phase::Done,
        ];
        for phase in phases {
            for look in [Look::Bare, Look::Others, Look::Source] {
                assert_ne!(decide(phase, &look), Decision::Drop, "{phase:?} {look:?}");
            }
        }
    }
}
