//! Deltas that cannot be restored: what `--readonly` prints (issue of the seed: which increments
//! are missing). Pure; never asks a node.

use std::fmt;

use crate::model::{DeltaDate, DeltaNum};

use super::contents::Contents;

/// Numbers of deltas that are listed one by one in JSON; ranges have all of them.
const LISTED: usize = 1000;

/// Deltas without a complete increment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gaps {
    /// Nothing of them is there.
    pub missing: Ranges,
    /// Something of them is there.
    pub incomplete: Ranges,
}

impl Gaps {
    /// Those from `from` to `to`, both included. A key can name any number, so this takes as long
    /// as there are increments, however far apart they are.
    pub fn between(contents: &Contents, from: DeltaNum, to: DeltaNum) -> Self {
        let mut gaps = Self::default();
        let mut next = from.0;
        for (delta, is_complete) in contents.deltas() {
            if delta < from || delta > to {
                continue;
            }
            gaps.missing.push(next, delta.0.checked_sub(1));
            if !is_complete {
                gaps.incomplete.push(delta.0, Some(delta.0));
            }
            next = delta.0.saturating_add(1);
        }
        gaps.missing.push(next, Some(to.0));
        gaps
    }

    /// True where every delta has a complete increment.
    pub fn is_empty(&self) -> bool {
        self.missing.is_empty() && self.incomplete.is_empty()
    }
}

impl fmt::Display for Gaps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = Vec::new();
        if !self.missing.is_empty() {
            parts.push(format!("no increment of delta {}", self.missing));
        }
        if !self.incomplete.is_empty() {
            parts.push(format!("no complete increment of delta {}", self.incomplete));
        }
        f.write_str(&parts.join("; "))
    }
}

/// Rising numbers of deltas as ranges: first and last.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ranges(Vec<(u64, u64)>);

impl Ranges {
    /// A single delta.
    pub fn of(delta: DeltaNum) -> Self {
        Self(vec![(delta.0, delta.0)])
    }

    /// Adds those from `first` to `last`, which lie behind all others; none where there are none.
    fn push(&mut self, first: u64, last: Option<u64>) {
        let Some(last) = last.filter(|last| first <= *last) else { return };
        match self.0.last_mut() {
            Some((_, end)) if end.checked_add(1) == Some(first) => *end = last,
            _ => self.0.push((first, last)),
        }
    }

    /// True where there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many.
    pub fn count(&self) -> u64 {
        let counts = self.0.iter().map(|(first, last)| (last - first).saturating_add(1));
        counts.fold(0, u64::saturating_add)
    }

    /// Their numbers, one by one.
    pub fn numbers(&self) -> impl Iterator<Item = u64> {
        self.0.iter().flat_map(|(first, last)| *first..=*last)
    }
}

impl fmt::Display for Ranges {
    /// As `1, 3 to 5`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (first, last)) in self.0.iter().enumerate() {
            let comma = if place > 0 { ", " } else { "" };
            match first == last {
                true => write!(f, "{comma}{first}")?,
                false => write!(f, "{comma}{first} to {last}")?,
            }
        }
        Ok(())
    }
}

/// Whose newest delta counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Basis {
    /// The datamart's: its dates are those of the keys.
    Node,
    /// The topic's: there is no such datamart, or it has another history.
    Topic,
}

/// What `--readonly` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The newest delta looked for; none where there are none at all.
    pub newest: Option<DeltaNum>,
    /// Whose.
    pub basis: Basis,
    /// What is missing up to it.
    pub gaps: Gaps,
}

/// Compares a topic with the closed deltas of a datamart, as far as the caller asked for them:
/// the newest one, and the dates of any deltas.
pub fn report(contents: &Contents, node: &[(DeltaNum, DeltaDate)]) -> Report {
    let same = |(delta, date): &(DeltaNum, DeltaDate)| {
        let complete = contents.complete(*delta);
        complete.is_empty() || complete.values().any(|increment| increment.date == *date)
    };
    let newest = node.iter().map(|(delta, _)| *delta).max();
    let ahead = contents.newest() > newest;
    let (newest, basis) = match newest {
        Some(newest) if !ahead && node.iter().all(same) => (Some(newest), Basis::Node),
        _ => (contents.newest(), Basis::Topic),
    };
    let gaps = newest.map(|to| Gaps::between(contents, DeltaNum(0), to)).unwrap_or_default();
    Report { newest, basis, gaps }
}

impl Report {
    /// The lines of text output.
    pub fn lines(&self) -> Vec<String> {
        let whose = match self.basis {
            Basis::Node => "of the datamart",
            Basis::Topic => "in the topic",
        };
        let Some(newest) = self.newest else { return vec!["no closed delta".to_owned()] };
        let mut lines = vec![format!("newest delta {whose}: {newest}")];
        if self.gaps.is_empty() {
            lines.push(format!("every delta from 0 to {newest} has a complete increment"));
        }
        let mut list = |what: &str, deltas: &Ranges| {
            if !deltas.is_empty() {
                lines.push(format!("{what}: {deltas}"));
            }
        };
        list("missing", &self.gaps.missing);
        list("incomplete", &self.gaps.incomplete);
        lines
    }

    /// The document of `--output json`.
    pub fn to_json(&self) -> serde_json::Value {
        let numbers = |deltas: &Ranges| deltas.numbers().take(LISTED).collect::<Vec<_>>();
        serde_json::json!({
            "newestDelta": self.newest.map(|delta| delta.0),
            "basis": match self.basis { Basis::Node => "datamart", Basis::Topic => "topic" },
            "missing": numbers(&self.gaps.missing),
            "missingCount": self.gaps.missing.count(),
            "incomplete": numbers(&self.gaps.incomplete),
            "incompleteCount": self.gaps.incomplete.count(),
        })
    }
}
