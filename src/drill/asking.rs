//! Asks the scratch and the live source what a comparison needs, delta by delta, and notes the
//! answers. Never judges them, and never changes a node.

use std::collections::BTreeSet;

use crate::extract::{Node, SourceError};
use crate::format::TableManifest;
use crate::journal::DrillFact;
use crate::journal::drill_record::{PairCompared, Sums, Told};
use crate::load::Target;
use crate::model::{ChangeLog, DeltaNum, Owner, Table, TableName};
use crate::plan;
use crate::restore::{Taken, TakenDelta, World as _};

use super::compare::{self, Outcome};
use super::context::{Context, World};
use super::fault::Fault;
use super::state::Compared;
use super::watch::Event;

/// A node with what it says of its tables.
struct Side<'a, N> {
    node: &'a N,
    tables: Vec<Table>,
    log: ChangeLog,
}

/// A sum of changes and one of the state.
type Answer = (Told, Told);

impl<'a, N: Node> Side<'a, N> {
    async fn of(node: &'a N) -> Result<Self, SourceError> {
        let (tables, log) = (node.tables().await?.tables, node.changes().await?);
        Ok(Self { node, tables, log })
    }

    /// True where the node says that nothing changed in the delta at all.
    async fn is_empty(&self, delta: DeltaNum) -> Result<bool, SourceError> {
        Ok(self.node.delta_sum(delta).await?.as_deref() == Some("0"))
    }

    /// The sums of a closed delta's table, where the table is still the one it was then.
    async fn sums(&self, delta: DeltaNum, question: &Question<'_>) -> Result<Answer, SourceError> {
        let known = plan::tables_of(delta, &self.tables, &self.log);
        let Some(table) = known.into_iter().find(|table| table.name == *question.table) else {
            return Ok((Told::NoTable, Told::NoTable));
        };
        let columns = question.columns.map_or_else(|| table.sum_columns(), <[String]>::to_vec);
        let told = |sum: Option<String>| sum.map_or(Told::NoSum, Told::Sum);
        match self.node.table_sums(delta, table, &columns, question.snapshot).await {
            Ok(sums) => Ok((told(sums.changes), told(sums.snapshot))),
            Err(SourceError::Refused { message, .. }) => {
                Ok((Told::Refused(message.clone()), Told::Refused(message)))
            }
            Err(error) => Err(error),
        }
    }
}

/// What is asked about a pair.
struct Question<'a> {
    table: &'a TableName,
    /// None where the backup does not say over which.
    columns: Option<&'a [String]>,
    snapshot: bool,
}

/// Compares what is not compared yet.
///
/// # Errors
/// [`Fault::Stopped`], those of the nodes and of the journal.
pub async fn compare<W: World>(run: &Context<W>, taken: &Taken) -> Result<(), Fault> {
    let scratch = Side::of(run.world.restore().target()).await?;
    let source = Side::of(run.world.source()).await?;
    let whole =
        run.ledger.look(|state| state.restored.clone()).is_some_and(|r| r.failing.is_none());
    if whole && run.ledger.look(|state| state.entities.is_none()) {
        let entities = scratch.node.entities().await?;
        entities_of(run, taken, entities, &source.log)?;
    }
    for taken in &taken.deltas {
        run.go_on()?;
        if run.ledger.look(|state| !state.deltas.contains_key(&taken.delta)) {
            let compared = delta(run, taken, &scratch, &source).await?;
            note(run, taken.delta, compared)?;
        }
    }
    let newest = source.node.last_delta().await?.map(|delta| (delta.num, delta.date));
    Ok(run.ledger.note([DrillFact::Compared { at: run.now(), newest }])?)
}

fn entities_of<W: World>(
    run: &Context<W>,
    taken: &Taken,
    scratch: Vec<String>,
    source: &ChangeLog,
) -> Result<(), Fault> {
    let backup = taken.changes.iter().map(|change| (&change.entity[..], &change.query[..]));
    let (backup, unclear) = compare::entities(backup);
    let finished = source.0.iter().filter(|change| change.finished);
    let (source, _) =
        compare::entities(finished.map(|change| (&change.entity[..], &change.query[..])));
    let left = |name: &String| name != Owner::MARKER && !unclear.contains(name);
    let scratch: BTreeSet<String> = scratch.into_iter().filter(left).collect();
    let list = |names: BTreeSet<String>| names.into_iter().collect::<Vec<_>>();
    let (backup, scratch, source) = (list(backup), list(scratch), list(source));
    Ok(run.ledger.note([DrillFact::EntitiesCompared { backup, scratch, source }])?)
}

async fn delta<W: World, S: Node, T: Node>(
    run: &Context<W>,
    taken: &TakenDelta,
    scratch: &Side<'_, S>,
    source: &Side<'_, T>,
) -> Result<Compared, Fault> {
    let num = taken.delta;
    let in_scratch = scratch.node.delta(num).await?.map(|delta| delta.date);
    // A delta of the same number and another date belongs to another history.
    let in_source = source.node.delta(num).await?.map(|delta| delta.date);
    let manifest = taken.manifest.as_ref().map(|manifest| &manifest.tables[..]).unwrap_or_default();
    let of_manifest = |name: &TableName| manifest.iter().find(|table| table.name == *name);
    let mut names: BTreeSet<&TableName> = manifest.iter().map(|table| &table.name).collect();
    names.extend(taken.rows.iter().filter(|(_, rows)| **rows > 0).map(|(name, _)| name));
    let is_empty = taken.rows.values().all(|rows| *rows == 0);
    let same = in_source == Some(taken.date);
    // One question about a delta without rows, instead of one for each of its tables.
    let asks = is_empty && !names.is_empty();
    let scratch_empty = asks && in_scratch.is_some() && scratch.is_empty(num).await?;
    let source_empty = asks && same && source.is_empty(num).await?;
    let mut pairs = Vec::with_capacity(names.len());
    for name in names {
        run.go_on()?;
        let manifest = of_manifest(name);
        let question = question(name, manifest);
        let scratch = ask(scratch, num, &question, in_scratch.is_some(), scratch_empty).await?;
        let source = ask(source, num, &question, same, source_empty).await?;
        let rows = taken.rows.get(name).copied().unwrap_or(0);
        pairs.push(pair(name, rows, manifest, scratch, source));
    }
    let (backup, scratch, source) = (taken.committed, in_scratch, in_source);
    Ok(Compared { backup, scratch, source, pairs })
}

fn question<'a>(table: &'a TableName, manifest: Option<&'a TableManifest>) -> Question<'a> {
    let sum = manifest.and_then(|manifest| manifest.check_sum.as_ref());
    let state = manifest.and_then(|manifest| manifest.check_sum_snapshot.as_ref());
    let columns = manifest.and_then(|manifest| manifest.check_sum_columns.as_deref());
    // Where the backup has no sum at all, the states of scratch and source are what remains.
    Question { table, columns, snapshot: state.is_some() || sum.is_none() }
}

async fn ask<N: Node>(
    side: &Side<'_, N>,
    delta: DeltaNum,
    question: &Question<'_>,
    closed: bool,
    empty: bool,
) -> Result<Answer, SourceError> {
    match (closed, empty) {
        (false, _) => Ok((Told::NoDelta, Told::NoDelta)),
        (true, true) => Ok((Told::Sum("0".to_owned()), Told::NoSum)),
        (true, false) => side.sums(delta, question).await,
    }
}

fn pair(
    table: &TableName,
    rows: u64,
    manifest: Option<&TableManifest>,
    scratch: Answer,
    source: Answer,
) -> PairCompared {
    let told = |sum: Option<&String>| sum.cloned().map_or(Told::NoSum, Told::Sum);
    let changes = told(manifest.and_then(|manifest| manifest.check_sum.as_ref()));
    let snapshot = told(manifest.and_then(|manifest| manifest.check_sum_snapshot.as_ref()));
    PairCompared {
        table: table.clone(),
        rows,
        exact: manifest.is_some_and(|manifest| manifest.exact && manifest.check_sum.is_some()),
        changes: Sums { manifest: changes, scratch: scratch.0, source: source.0 },
        snapshot: Sums { manifest: snapshot, scratch: scratch.1, source: source.1 },
    }
}

fn note<W: World>(run: &Context<W>, delta: DeltaNum, compared: Compared) -> Result<(), Fault> {
    let outcomes = compared.pairs.iter().map(compare::outcome);
    let wrong = outcomes
        .filter(|outcome| matches!(outcome, Outcome::Differs { .. } | Outcome::NotRestored))
        .count();
    let pairs = compared.pairs.len();
    let Compared { backup, scratch, source, pairs: of_delta } = compared;
    let fact = DrillFact::DeltaCompared { delta, backup, scratch, source, pairs: of_delta };
    run.ledger.note([fact])?;
    run.watch.tell(Event::Compared { delta, pairs, wrong });
    Ok(())
}
