//! The engine of a backup: it joins the stages of the flow, and brings a run to its end from
//! wherever it stopped. Names no technology; the worlds come in as traits.

mod board;
mod changelog;
mod context;
mod decide;
mod delta;
mod entry;
mod estimate;
mod fault;
mod horizon;
mod keys;
mod ledger;
mod own;
mod pair;
mod planning;
mod reading;
mod run;
mod state;
mod sweep;
mod tail;
mod tally;
mod unload;
mod watch;
mod worker;

pub use context::{Settings, World};
pub use decide::{
    DeltaDecision, PairDecision, Segment, StreamWork, decide_delta, decide_pair, source_of,
};
pub use entry::TailReader;
pub use estimate::{Changed, Estimate, Estimated, MOST_QUESTIONS};
pub use fault::{Disagreement, Fault, Holder, Place, Refusal, RunError};
pub use horizon::{Horizon, Pin};
pub use own::{GivenBack, give_back};
pub use planning::Draft;
pub use run::{Backup, Summary};
pub use state::{AttemptState, Fate, Keys, LockState, PairKey, Planned, Started, State};
pub use tail::{EMPTY_SOURCE, Found, Tail, Twice};
pub use tally::{Incomplete, Tallies, count, require_whole};
pub use watch::{Event, Unwatched, Watch};
