//! Which increment stands for each delta (D8 "Freeze"). Pure; the order of two increments is that
//! of their changelogs' ends in one partition, never that of clocks.

use std::collections::BTreeMap;

use crate::model::{DeltaDate, DeltaNum, IncrementId};

use super::contents::{Contents, Increment};
use super::gaps::{Gaps, Ranges};

/// What is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// First delta (`--deltaFrom`); 0 where none is given.
    pub from: Option<DeltaNum>,
    /// Last delta (`--delta`); the newest that the topic has where none is given.
    pub to: Option<DeltaNum>,
    /// Increments to be taken where a delta has several (`--increment`).
    pub increments: Vec<IncrementId>,
}

/// The increment that stands for a delta.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The delta.
    pub delta: DeltaNum,
    /// When it was closed, by the keys.
    pub date: DeltaDate,
    /// The increment.
    pub increment: IncrementId,
}

/// Why there is no choice. Exit 4 in all cases.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoChoice {
    /// The topic holds nothing of the datamart.
    #[error("the topic holds nothing of datamart {datamart}{}", among(.others))]
    Nothing {
        /// The datamart.
        datamart: String,
        /// Those it holds something of.
        others: Vec<String>,
    },
    /// The first delta asked for is behind the last one.
    #[error("deltas {from} to {to} are no range")]
    NoRange {
        /// First.
        from: DeltaNum,
        /// Last.
        to: DeltaNum,
    },
    /// Deltas without a complete increment.
    #[error("{0}")]
    Gaps(Gaps),
    /// Two complete increments of one delta were closed at different times: two histories.
    #[error(
        "delta {delta} has two histories: increment {} closed at {}, increment {} at {}",
        .first.0, .first.1, .second.0, .second.1
    )]
    TwoHistories {
        /// The delta.
        delta: DeltaNum,
        /// One.
        first: (IncrementId, DeltaDate),
        /// Another.
        second: (IncrementId, DeltaDate),
    },
    /// Two complete increments of one delta end in different partitions: nobody can say which is
    /// the newer one.
    #[error(
        "increments {first} and {second} of delta {delta} end in different partitions; which one \
         is newer cannot be told"
    )]
    Unordered {
        /// The delta.
        delta: DeltaNum,
        /// One.
        first: IncrementId,
        /// Another.
        second: IncrementId,
    },
    /// The manifest of a delta follows another delta than the one that was chosen before it.
    #[error(
        "delta {delta} follows a delta {previous} closed at {wanted}, but the topic's was closed at {found}"
    )]
    Broken {
        /// The delta.
        delta: DeltaNum,
        /// The one before.
        previous: DeltaNum,
        /// By the manifest.
        wanted: DeltaDate,
        /// By the choice.
        found: DeltaDate,
    },
}

fn among(others: &[String]) -> String {
    match others {
        [] => String::new(),
        others => format!("; it holds {}", others.join(", ")),
    }
}

/// Chooses an increment for every delta asked for.
///
/// # Errors
/// [`NoChoice`].
pub fn choose(contents: &Contents, wanted: &Wanted) -> Result<Vec<Choice>, NoChoice> {
    let Some(newest) = contents.newest() else {
        let datamart = contents.datamart.to_string();
        let others = contents.others.iter().map(ToString::to_string).collect();
        return Err(NoChoice::Nothing { datamart, others });
    };
    let (from, to) = (wanted.from.unwrap_or(DeltaNum(0)), wanted.to.unwrap_or(newest));
    if from > to {
        return Err(NoChoice::NoRange { from, to });
    }
    let gaps = Gaps::between(contents, from, to);
    if !gaps.is_empty() {
        return Err(NoChoice::Gaps(gaps));
    }
    let mut choices: Vec<Choice> = Vec::new();
    for delta in (from.0..=to.0).map(DeltaNum) {
        let (increment, view) = choose_one(delta, contents.complete(delta), &wanted.increments)?;
        follows(delta, view, choices.last())?;
        choices.push(Choice { delta, date: view.date, increment });
    }
    Ok(choices)
}

fn choose_one<'a>(
    delta: DeltaNum,
    complete: BTreeMap<&IncrementId, &'a Increment>,
    asked: &[IncrementId],
) -> Result<(IncrementId, &'a Increment), NoChoice> {
    if let Some((id, view)) = complete.iter().find(|(id, _)| asked.contains(id)) {
        return Ok(((*id).clone(), view));
    }
    let mut best: Option<(IncrementId, &Increment)> = None;
    for (id, view) in complete {
        let Some((before, chosen)) = &best else {
            best = Some((id.clone(), view));
            continue;
        };
        if chosen.date != view.date {
            let first = (before.clone(), chosen.date);
            return Err(NoChoice::TwoHistories { delta, first, second: (id.clone(), view.date) });
        }
        match (chosen.end, view.end) {
            (Some((at, old)), Some((other, new))) if at == other => {
                if new > old {
                    best = Some((id.clone(), view));
                }
            }
            _ => {
                let (first, second) = (before.clone(), id.clone());
                return Err(NoChoice::Unordered { delta, first, second });
            }
        }
    }
    // The caller has found no gap.
    best.ok_or_else(|| {
        let missing = Ranges::of(delta);
        NoChoice::Gaps(Gaps { missing, ..Gaps::default() })
    })
}

fn follows(delta: DeltaNum, view: &Increment, before: Option<&Choice>) -> Result<(), NoChoice> {
    let promised = view.manifest.as_ref().and_then(|manifest| manifest.previous_delta);
    match (promised, before) {
        (Some(promised), Some(before))
            if promised.number == before.delta && promised.date != before.date =>
        {
            let (previous, wanted, found) = (before.delta, promised.date, before.date);
            Err(NoChoice::Broken { delta, previous, wanted, found })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failing test may panic")]
mod tests {
    use super::*;
    use crate::catalog::Seen;
    use crate::format::{encode_changelog, encode_key};
    use crate::model::{ChunkNumber, Datamart, MessageKey, Offset, Partition, StreamNumber};
    use crate::restore::gaps::{self, Basis};

    /// An increment that is nothing but a changelog: delta, id, date, where it ends, complete.
    type Made<'a> = (u64, &'a str, i64, (i32, i64), bool);

    fn contents(made: &[Made<'_>]) -> Contents {
        let mut contents = Contents::new(Datamart::parse("db").unwrap());
        for (delta, id, date, (partition, offset), is_last) in made {
            let key = MessageKey {
                increment: IncrementId((*id).into()),
                datamart: Datamart::parse("db").unwrap(),
                delta: DeltaNum(*delta),
                date: DeltaDate(*date),
                table: None,
                stream: StreamNumber(1),
                stream_total: 1,
                chunk: ChunkNumber(1),
                is_last: *is_last,
            };
            let key = encode_key(&key);
            let body = encode_changelog(&[], &key, 0, None);
            let (partition, offset) = (Partition(*partition), Offset(*offset));
            contents.see(Seen { partition, offset, key: &key, body: &body });
        }
        contents
    }

    fn chosen(made: &[Made<'_>], wanted: &Wanted) -> Result<Vec<String>, NoChoice> {
        let choices = choose(&contents(made), wanted)?;
        Ok(choices.into_iter().map(|choice| choice.increment.0).collect())
    }

    #[test]
    fn the_increment_whose_changelog_ends_last_stands_for_its_delta() {
        let made =
            [(0, "b", 5, (0, 9), true), (0, "a", 5, (0, 12), true), (0, "c", 5, (0, 15), false)];
        assert_eq!(chosen(&made, &Wanted::default()).unwrap(), ["a"]);
        let asked = Wanted { increments: vec![IncrementId("b".into())], ..Wanted::default() };
        assert_eq!(chosen(&made, &asked).unwrap(), ["b"]);
    }

    #[test]
    fn what_cannot_be_ordered_or_is_two_histories_is_refused_with_both_names() {
        let made = [(0, "a", 5, (0, 9), true), (0, "b", 5, (1, 3), true)];
        let error = chosen(&made, &Wanted::default()).unwrap_err();
        assert!(matches!(error, NoChoice::Unordered { .. }), "{error}");
        assert!(error.to_string().contains("increments a and b"), "{error}");
        let asked = Wanted { increments: vec![IncrementId("a".into())], ..Wanted::default() };
        assert_eq!(chosen(&made, &asked).unwrap(), ["a"]);
        let made = [(0, "a", 5, (0, 9), true), (0, "b", 6, (0, 10), true)];
        let error = chosen(&made, &Wanted::default()).unwrap_err();
        assert!(matches!(error, NoChoice::TwoHistories { .. }), "{error}");
    }

    #[test]
    fn gaps_are_listed_and_only_those_of_the_range() {
        let whole = |delta| (delta, "a", delta as i64, (0, delta as i64), true);
        let made = [whole(0), whole(1), (3, "a", 3, (0, 3), false), whole(5), whole(6)];
        let error = chosen(&made, &Wanted::default()).unwrap_err();
        let text = "no increment of delta 2, 4; no complete increment of delta 3";
        assert_eq!(error.to_string(), text);
        let to = |from, to| Wanted { from, to: Some(DeltaNum(to)), ..Wanted::default() };
        assert_eq!(chosen(&made, &to(None, 1)).unwrap().len(), 2);
        assert_eq!(chosen(&made, &to(Some(DeltaNum(5)), 6)).unwrap().len(), 2);
        assert!(matches!(chosen(&made, &to(None, 9)), Err(NoChoice::Gaps(_))));
        assert!(matches!(chosen(&made, &to(Some(DeltaNum(2)), 1)), Err(NoChoice::NoRange { .. })));
        assert!(matches!(chosen(&[], &Wanted::default()), Err(NoChoice::Nothing { .. })));
    }

    #[test]
    fn deltas_far_apart_are_told_at_once() {
        let far = (i64::MAX as u64, "a", 3, (0, 3), true);
        let made = [(0, "a", 1, (0, 0), true), (4, "a", 2, (0, 1), false), far];
        let error = chosen(&made, &Wanted::default()).unwrap_err().to_string();
        let missing = "no increment of delta 1 to 3, 5 to 9223372036854775806";
        assert_eq!(error, format!("{missing}; no complete increment of delta 4"));
        let json = gaps::report(&contents(&made), &[]).to_json();
        assert_eq!(json["missing"].as_array().map(Vec::len), Some(1000));
        assert_eq!(json["missingCount"], serde_json::json!(9_223_372_036_854_775_805u64));
        assert_eq!((&json["incomplete"], &json["incompleteCount"]), (&[4].into(), &1.into()));
    }

    #[test]
    fn the_report_goes_up_to_the_datamarts_newest_delta_if_it_is_the_same_history() {
        let contents = contents(&[(0, "a", 7, (0, 0), true), (2, "a", 9, (0, 2), true)]);
        let node = |dates: &[(u64, i64)]| {
            let dates: Vec<_> =
                dates.iter().map(|(n, date)| (DeltaNum(*n), DeltaDate(*date))).collect();
            gaps::report(&contents, &dates)
        };
        let same = node(&[(0, 7), (2, 9), (4, 11)]);
        assert_eq!((same.basis, same.newest), (Basis::Node, Some(DeltaNum(4))));
        assert_eq!(same.gaps.missing.numbers().collect::<Vec<_>>(), [1, 3, 4]);
        for other in [node(&[(0, 8), (4, 11)]), node(&[(0, 7)]), node(&[])] {
            assert_eq!((other.basis, other.newest), (Basis::Topic, Some(DeltaNum(2))));
            assert_eq!(other.to_json()["missing"], serde_json::json!([1]));
        }
        assert!(same.lines().contains(&"missing: 1, 3 to 4".to_owned()));
    }
}
