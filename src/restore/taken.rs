//! What a restore takes from the topic, told to those who compare its work afterwards. Only reads
//! the topic.

use std::collections::BTreeMap;

use crate::format::{ChangeRecord, Manifest};
use crate::model::{DeltaDate, DeltaNum, TableName};

use super::context::World;
use super::fault::{Fault, RunError};
use super::freeze::freeze;
use super::run::{Restore, untouched};

/// What is taken of one delta.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TakenDelta {
    /// The delta.
    pub delta: DeltaNum,
    /// When it was closed, by the keys.
    pub date: DeltaDate,
    /// The date it is committed with.
    pub committed: DeltaDate,
    /// What its increment promises; none in those of the older tool.
    pub manifest: Option<Manifest>,
    /// Rows of its tables, as they were counted in the topic.
    pub rows: BTreeMap<TableName, u64>,
}

/// What is taken of the topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// By delta, in order.
    pub deltas: Vec<TakenDelta>,
    /// Schema changes to be replayed, in order.
    pub changes: Vec<ChangeRecord>,
}

impl<W: World> Restore<W> {
    /// Reads the topic once more; what the journal has fixed is taken as fixed.
    ///
    /// # Errors
    /// As [`Restore::execute`]; [`Fault::Unexpected`] where nothing was fixed yet.
    pub async fn taken(&self) -> Result<Taken, RunError> {
        let taken = async {
            let planned = self.run.ledger.look(|state| state.planned.clone());
            let planned = planned.ok_or_else(|| Fault::Unexpected("nothing is planned".into()))?;
            let frozen = freeze(&self.run).await?;
            let counts = frozen.counts(0)?;
            let mut deltas = Vec::with_capacity(planned.deltas.len());
            for chosen in &planned.deltas {
                let (choice, increment) = frozen.increment(chosen.delta)?;
                deltas.push(TakenDelta {
                    delta: chosen.delta,
                    date: choice.date,
                    committed: chosen.date,
                    manifest: increment.manifest.clone(),
                    rows: increment
                        .tables()
                        .map(|(t, view)| (t.clone(), view.all_rows()))
                        .collect(),
                });
            }
            let last = counts.last().copied().unwrap_or(0) as usize;
            let mut changes = frozen.source.clone();
            changes.truncate(if frozen.trailing { changes.len() } else { last });
            Ok(Taken { deltas, changes })
        };
        taken.await.map_err(untouched)
    }
}
