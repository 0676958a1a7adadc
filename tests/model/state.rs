//! What the model remembers: the brokers, the node, the staging topics, and each run with its
//! journal and its process. Owns the words only; moves are in `moves.rs` and below it. Messages,
//! unloads and offsets are small numbers; one delta, one partition, one stream a table.

use deltakeep::backup::Horizon;

/// A message of an unload: the whole unload is one `Added` and one `Removed`, in any order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Piece {
    /// The only and last chunk of the added rows.
    Added,
    /// The only and last chunk of the removed rows.
    Removed,
    /// A further last chunk without rows, which a stock reader sometimes sends.
    Further,
}

/// What a message of the backup topic was made from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// A changelog.
    Log,
    /// The empty chunk of a table without changes.
    Empty,
    /// A staging message: unload, offset, content.
    Staged(u8, u8, Piece),
}

/// A message of the backup topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Message {
    pub run: u8,
    pub issue: u8,
    /// None for the changelog.
    pub table: Option<u8>,
    pub chunk: u8,
    pub last: bool,
    pub origin: Origin,
    /// Lane and epoch of its producer.
    pub producer: (u8, u8),
}

/// An offset of the backup topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Slot {
    /// In an open transaction.
    Open(Message),
    /// Seen by readers.
    Visible(Message),
    /// Aborted, or the end of a transaction.
    Hidden,
}

/// A producer without a process that the journal listens to: it died, or its answers are lost.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Zombie {
    pub run: u8,
    pub producer: (u8, u8),
    /// What it goes on sending, to the end of its stream.
    pub queue: Vec<Message>,
}

/// Who closed the lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Holder {
    /// A run; all runs have the same code.
    Run(u8),
    /// Somebody without a marker and with another code.
    Foreign,
}

/// An unload: staging topic, external table, connector.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Unload {
    pub run: u8,
    pub table: u8,
    /// The staging topic exists, and holds these.
    pub topic: bool,
    pub messages: Vec<Piece>,
    /// What the connector has still to write; nobody can stop it.
    pub to_come: Vec<Piece>,
    /// The external table exists.
    pub external: bool,
    /// The staging topic was deleted and made anew by the connector.
    pub came_back: bool,
    /// Left behind by name, because it grows.
    pub named: bool,
}

/// A record of the journal, short for the real one (`records.rs`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Rec {
    Started,
    Locked,
    Released,
    /// With the delta, or with nothing to do.
    Planned(bool),
    Begun(u8),
    Opened(u8, u8),
    Sealed(u8, u8),
    Dropped(u8, bool),
    Gone(u8),
    Quarantined(u8),
    EmptyPair(u8, u8),
    TableDone(u8, u8),
    DeltaDone(u8),
    Finished,
    Progress(u8, u8, Counted),
    Horizon(i64),
}

/// Progress of a stream: what was counted, chunk by chunk, and where the last one lies.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Counted {
    /// None is the empty chunk.
    pub pieces: Vec<Option<Piece>>,
    pub last: Option<u8>,
}

/// Where the one road of a pass stands; in order, except for the two ways to the lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Step {
    LookAtMarker,
    Probe,
    Mark,
    DenyFirst,
    RelockAllow,
    RelockDeny,
    NoteLocked,
    FenceToPlan,
    Plan,
    OpenLanes,
    Scan,
    CatchUp,
    Decide,
    Work,
    RequireOurs,
    SendLog,
    CommitLog,
    NoteDelta,
    NoteFinished,
    Sweep,
    RequireOursAtEnd,
    GiveLook,
    GiveAllow,
    GiveUnmark,
    NoteReleased,
    EndJournal,
}

/// What a worker does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Job {
    #[default]
    None,
    /// To unload table, under this name.
    Insert(u8, u8),
    /// To wait for the answer of the unload of table.
    Await(u8, u8),
    /// To drop the external table of the unload of table.
    DropTable(u8, u8),
    /// To write the seal of the unload of table.
    Seal(u8, u8),
    /// To clear a refused unload away and begin another.
    Again(u8, u8),
    /// To deliver the stream: table, unload, end, chunks to adopt with their places.
    Deliver(u8, u8, u8, Vec<(u8, u8)>),
    /// To deliver the empty chunk of a table, or adopt it from this place.
    Empty(u8, Option<u8>),
}

/// A stream in the open transaction.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Touched {
    pub table: u8,
    pub counted: Counted,
    pub finished: bool,
}

/// Where a worker's commit stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Committed {
    /// Nothing is committed that the journal does not know.
    #[default]
    No,
    /// The journal has to learn of it.
    Yes,
}

/// A worker and its lane.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Worker {
    pub epoch: u8,
    pub tables: Vec<u8>,
    pub job: Job,
    pub touched: Vec<Touched>,
    /// Places of what the open transaction holds.
    pub sent: Vec<u8>,
    pub committed: Committed,
    /// Tables whose stream is through and journalled, to be closed.
    pub closing: Vec<u8>,
}

/// A living process.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Process {
    pub resumed: bool,
    pub step: Step,
    /// On the way out after a failure.
    pub failing: bool,
    pub horizon: Horizon,
    /// What the pass has read of the topic: from, to.
    pub scanned: (u8, u8),
    pub issue: u8,
    pub workers: Vec<Worker>,
    /// Delivered unloads that are being cleared away beside the work.
    pub sweeping: Vec<u8>,
}

/// Whether a run runs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Life {
    /// Not begun, or refused without a trace.
    None,
    Alive(Process),
    /// Stopped, to be resumed.
    Dead,
    Done,
}

/// A run: its journal in its state directory, and its process.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Runner {
    pub journal: Vec<Vec<Rec>>,
    pub life: Life,
    /// It was begun once; what is refused then stays away.
    pub started: bool,
}

/// What of the bounds is used up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Spent {
    pub crashes: u8,
    pub rollbacks: u8,
    pub failures: u8,
    pub lost_commits: u8,
    pub lost_answers: u8,
    pub unload_faults: u8,
    pub lost_staging: u8,
    pub foreign: u8,
}

/// All of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct World {
    pub topic: Vec<Slot>,
    /// Epoch of each run's lanes at the coordinator.
    pub epochs: Vec<Vec<u8>>,
    pub zombies: Vec<Zombie>,
    pub marker: Option<u8>,
    pub lock: Option<Holder>,
    pub unloads: Vec<Unload>,
    pub runs: Vec<Runner>,
    pub spent: Spent,
    /// Something happened that must never.
    pub wrong: Option<&'static str>,
}

/// How far the model goes. Everything within is explored.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    pub tables: u8,
    /// The last table has no changes.
    pub last_is_empty: bool,
    pub lanes: u8,
    pub runs: u8,
    /// Producers of processes that are gone go on.
    pub zombies: bool,
    pub most: Spent,
    /// Kill and resume undisturbed from every state, not only from those in which nobody runs.
    pub kill_anywhere: bool,
    /// Taking and giving back the datamart are one move each.
    pub whole_lock: bool,
    /// An unload is one move, from its name to its seal.
    pub whole_unload: bool,
}

/// The rules of the protocol, to be taken away one at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Lanes are opened with the transactional ids of the journal, which fences the ones before.
    pub fence: bool,
    /// Nothing is read beyond the ends that were journalled when the unload answered.
    pub seal: bool,
    /// A chunk in the topic is ours only where its source is the message the plan would send.
    pub source: bool,
    /// DENY and ALLOW happen only while the marker is ours.
    pub marker: bool,
    /// The horizon stays below what was found and is not journalled (ADR 4).
    pub pins: bool,
}

impl Rules {
    pub const ALL: Self = Self { fence: true, seal: true, source: true, marker: true, pins: true };
}

impl World {
    pub fn new(bounds: &Bounds) -> Self {
        let runner = Runner { journal: vec![], life: Life::None, started: false };
        Self {
            topic: vec![],
            epochs: vec![vec![0; bounds.lanes as usize]; bounds.runs as usize],
            zombies: vec![],
            marker: None,
            lock: None,
            unloads: vec![],
            runs: vec![runner; bounds.runs as usize],
            spent: Spent::default(),
            wrong: None,
        }
    }

    pub fn run(&mut self, run: u8) -> &mut Runner {
        &mut self.runs[run as usize]
    }

    /// The process of a run that is alive.
    pub fn process(&mut self, run: u8) -> &mut Process {
        match &mut self.runs[run as usize].life {
            Life::Alive(process) => process,
            other => panic!("run {run} is not alive but {other:?}"),
        }
    }

    pub fn worker(&mut self, run: u8, lane: u8) -> &mut Worker {
        &mut self.process(run).workers[lane as usize]
    }

    pub fn note(&mut self, run: u8, batch: Vec<Rec>) {
        if !batch.is_empty() {
            self.run(run).journal.push(batch);
        }
    }

    /// Messages that readers see.
    pub fn visible(&self) -> impl Iterator<Item = &Message> {
        self.topic.iter().filter_map(|slot| match slot {
            Slot::Visible(message) => Some(message),
            _ => None,
        })
    }

    /// The delta has a complete increment, whosoever.
    pub fn is_archived(&self) -> bool {
        self.visible().any(|message| message.origin == Origin::Log)
    }

    /// Readers wait behind an open transaction.
    pub fn has_open(&self) -> bool {
        self.topic.iter().any(|slot| matches!(slot, Slot::Open(_)))
    }
}
