//! One (delta, table): its sums, what opening it leads to, and what is done once all its streams are
//! delivered. Never unloads or delivers anything itself.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::extract::{Node, Sums};
use crate::journal::{Fact, StreamKey};
use crate::model::{AttemptName, Delta, IncrementId, StreamNumber, Table};

use super::context::{Context, Settings, World};
use super::decide::{PairDecision, StreamWork, decide_pair};
use super::fault::{Fault, Place};
use super::state::PairKey;
use super::tail::Tail;
use super::tally::{self, Tallies};
use super::unload;
use super::watch::Event;

/// A (delta, table) of one issue, at work.
pub struct Pair {
    /// The delta.
    pub delta: Delta,
    /// Its issue.
    pub issue: u32,
    /// The increment's id.
    pub increment: IncrementId,
    /// The table.
    pub table: Table,
    /// Its place in the plan, part of its attempts' names.
    pub number: usize,
    /// What the node said of its sums.
    pub sums: Mutex<Sums>,
    /// The delta has no changes at all.
    pub delta_is_empty: bool,
    /// Partitions of its staging topics: as many streams as workers would else be idle (ADR 16).
    pub partitions: u32,
    /// Streams not yet delivered.
    pub left: AtomicUsize,
    /// How many streams it has; known once it is opened.
    pub streams: AtomicUsize,
}

impl Pair {
    /// Its name in the state.
    pub fn key(&self) -> PairKey {
        (self.delta.num, self.issue, self.table.name.clone())
    }

    /// The name of one of its streams.
    pub fn stream(&self, stream: StreamNumber) -> StreamKey {
        let (delta, issue, table) = self.key();
        StreamKey { delta, issue, table: Some(table), stream }
    }
}

/// What opening a pair leads to.
pub enum Opened {
    /// It is done already.
    Nothing,
    /// It has no changes: its one empty chunk is to be sent.
    Empty(PairDecision),
    /// These streams are to be delivered.
    Streams(Vec<StreamWork>),
}

/// Decides about a pair, and unloads it where that is what is left to do.
///
/// # Errors
/// [`Fault::Again`] where the delta must be written again, [`Fault::GaveUp`], those of the node.
pub async fn open<W: World>(run: &Context<W>, pair: &Pair, tail: &Tail) -> Result<Opened, Fault> {
    let place = |fault: Fault| fault.at(pair.delta.num, Some(&pair.table.name));
    let decision = run.ledger.look(|state| decide_pair(&pair.key(), state, tail));
    let (name, delta) = (pair.table.name.clone(), pair.delta.num);
    if decision != PairDecision::Skip {
        run.tell(Event::TableStarted { delta, table: name });
    }
    match decision {
        PairDecision::Skip => Ok(Opened::Nothing),
        PairDecision::Reissue { reason } => Err(reissue(run, pair.delta, pair.issue, reason)?),
        empty @ PairDecision::Empty { .. } => Ok(Opened::Empty(empty)),
        PairDecision::Deliver { streams } => {
            ask_sums(run, pair).await.map_err(place)?;
            Ok(Opened::Streams(streams))
        }
        PairDecision::Unload { give_up, keep } => {
            // Their topics and tables are swept up beside the work.
            let dropped = |name| Fact::AttemptDropped { name, answered: false };
            run.ledger.note(give_up.into_iter().map(dropped))?;
            if ask_sums(run, pair).await.map_err(place)? {
                let (delta, issue, table) = pair.key();
                run.ledger.note([Fact::EmptyPair { delta, issue, table }])?;
                return Ok(Opened::Empty(PairDecision::Empty { found: None }));
            }
            unload::unload(run, pair, &keep).await.map_err(place)?;
            let streams = run.ledger.look(|state| decide_pair(&pair.key(), state, tail));
            match streams {
                PairDecision::Deliver { streams } => Ok(Opened::Streams(streams)),
                other => Err(Fault::Unexpected(format!("a sealed unload led to {other:?}"))),
            }
        }
    }
}

/// Asks the node for the sums of the pair; true where it has no changes (D4.5).
async fn ask_sums<W: World>(run: &Context<W>, pair: &Pair) -> Result<bool, Fault> {
    if !run.shape().checksums {
        return Ok(false);
    }
    let zero = Some("0".to_owned());
    let sums = if pair.delta_is_empty {
        Sums { changes: zero.clone(), snapshot: None }
    } else {
        let columns = pair.table.sum_columns();
        run.world.node().table_sums(pair.delta.num, &pair.table, &columns, true).await?
    };
    let empty = sums.changes == zero;
    *pair.sums.lock().unwrap_or_else(PoisonError::into_inner) = sums;
    Ok(empty)
}

/// Writes the delta again with fewer rows per message, because one does not fit, or because an
/// unload that is not whole may have met one (recording 19).
///
/// # Errors
/// Those of the journal.
pub fn reissue_smaller<W: World>(
    run: &Context<W>,
    pair: &Pair,
    reason: &str,
) -> Result<Fault, Fault> {
    run.ledger.note(unload::shrunk(pair.delta, unload::chunk_size(run, pair)))?;
    reissue(run, pair.delta, pair.issue, reason)
}

/// Called once for every stream delivered; the last one closes the pair. Returns the attempts that
/// nobody needs any more.
///
/// # Errors
/// [`Fault::Again`] where the unload did not come whole (D4.8).
pub fn stream_done<W: World>(run: &Context<W>, pair: &Pair) -> Result<Vec<AttemptName>, Fault> {
    if pair.left.fetch_sub(1, Ordering::AcqRel) > 1 {
        return Ok(Vec::new());
    }
    let key = pair.key();
    let (attempts, whole) = run.ledger.look(|state| {
        let attempts: Vec<_> = state.attempts_of(&key).map(|a| a.attempt.name.clone()).collect();
        if state.in_parts(&key) {
            return (attempts, Ok(()));
        }
        let mut sum = Tallies::new();
        let streams = (1..=pair.streams.load(Ordering::Acquire) as u32).map(StreamNumber);
        for stream in streams {
            let progress = state.progress.get(&pair.stream(stream));
            progress.into_iter().for_each(|p| tally::add(&mut sum, &p.tallies));
        }
        (attempts, tally::require_whole(&sum))
    });
    if let (false, Err(incomplete)) = (attempts.is_empty(), whole) {
        return Err(reissue_smaller(run, pair, &incomplete.to_string())?);
    }
    let (delta, issue, table) = key;
    let sums = pair.sums.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let sums = (sums.changes, sums.snapshot);
    run.ledger.note([Fact::TableDone { delta, issue, table: table.clone(), sums }])?;
    run.tell(Event::Archived { delta, table });
    Ok(attempts)
}

/// Begins the delta again under a new increment: its attempts are given up, and the pass starts
/// anew (D4.11). Returns the fault to end the pass with.
///
/// # Errors
/// Those of the journal.
pub fn reissue<W: World>(
    run: &Context<W>,
    delta: Delta,
    issue: u32,
    reason: &str,
) -> Result<Fault, Fault> {
    let at = Place { delta: Some(delta.num), table: None };
    let before = run.issues_before.get(&delta.num).copied().unwrap_or(0);
    let tried = issue.saturating_sub(before);
    if tried >= Settings::ISSUES {
        return Ok(Fault::GaveUp { at, attempts: tried + 1, last: reason.to_owned() });
    }
    let given_up = run.ledger.look(|state| {
        let of_delta = state.leftovers().into_iter().filter(|(name, _)| {
            state.attempts.get(name).is_some_and(|a| a.attempt.delta == delta.num)
        });
        of_delta.collect::<Vec<_>>()
    });
    let dropped =
        given_up.into_iter().map(|(name, answered)| Fact::AttemptDropped { name, answered });
    let begun = Fact::DeltaBegun { delta: delta.num, issue: issue + 1 };
    run.ledger.note(dropped.chain([begun]).collect::<Vec<_>>())?;
    Ok(Fault::Again(format!("{at}written again under a new increment: {reason}")))
}
