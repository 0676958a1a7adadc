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

/// Tables whose sums tell whether all was loaded.
pub fn provable(increment: &Increment) -> BTreeSet<TableName> {
    let tables = increment.manifest.iter().flat_map(|manifest| &manifest.tables);
    tables.filter(|table| Wanted::of(table).proves()).map(|table| table.name.clone()).collect()
}

/// The sums to compare.
struct Wanted<'a> {
    /// CHECK_SUM, unless a key may have had more than one dead version: then only the state at the
    /// end can be equal.
    changes: Option<&'a String>,
    /// CHECK_SUM_SNAPSHOT, where CHECK_SUM cannot be compared or does not see everything.
    snapshot: Option<&'a String>,
    in_parts: bool,
}

impl<'a> Wanted<'a> {
    fn of(table: &'a TableManifest) -> Self {
        let in_parts = table.parts.is_some();
        let changes = table.check_sum.as_ref().filter(|_| table.exact);
        let snapshot = table.check_sum_snapshot.as_ref();
        Self { changes, snapshot: snapshot.filter(|_| in_parts || changes.is_none()), in_parts }
    }

    /// CHECK_SUM counts a version that the delta itself added once, removed or not: it is blind to
    /// removals of a pair in parts that were not loaded.
    fn proves(&self) -> bool {
        self.snapshot.is_some() || self.changes.is_some() && !self.in_parts
    }
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
    let wanted = Wanted::of(manifest);
    if !wanted.proves() {
        run.findings().unverified.insert((delta, name.clone()));
    }
    if wanted.changes.is_none() && wanted.snapshot.is_none() {
        return Ok(());
    }
    let all = || table.columns.iter().map(|column| column.name.clone()).collect();
    let columns: Vec<String> = manifest.check_sum_columns.clone().unwrap_or_else(all);
    let snapshot = wanted.snapshot.is_some();
    let sums = run.world.target().table_sums(delta, table, &columns, snapshot).await?;
    let pairs = [(wanted.changes, sums.changes), (wanted.snapshot, sums.snapshot)];
    let differs = |(wanted, found): &(Option<&String>, Option<String>)| {
        wanted.is_some() && *wanted != found.as_ref()
    };
    let Some((Some(wanted), found)) = pairs.into_iter().find(differs) else { return Ok(()) };
    if accepted {
        run.findings().different.insert((delta, name));
        return Ok(());
    }
    let found = found.unwrap_or_else(|| "unknown: the target's datasources differ".to_owned());
    Err(Disagreement::Sums { delta, table: name, wanted: wanted.clone(), found }.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(exact: bool, parts: Option<Vec<u64>>, sums: [Option<&str>; 2]) -> TableManifest {
        let [check_sum, check_sum_snapshot] = sums.map(|sum| sum.map(str::to_owned));
        TableManifest {
            name: TableName("t".into()),
            streams: 1,
            chunks: vec![1],
            rows_added: 1,
            rows_removed: 1,
            parts,
            check_sum,
            check_sum_snapshot,
            check_sum_columns: None,
            exact,
        }
    }

    /// Which sums are compared, and whether they tell everything.
    fn compared(exact: bool, in_parts: bool, sums: [Option<&str>; 2]) -> (bool, bool, bool) {
        let manifest = manifest(exact, in_parts.then(|| vec![1, 1, 1]), sums);
        let wanted = Wanted::of(&manifest);
        (wanted.changes.is_some(), wanted.snapshot.is_some(), wanted.proves())
    }

    #[test]
    fn the_state_is_compared_where_the_changes_do_not_tell_everything() {
        let both = [Some("1"), Some("2")];
        assert_eq!(compared(true, false, both), (true, false, true));
        assert_eq!(compared(false, false, both), (false, true, true));
        assert_eq!(compared(true, true, both), (true, true, true));
        assert_eq!(compared(false, true, both), (false, true, true));
        assert_eq!(compared(true, true, [Some("1"), None]), (true, false, false));
        assert_eq!(compared(true, false, [None, Some("2")]), (false, true, true));
        assert_eq!(compared(false, false, [Some("1"), None]), (false, false, false));
    }
}
