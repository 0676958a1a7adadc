//! The one road of a run, step by step, from the marker to the end of the journal. Each step is one
//! effect or one batch of the journal, so that a crash fits between any two. Stands for
//! `backup/{run,own,planning,entry,delta,changelog,sweep}.rs`; the workers are in `worker.rs`.

use deltakeep::backup::{DeltaDecision, LockState, decide_delta};
use deltakeep::model::Offset;

use super::records::{self, state};
use super::state::{
    Bounds, Committed, Holder, Life, Message, Origin, Process, Rec, Rules, Step, Worker, World,
    Zombie,
};
use super::worker;

/// What the step of a run leads to besides its effect.
enum Next {
    To(Step),
    /// [`deltakeep::backup::Fault::Held`]: nothing is given back.
    Held,
    /// The process is through.
    Ends(Life),
    /// Not possible now: waits for somebody else.
    Waits,
}

/// A fresh process: `Backup::open`, then `passes` up to its first pass.
pub fn begin(world: &mut World, bounds: &Bounds, run: u8, resumed: bool, rules: Rules) {
    if !resumed {
        world.note(run, vec![Rec::Started]);
    }
    let horizon = state(world, run, rules).horizon.first().map_or(0, |offset| offset.0);
    let runner = world.run(run);
    runner.started = true;
    runner.life = Life::Alive(Process {
        resumed,
        step: Step::LookAtMarker,
        failing: false,
        horizon: records::horizon(horizon),
        scanned: (0, 0),
        issue: 0,
        workers: vec![Worker::default(); bounds.lanes as usize],
        sweeping: vec![],
    });
}

/// One step; false where it has to wait. Steps that the bounds call one move are gone on with.
pub fn step(world: &mut World, bounds: &Bounds, run: u8, rules: Rules) -> bool {
    let mut moved = false;
    loop {
        let Life::Alive(process) = &world.runs[run as usize].life else { return moved };
        let before = process.step;
        if moved && !goes_with_the_one_before(before, bounds) {
            return true;
        }
        match one(world, run, rules) {
            Next::To(step) => {
                world.process(run).step = step;
                if step == Step::Work {
                    worker::hand_out(world, bounds, run);
                }
            }
            Next::Held => held(world, run, rules),
            Next::Ends(life) => world.run(run).life = life,
            Next::Waits => return moved,
        }
        moved = true;
    }
}

/// What was read is gone with the process: a crash after reading is one before it. What the bounds
/// call one move has no crash in it.
fn goes_with_the_one_before(step: Step, bounds: &Bounds) -> bool {
    let whole = (Step::Probe..=Step::NoteLocked).contains(&step)
        || matches!(step, Step::Plan | Step::SendLog | Step::NoteFinished)
        || step > Step::RequireOursAtEnd;
    step == Step::Decide || bounds.whole_lock && whole
}

fn one(world: &mut World, run: u8, rules: Rules) -> Next {
    let at = world.process(run).step;
    match at {
        Step::LookAtMarker
        | Step::Probe
        | Step::Mark
        | Step::DenyFirst
        | Step::RelockAllow
        | Step::RelockDeny => take(world, run, at, rules),
        Step::NoteLocked => {
            let state = state(world, run, rules);
            if state.lock != LockState::Held {
                world.note(run, vec![Rec::Locked]);
            }
            match (state.planned, world.process(run).resumed) {
                (Some(_), _) => Next::To(Step::OpenLanes),
                (None, true) => Next::To(Step::FenceToPlan),
                (None, false) => Next::To(Step::Plan),
            }
        }
        Step::FenceToPlan | Step::OpenLanes => {
            open_lanes(world, run, rules);
            Next::To(if at == Step::OpenLanes { Step::Scan } else { Step::Plan })
        }
        Step::Plan => plan(world, run),
        Step::Scan => scan(world, run, rules),
        Step::CatchUp => catch_up(world, run, rules),
        Step::Decide => decide(world, run, rules),
        // `Sweep::settle` waits for what is being cleared away.
        Step::Work => match world.process(run).is_through() {
            true => Next::To(Step::RequireOurs),
            false => Next::Waits,
        },
        Step::RequireOurs => require_ours(world, run, Step::SendLog, rules),
        Step::SendLog | Step::CommitLog | Step::NoteDelta => changelog(world, run, at),
        Step::NoteFinished => {
            if !state(world, run, rules).finished {
                world.note(run, vec![Rec::Finished]);
            }
            Next::To(Step::Sweep)
        }
        Step::Sweep => sweep(world, run, rules),
        Step::RequireOursAtEnd => require_ours(world, run, Step::GiveLook, rules),
        _ => give_back(world, run, at, rules),
    }
}

/// `own::take`.
fn take(world: &mut World, run: u8, at: Step, rules: Rules) -> Next {
    match at {
        // What ADR 2 refuses: who resumes trusts the code.
        Step::LookAtMarker if !rules.marker => {
            let resumed = world.process(run).resumed;
            Next::To(if resumed { Step::RelockAllow } else { Step::DenyFirst })
        }
        Step::LookAtMarker => match world.marker {
            Some(owner) if owner == run => Next::To(Step::RelockAllow),
            Some(_) => Next::Held,
            None => Next::To(Step::Probe),
        },
        Step::Probe if world.lock.is_some() => Next::Held,
        Step::Probe => Next::To(Step::Mark),
        Step::Mark => {
            let owner = *world.marker.get_or_insert(run);
            if owner == run { Next::To(Step::DenyFirst) } else { Next::Held }
        }
        Step::RelockAllow => match allow(world, run, rules) {
            true => Next::To(Step::RelockDeny),
            false => lost_to_another(world, run),
        },
        _ => {
            require_marker(world, run, rules);
            if world.lock.is_some() {
                return lost_to_another(world, run);
            }
            world.lock = Some(Holder::Run(run));
            Next::To(Step::NoteLocked)
        }
    }
}

fn lost_to_another(world: &mut World, run: u8) -> Next {
    if world.marker == Some(run) {
        world.marker = None;
    }
    Next::Held
}

/// ALLOW_CHANGES with the code that all runs have; false where it is not the lock's.
fn allow(world: &mut World, run: u8, rules: Rules) -> bool {
    require_marker(world, run, rules);
    match world.lock {
        Some(Holder::Foreign) => return false,
        Some(Holder::Run(holder)) if holder != run => {
            world.wrong = Some("a run opened the lock of another");
        }
        _ => {}
    }
    world.lock = None;
    true
}

fn require_marker(world: &mut World, run: u8, rules: Rules) {
    if rules.marker && world.marker != Some(run) {
        world.wrong = Some("DENY or ALLOW without the marker");
    }
}

/// `own::require_ours`.
fn require_ours(world: &World, run: u8, then: Step, rules: Rules) -> Next {
    match !rules.marker || world.marker == Some(run) {
        true => Next::To(then),
        false => Next::Held,
    }
}

/// `Sink::open` for every lane, in `entry::enter` and `entry::fence`.
fn open_lanes(world: &mut World, run: u8, rules: Rules) {
    for lane in 0..world.process(run).workers.len() as u8 {
        let epoch = world.open_lane(run, lane, rules);
        *world.worker(run, lane) = Worker { epoch, ..Worker::default() };
    }
}

/// `planning::draft` and `planning::fix`.
fn plan(world: &mut World, run: u8) -> Next {
    if world.has_open() {
        return Next::Waits;
    }
    let ends = if world.process(run).resumed { 0 } else { world.topic.len() as i64 };
    world.note(run, vec![Rec::Planned(!world.is_archived()), Rec::Horizon(ends)]);
    world.process(run).horizon = records::horizon(ends);
    Next::To(Step::OpenLanes)
}

/// `entry::read_tail`: reads to the end, behind which no transaction is open.
fn scan(world: &mut World, run: u8, rules: Rules) -> Next {
    if world.has_open() {
        return Next::Waits;
    }
    let state = state(world, run, rules);
    let (mut reader, from) = records::reader(run, &state);
    let part = (from, world.topic.len() as u8);
    records::read(&mut reader, world, part, rules);
    match reader.finish() {
        Ok(tail) => {
            let pins = if rules.pins { tail.pins() } else { Default::default() };
            let process = world.process(run);
            process.scanned = part;
            process.horizon.read_to(vec![Offset(i64::from(part.1))], pins);
        }
        Err(_) => world.wrong = Some("the topic contradicts the journal (exit 6)"),
    }
    caught_up(world, run, rules)
}

/// `Sweep::catch_up`: one delivered unload of an earlier pass at a time.
fn catch_up(world: &mut World, run: u8, rules: Rules) -> Next {
    if let Some(name) = state(world, run, rules).delivered().first() {
        discard(world, run, records::unload(name), true);
    }
    caught_up(world, run, rules)
}

fn caught_up(world: &World, run: u8, rules: Rules) -> Next {
    let left = !state(world, run, rules).delivered().is_empty();
    Next::To(if left { Step::CatchUp } else { Step::Decide })
}

/// `delta::export`, decided by the real `decide_delta`.
fn decide(world: &mut World, run: u8, rules: Rules) -> Next {
    let state = state(world, run, rules);
    if state.planned.as_ref().is_none_or(|planned| planned.deltas.is_empty()) {
        return Next::To(Step::NoteFinished);
    }
    let tail = records::tail(world, run, &state, world_scanned(world, run), rules);
    match decide_delta(records::DELTA, &state, &tail) {
        DeltaDecision::Skip => {}
        DeltaDecision::Adopt { issue } => world.note(run, vec![Rec::DeltaDone(issue as u8)]),
        DeltaDecision::Work { issue, begin } => {
            if begin {
                world.note(run, vec![Rec::Begun(issue as u8)]);
            }
            world.process(run).issue = issue as u8;
            return Next::To(Step::Work);
        }
    }
    Next::To(Step::NoteFinished)
}

pub fn world_scanned(world: &World, run: u8) -> (u8, u8) {
    match &world.runs[run as usize].life {
        Life::Alive(process) => process.scanned,
        _ => (0, 0),
    }
}

/// The changelog of an increment.
pub fn log_of(run: u8, issue: u8, producer: (u8, u8)) -> Message {
    Message { run, issue, table: None, chunk: 1, last: true, origin: Origin::Log, producer }
}

/// `changelog::write`, and the record after it.
fn changelog(world: &mut World, run: u8, at: Step) -> Next {
    let process = world.process(run);
    let (issue, producer) = (process.issue, (0, process.workers[0].epoch));
    match at {
        Step::SendLog => {
            world.send(log_of(run, issue, producer));
            Next::To(Step::CommitLog)
        }
        Step::CommitLog => {
            world.end_transaction(run, producer, true);
            Next::To(Step::NoteDelta)
        }
        _ => {
            world.note(run, vec![Rec::DeltaDone(issue)]);
            Next::To(Step::NoteFinished)
        }
    }
}

/// `Sweep::end`: one leftover at a time, of the journal first, then by the run's prefix.
fn sweep(world: &mut World, run: u8, rules: Rules) -> Next {
    let state = state(world, run, rules);
    let known = state.leftovers().into_iter().map(|(name, _)| records::unload(&name));
    let quarantined: Vec<u8> = quarantined(world, run);
    let mut left = known.filter(|unload| !quarantined.contains(unload));
    let stray = |unload: &u8| {
        let there = &world.unloads[*unload as usize];
        there.run == run && (there.topic || there.external) && !quarantined.contains(unload)
    };
    let next = left.next().or_else(|| (0..world.unloads.len() as u8).find(stray));
    match next {
        None => Next::To(Step::RequireOursAtEnd),
        Some(unload) => {
            discard(world, run, unload, answered(&state, unload));
            Next::To(Step::Sweep)
        }
    }
}

fn answered(state: &deltakeep::backup::State, unload: u8) -> bool {
    let leftovers = state.leftovers();
    let of = leftovers.iter().find(|(name, _)| records::unload(name) == unload);
    of.is_some_and(|(_, answered)| *answered)
}

/// Unloads whose topic is left behind by name; a stray's name is told and not journalled.
pub fn quarantined(world: &World, run: u8) -> Vec<u8> {
    let journal = world.runs[run as usize].journal.iter().flatten();
    let left = journal.filter_map(|rec| match rec {
        Rec::Quarantined(unload) => Some(*unload),
        _ => None,
    });
    left.collect()
}

/// `sweep::discard`: the external table first, then the topic unless it is known to grow.
pub fn discard(world: &mut World, run: u8, unload: u8, answered: bool) {
    let of = &mut world.unloads[unload as usize];
    of.external = false;
    if of.topic && !of.to_come.is_empty() && !answered {
        of.named = true;
        world.note(run, vec![Rec::Quarantined(unload)]);
    } else {
        world.delete_staging(unload);
        world.note(run, vec![Rec::Gone(unload)]);
    }
}

/// `own::release`, and what `Backup::end` and `Backup::fail` do after it.
fn give_back(world: &mut World, run: u8, at: Step, rules: Rules) -> Next {
    let failing = world.process(run).failing;
    match at {
        Step::GiveLook if !rules.marker || world.marker == Some(run) => Next::To(Step::GiveAllow),
        Step::GiveLook => Next::To(Step::NoteReleased),
        Step::GiveAllow => {
            allow(world, run, rules);
            Next::To(Step::GiveUnmark)
        }
        Step::GiveUnmark => {
            if world.marker == Some(run) {
                world.marker = None;
            }
            Next::To(Step::NoteReleased)
        }
        Step::NoteReleased => {
            let state = state(world, run, rules);
            if state.lock == LockState::Held {
                world.note(run, vec![Rec::Released]);
            }
            match failing {
                false => Next::To(Step::EndJournal),
                true => Next::Ends(forgotten(world, run, rules)),
            }
        }
        _ => {
            world.run(run).journal.clear();
            Next::Ends(Life::Done)
        }
    }
}

/// A run that was refused under its own lock has delivered nothing and is forgotten.
fn forgotten(world: &mut World, run: u8, rules: Rules) -> Life {
    let planned = state(world, run, rules).planned.is_some();
    if world.process(run).resumed || planned {
        return Life::Dead;
    }
    world.run(run).journal.clear();
    Life::None
}

fn held(world: &mut World, run: u8, rules: Rules) {
    leave_lanes(world, run, false);
    world.run(run).life = forgotten(world, run, rules);
}

/// The pass ends; the next one begins in the same process (`Fault::Again`).
pub fn again(world: &mut World, run: u8) {
    leave_lanes(world, run, false);
    let process = world.process(run);
    process.step = Step::LookAtMarker;
    process.workers = vec![Worker::default(); process.workers.len()];
    process.sweeping.clear();
    process.scanned = (0, 0);
}

/// An orderly stop: `Backup::fail`. The lanes are dropped; a commit may still be on its way.
pub fn fail(world: &mut World, run: u8) {
    leave_lanes(world, run, false);
    let process = world.process(run);
    process.failing = true;
    process.step = Step::GiveLook;
    process.workers = vec![Worker::default(); process.workers.len()];
    process.sweeping.clear();
    process.scanned = (0, 0);
}

/// kill -9: nothing is said to anybody.
pub fn crash(world: &mut World, run: u8) {
    leave_lanes(world, run, true);
    world.run(run).life = Life::Dead;
}

/// The producers of a process that is gone, or that nobody listens to. Those of a process that
/// was killed may go on to the end of the stream or the changelog they were at.
fn leave_lanes(world: &mut World, run: u8, goes_on: bool) {
    let process = world.process(run).clone();
    for (lane, worker) in (0..).zip(&process.workers) {
        let producer = (lane, worker.epoch);
        let queue = match goes_on {
            true if process.step == Step::SendLog && lane == 0 => {
                vec![log_of(run, process.issue, producer)]
            }
            true if worker.committed == Committed::No => worker.rest(world, run, lane),
            _ => vec![],
        };
        if worker.epoch > 0 {
            world.leave(Zombie { run, producer, queue });
        }
    }
}
