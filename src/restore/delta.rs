//! One delta: changes before it, BEGIN, its loads, the comparison, COMMIT. What is left of it is
//! decided by [`decide`] each time, so a fresh delta and one met half done take one road.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::extract::{Node, SourceError};
use crate::journal::RestoreFact;
use crate::load::Target;
use crate::model::{Change, ChangeLog, DeltaNum, TableName};

use super::check;
use super::context::{Context, World};
use super::decide::{Decision, Look, decide};
use super::fault::{Disagreement, Fault, Holder};
use super::freeze::Frozen;
use super::loading;
use super::own;
use super::replay::{Script, Step};
use super::state::Chosen;
use super::watch::Event;

/// What all deltas of a pass share.
pub struct Pass<W: World> {
    /// The run.
    pub run: Arc<Context<W>>,
    /// What is taken from the topic.
    pub frozen: Arc<Frozen>,
    /// The statements for the target.
    pub script: Script,
    /// The marker named this run before the pass came.
    pub marked: bool,
}

/// Brings one delta to its end; `count` changes of the source run before it.
///
/// # Errors
/// [`Fault`].
pub async fn bring<W: World>(pass: &Pass<W>, chosen: &Chosen, count: u64) -> Result<(), Fault> {
    let run = &pass.run;
    let delta = chosen.delta;
    run.go_on()?;
    let (_, increment) = pass.frozen.increment(delta)?;
    let provable = check::provable(increment);
    let doomed = |table: &TableName| pass.script.drops(table, count);
    match decide_now(pass, chosen, &provable, pass.marked).await? {
        Decision::Skip => return Ok(()),
        Decision::Adopt => return done(run, chosen),
        Decision::Compare => {
            check::check(run, delta, increment, true, doomed).await?;
            return done(run, chosen);
        }
        Decision::Held { hot } => return Err(Holder::Hot(hot).into()),
        Decision::Changed { reason } => {
            return Err(Disagreement::Changed { delta, reason: reason.to_owned() }.into());
        }
        Decision::GoOn { done, failed } => {
            let done = done.into_iter().map(|name| RestoreFact::LoadDone { name });
            let failed = failed.into_iter().map(|name| RestoreFact::LoadFailed { name });
            run.ledger.note(done.chain(failed).collect::<Vec<_>>())?;
        }
        Decision::RollBack => {
            roll_back(run, delta).await?;
            begin(pass, delta, count).await?;
        }
        Decision::Begin => begin(pass, delta, count).await?,
    }
    loading::load(run, delta, (&chosen.increment.0, increment)).await?;
    if let Err(fault) = check::check(run, delta, increment, false, doomed).await {
        if matches!(fault, Fault::Disagrees(_)) {
            roll_back(run, delta).await?;
        }
        return Err(fault);
    }
    commit(pass, chosen, &provable).await
}

async fn decide_now<W: World>(
    pass: &Pass<W>,
    chosen: &Chosen,
    provable: &BTreeSet<TableName>,
    marked: bool,
) -> Result<Decision, Fault> {
    let target = pass.run.world.target();
    let closed = target.delta(chosen.delta).await?;
    let hot = target.hot().await?;
    let before = chosen.delta.0.checked_sub(1).map(DeltaNum);
    let is_next = match before {
        Some(before) if closed.is_none() => target.delta(before).await?.is_some(),
        _ => true,
    };
    let look = Look { closed, hot, is_next, marked };
    Ok(pass.run.ledger.look(|state| decide(chosen, state, &look, provable)))
}

fn done<W: World>(run: &Context<W>, chosen: &Chosen) -> Result<(), Fault> {
    let Chosen { delta, date, .. } = *chosen;
    run.note(RestoreFact::DeltaDone { delta })?;
    run.tell(Event::DeltaRestored { delta, date });
    Ok(())
}

/// Rolls our hot delta back.
///
/// # Errors
/// The node's, the journal's.
pub async fn roll_back<W: World>(run: &Context<W>, delta: DeltaNum) -> Result<(), Fault> {
    own::roll_back(run).await?;
    run.note(RestoreFact::DeltaGivenUp { delta })?;
    run.tell(Event::RolledBack { delta });
    Ok(())
}

async fn begin<W: World>(pass: &Pass<W>, delta: DeltaNum, count: u64) -> Result<(), Fault> {
    let run = &pass.run;
    replay(pass, count).await?;
    own::require_ours(run).await?;
    run.note(RestoreFact::DeltaBegun { delta })?;
    match run.world.target().begin(delta).await {
        Ok(()) => {}
        Err(error @ SourceError::Unreachable { .. }) => return Err(error.into()),
        Err(error) => {
            // The node has answered: whatever is hot now is not of our making.
            run.note(RestoreFact::DeltaGivenUp { delta })?;
            return match run.world.target().hot().await? {
                Some(hot) => Err(Holder::Hot(hot.num).into()),
                None => Err(error.into()),
            };
        }
    }
    run.tell(Event::DeltaBegun { delta });
    Ok(())
}

/// Sends the changes that the target does not have among the first `count` of the source.
///
/// # Errors
/// [`Fault::NotReplayable`], [`Disagreement::Replay`], the node's.
pub async fn replay<W: World>(pass: &Pass<W>, count: u64) -> Result<(), Fault> {
    let (run, target) = (&pass.run, pass.run.world.target());
    let mut log: ChangeLog = target.changes().await?;
    loop {
        run.go_on()?;
        let step = pass.script.next(&log, count).map_err(Disagreement::from)?;
        match step {
            Step::Nothing => return Ok(()),
            Step::Erase { num } => {
                target.erase_change(num).await?;
                log.0.retain(|change| change.finished);
            }
            Step::Send { num, query } => {
                send(run, num, &query).await?;
                log.0.retain(|change| change.finished);
                let (at, entity) = (log.0.len() as u64, String::new());
                log.0.push(Change { num: at, entity, query, delta: None, finished: true });
            }
        }
    }
}

async fn send<W: World>(run: &Context<W>, num: u64, query: &str) -> Result<(), Fault> {
    match run.world.target().execute(query).await {
        Ok(()) => {}
        Err(SourceError::Refused { message, .. }) => {
            return Err(Fault::NotReplayable { num, query: query.to_owned(), message });
        }
        Err(error) => return Err(error.into()),
    }
    run.tell(Event::Replayed { num, query: query.to_owned() });
    Ok(())
}

/// Commits what nobody else has written to meanwhile.
async fn commit<W: World>(
    pass: &Pass<W>,
    chosen: &Chosen,
    provable: &BTreeSet<TableName>,
) -> Result<(), Fault> {
    let (run, delta) = (&pass.run, chosen.delta);
    own::require_ours(run).await?;
    match decide_now(pass, chosen, provable, true).await? {
        Decision::GoOn { done, failed } if done.is_empty() && failed.is_empty() => {}
        other => {
            roll_back(run, delta).await?;
            let text = format!("delta {delta} is not as this run left it ({other:?})");
            return Err(Fault::Again(text));
        }
    }
    run.note(RestoreFact::CommitIntended { delta })?;
    run.world.target().commit(chosen.date).await?;
    match decide_now(pass, chosen, provable, true).await? {
        Decision::Adopt => self::done(run, chosen),
        Decision::Changed { reason } => {
            Err(Disagreement::Changed { delta, reason: reason.to_owned() }.into())
        }
        other => Err(Fault::Unexpected(format!("a committed delta led to {other:?}"))),
    }
}
