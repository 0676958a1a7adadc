//! What a comparison amounts to: whether the scratch holds what was backed up, table by table. Pure:
//! what everybody told comes in as values. A pair of which nothing could be compared is never
//! equal.

use std::collections::{BTreeMap, BTreeSet};

use crate::journal::drill_record::{PairCompared, Sums, Told};

/// Whether the scratch holds what was backed up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// By the manifest's sums.
    Equal,
    /// The manifest has none; by the live source's sums.
    EqualToSource,
    /// It does not.
    Differs {
        /// `CHECK_SUM` or `CHECK_SUM_SNAPSHOT`.
        sum: &'static str,
        /// By the backup, or by the source where the backup has none.
        wanted: String,
        /// By the scratch.
        found: String,
    },
    /// The delta was not restored.
    NotRestored,
    /// Nobody can say, and why.
    NotComparable(String),
}

/// What the live source says of a pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceSays {
    /// It still has what was backed up.
    Same,
    /// It has something else.
    Differs,
    /// It cannot say, and why.
    Unknown(String),
}

/// Judges the scratch's part of a pair.
pub fn outcome(pair: &PairCompared) -> Outcome {
    let changes = pair.exact.then(|| one("CHECK_SUM", &pair.changes));
    let found = [changes, Some(one("CHECK_SUM_SNAPSHOT", &pair.snapshot))];
    let found: Vec<Outcome> = found.into_iter().flatten().collect();
    let is = |kind: fn(&Outcome) -> bool| found.iter().find(|outcome| kind(outcome)).cloned();
    is(|outcome| matches!(outcome, Outcome::Differs { .. }))
        .or_else(|| is(|outcome| *outcome == Outcome::NotRestored))
        .or_else(|| is(|outcome| *outcome == Outcome::Equal))
        .or_else(|| is(|outcome| *outcome == Outcome::EqualToSource))
        .or_else(|| found.first().cloned())
        .unwrap_or_else(|| Outcome::NotComparable(String::new()))
}

fn one(sum: &'static str, sums: &Sums) -> Outcome {
    let compared = |wanted: &String, found: &String, equal| match wanted == found {
        true => equal,
        false => Outcome::Differs { sum, wanted: wanted.clone(), found: found.clone() },
    };
    match (&sums.manifest, &sums.source, &sums.scratch) {
        (_, _, Told::NoDelta) => Outcome::NotRestored,
        (Told::Sum(wanted), _, Told::Sum(found)) => compared(wanted, found, Outcome::Equal),
        (_, Told::Sum(wanted), Told::Sum(found)) => compared(wanted, found, Outcome::EqualToSource),
        (_, _, unknown @ (Told::NoTable | Told::Refused(_) | Told::NoSum)) => {
            Outcome::NotComparable(format!("the scratch: {}", why(unknown)))
        }
        (_, source, Told::Sum(_)) => {
            let source = why(source);
            Outcome::NotComparable(format!("the backup has no {sum}, and the source: {source}"))
        }
    }
}

/// Judges the source's part of a pair.
pub fn source_says(pair: &PairCompared) -> SourceSays {
    let one = |sums: &Sums| match (&sums.manifest, &sums.source) {
        (Told::Sum(wanted), Told::Sum(found)) if wanted == found => SourceSays::Same,
        (Told::Sum(_), Told::Sum(_)) => SourceSays::Differs,
        (Told::Sum(_), unknown) => SourceSays::Unknown(why(unknown)),
        (_, _) => SourceSays::Unknown("the backup has no sum".to_owned()),
    };
    let found = [one(&pair.changes), one(&pair.snapshot)];
    let is = |wanted: &SourceSays| found.iter().find(|says| *says == wanted).cloned();
    is(&SourceSays::Differs).or_else(|| is(&SourceSays::Same)).unwrap_or_else(|| found[0].clone())
}

fn why(told: &Told) -> String {
    match told {
        Told::Sum(sum) => sum.clone(),
        Told::NoDelta => "the delta is not closed there".to_owned(),
        Told::NoTable => "a later change dropped the table or made it again".to_owned(),
        Told::NoSum => "no sum".to_owned(),
        Told::Refused(text) => format!("the node refuses: {text}"),
    }
}

/// The entities that a log of schema changes leaves, and those of which it cannot tell: a DROP in
/// one datasource leaves the table where it lies in others.
pub fn entities<'a>(
    changes: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut there, mut unclear) = (BTreeSet::new(), BTreeSet::new());
    for (entity, query) in changes {
        let words: Vec<String> = query.split_whitespace().map(str::to_ascii_uppercase).collect();
        let partly = words.iter().any(|word| word.starts_with("DATASOURCE_TYPE"));
        match words.first().map(String::as_str) {
            Some("CREATE") => {
                there.insert(entity.to_owned());
                unclear.remove(entity);
            }
            Some("DROP") if partly => {
                unclear.insert(entity.to_owned());
            }
            Some("DROP") => {
                there.remove(entity);
                unclear.remove(entity);
            }
            _ => {}
        }
    }
    there.retain(|entity| !unclear.contains(entity));
    (there, unclear)
}

/// How many pairs have which outcome, for a summary.
pub fn count<'a>(pairs: impl IntoIterator<Item = &'a PairCompared>) -> BTreeMap<&'static str, u64> {
    let mut counts = BTreeMap::new();
    for pair in pairs {
        *counts.entry(word(&outcome(pair))).or_default() += 1;
    }
    counts
}

/// The word for an outcome in drill.json.
pub fn word(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Equal => "equal",
        Outcome::EqualToSource => "equalToSource",
        Outcome::Differs { .. } => "differs",
        Outcome::NotRestored => "notRestored",
        Outcome::NotComparable(_) => "notComparable",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::TableName;

    fn sum(text: &str) -> Told {
        match text {
            "" => Told::NoSum,
            "gone" => Told::NoTable,
            "unrestored" => Told::NoDelta,
            sum => Told::Sum(sum.to_owned()),
        }
    }

    fn pair(exact: bool, changes: [&str; 3], snapshot: [&str; 3]) -> PairCompared {
        let sums = |[manifest, scratch, source]: [&str; 3]| Sums {
            manifest: sum(manifest),
            scratch: sum(scratch),
            source: sum(source),
        };
        let (changes, snapshot) = (sums(changes), sums(snapshot));
        PairCompared { table: TableName("t".into()), rows: 1, exact, changes, snapshot }
    }

    /// Sums by manifest, scratch, source.
    fn found(exact: bool, changes: [&str; 3], snapshot: [&str; 3]) -> &'static str {
        word(&outcome(&pair(exact, changes, snapshot)))
    }

    #[test]
    fn both_sums_of_an_exact_pair_must_be_the_manifests() {
        assert_eq!(found(true, ["1", "1", "1"], ["2", "2", "2"]), "equal");
        assert_eq!(found(true, ["1", "9", "9"], ["2", "2", "2"]), "differs");
        assert_eq!(found(true, ["1", "1", "1"], ["2", "9", "9"]), "differs");
        assert_eq!(found(true, ["1", "1", "1"], ["", "2", "2"]), "equal");
    }

    #[test]
    fn of_an_inexact_pair_only_the_state_counts() {
        assert_eq!(found(false, ["1", "9", "1"], ["2", "2", "2"]), "equal");
        assert_eq!(found(false, ["1", "1", "1"], ["2", "9", "2"]), "differs");
        assert_eq!(found(false, ["1", "1", "1"], ["", "", ""]), "notComparable");
    }

    #[test]
    fn where_the_manifest_is_silent_the_source_speaks_and_else_nobody() {
        assert_eq!(found(false, ["", "1", "1"], ["", "2", "2"]), "equalToSource");
        assert_eq!(found(false, ["", "1", "1"], ["", "2", "9"]), "differs");
        assert_eq!(found(false, ["", "1", ""], ["", "2", ""]), "notComparable");
        assert_eq!(found(true, ["", "", ""], ["", "", ""]), "notComparable");
        assert_eq!(found(true, ["1", "gone", "1"], ["2", "gone", "2"]), "notComparable");
        assert_eq!(found(true, ["1", "unrestored", "1"], ["2", "unrestored", "2"]), "notRestored");
    }

    #[test]
    fn the_source_is_told_apart_from_the_backup() {
        let says = |source: [&str; 2]| {
            source_says(&pair(true, ["1", "1", source[0]], ["2", "2", source[1]]))
        };
        assert_eq!(says(["1", "2"]), SourceSays::Same);
        assert_eq!(says(["1", "9"]), SourceSays::Differs);
        assert!(matches!(says(["gone", "gone"]), SourceSays::Unknown(_)));
        // A source that changed since says nothing against the backup.
        assert_eq!(found(true, ["1", "1", "9"], ["2", "2", "9"]), "equal");
    }

    #[test]
    fn a_log_tells_what_it_leaves() {
        let log = [
            ("a", "CREATE TABLE s.a (id int)"),
            ("b", "create table s.b (id int)"),
            ("v", "CREATE OR REPLACE VIEW s.v AS SELECT 1"),
            ("v", "ALTER VIEW s.v AS SELECT 2"),
            ("a", "DROP TABLE s.a"),
            ("c", "CREATE TABLE s.c (id int) DATASOURCE_TYPE (adp,adqm)"),
            ("c", "DROP TABLE s.c DATASOURCE_TYPE = 'adp'"),
        ];
        let (there, unclear) = entities(log);
        assert_eq!(there.into_iter().collect::<Vec<_>>(), ["b", "v"]);
        assert_eq!(unclear.into_iter().collect::<Vec<_>>(), ["c"]);
    }
}
