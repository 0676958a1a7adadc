//! The drill: a backup is restored into a scratch datamart, compared with what was promised and
//! with the live source, and dropped again; three reports say how that went. Names no technology;
//! the worlds come in as traits.

mod asking;
pub mod compare;
mod context;
mod fault;
mod ledger;
mod own;
pub mod report;
mod run;
pub mod scratch;
mod state;
pub mod timeline;
mod watch;

pub use context::{JournalOf, Publish, Settings, World};
pub use fault::{Fault, Holder, Refusal, RunError};
pub use ledger::{Ledger, Nested};
pub use report::Report;
pub use run::Drill;
pub use state::State;
pub use watch::{Event, Unwatched, Watch};
