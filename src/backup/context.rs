//! What every part of a run needs: the outside worlds, the ledger, the settings, the watchers.
//! Owns no logic.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::watch;

use crate::catalog::{CatalogCache, TopicReader};
use crate::deliver::Sink;
use crate::extract::{Node, Source};
use crate::journal::{Journal, Shape};
use crate::model::{Datamart, DeltaNum, LockCode, Owner, RunId};

use super::fault::Fault;
use super::ledger::Ledger;
use super::watch::{Event, Watch};

/// The outside worlds of a run.
pub trait World: Send + Sync + 'static {
    /// The node of the datamart.
    type Node: Node;
    /// Its unloads.
    type Source: Source;
    /// The backup topic, to write.
    type Sink: Sink;
    /// The backup topic, to read.
    type Topic: TopicReader;
    /// The journal.
    type Journal: Journal;
    /// The node.
    fn node(&self) -> &Self::Node;
    /// The unloads.
    fn source(&self) -> &Self::Source;
    /// The topic to write.
    fn sink(&self) -> &Self::Sink;
    /// The topic to read.
    fn topic(&self) -> &Self::Topic;
}

/// Settings of a run, checked and complete.
#[derive(Clone)]
pub struct Settings {
    /// The datamart.
    pub datamart: Datamart,
    /// The backup topic.
    pub topic: String,
    /// Who a fresh run is; a resume is who its journal says.
    pub owner: Owner,
    /// The code word of a fresh run.
    pub code: LockCode,
    /// What shapes the content of a fresh run.
    pub shape: Shape,
    /// How often the resume path may be entered again without progress (`--kafkaRetries`).
    pub retries: u32,
    /// A finite retention of the topic is accepted in silence.
    pub accept_retention: bool,
    /// Version of this tool, for the manifest.
    pub tool: String,
    /// A transaction is closed after this time.
    pub commit_every: Duration,
    /// A transaction is closed after this many bytes.
    pub commit_bytes: u64,
    /// Waiting time before the resume path is entered again.
    pub pause: Duration,
    /// Numbers that nobody else has.
    pub nonce: Arc<dyn Fn() -> u64 + Send + Sync>,
}

impl Settings {
    /// Unloads of one pair in one execution before it is given up (D4.12).
    pub const UNLOADS: u32 = 5;
    /// Further increments of one delta in one execution before it is given up.
    pub const ISSUES: u32 = 5;
}

/// Totals of this execution.
#[derive(Debug, Default)]
pub struct Totals {
    /// Rows delivered.
    pub rows: AtomicU64,
    /// Bytes of bodies delivered.
    pub bytes: AtomicU64,
    /// Messages delivered.
    pub chunks: AtomicU64,
    /// Staging topics that the journal does not know, left behind because connectors write to
    /// them.
    pub strays: Mutex<BTreeSet<String>>,
    /// Tables that the changelog never created.
    pub older_than_log: Mutex<Vec<String>>,
}

/// A run at work.
pub struct Context<W: World> {
    /// The outside worlds.
    pub world: W,
    /// The journal and what it says.
    pub ledger: Ledger<W::Journal>,
    /// The settings.
    pub settings: Settings,
    /// Who watches.
    pub watch: Arc<dyn Watch>,
    /// Turns true when the run is asked to stop.
    pub stop: watch::Receiver<bool>,
    /// The journal held this run already when it was opened.
    pub resumed: bool,
    /// Issues of the deltas as this execution found them.
    pub issues_before: BTreeMap<DeltaNum, u32>,
    /// What was delivered.
    pub totals: Totals,
    /// What earlier runs knew of the topic.
    pub catalog_cache: Box<dyn CatalogCache>,
}

impl<W: World> Context<W> {
    /// Tells the watchers.
    pub fn tell(&self, event: Event) {
        self.watch.tell(event);
    }

    /// Who this run is: by its journal, else by its settings.
    pub fn owner(&self) -> Owner {
        let journalled = self.ledger.look(|s| s.started.as_ref().map(|s| s.owner.clone()));
        journalled.unwrap_or_else(|| self.settings.owner.clone())
    }

    /// The run.
    pub fn run(&self) -> RunId {
        self.owner().run
    }

    /// The lock's code word: by the journal, whatever the day is now.
    pub fn code(&self) -> LockCode {
        let journalled = self.ledger.look(|s| s.started.as_ref().map(|s| s.code.clone()));
        journalled.unwrap_or_else(|| self.settings.code.clone())
    }

    /// What shapes the content: by the journal, else by the settings.
    pub fn shape(&self) -> Shape {
        let journalled = self.ledger.look(|s| s.started.as_ref().map(|s| s.shape.clone()));
        journalled.unwrap_or_else(|| self.settings.shape.clone())
    }

    /// Stops the caller when the run is asked to stop.
    ///
    /// # Errors
    /// [`Fault::Stopped`].
    pub fn go_on(&self) -> Result<(), Fault> {
        if *self.stop.borrow() { Err(Fault::Stopped) } else { Ok(()) }
    }

    /// Waits until the run is asked to stop; for ever where it never is.
    pub async fn stopped(&self) {
        let mut stop = self.stop.clone();
        if stop.wait_for(|stop| *stop).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Counts what became durable, and tells it.
    pub fn delivered(&self, chunks: u64, rows: u64, bytes: u64) {
        self.totals.chunks.fetch_add(chunks, Ordering::Relaxed);
        self.totals.rows.fetch_add(rows, Ordering::Relaxed);
        self.totals.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.tell(Event::Delivered { rows, bytes });
    }
}
