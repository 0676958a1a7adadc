//! Owns the faults a sandbox can be told to show and when each is due; never carries one out.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use thiserror::Error;

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FaultKind {
    /// `hang-unload`: the unload never answers and nothing is written.
    HangUnload,
    /// `hang-unload-after=K`: the unload writes K messages, then never answers.
    HangUnloadAfter(u64),
    /// `drop-answer`: any statement does its work, then the connection is cut without an answer.
    DropAnswer,
    /// `drop-unload-answer`: an unload does its work, then the connection is cut.
    DropUnloadAnswer,
    /// `drop-load-answer`: a load does its work, then the connection is cut.
    DropLoadAnswer,
    /// `fail-unload-after=K`: K messages are written, then the answer is status 500.
    FailUnloadAfter(u64),
    /// `zombie-unload=MS`: the connection is cut at once; the unload starts writing MS milliseconds later, to its end.
    ZombieUnload(u64),
    /// `oversize-unload`: 500 as for a message above 1 MB; the topic holds only an empty last chunk.
    OversizeUnload,
    /// `reader-down`: the unload fails at once because its connector cannot be reached.
    ReaderDown,
    /// `double-last`: after the true last chunk comes one more, empty and marked last (status 200).
    DoubleLast,
    /// `duplicate-chunk`: the first chunk is written twice.
    DuplicateChunk,
    /// `skip-chunk`: the first chunk is not written although the answer is 200.
    SkipChunk,
    /// `silent-unload`: the answer is 200, nothing is written.
    SilentUnload,
    /// `slow-unload=MS`: waits MS milliseconds before each message.
    SlowUnload(u64),
    /// `slow-load=MS`: waits MS milliseconds before a load starts.
    SlowLoad(u64),
    /// `lying-load`: the answer is 200, nothing is loaded.
    LyingLoad,
    /// `fail-load`: the load is undone and answers FIRST_OFFSET_TIMEOUT.
    FailLoad,
    /// `fail-load-counted`: as `fail-load`, but the operation counts as finished.
    FailLoadCounted,
    /// `zombie-load=MS`: the connection is cut at once; the load, listed meanwhile, goes on MS milliseconds later.
    ZombieLoad(u64),
    /// `late-load=MS`: the connection is cut at once; the statement reaches the node MS milliseconds later.
    LateLoad(u64),
    /// `hang-load`: the load never answers; its write operation stays listed.
    HangLoad,
    /// `unfinished-ddl`: the DDL fails and its change record stays unfinished.
    UnfinishedDdl,
    /// `stale-delta-ok`: GET_DELTA_OK answers with the delta before the last one.
    StaleDeltaOk,
    /// `lost-deny`: DENY_CHANGES takes the lock, then the connection is cut.
    LostDeny,
    /// `fail-commit`: COMMIT DELTA is refused as if writes were under way.
    FailCommit,
    /// `wrong-sum`: CHECK_SUM and CHECK_SUM_SNAPSHOT answer one more than the true value.
    WrongSum,
    /// `consistency-breach`: CHECK_SUM fails as if two datasources held different rows.
    ConsistencyBreach,
    /// `lost-commit`: COMMIT DELTA commits, then the connection is cut.
    LostCommit,
    /// `lost-begin`: BEGIN DELTA begins, then the connection is cut.
    LostBegin,
    /// `lost-rollback`: ROLLBACK DELTA rolls back, then the connection is cut.
    LostRollback,
    /// `slow-rollback=MS`: ROLLBACK DELTA takes MS milliseconds; others are refused meanwhile.
    SlowRollback(u64),
    /// `stuck-rollback`: ROLLBACK DELTA fails half way; only another one helps.
    StuckRollback,
}

/// When a fault shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// The next occurrence only.
    Next,
    /// Only the n-th occurrence from now, counted from 1.
    Nth(u64),
    /// Every occurrence.
    Always,
}

/// One fault: `name[=value][@nth|@always]`, e.g. `hang-unload`, `fail-unload-after=2@3`, `slow-load=500@always`.
///
/// Without `@` it shows at the next occurrence only; `@3` at the third one from now; `@always` at each.
/// The names and values are those of [`FaultKind`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// What goes wrong.
    pub kind: FaultKind,
    /// When it does.
    pub when: When,
}

impl Fault {
    /// The fault at its next occurrence.
    pub fn next(kind: FaultKind) -> Self {
        Fault { kind, when: When::Next }
    }

    /// The fault at every occurrence.
    pub fn always(kind: FaultKind) -> Self {
        Fault { kind, when: When::Always }
    }

    /// The fault at the n-th occurrence from now, counted from 1.
    pub fn nth(kind: FaultKind, n: u64) -> Self {
        Fault { kind, when: When::Nth(n) }
    }
}

/// Why a fault text was not understood.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FaultError {
    /// The name is not one of the listed ones.
    #[error("unknown fault {0}")]
    Unknown(String),
    /// The fault needs `=number`.
    #[error("fault {0} needs a number, as in {0}=1")]
    NeedsNumber(String),
    /// The fault takes no value.
    #[error("fault {0} takes no value")]
    TakesNothing(String),
    /// What follows `@` is neither a number from 1 nor `always`.
    #[error("after @ write a number from 1 or the word always, not {0}")]
    BadOccurrence(String),
}

const PLAIN: &[(&str, FaultKind)] = &[
    ("hang-unload", FaultKind::HangUnload),
    ("drop-answer", FaultKind::DropAnswer),
    ("drop-unload-answer", FaultKind::DropUnloadAnswer),
    ("drop-load-answer", FaultKind::DropLoadAnswer),
    ("oversize-unload", FaultKind::OversizeUnload),
    ("reader-down", FaultKind::ReaderDown),
    ("double-last", FaultKind::DoubleLast),
    ("duplicate-chunk", FaultKind::DuplicateChunk),
    ("skip-chunk", FaultKind::SkipChunk),
    ("silent-unload", FaultKind::SilentUnload),
    ("lying-load", FaultKind::LyingLoad),
    ("fail-load", FaultKind::FailLoad),
    ("hang-load", FaultKind::HangLoad),
    ("unfinished-ddl", FaultKind::UnfinishedDdl),
    ("stale-delta-ok", FaultKind::StaleDeltaOk),
    ("lost-deny", FaultKind::LostDeny),
    ("fail-commit", FaultKind::FailCommit),
    ("wrong-sum", FaultKind::WrongSum),
    ("consistency-breach", FaultKind::ConsistencyBreach),
    ("lost-commit", FaultKind::LostCommit),
    ("lost-begin", FaultKind::LostBegin),
    ("lost-rollback", FaultKind::LostRollback),
    ("stuck-rollback", FaultKind::StuckRollback),
    ("fail-load-counted", FaultKind::FailLoadCounted),
];

type Numbered = (&'static str, fn(u64) -> FaultKind);

const NUMBERED: &[Numbered] = &[
    ("hang-unload-after", FaultKind::HangUnloadAfter),
    ("fail-unload-after", FaultKind::FailUnloadAfter),
    ("zombie-unload", FaultKind::ZombieUnload),
    ("slow-unload", FaultKind::SlowUnload),
    ("slow-load", FaultKind::SlowLoad),
    ("zombie-load", FaultKind::ZombieLoad),
    ("late-load", FaultKind::LateLoad),
    ("slow-rollback", FaultKind::SlowRollback),
];

impl FaultKind {
    fn parse(text: &str) -> Result<Self, FaultError> {
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (text, None),
        };
        if let Some((_, kind)) = PLAIN.iter().find(|(known, _)| *known == name) {
            return match value {
                None => Ok(*kind),
                Some(_) => Err(FaultError::TakesNothing(name.to_owned())),
            };
        }
        let Some((_, make)) = NUMBERED.iter().find(|(known, _)| *known == name) else {
            return Err(FaultError::Unknown(name.to_owned()));
        };
        let number = value.and_then(|v| v.parse().ok());
        number.map(make).ok_or_else(|| FaultError::NeedsNumber(name.to_owned()))
    }

    fn number(self) -> Option<u64> {
        match self {
            FaultKind::HangUnloadAfter(n)
            | FaultKind::FailUnloadAfter(n)
            | FaultKind::ZombieUnload(n)
            | FaultKind::SlowUnload(n)
            | FaultKind::SlowLoad(n)
            | FaultKind::ZombieLoad(n)
            | FaultKind::LateLoad(n)
            | FaultKind::SlowRollback(n) => Some(n),
            _ => None,
        }
    }

    /// The name without a value.
    pub fn name(self) -> &'static str {
        let plain = PLAIN.iter().find(|(_, kind)| *kind == self).map(|(name, _)| *name);
        let number = self.number().unwrap_or_default();
        let numbered = NUMBERED.iter().find(|(_, make)| make(number) == self);
        plain.or(numbered.map(|(name, _)| *name)).unwrap_or("unknown")
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.name())?;
        if let Some(number) = self.kind.number() {
            write!(f, "={number}")?;
        }
        match self.when {
            When::Next => Ok(()),
            When::Nth(n) => write!(f, "@{n}"),
            When::Always => f.write_str("@always"),
        }
    }
}

impl FromStr for Fault {
    type Err = FaultError;

    fn from_str(text: &str) -> Result<Self, FaultError> {
        let (kind, when) = match text.trim().split_once('@') {
            None => (text.trim(), When::Next),
            Some((kind, "always")) => (kind, When::Always),
            Some((kind, nth)) => match nth.parse() {
                Ok(n) if n > 0 => (kind, When::Nth(n)),
                _ => return Err(FaultError::BadOccurrence(nth.to_owned())),
            },
        };
        Ok(Fault { kind: FaultKind::parse(kind)?, when })
    }
}

/// The faults of a running sandbox.
#[derive(Debug, Default)]
pub(crate) struct FaultSet {
    waiting: Mutex<Vec<Waiting>>,
}

#[derive(Debug)]
struct Waiting {
    fault: Fault,
    seen: u64,
}

impl FaultSet {
    pub(crate) fn new(faults: &[Fault]) -> Self {
        let set = FaultSet::default();
        faults.iter().for_each(|fault| set.add(*fault));
        set
    }

    pub(crate) fn add(&self, fault: Fault) {
        self.lock().push(Waiting { fault, seen: 0 });
    }

    pub(crate) fn clear(&self) {
        self.lock().clear();
    }

    pub(crate) fn list(&self) -> Vec<Fault> {
        self.lock().iter().map(|w| w.fault).collect()
    }

    /// Counts one occurrence for every fault that `wanted` accepts and returns those due now.
    pub(crate) fn due(&self, wanted: impl Fn(FaultKind) -> bool) -> Vec<FaultKind> {
        let mut due = Vec::new();
        // Two faults of one name queued as "next" show one after the other, not both at once.
        let mut used: HashMap<&'static str, bool> = HashMap::new();
        self.lock().retain_mut(|w| {
            if !wanted(w.fault.kind) {
                return true;
            }
            w.seen += 1;
            match w.fault.when {
                When::Always => due.push(w.fault.kind),
                When::Nth(n) if w.seen == n => due.push(w.fault.kind),
                When::Nth(n) => return w.seen < n,
                When::Next => {
                    if used.insert(w.fault.kind.name(), true).is_some() {
                        return true;
                    }
                    due.push(w.fault.kind);
                }
            }
            w.fault.when == When::Always
        });
        due
    }

    /// Counts one occurrence of this very kind; true when it is due.
    pub(crate) fn take(&self, kind: FaultKind) -> bool {
        !self.due(|k| k == kind).is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
