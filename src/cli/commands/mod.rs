//! The commands, one file each. Owns only the dispatch.

mod age;
mod backup;
mod check;
mod cleanup;
mod config;
#[cfg(feature = "demo")]
mod demo;
mod draft;
mod findings;
mod pages;
mod show;
mod topic;
mod unlock;
mod verify;

use std::path::Path;

use super::args::Output;
use super::config::Setting;
use super::exit_code::{ExitCode, Failure};
use super::filter::StatusOf;
use super::settings::{Settings, Task};

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
        Task::Resume(asked) => block_on(backup::resume(dir, output, *asked)),
        Task::Abandon(asked) => block_on(backup::abandon(dir, output, *asked)),
        Task::Cleanup(asked) => block_on(cleanup::cleanup(dir, output, *asked)),
        Task::Unlock(asked) => block_on(unlock::unlock(dir, asked)),
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
