//! Clearing away what attempts left behind, beside the work: whether a topic is quiet takes seconds
//! to know (DESIGN D4.12), and nobody waits for it before the end of the run. Owns these tasks.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError};

use tokio::task::JoinSet;

use crate::extract::{Discard, Source};
use crate::journal::Fact;
use crate::model::AttemptName;

use super::context::{Context, World};
use super::fault::Fault;
use super::state::{Fate, State};
use super::watch::Event;

/// What is being cleared away. Dropped half way it stops; the journal then still knows the rest.
pub struct Sweep<W: World> {
    run: Arc<Context<W>>,
    tasks: JoinSet<Result<(), Fault>>,
    begun: BTreeSet<AttemptName>,
}

impl<W: World> Sweep<W> {
    /// A sweep that has begun with nothing.
    pub fn new(run: Arc<Context<W>>) -> Self {
        Self { run, tasks: JoinSet::new(), begun: BTreeSet::new() }
    }

    /// Begins with the attempts that were given up, those begun with before left out.
    pub fn begin(&mut self) {
        let dropped: Vec<(AttemptName, bool)> = self.run.ledger.look(|state| {
            let dropped = state.attempts.values().filter_map(|a| match a.fate {
                Fate::Dropped { answered } => Some((a.attempt.name.clone(), answered)),
                _ => None,
            });
            dropped.collect()
        });
        for (name, answered) in dropped {
            if self.begun.insert(name.clone()) {
                self.spawn(name, answered);
            }
        }
    }

    fn spawn(&mut self, name: AttemptName, answered: bool) {
        let run = self.run.clone();
        self.tasks.spawn(async move { discard(&run, &name, answered).await });
    }

    /// Nothing the run made is left behind: what the journal knows, and what it has forgotten.
    ///
    /// # Errors
    /// Those of the node, the brokers and the journal.
    pub async fn end(mut self) -> Result<(), Fault> {
        // What failed until now is tried again; the journal knows it.
        while self.tasks.join_next().await.is_some() {}
        for (name, answered) in self.run.ledger.look(State::leftovers) {
            self.spawn(name, answered);
        }
        for name in self.run.world.source().leftovers(self.run.run()).await? {
            // One that was gone can come back: a connector that writes on has it created again.
            let known =
                |state: &State| state.attempts.get(&name).is_some_and(|a| a.fate != Fate::Gone);
            if !self.run.ledger.look(known) {
                let run = self.run.clone();
                self.tasks.spawn(async move { discard_stray(&run, &name).await });
            }
        }
        while let Some(done) = self.tasks.join_next().await {
            done.map_err(|_| Fault::Unexpected("a sweep panicked".into()))??;
        }
        Ok(())
    }
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
