//! Deltas that cannot be restored: what `--readonly` prints (issue of the seed: which increments
//! are missing). Pure; never asks a node.

use crate::model::{DeltaDate, DeltaNum};
use crate::plan::shown;

use super::contents::Contents;

/// Deltas without a complete increment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Gaps {
    /// Nothing of them is there.
    pub missing: Vec<DeltaNum>,
    /// Something of them is there.
    pub incomplete: Vec<DeltaNum>,
}

impl Gaps {
    /// Those from `from` to `to`, both included.
    pub fn between(contents: &Contents, from: DeltaNum, to: DeltaNum) -> Self {
        let mut gaps = Self::default();
        for delta in (from.0..=to.0).map(DeltaNum) {
            if contents.complete(delta).is_empty() {
                let some = contents.has_some(delta);
                if some { &mut gaps.incomplete } else { &mut gaps.missing }.push(delta);
            }
        }
        gaps
    }

    /// True where every delta has a complete increment.
    pub fn is_empty(&self) -> bool {
        self.missing.is_empty() && self.incomplete.is_empty()
    }
}

impl std::fmt::Display for Gaps {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut parts = Vec::new();
        if !self.missing.is_empty() {
            parts.push(format!("no increment of delta {}", shown(&self.missing)));
        }
        if !self.incomplete.is_empty() {
            parts.push(format!("no complete increment of delta {}", shown(&self.incomplete)));
        }
        f.write_str(&parts.join("; "))
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
        let mut list = |what: &str, deltas: &[DeltaNum]| {
            if !deltas.is_empty() {
                lines.push(format!("{what}: {}", shown(deltas)));
            }
        };
        list("missing", &self.gaps.missing);
        list("incomplete", &self.gaps.incomplete);
        lines
    }

    /// The document of `--output json`.
    pub fn to_json(&self) -> serde_json::Value {
        let numbers = |deltas: &[DeltaNum]| deltas.iter().map(|delta| delta.0).collect::<Vec<_>>();
        serde_json::json!({
            "newestDelta": self.newest.map(|delta| delta.0),
            "basis": match self.basis { Basis::Node => "datamart", Basis::Topic => "topic" },
            "missing": numbers(&self.gaps.missing),
            "incomplete": numbers(&self.gaps.incomplete),
        })
    }
}
