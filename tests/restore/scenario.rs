//! A source, its backup topic, and restores of it. Owns how a restore is built, stopped and gone on
//! with.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use deltakeep::extract::SourceError;
use deltakeep::format::read_label;
use deltakeep::journal::RestoreShape;
use deltakeep::model::{Owner, RunId};
use deltakeep::restore::{
    Dates, Disagreement, Fault, Restore, RunError, Settings, Summary, Unwatched, Wanted, Watch,
};
use deltakeep::testing::{
    Memory, MemoryJournal, MemoryTarget, RestoreWorld, Store, Stored, TargetFaults,
};
use tokio::sync::watch;
use uuid::Uuid;

use super::history;

pub struct Scenario {
    pub memory: Memory,
    pub source: Store,
    pub target: MemoryTarget,
    pub journal: MemoryJournal,
    pub shape: RestoreShape,
    pub wanted: Wanted,
    pub dates: Dates,
    pub skip: BTreeSet<u64>,
    pub seed: u64,
    /// The journal lost its tail once.
    pub cut: bool,
    /// In how many of 100 changed tables keys are written again and again.
    busy: u64,
    starts: u32,
    partitions: u32,
    backups: u128,
}

/// How an execution ended.
#[derive(Debug)]
pub enum Ended {
    Done(Summary),
    Failed(RunError),
    Killed,
}

impl Scenario {
    /// A source with one to seven deltas, backed up by one to three runs.
    pub async fn new(seed: u64) -> Self {
        Self::filled(Self::empty(seed)).await
    }

    /// One in which no delta writes a key twice, as the older tool needs it.
    pub async fn calm(seed: u64) -> Self {
        Self::filled(Self { busy: 0, ..Self::empty(seed) }).await
    }

    async fn filled(mut scenario: Self) -> Self {
        for _ in 0..1 + history::random(&scenario.memory, 3) {
            scenario.grow().await;
        }
        scenario
    }

    /// One with at least three deltas and many messages.
    pub async fn large(from: u64) -> Self {
        for seed in from.. {
            let scenario = Self::new(seed).await;
            let messages = scenario.memory.lock().topic.iter().map(Vec::len).sum::<usize>();
            if scenario.source.deltas.len() > 2 && messages > 40 && messages < 90 {
                return scenario;
            }
        }
        unreachable!()
    }

    /// Nothing closed yet.
    pub fn empty(seed: u64) -> Self {
        let memory = Memory::new(seed);
        let shape = RestoreShape {
            source: "db".into(),
            target: if history::random(&memory, 2) == 0 { "db" } else { "copy" }.into(),
            threads: 1 + history::random(&memory, 3) as u32,
            partitions: 1,
            message_limit: None,
            datasource: None,
            accept_differences: false,
        };
        Self {
            target: MemoryTarget::new(&memory),
            journal: MemoryJournal::new(&memory),
            partitions: 1 + history::random(&memory, 3) as u32,
            source: Store::created(),
            wanted: Wanted::default(),
            dates: Dates::Keep,
            skip: BTreeSet::new(),
            cut: false,
            busy: 25,
            starts: 0,
            backups: 0,
            memory,
            shape,
            seed,
        }
    }

    /// A few more deltas, and a backup of them.
    pub async fn grow(&mut self) {
        for _ in 0..1 + history::random(&self.memory, 3) {
            history::change(&mut self.source, &self.memory);
            history::delta(&mut self.source, &self.memory, self.busy);
        }
        history::change(&mut self.source, &self.memory);
        self.back_up().await;
    }

    /// Two more deltas, closed within the same second, at dates that 5.5 does not take.
    pub async fn grow_within_a_second(&mut self) {
        for micros in [250_000, 900_000] {
            history::change(&mut self.source, &self.memory);
            history::delta(&mut self.source, &self.memory, self.busy);
            let last = self.source.deltas.len() - 1;
            let second = 1_700_000_000_000_000 + (last as i64 / 2) * 2_000_000;
            self.source.deltas[last].date.0 = second + micros;
        }
        self.back_up().await;
    }

    pub async fn back_up(&mut self) {
        self.backups += 1;
        let number = u128::from(self.seed) << 64 | self.backups;
        history::back_up(&self.source, &self.memory, number, self.partitions).await;
    }

    /// Backs up deltas that the topic has already.
    pub async fn back_up_again(&mut self, first: u64, further: u64) {
        self.backups += 1;
        let number = u128::from(self.seed) << 64 | self.backups;
        let asked = Some((deltakeep::model::DeltaNum(first), further));
        history::back_up_some(&self.source, &self.memory, number, self.partitions, asked).await;
    }

    /// Messages in the topic that are of a part.
    pub fn in_parts(&self) -> usize {
        let inner = self.memory.lock();
        let bodies = inner.topic.iter().flatten().filter_map(|stored| match stored {
            Stored::Visible(message) => Some(&message.body),
            _ => None,
        });
        bodies.filter(|body| read_label(body).is_ok_and(|label| label.part.is_some())).count()
    }

    pub fn random(&self, below: u64) -> u64 {
        history::random(&self.memory, below)
    }

    fn settings(&mut self) -> Settings {
        self.starts += 1;
        let number = u128::from(self.seed) << 32 | u128::from(self.starts);
        let memory = self.memory.clone();
        Settings {
            topic: "backup".into(),
            owner: Owner { run: RunId(Uuid::from_u128(number)), day: 1, started: "now".into() },
            shape: self.shape.clone(),
            wanted: self.wanted.clone(),
            dates: self.dates,
            skip: self.skip.clone(),
            retries: 3,
            pause: Duration::from_millis(1),
            patience: Duration::from_secs(60),
            keep_marker: false,
            nonce: Arc::new(move || memory.lock().random()),
        }
    }

    pub fn restore(&mut self) -> Restore<RestoreWorld> {
        self.restore_watched(Arc::new(Unwatched))
    }

    pub fn restore_watched(&mut self, watch: Arc<dyn Watch>) -> Restore<RestoreWorld> {
        let (_never, stop) = watch::channel(false);
        let world = RestoreWorld { memory: self.memory.clone(), target: self.target.clone() };
        let settings = self.settings();
        Restore::open(world, self.journal.clone(), settings, watch, stop).unwrap()
    }

    /// One execution, killed at the fuse's step.
    pub async fn execute(&mut self, steps: Option<i64>) -> Ended {
        self.memory.fuse().set(steps);
        let restore = self.restore();
        let memory = self.memory.clone();
        let ended = tokio::select! {
            biased;
            () = memory.fuse().blown() => Ended::Killed,
            done = restore.execute() => match done {
                Ok(summary) => Ended::Done(summary),
                Err(error) => Ended::Failed(error),
            },
        };
        drop(restore);
        let ended = if memory.fuse().is_blown() { Ended::Killed } else { ended };
        tokio::task::yield_now().await;
        self.memory.fuse().set(None);
        ended
    }

    /// Executes until it is done, without faults.
    pub async fn finish(&mut self) -> Summary {
        self.target.set_faults(TargetFaults::default());
        let mut last = None;
        for _ in 0..3 {
            match self.execute(None).await {
                Ended::Done(summary) => return summary,
                Ended::Failed(error) if self.cures(&error) => last = Some(error),
                other => panic!("seed {}: the last resume ended with {other:?}", self.seed),
            }
        }
        panic!("seed {}: three resumes did not end it: {last:?}", self.seed)
    }

    pub async fn fault(&mut self) -> Fault {
        match self.execute(None).await {
            Ended::Failed(error) => error.fault,
            other => panic!("seed {}: {other:?}", self.seed),
        }
    }

    /// True for failures that a resume is promised to cure, if need be after the operator's part
    /// is done: an open delta that a cut journal has forgotten is rolled back by hand.
    pub fn cures(&self, error: &RunError) -> bool {
        match &error.fault {
            Fault::Held(deltakeep::restore::Holder::Hot(_)) if self.cut => {
                self.target.zombies_end();
                self.target.with(|store| store.rollback()).is_ok()
            }
            Fault::Target(SourceError::Refused { message, .. }) => message.contains("rollback"),
            Fault::Disagrees(Disagreement::Sums { .. }) => true,
            Fault::Target(_) | Fault::Again(_) | Fault::NotReplayable { .. } => true,
            _ => false,
        }
    }
}
