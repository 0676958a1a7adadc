//! What the process ends with. Owns the numbers, which schedulers and drills branch on: they are
//! stable. Never decides anything.

/// The exit codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ExitCode {
    /// Done as asked, also where there was nothing new.
    Done = 0,
    /// Unexpected failure: a bug report.
    Unexpected = 1,
    /// Usage, or settings that contradict the run being resumed.
    Usage = 2,
    /// Refused before anything was touched.
    Refused = 3,
    /// Checked and found wanting: gaps, damage, failed drill.
    Wanting = 4,
    /// Stopped, state safe: `resume` continues.
    Stopped = 5,
    /// Cannot resume by itself; the message says which fact disagrees.
    Disagrees = 6,
    /// Somebody else holds the lock, the marker or the store.
    HeldByOther = 7,
    /// Everything asked is complete, but the lock or the marker could not be released.
    NotReleased = 8,
    /// The journal is damaged or newer than this version.
    Journal = 9,
    /// Stopped by SIGINT; state safe.
    Interrupted = 130,
    /// Stopped by SIGTERM; state safe.
    Terminated = 143,
}

impl From<ExitCode> for std::process::ExitCode {
    fn from(code: ExitCode) -> Self {
        Self::from(code as u8)
    }
}

/// A command that did not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What the process ends with.
    pub code: ExitCode,
    /// What happened.
    pub message: String,
    /// What to type next.
    pub next: String,
}
