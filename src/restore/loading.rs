//! The loads of a delta: every part that is not loaded yet is filled and inserted, tables side by
//! side, parts of one table in order (D4.13).

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::extract::{Node, SourceError};
use crate::journal::RestoreFact;
use crate::load::{Loads, Target};
use crate::model::{AttemptName, DeltaNum, TableName};

use super::contents::Increment;
use super::context::{Context, World};
use super::fault::{Disagreement, Fault};
use super::fill::{Job, Sealed, fill};
use super::watch::Event;

/// Loads what is not loaded of the hot delta.
///
/// # Errors
/// The first fault; loads under way are waited for before, unless the run is to stop.
pub async fn load<W: World>(
    run: &Arc<Context<W>>,
    delta: DeltaNum,
    increment: (&str, &Increment),
) -> Result<(), Fault> {
    let jobs = jobs(run, delta, increment.1).await?;
    run.tell(Event::Loading { delta, loads: jobs.len() });
    if jobs.is_empty() {
        return Ok(());
    }
    let mut waiting: BTreeMap<TableName, usize> = BTreeMap::new();
    jobs.iter().for_each(|job| *waiting.entry(job.table.name.clone()).or_default() += 1);
    let threads = Arc::new(Semaphore::new(run.shape().threads.max(1) as usize));
    let mut sealed: BTreeMap<TableName, Vec<Sealed>> = BTreeMap::new();
    let mut loads = JoinSet::new();
    let filled = fill(run, delta, increment, jobs, |load| {
        let table = load.job.table.name.clone();
        let of_table = sealed.entry(table.clone()).or_default();
        of_table.push(load);
        if waiting.get(&table) == Some(&of_table.len()) {
            let parts = std::mem::take(of_table);
            loads.spawn(load_table(run.clone(), delta, parts, threads.clone()));
        }
    })
    .await;
    let mut fault = filled.err();
    while let Some(ended) = loads.join_next().await {
        match ended {
            Ok(Ok(())) => {}
            Ok(Err(first)) => {
                fault.get_or_insert(first);
            }
            Err(_) => {
                fault.get_or_insert(Fault::Unexpected("a load panicked".into()));
            }
        }
    }
    match fault {
        Some(fault) => Err(fault),
        None => Ok(()),
    }
}

/// What has rows and is not loaded.
async fn jobs<W: World>(
    run: &Context<W>,
    delta: DeltaNum,
    increment: &Increment,
) -> Result<Vec<Job>, Fault> {
    let is_loaded =
        |table: &TableName, part| run.ledger.look(|state| state.is_loaded(delta, table, part));
    let filled = increment.tables().flat_map(|(table, view)| {
        view.rows
            .iter()
            .filter(|(_, rows)| **rows > 0)
            .map(move |(part, rows)| (table, *part, *rows))
    });
    let left: Vec<_> = filled.filter(|(table, part, _)| !is_loaded(table, *part)).collect();
    if left.is_empty() {
        return Ok(Vec::new());
    }
    let tables = run.world.target().tables().await?.tables;
    let job = |(table, part, rows): (&TableName, u8, u64)| match tables
        .iter()
        .enumerate()
        .find(|(_, known)| known.name == *table)
    {
        Some((number, known)) => Ok(Job { table: known.clone(), number, part, rows }),
        None => Err(Disagreement::NoTable { delta, table: table.clone() }.into()),
    };
    left.into_iter().map(job).collect()
}

async fn load_table<W: World>(
    run: Arc<Context<W>>,
    delta: DeltaNum,
    mut parts: Vec<Sealed>,
    threads: Arc<Semaphore>,
) -> Result<(), Fault> {
    parts.sort_by_key(|load| load.job.part);
    for load in parts {
        let permit = threads.acquire().await;
        permit.map_err(|error| Fault::Unexpected(error.to_string()))?.forget();
        let loaded = load_one(&run, delta, &load).await;
        threads.add_permits(1);
        loaded?;
    }
    Ok(())
}

async fn load_one<W: World>(run: &Context<W>, delta: DeltaNum, load: &Sealed) -> Result<(), Fault> {
    run.go_on()?;
    let (name, table, rows) = (load.name.clone(), &load.job.table, load.job.rows);
    let target = run.world.target();
    target.make_upload(&name, table, run.shape().message_limit).await?;
    let messages = load.messages;
    run.note(RestoreFact::LoadSent { name: name.clone(), messages, rows })?;
    run.tell(Event::LoadBegun(load.amount(delta)));
    let inserted = tokio::select! {
        inserted = target.insert(&name, table) => inserted,
        () = run.stopped() => return Err(Fault::Stopped),
    };
    match inserted {
        Ok(()) => {}
        // Nobody knows whether it goes on: the next pass waits for it and looks.
        Err(error @ SourceError::Unreachable { .. }) => return Err(error.into()),
        Err(error) => {
            run.note(RestoreFact::LoadFailed { name })?;
            return Err(Fault::Again(format!("delta {delta}, table {}: {error}", table.name)));
        }
    }
    run.note(RestoreFact::LoadDone { name: name.clone() })?;
    {
        let mut findings = run.findings();
        findings.rows += rows;
        findings.bytes += load.bytes;
        findings.loads += 1;
    }
    run.tell(Event::Loaded(load.amount(delta)));
    discard(run, &name).await
}

/// Drops the external table and the topic of a load; absent ones are gone already. The table goes
/// first: it fences an INSERT that is still on its way.
///
/// # Errors
/// The node's, the brokers', the journal's.
pub async fn discard<W: World>(run: &Context<W>, name: &AttemptName) -> Result<(), Fault> {
    run.world.target().drop_upload(name).await?;
    run.world.loads().delete(name).await?;
    if run.ledger.look(|state| state.loads.get(name).is_some_and(|load| !load.gone)) {
        run.note(RestoreFact::LoadGone { name: name.clone() })?;
    }
    Ok(())
}
