//! One delta: its tables by the workers, then its changelog. Never touches a table's rows itself.

use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex};

use tokio::task::JoinSet;

use crate::deliver::Sink;
use crate::extract::{Node, Sums};
use crate::journal::Fact;
use crate::model::{ChangeLog, Delta, IncrementId};
use crate::plan;

use super::board::{Board, Job};
use super::changelog;
use super::context::{Context, World};
use super::decide::{DeltaDecision, decide_delta};
use super::fault::Fault;
use super::own;
use super::pair::Pair;
use super::state::Planned;
use super::sweep::Sweep;
use super::tail::Tail;
use super::watch::Event;
use super::worker::{Pending, Worker};

/// What all deltas of a pass share.
pub struct Pass<W: World> {
    /// The run.
    pub run: Arc<Context<W>>,
    /// The plan.
    pub planned: Arc<Planned>,
    /// The plan's part of the changelog.
    pub log: ChangeLog,
    /// What the topic held at the start of the pass.
    pub tail: Arc<Tail>,
    /// Clears away what attempts leave behind.
    pub sweep: Arc<Sweep<W>>,
}

/// The lanes of a run, by number.
pub type Lanes<W> = Vec<<<W as World>::Sink as Sink>::Lane>;

/// Brings one delta to its end, and returns the lanes for the next one.
///
/// # Errors
/// The first fault of any worker.
pub async fn export<W: World>(
    pass: &Pass<W>,
    delta: Delta,
    lanes: Lanes<W>,
) -> Result<Lanes<W>, Fault> {
    let run = &pass.run;
    run.go_on()?;
    pass.sweep.begin();
    match run.ledger.look(|state| decide_delta(delta.num, state, &pass.tail)) {
        DeltaDecision::Skip => Ok(lanes),
        DeltaDecision::Adopt { issue } => {
            run.ledger.note([Fact::DeltaDone { delta: delta.num, issue }])?;
            run.tell(Event::DeltaArchived { delta: delta.num });
            Ok(lanes)
        }
        DeltaDecision::Work { issue, begin } => {
            if begin {
                run.ledger.note([Fact::DeltaBegun { delta: delta.num, issue }])?;
            }
            work(pass, delta, issue, lanes).await
        }
    }
}

async fn work<W: World>(
    pass: &Pass<W>,
    delta: Delta,
    issue: u32,
    lanes: Lanes<W>,
) -> Result<Lanes<W>, Fault> {
    let run = &pass.run;
    let pairs = pairs(pass, delta, issue).await?;
    run.tell(Event::DeltaStarted { delta, tables: pairs.len() });
    let mut lanes = work_off(pass, &pairs, lanes).await?;
    require_done(run, &pairs)?;
    pass.sweep.settle().await?;
    own::require_ours(run).await?;
    let Some(lane) = lanes.first_mut() else {
        return Err(Fault::Unexpected("a run without lanes".into()));
    };
    changelog::write(run, &pass.planned, &pass.log, &pairs, (&delta, issue), lane).await?;
    run.ledger.note([Fact::DeltaDone { delta: delta.num, issue }])?;
    run.tell(Event::DeltaArchived { delta: delta.num });
    Ok(lanes)
}

/// The changelog is the increment's commit record: whatever went wrong before, it is not written
/// while a table is not known to be whole (D4.10).
fn require_done<W: World>(run: &Context<W>, pairs: &[Arc<Pair>]) -> Result<(), Fault> {
    let open = |pair: &&Arc<Pair>| !run.ledger.look(|s| s.pairs.contains_key(&pair.key()));
    match pairs.iter().find(open) {
        None => Ok(()),
        Some(pair) => {
            let (delta, table) = (pair.delta.num, &pair.table.name);
            Err(Fault::Unexpected(format!("delta {delta}, table {table} was left unfinished")))
        }
    }
}

async fn pairs<W: World>(
    pass: &Pass<W>,
    delta: Delta,
    issue: u32,
) -> Result<Vec<Arc<Pair>>, Fault> {
    let run = &pass.run;
    let zero = Some("0".to_owned());
    let delta_is_empty =
        run.shape().checksums && run.world.node().delta_sum(delta.num).await? == zero;
    let tables = plan::tables_of(delta.num, &pass.planned.tables, &pass.log);
    let partitions = streams_of(run.shape().threads, tables.len());
    let number = |name| pass.planned.tables.iter().position(|table| table.name == name);
    let pair = |table: &crate::model::Table| {
        Arc::new(Pair {
            delta,
            issue,
            increment: IncrementId::of(run.run(), delta.num, issue),
            table: table.clone(),
            number: number(table.name.clone()).unwrap_or_default(),
            sums: Mutex::new(Sums::default()),
            delta_is_empty,
            partitions,
            left: AtomicUsize::new(0),
            streams: AtomicUsize::new(0),
        })
    };
    Ok(tables.into_iter().map(pair).collect())
}

/// As many streams of each table as keep all workers busy: tables are unloaded and delivered side by
/// side, so that only workers without a table of their own want a second stream of one (ADR 16).
fn streams_of(threads: u32, tables: usize) -> u32 {
    let tables = u32::try_from(tables).unwrap_or(u32::MAX);
    threads.div_ceil(tables.max(1)).max(1)
}

/// Lets one worker per lane empty the board; the first fault ends them all.
async fn work_off<W: World>(
    pass: &Pass<W>,
    pairs: &[Arc<Pair>],
    lanes: Lanes<W>,
) -> Result<Lanes<W>, Fault> {
    let board = Arc::new(Board::new(pairs.iter().cloned().map(Job::Open)));
    let mut workers = JoinSet::new();
    for (number, lane) in (0..).zip(lanes) {
        let worker = Worker {
            run: pass.run.clone(),
            board: board.clone(),
            tail: pass.tail.clone(),
            sweep: pass.sweep.clone(),
            number,
            lane,
            partitions: pass.planned.partitions,
            pending: Pending::default(),
        };
        workers.spawn(async move { (number, worker.work().await) });
    }
    let mut lanes = Vec::new();
    let mut fault = None;
    while let Some(ended) = workers.join_next().await {
        match ended {
            Ok((number, Ok(lane))) => lanes.push((number, lane)),
            Ok((_, Err(first))) => {
                // On a stop the others end by themselves, each with a last commit.
                if !matches!(first, Fault::Stopped) {
                    workers.abort_all();
                }
                fault.get_or_insert(first);
            }
            Err(panic) if panic.is_panic() => {
                workers.abort_all();
                fault.get_or_insert(Fault::Unexpected("a worker panicked".into()));
            }
            Err(_aborted) => {}
        }
    }
    match fault {
        Some(fault) => Err(fault),
        None => {
            lanes.sort_by_key(|(number, _)| *number);
            Ok(lanes.into_iter().map(|(_, lane)| lane).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_worker_has_a_stream_and_no_table_more_than_are_wanted() {
        let all: Vec<u32> = [1, 2, 3, 4, 5, 40].map(|tables| streams_of(4, tables)).to_vec();
        assert_eq!(all, [4, 2, 2, 1, 1, 1]);
        assert_eq!(streams_of(1, 3), 1);
        assert_eq!(streams_of(64, 0), 64);
    }
}
