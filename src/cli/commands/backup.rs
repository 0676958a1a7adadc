//! `backup_to_kafka`, `resume` and `abandon`: from checked settings to a run of the engine and its
//! account. Owns the order (unfinished runs first) and what is printed at the end.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use crate::backup::{self, Backup, Draft, Estimate, Event, RunError, Summary, Watch};
use crate::catalog::cache::CacheFile;
use crate::cli::args::{Delivery, OnUnfinished, Output};
use crate::cli::commands::{Stop, draft, listen};
use crate::cli::connect::Connection;
use crate::cli::console::{Console, note, say};
use crate::cli::exit_code::{ExitCode, Failure};
use crate::cli::kafka_options::Brokers;
use crate::cli::progress::{Progress, now};
use crate::cli::report;
use crate::cli::resume::Again;
use crate::cli::settings::{
    BackupBrokers, BackupSettings, CoreBrokers, Means, ResumeSettings, Ways,
};
use crate::cli::stores::{self, History, Stage, Status, Store};
use crate::cli::wiring::{self, Addresses, RealWorld};
use crate::extract::prostore::Secret;
use crate::journal::Shape;
use crate::journal::sled_store::{Kind, SledJournal, store_path};
use crate::model::{Datamart, LockCode, Owner, RunId};

/// Everything one execution needs.
#[derive(Clone)]
struct Job {
    connection: Connection,
    topic: String,
    shape: Shape,
    means: Means,
    output: Output,
    world: RealWorld,
    addresses: Addresses,
    path: PathBuf,
    catalog: CacheFile,
}

impl Job {
    /// The same with another way of delivery.
    async fn delivering(&self, delivery: Delivery) -> Result<Self, Failure> {
        let mut job = self.clone();
        if delivery != self.means.delivery {
            job.means.delivery = delivery;
            (job.world, _) = wiring::build(&job.connection, &job.topic, &job.means).await?;
        }
        Ok(job)
    }
}

/// `backup_to_kafka`: an unfinished run of this datamart and topic first, then a fresh one.
pub async fn backup(dir: &Path, output: Output, asked: BackupSettings) -> Result<(), Failure> {
    back_up(dir, output, asked, (&listen()?, true)).await
}

/// The same, stopped by its caller's signals; without an account where there is another document.
pub(super) async fn back_up(
    dir: &Path,
    output: Output,
    asked: BackupSettings,
    (stop, tells): (&Stop, bool),
) -> Result<(), Failure> {
    let BackupSettings { connection, topic, shape, means, .. } = asked;
    let (world, addresses) = wiring::build(&connection, &topic, &means).await?;
    let datamart = connection.datamart.as_str();
    let path = store_path(dir, &addresses.cluster, &topic, datamart, Kind::Backup);
    let catalog = CacheFile::new(dir, &addresses.cluster, &topic);
    let job = Job { connection, topic, shape, means, output, world, addresses, path, catalog };
    if asked.dry_run {
        return dry_run(&job, stop).await;
    }
    let before = settle_unfinished(&job, asked.on_unfinished, stop).await?;
    let summary = execute(&job, stop).await?;
    if tells {
        account(&job, &summary, before.as_ref());
    }
    Ok(())
}

/// Sees to an unfinished run of this datamart and topic; its summary where it was finished.
async fn settle_unfinished(
    job: &Job,
    how: OnUnfinished,
    stop: &Stop,
) -> Result<Option<Summary>, Failure> {
    let Some((run, _)) = open(job, stop, watchers(job, true))?.unfinished() else {
        return Ok(None);
    };
    match how {
        OnUnfinished::Resume => {
            tracing::info!("run {run} is unfinished: it is finished first");
            let before = stores::read(&job.path)?.map(|store| delivery_of(&store.status));
            let delivery = before.unwrap_or(job.means.delivery);
            execute(&job.delivering(delivery).await?, stop).await.map(Some)
        }
        OnUnfinished::Abandon => {
            give_up(job, stop).await?;
            Ok(None)
        }
        OnUnfinished::Fail => Err(Failure {
            code: ExitCode::Refused,
            message: format!("run {run} of this datamart and topic is unfinished"),
            next: format!("deltakeep resume {run}"),
        }),
    }
}

/// `resume`: the journal says what is left and what shapes it.
pub async fn resume(
    dir: &Path,
    store: Store,
    output: Output,
    asked: ResumeSettings,
) -> Result<(), Failure> {
    let stop = listen()?;
    let again = asked.again.clone();
    let dry_run = asked.dry_run;
    let job = found(dir, store, output, asked).await?;
    let (_, shape) = require_unfinished(&job, &stop).map_err(still_resumable)?;
    refuse_contradiction(&again, &job.topic, &shape)?;
    if dry_run {
        return dry_run_of_resume(&job, output);
    }
    let summary = execute(&job, &stop).await?;
    account(&job, &summary, None);
    Ok(())
}

/// `abandon`: gives an unfinished run up.
pub async fn abandon(
    dir: &Path,
    store: Store,
    output: Output,
    asked: ResumeSettings,
) -> Result<(), Failure> {
    let stop = listen()?;
    let job = found(dir, store, output, asked).await?;
    require_unfinished(&job, &stop)?;
    let run = give_up(&job, &stop).await?;
    say(&match output {
        Output::Json => serde_json::json!({ "abandoned": run }).to_string(),
        Output::Text => {
            format!("Run {run} is given up; what it delivered stays as incomplete increments")
        }
    });
    Ok(())
}

fn require_unfinished(job: &Job, stop: &Stop) -> Result<(RunId, Shape), Failure> {
    let unfinished = open(job, stop, watchers(job, true))?.unfinished();
    unfinished.ok_or_else(|| super::not_unfinished(&job.path))
}

fn refuse_contradiction(again: &Again, topic: &str, shape: &Shape) -> Result<(), Failure> {
    let Some(found) = again.contradiction(topic, shape) else { return Ok(()) };
    let (keyword, then, now) = (found.keyword, found.then, found.now);
    Err(Failure {
        code: ExitCode::Usage,
        message: format!("{keyword} is {now}, but the run was started with {then}"),
        next: format!("deltakeep resume without {keyword}; or deltakeep abandon"),
    })
}

/// The job of a run found by its status file: what is not given again comes from there.
async fn found(
    dir: &Path,
    store: Store,
    output: Output,
    asked: ResumeSettings,
) -> Result<Job, Failure> {
    let Store { path, status } = store;
    let connection = match asked.connection {
        Some(connection) => connection,
        None => remembered_connection(&status, asked.token)?,
    };
    let mut means = asked.means;
    remember_brokers(&mut means.ways, &status);
    if !asked.delivery_given {
        means.delivery = delivery_of(&status);
    }
    if !asked.stall_given && status.unload_stall_seconds > 0 {
        means.unload_stall = Duration::from_secs(status.unload_stall_seconds);
    }
    let topic = status.topic.clone();
    let (world, addresses) =
        wiring::build(&connection, &topic, &means).await.map_err(|e| still_resumable(e.into()))?;
    let shape = Shape {
        datasource: None,
        datasource_fallback: false,
        chunk_size: 1000,
        threads: 1,
        partitions: 1,
        checksums: true,
        asked: None,
        fill_gaps: false,
    };
    let catalog = CacheFile::new(dir, &addresses.cluster, &topic);
    Ok(Job { connection, topic, shape, means, output, world, addresses, path, catalog })
}

/// What is refused at the start of a resume leaves the run as resumable as it was.
pub(super) fn still_resumable(failure: Failure) -> Failure {
    match failure.code {
        ExitCode::Refused => Failure { code: ExitCode::Stopped, ..failure },
        _ => failure,
    }
}

/// How the last execution of a run delivered: without transactions its tail has to settle.
fn delivery_of(status: &Status) -> Delivery {
    let idempotent = status.delivery == delivery_name(Delivery::Idempotent);
    if idempotent { Delivery::Idempotent } else { Delivery::Transactions }
}

fn delivery_name(delivery: Delivery) -> String {
    format!("{delivery:?}").to_lowercase()
}

pub(super) fn remembered_connection(
    status: &Status,
    token: Option<Secret>,
) -> Result<Connection, Failure> {
    let datamart = Datamart::parse(&status.datamart).map_err(|error| Failure {
        code: ExitCode::Usage,
        message: error.to_string(),
        next: "deltakeep resume with --connect HOST:PORT/DATAMART".to_owned(),
    })?;
    Ok(Connection { node: status.node.clone(), datamart, token })
}

pub(super) fn remember_brokers(ways: &mut Ways, status: &Status) {
    let list = |text: &str| Brokers::parse("--kafkaBrokers", text).ok();
    if ways.core == CoreBrokers::AskNode
        && let Some(core) = list(&status.kafka_brokers_core)
    {
        ways.core = CoreBrokers::Given(core);
    }
    if ways.backup == BackupBrokers::Core
        && status.kafka_brokers != status.kafka_brokers_core
        && let Some(backup) = list(&status.kafka_brokers)
    {
        ways.backup = BackupBrokers::Given(backup);
    }
}

fn open(job: &Job, stop: &Stop, watch: Arc<dyn Watch>) -> Result<Backup<RealWorld>, Failure> {
    let journal = SledJournal::open(&job.path)?;
    let settings = settings(job);
    let backup = Backup::open(job.world.clone(), journal, settings, watch, stop.0.clone())?;
    Ok(backup.remembering(job.catalog.clone()))
}

fn settings(job: &Job) -> backup::Settings {
    let day = jiff::Zoned::now().day() as u8;
    let datamart = job.connection.datamart.clone();
    backup::Settings {
        code: LockCode::new(&datamart, day),
        datamart,
        topic: job.topic.clone(),
        owner: Owner {
            run: RunId(Uuid::new_v4()),
            day,
            started: jiff::Timestamp::now().strftime("%Y%m%dt%H%Mz").to_string(),
        },
        shape: job.shape.clone(),
        retries: job.means.ways.kafka_retries,
        accept_retention: job.means.accept_retention,
        tool: env!("CARGO_PKG_VERSION").to_owned(),
        commit_every: Duration::from_secs(1),
        commit_bytes: 64 << 20,
        pause: Duration::from_secs(2),
        nonce: Arc::new(|| Uuid::new_v4().as_u64_pair().0),
    }
}

/// Tells several watchers.
struct Several(Vec<Arc<dyn Watch>>);

impl Watch for Several {
    fn tell(&self, event: Event) {
        self.0.iter().for_each(|watch| watch.tell(event.clone()));
    }
}

/// The console; silent in JSON mode and where only the journal is looked at.
fn watchers(job: &Job, silent: bool) -> Arc<dyn Watch> {
    if silent || job.output == Output::Json {
        return Arc::new(backup::Unwatched);
    }
    Arc::new(Console {
        datamart: job.connection.datamart.to_string(),
        topic: job.topic.clone(),
        node: job.connection.node.clone(),
    })
}

/// One execution of the engine, from wherever the journal stands.
async fn execute(job: &Job, stop: &Stop) -> Result<Summary, Failure> {
    let progress = Arc::new(Progress::new(job.path.clone(), first_status(job), job.output));
    let watch = Several(vec![watchers(job, false), progress.clone()]);
    let backup = open(job, stop, Arc::new(watch))?;
    if job.output == Output::Text {
        note(&format!("journal {}", job.path.display()));
    }
    let all_new = backup.unfinished().map_or(job.shape.asked, |(_, shape)| shape.asked).is_none();
    let done = tokio::select! {
        done = backup.execute() => done,
        never = progress.clone().tick() => match never {},
    };
    progress.finish();
    let mut status = Status { updated: now(), ..progress.status() };
    match done {
        Ok(summary) => {
            status.stage = Stage::Done;
            // Named deltas alone do not bring a backup up to date.
            if all_new {
                status.history.last_success = Some(now());
            }
            if summary.run.is_none() {
                status = nothing_new(job, status);
            }
            stores::note(&job.path, &status);
            Ok(summary)
        }
        Err(error) => {
            let failure = report::of_run(&error, stop.1.first());
            status.stage = if error.touched { Stage::Stopped } else { Stage::Done };
            status.failure = Some(failure.message.clone());
            // A run that was refused under its lock is forgotten, but its status stands there.
            if error.touched || !status.run.is_empty() {
                // The failure itself matters more than one of telling it.
                let _ = stores::write(&job.path, &status);
            }
            Err(failure)
        }
    }
}

/// Nothing was new: the last run stays what is told of, where there was one.
fn nothing_new(job: &Job, status: Status) -> Status {
    let before = stores::read(&job.path).ok().flatten().map(|store| store.status);
    let before = before.filter(|before| !before.run.is_empty());
    before.map(|before| Status { history: status.history.clone(), ..before }).unwrap_or(status)
}

fn first_status(job: &Job) -> Status {
    let before = stores::read(&job.path).ok().flatten().map(|store| store.status);
    let history = before.as_ref().map(|status| status.history.clone()).unwrap_or_default();
    let known = before.filter(|status| status.stage != Stage::Done);
    let known_resumes = known.is_some();
    // A resume that fails before it reads the plan leaves as many deltas behind as there were.
    let (deltas, deltas_done) = known.as_ref().map_or((0, 0), |s| (s.deltas, s.deltas_done));
    Status {
        pid: std::process::id(),
        kind: Kind::Backup,
        source_node: None,
        source: None,
        run: known.as_ref().map(|s| s.run.clone()).unwrap_or_default(),
        stage: Stage::Running,
        datamart: job.connection.datamart.to_string(),
        topic: job.topic.clone(),
        node: job.connection.node.clone(),
        kafka_brokers: job.addresses.backup.clone(),
        kafka_brokers_core: job.addresses.core.clone(),
        delivery: delivery_name(job.means.delivery),
        unload_stall_seconds: job.means.unload_stall.as_secs(),
        code: known.as_ref().map(|s| s.code.clone()).unwrap_or_default(),
        started: known.map_or_else(now, |s| s.started),
        updated: now(),
        deltas,
        deltas_done,
        rows: 0,
        bytes: 0,
        history: History { resumes: if known_resumes { history.resumes } else { 0 }, ..history },
        failure: None,
    }
}

/// Gives the unfinished run up; its id.
async fn give_up(job: &Job, stop: &Stop) -> Result<String, Failure> {
    let backup = open(job, stop, watchers(job, false))?;
    let run = backup.unfinished().map(|(run, _)| run.to_string()).unwrap_or_default();
    backup.abandon().await.map_err(|error| Failure {
        next: format!("deltakeep abandon {run}, once what it names is there again"),
        ..report::of_run(&error, stop.1.first())
    })?;
    let mut status = Status { stage: Stage::Done, run: run.clone(), ..first_status(job) };
    status.history.lock_held = false;
    status.failure = Some("given up".to_owned());
    stores::note(&job.path, &status);
    tracing::info!("run {run} is given up");
    Ok(run)
}

/// The last lines of a run that came to its end.
fn account(job: &Job, summary: &Summary, before: Option<&Summary>) {
    if job.output == Output::Json {
        let mut document = summary.to_json(&settings(job));
        if let Some(before) = before {
            document["finishedFirst"] = before.to_json(&settings(job));
        }
        return say(&document.to_string());
    }
    if summary.run.is_none() {
        say(&format!(
            "Nothing to back up: topic {} already holds the newest closed delta of datamart {}",
            job.topic, job.connection.datamart
        ));
    }
    for topic in &summary.quarantined {
        tracing::warn!("topic {topic} was left behind: a connector still writes to it");
    }
    for (delta, table) in &summary.in_halves {
        tracing::warn!("delta {delta}, table {table}: in two halves, although keys may repeat");
    }
    say("BACKUP is done");
}

/// Works in a journal of its own, which is thrown away: the real one is not even opened.
async fn dry_run(job: &Job, stop: &Stop) -> Result<(), Failure> {
    let folder = std::env::temp_dir().join(format!("deltakeep-{}", Uuid::new_v4().simple()));
    let catalog = job.catalog.clone().only_read();
    let throw_away = Job { path: folder.join("dry-run"), catalog, ..job.clone() };
    let drafted = match open(&throw_away, stop, watchers(job, true)) {
        Ok(backup) => Ok(estimated(&backup).await),
        Err(failure) => Err(failure),
    };
    let _ = std::fs::remove_dir_all(&folder);
    let drafted = drafted?;
    let (draft, estimate) = drafted.map_err(|error| report::of_run(&error, stop.1.first()))?;
    let (topic, datamart) = (job.topic.as_str(), job.connection.datamart.as_str());
    say(&match job.output {
        Output::Json => draft::json(topic, datamart, &draft, &estimate),
        Output::Text => draft::text(topic, &draft, &estimate),
    });
    Ok(())
}

async fn estimated(backup: &Backup<RealWorld>) -> Result<(Draft, Estimate), RunError> {
    let draft = backup.draft().await?;
    let estimate = backup.estimate(&draft, backup::MOST_QUESTIONS).await?;
    Ok((draft, estimate))
}

/// What a fresh run would do, worked out beside a journal that is thrown away.
pub(super) async fn draft_aside(
    dir: &Path,
    asked: &BackupSettings,
    world: RealWorld,
    addresses: Addresses,
) -> Result<Draft, Failure> {
    let stop = listen()?;
    let folder = std::env::temp_dir().join(format!("deltakeep-check-{}", Uuid::new_v4()));
    let catalog = CacheFile::new(dir, &addresses.cluster, &asked.topic).only_read();
    let job = Job {
        connection: asked.connection.clone(),
        topic: asked.topic.clone(),
        shape: asked.shape.clone(),
        means: asked.means.clone(),
        output: Output::Json,
        world,
        addresses,
        path: folder.join("journal"),
        catalog,
    };
    let drafted = match open(&job, &stop, watchers(&job, true)) {
        Ok(backup) => backup.draft().await.map_err(|e| report::of_run(&e, stop.1.first())),
        Err(failure) => Err(failure),
    };
    // What stays behind wastes a little space and harms nothing.
    let _ = std::fs::remove_dir_all(&folder);
    drafted
}

fn dry_run_of_resume(job: &Job, output: Output) -> Result<(), Failure> {
    let status = stores::read(&job.path)?.map(|store| store.status);
    let (done, of) = status.map_or((0, 0), |status| (status.deltas_done, status.deltas));
    say(&match output {
        Output::Json => {
            serde_json::json!({ "dryRun": true, "deltas": of, "deltasDone": done }).to_string()
        }
        Output::Text => {
            format!("{done} of {of} deltas are complete; the rest would be delivered")
        }
    });
    Ok(())
}
