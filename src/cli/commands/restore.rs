//! `restore_from_kafka`, and `resume` and `abandon` of a restore: from checked settings to a run of
//! the engine and its account. Owns the order (an unfinished run first) and what is printed at the
//! end.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::backup::{remember_brokers, remembered_connection, still_resumable};
use super::{Stop, listen, restored};
use crate::cli::args::{OnUnfinished, Output};
use crate::cli::connect::Connection;
use crate::cli::console::{note, say};
use crate::cli::exit_code::{ExitCode, Failure};
use crate::cli::progress::{Progress, now};
use crate::cli::report;
use crate::cli::restore_console::RestoreConsole;
use crate::cli::restore_settings::RestoreSettings;
use crate::cli::resume::Contradiction;
use crate::cli::settings::{ResumeSettings, Ways};
use crate::cli::stores::{self, Stage, Status, Store};
use crate::cli::wiring::{self, Addresses, RestoreWorld};
use crate::journal::RestoreShape;
use crate::journal::sled_store::{Kind, SledJournal, restore_path};
use crate::model::{Owner, RunId};
use crate::restore::{self, Dates, Restore, Settings, Summary, Unwatched, Wanted, Watch};

/// How long write operations that a dead client left behind are waited for.
const PATIENCE: Duration = Duration::from_secs(600);

/// Everything one execution needs.
#[derive(Clone)]
pub(super) struct Job {
    /// Node and target.
    pub connection: Connection,
    /// The backup topic.
    pub topic: String,
    /// What shapes a fresh run.
    pub shape: RestoreShape,
    /// Which deltas a fresh run restores.
    pub wanted: Wanted,
    /// What a fresh run does with dates.
    pub dates: Dates,
    /// Changes not to be replayed.
    pub skip: BTreeSet<u64>,
    /// Attempts to go on without progress between them.
    pub retries: u32,
    /// Form of what is printed.
    pub output: Output,
    /// The worlds.
    pub world: RestoreWorld,
    /// Where the brokers are.
    pub addresses: Addresses,
    /// The journal.
    pub path: PathBuf,
}

impl Job {
    /// A job for these settings; its journal lies below `dir`.
    ///
    /// # Errors
    /// Those of the worlds.
    pub async fn new(dir: &Path, output: Output, asked: &RestoreSettings) -> Result<Self, Failure> {
        let RestoreSettings { connection, topic, ways, .. } = asked.clone();
        let (world, addresses) = wiring::restore(&connection, &topic, &ways).await?;
        let target = (connection.node.as_str(), connection.datamart.as_str());
        let path = restore_path(dir, &addresses.cluster, &topic, target);
        Ok(Self {
            connection,
            topic,
            shape: asked.shape.clone(),
            wanted: asked.wanted.clone(),
            dates: asked.dates,
            skip: asked.skip.clone(),
            retries: ways.kafka_retries,
            output,
            world,
            addresses,
            path,
        })
    }

    fn settings(&self) -> Settings {
        let day = jiff::Zoned::now().day() as u8;
        Settings {
            topic: self.topic.clone(),
            owner: Owner {
                run: RunId(Uuid::new_v4()),
                day,
                started: jiff::Timestamp::now().strftime("%Y%m%dt%H%Mz").to_string(),
            },
            shape: self.shape.clone(),
            wanted: self.wanted.clone(),
            dates: self.dates,
            skip: self.skip.clone(),
            retries: self.retries,
            pause: Duration::from_secs(2),
            patience: PATIENCE,
            keep_marker: false,
            nonce: Arc::new(|| Uuid::new_v4().as_u64_pair().0),
        }
    }

    /// The engine over the job's journal.
    ///
    /// # Errors
    /// Those of the journal.
    pub fn open(
        &self,
        stop: &Stop,
        watch: Arc<dyn Watch>,
    ) -> Result<Restore<RestoreWorld>, Failure> {
        let journal = SledJournal::open(&self.path)?;
        let (world, settings) = (self.world.clone(), self.settings());
        Ok(Restore::open(world, journal, settings, watch, stop.0.clone())?)
    }
}

/// `restore_from_kafka`: an unfinished restore of this topic into this datamart first, then a fresh
/// one.
pub async fn restore(dir: &Path, output: Output, asked: RestoreSettings) -> Result<(), Failure> {
    let stop = listen()?;
    let job = Job::new(dir, output, &asked).await?;
    if asked.dry_run {
        return dry_run(&job, &stop).await;
    }
    if let Some(summary) = finish_unfinished(&job, asked.on_unfinished, &stop).await? {
        restored::account(&job, &summary);
        return Ok(());
    }
    let summary = execute(&job, &stop, console(&job)).await?;
    restored::account(&job, &summary);
    Ok(())
}

/// Sees to an unfinished restore; its summary where it was finished. A fresh one would find the
/// target filled.
async fn finish_unfinished(
    job: &Job,
    how: OnUnfinished,
    stop: &Stop,
) -> Result<Option<Summary>, Failure> {
    let Some((run, shape)) = job.open(stop, Arc::new(Unwatched))?.unfinished() else {
        return Ok(None);
    };
    match how {
        OnUnfinished::Resume => {
            tracing::info!("run {run} is unfinished: it is finished first");
            refuse_contradiction(contradiction(&job.shape, &shape))?;
            execute(job, stop, console(job)).await.map(Some)
        }
        OnUnfinished::Abandon => {
            give_up(job, stop).await?;
            Ok(None)
        }
        OnUnfinished::Fail => Err(Failure {
            code: ExitCode::Refused,
            message: format!("run {run} of this topic into this datamart is unfinished"),
            next: format!("deltakeep resume {run}"),
        }),
    }
}

/// `resume` of a restore: the journal says what is left and what shapes it.
pub async fn resume(store: Store, output: Output, asked: ResumeSettings) -> Result<(), Failure> {
    let stop = listen()?;
    let (again, dry_run) = (asked.again.clone(), asked.dry_run);
    let mut job = found(store, output, asked).await?;
    let (_, shape) = require_unfinished(&job, &stop).map_err(still_resumable)?;
    refuse_contradiction(again.contradicts_restore(&job.topic, &shape))?;
    if dry_run {
        return restored::left(&job.path, output);
    }
    job.shape.source = shape.source;
    let summary = execute(&job, &stop, console(&job)).await?;
    restored::account(&job, &summary);
    Ok(())
}

/// `abandon` of a restore: closed deltas stay.
pub async fn abandon(store: Store, output: Output, asked: ResumeSettings) -> Result<(), Failure> {
    let stop = listen()?;
    let job = found(store, output, asked).await?;
    require_unfinished(&job, &stop)?;
    let run = give_up(&job, &stop).await?;
    say(&match output {
        Output::Json => serde_json::json!({ "abandoned": run }).to_string(),
        Output::Text => format!("Run {run} is given up; the deltas that it closed stay"),
    });
    Ok(())
}

fn require_unfinished(job: &Job, stop: &Stop) -> Result<(RunId, RestoreShape), Failure> {
    let unfinished = job.open(stop, Arc::new(Unwatched))?.unfinished();
    unfinished.ok_or_else(|| super::not_unfinished(&job.path))
}

fn refuse_contradiction(found: Option<Contradiction>) -> Result<(), Failure> {
    let Some(Contradiction { keyword, then, now }) = found else { return Ok(()) };
    Err(Failure {
        code: ExitCode::Usage,
        message: format!("{keyword} is {now}, but the restore was started with {then}"),
        next: format!("deltakeep resume without {keyword}; or deltakeep abandon"),
    })
}

/// What a second `restore_from_kafka` asks for otherwise than the first one did.
fn contradiction(now: &RestoreShape, then: &RestoreShape) -> Option<Contradiction> {
    let differs = |keyword, then: &str, now: &str| {
        let (then, now) = (then.to_owned(), now.to_owned());
        (then != now).then_some(Contradiction { keyword, then, now })
    };
    differs("--sourceDatamart", &then.source, &now.source).or_else(|| {
        let text = |datasource: &Option<String>| datasource.clone().unwrap_or("none".to_owned());
        differs("--datasourceType", &text(&then.datasource), &text(&now.datasource))
    })
}

/// The job of a restore found by its status file: what is not given again comes from there.
async fn found(store: Store, output: Output, asked: ResumeSettings) -> Result<Job, Failure> {
    let Store { path, status } = store;
    let connection = match asked.connection {
        Some(connection) => connection,
        None => remembered_connection(&status, asked.token)?,
    };
    let mut ways: Ways = asked.means.ways;
    remember_brokers(&mut ways, &status);
    let topic = status.topic.clone();
    let built = wiring::restore(&connection, &topic, &ways).await;
    let (world, addresses) = built.map_err(|error| still_resumable(error.into()))?;
    let target = connection.datamart.to_string();
    let shape = RestoreShape {
        source: status.source.unwrap_or_else(|| target.clone()),
        target,
        threads: 1,
        partitions: 1,
        message_limit: None,
        datasource: None,
        accept_differences: asked.lenient.accept_differences,
    };
    let (wanted, dates) = (Wanted::default(), Dates::Keep);
    let skip = asked.lenient.skip_change.into_iter().collect();
    let retries = ways.kafka_retries;
    Ok(Job {
        connection,
        topic,
        shape,
        wanted,
        dates,
        skip,
        retries,
        output,
        world,
        addresses,
        path,
    })
}

/// Tells several watchers.
pub(super) struct Several(pub Vec<Arc<dyn Watch>>);

impl Watch for Several {
    fn tell(&self, event: restore::Event) {
        self.0.iter().for_each(|watch| watch.tell(event.clone()));
    }
}

/// The console; silent in JSON mode.
fn console(job: &Job) -> Arc<dyn Watch> {
    if job.output == Output::Json {
        return Arc::new(Unwatched);
    }
    Arc::new(RestoreConsole { topic: job.topic.clone(), node: job.connection.node.clone() })
}

/// One execution of the engine, from wherever the journal stands.
///
/// # Errors
/// Why it ended before its end; the status says so, too.
pub(super) async fn execute(
    job: &Job,
    stop: &Stop,
    watch: Arc<dyn Watch>,
) -> Result<Summary, Failure> {
    let progress = Arc::new(Progress::new(job.path.clone(), first_status(job), job.output));
    let watch = Several(vec![watch, progress.clone()]);
    let engine = job.open(stop, Arc::new(watch))?;
    if job.output == Output::Text {
        note(&format!("journal {}", job.path.display()));
    }
    let done = tokio::select! {
        done = engine.execute() => done,
        never = progress.clone().tick() => match never {},
    };
    progress.finish();
    let mut status = Status { updated: now(), ..progress.status() };
    match done {
        Ok(summary) => {
            status.stage = Stage::Done;
            status.history.last_success = Some(now());
            stores::note(&job.path, &status);
            Ok(summary)
        }
        Err(error) => {
            let failure = report::of_restore(&error, stop.1.first());
            status.stage = if error.touched { Stage::Stopped } else { Stage::Done };
            status.failure = Some(failure.message.clone());
            if error.touched || !status.run.is_empty() {
                // The failure itself matters more than one of telling it.
                let _ = stores::write(&job.path, &status);
            }
            Err(failure)
        }
    }
}

fn first_status(job: &Job) -> Status {
    let before = stores::read(&job.path).ok().flatten().map(|store| store.status);
    let known = before.filter(|status| status.stage != Stage::Done);
    let mut history = known.as_ref().map(|status| status.history.clone()).unwrap_or_default();
    history.lock_held = false;
    let (deltas, deltas_done) = known.as_ref().map_or((0, 0), |s| (s.deltas, s.deltas_done));
    Status {
        pid: std::process::id(),
        kind: Kind::Restore,
        source_node: None,
        run: known.as_ref().map(|s| s.run.clone()).unwrap_or_default(),
        stage: Stage::Running,
        datamart: job.connection.datamart.to_string(),
        source: Some(job.shape.source.clone()),
        topic: job.topic.clone(),
        node: job.connection.node.clone(),
        kafka_brokers: job.addresses.backup.clone(),
        kafka_brokers_core: job.addresses.core.clone(),
        delivery: "idempotent".to_owned(),
        unload_stall_seconds: 0,
        code: String::new(),
        started: known.map_or_else(now, |s| s.started),
        updated: now(),
        deltas,
        deltas_done,
        rows: 0,
        bytes: 0,
        history,
        failure: None,
    }
}

/// Gives the unfinished restore up; its id.
async fn give_up(job: &Job, stop: &Stop) -> Result<String, Failure> {
    let engine = job.open(stop, console(job))?;
    let run = engine.unfinished().map(|(run, _)| run.to_string()).unwrap_or_default();
    engine.abandon().await.map_err(|error| Failure {
        next: format!("deltakeep abandon {run}, once what it names is there again"),
        ..report::of_restore(&error, stop.1.first())
    })?;
    let mut status = Status { stage: Stage::Done, run: run.clone(), ..first_status(job) };
    status.failure = Some("given up".to_owned());
    stores::note(&job.path, &status);
    tracing::info!("run {run} is given up");
    Ok(run)
}

/// Works in a journal of its own, which is thrown away: the real one is not even opened.
async fn dry_run(job: &Job, stop: &Stop) -> Result<(), Failure> {
    let folder = std::env::temp_dir().join(format!("deltakeep-{}", Uuid::new_v4().simple()));
    let throw_away = Job { path: folder.join("dry-run"), ..job.clone() };
    let drafted = match throw_away.open(stop, Arc::new(Unwatched)) {
        Ok(engine) => Ok(engine.draft().await),
        Err(failure) => Err(failure),
    };
    // What stays behind wastes a little space and harms nothing.
    let _ = std::fs::remove_dir_all(&folder);
    let draft = drafted?.map_err(|error| report::of_restore(&error, stop.1.first()))?;
    restored::draft(job, &draft);
    Ok(())
}
