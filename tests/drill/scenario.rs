//! A source, its backup topic, and drills of it. Owns how a drill is built, stopped and gone on
//! with.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use deltakeep::drill::{Drill, Report, RunError, Settings, Unwatched, Watch};
use deltakeep::journal::{DrillShape, Place, RestoreShape};
use deltakeep::model::{Moment, Owner, RunId};
use deltakeep::testing::{
    DrillWorld, Memory, MemoryJournal, MemoryReports, MemoryTarget, RestoreWorld, Store,
    TargetFaults,
};
use tokio::sync::watch;
use uuid::Uuid;

use super::history;

pub struct Scenario {
    pub memory: Memory,
    pub history: Store,
    pub source: MemoryTarget,
    pub scratch: MemoryTarget,
    pub journal: MemoryJournal,
    pub reports: MemoryReports,
    pub known: BTreeSet<RunId>,
    pub keep: bool,
    pub seed: u64,
    pub watch: Arc<dyn Watch>,
    clock: Arc<AtomicI64>,
    starts: u32,
    backups: u128,
}

/// How an execution ended.
#[derive(Debug)]
pub enum Ended {
    Done(Box<Report>),
    Failed(RunError),
    Killed,
}

impl Scenario {
    /// A source with one to seven deltas, backed up by one to three runs.
    pub async fn new(seed: u64) -> Self {
        let memory = Memory::new(seed);
        let mut scenario = Self {
            history: Store::created(),
            source: MemoryTarget::new(&memory),
            scratch: MemoryTarget::new(&memory),
            journal: MemoryJournal::new(&memory),
            reports: MemoryReports::new(&memory),
            known: BTreeSet::new(),
            keep: false,
            watch: Arc::new(Unwatched),
            clock: Arc::new(AtomicI64::new(1_800_000_000_000_000)),
            starts: 0,
            backups: 0,
            memory,
            seed,
        };
        for _ in 0..1 + scenario.random(3) {
            scenario.grow().await;
        }
        scenario
    }

    /// A short one that has rows to compare in every delta.
    pub async fn filled(from: u64) -> Self {
        for seed in from.. {
            let scenario = Self::new(seed).await;
            if scenario.memory.lock().topic.iter().map(Vec::len).sum::<usize>() > 40 {
                continue;
            }
            let rows = |delta: &deltakeep::model::Delta| {
                let tables = scenario.history.tables.keys();
                tables.map(|name| scenario.history.increment(delta.num, name).len()).sum::<usize>()
            };
            if scenario.history.deltas.len() > 2
                && scenario.history.deltas.iter().all(|d| rows(d) > 0)
            {
                return scenario;
            }
        }
        unreachable!()
    }

    /// The same once more, from its beginning.
    pub async fn again(&self) -> Self {
        Self::new(self.seed).await
    }

    /// A few more deltas, and a backup of them.
    pub async fn grow(&mut self) {
        for _ in 0..1 + self.random(3) {
            history::change(&mut self.history, &self.memory);
            history::delta(&mut self.history, &self.memory, 25);
        }
        history::change(&mut self.history, &self.memory);
        self.backups += 1;
        let number = u128::from(self.seed) << 64 | self.backups;
        history::back_up(&self.history, &self.memory, number, 2).await;
        let history = self.history.clone();
        self.source.with(|source| *source = history);
    }

    pub fn random(&self, below: u64) -> u64 {
        history::random(&self.memory, below)
    }

    fn settings(&mut self) -> Settings {
        self.starts += 1;
        let number = u128::from(self.seed) << 32 | u128::from(self.starts);
        let (memory, clock) = (self.memory.clone(), self.clock.clone());
        let place =
            |node: &str, datamart: &str| Place { node: node.into(), datamart: datamart.into() };
        let restore = RestoreShape {
            source: "db".into(),
            target: "scratch".into(),
            threads: 2,
            partitions: 1,
            message_limit: None,
            datasource: None,
            accept_differences: false,
        };
        Settings {
            topic: "backup".into(),
            owner: Owner { run: RunId(Uuid::from_u128(number)), day: 1, started: "now".into() },
            shape: DrillShape {
                source: place("node:9090", "db"),
                scratch: place("other:9090", "scratch"),
                keep: self.keep,
                report: None,
                restore,
            },
            known: self.known.clone(),
            retries: 3,
            pause: Duration::from_millis(1),
            patience: Duration::from_secs(60),
            tool: "test".into(),
            nonce: Arc::new(move || memory.lock().random()),
            now: Arc::new(move || Moment(clock.fetch_add(1_000, Ordering::SeqCst))),
        }
    }

    pub fn drill(&mut self) -> Drill<DrillWorld> {
        self.drill_with(|_| {})
    }

    pub fn drill_with(&mut self, change: impl FnOnce(&mut Settings)) -> Drill<DrillWorld> {
        let (_never, stop) = watch::channel(false);
        let restore = RestoreWorld { memory: self.memory.clone(), target: self.scratch.clone() };
        let world = DrillWorld { restore: Arc::new(restore), source: self.source.clone() };
        let mut settings = self.settings();
        change(&mut settings);
        let told = (self.watch.clone(), Arc::new(self.reports.clone()) as _);
        Drill::open(world, self.journal.clone(), settings, told, stop).unwrap()
    }

    /// One execution, killed at the fuse's step.
    pub async fn execute(&mut self, steps: Option<i64>) -> Ended {
        self.memory.fuse().set(steps);
        let drill = self.drill();
        let memory = self.memory.clone();
        let ended = tokio::select! {
            biased;
            () = memory.fuse().blown() => Ended::Killed,
            done = drill.execute() => match done {
                Ok(report) => Ended::Done(Box::new(report)),
                Err(error) => Ended::Failed(error),
            },
        };
        drop(drill);
        let ended = if memory.fuse().is_blown() { Ended::Killed } else { ended };
        tokio::task::yield_now().await;
        self.memory.fuse().set(None);
        ended
    }

    /// Executes until it is done, without faults.
    pub async fn finish(&mut self) -> Report {
        self.scratch.set_faults(TargetFaults::default());
        self.source.set_faults(TargetFaults::default());
        let mut last = None;
        for _ in 0..3 {
            match self.execute(None).await {
                Ended::Done(report) => return *report,
                Ended::Failed(error) => last = Some(error),
                Ended::Killed => unreachable!(),
            }
        }
        panic!("seed {}: three resumes did not end it: {last:?}", self.seed)
    }

    /// Nothing is left but the report.
    pub fn require_gone(&self) {
        let seed = self.seed;
        let scratch = self.scratch.with(|store| store.clone());
        assert!(!scratch.exists, "seed {seed}: the scratch is left");
        assert!(scratch.topics.is_empty(), "seed {seed}: {:?} is left", scratch.topics.keys());
        assert!(self.journal.is_empty(), "seed {seed}: an ended drill leaves no record");
        assert!(self.source.with(|source| source.marker.is_none()), "seed {seed}");
    }
}
