//! What is told to others when a command ends: a metrics file, a command, an address. Owns these
//! options and the document that the hooks get; a failure here is a warning and never changes what
//! the process ends with.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::json;

use super::exit_code::{ExitCode, Failure};
use super::metrics;
use super::progress::now;
use super::restore_settings::RestoreTask;
use super::settings::{SettingsError, Task};
use super::stores::{self, Stage, Status};
use crate::extract::prostore::Secret;
use crate::journal::sled_store::Kind;

/// How long a hook may take.
const HOOK: Duration = Duration::from_secs(60);
/// How long an address may take.
const POST: Duration = Duration::from_secs(10);
/// Variables that a hook does not get: they can hold secrets.
const HIDDEN: [&str; 4] = [
    "DELTAKEEP_TOKEN",
    "DELTAKEEP_CONNECT",
    "DELTAKEEP_KAFKA_PROPERTY",
    "DELTAKEEP_KAFKA_PROPERTY_CORE",
];

/// Options of the end of a command.
#[derive(Clone, Debug, Default, Args)]
pub struct FinishArgs {
    /// File to write metrics into at the end, for Prometheus' textfile collector
    #[arg(
        long = "metricsFile",
        visible_alias = "metrics-file",
        value_name = "PATH",
        env = "DELTAKEEP_METRICS_FILE"
    )]
    pub metrics_file: Option<PathBuf>,
    /// Command to run at the end, split into words as a shell does, but run without one
    ///
    /// It gets DELTAKEEP_RUN, DELTAKEEP_EXIT and DELTAKEEP_SUMMARY, and a minute.
    #[arg(
        long = "onFinishCmd",
        visible_alias = "on-finish-cmd",
        value_name = "COMMAND",
        env = "DELTAKEEP_ON_FINISH_CMD"
    )]
    pub on_finish_cmd: Option<String>,
    /// Address (http) that gets the summary as JSON at the end
    #[arg(
        long = "onFinishUrl",
        visible_alias = "on-finish-url",
        value_name = "URL",
        env = "DELTAKEEP_ON_FINISH_URL",
        hide_env_values = true,
        value_parser = super::args::secret
    )]
    pub on_finish_url: Option<Secret>,
}

/// What to tell at the end.
#[derive(Clone, Debug, Default)]
pub struct Finish {
    metrics: Option<PathBuf>,
    words: Vec<String>,
    url: Option<Secret>,
}

/// What a command worked on, and since when.
pub struct Subject {
    command: &'static str,
    kind: Kind,
    datamart: String,
    topic: String,
    started: String,
    began: Instant,
}

/// How a command ended.
#[derive(Clone, Debug)]
pub struct Report {
    /// The command.
    pub command: &'static str,
    /// A backup or a restore.
    pub kind: Kind,
    /// The datamart.
    pub datamart: String,
    /// The backup topic.
    pub topic: String,
    /// What the process ends with.
    pub exit: u8,
    /// What failed, and what to type next.
    pub failure: Option<(String, String)>,
    /// How long it took.
    pub seconds: f64,
    /// The status as it is known here.
    pub status: Option<Status>,
    /// The status is of this very execution.
    pub fresh: bool,
}

impl Finish {
    /// Reads the options.
    ///
    /// # Errors
    /// [`SettingsError::Hook`].
    pub fn read(args: &FinishArgs) -> Result<Self, SettingsError> {
        let wrong = |keyword, what| SettingsError::Hook { keyword, what };
        let words = args.on_finish_cmd.as_deref().map(shell_words::split).transpose();
        let words = words.map_err(|_| wrong("--onFinishCmd", "has a quote that does not end"))?;
        let http = args.on_finish_url.as_ref().is_none_or(|u| u.expose().starts_with("http://"));
        if !http {
            return Err(wrong("--onFinishUrl", "does not begin with http://"));
        }
        let (metrics, url) = (args.metrics_file.clone(), args.on_finish_url.clone());
        Ok(Self { metrics, words: words.unwrap_or_default(), url })
    }

    /// What a command is going to work on; none where nothing is to be told of it.
    pub fn subject(&self, task: &Task, dir: &Path) -> Option<Subject> {
        if self.metrics.is_none() && self.words.is_empty() && self.url.is_none() {
            return None;
        }
        let (command, kind, datamart, topic) = match task {
            Task::Backup(asked) if !asked.dry_run => {
                let datamart = asked.connection.datamart.to_string();
                ("backup_to_kafka", Kind::Backup, datamart, asked.topic.clone())
            }
            Task::Restore(RestoreTask::Restore(asked)) if !asked.dry_run => {
                let datamart = asked.connection.datamart.to_string();
                ("restore_from_kafka", Kind::Restore, datamart, asked.topic.clone())
            }
            Task::Drill(asked) => {
                let scratch = asked.scratch.datamart.to_string();
                ("drill", Kind::Drill, scratch, asked.topic.clone())
            }
            Task::Resume(asked) | Task::Abandon(asked) if !asked.dry_run => {
                let status = stores::unfinished(&stores::all(dir).ok()?, &asked.run, dir).ok()?;
                let Status { kind, datamart, topic, .. } = status.status;
                let command = if matches!(task, Task::Resume(_)) { "resume" } else { "abandon" };
                (command, kind, datamart, topic)
            }
            _ => return None,
        };
        Some(Subject { command, kind, datamart, topic, started: now(), began: Instant::now() })
    }

    /// Tells all that are to be told.
    pub async fn tell(&self, subject: Subject, done: &Result<(), Failure>, dir: &Path) {
        let report = report(subject, done, dir);
        if let Some(path) = &self.metrics
            && let Err(error) = metrics::write(path, &report)
        {
            tracing::warn!("--metricsFile {}: {error}", path.display());
        }
        let document = report.json();
        if let [program, words @ ..] = &self.words[..]
            && let Err(reason) = run_hook(program, words, &report, &document)
        {
            tracing::warn!("--onFinishCmd {program}: {reason}");
        }
        if let Some(url) = &self.url
            && let Err(reason) = post(url, document).await
        {
            tracing::warn!("--onFinishUrl: {reason}");
        }
    }
}

fn report(subject: Subject, done: &Result<(), Failure>, dir: &Path) -> Report {
    let Subject { command, kind, datamart, topic, started, began } = subject;
    let stores = stores::all(dir).unwrap_or_default();
    let store = stores.into_iter().map(|store| store.status);
    let is_of = |s: &Status| s.kind == kind && s.datamart == datamart && s.topic == topic;
    let status = store.into_iter().find(is_of);
    let (exit, failure) = match done {
        Ok(()) => (ExitCode::Done, None),
        Err(failure) => (failure.code, Some((failure.message.clone(), failure.next.clone()))),
    };
    let fresh = status.as_ref().is_some_and(|status| status.updated >= started);
    let seconds = began.elapsed().as_secs_f64();
    let exit = exit as u8;
    Report { command, kind, datamart, topic, exit, failure, seconds, status, fresh }
}

impl Report {
    /// Deltas of an unfinished run that are still to be delivered; none where that is not known.
    pub fn deltas_behind(&self) -> Option<u64> {
        match &self.status {
            _ if self.exit == 0 => Some(0),
            Some(status) if status.stage != Stage::Done && status.deltas > 0 => {
                Some(status.deltas.saturating_sub(status.deltas_done) as u64)
            }
            _ => None,
        }
    }

    /// Rows and bytes delivered by this execution.
    pub fn delivered(&self) -> (u64, u64) {
        let status = self.status.as_ref().filter(|_| self.fresh);
        status.map_or((0, 0), |status| (status.rows, status.bytes))
    }

    /// The document that hooks get.
    pub fn json(&self) -> String {
        let status = self.status.as_ref();
        let history = status.map(|status| &status.history);
        let (rows, bytes) = self.delivered();
        json!({
            "command": self.command,
            "run": status.map(|status| &status.run),
            "datamart": self.datamart,
            "topic": self.topic,
            "exitCode": self.exit,
            "failure": self.failure.as_ref().map(|(message, _)| message),
            "next": self.failure.as_ref().map(|(_, next)| next),
            "seconds": self.seconds,
            "rows": rows,
            "bytes": bytes,
            "deltasBehind": self.deltas_behind(),
            "lastSuccess": history.and_then(|history| history.last_success.as_ref()),
            "recoveryPoint": history.and_then(|history| history.recovery_point.as_ref()),
            "resumes": history.map(|history| history.resumes),
            "lockHeld": history.map(|history| history.lock_held),
        })
        .to_string()
    }
}

/// Runs the command; what it prints goes to stderr, for stdout is ours.
fn run_hook(program: &str, words: &[String], report: &Report, json: &str) -> Result<(), String> {
    let mut command = Command::new(program);
    for name in HIDDEN {
        command.env_remove(name);
    }
    command.args(words).stdin(Stdio::null()).stdout(std::io::stderr());
    command.env("DELTAKEEP_RUN", report.status.as_ref().map_or("", |status| &status.run));
    command.env("DELTAKEEP_EXIT", report.exit.to_string()).env("DELTAKEEP_SUMMARY", json);
    let mut child = command.spawn().map_err(|error| error.to_string())?;
    let began = Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(status)) if status.success() => return Ok(()),
            Ok(Some(status)) => return Err(format!("ended with {status}")),
            Ok(None) if began.elapsed() < HOOK => std::thread::sleep(Duration::from_millis(20)),
            Ok(None) => {
                // It may have ended just now; either way nobody waits for it any more.
                let _ = child.kill();
                let _ = child.wait();
                return Err(format!("did not end within {} s", HOOK.as_secs()));
            }
            Err(error) => return Err(error.to_string()),
        }
    }
}

/// Sends the document; no error repeats the address, which can hold a key.
async fn post(url: &Secret, json: String) -> Result<(), String> {
    let text = |error: reqwest::Error| error.without_url().to_string();
    let client = reqwest::Client::builder().timeout(POST).build().map_err(text)?;
    let request = client.post(url.expose()).header("content-type", "application/json").body(json);
    let answer = request.send().await.map_err(text)?;
    answer.error_for_status().map(drop).map_err(text)
}
