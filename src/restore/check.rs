//! Whether the target's delta is what was backed up: its sums against the manifest's (D8 "A load").
//! A success of the node proves nothing; only this does.

use std::collections::BTreeSet;

use crate::extract::Node;
use crate::format::TableManifest;
use crate::model::{DeltaNum, Table, TableName};
use crate::plan;

use super::contents::Increment;
use super::context::{Context, World};
use super::fault::{Disagreement, Fault};

/// Tables whose sums can be compared.
pub fn provable(increment: &Increment) -> BTreeSet<TableName> {
    let tables = increment.manifest.iter().flat_map(|manifest| &manifest.tables);
    tables.filter(|table| wanted(table).is_some()).map(|table| table.name.clone()).collect()
}

/// The sum to compare, and whether it is CHECK_SUM_SNAPSHOT: where a key may have had more than
/// one version, only the state at the end can be equal.
fn wanted(table: &TableManifest) -> Option<(&String, bool)> {
    let changes = table.check_sum.as_ref().filter(|_| table.exact).map(|sum| (sum, false));
    changes.or_else(|| table.check_sum_snapshot.as_ref().map(|sum| (sum, true)))
}

/// Compares the sums of a hot delta, or of a `closed` one, after which tables can have been dropped
/// or made again. Pairs that nobody can compare are noted, differing ones too where they are
/// accepted, and where `doomed` says that the table is dropped later: a delta that is backed up
/// again after that has none of its rows.
///
/// # Errors
/// [`Disagreement::Sums`], [`Disagreement::NoTable`], the node's.
pub async fn check<W: World>(
    run: &Context<W>,
    delta: DeltaNum,
    increment: &Increment,
    closed: bool,
    doomed: impl Fn(&TableName) -> bool,
) -> Result<(), Fault> {
    let filled = increment.tables().filter(|(_, view)| view.all_rows() > 0);
    let filled: BTreeSet<&TableName> = filled.map(|(name, _)| name).collect();
    let manifest = increment.manifest.iter().flat_map(|manifest| &manifest.tables);
    let known: Vec<&TableManifest> = manifest.filter(|t| filled.contains(&t.name)).collect();
    let named: BTreeSet<&TableName> = known.iter().map(|table| &table.name).collect();
    for table in filled.difference(&named) {
        run.findings().unverified.insert((delta, (*table).clone()));
    }
    if known.is_empty() {
        return Ok(());
    }
    let mut tables = run.world.target().tables().await?.tables;
    if closed {
        let log = run.world.target().changes().await?;
        tables = plan::tables_of(delta, &tables, &log).into_iter().cloned().collect();
    }
    for manifest in known {
        let Some(table) = tables.iter().find(|table| table.name == manifest.name) else {
            if closed {
                run.findings().unverified.insert((delta, manifest.name.clone()));
                continue;
            }
            return Err(Disagreement::NoTable { delta, table: manifest.name.clone() }.into());
        };
        let accepted = run.accepts_differences() || doomed(&table.name);
        compare(run, delta, table, manifest, accepted).await?;
    }
    Ok(())
}

async fn compare<W: World>(
    run: &Context<W>,
    delta: DeltaNum,
    table: &Table,
    manifest: &TableManifest,
    accepted: bool,
) -> Result<(), Fault> {
    let name = manifest.name.clone();
    let Some((wanted, snapshot)) = wanted(manifest) else {
        run.findings().unverified.insert((delta, name));
        return Ok(());
    };
    let all = || table.columns.iter().map(|column| column.name.clone()).collect();
    let columns: Vec<String> = manifest.check_sum_columns.clone().unwrap_or_else(all);
    let sums = run.world.target().table_sums(delta, table, &columns, snapshot).await?;
    let found = if snapshot { sums.snapshot } else { sums.changes };
    if found.as_ref() == Some(wanted) {
        return Ok(());
    }
    if accepted {
        run.findings().different.insert((delta, name));
        return Ok(());
    }
    let found = found.unwrap_or_else(|| "unknown: the target's datasources differ".to_owned());
    Err(Disagreement::Sums { delta, table: name, wanted: wanted.clone(), found }.into())
}
