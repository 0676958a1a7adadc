//! What a drill tells those who watch it. Owns the events; never prints.

use crate::journal::Place;
use crate::model::DeltaNum;
use crate::restore;

/// Something a drill did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The scratch is there, with the drill's marker.
    ScratchReady(Place),
    /// Of its restore.
    Restore(restore::Event),
    /// A delta is compared.
    Compared {
        /// Which.
        delta: DeltaNum,
        /// Its tables.
        pairs: usize,
        /// Tables that differ, or are not there.
        wrong: usize,
    },
    /// The scratch is gone.
    ScratchDropped(Place),
    /// The scratch stays.
    ScratchKept(Place),
    /// Something the operator should know.
    Warning {
        /// What.
        text: String,
    },
}

/// Who watches.
pub trait Watch: Send + Sync {
    /// Takes an event in. Must not wait.
    fn tell(&self, event: Event);
}

/// Nobody watches.
pub struct Unwatched;

impl Watch for Unwatched {
    fn tell(&self, _event: Event) {}
}
