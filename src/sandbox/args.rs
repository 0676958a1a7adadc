//! Owns the command line of `deltakeep sandbox`; never serves requests itself.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use super::{Datasource, Dialect, Fault, Options, Sandbox, SandboxError};

/// Runs a node for demos and tests.
#[derive(Clone, Args)]
pub struct SandboxArgs {
    /// Address to listen on
    #[arg(long, default_value = "127.0.0.1:9090", value_name = "HOST:PORT")]
    pub listen: SocketAddr,
    /// Bootstrap brokers of Kafka
    #[arg(long, value_name = "HOST:PORT,...")]
    pub kafka: String,
    /// ZooKeeper address shown by CONFIG_SHOW; other addresses in a LOCATION are then unreachable
    #[arg(long, value_name = "HOST:PORT")]
    pub zookeeper: Option<String>,
    /// Directory of the state; without it nothing is kept
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// Dialect: 5.5 or 6
    #[arg(long, default_value = "5.5")]
    pub dialect: Dialect,
    /// Active datasources: adp, adqm
    #[arg(long, value_delimiter = ',', default_value = "adp")]
    pub datasources: Vec<Datasource>,
    /// Hosts of ADQM
    #[arg(long, default_value_t = 1)]
    pub shards: u32,
    /// Milliseconds that every load takes; a real node needs about 3000
    #[arg(long = "loadDelay", default_value_t = 0, value_name = "MS")]
    pub load_delay: u64,
    /// A fault to show, as `name[=value][@nth|@always]`; may be given several times
    #[arg(long = "fault", value_name = "FAULT")]
    pub faults: Vec<Fault>,
    /// Bearer token that requests must carry
    #[arg(long, env = "DELTAKEEP_SANDBOX_TOKEN", hide_env_values = true)]
    pub token: Option<String>,
}

/// The token is left out: logs show the settings.
impl fmt::Debug for SandboxArgs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("SandboxArgs");
        shown.field("listen", &self.listen).field("kafka", &self.kafka);
        shown.field("data", &self.data).field("faults", &self.faults).finish_non_exhaustive()
    }
}

impl From<SandboxArgs> for Options {
    fn from(args: SandboxArgs) -> Self {
        Options {
            listen: args.listen,
            kafka: args.kafka,
            zookeeper: args.zookeeper,
            data: args.data,
            dialect: args.dialect,
            datasources: args.datasources,
            shards: args.shards,
            load_delay: Duration::from_millis(args.load_delay),
            faults: args.faults,
            token: args.token,
        }
    }
}

/// Serves until SIGINT or SIGTERM.
pub async fn run(args: SandboxArgs) -> Result<(), SandboxError> {
    let mut interrupted = signal(SignalKind::interrupt()).map_err(SandboxError::Signal)?;
    let mut terminated = signal(SignalKind::terminate()).map_err(SandboxError::Signal)?;
    let sandbox = Sandbox::start(args.into()).await?;
    println!("sandbox listening on http://{}", sandbox.address());
    tokio::select! {
        _ = interrupted.recv() => {}
        _ = terminated.recv() => {}
    }
    sandbox.stop().await;
    Ok(())
}
