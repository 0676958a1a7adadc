//! `drill`, and `resume` and `abandon` of one: from checked settings to a run of the engine and its
//! account. Owns the order (a backup where asked for, an unfinished drill, a fresh one) and what is
//! printed at the end.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use uuid::Uuid;

use super::backup::{self, remember_brokers, remembered_connection, still_resumable};
use super::{Stop, listen};
use crate::cli::args::{OnUnfinished, Output};
use crate::cli::connect::Connection;
use crate::cli::console::{note, say};
use crate::cli::drill_console::DrillConsole;
use crate::cli::drill_files::Files;
use crate::cli::drill_settings::DrillSettings;
use crate::cli::exit_code::{ExitCode, Failure};
use crate::cli::progress::{Progress, now};
use crate::cli::report;
use crate::cli::restore_console::RestoreConsole;
use crate::cli::settings::ResumeSettings;
use crate::cli::stores::{self, Stage, Status, Store};
use crate::cli::wiring::{self, Addresses, DrillWorld};
use crate::drill::report::Verdict;
use crate::drill::{Drill, Event, Refusal, Report, RunError, Settings, Unwatched, Watch};
use crate::journal::sled_store::{Kind, SledJournal, drill_path};
use crate::journal::{DrillShape, Place, RestoreShape};
use crate::model::{Moment, Owner, RunId};
use crate::restore::Watch as _;

/// How long write operations that a dead client left behind are waited for.
const PATIENCE: Duration = Duration::from_secs(600);

/// Everything one execution needs.
struct Job {
    /// The drill, where it is a fresh one.
    run: RunId,
    topic: String,
    shape: DrillShape,
    retries: u32,
    output: Output,
    world: DrillWorld,
    addresses: Addresses,
    path: PathBuf,
}

fn place(connection: &Connection) -> Place {
    Place { node: connection.node.clone(), datamart: connection.datamart.to_string() }
}

/// `drill`: where it is asked for a backup first; an unfinished drill of this topic and scratch is
/// finished, and its verdict is the answer.
pub async fn drill(dir: &Path, output: Output, asked: DrillSettings) -> Result<(), Failure> {
    let stop = listen()?;
    refuse_source(&asked).await?;
    if let Some(backup) = asked.backup.clone() {
        // A drill has one document.
        let tells = output == Output::Text;
        backup::back_up(dir, output, *backup, (&stop, tells)).await?;
    }
    let job = job(dir, output, &asked).await?;
    if let Some((run, _)) = job.open(&stop, Arc::new(Unwatched), None)?.unfinished() {
        match asked.on_unfinished {
            OnUnfinished::Resume => tracing::info!("drill {run} is unfinished: it is finished"),
            OnUnfinished::Abandon => drop(job.give_up(&stop).await?),
            OnUnfinished::Fail => {
                return Err(Failure {
                    code: ExitCode::Refused,
                    message: format!("drill {run} of this topic and scratch is unfinished"),
                    next: format!("deltakeep resume {run}"),
                });
            }
        }
    }
    let report = job.execute(&stop).await?;
    account(&job, &report)
}

/// One datamart under two addresses is found by its marker later; what names tell is told now.
async fn refuse_source(asked: &DrillSettings) -> Result<(), Failure> {
    let (source, scratch) = (place(&asked.source), place(&asked.scratch));
    let same = source.datamart == scratch.datamart
        && (crate::drill::scratch::is_same(&source, &scratch)
            || wiring::same_node(&source.node, &scratch.node).await);
    match same {
        true => {
            let fault = Refusal::Source(scratch).into();
            Err(report::of_drill(RunError { fault, touched: false }, None))
        }
        false => Ok(()),
    }
}

async fn job(dir: &Path, output: Output, asked: &DrillSettings) -> Result<Job, Failure> {
    let DrillSettings { source, scratch, topic, ways, .. } = asked;
    let (world, addresses) = wiring::drill(source, scratch, topic, ways).await?;
    let of_scratch = (scratch.node.as_str(), scratch.datamart.as_str());
    let path = drill_path(dir, &addresses.cluster, topic, of_scratch);
    let report = asked.report.as_ref().map(|folder| folder.display().to_string());
    Ok(Job {
        run: RunId(Uuid::new_v4()),
        topic: topic.clone(),
        shape: DrillShape {
            source: place(source),
            scratch: place(scratch),
            keep: asked.keep,
            report,
            restore: asked.restore.clone(),
        },
        retries: ways.kafka_retries,
        output,
        world,
        addresses,
        path,
    })
}

/// `resume` of a drill: the journal says what is left and what shapes it.
///
/// # Errors
/// Why there is no verdict, or that it is a bad one.
pub async fn resume(store: Store, output: Output, asked: ResumeSettings) -> Result<(), Failure> {
    let stop = listen()?;
    let dry_run = asked.dry_run;
    let job = found(store, output, asked).await?;
    job.require_unfinished(&stop).map_err(still_resumable)?;
    if dry_run {
        return super::restored::left(&job.path, output);
    }
    let report = job.execute(&stop).await?;
    account(&job, &report)
}

/// `abandon` of a drill: its scratch goes, and there is no report.
///
/// # Errors
/// As [`resume`].
pub async fn abandon(store: Store, output: Output, asked: ResumeSettings) -> Result<(), Failure> {
    let stop = listen()?;
    let job = found(store, output, asked).await?;
    job.require_unfinished(&stop)?;
    let run = job.give_up(&stop).await?;
    say(&match output {
        Output::Json => serde_json::json!({ "abandoned": run }).to_string(),
        Output::Text => format!("Drill {run} is given up; its scratch is gone"),
    });
    Ok(())
}

/// The job of a drill found by its status file: what is not given again comes from there.
async fn found(store: Store, output: Output, asked: ResumeSettings) -> Result<Job, Failure> {
    let Store { path, status } = store;
    let scratch = remembered_connection(&status, asked.token.clone())?;
    let source = match asked.connection {
        Some(connection) => connection,
        None => {
            let node = status.source_node.clone().unwrap_or_default();
            let datamart = status.source.clone().unwrap_or_default();
            remembered_connection(&Status { node, datamart, ..status.clone() }, asked.token)?
        }
    };
    let scratch = Connection { token: source.token.clone(), ..scratch };
    let mut ways = asked.means.ways;
    remember_brokers(&mut ways, &status);
    let built = wiring::drill(&source, &scratch, &status.topic, &ways).await;
    let (world, addresses) = built.map_err(|error| still_resumable(error.into()))?;
    // What shapes it comes from the journal.
    let restore = RestoreShape {
        source: source.datamart.to_string(),
        target: scratch.datamart.to_string(),
        threads: 1,
        partitions: 1,
        message_limit: None,
        datasource: None,
        accept_differences: true,
    };
    let (source, scratch) = (place(&source), place(&scratch));
    Ok(Job {
        run: RunId(Uuid::new_v4()),
        topic: status.topic,
        shape: DrillShape { source, scratch, keep: false, report: None, restore },
        retries: ways.kafka_retries,
        output,
        world,
        addresses,
        path,
    })
}

/// What the console and the status file are told.
struct Watchers {
    console: Option<DrillConsole>,
    progress: Arc<Progress>,
}

impl Watch for Watchers {
    fn tell(&self, event: Event) {
        if let Event::Restore(event) = &event {
            self.progress.tell(event.clone());
        }
        if let Some(console) = &self.console {
            console.tell(event);
        }
    }
}

impl Job {
    fn settings(&self, known: BTreeSet<RunId>) -> Settings {
        Settings {
            topic: self.topic.clone(),
            owner: Owner {
                run: self.run,
                day: jiff::Zoned::now().day() as u8,
                started: jiff::Timestamp::now().strftime("%Y%m%dt%H%Mz").to_string(),
            },
            shape: self.shape.clone(),
            known,
            retries: self.retries,
            pause: Duration::from_secs(2),
            patience: PATIENCE,
            tool: env!("CARGO_PKG_VERSION").to_owned(),
            nonce: Arc::new(|| Uuid::new_v4().as_u64_pair().0),
            now: Arc::new(|| Moment(jiff::Timestamp::now().as_microsecond())),
        }
    }

    /// The engine over the job's journal. The reports go to `folder`, where one is given.
    fn open(
        &self,
        stop: &Stop,
        watch: Arc<dyn Watch>,
        folder: Option<PathBuf>,
    ) -> Result<Drill<DrillWorld>, Failure> {
        let journal = SledJournal::open(&self.path)?;
        let settings = self.settings(kept(&journal.ended()?));
        let told = (watch, Arc::new(Files(folder)) as _);
        Ok(Drill::open(self.world.clone(), journal, settings, told, stop.0.clone())?)
    }

    fn require_unfinished(&self, stop: &Stop) -> Result<(), Failure> {
        let unfinished = self.open(stop, Arc::new(Unwatched), None)?.unfinished();
        unfinished.map(drop).ok_or_else(|| super::not_unfinished(&self.path))
    }

    /// One execution of the engine, from wherever the journal stands.
    async fn execute(&self, stop: &Stop) -> Result<Report, Failure> {
        let unfinished = self.open(stop, Arc::new(Unwatched), None)?.unfinished();
        let (run, shape) = unfinished.unwrap_or_else(|| (self.run, self.shape.clone()));
        let before = stores::read(&self.path)?.map(|store| store.status);
        let first = self.first_status(run, &shape, before.as_ref());
        // A kill right after CREATE DATABASE is to be found by `resume`, too.
        stores::write(&self.path, &first)?;
        let progress = Arc::new(Progress::new(self.path.clone(), first, self.output));
        let restore =
            RestoreConsole { topic: self.topic.clone(), node: shape.scratch.node.clone() };
        let console = (self.output == Output::Text).then_some(DrillConsole { restore });
        let watch = Watchers { console, progress: progress.clone() };
        let engine = self.open(stop, Arc::new(watch), shape.report.map(PathBuf::from))?;
        if self.output == Output::Text {
            note(&format!("journal {}", self.path.display()));
        }
        let done = tokio::select! {
            done = engine.execute() => done,
            never = progress.clone().tick() => match never {},
        };
        progress.finish();
        let status = Status { updated: now(), stage: Stage::Done, ..progress.status() };
        self.note(done, status, before, stop)
    }

    /// Writes down how an execution ended.
    fn note(
        &self,
        done: Result<Report, RunError>,
        mut status: Status,
        before: Option<Status>,
        stop: &Stop,
    ) -> Result<Report, Failure> {
        match done {
            Ok(report) => {
                match report.verdict {
                    Verdict::Ok => status.history.last_success = Some(now()),
                    Verdict::Failed => {
                        status.failure = Some(report::of_verdict(&report).message);
                    }
                }
                stores::note(&self.path, &status);
                Ok(report)
            }
            Err(error) => {
                let touched = error.touched;
                let failure = report::of_drill(error, stop.1.first());
                status.failure = Some(failure.message.clone());
                if touched {
                    status.stage = Stage::Stopped;
                }
                // A drill that was refused is no news of the one before it.
                let refused = before.filter(|_| !touched).unwrap_or(status);
                stores::note(&self.path, &refused);
                Err(failure)
            }
        }
    }

    fn first_status(&self, run: RunId, shape: &DrillShape, before: Option<&Status>) -> Status {
        let known = before.filter(|status| status.run == run.to_string());
        Status {
            pid: std::process::id(),
            kind: Kind::Drill,
            run: run.to_string(),
            stage: Stage::Running,
            datamart: shape.scratch.datamart.clone(),
            source: Some(shape.source.datamart.clone()),
            source_node: Some(shape.source.node.clone()),
            topic: self.topic.clone(),
            node: shape.scratch.node.clone(),
            kafka_brokers: self.addresses.backup.clone(),
            kafka_brokers_core: self.addresses.core.clone(),
            delivery: "idempotent".to_owned(),
            unload_stall_seconds: 0,
            code: String::new(),
            started: known.map_or_else(now, |status| status.started.clone()),
            updated: now(),
            deltas: known.map_or(0, |status| status.deltas),
            deltas_done: known.map_or(0, |status| status.deltas_done),
            rows: 0,
            bytes: 0,
            history: before.map(|status| status.history.clone()).unwrap_or_default(),
            failure: None,
        }
    }

    /// Gives the unfinished drill up; its id.
    async fn give_up(&self, stop: &Stop) -> Result<String, Failure> {
        let engine = self.open(stop, Arc::new(Unwatched), None)?;
        let unfinished = engine.unfinished();
        let (run, shape) = unfinished.unwrap_or_else(|| (self.run, self.shape.clone()));
        engine.abandon().await.map_err(|error| Failure {
            next: format!("deltakeep abandon {run}, once what it names is there again"),
            ..report::of_drill(error, stop.1.first())
        })?;
        let before = stores::read(&self.path)?.map(|store| store.status);
        let status = self.first_status(run, &shape, before.as_ref());
        let failure = Some("given up".to_owned());
        stores::note(&self.path, &Status { stage: Stage::Done, failure, ..status });
        tracing::info!("drill {run} is given up");
        Ok(run.to_string())
    }
}

/// Drills that ended and left their scratch, by the summaries in their journal.
fn kept(ended: &[String]) -> BTreeSet<RunId> {
    let kept = |text: &String| {
        let summary: Value = serde_json::from_str(text).ok()?;
        let left = summary["scratch"]["dropped"] == Value::Bool(false);
        let run = Uuid::parse_str(summary["run"].as_str().filter(|_| left)?).ok()?;
        Some(RunId(run))
    };
    ended.iter().filter_map(kept).collect()
}

/// The last lines of a drill that came to its verdict, and what it ends with.
fn account(job: &Job, report: &Report) -> Result<(), Failure> {
    if job.output == Output::Json {
        say(&report.to_json());
    } else {
        report.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
        report.failures.iter().for_each(|failure| say(&format!("FAILED: {}", failure.text)));
        let recovery = &report.recovery;
        say(&format!(
            "Recovered {} deltas and {} rows in {:.1} s",
            recovery.deltas, recovery.rows, recovery.seconds
        ));
    }
    match report.verdict {
        Verdict::Ok if job.output == Output::Text => {
            say("DRILL is done: the backup restores, and holds what was backed up");
            Ok(())
        }
        Verdict::Ok => Ok(()),
        Verdict::Failed => Err(report::of_verdict(report)),
    }
}
