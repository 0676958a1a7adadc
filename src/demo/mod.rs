//! The demo: the main job without any server. A sandbox node, an in-process broker, a sample
//! datamart, a backup that is killed half way, its resume, an account of what the topic holds, and a
//! drill of it.
//! Owns the story; the engine it shows is the real one.

mod account;
mod datamart;
mod drill;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use uuid::Uuid;

use crate::backup::{Backup, Event, RunError, Settings, Unwatched, Watch, World};
use crate::catalog::TopicReader;
use crate::cli::wiring::{RealWorld, assemble};
use crate::extract::prostore::{ProstoreNode, Timeouts};
use crate::extract::{Node, Source, SourceError};
use crate::journal::sled_store::{Kind, SledJournal, store_path};
use crate::journal::{JournalError, Shape};
use crate::kafka::mock::MockAdmin;
use crate::kafka::{Brokers, Failure, TopicAdmin};
use crate::model::{Datamart, LockCode, Owner, RunId};
use crate::sandbox::{self, Sandbox, SandboxError};

/// The backup topic of the demo.
const TOPIC: &str = "demo_backup";
/// The run is killed when it hands over this message.
const KILLED_AT: u32 = 14;

/// Why the demo cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// The in-process broker.
    #[error("the in-process broker: {0}")]
    Broker(#[from] Failure),
    /// The sandbox node.
    #[error("the sandbox node: {0}")]
    Sandbox(#[from] SandboxError),
    /// A statement of the sample datamart.
    #[error("the sample datamart: {0}")]
    Datamart(String),
    /// The client of the node.
    #[error(transparent)]
    Node(#[from] SourceError),
    /// The journal.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The run.
    #[error(transparent)]
    Run(#[from] Box<RunError>),
    /// The drill.
    #[error(transparent)]
    Drill(#[from] Box<crate::drill::RunError>),
    /// The topic cannot be read back.
    #[error(transparent)]
    Topic(#[from] crate::catalog::CatalogError),
    /// A folder for the journal.
    #[error("no folder for the journal: {0}")]
    Folder(#[from] std::io::Error),
    /// The account shows that a promise is broken.
    #[error("the account is wrong: {0}")]
    Wrong(String),
}

/// Tells the story; `say` gets each line.
///
/// # Errors
/// [`DemoError`], also where the account finds a promise broken.
pub async fn tell(say: &(dyn Fn(&str) + Send + Sync)) -> Result<(), DemoError> {
    let folder = std::env::temp_dir().join(format!("deltakeep-demo-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let told = story(&folder, say).await;
    std::fs::remove_dir_all(&folder)?;
    told
}

async fn story(folder: &Path, say: &(dyn Fn(&str) + Send + Sync)) -> Result<(), DemoError> {
    let broker = MockAdmin::start()?;
    let options =
        sandbox::Options { kafka: broker.brokers().list().to_owned(), ..Default::default() };
    let node = Sandbox::start(options).await?;
    say("1. A sandbox node and an in-process broker are up; no server was needed.");
    let deltas = datamart::fill(&node).await?;
    say(&format!("2. Datamart {} has {deltas} closed deltas:", datamart::NAME));
    datamart::STORY.iter().for_each(|line| say(&format!("     {line}")));

    let world = world(&node, broker.brokers().clone(), broker.clone())?;
    let journal = store_path(folder, "demo", TOPIC, datamart::NAME, Kind::Backup);
    say("3. deltakeep backup_to_kafka starts, and is killed while it hands over a chunk:");
    kill_half_way(&world, &journal).await?;
    account::of_the_dead(&world, say).await?;

    say("4. deltakeep resume goes on from the journal:");
    let (_, never) = watch::channel(false);
    let backup = open(&world, &journal, Arc::new(Unwatched), never)?;
    let summary = backup.execute().await.map_err(Box::new)?;
    let (chunks, rows) = (summary.chunks, summary.rows);
    say(&format!("     delivered the missing {chunks} messages with {rows} rows"));
    drop(backup);

    say("5. What the topic holds now, read as any consumer would:");
    account::of_the_topic(&world, deltas, say).await?;

    let into = drill::SCRATCH;
    say(&format!("6. deltakeep drill restores it from the topic alone, into datamart {into}:"));
    let scene = drill::Scene {
        node: node.address().to_string(),
        brokers: broker.brokers().clone(),
        admin: broker.clone(),
        folder,
        reports: reports(),
    };
    let report = drill::drill(scene, say).await?;
    let recovery = &report.recovery;
    let (rows, seconds) = (recovery.rows, recovery.seconds);
    say(&format!("     {rows} rows in {seconds:.1} s; the backup restores, and nothing differs."));
    say(&format!("     The page of the drill: {}", reports().join("drill.html").display()));
    node.stop().await;
    Ok(())
}

/// Where the drill's reports stay after the demo.
fn reports() -> PathBuf {
    std::env::temp_dir().join("deltakeep-demo-report")
}

fn world(
    node: &Sandbox,
    brokers: Brokers,
    admin: Arc<dyn TopicAdmin>,
) -> Result<RealWorld, DemoError> {
    let name = Datamart::parse(datamart::NAME).map_err(|e| DemoError::Datamart(e.to_string()))?;
    let address = node.address().to_string();
    let client = ProstoreNode::new(address, name, None, Timeouts::default())?;
    Ok(assemble(client, brokers, admin, TOPIC, Duration::from_secs(30)))
}

fn open(
    world: &RealWorld,
    journal: &Path,
    watch: Arc<dyn Watch>,
    stop: watch::Receiver<bool>,
) -> Result<Backup<RealWorld>, DemoError> {
    let journal = SledJournal::open(journal)?;
    let name = Datamart::parse(datamart::NAME).map_err(|e| DemoError::Datamart(e.to_string()))?;
    Ok(Backup::open(world.clone(), journal, settings(name), watch, stop)?)
}

fn settings(datamart: Datamart) -> Settings {
    let day = jiff::Zoned::now().day() as u8;
    Settings {
        code: LockCode::new(&datamart, day),
        datamart,
        topic: TOPIC.to_owned(),
        owner: Owner { run: RunId(Uuid::new_v4()), day, started: "demo".to_owned() },
        shape: Shape {
            datasource: None,
            datasource_fallback: false,
            chunk_size: 50,
            threads: 2,
            partitions: 3,
            checksums: true,
            asked: None,
            fill_gaps: false,
        },
        retries: 3,
        accept_retention: true,
        tool: env!("CARGO_PKG_VERSION").to_owned(),
        // A transaction for nearly every message, so that the kill falls between them.
        commit_every: Duration::from_millis(5),
        commit_bytes: 4 << 10,
        pause: Duration::from_millis(200),
        nonce: Arc::new(|| Uuid::new_v4().as_u64_pair().0),
    }
}

/// Rings when the run hands over a certain message.
struct Bell {
    sent: AtomicU32,
    ring: Notify,
}

impl Watch for Bell {
    fn tell(&self, event: Event) {
        if matches!(event, Event::Sending { .. })
            && self.sent.fetch_add(1, Ordering::SeqCst) + 1 == KILLED_AT
        {
            self.ring.notify_one();
        }
    }
}

/// Drops the engine at a message, as a kill would: no release, no clean-up, no last record.
async fn kill_half_way(world: &RealWorld, journal: &Path) -> Result<(), DemoError> {
    let bell = Arc::new(Bell { sent: AtomicU32::new(0), ring: Notify::new() });
    let (_, never) = watch::channel(false);
    let backup = open(world, journal, bell.clone(), never)?;
    tokio::select! {
        biased;
        () = bell.ring.notified() => Ok(()),
        done = backup.execute() => {
            done.map_err(Box::new)?;
            Err(DemoError::Wrong("the run ended before it could be killed".to_owned()))
        }
    }
}

/// What is left on the node and the brokers: the lock's owner and the topics of the run.
async fn leavings(world: &RealWorld) -> Result<(Option<Owner>, usize), DemoError> {
    let owner = match world.node().marker().await? {
        crate::extract::Marker::Of(owner) => Some(owner),
        _ => None,
    };
    let left = match &owner {
        Some(owner) => world.source().leftovers(owner.run).await?.len(),
        None => 0,
    };
    Ok((owner, left))
}

/// Reads every message of the backup topic.
async fn read_topic(
    world: &RealWorld,
    each: &mut (dyn FnMut(crate::catalog::Seen<'_>) + Send),
) -> Result<(), DemoError> {
    let Some(state) = world.topic().state().await? else { return Ok(()) };
    let from: Vec<_> = state.ranges.iter().map(|(low, _)| *low).collect();
    world.topic().scan(&from, each).await?;
    Ok(())
}
