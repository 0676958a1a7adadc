//! The records of the journal: facts, which are kept, and progress, which is overwritten.
//! Their bytes on disk are the envelope's business. Never changes a released meaning in place:
//! a new meaning is a new variant at the end, and a higher format number.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::drill_record::DrillFact;
use super::restore_record::RestoreFact;
use crate::model::{
    Attempt, AttemptName, Datasource, Delta, DeltaNum, KeyCounts, LockCode, Offset, Owner, Part,
    Partition, StreamNumber, Table, TableName,
};

/// One thing to be written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Record {
    /// Appended.
    Fact(Fact),
    /// Overwrites what was known of this stream.
    Progress(StreamKey, Progress),
    /// Overwrites the horizon: by partition of the backup topic, the first offset at which
    /// something of this run can lie that no other record tells of.
    Horizon(Vec<Offset>),
}

/// Names a stream of a table in a delta. A reissue starts a new one by its issue number.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct StreamKey {
    /// The delta.
    pub delta: DeltaNum,
    /// How often the delta was begun again (D4.11).
    pub issue: u32,
    /// The table; none for the changelog.
    pub table: Option<TableName>,
    /// Its stream.
    pub stream: StreamNumber,
}

/// What was counted of one connector stream, to know at the end whether it came whole (D4.8).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// How many streams the connector said there are.
    pub total: u32,
    /// Chunks that were not last ones.
    pub chunks: u64,
    /// Sum of their hashed numbers, wrapping: tells 1..k from any other set of k numbers.
    pub hash: u64,
    /// Last chunks: number and rows. A connector may send further ones of zero rows.
    pub lasts: Vec<(u32, u64)>,
}

/// How far a stream is delivered. Only what the backup topic is known to hold counts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Chunks delivered: 1 to this number.
    pub chunks: u64,
    /// Where the last of them lies.
    pub last: Option<(Partition, Offset)>,
    /// Bytes of their bodies.
    pub bytes: u64,
    /// Rows with `sys_op` 0.
    pub added: u64,
    /// Rows with `sys_op` 1.
    pub removed: u64,
    /// By half (0 added, 1 removed) and connector stream: what was seen of it.
    pub tallies: BTreeMap<(u8, u32), Tally>,
}

/// Settings that shape what is written; a resume takes them from here (D7).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    /// The datasource asked for.
    pub datasource: Option<String>,
    /// Tables outside that datasource come from the one that the node chooses.
    pub datasource_fallback: bool,
    /// Rows per message.
    pub chunk_size: u32,
    /// Unloads and deliveries at once; also the number of lanes and of staging partitions.
    pub threads: u32,
    /// Partitions asked for, should the run create the topic.
    pub partitions: u32,
    /// Whether sums are asked of the node.
    pub checksums: bool,
    /// First and number of further deltas asked for, if any were.
    pub asked: Option<(DeltaNum, u64)>,
    /// Missing and incomplete deltas below the newest complete one are exported too. The bytes of
    /// [`Fact::Started`] are released, so it stands in a record of its own:
    /// [`Fact::GapsAsked`].
    #[serde(skip)]
    pub fill_gaps: bool,
}

/// A transition of the run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fact {
    /// The run exists. First record of every journal.
    Started {
        /// Who it is; its run id is the increments' id.
        owner: Owner,
        /// The datamart.
        datamart: String,
        /// The backup topic.
        topic: String,
        /// The lock's code word, for all resumes, whatever the day.
        code: LockCode,
        /// What shapes the content.
        shape: Shape,
    },
    /// DENY_CHANGES is ours.
    Locked,
    /// The lock and the marker are given back; a resume takes them anew.
    Released,
    /// The tables as they stood under the lock: one record each.
    TablePlanned(Table),
    /// A delta to be exported: one record each, in order.
    DeltaPlanned(Delta),
    /// The plan is whole: the deltas and tables above it are all.
    Planned {
        /// How many changelog records there were.
        changes: u64,
        /// Their hash.
        hash: [u8; 32],
        /// The datamart's newest closed delta.
        newest: DeltaNum,
        /// The node's version.
        node: String,
        /// Partitions of the backup topic, which now exists.
        partitions: u32,
    },
    /// A delta is worked on; issue 0 is its first increment.
    DeltaBegun {
        /// The delta.
        delta: DeltaNum,
        /// Its issue.
        issue: u32,
    },
    /// An attempt's names may exist from here on.
    AttemptOpened {
        /// The attempt.
        attempt: Attempt,
        /// The issue it serves.
        issue: u32,
    },
    /// The attempt's unload answered; these are its ends.
    Sealed {
        /// The attempt.
        name: AttemptName,
        /// By partition: number of messages.
        ends: Vec<u64>,
    },
    /// Nothing of the attempt will be used (again). It may still exist until discarded.
    AttemptDropped {
        /// The attempt.
        name: AttemptName,
        /// Whether its unload had answered.
        answered: bool,
    },
    /// The attempt's topic and table are gone.
    AttemptGone {
        /// The attempt.
        name: AttemptName,
    },
    /// The attempt's topic still grows and is left behind by name.
    AttemptQuarantined {
        /// The attempt.
        name: AttemptName,
    },
    /// A (delta, table) without changes: one empty chunk, no unload (D4.5).
    EmptyPair {
        /// The delta.
        delta: DeltaNum,
        /// The issue.
        issue: u32,
        /// The table.
        table: TableName,
    },
    /// All streams of a (delta, table) are delivered and whole.
    TableDone {
        /// The delta.
        delta: DeltaNum,
        /// The issue.
        issue: u32,
        /// The table.
        table: TableName,
        /// The sums the node gave: CHECK_SUM, CHECK_SUM_SNAPSHOT.
        sums: (Option<String>, Option<String>),
    },
    /// The changelog stream is delivered: the increment is complete.
    DeltaDone {
        /// The delta.
        delta: DeltaNum,
        /// The issue that completed it.
        issue: u32,
    },
    /// Every delta of the plan is done; leftovers and lock come next.
    Finished,
    /// Messages of a delta did not fit: its further unloads are asked for fewer rows each.
    ChunksShrunk {
        /// The delta.
        delta: DeltaNum,
        /// Rows per message from here on.
        rows: u32,
    },
    /// The run was started with `--fillGaps`; written together with [`Fact::Started`].
    GapsAsked,
    /// A transition of a restore: the store is of that kind then.
    Restore(RestoreFact),
    /// The primary key of a table planned above; tables without this record have an unknown one.
    KeyPlanned {
        /// The table.
        table: TableName,
        /// Columns of its key, in order.
        columns: Vec<String>,
    },
    /// The keys of a (delta, table) of several write operations were counted (D4.13). Its unloads
    /// follow from this.
    KeysCounted {
        /// The delta.
        delta: DeltaNum,
        /// The issue.
        issue: u32,
        /// The table.
        table: TableName,
        /// Where they were counted, and where every unload of the pair is made.
        datasource: Option<Datasource>,
        /// What was counted; none where the node refused to.
        counts: Option<KeyCounts>,
    },
    /// As `AttemptOpened`, of one part of a pair with repeated keys.
    PartOpened {
        /// The attempt.
        attempt: Attempt,
        /// The issue it serves.
        issue: u32,
        /// The part.
        part: Part,
    },
    /// As `Sealed`, of a part, which was read once and came whole.
    PartSealed {
        /// The attempt.
        name: AttemptName,
        /// By partition: number of messages.
        ends: Vec<u64>,
        /// Rows in them.
        rows: u64,
    },
    /// A pair with repeated keys cannot be unloaded in parts: it is, in two halves.
    PartsRefused {
        /// The delta.
        delta: DeltaNum,
        /// The issue.
        issue: u32,
        /// The table.
        table: TableName,
    },
    /// A transition of a drill: the store is of that kind then, and holds its restore's, too.
    Drill(DrillFact),
    /// A view that the log does not create, of the plan that [`Fact::Planned`] ends.
    ViewPlanned {
        /// Its name.
        view: String,
    },
}

/// What a journal holds of the run that is not ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Saved {
    /// Facts, oldest first.
    pub facts: Vec<Fact>,
    /// Latest progress by stream.
    pub progress: BTreeMap<StreamKey, Progress>,
    /// Latest horizon; empty where none was written.
    pub horizon: Vec<Offset>,
}

impl Saved {
    /// Takes a record in, as reading the store does.
    pub fn apply(&mut self, record: Record) {
        match record {
            Record::Fact(fact) => self.facts.push(fact),
            Record::Progress(key, progress) => {
                self.progress.insert(key, progress);
            }
            Record::Horizon(horizon) => self.horizon = horizon,
        }
    }
}
