//! The jobs of one delta, shared by its workers. Owns only who does what; never does a job.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

use super::decide::StreamWork;
use super::pair::Pair;

/// A piece of work for one worker.
pub enum Job {
    /// Unload this table, or find out that nothing is to be unloaded.
    Open(Arc<Pair>),
    /// Deliver this stream of it.
    Deliver(Arc<Pair>, StreamWork),
}

/// What a worker is to do next.
pub enum Next {
    /// This.
    Job(Box<Job>),
    /// Nothing now, but others may still bring work.
    Wait,
    /// Nothing ever.
    Done,
}

struct Jobs {
    waiting: VecDeque<Job>,
    running: usize,
    closed: bool,
}

/// The jobs of one delta.
pub struct Board {
    jobs: Mutex<Jobs>,
    changed: Notify,
}

impl Board {
    /// A board with these jobs.
    pub fn new(jobs: impl IntoIterator<Item = Job>) -> Self {
        let jobs = Jobs { waiting: jobs.into_iter().collect(), running: 0, closed: false };
        Self { jobs: Mutex::new(jobs), changed: Notify::new() }
    }

    /// Takes the next job without waiting.
    pub fn take(&self) -> Next {
        let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        if jobs.closed {
            return Next::Done;
        }
        match jobs.waiting.pop_front() {
            Some(job) => {
                jobs.running += 1;
                Next::Job(Box::new(job))
            }
            None if jobs.running == 0 => Next::Done,
            None => Next::Wait,
        }
    }

    /// Waits for the next job; none when there will be no more.
    pub async fn wait(&self) -> Option<Job> {
        loop {
            let changed = self.changed.notified();
            match self.take() {
                Next::Job(job) => return Some(*job),
                Next::Done => return None,
                Next::Wait => changed.await,
            }
        }
    }

    /// Adds jobs; streams come before tables, so that staging topics do not pile up.
    pub fn add(&self, jobs: impl IntoIterator<Item = Job>) {
        let mut all = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        jobs.into_iter().for_each(|job| all.waiting.push_front(job));
        drop(all);
        self.changed.notify_waiters();
    }

    /// No more jobs are given out: the run was asked to stop.
    pub fn close(&self) {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner).closed = true;
        self.changed.notify_waiters();
    }

    /// A job taken before is finished.
    pub fn finished(&self) {
        let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        jobs.running = jobs.running.saturating_sub(1);
        drop(jobs);
        self.changed.notify_waiters();
    }
}
