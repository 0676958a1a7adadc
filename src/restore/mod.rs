//! Bringing a datamart back from its backup topic: the engine and the pure decisions it rests on.
//! Names no technology; the worlds come in as traits.

mod check;
pub mod choose;
pub mod contents;
mod context;
pub mod dates;
mod decide;
mod delta;
mod fault;
mod fill;
mod freeze;
pub mod gaps;
mod ledger;
mod loading;
mod outside;
mod own;
mod preflight;
pub mod rename;
pub mod replay;
mod run;
mod state;
mod taken;
mod watch;

pub use choose::Wanted;
pub use context::{Findings, Settings, World};
pub use dates::Dates;
pub use decide::{Decision, Look, decide};
pub use fault::{Disagreement, Fault, Holder, Refusal, RunError, Wanting};
pub use run::{Draft, Restore, Summary};
pub use state::{Chosen, Fate, Load, Planned, Started, State};
pub use taken::{Taken, TakenDelta};
pub use watch::{Amount, Event, Unwatched, Watch};
