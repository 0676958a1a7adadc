//! Making and dropping the scratch datamart. Looks before each step, and once more directly before
//! DROP DATABASE; never drops what does not carry the marker that it expects.

use crate::extract::{Mark, Marker, Node, SourceError};
use crate::journal::DrillFact;
use crate::load::{Scratch, Target};
use crate::model::{Owner, RunId};
use crate::restore::World as _;

use super::context::{Context, World};
use super::fault::{Fault, Holder, Refusal};
use super::scratch::{Decision, Look, Phase, decide};
use super::watch::Event;

/// What the scratch is after [`settle`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// Ours, to be worked in.
    Ready,
    /// Nothing is left to do about it.
    Done,
}

/// Brings the scratch to where the drill can go on in it, or to its end.
///
/// # Errors
/// [`Fault::Held`], [`Refusal::Source`], those of the nodes and of the journal.
pub async fn settle<W: World>(run: &Context<W>) -> Result<Settled, Fault> {
    loop {
        run.go_on()?;
        let look = look(run).await?;
        let phase = run.ledger.look(|state| state.phase);
        match decide(phase, &look) {
            Decision::Skip => return Ok(Settled::Done),
            Decision::GoOn => {
                if matches!(phase, Phase::Nothing | Phase::Intended) {
                    own(run)?;
                }
                return Ok(Settled::Ready);
            }
            Decision::Create => create(run, phase).await?,
            Decision::Mark => mark(run).await?,
            Decision::Drop => {
                let expected = match &look {
                    Look::Kept(owner) => owner.run,
                    _ => run.owner().run,
                };
                drop_it(run, expected).await?;
            }
            Decision::NoteDropped => {
                run.ledger.note([DrillFact::ScratchDone { at: run.now(), dropped: true }])?;
                run.watch.tell(Event::ScratchDropped(run.shape().scratch));
                return Ok(Settled::Done);
            }
            Decision::Source => return Err(Refusal::Source(run.shape().scratch).into()),
            Decision::Held => return Err(others(run).await?.into()),
        }
    }
}

/// Requires that a fresh drill may use the scratch; touches nothing.
///
/// # Errors
/// As [`settle`].
pub async fn require_free<W: World>(run: &Context<W>) -> Result<(), Fault> {
    match decide(Phase::Nothing, &look(run).await?) {
        Decision::Source => Err(Refusal::Source(run.shape().scratch).into()),
        Decision::Held => Err(others(run).await?.into()),
        _ => Ok(()),
    }
}

/// Whether there is a scratch of this drill to be given up; one that a crash left without its marker
/// gets it first.
///
/// # Errors
/// As [`settle`].
pub async fn is_there<W: World>(run: &Context<W>) -> Result<bool, Fault> {
    let look = look(run).await?;
    let phase = run.ledger.look(|state| state.phase);
    match decide(phase, &look) {
        Decision::Mark => mark(run).await.map(|()| true),
        Decision::Skip => Ok(false),
        _ => Ok(matches!(look, Look::Ours { .. })),
    }
}

/// Looks at the scratch.
///
/// # Errors
/// Those of the nodes.
async fn look<W: World>(run: &Context<W>) -> Result<Look, SourceError> {
    let target = run.world.restore().target();
    if !target.exists().await? {
        return Ok(Look::Absent);
    }
    let owner = match target.marker().await? {
        Marker::Of(owner) => owner,
        Marker::Absent => {
            return Ok(if is_filled(target).await? { Look::Others } else { Look::Bare });
        }
        Marker::Foreign => return Ok(Look::Others),
    };
    let is_ours = owner.run == run.owner().run;
    if !is_ours && !run.settings.known.contains(&owner.run) {
        return Ok(Look::Others);
    }
    if marks_source(run, owner.run).await? {
        return Ok(Look::Source);
    }
    Ok(match is_ours {
        true => Look::Ours { filled: is_filled(target).await? },
        false => Look::Kept(owner),
    })
}

/// A run marks one datamart only: a marker that the source shows, too, is in the source, whatever
/// the two are called.
async fn marks_source<W: World>(run: &Context<W>, owner: RunId) -> Result<bool, SourceError> {
    let marker = run.world.source().marker().await?;
    Ok(matches!(marker, Marker::Of(found) if found.run == owner))
}

async fn is_filled(target: &impl Target) -> Result<bool, SourceError> {
    if target.last_delta().await?.is_some() || target.hot().await?.is_some() {
        return Ok(true);
    }
    let entities = target.entities().await?;
    Ok(entities.iter().any(|name| name != Owner::MARKER) || !target.changes().await?.0.is_empty())
}

async fn others<W: World>(run: &Context<W>) -> Result<Holder, SourceError> {
    let scratch = run.shape().scratch;
    let owner = match run.world.restore().target().marker().await? {
        Marker::Of(owner) => Some(owner),
        _ => None,
    };
    Ok(Holder::Others { scratch, owner })
}

async fn create<W: World>(run: &Context<W>, phase: Phase) -> Result<(), Fault> {
    let again = !matches!(phase, Phase::Nothing | Phase::Intended);
    let over = again.then_some(DrillFact::StartedOver);
    run.ledger.note(over.into_iter().chain([DrillFact::ScratchIntended]))?;
    let target = run.world.restore().target();
    match target.create_datamart().await {
        Ok(()) => mark(run).await,
        // Somebody was quicker: what is there now is not of our making.
        Err(SourceError::Refused { .. }) if target.exists().await? => {
            Err(others(run).await?.into())
        }
        Err(error) => Err(error.into()),
    }
}

async fn mark<W: World>(run: &Context<W>) -> Result<(), Fault> {
    let (target, owner) = (run.world.restore().target(), run.owner());
    if target.mark(&owner).await? == Mark::Exists {
        match target.marker().await? {
            Marker::Of(found) if found.run == owner.run => {}
            _ => return Err(others(run).await?.into()),
        }
    }
    own(run)
}

fn own<W: World>(run: &Context<W>) -> Result<(), Fault> {
    run.ledger.note([DrillFact::ScratchOwned { at: run.now() }])?;
    run.watch.tell(Event::ScratchReady(run.shape().scratch));
    Ok(())
}

/// DROP DATABASE, directly after a last look at whose it is.
async fn drop_it<W: World>(run: &Context<W>, expected: RunId) -> Result<(), Fault> {
    let target = run.world.restore().target();
    wait(run).await?;
    if marks_source(run, expected).await? {
        return Err(Refusal::Source(run.shape().scratch).into());
    }
    match target.marker().await? {
        Marker::Of(found) if found.run == expected => {}
        _ => return Err(Holder::MarkerLost(run.shape().scratch).into()),
    }
    Ok(target.drop_datamart().await?)
}

/// Loads of a dead client go on, and are not to end in a scratch that is made again.
async fn wait<W: World>(run: &Context<W>) -> Result<(), Fault> {
    let target = run.world.restore().target();
    let begun = tokio::time::Instant::now();
    while target.hot().await?.is_some() && target.running().await? > 0 {
        if begun.elapsed() > run.settings.patience {
            let reason = "write operations of the scratch do not end".to_owned();
            return Err(SourceError::Brokers { reason }.into());
        }
        run.pause().await?;
    }
    Ok(())
}
