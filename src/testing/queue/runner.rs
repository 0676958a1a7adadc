//! Commands in memory: each begins a run and comes to its end after some steps, unless it is told
//! otherwise; a run whose command died is gone on with by `resume`.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::json;
use tokio::sync::Notify;

use crate::queue::{Ending, Runner, RunnerError, Running, Work};
use crate::testing::Fuse;

/// What commands did and how they will end.
#[derive(Default)]
pub struct Runs {
    /// Every command that was started.
    pub started: Vec<Work>,
    /// Runs, and whether they came to their end.
    pub runs: BTreeMap<String, bool>,
    /// How the next commands end; as asked where this is empty.
    pub codes: VecDeque<Option<i32>>,
    /// They wait until they are let go.
    pub held: bool,
}

/// Starts commands; clones share what they did.
#[derive(Clone, Default)]
pub struct MemoryRunner {
    runs: Arc<Mutex<Runs>>,
    go: Arc<Notify>,
    fuse: Arc<Fuse>,
}

impl MemoryRunner {
    /// One that stops with this fuse.
    pub fn new(fuse: Arc<Fuse>) -> Self {
        Self { fuse, ..Self::default() }
    }

    /// What happened.
    pub fn runs(&self) -> MutexGuard<'_, Runs> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets those go that wait.
    pub fn let_go(&self) {
        self.runs().held = false;
        self.go.notify_waiters();
    }
}

/// A command at work.
pub struct MemoryRunning {
    runner: MemoryRunner,
    run: Option<String>,
    stopped: bool,
}

impl Runner for MemoryRunner {
    type Running = MemoryRunning;

    async fn start(&self, work: &Work) -> Result<MemoryRunning, RunnerError> {
        if work.credentials.as_deref() == Some("unknown") {
            return Err(RunnerError::UnknownCredentials { name: "unknown".into() });
        }
        self.fuse.step().await;
        let run = {
            let mut runs = self.runs();
            runs.started.push(work.clone());
            match work.words.first().map(String::as_str) {
                Some("verify") => None,
                Some("resume") => work.words.last().cloned(),
                _ => {
                    let run = format!("run-{}", runs.runs.len() + 1);
                    runs.runs.insert(run.clone(), false);
                    Some(run)
                }
            }
        };
        Ok(MemoryRunning { runner: self.clone(), run, stopped: false })
    }
}

impl Running for MemoryRunning {
    async fn begun(&mut self) -> Option<String> {
        self.runner.fuse.step().await;
        self.run.clone()
    }

    async fn ended(&mut self) -> Ending {
        loop {
            let go = self.runner.go.notified();
            if self.stopped || !self.runner.runs().held {
                break;
            }
            go.await;
        }
        if self.stopped {
            return Ending { code: Some(143), output: None, message: "stopped".into() };
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
        self.runner.fuse.step().await;
        let mut runs = self.runner.runs();
        let code = runs.codes.pop_front().unwrap_or(Some(0));
        if let (Some(run), Some(0)) = (&self.run, code) {
            runs.runs.insert(run.clone(), true);
        }
        let output = (code == Some(0)).then(|| json!({ "run": self.run }));
        Ending { code, output, message: "topic \"t\" is not there".into() }
    }

    fn stop(&mut self) {
        self.stopped = true;
    }
}
