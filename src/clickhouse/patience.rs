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
    work: Option<u64>,
    still: Duration,
}

impl Movement {
    /// Takes a look `since` the last one; false where what the server tells of the operation itself
    /// is as it was, so that its work must be looked at, too.
    pub fn moves(&mut self, look: &ServerOperation, since: Duration) -> bool {
        let now = (look.size.files, look.size.bytes.max(look.size.bytes_stored), look.bytes_read);
        if self.seen == Some(now) {
            self.still += since;
            return false;
        }
        self.seen = Some(now);
        self.still = Duration::ZERO;
        true
    }

    /// Takes the number that grows with its work; where there is none nothing can be said, and it
    /// counts as moving.
    pub fn works(&mut self, work: Option<u64>) {
        if work.is_none() || self.work != work {
            self.still = Duration::ZERO;
        }
        self.work = work;
    }

    /// Whether nothing moved for so long.
    pub fn stands(&self, stall: Duration) -> bool {
        self.still >= stall
    }
}

#[cfg(test)]
mod tests {
    use super::super::ServerStatus;
    use super::*;
    use crate::journal::OperationSize;

    fn look(files: u64) -> ServerOperation {
        ServerOperation {
            id: String::new(),
            url: String::new(),
            query: String::new(),
            status: ServerStatus::CreatingBackup,
            error: String::new(),
            started: 0,
            ended: None,
            size: OperationSize { files, ..OperationSize::default() },
            bytes_read: 0,
            logged: false,
        }
    }

    #[test]
    fn only_what_neither_grows_nor_works_stands() {
        let second = Duration::from_secs(1);
        let after = |files: [u64; 3], work: [Option<u64>; 3]| {
            let mut movement = Movement::default();
            for (files, work) in files.into_iter().zip(work) {
                if !movement.moves(&look(files), second) {
                    movement.works(work);
                }
            }
            movement.stands(2 * second)
        };
        assert!(!after([5, 5, 5], [Some(1), Some(2), Some(3)]), "its work moves");
        assert!(!after([5, 6, 7], [Some(1), Some(1), Some(1)]), "its size moves");
        assert!(!after([5, 5, 5], [None, None, None]), "nobody can tell");
        let mut movement = Movement::default();
        movement.moves(&look(5), second);
        for _ in 0..3 {
            movement.moves(&look(5), second);
            movement.works(Some(7));
        }
        assert!(movement.stands(2 * second) && !movement.stands(3 * second));
    }
}
