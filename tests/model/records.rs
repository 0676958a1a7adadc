//! The model's short records as the real ones, and back: the only way from the model to
//! `deltakeep::backup`, whose pure functions decide here as they do in the product. Owns the names
//! of the one delta, its tables and its unloads; decides nothing.

use deltakeep::backup::{Horizon, State, Tail, TailReader, Tallies, count, source_of};
use deltakeep::extract::{Half, StagedChunk};
use deltakeep::journal::{Fact, Progress, Record, Saved, Shape, StreamKey};
use deltakeep::model::{
    Attempt, AttemptName, ChunkNumber, Datamart, Delta, DeltaDate, DeltaNum, IncrementId, LockCode,
    MessageKey, Offset, Owner, Partition, RunId, StreamNumber, TableName,
};
use uuid::Uuid;

use super::state::{Counted, Message, Origin, Piece, Rec, Rules, Slot, World};

pub const DELTA: DeltaNum = DeltaNum(1);

pub fn run_id(run: u8) -> RunId {
    RunId(Uuid::from_u128(u128::from(run) + 1))
}

pub fn table(table: u8) -> TableName {
    TableName(format!("t{table}"))
}

pub fn name(unload: u8) -> AttemptName {
    AttemptName(format!("a{unload:02}"))
}

/// The unload of a name.
pub fn unload(name: &AttemptName) -> u8 {
    name.0[1..].parse().expect("a name of ours")
}

pub fn pair(issue: u8, of: u8) -> (DeltaNum, u32, TableName) {
    (DELTA, u32::from(issue), table(of))
}

pub fn stream(issue: u8, of: u8) -> StreamKey {
    let stream = StreamNumber(1);
    StreamKey { delta: DELTA, issue: u32::from(issue), table: Some(table(of)), stream }
}

fn delta() -> Delta {
    Delta { num: DELTA, date: DeltaDate(1), cn_from: 0, cn_to: 0 }
}

fn staged(piece: Piece) -> StagedChunk {
    let (half, chunk) = match piece {
        Piece::Added => (Half::Added, 1),
        Piece::Removed => (Half::Removed, 1),
        Piece::Further => (Half::Removed, 2),
    };
    StagedChunk { offset: 0, half, stream: 0, stream_total: 1, chunk, is_last: true, body: vec![] }
}

/// What the real counting makes of the pieces.
pub fn tallies(counted: &Counted) -> Tallies {
    let mut tallies = Tallies::new();
    for piece in counted.pieces.iter().flatten() {
        count(&mut tallies, &staged(*piece), u64::from(*piece != Piece::Further));
    }
    tallies
}

fn started(run: u8) -> Fact {
    let datamart = Datamart::parse("db").expect("a name");
    Fact::Started {
        owner: Owner { run: run_id(run), day: 1, started: "then".into() },
        code: LockCode::new(&datamart, 1),
        datamart: "db".into(),
        topic: "backup".into(),
        shape: Shape {
            datasource: None,
            datasource_fallback: false,
            chunk_size: 1,
            threads: 1,
            partitions: 1,
            checksums: true,
            asked: None,
            fill_gaps: false,
        },
    }
}

fn planned() -> Fact {
    Fact::Planned { changes: 0, hash: [0; 32], newest: DELTA, node: "5.5".into(), partitions: 1 }
}

fn opened(unload: u8, issue: u8, of: u8) -> Fact {
    let attempt = Attempt {
        name: name(unload),
        delta: DELTA,
        table: table(of),
        datasource: None,
        partitions: 1,
        chunk_size: 1,
    };
    Fact::AttemptOpened { attempt, issue: u32::from(issue) }
}

fn fact(rec: &Rec, world: &World, run: u8) -> Fact {
    let delta = DELTA;
    match *rec {
        Rec::Started => started(run),
        Rec::Locked => Fact::Locked,
        Rec::Released => Fact::Released,
        Rec::Planned(_) => planned(),
        Rec::Begun(issue) => Fact::DeltaBegun { delta, issue: u32::from(issue) },
        Rec::Opened(unload, issue) => opened(unload, issue, world.unloads[unload as usize].table),
        Rec::Sealed(unload, end) => Fact::Sealed { name: name(unload), ends: vec![u64::from(end)] },
        Rec::Dropped(unload, answered) => Fact::AttemptDropped { name: name(unload), answered },
        Rec::Gone(unload) => Fact::AttemptGone { name: name(unload) },
        Rec::Quarantined(unload) => Fact::AttemptQuarantined { name: name(unload) },
        Rec::EmptyPair(issue, of) => {
            Fact::EmptyPair { delta, issue: u32::from(issue), table: table(of) }
        }
        Rec::TableDone(issue, of) => {
            let (issue, table) = (u32::from(issue), table(of));
            Fact::TableDone { delta, issue, table, sums: (None, None) }
        }
        Rec::DeltaDone(issue) => Fact::DeltaDone { delta, issue: u32::from(issue) },
        Rec::Finished => Fact::Finished,
        Rec::Progress(..) | Rec::Horizon(_) => unreachable!("not facts"),
    }
}

fn record(rec: &Rec, world: &World, run: u8) -> Record {
    match rec {
        Rec::Progress(issue, of, counted) => {
            let progress = Progress {
                chunks: counted.pieces.len() as u64,
                last: counted.last.map(|at| (Partition(0), Offset(i64::from(at)))),
                tallies: tallies(counted),
                ..Progress::default()
            };
            Record::Progress(stream(*issue, *of), progress)
        }
        Rec::Horizon(at) => Record::Horizon(vec![Offset(*at)]),
        rec => Record::Fact(fact(rec, world, run)),
    }
}

/// The journal of a run as the product would read it.
pub fn state(world: &World, run: u8, rules: Rules) -> State {
    let mut saved = Saved::default();
    for rec in world.runs[run as usize].journal.iter().flatten() {
        if *rec == Rec::Planned(true) {
            saved.apply(Record::Fact(Fact::DeltaPlanned(delta())));
        }
        saved.apply(record(&unsealed(rec, world, rules), world, run));
    }
    State::of(saved)
}

/// Without the rule of the seal an unload ends wherever its topic does just now.
fn unsealed(rec: &Rec, world: &World, rules: Rules) -> Rec {
    match *rec {
        Rec::Sealed(unload, end) if !rules.seal => {
            let now = world.unloads[unload as usize].messages.len() as u8;
            Rec::Sealed(unload, now.max(end))
        }
        _ => rec.clone(),
    }
}

/// A copy of the progress of a stream in the model's words.
pub fn counted(world: &World, run: u8, issue: u8, of: u8) -> Counted {
    let journal = world.runs[run as usize].journal.iter().flatten();
    let mut of_stream = journal.filter_map(|rec| match rec {
        Rec::Progress(i, t, counted) if (*i, *t) == (issue, of) => Some(counted.clone()),
        _ => None,
    });
    of_stream.next_back().unwrap_or_default()
}

fn key(message: &Message) -> MessageKey {
    MessageKey {
        increment: IncrementId::of(run_id(message.run), DELTA, u32::from(message.issue)),
        datamart: Datamart::parse("db").expect("a name"),
        delta: DELTA,
        date: DeltaDate(1),
        table: message.table.map(table),
        stream: StreamNumber(1),
        stream_total: 1,
        chunk: ChunkNumber(u64::from(message.chunk)),
        is_last: message.last,
    }
}

/// `deltakeep.src` of a message.
fn source(message: &Message, rules: Rules) -> Option<String> {
    match message.origin {
        Origin::Log => None,
        Origin::Empty => Some(deltakeep::backup::EMPTY_SOURCE.to_owned()),
        // Without the rule every chunk passes for the one that the plan would send there.
        Origin::Staged(..) if !rules.source => Some("any".to_owned()),
        Origin::Staged(unload, at, _) => {
            Some(source_of(&name(unload), Partition(0), u64::from(at)))
        }
    }
}

/// A checksum of key and body: differs where they do.
fn crc(message: &Message) -> u32 {
    let piece = match message.origin {
        Origin::Staged(unload, at, piece) => {
            u32::from(unload) << 16 | u32::from(at) << 8 | piece as u32
        }
        _ => 0,
    };
    piece << 1 | u32::from(message.last)
}

/// The reader of the real entry, and where it begins.
pub fn reader(run: u8, state: &State) -> (TailReader, u8) {
    let planned = state.planned.as_ref().expect("a plan comes before reading");
    let reader = TailReader::new(run_id(run), planned, state);
    let from = reader.from(&[Offset(0)])[0].0 as u8;
    (reader, from)
}

/// Lets the real entry read a part of the topic.
pub fn read(reader: &mut TailReader, world: &World, part: (u8, u8), rules: Rules) {
    for at in part.0..part.1 {
        if let Slot::Visible(message) = &world.topic[at as usize] {
            let place = (Partition(0), Offset(i64::from(at)));
            reader.take(place, &key(message), || (source(message, rules), Some(crc(message))));
        }
    }
}

/// What the pass of a run found when it read the topic.
pub fn tail(world: &World, run: u8, state: &State, part: (u8, u8), rules: Rules) -> Tail {
    let ours = |slot: &Slot| matches!(slot, Slot::Visible(message) if message.run == run);
    if !world.topic[part.0 as usize..part.1 as usize].iter().any(ours) {
        return Tail::default();
    }
    // What must lie where was checked when it was read.
    let mut state = state.clone();
    state.progress.clear();
    let (mut reader, _) = reader(run, &state);
    read(&mut reader, world, part, rules);
    reader.finish().expect("it was read before")
}

pub fn horizon(at: i64) -> Horizon {
    Horizon::at(vec![Offset(at)])
}
