//! The node of the world in memory.

use crate::extract::{Allow, Count, Deny, Mark, Marker, Node, SourceError, Sums, Tables};
use crate::model::{ChangeLog, Datasource, Delta, DeltaNum, LockCode, Owner, Table};

use super::world::{Inner, Memory};

impl Memory {
    /// A call whose answer can be lost after its effect.
    async fn ask<R>(
        &self,
        name: &str,
        effect: impl FnOnce(&mut Inner) -> R,
    ) -> Result<R, SourceError> {
        let (answer, lost) = self
            .call(name, |inner| {
                let answer = effect(inner);
                let percent = inner.faults.lost_answers;
                inner.answers += 1;
                let lost = inner.lose.remove(&inner.answers);
                (answer, inner.chance(percent) || lost)
            })
            .await;
        if lost {
            let reason = format!("the answer to {name} was lost");
            return Err(SourceError::Unreachable { node: "memory".into(), reason });
        }
        Ok(answer)
    }
}

impl Node for Memory {
    async fn last_delta(&self) -> Result<Option<Delta>, SourceError> {
        self.ask("last_delta", |inner| inner.deltas.last().copied()).await
    }

    async fn delta(&self, num: DeltaNum) -> Result<Option<Delta>, SourceError> {
        self.ask("delta", |inner| inner.deltas.iter().find(|d| d.num == num).copied()).await
    }

    async fn changes(&self) -> Result<ChangeLog, SourceError> {
        self.ask("changes", |inner| inner.changes.clone()).await
    }

    async fn tables(&self) -> Result<Tables, SourceError> {
        self.ask("tables", |inner| Tables {
            tables: inner.tables.clone(),
            views: inner.views.clone(),
            unknown: vec![],
        })
        .await
    }

    async fn version(&self) -> Result<String, SourceError> {
        self.ask("version", |_| "memory".to_owned()).await
    }

    async fn preferred(
        &self,
        _delta: DeltaNum,
        table: &Table,
    ) -> Result<Option<Datasource>, SourceError> {
        self.ask("preferred", |inner| {
            let now = inner.tables.iter().find(|known| known.name == table.name);
            now.and_then(|table| table.datasources.last().cloned())
        })
        .await
    }

    async fn delta_sum(&self, delta: DeltaNum) -> Result<Option<String>, SourceError> {
        self.ask("delta_sum", |inner| {
            let rows = inner.rows.iter().filter(|((d, _), _)| *d == delta);
            Some(rows.map(|(_, rows)| rows.len()).sum::<usize>().to_string())
        })
        .await
    }

    async fn count(
        &self,
        delta: DeltaNum,
        table: &Table,
        _datasource: Option<&Datasource>,
        what: Count,
    ) -> Result<Option<u64>, SourceError> {
        self.ask("count", |inner| {
            let percent = inner.faults.refused_counts;
            (!inner.chance(percent)).then(|| inner.count(delta, &table.name, what))
        })
        .await
    }

    async fn table_sums(
        &self,
        delta: DeltaNum,
        table: &Table,
        _columns: &[String],
        _snapshot: bool,
    ) -> Result<Sums, SourceError> {
        self.ask("table_sums", |inner| {
            if let Some((changes, snapshot)) = inner.sums.get(&(delta, table.name.clone())) {
                return Sums { changes: Some(changes.clone()), snapshot: Some(snapshot.clone()) };
            }
            let rows = inner.rows.get(&(delta, table.name.clone())).map_or(0, Vec::len);
            Sums { changes: Some(rows.to_string()), snapshot: None }
        })
        .await
    }

    async fn deny(&self, code: &LockCode) -> Result<Deny, SourceError> {
        self.ask("deny", |inner| match &inner.lock {
            Some(_) => Deny::Blocked,
            None => {
                inner.lock = Some(code.as_str().to_owned());
                Deny::Done
            }
        })
        .await
    }

    async fn allow(&self, code: &LockCode) -> Result<Allow, SourceError> {
        self.ask("allow", |inner| match &inner.lock {
            None => Allow::NotBlocked,
            Some(held) if held == code.as_str() => {
                inner.lock = None;
                Allow::Done
            }
            Some(_) => Allow::WrongCode,
        })
        .await
    }

    async fn marker(&self) -> Result<Marker, SourceError> {
        self.ask("marker", |inner| match &inner.marker {
            None => Marker::Absent,
            Some(owner) => Marker::Of(owner.clone()),
        })
        .await
    }

    async fn mark(&self, owner: &Owner) -> Result<Mark, SourceError> {
        self.ask("mark", |inner| match &inner.marker {
            Some(_) => Mark::Exists,
            None => {
                inner.marker = Some(owner.clone());
                Mark::Done
            }
        })
        .await
    }

    async fn unmark(&self) -> Result<(), SourceError> {
        self.ask("unmark", |inner| inner.marker = None).await
    }
}
