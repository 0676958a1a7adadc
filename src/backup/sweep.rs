//! Clearing away what attempts left behind, beside the work: deleting a topic takes as long as a
//! small unload, and whether nobody writes to it any more takes seconds to know (DESIGN D4.12).
//! Owns these tasks. None outlives the pass that began it, so none writes to the journal of a run
//! that has ended.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinError, JoinSet};

use crate::extract::{Discard, Source};
use crate::journal::Fact;
use crate::model::AttemptName;

use super::context::{Context, World};
use super::fault::Fault;
use super::state::{Fate, State};
use super::watch::Event;

/// Delivered attempts cleared away at once. A worker that brings one more waits, so that staging
/// topics do not pile up where brokers are slow to delete them.
const MOST_AT_ONCE: u32 = 16;

/// What is being cleared away. Dropped half way it stops; the journal then still knows the rest.
pub struct Sweep<W: World> {
    run: Arc<Context<W>>,
    tasks: Mutex<Tasks>,
    room: Arc<Semaphore>,
}

#[derive(Default)]
struct Tasks {
    running: JoinSet<(AttemptName, Result<(), Fault>)>,
    /// Not begun with again: those of `running`, and those that failed.
    begun: BTreeSet<AttemptName>,
}

impl<W: World> Sweep<W> {
    /// A sweep that has begun with nothing.
    pub fn new(run: Arc<Context<W>>) -> Self {
        let room = Arc::new(Semaphore::new(MOST_AT_ONCE as usize));
        Self { run, tasks: Mutex::default(), room }
    }

    fn lock(&self) -> MutexGuard<'_, Tasks> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Clears away what an earlier pass delivered. Before the work, so that a pass which cannot do
    /// it makes no further topics: where topics cannot be deleted, few are left behind.
    ///
    /// # Errors
    /// Those of the node, the brokers and the journal; [`Fault::Stopped`].
    pub async fn catch_up(&self) -> Result<(), Fault> {
        for name in self.run.ledger.look(State::delivered) {
            let run = self.run.clone();
            self.spawn(name.clone(), async move { discard(&run, &name, true).await });
        }
        self.all(Err).await
    }

    /// Begins with the attempts that were given up. A failure is not one of the pass: nothing waits
    /// for them before its end.
    pub fn begin(&self) {
        for (name, answered) in self.run.ledger.look(State::given_up) {
            let run = self.run.clone();
            self.spawn(name.clone(), async move {
                if let Err(fault) = discard(&run, &name, answered).await {
                    tracing::warn!(topic = %name, %fault, "not cleared away yet; tried again later");
                }
                Ok(())
            });
        }
    }

    /// Takes attempts over that are delivered and journalled as such; waits only for room.
    ///
    /// # Errors
    /// What clearing an earlier one away failed with. The journal still knows it.
    pub async fn delivered(&self, names: Vec<AttemptName>) -> Result<(), Fault> {
        for name in names {
            let room = self.room.clone().acquire_owned().await;
            let room = room.map_err(|_| Fault::Unexpected("the sweep was closed".into()))?;
            self.reap()?;
            let run = self.run.clone();
            self.spawn(name.clone(), async move { discard_with(&run, &name, room).await });
        }
        Ok(())
    }

    /// Waits until all that was handed over is cleared away, as it is before the changelog of its
    /// delta: the seed's lines say so in this order.
    ///
    /// # Errors
    /// What clearing one of them away failed with; [`Fault::Stopped`].
    pub async fn settle(&self) -> Result<(), Fault> {
        tokio::select! {
            all = self.room.acquire_many(MOST_AT_ONCE) => drop(all),
            () = self.run.stopped() => return Err(Fault::Stopped),
        }
        self.reap()
    }

    fn spawn(
        &self,
        name: AttemptName,
        clearing: impl Future<Output = Result<(), Fault>> + Send + 'static,
    ) {
        let mut tasks = self.lock();
        if tasks.begun.insert(name.clone()) {
            tasks.running.spawn(async move { (name, clearing.await) });
        }
    }

    /// Forgets what is cleared away.
    fn reap(&self) -> Result<(), Fault> {
        let mut tasks = self.lock();
        while let Some(ended) = tasks.running.try_join_next() {
            let (name, cleared) = ended.map_err(panicked)?;
            cleared?;
            tasks.begun.remove(&name);
        }
        Ok(())
    }

    /// Ends the tasks of a pass that failed, and returns when none is left. What they were about
    /// stays in the journal for the next pass.
    pub async fn halt(&self) {
        let mut tasks = std::mem::take(&mut *self.lock());
        tasks.running.shutdown().await;
    }

    /// Nothing the run made is left behind: what the journal knows, and what it has forgotten.
    ///
    /// # Errors
    /// Those of the node, the brokers and the journal; [`Fault::Stopped`].
    pub async fn end(&self) -> Result<(), Fault> {
        // What failed until now is tried again; the journal knows it.
        self.all(|_failed| Ok(())).await?;
        for (name, answered) in self.run.ledger.look(State::leftovers) {
            let run = self.run.clone();
            self.spawn(name.clone(), async move { discard(&run, &name, answered).await });
        }
        for name in self.run.world.source().leftovers(self.run.run()).await? {
            // One that was gone can come back: a connector that writes on has it created again.
            let known =
                |state: &State| state.attempts.get(&name).is_some_and(|a| a.fate != Fate::Gone);
            if !self.run.ledger.look(known) {
                let run = self.run.clone();
                self.spawn(name.clone(), async move { discard_stray(&run, &name).await });
            }
        }
        self.all(Err).await
    }

    /// Waits for all tasks, or ends them where the run is asked to stop.
    async fn all(&self, failed: impl Fn(Fault) -> Result<(), Fault>) -> Result<(), Fault> {
        let mut tasks = std::mem::take(&mut *self.lock());
        loop {
            let ended = tokio::select! {
                ended = tasks.running.join_next() => ended,
                () = self.run.stopped() => {
                    tasks.running.shutdown().await;
                    return Err(Fault::Stopped);
                }
            };
            match ended.transpose().map_err(panicked)? {
                None => return Ok(()),
                Some((_, cleared)) => cleared.or_else(&failed)?,
            }
        }
    }
}

fn panicked(_: JoinError) -> Fault {
    Fault::Unexpected("a sweep panicked".into())
}

async fn discard_with<W: World>(
    run: &Context<W>,
    name: &AttemptName,
    _room: OwnedSemaphorePermit,
) -> Result<(), Fault> {
    discard(run, name, true).await
}

/// Clears an attempt away and remembers what became of it.
///
/// # Errors
/// Those of the node, the brokers and the journal.
pub async fn discard<W: World>(
    run: &Context<W>,
    name: &AttemptName,
    answered: bool,
) -> Result<(), Fault> {
    match run.world.source().discard(name, answered).await? {
        Discard::Gone => {
            run.tell(Event::TopicDeleted { topic: name.0.clone() });
            run.ledger.note([Fact::AttemptGone { name: name.clone() }])?;
        }
        Discard::Quarantined => {
            run.tell(left(name));
            run.ledger.note([Fact::AttemptQuarantined { name: name.clone() }])?;
        }
    }
    Ok(())
}

/// Clears away what the journal does not know.
async fn discard_stray<W: World>(run: &Context<W>, name: &AttemptName) -> Result<(), Fault> {
    if run.world.source().discard(name, false).await? == Discard::Quarantined {
        run.tell(left(name));
        let mut strays = run.totals.strays.lock().unwrap_or_else(PoisonError::into_inner);
        strays.insert(name.0.clone());
    }
    Ok(())
}

fn left(name: &AttemptName) -> Event {
    let text = format!("topic {name} is still written to by a connector; it is left");
    Event::Warning { text }
}
