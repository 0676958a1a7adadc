//! The commands, one file each. Owns only the dispatch.

mod age;
mod backup;
mod check;
mod config;
#[cfg(feature = "demo")]
mod demo;
mod findings;
mod show;
mod topic;
mod unlock;

use super::config::Setting;
use super::exit_code::{ExitCode, Failure};
use super::filter::StatusOf;
use super::settings::{Settings, Task};

/// Does what was asked. `shown` are the settings as they were found, for who asks for them.
///
/// # Errors
/// [`Failure`] with the exit code and what to type next.
pub fn dispatch(settings: Settings, shown: &[Setting]) -> Result<(), Failure> {
    let Settings { state_dir, output, task, .. } = settings;
    match task {
        Task::Version => show::version(output),
        Task::TopicShow(asked) => block_on(topic::show(output, asked)),
        Task::ConfigShow => config::show(shown, &state_dir, output),
        Task::List(asked) => show::list(&state_dir, &asked, output),
        Task::Status(StatusOf::Run(run, filter)) => show::status(&state_dir, &run, &filter, output),
        Task::Status(StatusOf::Age(most, filter)) => age::judge(&state_dir, most, &filter, output),
        Task::Backup(asked) => block_on(backup::backup(&state_dir, output, *asked)),
        Task::Check(asked) => block_on(check::check(&state_dir, output, *asked)),
        Task::Resume(asked) => block_on(backup::resume(&state_dir, output, *asked)),
        Task::Abandon(asked) => block_on(backup::abandon(&state_dir, output, *asked)),
        Task::Unlock(asked) => block_on(unlock::unlock(&state_dir, asked)),
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
