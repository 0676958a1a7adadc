//! Owns the sandbox node: a stand-in for a real Prostore node, for demos, drills and tests; never used by a backup itself.
//!
//! It answers the recorded part of the HTTP and SQL+ interface, keeps row versions in an embedded
//! database, and unloads and loads through a real Kafka broker, with the quirks of the real node.
//!
//! Rows are stored once, whatever the datasources of a table. So some things differ from a real node:
//! datasources never disagree (faults can pretend so), a table only in ADQM follows the rules of ADQM
//! for repeated keys, a deletion after an update in one delta included, but not its other bugs (unmerged
//! parts under UNION ALL, NULL read as 0), nothing waits the 2 to 15 seconds a real load takes (`--loadDelay` can), and
//! TRUNCATE HISTORY, readable and writable external tables and filled materialized views are missing.
//!
//! Extensions: the statement `SANDBOX_FILL(table, n)` adds n generated rows to a table inside the open
//! delta, `CONFIG_SHOW('SANDBOX_KAFKA_BROKERS')` tells the brokers, and `/sandbox/faults` (POST, GET,
//! DELETE) and `/sandbox/calls` (GET) control the sandbox from another process.

mod answer;
mod args;
mod avro;
mod broker;
mod catalog;
mod change_statements;
mod changelog;
mod checks;
mod cursor;
mod definition;
mod definitions;
mod delta_statements;
mod deltas;
mod entity;
mod estimate;
mod failure;
mod faults;
mod http;
mod info;
mod link;
mod load;
mod location;
mod meta;
mod node;
mod query;
mod request;
mod select;
mod statement;
mod store;
mod system_views;
mod types;
mod unload;
mod value;
mod versions;
mod writes;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use answer::Answer;
pub use args::{SandboxArgs, run};
pub use faults::{Fault, FaultError, FaultKind, When};
use link::{Door, Link, Links};
use node::{Node, Outcome};

/// Which version of the SQL dialect is accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Dialect {
    /// As recorded from a 5.5.0 node.
    #[default]
    V5_5,
    /// The same, but `DATASOURCE_TYPE ('adqm')` with single quotes is accepted in CREATE TABLE.
    V6,
}

/// Where the rows of a table are said to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Datasource {
    /// PostgreSQL.
    Adp,
    /// ClickHouse.
    Adqm,
}

impl Datasource {
    /// The upper-case name.
    pub fn name(self) -> &'static str {
        match self {
            Datasource::Adp => "ADP",
            Datasource::Adqm => "ADQM",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        [Datasource::Adp, Datasource::Adqm]
            .into_iter()
            .find(|d| d.name().eq_ignore_ascii_case(name))
    }
}

/// A word on the command line that was not understood.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum OptionError {
    /// Not a known dialect.
    #[error("unknown dialect {0}: write 5.5 or 6")]
    Dialect(String),
    /// Not a known datasource.
    #[error("unknown datasource {0}: write adp or adqm")]
    Datasource(String),
}

impl FromStr for Dialect {
    type Err = OptionError;

    fn from_str(text: &str) -> Result<Self, OptionError> {
        match text {
            "5.5" | "5" => Ok(Dialect::V5_5),
            "6" | "6.0" => Ok(Dialect::V6),
            other => Err(OptionError::Dialect(other.to_owned())),
        }
    }
}

impl FromStr for Datasource {
    type Err = OptionError;

    fn from_str(text: &str) -> Result<Self, OptionError> {
        Datasource::from_name(text).ok_or_else(|| OptionError::Datasource(text.to_owned()))
    }
}

/// How a sandbox starts.
#[derive(Debug, Clone)]
pub struct Options {
    /// Address to listen on; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Bootstrap brokers of Kafka.
    pub kafka: String,
    /// ZooKeeper address shown by `CONFIG_SHOW('ZOOKEEPER_KAFKA_ADDRESS')`.
    /// When set, a LOCATION with another address is unreachable; when not, any address will do.
    pub zookeeper: Option<String>,
    /// Directory of the state, which then survives a restart; `None` keeps nothing.
    pub data: Option<PathBuf>,
    /// Dialect accepted.
    pub dialect: Dialect,
    /// Active datasources.
    pub datasources: Vec<Datasource>,
    /// Hosts of ADQM: an unload from there that can run in parallel has as many streams.
    pub shards: u32,
    /// What every load takes, whatever its size: a real node needs about 3 s.
    pub load_delay: Duration,
    /// Faults to show from the start.
    pub faults: Vec<Fault>,
    /// When set, requests without this Bearer token get status 401.
    pub token: Option<String>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            kafka: "127.0.0.1:9092".to_owned(),
            zookeeper: None,
            data: None,
            dialect: Dialect::default(),
            datasources: vec![Datasource::Adp],
            shards: 1,
            load_delay: Duration::ZERO,
            faults: Vec::new(),
            token: None,
        }
    }
}

/// Why a sandbox did not start or stopped.
#[derive(Debug, Error)]
pub enum SandboxError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address wanted.
        address: SocketAddr,
        /// What the system says.
        source: std::io::Error,
    },
    /// The state or Kafka could not be opened.
    #[error("cannot open the sandbox: {0}")]
    Open(String),
    /// Signals cannot be waited for.
    #[error("cannot wait for signals: {0}")]
    Signal(std::io::Error),
}

/// A running sandbox node. It keeps serving until [`Sandbox::stop`] or until it is dropped.
pub struct Sandbox {
    node: Arc<Node>,
    address: SocketAddr,
    links: Links,
    server: JoinHandle<()>,
}

impl Sandbox {
    /// Opens the state and starts to serve.
    pub async fn start(mut options: Options) -> Result<Sandbox, SandboxError> {
        let address = options.listen;
        let listening = |source| SandboxError::Listen { address, source };
        let tcp = TcpListener::bind(address).await.map_err(listening)?;
        let address = tcp.local_addr().map_err(listening)?;
        options.listen = address;
        let opened = tokio::task::spawn_blocking(move || Node::open(options)).await;
        let node = opened
            .map_err(|e| SandboxError::Open(e.to_string()))?
            .map_err(|e| SandboxError::Open(e.to_string()))?;
        let links = Links::default();
        let door = Door { tcp, links: links.clone() };
        let service = http::router(Arc::clone(&node)).into_make_service_with_connect_info::<Link>();
        let server = tokio::spawn(async move {
            // Serving ends only when this task is aborted.
            let _ended = axum::serve(door, service).await;
        });
        Ok(Sandbox { node, address, links, server })
    }

    /// The address being listened on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops at once: open connections are cut, what runs inside goes on to its end.
    pub async fn stop(self) {
        self.server.abort();
        self.links.cut_all();
        let node = Arc::clone(&self.node);
        // Joining fails only when the runtime itself is going away.
        let _gone = tokio::task::spawn_blocking(move || node.broker.flush()).await;
    }

    /// Adds a fault.
    pub fn add_fault(&self, fault: Fault) {
        self.node.faults.add(fault);
    }

    /// Forgets all faults.
    pub fn clear_faults(&self) {
        self.node.faults.clear();
    }

    /// The statements received, in order.
    pub fn calls(&self) -> Vec<String> {
        self.node.calls()
    }

    /// Shows a fixed time, in seconds since 1970, instead of the real one; `None` goes back to it.
    pub fn set_clock(&self, seconds: Option<i64>) {
        self.node.set_clock(seconds);
    }

    /// Runs a statement in this process; the result is the body of the answer, the error its text.
    ///
    /// A fault that hangs or cuts a request never returns here.
    pub async fn execute(&self, datamart: &str, sql: &str) -> Result<serde_json::Value, String> {
        let (node, datamart, sql) = (Arc::clone(&self.node), datamart.to_owned(), sql.to_owned());
        let running = tokio::task::spawn_blocking(move || node.execute(&datamart, &sql));
        match running.await {
            Ok(Outcome::Answered(answer)) => Ok(answer.body(&uuid::Uuid::new_v4().to_string())),
            Ok(Outcome::Failed(failure)) => Err(failure.to_string()),
            Ok(Outcome::Cut | Outcome::Hang) => std::future::pending().await,
            Err(error) => Err(error.to_string()),
        }
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.server.abort();
        self.links.cut_all();
    }
}
