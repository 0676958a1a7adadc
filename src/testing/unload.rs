//! The unloads of the world in memory: staging topics with the recorded quirks. Rows come in
//! random order, chunks in random partitions; an unload whose client died goes on by itself.

use std::time::Duration;

use crate::extract::{
    ChunkReader, Discard, Half, Seal, Source, SourceError, StagedChunk, UnloadStep,
};
use crate::model::{Attempt, AttemptName, Datasource, DeltaNum, Part, Partition, RunId, Table};

use super::rows::{TestRow, staging_body};
use super::world::{Faults, Inner, Memory};

/// A staging topic.
#[derive(Clone, Debug, Default)]
pub struct Staging {
    /// Messages by partition.
    pub partitions: Vec<Vec<StagedChunk>>,
    /// What a connector will still write although nobody waits.
    pub to_come: Vec<StagedChunk>,
}

impl Staging {
    fn write(&mut self, partition: usize, mut chunk: StagedChunk) {
        let messages = &mut self.partitions[partition];
        chunk.offset = messages.len() as u64;
        messages.push(chunk);
    }
}

impl Inner {
    /// The rows of a part; of a datasource that reads without merging, more may seem alive.
    fn rows_of_part(&mut self, attempt: &Attempt, part: Part) -> Vec<TestRow> {
        let (delta, table) = (attempt.delta, &attempt.table);
        let percent = self.faults.unmerged_parts;
        let mut rows = self.part(delta, table, part);
        if part == Part::Alive && self.chance(percent) {
            rows.extend(self.part(delta, table, Part::Dead).pop());
        }
        rows
    }

    fn chunks(
        &mut self,
        attempt: &Attempt,
        half: Half,
        mut rows: Vec<TestRow>,
    ) -> Vec<StagedChunk> {
        for last in (1..rows.len()).rev() {
            let other = self.random() as usize % (last + 1);
            rows.swap(last, other);
        }
        let full = rows.len() / attempt.chunk_size as usize;
        let (filled, rest) = rows.split_at(full * attempt.chunk_size as usize);
        let chunk = |number: u32, rows: &[TestRow], is_last| StagedChunk {
            offset: 0,
            half,
            stream: 0,
            stream_total: 1,
            chunk: number,
            is_last,
            body: staging_body(rows),
        };
        let mut chunks: Vec<_> = (1..)
            .zip(filled.chunks(attempt.chunk_size as usize))
            .map(|(number, rows)| chunk(number, rows, false))
            .collect();
        chunks.push(chunk(full as u32 + 1, rest, true));
        if self.chance(5) {
            // A stock reader sometimes ends a stream twice.
            chunks.push(chunk(full as u32 + 2, &[], true));
        }
        chunks
    }

    fn spread(&mut self, name: &str, chunks: Vec<StagedChunk>) {
        for chunk in chunks {
            let random = self.random() as usize;
            if let Some(staging) = self.staging.get_mut(name) {
                let partition = random % staging.partitions.len();
                staging.write(partition, chunk);
            }
        }
    }

    /// Connectors that nobody waits for write on.
    pub fn zombies_write(&mut self) {
        let names: Vec<String> = self.staging.keys().cloned().collect();
        for name in names {
            let Some(staging) = self.staging.get_mut(&name) else { continue };
            let chunks = std::mem::take(&mut staging.to_come);
            self.spread(&name, chunks);
        }
    }

    /// Staging topics are lost by chance.
    pub fn lose_staging(&mut self) {
        let percent = self.faults.lost_staging;
        let names: Vec<String> = self.staging.keys().cloned().collect();
        for name in names {
            if self.chance(percent) {
                self.staging.remove(&name);
            }
        }
    }
}

fn cut_short(attempt: &Attempt) -> SourceError {
    SourceError::CutShort { statement: attempt.name.0.clone(), message: "by chance".into() }
}

impl Memory {
    async fn prepare(&self, attempt: &Attempt, tell: &(dyn Fn(UnloadStep) + Send + Sync)) {
        let name = attempt.name.0.as_str();
        let made = self
            .call("create_topic", |inner| {
                let partitions = vec![vec![]; attempt.partitions as usize];
                let staging = Staging { partitions, to_come: vec![] };
                inner.staging.insert(name.to_owned(), staging).is_none()
            })
            .await;
        assert!(made, "staging topic {name} was used twice");
        tell(UnloadStep::TopicCreated { partitions: attempt.partitions });
        self.call("create_table", |inner| inner.tables_made.insert(name.to_owned())).await;
        tell(UnloadStep::TableCreated);
    }

    async fn insert(
        &self,
        attempt: &Attempt,
        half: Half,
        tell: &(dyn Fn(UnloadStep) + Send + Sync),
        rows: impl FnOnce(&mut Inner) -> Vec<TestRow>,
    ) -> Result<(), SourceError> {
        // All chunks are on their way once the statement is sent; a crash in between leaves
        // some of them to a connector that nobody can stop.
        self.call("insert", |inner| {
            let rows = rows(inner);
            let chunks = inner.chunks(attempt, half, rows);
            if let Some(staging) = inner.staging.get_mut(&attempt.name.0) {
                staging.to_come = chunks;
            }
        })
        .await;
        self.call("answer", |inner| answer(inner, attempt)).await?;
        tell(UnloadStep::Inserted { half });
        Ok(())
    }

    async fn seal(
        &self,
        attempt: &Attempt,
        tell: &(dyn Fn(UnloadStep) + Send + Sync),
    ) -> Result<Seal, SourceError> {
        let name = attempt.name.0.as_str();
        self.call("drop_table", |inner| inner.tables_made.remove(name)).await;
        tell(UnloadStep::TableDropped);
        let ends = self.call("ends", |inner| inner.staging.get(name).cloned()).await;
        let ends = ends.map(|s| s.partitions.iter().map(|p| p.len() as u64).collect());
        Ok(Seal { ends: ends.unwrap_or_default() })
    }
}

impl Source for Memory {
    type Reader = MemoryReader;

    async fn unload(
        &self,
        attempt: &Attempt,
        _table: &Table,
        tell: &(dyn Fn(UnloadStep) + Send + Sync),
    ) -> Result<Seal, SourceError> {
        self.prepare(attempt, tell).await;
        for half in [Half::Added, Half::Removed] {
            self.insert(attempt, half, tell, |inner| {
                inner.half(attempt.delta, &attempt.table, half)
            })
            .await?;
        }
        self.seal(attempt, tell).await
    }

    async fn unload_part(
        &self,
        attempt: &Attempt,
        _table: &Table,
        part: Part,
        tell: &(dyn Fn(UnloadStep) + Send + Sync),
    ) -> Result<Seal, SourceError> {
        self.prepare(attempt, tell).await;
        let refused = self.call("insert", |inner| {
            let percent = inner.faults.refused_parts;
            inner.chance(percent)
        });
        if refused.await {
            let (statement, message) = (attempt.name.0.clone(), "by chance".into());
            return Err(SourceError::PartRefused { statement, message });
        }
        self.insert(attempt, Half::of(part), tell, |inner| inner.rows_of_part(attempt, part))
            .await?;
        self.seal(attempt, tell).await
    }

    async fn rows(
        &self,
        delta: DeltaNum,
        table: &Table,
        _datasource: Option<&Datasource>,
        half: Half,
    ) -> Result<u64, SourceError> {
        Ok(self.call("count", |inner| inner.half(delta, &table.name, half).len() as u64).await)
    }

    async fn read(
        &self,
        attempt: &Attempt,
        partition: Partition,
        from: u64,
        end: u64,
    ) -> Result<MemoryReader, SourceError> {
        let name = attempt.name.clone();
        let memory = self.clone();
        self.call("read", |inner| {
            inner.calls.push(format!("read {name}/{partition} from {from}"));
        })
        .await;
        Ok(MemoryReader { memory, name, partition, next: from, end })
    }

    async fn discard(&self, name: &AttemptName, answered: bool) -> Result<Discard, SourceError> {
        // Often as late as can be: time goes on only when nobody has anything to do.
        let (wait, fails) = {
            let mut inner = self.lock();
            let Faults { slow_discards, failed_discards, .. } = inner.faults;
            (slow_discards.max(u64::from(inner.lets_others(50))), inner.chance(failed_discards))
        };
        if wait > 0 {
            tokio::time::sleep(Duration::from_millis(wait)).await;
        }
        if fails {
            return Err(SourceError::Brokers { reason: "by chance".into() });
        }
        self.call("discard table", |inner| inner.tables_made.remove(&name.0)).await;
        self.call("discard topic", |inner| {
            let of_name = inner.staging.get_mut(&name.0);
            let to_come = of_name.map(|s| std::mem::take(&mut s.to_come)).unwrap_or_default();
            let grows = !to_come.is_empty();
            inner.spread(&name.0, to_come);
            if grows && !answered {
                return Ok(Discard::Quarantined);
            }
            inner.staging.remove(&name.0);
            Ok(Discard::Gone)
        })
        .await
    }

    async fn leftovers(&self, run: RunId) -> Result<Vec<AttemptName>, SourceError> {
        self.call("leftovers", |inner| {
            let prefix = AttemptName::prefix(run);
            let names = inner.staging.keys().chain(&inner.tables_made);
            let ours = names.filter(|name| name.starts_with(&prefix));
            Ok(ours.cloned().map(AttemptName).collect())
        })
        .await
    }
}

/// The connector's end of an INSERT: everything is there, or it fails, or it lies.
fn answer(inner: &mut Inner, attempt: &Attempt) -> Result<(), SourceError> {
    let name = attempt.name.0.as_str();
    let (percent, most) = (inner.faults.bad_unloads, inner.faults.connector_rows);
    let bad = inner.chance(percent);
    let mut chunks =
        inner.staging.get_mut(name).map(|s| std::mem::take(&mut s.to_come)).unwrap_or_default();
    if most > 0 && u64::from(attempt.chunk_size) > most && chunks.len() > 1 {
        // A message that its producer refuses: 500, and yet an empty last chunk (recording 19).
        chunks.retain(|chunk| chunk.is_last);
        inner.spread(name, chunks);
        return Err(cut_short(attempt));
    }
    let percent = inner.faults.silent_unloads;
    if inner.chance(percent) {
        chunks.clear();
    }
    let fails = bad && inner.chance(50);
    if bad && chunks.len() > 1 {
        // The lie of recording 19: the last chunk is there, others are not.
        let lost = inner.random() as usize % (chunks.len() - 1);
        chunks.remove(lost);
    }
    inner.spread(name, chunks);
    if fails { Err(cut_short(attempt)) } else { Ok(()) }
}

/// Reads one staging partition.
pub struct MemoryReader {
    memory: Memory,
    name: AttemptName,
    partition: Partition,
    next: u64,
    end: u64,
}

impl ChunkReader for MemoryReader {
    async fn next(&mut self) -> Result<Option<StagedChunk>, SourceError> {
        if self.next >= self.end {
            return Ok(None);
        }
        let chunk = self
            .memory
            .call("chunk", |inner| {
                let staging = inner.staging.get(&self.name.0)?;
                staging.partitions.get(self.partition.0 as usize)?.get(self.next as usize).cloned()
            })
            .await;
        match chunk {
            Some(chunk) => {
                self.next += 1;
                Ok(Some(chunk))
            }
            None => {
                let attempt = self.name.clone();
                let (partition, end) = (self.partition, self.end);
                Err(SourceError::StagingLost { attempt, partition, end })
            }
        }
    }
}
