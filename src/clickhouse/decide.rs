//! What a restore does next: pure functions of the step that the journal tells of and of what the
//! server shows (D10). ARCHITECTURE.md prints their tables; a test compares the two.
//!
//! A table is restored beside its place and put there at the end by one EXCHANGE or RENAME. A
//! database is moved aside and restored in place, because views and dictionaries keep the names of
//! the place where they are restored. What was there before is dropped only when what replaces it
//! was checked, and only by the identity that the journal has of it.

use crate::journal::OperationStep;

/// What is at the target's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Live {
    /// What was there before the operation: the same object, or nothing as then.
    AsBefore,
    /// Nothing, though there was something.
    Absent,
    /// What the operation restores, on a cluster on any host. For a database anything that was not
    /// there before.
    Fresh,
    /// Something that is neither.
    Other,
}

/// What is under the name that the operation keeps beside the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Beside {
    /// Nothing.
    Empty,
    /// What was at the place before.
    Old,
    /// What the operation restores.
    Fresh,
    /// Something else.
    Other,
}

/// How the RESTORE of the last attempt stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// The server knows none: it never came, or the server was restarted.
    Unknown,
    /// It works.
    Running,
    /// It came to its end.
    Done,
    /// It failed or was cancelled.
    Failed,
}

/// Everything that decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Look {
    /// What the journal says.
    pub step: OperationStep,
    /// Whether something was there before.
    pub replaces: bool,
    /// What is at the place.
    pub live: Live,
    /// What is beside it.
    pub beside: Beside,
    /// The RESTORE.
    pub sent: Sent,
    /// Whether a RESTORE can be sent: its keys are at hand and nobody asked to stop.
    pub able: bool,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Move what is there aside.
    MoveAside,
    /// Send the RESTORE.
    Submit,
    /// Wait for it.
    Wait,
    /// Check what it brought.
    Verify,
    /// Put it in its place.
    Place,
    /// Note that what was there before may go.
    Clean,
    /// Drop what was there before.
    DropOld,
    /// Note that it goes back.
    RollBack,
    /// Ask the RESTORE to end.
    Cancel,
    /// Drop what the RESTORE brought so far.
    DropPartial,
    /// Move what was there before back.
    MoveBack,
    /// It is done.
    Succeeded,
    /// Everything is as it was before.
    RolledBack,
    /// Nothing was touched, and what is there is not what was looked at first.
    Refuse,
    /// Somebody else changed what must not be guessed about: touch nothing.
    Stop,
}

/// Decides about a table.
pub fn decide_table(look: &Look) -> Decision {
    use Decision as D;
    use OperationStep as S;
    match (look.step, look.sent, look.live, look.beside) {
        (S::Planned, _, Live::AsBefore, Beside::Empty) if look.able => D::Submit,
        (S::Planned, _, Live::AsBefore, Beside::Empty) => D::RolledBack,
        (S::Planned, ..) => D::Refuse,
        (S::Submitting | S::RollingBack, _, _, Beside::Old | Beside::Other) => D::Stop,
        (S::Submitting, Sent::Running, ..) => D::Wait,
        (S::Submitting, Sent::Done, _, Beside::Fresh) => D::Verify,
        (S::Submitting, ..) => D::RollBack,
        // Both: some hosts of a cluster have put it there.
        (S::Placing, _, Live::AsBefore | Live::Fresh, Beside::Fresh) => D::Place,
        (S::Placing, _, Live::Fresh, Beside::Old | Beside::Empty) => D::Clean,
        (S::Placing, _, Live::Absent | Live::Other, Beside::Fresh) => D::RollBack,
        (S::Cleaning, _, Live::Fresh, Beside::Old) => D::DropOld,
        (S::Cleaning, _, _, Beside::Empty) => D::Succeeded,
        (S::RollingBack, Sent::Running, ..) => D::Cancel,
        (S::RollingBack, _, _, Beside::Fresh) => D::DropPartial,
        (S::RollingBack, _, _, Beside::Empty) => D::RolledBack,
        (S::Placing | S::Cleaning | S::Aside | S::Ended, ..) => D::Stop,
    }
}

/// Decides about a database.
pub fn decide_database(look: &Look) -> Decision {
    use Decision as D;
    use OperationStep as S;
    let aside = if look.replaces { Beside::Old } else { Beside::Empty };
    match (look.step, look.live, look.beside) {
        (S::Planned, Live::AsBefore, Beside::Empty) if !look.able => D::RolledBack,
        (S::Planned, Live::AsBefore, Beside::Empty) if look.replaces => D::MoveAside,
        (S::Planned, Live::AsBefore, Beside::Empty) => D::Submit,
        (S::Planned, ..) => D::Refuse,
        (S::Aside, Live::AsBefore, Beside::Empty) if look.able => D::MoveAside,
        (S::Aside, Live::AsBefore, Beside::Empty) => D::RolledBack,
        (S::Aside, Live::Absent, Beside::Old) if look.able => D::Submit,
        (S::Aside, Live::Absent, Beside::Old) => D::RollBack,
        (S::Submitting, live, beside) if beside == aside => match (look.sent, live) {
            (Sent::Running, _) => D::Wait,
            (Sent::Done, Live::Fresh) => D::Verify,
            _ => D::RollBack,
        },
        (S::Cleaning, Live::Fresh, Beside::Old) => D::DropOld,
        (S::Cleaning, Live::Fresh, Beside::Empty) => D::Succeeded,
        (S::RollingBack, ..) if look.sent == Sent::Running => D::Cancel,
        (S::RollingBack, Live::AsBefore, Beside::Empty) => D::RolledBack,
        (S::RollingBack, Live::Absent, Beside::Old) => D::MoveBack,
        (S::RollingBack, Live::Fresh, beside) if beside == aside => D::DropPartial,
        _ => D::Stop,
    }
}
