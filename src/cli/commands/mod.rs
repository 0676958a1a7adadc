//! The commands, one file each. Owns only the dispatch.

mod age;
mod backup;
mod check;
mod cleanup;
#[cfg(feature = "clickhouse")]
mod clickhouse;
mod config;
#[cfg(feature = "demo")]
mod demo;
mod draft;
mod drill;
mod ended;
mod findings;
mod gaps;
mod pages;
mod restore;
mod restored;
#[cfg(feature = "queue")]
mod send;
mod show;
mod topic;
mod unlock;
mod verify;
#[cfg(feature = "queue")]
mod worker;

use std::path::Path;

use super::args::Output;
use super::config::Setting;
use super::exit_code::{ExitCode, Failure};
use super::filter::StatusOf;
use super::restore_settings::RestoreTask;
use super::resume::RunChoice;
use super::settings::{ResumeSettings, Settings, Task};
use super::signals::{self, Received};
use super::stores::{self, ChoiceError, Stage, Status, Store};
use crate::journal::sled_store::Kind;

/// Turns true when the run is asked to stop; the signal that asked.
type Stop = (tokio::sync::watch::Receiver<bool>, Received);

fn listen() -> Result<Stop, Failure> {
    signals::listen().map_err(|error| Failure {
        code: ExitCode::Unexpected,
        message: format!("no signal handlers: {error}"),
        next: "the same command again".to_owned(),
    })
}

/// A run that its journal does not know as unfinished. The journal is the truth, the status only a
/// courtesy: the run was ended and never said so.
fn not_unfinished(path: &Path) -> Failure {
    let store = stores::read(path).ok().flatten();
    if let Some(Store { status, .. }) = store {
        let _ = stores::write(path, &Status { stage: Stage::Done, ..status });
    }
    Failure {
        code: ExitCode::Usage,
        message: "that run is not unfinished".to_owned(),
        next: "deltakeep list".to_owned(),
    }
}

/// Does what was asked. `shown` are the settings as they were found, for who asks for them.
///
/// # Errors
/// [`Failure`] with the exit code and what to type next.
pub fn dispatch(settings: Settings, shown: &[Setting]) -> Result<(), Failure> {
    let Settings { state_dir, output, finish, task, .. } = settings;
    let subject = finish.subject(&task, &state_dir);
    let done = carry_out(task, &state_dir, output, shown);
    if let Some(subject) = subject {
        let told = async {
            finish.tell(subject, &done, &state_dir).await;
            Ok(())
        };
        if let Err(failure) = block_on(told) {
            tracing::warn!("nobody was told: {}", failure.message);
        }
    }
    done
}

fn carry_out(task: Task, dir: &Path, output: Output, shown: &[Setting]) -> Result<(), Failure> {
    match task {
        Task::Version => show::version(output),
        Task::Completions(shell) => pages::completions(shell),
        Task::Man => pages::manual(),
        Task::TopicShow(asked) => block_on(topic::show(output, asked)),
        Task::Verify(asked) => block_on(verify::verify(output, asked)),
        Task::ConfigShow => config::show(shown, dir, output),
        Task::List(asked) => show::list(dir, &asked, output),
        Task::Status(StatusOf::Run(run, filter)) => show::status(dir, &run, &filter, output),
        Task::Status(StatusOf::Age(most, filter)) => age::judge(dir, most, &filter, output),
        Task::Backup(asked) => block_on(backup::backup(dir, output, *asked)),
        Task::Check(asked) => block_on(check::check(dir, output, *asked)),
        Task::Restore(RestoreTask::Restore(asked)) => {
            block_on(restore::restore(dir, output, *asked))
        }
        Task::Restore(RestoreTask::Gaps(asked)) => block_on(gaps::look(output, *asked)),
        Task::Drill(asked) => block_on(drill::drill(dir, output, *asked)),
        Task::Resume(asked) => resume(dir, output, *asked),
        Task::Abandon(asked) => {
            let store = stores::unfinished(&stores::all(dir)?, &asked.run, dir)?;
            match store.status.kind {
                Kind::Backup => block_on(backup::abandon(dir, store, output, *asked)),
                Kind::Restore => block_on(restore::abandon(store, output, *asked)),
                Kind::Drill => block_on(drill::abandon(store, output, *asked)),
            }
        }
        Task::Cleanup(asked) => block_on(cleanup::cleanup(dir, output, *asked)),
        Task::Unlock(asked) => block_on(unlock::unlock(dir, asked)),
        #[cfg(feature = "clickhouse")]
        Task::Clickhouse(asked) => block_on(clickhouse::clickhouse(dir, output, *asked)),
        #[cfg(feature = "queue")]
        Task::Worker(asked) => block_on(worker::worker(dir, *asked)),
        #[cfg(feature = "queue")]
        Task::Send(asked) => block_on(send::send(output, *asked)),
        #[cfg(feature = "sandbox")]
        Task::Sandbox(args) => block_on(async {
            crate::sandbox::run(*args).await.map_err(|error| Failure {
                code: ExitCode::Refused,
                message: error.to_string(),
                next: "deltakeep sandbox --help".to_owned(),
            })
        }),
        #[cfg(feature = "demo")]
        Task::Demo => block_on(demo::demo()),
    }
}

/// Resumes what is unfinished; of a run that is named and came to its end its summary is told again.
fn resume(dir: &Path, output: Output, asked: ResumeSettings) -> Result<(), Failure> {
    let run = asked.run.clone();
    let done = match stores::unfinished(&stores::all(dir)?, &run, dir) {
        Err(error) => Err(error.into()),
        Ok(store) => match store.status.kind {
            Kind::Backup => block_on(backup::resume(dir, store, output, asked)),
            Kind::Restore => block_on(restore::resume(store, output, asked)),
            Kind::Drill => block_on(drill::resume(store, output, asked)),
        },
    };
    let (Err(failure), RunChoice::Named(name)) = (&done, &run) else { return done };
    let stores = stores::all(dir)?;
    let unknown =
        matches!(stores::unfinished(&stores, &run, dir), Err(ChoiceError::Unknown { .. }));
    if failure.code != ExitCode::Usage || !unknown {
        return done;
    }
    ended::tell_again(&stores, name, output).unwrap_or(done)
}

fn block_on(work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure {
        code: ExitCode::Unexpected,
        message: format!("no threads to work with: {error}"),
        next: "the same command again".to_owned(),
    })?;
    let done = runtime.block_on(work);
    // Clients' own threads may wait for brokers that are gone; nobody waits for them.
    runtime.shutdown_timeout(std::time::Duration::from_secs(2));
    done
}
