//! How long is waited for what: pauses between looks, silence of the server, an operation that does
//! not move. Pure: durations go in as values. Owns the decision that something stands still.

use std::time::Duration;

use super::ServerOperation;

/// All patience of a manager.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Patience {
    /// First pause between two looks; each is longer by a quarter, up to `longest`.
    pub first: Duration,
    /// Longest pause.
    pub longest: Duration,
    /// How long the server may say nothing before the operation is left as it is.
    pub silence: Duration,
    /// How long nothing may move before an operation counts as stalled.
    pub stall: Duration,
    /// How long an operation that was asked to end may go on.
    pub cancel: Duration,
    /// Pause after a statement without an answer, before it is looked whether it came.
    pub grace: Duration,
    /// How often the server asks an object store that does not answer.
    pub retries: u32,
    /// How often a backup that met a transient failure is begun in all.
    pub attempts: u32,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            first: Duration::from_millis(50),
            longest: Duration::from_secs(5),
            silence: Duration::from_secs(600),
            stall: Duration::from_secs(900),
            cancel: Duration::from_secs(120),
            grace: Duration::from_secs(2),
            retries: 10,
            attempts: 3,
        }
    }
}

impl Patience {
    /// The pause after this one.
    pub fn longer(&self, pause: Duration) -> Duration {
        (pause + pause / 4).min(self.longest)
    }
}

/// What moved in an operation, and how long nothing did.
#[derive(Clone, Copy, Debug, Default)]
pub struct Movement {
    seen: Option<(u64, u64, u64)>,
    still: Duration,
}

impl Movement {
    /// Takes a look `since` the last one; true where nothing moved for `stall`.
    pub fn stands(&mut self, look: &ServerOperation, since: Duration, stall: Duration) -> bool {
        let now = (look.size.files, look.size.bytes.max(look.size.bytes_stored), look.bytes_read);
        if self.seen == Some(now) {
            self.still += since;
        } else {
            *self = Self { seen: Some(now), still: Duration::ZERO };
        }
        self.still >= stall
    }
}
