//! A command of this program while it is worked on. Owns when its task is this worker's, and that a
//! run which did not come to its end is resumed.

use std::time::Duration;

use super::reply::Answer;
use super::ticket::{Fate, Ticket};
use super::worker::World;
use super::{Ending, Runner, RunnerError, Running, Work};
use crate::clickhouse::{Code, TaskError};

/// How often a run is resumed whose command was killed.
const RESUMES: u32 = 3;
/// How often a run is tried whose journal another process has: what a dead worker started may live.
const WAITS: u32 = 20;
/// Exit code: somebody else holds the store (README).
const HELD: i32 = 7;
/// First and longest pause between two tries.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

impl<W: World> Ticket<'_, W> {
    /// Runs a command until it is at its end or has to be left. One whose run was begun goes on.
    pub(super) async fn run(&self) {
        let task = self.task();
        let work = match &task.run {
            Some(run) => resume(run, task.credentials.clone()),
            None => Work { words: task.words.clone(), credentials: task.credentials.clone() },
        };
        let Some(ending) = self.run_once(work).await else { return };
        self.finish(ending).await;
    }

    /// Resumes as long as that can help, and answers.
    async fn finish(&self, mut ending: Ending) {
        let (mut resumes, mut waits, mut wait) = (0, 0, PAUSES.0);
        while let Some(run) = self.task().run {
            let again = match ending.code {
                None => {
                    resumes += 1;
                    resumes <= RESUMES
                }
                Some(HELD) => {
                    waits += 1;
                    waits <= WAITS
                }
                _ => false,
            };
            if !again {
                break;
            }
            if self.pause(wait).await {
                return;
            }
            wait = (wait * 2).min(PAUSES.1);
            let work = resume(&run, self.task().credentials);
            let Some(next) = self.run_once(work).await else { return };
            ending = next;
        }
        self.settle(&Answer::of_ending(&ending, self.task().run.as_deref())).await;
    }

    /// Runs a command once; none where the task is left as it is, or is settled.
    async fn run_once(&self, work: Work) -> Option<Ending> {
        let mut running = match self.inner.runner.start(&work).await {
            Ok(running) => running,
            Err(error) => {
                self.settle(&Answer::failed(&of_start(&error))).await;
                return None;
            }
        };
        let begun = tokio::select! {
            begun = running.begun() => begun,
            () = self.stopped() => {
                running.stop();
                running.begun().await
            }
        };
        if let Some(run) = begun
            && !self.begin(run).await
        {
            running.stop();
            running.ended().await;
            return None;
        }
        let ended = tokio::select! {
            ended = running.ended() => Some(ended),
            () = self.stopped() => None,
        };
        let ending = match ended {
            Some(ending) => ending,
            None => {
                running.stop();
                running.ended().await
            }
        };
        let stopped = self.is_stopping() && ending.code != Some(0);
        // Its run goes on after the next start; one that was not begun goes back to the queue.
        (!stopped).then_some(ending)
    }

    /// The first record of a run is durable: from here on the task is this worker's.
    async fn begin(&self, run: String) -> bool {
        let known = self.task().run;
        if known.as_ref() == Some(&run) && self.fate() == Fate::Owned {
            return true;
        }
        if known.as_ref() != Some(&run) && !self.write(|task| task.run = Some(run)) {
            return false;
        }
        let before = self.fate();
        let owned = self.take_over(None).await == Fate::Owned;
        if owned && before == Fate::Open {
            self.tell_accepted().await;
        }
        owned
    }
}

fn resume(run: &str, credentials: Option<String>) -> Work {
    let words = ["resume", "--", run].map(str::to_owned).to_vec();
    Work { words, credentials }
}

fn of_start(error: &RunnerError) -> TaskError {
    let code = match error {
        RunnerError::UnknownCredentials { .. } => Code::BadRequest,
        RunnerError::NotStarted { .. } => Code::Internal,
    };
    TaskError::new(code, error.to_string())
}
