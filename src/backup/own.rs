//! Taking and giving back a datamart: the owner marker and the lock (DESIGN D3, ADR 2). Never
//! releases what is not known to be ours.

use crate::extract::{Allow, Deny, Mark, Marker, Node, SourceError};
use crate::journal::Fact;
use crate::model::{LockCode, Owner};

use super::context::{Context, World};
use super::fault::{Fault, Holder, Refusal};
use super::state::LockState;
use super::watch::Event;

/// Makes the datamart ours: marker, then lock. Safe to repeat at any point.
///
/// The lock is seen free *before* the marker is made, so a marker of ours proves that the lock we
/// meet is our own, even where the journal lost the record of it.
///
/// # Errors
/// [`Fault::Held`] where somebody else is at work, [`Refusal::UnfinishedChange`], or the node's.
pub async fn take<W: World>(run: &Context<W>) -> Result<(), Fault> {
    let (node, owner, code) = (run.world.node(), run.owner(), run.code());
    refuse_unfinished(node).await?;
    match node.marker().await? {
        Marker::Of(found) if found.run == owner.run => relock(node, &code).await?,
        Marker::Of(found) => return Err(Holder::Run(found).into()),
        Marker::Foreign => return Err(Holder::UnknownMarker.into()),
        Marker::Absent => {
            see_free(node, &code, (run.settings.nonce)()).await?;
            mark(node, &owner).await?;
            deny_first(node, &code).await?;
        }
    }
    if run.ledger.look(|s| s.lock) != LockState::Held {
        run.ledger.note([Fact::Locked])?;
    }
    run.tell(Event::Denied { code });
    Ok(())
}

/// Refuses where the node holds an unfinished schema change: it blocks the lock.
///
/// # Errors
/// [`Refusal::UnfinishedChange`] with its number and text.
pub async fn refuse_unfinished(node: &impl Node) -> Result<(), Fault> {
    let changes = node.changes().await?;
    match changes.unfinished() {
        None => Ok(()),
        Some(change) => {
            Err(Refusal::UnfinishedChange { num: change.num, query: change.query.clone() }.into())
        }
    }
}

/// A code nobody uses must meet no lock.
async fn see_free(node: &impl Node, code: &LockCode, nonce: u64) -> Result<(), Fault> {
    match node.allow(&LockCode::probe(nonce)).await? {
        Allow::NotBlocked | Allow::Done => Ok(()),
        Allow::WrongCode | Allow::Blocked => Err(Holder::Lock { code: code.clone() }.into()),
    }
}

async fn mark(node: &impl Node, owner: &Owner) -> Result<(), Fault> {
    if node.mark(owner).await? == Mark::Done {
        return Ok(());
    }
    match node.marker().await? {
        Marker::Of(found) if found.run == owner.run => Ok(()),
        Marker::Of(found) => Err(Holder::Run(found).into()),
        // It vanished between two questions: somebody came and went.
        Marker::Foreign | Marker::Absent => Err(Holder::UnknownMarker.into()),
    }
}

async fn deny_first(node: &impl Node, code: &LockCode) -> Result<(), Fault> {
    match node.deny(code).await? {
        Deny::Done => Ok(()),
        Deny::Blocked => lost_to_another(node, code).await,
    }
}

/// The marker is ours, so the lock was seen free after nobody else could mark: what is closed now
/// with our code is our own earlier DENY.
async fn relock(node: &impl Node, code: &LockCode) -> Result<(), Fault> {
    match node.allow(code).await? {
        Allow::Done | Allow::NotBlocked => match node.deny(code).await? {
            Deny::Done => Ok(()),
            Deny::Blocked => lost_to_another(node, code).await,
        },
        Allow::WrongCode | Allow::Blocked => lost_to_another(node, code).await,
    }
}

/// Somebody without a marker holds the lock: ours must not stay in their way.
async fn lost_to_another(node: &impl Node, code: &LockCode) -> Result<(), Fault> {
    node.unmark().await?;
    Err(Holder::Lock { code: code.clone() }.into())
}

/// Requires that the marker is still ours (before each changelog and before ALLOW).
///
/// # Errors
/// [`Holder::MarkerLost`] or the node's.
pub async fn require_ours<W: World>(run: &Context<W>) -> Result<(), Fault> {
    match run.world.node().marker().await? {
        Marker::Of(found) if found.run == run.run() => Ok(()),
        _ => Err(Holder::MarkerLost.into()),
    }
}

/// Gives lock and marker back. Where the marker is not ours nothing is released.
///
/// # Errors
/// The node's; the lock may then still be closed.
pub async fn release<W: World>(run: &Context<W>) -> Result<(), Fault> {
    let given = give_back(run.world.node(), &run.owner(), &run.code()).await?;
    if given == GivenBack::Opened {
        run.tell(Event::Allowed);
    }
    if run.ledger.look(|s| s.lock) == LockState::Held {
        run.ledger.note([Fact::Released])?;
    }
    Ok(())
}

/// What giving a datamart back found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GivenBack {
    /// The lock is open, and the marker gone.
    Opened,
    /// The marker is gone; the lock has another code, or belongs to a schema change.
    LockOfOthers,
    /// The marker is not `owner`'s: nothing was touched.
    MarkerOfOthers,
}

/// Opens the lock and drops the marker where the marker is `owner`'s.
///
/// # Errors
/// The node's.
pub async fn give_back(
    node: &impl Node,
    owner: &Owner,
    code: &LockCode,
) -> Result<GivenBack, SourceError> {
    match node.marker().await? {
        Marker::Of(found) if found.run == owner.run => {
            let answer = node.allow(code).await?;
            node.unmark().await?;
            Ok(match answer {
                Allow::Done | Allow::NotBlocked => GivenBack::Opened,
                Allow::WrongCode | Allow::Blocked => GivenBack::LockOfOthers,
            })
        }
        _ => Ok(GivenBack::MarkerOfOthers),
    }
}
