//! Backups that die: once so many chunks are journalled, or with the first chunk they hand over.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use deltakeep::backup::{Backup, Event, Settings, Watch};
use deltakeep::journal::sled_store::SledJournal;
use tokio::sync::{Notify, watch};

use crate::cluster::Cluster;
use crate::data::Filled;
use crate::engine::{RealDelivery, settings};

/// A backup of `filled`, its topic and its journal's folder.
pub struct Killed<'a> {
    pub cluster: &'a Cluster,
    pub filled: &'a Filled,
    pub topic: &'a str,
    pub path: &'a Path,
}

impl Killed<'_> {
    fn open(&self, settings: Settings, counter: Arc<Counter>) -> Backup<RealDelivery<SledJournal>> {
        let (_never, stop) = watch::channel(false);
        let world = RealDelivery::new(self.cluster, self.filled, self.topic);
        let journal = SledJournal::open(self.path).expect("a journal");
        Backup::open(world, journal, settings, counter, stop).expect("the journal opens")
    }

    /// Backs up until so many chunks of one row are journalled, and not many more.
    pub async fn die_after(&self, chunks: u64) {
        let counter = Arc::new(Counter::default());
        let settings = settings(self.topic, 1);
        let commit_bytes = settings.commit_bytes.min(chunks * 1000);
        let backup = self.open(Settings { commit_bytes, ..settings }, counter.clone());
        tokio::select! {
            ended = backup.execute() => panic!("it came to its end: {ended:?}"),
            () = counter.reached(chunks) => {}
        }
        drop(backup);
        rest().await;
    }

    /// Resumes until the first chunk is handed over; the time from the journal's opening.
    pub async fn first_chunk(&self) -> Duration {
        let counter = Arc::new(Counter::default());
        let began = Instant::now();
        let backup = self.open(settings(self.topic, 1), counter.clone());
        tokio::select! {
            ended = backup.execute() => panic!("it came to its end: {ended:?}"),
            () = counter.sent.notified() => {}
        }
        let spent = began.elapsed();
        drop(backup);
        rest().await;
        spent
    }
}

/// Workers that were cut off let go of the journal a moment later.
async fn rest() {
    tokio::time::sleep(Duration::from_millis(500)).await;
}

/// Tells of the first chunk handed over, and of how many are journalled.
#[derive(Default)]
struct Counter {
    sent: Notify,
    delivered: Notify,
    rows: AtomicU64,
}

impl Counter {
    async fn reached(&self, chunks: u64) {
        while self.rows.load(Ordering::Acquire) < chunks {
            self.delivered.notified().await;
        }
    }
}

impl Watch for Counter {
    fn tell(&self, event: Event) {
        match event {
            Event::Sending { .. } => self.sent.notify_one(),
            Event::Delivered { rows, .. } => {
                self.rows.fetch_add(rows, Ordering::AcqRel);
                self.delivered.notify_one();
            }
            Event::Warning { text } => println!("warning: {text}"),
            _ => {}
        }
    }
}
