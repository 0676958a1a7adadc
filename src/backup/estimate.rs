//! What a drafted run amounts to, asked of the node without an unload: which pairs have changes, how
//! many rows and messages. Never changes anything, and never decides anything.

use crate::extract::{Half, Node, Source, SourceError};
use crate::model::{DeltaNum, Table, TableName};
use crate::plan;

use super::context::{Context, World};
use super::fault::Fault;
use super::planning::Draft;
use super::unload;

/// Questions after which an estimate ends, so that a dry run stays short.
pub const MOST_QUESTIONS: u64 = 10_000;

/// A (delta, table) that would be unloaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// The table.
    pub table: TableName,
    /// Rows added and removed; none where the node refuses to count.
    pub rows: Option<(u64, u64)>,
}

/// One delta, as far as it was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Estimated {
    /// The delta.
    pub delta: DeltaNum,
    /// Its pairs: tables that it has.
    pub pairs: u64,
    /// How many of them were looked at.
    pub looked_at: u64,
    /// Those that would be unloaded.
    pub unloads: Vec<Changed>,
}

/// What a run would unload and deliver.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Estimate {
    /// Pairs of all deltas.
    pub pairs: u64,
    /// How many of them were looked at; fewer than all where the questions ran out.
    pub looked_at: u64,
    /// (delta, table) to unload, among those looked at.
    pub unloads: u64,
    /// Of these, those that the node refuses to count.
    pub uncounted: u64,
    /// Rows to add.
    pub added: u64,
    /// Rows to remove.
    pub removed: u64,
    /// Messages, roughly: rows by `--chunkSize` and an end for each half of an unload, one for each
    /// pair without changes, one for each delta's changelog. Connectors that work in several
    /// streams write some more.
    pub messages: u64,
    /// By delta, as far as it was looked at.
    pub deltas: Vec<Estimated>,
}

impl Estimate {
    /// The questions ran out before the last pair.
    pub fn is_cut(&self) -> bool {
        self.looked_at < self.pairs
    }

    fn add(&mut self, found: Estimated, chunk_size: u64) {
        // Each half ends with one more message, an empty one where nothing is left.
        let messages = |rows: u64| rows / chunk_size.max(1) + 1;
        self.looked_at += found.looked_at;
        self.unloads += found.unloads.len() as u64;
        self.messages += 1 + found.looked_at - found.unloads.len() as u64;
        for (added, removed) in found.unloads.iter().map(|u| u.rows.unwrap_or_default()) {
            self.added += added;
            self.removed += removed;
            self.messages += messages(added) + messages(removed);
        }
        self.uncounted += found.unloads.iter().filter(|u| u.rows.is_none()).count() as u64;
        self.deltas.push(found);
    }
}

/// Asks the node what the real run would ask it, and counts instead of unloading.
///
/// # Errors
/// Those of the node, but for a refusal to count; [`Fault::Stopped`].
pub async fn estimate<W: World>(
    run: &Context<W>,
    draft: &Draft,
    most: u64,
) -> Result<Estimate, Fault> {
    let chunk_size = run.shape().chunk_size.into();
    let mut estimate = Estimate::default();
    let mut asker = Asker { run, left: most };
    for delta in &draft.deltas {
        let tables = plan::tables_of(delta.num, &draft.tables, &draft.changes);
        estimate.pairs += tables.len() as u64;
        if asker.left > 0 {
            estimate.add(asker.delta(delta.num, &tables).await?, chunk_size);
        }
    }
    Ok(estimate)
}

struct Asker<'a, W: World> {
    run: &'a Context<W>,
    left: u64,
}

impl<W: World> Asker<'_, W> {
    fn count_question(&mut self) -> Result<(), Fault> {
        self.left = self.left.saturating_sub(1);
        self.run.go_on()
    }

    /// An empty delta costs one question, an empty pair too (D4.5).
    async fn delta(&mut self, delta: DeltaNum, tables: &[&Table]) -> Result<Estimated, Fault> {
        let pairs = tables.len() as u64;
        let mut found = Estimated { delta, pairs, looked_at: 0, unloads: Vec::new() };
        if self.run.shape().checksums {
            self.count_question()?;
            if self.run.world.node().delta_sum(delta).await?.as_deref() == Some("0") {
                found.looked_at = pairs;
                return Ok(found);
            }
        }
        for table in tables {
            if self.left == 0 {
                break;
            }
            found.looked_at += 1;
            if self.is_unloaded(delta, table).await? {
                let rows = self.rows(delta, table).await?;
                found.unloads.push(Changed { table: table.name.clone(), rows });
            }
        }
        Ok(found)
    }

    /// Without check sums a run unloads every pair.
    async fn is_unloaded(&mut self, delta: DeltaNum, table: &Table) -> Result<bool, Fault> {
        if !self.run.shape().checksums {
            return Ok(true);
        }
        self.count_question()?;
        let columns = table.sum_columns();
        let sums = self.run.world.node().table_sums(delta, table, &columns, false).await?;
        Ok(sums.changes.as_deref() != Some("0"))
    }

    async fn rows(&mut self, delta: DeltaNum, table: &Table) -> Result<Option<(u64, u64)>, Fault> {
        let datasource = unload::datasource(self.run, delta, table).await?;
        let mut counts = [0; 2];
        for (count, half) in counts.iter_mut().zip([Half::Added, Half::Removed]) {
            self.count_question()?;
            let rows = self.run.world.source().rows(delta, table, datasource.as_ref(), half).await;
            *count = match rows {
                Err(SourceError::Refused { statement, message }) => {
                    tracing::debug!(statement, message, "the node refuses to count");
                    return Ok(None);
                }
                rows => rows?,
            };
        }
        Ok(Some((counts[0], counts[1])))
    }
}
