//! A worker and its lane: unloads, delivers, commits, tells the journal. Stands for
//! `backup/{worker,pair,tally}.rs` and `extract/source.rs`. What is to be done with a table is
//! decided by the real `decide_pair`, completeness by the real `require_whole`.

use deltakeep::backup::{PairDecision, State, decide_pair, require_whole};

use super::records::{self, pair, state};
use super::road::{again, discard, world_scanned};
use super::state::{
    Bounds, Committed, Counted, Job, Message, Origin, Process, Rec, Rules, Touched, Worker, World,
};

impl Process {
    /// All workers are through, and everything delivered is cleared away.
    pub fn is_through(&self) -> bool {
        self.sweeping.is_empty() && self.workers.iter().all(Worker::is_through)
    }
}

/// How an unload answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Answer {
    /// Everything was written before.
    Whole,
    /// 200, although not everything is there.
    Early,
    /// An error, or nothing in the staging topic.
    Refused,
    /// None: the connector hangs, or the answer is lost.
    Silent,
}

impl Worker {
    /// Nothing to do and nothing pending.
    pub fn is_through(&self) -> bool {
        self.tables.is_empty()
            && self.job == Job::None
            && self.touched.is_empty()
            && self.closing.is_empty()
    }

    /// What it would send without asking anybody, were it to go on.
    pub fn rest(&self, world: &World, run: u8, lane: u8) -> Vec<Message> {
        let Some(at) = self.at() else { return vec![] };
        let (job, from) = (&self.job, at.counted.pieces.len() as u8);
        let issue = match &world.runs[run as usize].life {
            super::state::Life::Alive(process) => process.issue,
            _ => 0,
        };
        let message = |chunk, last, origin| {
            let (table, producer) = (Some(at.table), (lane, self.epoch));
            Message { run, issue, table, chunk, last, origin, producer }
        };
        match job {
            Job::Deliver(_, unload, end, adopt) => {
                let staged = &world.unloads[*unload as usize].messages;
                let rest = (from..*end).filter(|n| !adopt.iter().any(|(c, _)| c == &(n + 1)));
                let rest = rest.filter_map(|n| {
                    let origin = Origin::Staged(*unload, n, *staged.get(n as usize)?);
                    Some(message(n + 1, n + 1 == *end, origin))
                });
                rest.collect()
            }
            Job::Empty(_, None) if from == 0 => vec![message(1, true, Origin::Empty)],
            _ => vec![],
        }
    }

    /// The stream it is at.
    fn at(&self) -> Option<&Touched> {
        let table = match self.job {
            Job::Deliver(table, ..) | Job::Empty(table, _) => table,
            _ => return None,
        };
        self.touched.iter().find(|touched| touched.table == table)
    }
}

/// Gives each worker its tables, when the work on the delta begins.
pub fn hand_out(world: &mut World, bounds: &Bounds, run: u8) {
    for table in 0..bounds.tables {
        world.worker(run, table % bounds.lanes).tables.push(table);
    }
}

/// The next step of a worker; false where it waits or has nothing to do but to commit.
pub fn work(world: &mut World, bounds: &Bounds, run: u8, lane: u8, rules: Rules) -> bool {
    let worker = world.worker(run, lane).clone();
    if worker.committed == Committed::Yes {
        checkpoint(world, run, lane, rules);
        return true;
    }
    if !worker.closing.is_empty() {
        close(world, run, lane, rules);
        return true;
    }
    match worker.job {
        Job::None if worker.tables.is_empty() => return false,
        Job::None => open(world, bounds, run, lane, rules),
        Job::Insert(table, unload) => {
            world.insert(unload);
            world.worker(run, lane).job = Job::Await(table, unload);
        }
        Job::Await(..) => return false,
        Job::DropTable(table, unload) => {
            world.unloads[unload as usize].external = false;
            world.worker(run, lane).job = Job::Seal(table, unload);
        }
        Job::Seal(table, unload) => seal(world, run, lane, (table, unload), rules),
        Job::Again(table, unload) => {
            discard(world, run, unload, true);
            name_unload(world, bounds, run, lane, table, rules);
        }
        Job::Deliver(..) | Job::Empty(..) => deliver(world, run, lane, rules),
    }
    true
}

/// A task of `Sweep::delivered`, which no worker waits for.
pub fn clear(world: &mut World, run: u8, unload: u8) {
    world.process(run).sweeping.retain(|swept| *swept != unload);
    discard(world, run, unload, true);
}

/// `pair::open`.
fn open(world: &mut World, bounds: &Bounds, run: u8, lane: u8, rules: Rules) {
    let worker = world.worker(run, lane);
    let table = worker.tables.remove(0);
    let issue = world.process(run).issue;
    let state = state(world, run, rules);
    match decision(world, run, (issue, table), &state, rules) {
        PairDecision::Skip => {}
        PairDecision::Reissue { .. } => reissue(world, run, &state),
        PairDecision::Empty { found } => {
            let found = found.map(|found| found.offset.0 as u8);
            world.worker(run, lane).job = Job::Empty(table, found);
            touch(world, run, lane, table);
        }
        deliver @ PairDecision::Deliver { .. } => begin(world, run, lane, table, deliver, &state),
        PairDecision::Unload { give_up, .. } => {
            let dropped = give_up.iter().map(|name| Rec::Dropped(records::unload(name), false));
            world.note(run, dropped.collect());
            if bounds.last_is_empty && table + 1 == bounds.tables {
                world.note(run, vec![Rec::EmptyPair(issue, table)]);
                world.worker(run, lane).job = Job::Empty(table, None);
                touch(world, run, lane, table);
            } else {
                name_unload(world, bounds, run, lane, table, rules);
            }
        }
    }
}

/// The real decision; without the rule of the source, what lies in the topic passes for ours.
fn decision(world: &World, run: u8, of: (u8, u8), state: &State, rules: Rules) -> PairDecision {
    let key = pair(of.0, of.1);
    let tail = records::tail(world, run, state, world_scanned(world, run), rules);
    if rules.source {
        return decide_pair(&key, state, &tail);
    }
    let mut decision = decide_pair(&key, state, &Default::default());
    if let PairDecision::Deliver { streams, .. } = &mut decision {
        let done = records::counted(world, run, of.0, of.1).pieces.len() as u64;
        for work in streams {
            let found = tail.stream(&records::stream(of.0, of.1)).into_iter().flatten();
            let found = found.filter(|(n, _)| **n > done && **n <= work.end());
            work.adopt = found.map(|(n, found)| (*n, found.clone())).collect();
        }
    }
    decision
}

/// The name of an unload is journalled before anything of it exists.
fn name_unload(world: &mut World, bounds: &Bounds, run: u8, lane: u8, table: u8, rules: Rules) {
    let issue = world.process(run).issue;
    let unload = world.new_unload(run, table);
    world.note(run, vec![Rec::Opened(unload, issue)]);
    world.worker(run, lane).job = Job::Insert(table, unload);
    if bounds.whole_unload {
        world.insert(unload);
        while world.connector_writes(unload) {}
        world.unloads[unload as usize].external = false;
        seal(world, run, lane, (table, unload), rules);
    }
}

/// The node answers the unload of a worker.
pub fn answer(world: &mut World, run: u8, lane: u8, answer: Answer) -> bool {
    let Job::Await(table, unload) = world.worker(run, lane).job else { return false };
    let staged = &world.unloads[unload as usize];
    let whole = staged.to_come.is_empty();
    if whole != (answer == Answer::Whole) && matches!(answer, Answer::Whole | Answer::Early) {
        return false;
    }
    let nothing = staged.messages.is_empty();
    let job = match answer {
        // `nothing_came`: even an unload without rows writes something.
        Answer::Whole | Answer::Early if !nothing => Job::DropTable(table, unload),
        Answer::Silent => {
            world.note(run, vec![Rec::Dropped(unload, false)]);
            let issue = world.process(run).issue;
            let next = world.new_unload(run, table);
            world.note(run, vec![Rec::Opened(next, issue)]);
            Job::Insert(table, next)
        }
        _ => {
            world.note(run, vec![Rec::Dropped(unload, true)]);
            Job::Again(table, unload)
        }
    };
    world.worker(run, lane).job = job;
    true
}

/// `pair::seal_it`, and the decision after it.
fn seal(world: &mut World, run: u8, lane: u8, of: (u8, u8), rules: Rules) {
    let (table, unload) = of;
    let end = world.unloads[unload as usize].messages.len() as u8;
    if end == 0 {
        // Its topic was lost before its ends were read.
        world.note(run, vec![Rec::Dropped(unload, true)]);
        world.worker(run, lane).job = Job::Again(table, unload);
        return;
    }
    world.note(run, vec![Rec::Sealed(unload, end)]);
    let state = state(world, run, rules);
    let issue = world.process(run).issue;
    let decision = decision(world, run, (issue, table), &state, rules);
    match decision {
        PairDecision::Deliver { .. } => begin(world, run, lane, table, decision, &state),
        _ => world.wrong = Some("a sealed unload is not delivered (exit 1)"),
    }
}

fn begin(world: &mut World, run: u8, lane: u8, table: u8, decision: PairDecision, state: &State) {
    let PairDecision::Deliver { streams, .. } = decision else { return };
    let issue = world.process(run).issue;
    let serving = state.attempt_of(&pair(issue, table)).expect("a sealed unload serves the pair");
    let unload = records::unload(&serving.attempt.name);
    let work = &streams[0];
    let adopt = work.adopt.iter().map(|(n, found)| (*n as u8, found.offset.0 as u8)).collect();
    world.worker(run, lane).job = Job::Deliver(table, unload, work.end() as u8, adopt);
    touch(world, run, lane, table);
}

/// `Worker::touch`: the slot of a stream in the open transaction, made from the journal.
fn touch(world: &mut World, run: u8, lane: u8, table: u8) {
    let issue = world.process(run).issue;
    let counted = records::counted(world, run, issue, table);
    let touched = &mut world.worker(run, lane).touched;
    if !touched.iter().any(|touched| touched.table == table) {
        touched.push(Touched { table, counted, finished: false });
    }
}

/// `Worker::deliver`, one chunk at a time; after the last one the stream is through.
fn deliver(world: &mut World, run: u8, lane: u8, rules: Rules) {
    let worker = world.worker(run, lane).clone();
    let (table, end, found) = match &worker.job {
        Job::Deliver(table, _, end, adopt) => (*table, *end, adopt.clone()),
        Job::Empty(table, found) => (*table, 1, found.iter().map(|at| (1, *at)).collect()),
        _ => return,
    };
    // A commit between two chunks took the slot with it.
    touch(world, run, lane, table);
    let done = world.worker(run, lane).at().map_or(0, |at| at.counted.pieces.len()) as u8;
    if done >= end {
        return finish(world, run, lane, table);
    }
    let (origin, piece) = match worker.job {
        Job::Deliver(_, unload, end, _) => {
            let staged = &world.unloads[unload as usize];
            if !staged.topic || staged.messages.len() < end as usize {
                return reissue(world, run, &state(world, run, rules));
            }
            let piece = staged.messages[done as usize];
            (Origin::Staged(unload, done, piece), Some(piece))
        }
        _ => (Origin::Empty, None),
    };
    let adopted = found.iter().find(|(chunk, _)| *chunk == done + 1).map(|(_, at)| *at);
    let at = match adopted {
        Some(at) => at,
        None => send(world, run, lane, (table, done + 1, done + 1 == end, origin)),
    };
    let touched = &mut world.worker(run, lane).touched;
    let slot = touched.iter_mut().find(|touched| touched.table == table).expect("just touched");
    slot.counted.pieces.push(piece);
    slot.counted.last = Some(at);
    // What ends with a chunk needs no further step to know it.
    if done + 1 == end {
        finish(world, run, lane, table);
    }
}

fn send(world: &mut World, run: u8, lane: u8, of: (u8, u8, bool, Origin)) -> u8 {
    let (table, chunk, last, origin) = of;
    let process = world.process(run);
    let issue = process.issue;
    if process.workers[lane as usize].sent.is_empty() {
        process.horizon.begin(u32::from(lane));
    }
    let producer = (lane, process.workers[lane as usize].epoch);
    let message = Message { run, issue, table: Some(table), chunk, last, origin, producer };
    let at = world.send(message);
    world.worker(run, lane).sent.push(at);
    at
}

fn finish(world: &mut World, run: u8, lane: u8, table: u8) {
    let worker = world.worker(run, lane);
    worker.job = Job::None;
    worker.touched.iter_mut().filter(|t| t.table == table).for_each(|t| t.finished = true);
}

/// `Lane::commit`. Its answer may be lost, and the transaction closed or not.
pub fn commit(world: &mut World, run: u8, lane: u8, lost: Option<bool>) -> bool {
    let worker = world.worker(run, lane);
    let nothing = worker.touched.is_empty() || worker.sent.is_empty() && worker.job != Job::None;
    let idle = nothing || worker.committed == Committed::Yes;
    if idle || !matches!(worker.job, Job::None | Job::Deliver(..) | Job::Empty(..)) {
        return false;
    }
    let producer = (lane, worker.epoch);
    worker.committed = Committed::Yes;
    match lost {
        None => world.end_transaction(run, producer, true),
        Some(done) => {
            if done {
                world.end_transaction(run, producer, true);
            }
            again(world, run);
        }
    }
    true
}

/// `Ledger::checkpoint`: progress of the streams and the horizon, in one batch.
fn checkpoint(world: &mut World, run: u8, lane: u8, rules: Rules) {
    use deltakeep::model::{Offset, Partition};
    let state = state(world, run, rules);
    let process = world.process(run);
    let issue = process.issue;
    let worker = &mut process.workers[lane as usize];
    let touched = std::mem::take(&mut worker.touched);
    let sent = std::mem::take(&mut worker.sent);
    worker.committed = Committed::No;
    worker.closing = touched.iter().filter(|t| t.finished).map(|t| t.table).collect();
    let written: Vec<_> = sent.iter().map(|at| (Partition(0), Offset(i64::from(*at)))).collect();
    let keys: Vec<_> = touched
        .iter()
        .map(|t| (records::stream(issue, t.table), t.counted.pieces.len() as u64))
        .collect();
    let streams = keys.iter().map(|(key, chunks)| (key, *chunks));
    process.horizon.committed(u32::from(lane), streams, &written);
    let lowest = process.horizon.lowest(&state)[0].0;
    let mut batch: Vec<Rec> =
        touched.into_iter().map(|t| Rec::Progress(issue, t.table, t.counted)).collect();
    batch.push(Rec::Horizon(lowest));
    world.note(run, batch);
}

/// `pair::stream_done`.
fn close(world: &mut World, run: u8, lane: u8, rules: Rules) {
    let table = world.worker(run, lane).closing.remove(0);
    let issue = world.process(run).issue;
    let state = state(world, run, rules);
    let serving = state.attempt_of(&pair(issue, table));
    let counted: Counted = records::counted(world, run, issue, table);
    if serving.is_some() && require_whole(&records::tallies(&counted)).is_err() {
        return reissue(world, run, &state);
    }
    let delivered = serving.map(|attempt| records::unload(&attempt.attempt.name));
    world.note(run, vec![Rec::TableDone(issue, table)]);
    world.process(run).sweeping.extend(delivered);
}

/// `pair::reissue`: the delta is written again under a new increment.
fn reissue(world: &mut World, run: u8, state: &State) {
    let issue = world.process(run).issue;
    let left = state.leftovers().into_iter();
    let dropped = left.map(|(name, answered)| Rec::Dropped(records::unload(&name), answered));
    let batch = dropped.chain([Rec::Begun(issue + 1)]).collect();
    world.note(run, batch);
    again(world, run);
}
