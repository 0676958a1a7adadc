//! All moves of all parties from a state: the model that the checker explores. Owns which move is
//! within the bounds; what a move does is in `road.rs`, `worker.rs` and `brokers.rs`.

use std::collections::HashSet;
use std::sync::Mutex;

use stateright::{Model, Property};

use super::invariants;
use super::road;
use super::state::{Bounds, Holder, Job, Life, Piece, Process, Rules, Step, World};
use super::worker::{self, Answer, commit, work};

/// One move.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Move {
    /// A run is started.
    Start(u8),
    /// It is resumed, after its journal lost so many of its last batches.
    Resume(u8, u8),
    /// The next step on its road.
    Road(u8),
    /// The same, done, but its answer is lost.
    RoadUnanswered(u8),
    /// A worker's next step: run, lane.
    Work(u8, u8),
    /// A worker's transaction ends; `Some` loses the answer, done or not done.
    Commit(u8, u8, Option<bool>),
    /// A delivered unload is cleared away beside the work: run, unload.
    Clear(u8, u8),
    /// The unload that a worker waits for answers.
    Answer(u8, u8, Answer),
    /// kill -9.
    Crash(u8),
    /// Anything that ends a run in order: an error, a signal.
    Fail(u8),
    /// A zombie hands its next message over.
    ZombieSends(u8),
    /// A zombie's transaction is committed.
    ZombieCommits(u8),
    /// The coordinator gives a zombie's transaction up.
    Expire(u8),
    /// A connector writes its next message.
    Connector(u8),
    /// A connector will write this one more, after its answer or not.
    WritesOn(u8, Piece),
    /// A staging topic is lost.
    LoseStaging(u8),
    /// Somebody without a marker closes the lock with another code, or opens it.
    Foreign,
}

/// The model.
pub struct Protocol {
    pub bounds: Bounds,
    pub rules: Rules,
    /// States from which an undisturbed resume is known to come through.
    pub known_good: Mutex<HashSet<u64>>,
}

impl Protocol {
    pub fn new(bounds: Bounds, rules: Rules) -> Self {
        Self { bounds, rules, known_good: Mutex::default() }
    }

    /// What a move leads to; none where it is not possible.
    pub fn after(&self, world: &World, to: Move) -> Option<World> {
        let mut next = world.clone();
        let (w, bounds, rules) = (&mut next, &self.bounds, self.rules);
        let possible = match to {
            Move::Start(run) => {
                let can = w.runs[run as usize].life == Life::None && !w.is_archived();
                can && {
                    road::begin(w, bounds, run, false, rules);
                    true
                }
            }
            Move::Resume(run, lost) => {
                w.spent.rollbacks += u8::from(lost > 0);
                let journal = &mut w.run(run).journal;
                journal.truncate(journal.len() - lost as usize);
                road::begin(w, bounds, run, true, rules);
                true
            }
            Move::Road(run) => road::step(w, bounds, run, rules),
            Move::RoadUnanswered(run) => {
                w.spent.lost_answers += 1;
                road::step(w, bounds, run, rules) && is_alive(w, run) && lose_answer(w, run)
            }
            Move::Work(run, lane) => work(w, bounds, run, lane, rules),
            Move::Commit(run, lane, lost) => {
                w.spent.lost_commits += u8::from(lost.is_some());
                commit(w, run, lane, lost)
            }
            Move::Clear(run, unload) => {
                worker::clear(w, run, unload);
                true
            }
            Move::Answer(run, lane, answer) => {
                w.spent.unload_faults += u8::from(answer != Answer::Whole);
                worker::answer(w, run, lane, answer)
            }
            Move::Crash(run) => {
                w.spent.crashes += 1;
                road::crash(w, run);
                true
            }
            Move::Fail(run) => {
                w.spent.failures += 1;
                road::fail(w, run);
                true
            }
            Move::ZombieSends(which) => w.zombie_sends(which),
            Move::ZombieCommits(which) => w.zombie_commits(which),
            Move::Expire(which) => {
                w.expire(which);
                true
            }
            Move::Connector(unload) => w.connector_writes(unload),
            Move::WritesOn(unload, piece) => {
                w.spent.unload_faults += 1;
                w.unloads[unload as usize].to_come.push(piece);
                true
            }
            Move::LoseStaging(unload) => {
                w.spent.lost_staging += 1;
                w.delete_staging(unload);
                true
            }
            Move::Foreign => foreign(w),
        };
        possible.then_some(next)
    }

    fn of_process(&self, world: &World, run: u8, process: &Process, moves: &mut Vec<Move>) {
        let (spent, most) = (&world.spent, &self.bounds.most);
        if process.step == Step::Work {
            for lane in 0..self.bounds.lanes {
                self.of_worker(world, run, lane, &process.workers[lane as usize].job, moves);
            }
        }
        moves.extend(process.sweeping.iter().map(|unload| Move::Clear(run, *unload)));
        moves.push(Move::Road(run));
        let asks = matches!(
            process.step,
            Step::Mark
                | Step::DenyFirst
                | Step::RelockAllow
                | Step::RelockDeny
                | Step::GiveAllow
                | Step::GiveUnmark
        );
        if asks && !self.bounds.whole_lock && spent.lost_answers < most.lost_answers {
            moves.push(Move::RoadUnanswered(run));
        }
        if spent.crashes < most.crashes {
            moves.push(Move::Crash(run));
        }
        if spent.failures < most.failures && !process.failing {
            moves.push(Move::Fail(run));
        }
    }

    fn of_worker(&self, world: &World, run: u8, lane: u8, job: &Job, moves: &mut Vec<Move>) {
        let (spent, most) = (&world.spent, &self.bounds.most);
        moves.extend([Move::Work(run, lane), Move::Commit(run, lane, None)]);
        if spent.lost_commits < most.lost_commits {
            moves.extend([true, false].map(|done| Move::Commit(run, lane, Some(done))));
        }
        if let Job::Await(..) = job {
            moves.push(Move::Answer(run, lane, Answer::Whole));
            if spent.unload_faults < most.unload_faults {
                let bad = [Answer::Early, Answer::Refused, Answer::Silent];
                moves.extend(bad.map(|answer| Move::Answer(run, lane, answer)));
            }
        }
    }

    fn of_others(&self, world: &World, moves: &mut Vec<Move>) {
        let (spent, most) = (&world.spent, &self.bounds.most);
        for which in 0..world.zombies.len() as u8 {
            if self.bounds.zombies {
                moves.extend([Move::ZombieSends(which), Move::ZombieCommits(which)]);
            }
            // The fence of the next process would abort it as well; another run's has to wait.
            if self.bounds.runs > 1 || !self.rules.fence {
                moves.push(Move::Expire(which));
            }
        }
        for (at, unload) in (0..).zip(&world.unloads) {
            moves.push(Move::Connector(at));
            let wrote = unload.topic && !unload.came_back && !unload.messages.is_empty();
            if wrote && spent.unload_faults < most.unload_faults {
                let more = [Piece::Further, Piece::Added];
                moves.extend(more.map(|piece| Move::WritesOn(at, piece)));
            }
            if unload.topic && spent.lost_staging < most.lost_staging {
                moves.push(Move::LoseStaging(at));
            }
        }
        if most.foreign > 0 {
            moves.push(Move::Foreign);
        }
    }
}

fn is_alive(world: &World, run: u8) -> bool {
    matches!(world.runs[run as usize].life, Life::Alive(_))
}

/// The node did it and nobody heard: a failure that only a resume cures. On the way out already,
/// the process ends with lock and marker as they are.
fn lose_answer(world: &mut World, run: u8) -> bool {
    match world.process(run).failing {
        true => world.run(run).life = Life::Dead,
        false => road::fail(world, run),
    }
    true
}

fn foreign(world: &mut World) -> bool {
    match world.lock {
        None if world.spent.foreign == 0 => {
            world.spent.foreign = 1;
            world.lock = Some(Holder::Foreign);
            true
        }
        Some(Holder::Foreign) => {
            world.lock = None;
            true
        }
        _ => false,
    }
}

impl Model for Protocol {
    type State = World;
    type Action = Move;

    fn init_states(&self) -> Vec<World> {
        vec![World::new(&self.bounds)]
    }

    fn actions(&self, world: &World, moves: &mut Vec<Move>) {
        if world.wrong.is_some() {
            return;
        }
        for (run, runner) in (0..).zip(&world.runs) {
            match &runner.life {
                Life::None if !runner.started => moves.push(Move::Start(run)),
                Life::None | Life::Done => {}
                Life::Alive(process) => self.of_process(world, run, process, moves),
                Life::Dead => {
                    moves.push(Move::Resume(run, 0));
                    if world.spent.rollbacks < self.bounds.most.rollbacks {
                        let most = runner.journal.len() as u8 - 1;
                        moves.extend((1..=most).map(|lost| Move::Resume(run, lost)));
                    }
                }
            }
        }
        self.of_others(world, moves);
    }

    fn next_state(&self, world: &World, to: Move) -> Option<World> {
        self.after(world, to)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        invariants::properties()
    }
}
