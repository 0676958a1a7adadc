//! What a run tells those who watch it: the console, the progress bar, the log. Owns the events;
//! never prints.

use crate::extract::Half;
use crate::journal::Shape;
use crate::model::{ChunkNumber, Delta, DeltaNum, LockCode, RunId, StreamNumber, TableName};

/// Something a run did, in the order of the seed's log lines ("Варианты вывода команды").
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The run begins, or goes on.
    Started {
        /// Which run.
        run: RunId,
        /// It was begun before.
        resumed: bool,
        /// What shapes its content, by the journal.
        shape: Shape,
    },
    /// The backup topic is being read, to know what is in it.
    TopicRead {
        /// How much of what was to be read.
        percent: u8,
    },
    /// By which settings the backup topic forgets its oldest messages; none where it keeps all.
    Retention {
        /// Each as `name=value`.
        finite: Vec<String>,
    },
    /// Changes are denied now.
    Denied {
        /// With this code.
        code: LockCode,
    },
    /// The deltas to export.
    Range {
        /// All of them, in order.
        deltas: Vec<DeltaNum>,
        /// How many of them are complete already.
        done: usize,
    },
    /// The changelog was read.
    Changes {
        /// Records in it.
        records: usize,
    },
    /// The tables were read.
    Tables {
        /// Their names.
        tables: Vec<TableName>,
    },
    /// A delta begins.
    DeltaStarted {
        /// Which.
        delta: Delta,
        /// Tables it has.
        tables: usize,
    },
    /// A table of the delta begins.
    TableStarted {
        /// The delta.
        delta: DeltaNum,
        /// The table.
        table: TableName,
    },
    /// Its staging topic is there.
    TopicCreated {
        /// The topic.
        topic: String,
        /// Its partitions.
        partitions: u32,
    },
    /// Its download external table is there.
    ExternalTableCreated {
        /// The table.
        name: String,
    },
    /// A half was unloaded.
    Unloaded {
        /// The external table.
        name: String,
        /// Which half.
        half: Half,
    },
    /// The external table is gone.
    ExternalTableDropped {
        /// The table.
        name: String,
    },
    /// The unload is sealed.
    Sealed {
        /// The delta.
        delta: DeltaNum,
        /// The table.
        table: TableName,
        /// Messages of all partitions.
        chunks: u64,
    },
    /// Delivery of a stream begins.
    Archiving {
        /// The delta.
        delta: DeltaNum,
        /// The table.
        table: TableName,
    },
    /// A staged message was read.
    Polled {
        /// Its number, from 0 as the seed counts.
        message: u64,
        /// The staging topic.
        topic: String,
    },
    /// A message is handed over; none for a table means the changelog.
    Sending {
        /// The delta.
        delta: DeltaNum,
        /// The table.
        table: Option<TableName>,
        /// The stream.
        stream: StreamNumber,
        /// The chunk.
        chunk: ChunkNumber,
    },
    /// Messages are durable.
    Delivered {
        /// Rows in them.
        rows: u64,
        /// Bytes of their bodies.
        bytes: u64,
    },
    /// All streams of the table are delivered and whole.
    Archived {
        /// The delta.
        delta: DeltaNum,
        /// The table.
        table: TableName,
    },
    /// A staging topic is gone.
    TopicDeleted {
        /// The topic.
        topic: String,
    },
    /// The changelog of a delta begins.
    ChangelogStarted {
        /// The delta.
        delta: DeltaNum,
        /// Its records.
        records: usize,
    },
    /// The increment is complete.
    DeltaArchived {
        /// The delta.
        delta: DeltaNum,
    },
    /// Changes are allowed again.
    Allowed,
    /// Something the operator should know.
    Warning {
        /// The text.
        text: String,
    },
}

/// Takes events. Called from several workers at once; must not block for long.
pub trait Watch: Send + Sync + 'static {
    /// Takes one.
    fn tell(&self, event: Event);
}

impl<W: Watch + ?Sized> Watch for std::sync::Arc<W> {
    fn tell(&self, event: Event) {
        (**self).tell(event);
    }
}

/// Watches nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unwatched;

impl Watch for Unwatched {
    fn tell(&self, _event: Event) {}
}
