//! `worker`: tasks of a queue until a signal comes. Owns the order in which the parts start and end,
//! and the choice of the store; what is done with a task is decided in [`crate::queue`].

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::listen;
use crate::cli::console::note;
use crate::cli::exit_code::{ExitCode, Failure};
use crate::cli::queue_commands::OWN;
use crate::cli::queue_options::WorkerSettings;
use crate::cli::signals::ENDS_WITH_STDIN;
use crate::cli::{report, served, wiring};
use crate::clickhouse::server::ClickhouseServer;
use crate::clickhouse::{BackupManager, Server as _};
use crate::journal::sled_store::{SledOperations, SledTasks};
use crate::queue::child::Children;
use crate::queue::rabbit::{Rabbit, RabbitError, Settings as RabbitSettings};
use crate::queue::{Counts, Settings, Worker, World};

type Manager = BackupManager<ClickhouseServer, SledOperations>;
type Working = Worker<Real>;

/// What a worker works with.
struct Real;

impl World for Real {
    type Broker = Rabbit;
    type Server = ClickhouseServer;
    type Operations = SledOperations;
    type Tasks = SledTasks;
    type Runner = Children;
}

/// `deltakeep worker`
///
/// # Errors
/// Why it does not start, or why it ended without being asked to.
pub async fn worker(dir: &Path, asked: WorkerSettings) -> Result<(), Failure> {
    let (stop, _) = listen()?;
    let now = || jiff::Timestamp::now().as_millisecond();
    let path = SledOperations::of_worker(dir, &asked.means.address.url);
    let store = SledOperations::open(&path).map_err(report::of_store)?;
    let name = name(&path)?;
    let tasks = store.tasks();
    let server = wiring::clickhouse(&asked.means.address)?;
    let manager = Arc::new(Manager::new(server, store, asked.means.patience, now)?);
    let rabbit = match Rabbit::start(rabbit(&asked), stop.clone()).await {
        Ok(rabbit) => rabbit,
        Err(RabbitError::Stopped) => return Ok(()),
        Err(error) => return Err(report::of_rabbit(&error)),
    };
    let settings = settings(&asked, name);
    let children = children(dir, &asked)?;
    let worker = Working::new(rabbit.clone(), manager.clone(), tasks, children, settings, now)?;
    let worker = Arc::new(worker);
    let _serving = match asked.listen {
        Some(address) => {
            let subject = Subject { worker: worker.clone(), rabbit: rabbit.clone(), manager };
            let (address, serving) =
                served::serve(address, subject).await.map_err(|error| Failure {
                    code: ExitCode::Refused,
                    message: format!("--listen {address}: {error}"),
                    next: "the same command with another --listen".to_owned(),
                })?;
            note(&format!("deltakeep: http://{address}/metrics, /healthz, /readyz"));
            Some(serving)
        }
        None => None,
    };
    note(&format!("deltakeep: journal {}", path.display()));
    note(&format!(
        "deltakeep: tasks of queue {} on {} are worked on",
        asked.queue,
        asked.server.place()
    ));
    let ended = worker.serve(stop).await;
    rabbit.close().await;
    if ended.left > 0 {
        note(&format!("deltakeep: {} tasks go on when the worker starts again", ended.left));
    }
    ended.error.map_or(Ok(()), |error| Err(error.into()))
}

/// What a worker is known by to other workers: made once, kept beside its store.
fn name(store: &Path) -> Result<String, Failure> {
    let mut path = store.as_os_str().to_owned();
    path.push(".name");
    let path = PathBuf::from(path);
    let made = || -> std::io::Result<String> {
        if let Ok(name) = std::fs::read_to_string(&path)
            && !name.trim().is_empty()
        {
            return Ok(name.trim().to_owned());
        }
        let name = uuid::Uuid::new_v4().to_string();
        let young = path.with_extension("name-new");
        std::fs::write(&young, &name)?;
        std::fs::File::open(&young)?.sync_all()?;
        std::fs::rename(&young, &path)?;
        Ok(name)
    };
    made().map_err(|error| Failure {
        code: ExitCode::Refused,
        message: format!("{}: {error}", path.display()),
        next: "make room or give rights, then the same command again".to_owned(),
    })
}

fn rabbit(asked: &WorkerSettings) -> RabbitSettings {
    RabbitSettings {
        server: asked.server.clone(),
        queue: asked.queue.clone(),
        results: asked.results.clone(),
        declare: asked.declare,
        prefetch: asked.concurrency,
        name: "deltakeep worker".to_owned(),
    }
}

fn settings(asked: &WorkerSettings, worker: String) -> Settings {
    Settings {
        queue: asked.queue.clone(),
        worker,
        results: asked.results.as_ref().map(|_| asked.queue.clone()),
        policy: asked.means.policy.clone(),
        limits: asked.limits,
        commands: asked.commands.clone(),
        reply_prefix: asked.reply_prefix.clone(),
        ..Settings::default()
    }
}

/// Commands work on the worker's own journals, and inherit nothing else that is meant for it.
fn children(dir: &Path, asked: &WorkerSettings) -> Result<Children, Failure> {
    let program = std::env::current_exe().map_err(|error| Failure {
        code: ExitCode::Unexpected,
        message: format!("this program's own file is not known: {error}"),
        next: "the same command again".to_owned(),
    })?;
    let state = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
    let variable = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let names = std::env::vars_os().map(|(name, _)| name.to_string_lossy().into_owned());
    let hidden = names.filter(|name| name.starts_with("DELTAKEEP_"));
    Ok(Children {
        program,
        variables: vec![
            variable("DELTAKEEP_STATE_DIR", &state.to_string_lossy()),
            variable("DELTAKEEP_OUTPUT", "json"),
            variable(ENDS_WITH_STDIN, "1"),
        ],
        hidden: hidden.chain(OWN.map(str::to_owned)).collect(),
        credentials: asked.credentials.clone(),
    })
}

/// What is served of a worker.
struct Subject {
    worker: Arc<Working>,
    rabbit: Rabbit,
    manager: Arc<Manager>,
}

impl served::Subject for Subject {
    fn counts(&self) -> Counts {
        self.worker.counts()
    }

    fn broker(&self) -> Option<String> {
        self.rabbit.trouble()
    }

    async fn clickhouse(&self) -> Option<String> {
        self.manager.server().databases().await.err().map(|error| error.to_string())
    }
}
