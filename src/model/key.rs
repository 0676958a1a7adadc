//! What a message key says (seed, "Формат ключа сообщения"). Its bytes live in `format::key`.

use super::{ChunkNumber, Datamart, DeltaDate, DeltaNum, IncrementId, StreamNumber, TableName};

/// What a message carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum MessageType {
    /// 0: rows of a logical table.
    Data,
    /// 1: records of the changelog.
    Changelog,
}

/// The key of a backup message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageKey {
    /// The increment this message belongs to.
    pub increment: IncrementId,
    /// The datamart it was taken from.
    pub datamart: Datamart,
    /// Delta number.
    pub delta: DeltaNum,
    /// When the delta was closed.
    pub date: DeltaDate,
    /// The table; none in messages of the changelog, and only there.
    pub table: Option<TableName>,
    /// Number of the stream, from 1.
    pub stream: StreamNumber,
    /// How many streams this (delta, table) has.
    pub stream_total: u32,
    /// Number of the message in its stream, from 1.
    pub chunk: ChunkNumber,
    /// True on the last message of the stream.
    pub is_last: bool,
}

impl MessageKey {
    /// Rows or changelog: the seed's `messageType` follows from the table.
    pub fn message_type(&self) -> MessageType {
        match self.table {
            Some(_) => MessageType::Data,
            None => MessageType::Changelog,
        }
    }
}
