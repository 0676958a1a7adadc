//! The end of the story: the backup is restored into a scratch datamart, compared and dropped
//! again, and the drill's page tells how it went. Owns what is said of it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use uuid::Uuid;

use super::{DemoError, TOPIC, datamart};
use crate::cli::drill_files::Files;
use crate::cli::wiring::{assemble_drill, assemble_restore};
use crate::drill::report::Verdict;
use crate::drill::{Drill, Event, Report, Settings, Watch};
use crate::extract::prostore::{ProstoreNode, Timeouts};
use crate::journal::sled_store::{SledJournal, drill_path};
use crate::journal::{DrillShape, Place, RestoreShape};
use crate::kafka::{Brokers, TopicAdmin};
use crate::model::{Datamart, Moment, Owner, RunId};
use crate::restore;

/// Name of the scratch.
pub const SCRATCH: &str = "shop_drill";

/// Where things are.
pub struct Scene<'a> {
    /// host:port of the sandbox node.
    pub node: String,
    /// The in-process broker.
    pub brokers: Brokers,
    /// Its administration.
    pub admin: Arc<dyn TopicAdmin>,
    /// The journals.
    pub folder: &'a Path,
    /// The reports.
    pub reports: PathBuf,
}

/// Keeps the lines until the drill is over: what is said goes through a borrowed function.
#[derive(Default)]
struct Lines(std::sync::Mutex<Vec<String>>);

impl Watch for Lines {
    fn tell(&self, event: Event) {
        let line = match event {
            Event::ScratchReady(place) => format!("scratch datamart {} is created", place.datamart),
            Event::Restore(restore::Event::DeltaRestored { delta, .. }) => {
                format!("delta {delta} is back")
            }
            Event::Compared { delta, pairs, wrong } => {
                format!(
                    "delta {delta} compared with backup and source: {pairs} tables, {wrong} wrong"
                )
            }
            Event::ScratchDropped(place) => {
                format!("scratch datamart {} is dropped", place.datamart)
            }
            _ => return,
        };
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(line);
    }
}

/// Drills the demo's backup.
///
/// # Errors
/// [`DemoError`], also where the verdict is a bad one.
pub async fn drill(
    scene: Scene<'_>,
    say: &(dyn Fn(&str) + Send + Sync),
) -> Result<Report, DemoError> {
    let client = |name: &str| -> Result<ProstoreNode, DemoError> {
        let name = Datamart::parse(name).map_err(|e| DemoError::Datamart(e.to_string()))?;
        Ok(ProstoreNode::new(scene.node.clone(), name, None, Timeouts::default())?)
    };
    let (source, scratch) = (client(datamart::NAME)?, client(SCRATCH)?);
    let world = assemble_restore(scratch, scene.brokers.clone(), scene.admin.clone(), TOPIC);
    let journal = drill_path(scene.folder, "demo", TOPIC, (&scene.node, SCRATCH));
    let journal = SledJournal::open(&journal)?;
    let lines = Arc::new(Lines::default());
    let told = (lines.clone() as _, Arc::new(Files(Some(scene.reports.clone()))) as _);
    let (_never, stop) = watch::channel(false);
    let drill = Drill::open(assemble_drill(world, source), journal, settings(&scene), told, stop)?;
    let report = drill.execute().await.map_err(Box::new)?;
    let lines = lines.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
    lines.iter().for_each(|line| say(&format!("     {line}")));
    if report.verdict != Verdict::Ok {
        return Err(DemoError::Wrong(format!("the drill failed: {:?}", report.failures)));
    }
    Ok(report)
}

fn settings(scene: &Scene<'_>) -> Settings {
    let place = |name: &str| Place { node: scene.node.clone(), datamart: name.to_owned() };
    Settings {
        topic: TOPIC.to_owned(),
        owner: Owner { run: RunId(Uuid::new_v4()), day: 1, started: "demo".to_owned() },
        shape: DrillShape {
            source: place(datamart::NAME),
            scratch: place(SCRATCH),
            keep: false,
            report: None,
            restore: RestoreShape {
                source: datamart::NAME.to_owned(),
                target: SCRATCH.to_owned(),
                threads: 2,
                partitions: 1,
                message_limit: None,
                datasource: None,
                accept_differences: true,
            },
        },
        known: BTreeSet::new(),
        retries: 3,
        pause: Duration::from_millis(200),
        patience: Duration::from_secs(30),
        tool: env!("CARGO_PKG_VERSION").to_owned(),
        nonce: Arc::new(|| Uuid::new_v4().as_u64_pair().0),
        now: Arc::new(|| Moment(jiff::Timestamp::now().as_microsecond())),
    }
}
