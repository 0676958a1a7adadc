//! Places of the backup topic read again, in order within a partition. Holds what the client has
//! fetched ahead, a bounded number of bytes; never reads beyond the last place of a partition.

use std::collections::BTreeMap;
use std::time::Instant;

use rdkafka::Message as _;
use rdkafka::TopicPartitionList;
use rdkafka::consumer::Consumer;
use rdkafka::error::KafkaError;

use super::{IDLE, KafkaTopic, Reader, STALL, Todo};
use crate::catalog::{CatalogError, Cursor, RangeReader, Stored};
use crate::kafka::{Context, Failure, FailureKind, retire};
use crate::model::{Offset, Partition};

impl RangeReader for KafkaTopic {
    type Cursor = KafkaCursor;

    async fn open(
        &self,
        places: &BTreeMap<Partition, (Offset, Offset)>,
    ) -> Result<KafkaCursor, CatalogError> {
        let todo = places.iter().map(|(partition, (first, last))| Todo {
            partition: partition.0,
            next: first.0,
            end: last.0 + 1,
            done: last < first,
        });
        let todo: Vec<Todo> = todo.filter(|todo| !todo.done).collect();
        let mut cursor =
            KafkaCursor { topic: self.clone(), todo, reader: None, context: Context::default() };
        if !cursor.todo.is_empty() {
            self.check(&cursor.todo).await?;
            let (reader, context) = self.consumer()?;
            self.assign(&reader, &cursor.todo)?;
            (cursor.reader, cursor.context) = (Some(reader), context);
        }
        Ok(cursor)
    }
}

/// Gives the messages of some places.
pub struct KafkaCursor {
    topic: KafkaTopic,
    todo: Vec<Todo>,
    /// None where there is nothing to read.
    reader: Option<Reader>,
    context: Context,
}

impl KafkaCursor {
    /// Takes a message in; true where it lies in a place that was asked for.
    fn is_wanted(&mut self, partition: i32, offset: i64) -> bool {
        let open = |todo: &&mut Todo| todo.partition == partition && !todo.done;
        let Some(todo) = self.todo.iter_mut().find(open) else { return false };
        todo.next = offset + 1;
        todo.done = todo.next >= todo.end;
        let wanted = offset < todo.end;
        if todo.done {
            self.leave(partition);
        }
        wanted
    }

    /// Fetches no more of a partition whose last place was read: the rest of the topic lies behind
    /// it.
    fn leave(&self, partition: i32) {
        let Some(reader) = &self.reader else { return };
        let mut list = TopicPartitionList::new();
        list.add_partition(&self.topic.topic, partition);
        if let Err(error) = reader.pause(&list) {
            tracing::debug!(reason = %Failure::of(&error), "partition {partition} goes on");
        }
    }
}

impl Cursor for KafkaCursor {
    async fn next(&mut self) -> Result<Option<Stored>, CatalogError> {
        let heard = Instant::now();
        while self.todo.iter().any(|todo| !todo.done) {
            let Some(reader) = self.reader.clone() else { break };
            match tokio::time::timeout(IDLE, reader.recv()).await {
                Ok(Ok(message)) => {
                    let (partition, offset) = (message.partition(), message.offset());
                    if self.is_wanted(partition, offset) {
                        return Ok(Some(Stored {
                            partition: Partition(partition),
                            offset: Offset(offset),
                            key: message.key().unwrap_or_default().to_vec(),
                            body: message.payload().unwrap_or_default().to_vec(),
                        }));
                    }
                }
                // A leader that was just chosen can tell an end too early: the ends are looked at.
                Ok(Err(KafkaError::PartitionEOF(_))) | Err(_) => {
                    self.topic.check(&self.todo).await?;
                }
                Ok(Err(error)) => {
                    self.topic.judge(self.context.explain(&error), &self.todo).await?;
                }
            }
            if heard.elapsed() > STALL {
                let silence = Failure::new(FailureKind::Unreachable, "no message for 60 s");
                return Err(self.context.add_complaint(silence).into());
            }
        }
        Ok(None)
    }
}

impl Drop for KafkaCursor {
    fn drop(&mut self) {
        if let Some(reader) = self.reader.take() {
            retire(reader);
        }
    }
}
