//! Reading the backup topic to know what is in it: on from where the last run or the last look ended,
//! and from its beginning where that does not hold any more. Never decides what is missing; what a
//! resume must know exactly it does not ask here (D5, ADR 11).

use crate::catalog::index::Catalog;
use crate::catalog::known::Known;
use crate::catalog::{Meter, Seen, TopicReader, TopicState};
use crate::model::{Datamart, Offset};

use super::context::{Context, World};
use super::fault::Fault;
use super::watch::Event;

/// What is known of the topic so far: a second look reads only what came since.
#[derive(Default)]
pub struct Reading {
    known: Option<Known>,
    /// It is what the cache holds.
    stored: bool,
}

impl Reading {
    /// What is known of a datamart in it.
    pub fn catalog(&self, datamart: &Datamart) -> Catalog {
        self.known.as_ref().map(|known| known.catalog(datamart)).unwrap_or_default()
    }

    /// Reads the topic as it stands to its end.
    ///
    /// # Errors
    /// Those of the brokers.
    pub async fn read_on<W: World>(
        &mut self,
        run: &Context<W>,
        state: &TopicState,
    ) -> Result<(), Fault> {
        if self.known.is_none() {
            self.known = run.catalog_cache.load();
            self.stored = self.known.is_some();
        }
        if let Some(mut known) = self.known.take()
            && let Some(from) = known.go_on(state)
        {
            let before = known.ends();
            if read(run, state, &mut known, &from).await? {
                self.stored &= before == known.ends();
                self.keep(run, known);
                return Ok(());
            }
        }
        tracing::info!("topic {} is read from its beginning", run.settings.topic);
        let mut known = Known::nothing(state);
        let from = known.ends();
        // Nothing was known, so nothing can differ.
        let _ = read(run, state, &mut known, &from).await?;
        self.stored = false;
        self.keep(run, known);
        Ok(())
    }

    fn keep<W: World>(&mut self, run: &Context<W>, known: Known) {
        if !self.stored {
            match run.catalog_cache.store(&known) {
                Ok(()) => self.stored = true,
                Err(error) => {
                    let text = format!(
                        "what is known of the topic cannot be kept ({error}); the next run reads \
                         it whole"
                    );
                    run.tell(Event::Warning { text });
                }
            }
        }
        self.known = Some(known);
    }
}

/// Reads from there to the end; false where what was known does not hold.
async fn read<W: World>(
    run: &Context<W>,
    state: &TopicState,
    known: &mut Known,
    from: &[Offset],
) -> Result<bool, Fault> {
    let mut meter = Meter::new(state, from);
    let mut see = |seen: Seen<'_>| {
        if let Some(percent) = meter.pass(&seen) {
            run.tell(Event::TopicRead { percent });
        }
        known.take(seen);
    };
    let ends = run.world.topic().scan(from, &mut see).await?;
    run.tell(Event::TopicRead { percent: 100 });
    Ok(known.read_to(&ends))
}
