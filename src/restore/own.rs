//! Taking and giving back the target by its owner marker (D3). A restore has no lock: denied
//! changes would stop its own. Never drops a marker that is not ours.

use crate::extract::{Mark, Marker, Node, SourceError};
use crate::journal::RestoreFact;
use crate::load::Target;

use super::context::{Context, World};
use super::fault::{Fault, Holder};
use super::watch::Event;

/// Makes the target ours; true where it was so before.
///
/// # Errors
/// [`Fault::Held`], those of the node.
pub async fn take<W: World>(run: &Context<W>) -> Result<bool, Fault> {
    let (target, owner) = (run.world.target(), run.owner());
    if is_ours(run).await? {
        return Ok(true);
    }
    if target.mark(&owner).await? == Mark::Exists && !is_ours(run).await? {
        return Err(Holder::MarkerLost.into());
    }
    Ok(false)
}

/// Whether the marker is there and ours.
///
/// # Errors
/// [`Fault::Held`] where it is another's, those of the node.
pub async fn is_ours<W: World>(run: &Context<W>) -> Result<bool, Fault> {
    match run.world.target().marker().await? {
        Marker::Absent => Ok(false),
        Marker::Of(found) if found.run == run.run() => Ok(true),
        Marker::Of(found) => Err(Holder::Run(found).into()),
        Marker::Foreign => Err(Holder::UnknownMarker.into()),
    }
}

/// Requires that the marker is still ours (before each BEGIN and COMMIT).
///
/// # Errors
/// [`Holder::MarkerLost`] or the node's.
pub async fn require_ours<W: World>(run: &Context<W>) -> Result<(), Fault> {
    match run.world.target().marker().await? {
        Marker::Of(found) if found.run == run.run() => Ok(()),
        _ => Err(Holder::MarkerLost.into()),
    }
}

/// Rolls our hot delta back and drops our marker, in this order: a hot delta without our marker is
/// somebody else's. Where the marker is not ours nothing is touched; where it is to be kept, it is.
///
/// # Errors
/// The node's; marker and hot delta may then still be there.
pub async fn release<W: World>(run: &Context<W>) -> Result<(), Fault> {
    let target = run.world.target();
    if !target.exists().await? {
        return Ok(());
    }
    match target.marker().await? {
        Marker::Of(found) if found.run == run.run() => {}
        _ => return Ok(()),
    }
    if let Some(delta) = run.ledger.look(|state| state.begun) {
        if target.hot().await?.is_some_and(|hot| hot.num == delta) {
            roll_back(run).await?;
            run.tell(Event::RolledBack { delta });
        }
        run.note(RestoreFact::DeltaGivenUp { delta })?;
    }
    if !run.settings.keep_marker {
        target.unmark().await?;
    }
    Ok(())
}

/// How often a ROLLBACK is sent that the node began and did not end.
const ROLLBACKS: u32 = 5;

/// ROLLBACK DELTA, again until the node has ended it (PROSTORE.md 3).
///
/// # Errors
/// The node's.
pub async fn roll_back<W: World>(run: &Context<W>) -> Result<(), SourceError> {
    let target = run.world.target();
    for _ in 1..ROLLBACKS {
        match target.rollback().await {
            Err(SourceError::Refused { .. })
                if target.hot().await?.is_some_and(|hot| hot.rolling_back) => {}
            ended => return ended,
        }
        tokio::time::sleep(run.settings.pause).await;
    }
    target.rollback().await
}
