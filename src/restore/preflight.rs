//! What must hold of the target before anything is touched (D8 "Preflight"). Only asks.

use std::collections::BTreeSet;

use crate::extract::Node;
use crate::load::Target;
use crate::model::{Delta, DeltaDate, DeltaNum, Owner};

use super::context::{Context, World};
use super::dates::{Dates, dates};
use super::fault::{Fault, Refusal};
use super::freeze::Frozen;
use super::own;
use super::state::Chosen;

/// Checks the target and returns the deltas with the dates they will be committed with.
///
/// # Errors
/// [`Fault::Refused`] with the reason, [`Fault::Held`], [`Fault::Wanting`], the node's.
pub async fn check<W: World>(run: &Context<W>, frozen: &Frozen) -> Result<Vec<Chosen>, Fault> {
    let target = run.world.target();
    let first = frozen.choices.first().map_or(DeltaNum(0), |choice| choice.delta);
    let newest = match target.exists().await? {
        true => check_existing(run, frozen, first).await?,
        false if first > DeltaNum(0) => {
            return Err(Refusal::NotAt { first, newest: None }.into());
        }
        false => {
            frozen.counts(0)?;
            frozen.script(run)?;
            None
        }
    };
    check_datasources(run, frozen).await?;
    let version = target.version().await?;
    let whole_seconds = version.split('.').next().is_none_or(|major| major == "5");
    let deltas: Vec<(DeltaNum, DeltaDate)> =
        frozen.choices.iter().map(|choice| (choice.delta, choice.date)).collect();
    let before = newest.map(|delta| delta.date);
    let dates = dates(&deltas, before, run.settings.dates, whole_seconds).map_err(Refusal::from)?;
    let chosen = frozen.choices.iter().zip(dates).map(|(choice, date)| Chosen {
        delta: choice.delta,
        increment: choice.increment.clone(),
        date,
    });
    Ok(chosen.collect())
}

async fn check_existing<W: World>(
    run: &Context<W>,
    frozen: &Frozen,
    first: DeltaNum,
) -> Result<Option<Delta>, Fault> {
    let target = run.world.target();
    let marked = own::is_ours(run).await?;
    if let Some(hot) = target.hot().await? {
        return Err(Refusal::Hot { delta: hot.num }.into());
    }
    let changes = target.changes().await?;
    if let Some(change) = changes.unfinished() {
        let (num, query) = (change.num, change.query.clone());
        return Err(Refusal::UnfinishedChange { num, query }.into());
    }
    let newest = newest_closed(target).await?;
    match newest {
        None if first == DeltaNum(0) => {
            let mut entities = target.entities().await?;
            entities.retain(|name| !(marked && name == Owner::MARKER));
            if !entities.is_empty() {
                return Err(Refusal::NotEmpty { what: entities.join(", ") }.into());
            }
        }
        Some(newest) if newest.num.0 + 1 == first.0 => {
            same_history(frozen, newest, run.settings.dates)?;
        }
        Some(newest) if first == DeltaNum(0) => {
            let what = format!("delta {} is closed", newest.num);
            return Err(Refusal::NotEmpty { what }.into());
        }
        newest => return Err(Refusal::NotAt { first, newest: newest.map(|d| d.num) }.into()),
    }
    let script = frozen.script(run)?;
    let counts = frozen.counts(changes.0.len() as u64)?;
    let count = counts.first().copied().unwrap_or(0);
    script.next(&changes, count).map_err(Refusal::from)?;
    Ok(newest)
}

/// GET_DELTA_OK can be stale behind a balancer; GET_DELTA_BY_NUM is not (PROSTORE.md section 3).
async fn newest_closed(target: &impl Node) -> Result<Option<Delta>, Fault> {
    let mut newest = target.last_delta().await?;
    while let Some(next) = target.delta(DeltaNum(newest.map_or(0, |d| d.num.0 + 1))).await? {
        newest = Some(next);
    }
    Ok(newest)
}

/// The target's newest delta must be the source's, by number and date; under [`Dates::Bump`] also by
/// the date that an earlier restore would have moved it to.
fn same_history(frozen: &Frozen, newest: Delta, policy: Dates) -> Result<(), Refusal> {
    let complete = frozen.contents.complete(newest.num);
    let mut known: BTreeSet<DeltaDate> = complete.values().map(|found| found.date).collect();
    let follower = frozen.choices.first().and_then(|choice| {
        let increment = frozen.contents.get(choice.delta, &choice.increment)?;
        increment.manifest.as_ref()?.previous_delta
    });
    known.extend(follower.filter(|before| before.number == newest.num).map(|before| before.date));
    let moved = || moved(frozen, newest.num, &known);
    if known.contains(&newest.date) || policy == Dates::Bump && moved() == Some(newest.date) {
        return Ok(());
    }
    let topic = known.first().copied();
    Err(Refusal::OtherHistory { delta: newest.num, target: newest.date, topic })
}

/// The date that the delta gets where all deltas up to it are restored with their dates moved, as
/// far as the topic knows them.
fn moved(frozen: &Frozen, newest: DeltaNum, known: &BTreeSet<DeltaDate>) -> Option<DeltaDate> {
    let before = (0..newest.0).map(DeltaNum).filter_map(|delta| {
        let complete = frozen.contents.complete(delta);
        complete.values().next().map(|increment| (delta, increment.date))
    });
    let chain: Vec<_> = before.chain(known.first().map(|date| (newest, *date))).collect();
    dates(&chain, None, Dates::Bump, true).ok()?.pop()
}

/// Never tried by a CREATE: one that fails would jam the datamart.
async fn check_datasources<W: World>(run: &Context<W>, frozen: &Frozen) -> Result<(), Fault> {
    let named = frozen.script(run)?.datasources();
    let Some(active) = run.world.target().active_datasources().await? else { return Ok(()) };
    let active: BTreeSet<String> = active.into_iter().map(|datasource| datasource.0).collect();
    let missing: Vec<String> = named.difference(&active).cloned().collect();
    if missing.is_empty() { Ok(()) } else { Err(Refusal::Datasources(missing).into()) }
}
