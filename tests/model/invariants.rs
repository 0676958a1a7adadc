//! What never happens, and that an undisturbed resume always comes through: the properties that
//! hold in every state. In the words of ARCHITECTURE.md; judged by what a reader of the topic sees,
//! with none of the product's code.

use std::collections::BTreeMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

use stateright::{Model, Property};

use super::moves::{Move, Protocol};
use super::state::{
    Bounds, Holder, Job, Life, Message, Origin, Piece, Rec, Spent, Step, Unload, World,
};
use super::worker::Answer;

pub const TWICE: &str = "no chunk stands twice in one increment";
pub const MIXED: &str = "no two unloads are mixed in one increment";
pub const WHOLE: &str = "a complete increment is whole";
pub const LOST: &str = "a run that is done has delivered its delta, once";
pub const UNCOMMITTED: &str = "the journal counts no chunk before its commit";
pub const LOCK: &str = "nobody opens or closes a lock without the marker, nor another's";
pub const OWNED: &str = "lock and marker are free, or an owner that can be resumed remains";
pub const LEFT: &str = "an ended run leaves nothing but what it names";
pub const RESUMES: &str = "an undisturbed resume comes through and gives the datamart back";

pub fn properties() -> Vec<Property<Protocol>> {
    vec![
        Property::always(TWICE, |_, world| increments(world).values().all(|i| is_once(i))),
        Property::always(MIXED, |_, world| increments(world).values().all(|i| is_of_one(i))),
        Property::always(WHOLE, |model: &Protocol, world| {
            increments(world).values().all(|i| !is_ended(i) || is_whole(i, &model.bounds))
        }),
        Property::always(LOST, |_, world| delivered(world)),
        Property::always(UNCOMMITTED, |_, world| journal_is_behind(world)),
        Property::always(LOCK, |_, world: &World| world.wrong.is_none()),
        Property::always(OWNED, |_, world| is_owned(world)),
        Property::always(LEFT, |_, world| leaves_nothing(world)),
        Property::always(RESUMES, comes_through),
    ]
}

type Increments<'w> = BTreeMap<(u8, u8), Vec<&'w Message>>;

/// What readers see, by run and issue.
fn increments(world: &World) -> Increments<'_> {
    let mut increments = Increments::new();
    for message in world.visible() {
        increments.entry((message.run, message.issue)).or_default().push(message);
    }
    increments
}

fn is_once(increment: &[&Message]) -> bool {
    let mut places: Vec<_> = increment.iter().map(|m| (m.table, m.chunk)).collect();
    places.sort_unstable();
    places.windows(2).all(|two| two[0] != two[1])
}

fn is_of_one(increment: &[&Message]) -> bool {
    let mut of = BTreeMap::new();
    increment.iter().all(|message| match message.origin {
        Origin::Staged(unload, ..) => *of.entry(message.table).or_insert(unload) == unload,
        _ => true,
    })
}

fn is_ended(increment: &[&Message]) -> bool {
    increment.iter().any(|message| message.origin == Origin::Log)
}

/// Every table there: its chunks from 1 without a hole, the last one and no other marked so, and
/// in them each half of the table's changes once.
fn is_whole(increment: &[&Message], bounds: &Bounds) -> bool {
    (0..bounds.tables).all(|table| {
        let mut chunks: Vec<_> = increment.iter().filter(|m| m.table == Some(table)).collect();
        chunks.sort_by_key(|message| message.chunk);
        let count = chunks.len() as u8;
        let numbered = (1..).zip(&chunks).all(|(n, m): (u8, _)| m.chunk == n);
        let ended = chunks.iter().all(|m| m.last == (m.chunk == count));
        let holds = |piece| {
            let of = |m: &&&&Message| matches!(m.origin, Origin::Staged(_, _, p) if p == piece);
            chunks.iter().filter(of).count()
        };
        let empty = bounds.last_is_empty && table + 1 == bounds.tables;
        let content = match empty {
            true => count == 1 && chunks[0].origin == Origin::Empty,
            false => holds(Piece::Added) == 1 && holds(Piece::Removed) == 1,
        };
        count > 0 && numbered && ended && content
    })
}

/// A run that is done has one complete increment, unless the topic had another's before.
fn delivered(world: &World) -> bool {
    let increments = increments(world);
    let ended = |run: Option<u8>| {
        let of = increments.iter().filter(|((r, _), _)| run.is_none_or(|run| run == *r));
        of.filter(|(_, increment)| is_ended(increment)).count()
    };
    (0..).zip(&world.runs).all(|(run, runner)| match runner.life {
        Life::Done => ended(Some(run)) == 1 || ended(Some(run)) == 0 && ended(None) > 0,
        _ => ended(Some(run)) <= 1,
    })
}

/// Every chunk that a journal counts is seen by readers.
fn journal_is_behind(world: &World) -> bool {
    (0..).zip(&world.runs).all(|(run, runner)| {
        let counted = runner.journal.iter().flatten().filter_map(|rec| match rec {
            Rec::Progress(issue, table, counted) => Some((*issue, *table, counted.pieces.len())),
            _ => None,
        });
        counted.into_iter().all(|(issue, table, count)| {
            let seen = |chunk: u8| {
                world
                    .visible()
                    .any(|m| (m.run, m.issue, m.table, m.chunk) == (run, issue, Some(table), chunk))
            };
            (1..=count as u8).all(seen)
        })
    })
}

fn is_owned(world: &World) -> bool {
    let resumable = |run: u8| !world.runs[run as usize].journal.is_empty();
    let lock = match world.lock {
        Some(Holder::Run(run)) => resumable(run),
        _ => true,
    };
    lock && world.marker.is_none_or(resumable)
}

/// What comes back after its deletion is nobody's; the next run of the datamart sees it.
fn leaves_nothing(world: &World) -> bool {
    (0..).zip(&world.runs).filter(|(_, runner)| runner.life == Life::Done).all(|(run, _)| {
        let is_gone = |unload: &Unload| {
            let topic = !unload.topic || unload.came_back || unload.named;
            !unload.external && topic
        };
        world.unloads.iter().filter(|unload| unload.run == run).all(is_gone)
    })
}

fn hash(world: &World) -> u64 {
    let mut hasher = DefaultHasher::new();
    world.hash(&mut hasher);
    hasher.finish()
}

/// Everybody is killed where they are; then one run after the other is resumed and left alone.
fn comes_through(model: &Protocol, world: &World) -> bool {
    let alive = world.runs.iter().any(|runner| matches!(runner.life, Life::Alive(_)));
    if world.wrong.is_some() || alive && !model.bounds.kill_anywhere {
        return true;
    }
    let mut world = World { spent: Spent::default(), ..world.clone() };
    for run in 0..world.runs.len() as u8 {
        if let Life::Alive(_) = world.runs[run as usize].life {
            world.run(run).life = Life::Dead;
            // What its lanes left open is ended by the coordinator, sooner or later.
            for slot in &mut world.topic {
                if let super::state::Slot::Open(m) = *slot
                    && m.run == run
                {
                    *slot = super::state::Slot::Hidden;
                }
            }
        }
    }
    while !world.zombies.is_empty() {
        world.expire(0);
    }
    if world.lock == Some(Holder::Foreign) {
        world.lock = None;
    }
    world.spent.foreign = 1;
    let start = hash(&world);
    if model.known_good.lock().expect("no thread panicked").contains(&start) {
        return true;
    }
    let good = resume_all(model, world);
    if good {
        model.known_good.lock().expect("no thread panicked").insert(start);
    }
    good
}

fn resume_all(model: &Protocol, mut world: World) -> bool {
    let owner_first: Vec<u8> = {
        let all = 0..world.runs.len() as u8;
        let owner = world.marker;
        owner.into_iter().chain(all.filter(|run| Some(*run) != owner)).collect()
    };
    for run in owner_first {
        if world.runs[run as usize].life != Life::Dead {
            continue;
        }
        let Some(begun) = model.next_state(&world, Move::Resume(run, 0)) else { return false };
        world = begun;
        for _ in 0..400 {
            let Life::Alive(_) = world.runs[run as usize].life else { break };
            let Some(next) = undisturbed(model, &world, run) else { return false };
            world = next;
        }
        if world.runs[run as usize].life != Life::Done || world.wrong.is_some() {
            return false;
        }
    }
    let whole = increments(&world).values().all(|i| !is_ended(i) || is_whole(i, &model.bounds));
    world.lock.is_none() && world.marker.is_none() && whole && delivered(&world)
}

/// The one step that a run left alone takes next: connectors write what is asked of them, workers
/// go on one after the other, each commits when it has nothing else to do.
fn undisturbed(model: &Protocol, world: &World, run: u8) -> Option<World> {
    let Life::Alive(process) = &world.runs[run as usize].life else { return None };
    if process.step != Step::Work {
        return model.next_state(world, Move::Road(run));
    }
    for (lane, worker) in (0..).zip(&process.workers) {
        if worker.is_through() {
            continue;
        }
        if let Job::Await(_, unload) = worker.job {
            let writes = model.next_state(world, Move::Connector(unload));
            return writes
                .or_else(|| model.next_state(world, Move::Answer(run, lane, Answer::Whole)));
        }
        let works = model.next_state(world, Move::Work(run, lane));
        return works.or_else(|| model.next_state(world, Move::Commit(run, lane, None)));
    }
    if let Some(unload) = process.sweeping.first() {
        return model.next_state(world, Move::Clear(run, *unload));
    }
    model.next_state(world, Move::Road(run))
}
