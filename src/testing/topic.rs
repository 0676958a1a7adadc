//! The backup topic of the world in memory, with transactions: messages of an open or aborted one
//! are there and not seen, markers take offsets, a lane opened again fences the one before.

use std::collections::{BTreeMap, VecDeque};

use crate::catalog::{self, CatalogError, Cursor, RangeReader, Seen, TopicReader, TopicState};
use crate::deliver::{Lane, Message, Sink, SinkError};
use crate::format::read_label;
use crate::model::{Offset, Partition, RunId};

use super::world::{Inner, Memory};

/// What lies at an offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stored {
    /// A message of an open or aborted transaction.
    Hidden(Message),
    /// A message that readers see.
    Visible(Message),
    /// The end of a transaction.
    Marker,
}

/// The open transaction of a lane.
#[derive(Clone, Debug, Default)]
pub struct Transaction {
    /// Who may write to it.
    pub epoch: u64,
    /// What it wrote.
    pub written: Vec<(usize, usize)>,
}

impl Inner {
    fn end_transaction(&mut self, lane: &(String, u32), commit: bool) -> Vec<Offset> {
        let Some(open) = self.lanes.get_mut(lane) else { return vec![] };
        let written = std::mem::take(&mut open.written);
        let mut touched: Vec<usize> = written.iter().map(|(partition, _)| *partition).collect();
        for (partition, offset) in written.iter().filter(|_| commit) {
            let stored = &mut self.topic[*partition][*offset];
            if let Stored::Hidden(message) = stored {
                *stored = Stored::Visible(message.clone());
            }
        }
        touched.sort_unstable();
        touched.dedup();
        touched.into_iter().for_each(|partition| self.topic[partition].push(Stored::Marker));
        written.into_iter().map(|(_, offset)| Offset(offset as i64)).collect()
    }
}

/// A lane of the topic in memory.
pub struct MemoryLane {
    memory: Memory,
    name: (String, u32),
    epoch: u64,
}

impl MemoryLane {
    fn fenced(&self, inner: &Inner) -> Result<(), SinkError> {
        let current = inner.lanes.get(&self.name).map(|open| open.epoch);
        if current == Some(self.epoch) {
            Ok(())
        } else {
            Err(SinkError::Fenced { lane: self.name.1 })
        }
    }
}

fn interrupted() -> SinkError {
    SinkError::Interrupted { reason: "by chance".into() }
}

impl Lane for MemoryLane {
    async fn send(&mut self, message: Message) -> Result<(), SinkError> {
        let memory = self.memory.clone();
        memory
            .call("send", |inner| {
                self.fenced(inner)?;
                let (bytes, limit) = (message.body.len(), inner.faults.topic_bytes as usize);
                // A changelog cannot be made smaller than its largest statement.
                let is_data = read_label(&message.body).is_ok_and(|label| label.src.is_some());
                if is_data && limit > 0 && bytes > limit {
                    return Err(SinkError::TooLarge { bytes, limit });
                }
                let partition = message.partition.0 as usize;
                let offset = inner.topic[partition].len();
                inner.topic[partition].push(Stored::Hidden(message));
                if let Some(open) = inner.lanes.get_mut(&self.name) {
                    open.written.push((partition, offset));
                }
                Ok(())
            })
            .await
    }

    async fn commit(&mut self) -> Result<Vec<Offset>, SinkError> {
        let memory = self.memory.clone();
        memory
            .call("commit", |inner| {
                self.fenced(inner)?;
                let percent = inner.faults.interrupted;
                if inner.chance(percent) {
                    // The outcome is unknown to the writer: either may have happened.
                    if inner.chance(50) {
                        inner.end_transaction(&self.name, true);
                    }
                    return Err(interrupted());
                }
                Ok(inner.end_transaction(&self.name, true))
            })
            .await
    }
}

impl Sink for Memory {
    type Lane = MemoryLane;

    async fn open(&self, run: RunId, lane: u32) -> Result<MemoryLane, SinkError> {
        let name = (run.hex(), lane);
        let memory = self.clone();
        self.call("open lane", |inner| {
            if inner.topic.is_empty() {
                return Err(SinkError::Refused { reason: "the topic is missing".into() });
            }
            let percent = inner.faults.late_commits;
            let late = inner.chance(percent);
            inner.end_transaction(&name, late);
            let open = inner.lanes.entry(name.clone()).or_default();
            open.epoch += 1;
            Ok(MemoryLane { memory, name: name.clone(), epoch: open.epoch })
        })
        .await
    }

    async fn settle(&self) -> Result<(), SinkError> {
        Ok(())
    }
}

impl TopicReader for Memory {
    async fn state(&self) -> Result<Option<TopicState>, CatalogError> {
        self.call("state", |inner| Ok(topic_state(inner))).await
    }

    async fn create(&self, partitions: u32) -> Result<TopicState, CatalogError> {
        self.call("create", |inner| {
            if inner.topic.is_empty() {
                inner.topic = vec![vec![]; partitions as usize];
            }
        })
        .await;
        let ranges =
            self.lock().topic.iter().map(|p| (Offset(0), Offset(p.len() as i64))).collect();
        Ok(TopicState { ranges, settings: Default::default() })
    }

    async fn scan(
        &self,
        from: &[Offset],
        each: &mut (dyn FnMut(Seen<'_>) + Send),
    ) -> Result<Vec<Offset>, CatalogError> {
        let topic = self.call("scan", |inner| inner.topic.clone()).await;
        for (number, (partition, from)) in topic.iter().zip(from).enumerate() {
            let (low, high) = (Offset(0), Offset(partition.len() as i64));
            if *from > high {
                let partition = Partition(number as i32);
                return Err(CatalogError::Gone { partition, low, high, wanted: *from });
            }
        }
        for (number, (partition, from)) in topic.iter().zip(from).enumerate() {
            for (offset, stored) in partition.iter().enumerate().skip(from.0 as usize) {
                if let Stored::Visible(message) = stored {
                    let (key, body) = (message.key.as_slice(), message.body.as_slice());
                    let (partition, offset) = (Partition(number as i32), Offset(offset as i64));
                    self.lock().shown += 1;
                    each(Seen { partition, offset, key, body });
                }
            }
        }
        Ok(topic.iter().map(|partition| Offset(partition.len() as i64)).collect())
    }
}

fn topic_state(inner: &Inner) -> Option<TopicState> {
    let ranges: Vec<_> = inner.topic.iter().map(|p| (Offset(0), Offset(p.len() as i64))).collect();
    (!ranges.is_empty()).then(|| TopicState { ranges, settings: Default::default() })
}

impl RangeReader for Memory {
    type Cursor = MemoryCursor;

    async fn open(
        &self,
        places: &BTreeMap<Partition, (Offset, Offset)>,
    ) -> Result<MemoryCursor, CatalogError> {
        let places = places.clone();
        let found = self
            .call("open places", |inner| {
                let mut found = VecDeque::new();
                for (partition, (first, last)) in places {
                    let stored = inner.topic.get(partition.0 as usize).into_iter().flatten();
                    for (offset, stored) in (0..).zip(stored) {
                        if let Stored::Visible(message) = stored
                            && (first.0..=last.0).contains(&offset)
                        {
                            let (key, body) = (message.key.clone(), message.body.clone());
                            let offset = Offset(offset);
                            found.push_back(catalog::Stored { partition, offset, key, body });
                        }
                    }
                }
                found
            })
            .await;
        Ok(MemoryCursor(found))
    }
}

/// Gives messages of the topic in memory.
pub struct MemoryCursor(VecDeque<catalog::Stored>);

impl Cursor for MemoryCursor {
    async fn next(&mut self) -> Result<Option<catalog::Stored>, CatalogError> {
        Ok(self.0.pop_front())
    }
}
