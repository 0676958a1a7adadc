//! Options of `deltakeep worker` and `deltakeep send`: how to get to RabbitMQ, how much is done at
//! once, which task is sent. Owns their names and help, and their meaning; secrets come from
//! variables and files.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use clap::builder::FalseyValueParser;
use serde_json::Value;

use super::clickhouse_args::MeansArgs;
use super::clickhouse_settings::{self as options, ClickhouseMeans};
use super::kafka_options::read_secret;
use super::queue_commands::{OWN, rules};
use super::settings::{SettingsError, Surroundings};
use crate::clickhouse::{Keys, Secret};
use crate::queue::child::{Credentials, CredentialsError, credentials};
use crate::queue::rabbit::{AddressError, Server};
use crate::queue::{CommandRule, LARGEST, Limits};

/// Tasks that are taken at once where nothing is said: most are answered at once.
const CONCURRENCY: u16 = 32;
/// How long a reply is waited for where nothing is said.
const REPLY: Duration = Duration::from_secs(24 * 3600);

/// How to get to RabbitMQ.
#[derive(Debug, Args)]
pub struct AmqpArgs {
    /// RabbitMQ. The password comes from DELTAKEEP_AMQP_PASSWORD (or _FILE)
    #[arg(long, value_name = "amqp[s]://[USER@]HOST:PORT/VHOST", env = "DELTAKEEP_AMQP")]
    pub amqp: Option<String>,
    /// Its user [default: the one in --amqp, or guest]
    #[arg(
        long = "amqpUser",
        visible_alias = "amqp-user",
        value_name = "NAME",
        env = "DELTAKEEP_AMQP_USER"
    )]
    pub amqp_user: Option<String>,
    /// File with authorities that are trusted besides the system's, PEM
    #[arg(
        long = "amqpCa",
        visible_alias = "amqp-ca",
        value_name = "PATH",
        env = "DELTAKEEP_AMQP_CA"
    )]
    pub amqp_ca: Option<PathBuf>,
    /// File with the client's certificate, PEM
    #[arg(
        long = "amqpCert",
        visible_alias = "amqp-cert",
        value_name = "PATH",
        env = "DELTAKEEP_AMQP_CERT",
        requires = "amqp_key"
    )]
    pub amqp_cert: Option<PathBuf>,
    /// File with its key, PEM in PKCS #8
    #[arg(
        long = "amqpKey",
        visible_alias = "amqp-key",
        value_name = "PATH",
        env = "DELTAKEEP_AMQP_KEY",
        requires = "amqp_cert"
    )]
    pub amqp_key: Option<PathBuf>,
    /// The queue of tasks [default: backup]
    #[arg(long, value_name = "NAME", env = "DELTAKEEP_QUEUE")]
    pub queue: Option<String>,
}

/// `deltakeep worker`
#[derive(Debug, Args)]
pub struct WorkerArgs {
    /// Where tasks come from.
    #[command(flatten)]
    pub amqp: AmqpArgs,
    /// Make the queues and the exchange where they are missing: QUEUE, QUEUE.dead, QUEUE.retry
    #[arg(long, env = "DELTAKEEP_DECLARE", value_parser = FalseyValueParser::new())]
    pub declare: bool,
    /// Tasks that are taken at once; how many of them may work long is said by --limit
    /// [default: 32]
    #[arg(
        long,
        value_name = "COUNT",
        env = "DELTAKEEP_CONCURRENCY",
        value_parser = clap::value_parser!(u16).range(1..=1000)
    )]
    pub concurrency: Option<u16>,
    /// Most tasks of a kind that are worked on at once: create_backup=N, restore_backup=N,
    /// commands=N; several are separated by commas
    /// [default: create_backup=2,restore_backup=1,commands=1]
    #[arg(long, value_name = "KIND=COUNT", env = "DELTAKEEP_LIMIT", value_delimiter = ',')]
    pub limit: Vec<String>,
    /// Topic exchange for replies to tasks that name no queue; the routing key is QUEUE
    #[arg(long, value_name = "EXCHANGE", env = "DELTAKEEP_RESULTS")]
    pub results: Option<String>,
    /// How the names of queues for replies must begin [default: any]
    #[arg(
        long = "replyPrefix",
        visible_alias = "reply-prefix",
        value_name = "TEXT",
        env = "DELTAKEEP_REPLY_PREFIX"
    )]
    pub reply_prefix: Option<String>,
    /// Serve /metrics, /healthz and /readyz here [default: nowhere]
    #[arg(long, value_name = "ADDRESS:PORT", env = "DELTAKEEP_LISTEN")]
    pub listen: Option<SocketAddr>,
    /// Refuse tasks that run commands: backup_to_kafka, restore_from_kafka, resume, drill, verify
    #[arg(
        long = "noCommands",
        visible_alias = "no-commands",
        env = "DELTAKEEP_NO_COMMANDS",
        value_parser = FalseyValueParser::new()
    )]
    pub no_commands: bool,
    /// Credentials that such a task can name: a file of DELTAKEEP_...=VALUE lines; several are
    /// separated by commas
    #[arg(long, value_name = "NAME=PATH", env = "DELTAKEEP_CREDENTIALS", value_delimiter = ',')]
    pub credentials: Vec<String>,
    /// ClickHouse and its object store.
    #[command(flatten)]
    pub means: MeansArgs,
}

/// `deltakeep send`
#[derive(Debug, Args)]
pub struct SendArgs {
    /// File of the task, JSON; - is stdin
    #[arg(value_name = "FILE", conflicts_with_all = ["kind", "payload"])]
    pub file: Option<PathBuf>,
    /// Its type
    #[arg(long = "type", value_name = "TYPE")]
    pub kind: Option<String>,
    /// Its payload, JSON. Where a backup or restore has no keys of the object store, they are filled in
    /// from DELTAKEEP_S3_ACCESS_KEY (or _FILE) and DELTAKEEP_S3_SECRET_KEY (or _FILE)
    #[arg(long, value_name = "JSON", requires = "kind")]
    pub payload: Option<String>,
    /// Wait for the last reply and print it; the exit code tells how the task ended
    #[arg(long)]
    pub wait: bool,
    /// How long to wait, e.g. 10m [default: 24h]
    #[arg(long, value_name = "TIME", requires = "wait")]
    pub timeout: Option<String>,
    /// Where to.
    #[command(flatten)]
    pub amqp: AmqpArgs,
}

/// Everything that `deltakeep worker` means.
#[derive(Clone, Debug)]
pub struct WorkerSettings {
    /// RabbitMQ.
    pub server: Server,
    /// The queue of tasks.
    pub queue: String,
    /// Whether queues are made.
    pub declare: bool,
    /// Tasks at once.
    pub concurrency: u16,
    /// Those that may work long.
    pub limits: Limits,
    /// The exchange for results.
    pub results: Option<String>,
    /// How queues for replies begin.
    pub reply_prefix: Option<String>,
    /// Where numbers are served.
    pub listen: Option<SocketAddr>,
    /// Commands that tasks may ask for.
    pub commands: Vec<CommandRule>,
    /// Credentials for them.
    pub credentials: BTreeMap<String, Credentials>,
    /// ClickHouse.
    pub means: ClickhouseMeans,
}

/// Everything that `deltakeep send` means.
#[derive(Clone, Debug)]
pub struct SendSettings {
    /// RabbitMQ.
    pub server: Server,
    /// The queue of tasks.
    pub queue: String,
    /// Where the task comes from.
    pub task: TaskFrom,
    /// Keys of the object store.
    pub keys: Option<Keys>,
    /// How long the last reply is waited for, where it is.
    pub wait: Option<Duration>,
}

/// Where a task comes from.
#[derive(Clone, Debug)]
pub enum TaskFrom {
    /// A file.
    File(PathBuf),
    /// Stdin.
    Stdin,
    /// The command line: type and payload, JSON, which can hold secrets.
    Words(String, Option<Secret>),
}

/// Why options mean nothing. No case repeats a secret.
#[derive(Debug, thiserror::Error)]
pub enum QueueOptionError {
    /// Not an address of RabbitMQ.
    #[error("--amqp: {0}")]
    Address(#[from] AddressError),
    /// A certificate that is no text.
    #[error("{keyword}: a PEM file is wanted")]
    Pem {
        /// The keyword.
        keyword: &'static str,
    },
    /// A limit that is none.
    #[error("--limit {text:?}: create_backup=N, restore_backup=N or commands=N is wanted")]
    Limit {
        /// The text.
        text: String,
    },
    /// Credentials without a name or a file.
    #[error("--credentials: NAME=PATH is wanted")]
    Credentials,
    /// A file of credentials that cannot be read.
    #[error("--credentials {name}: {}: {source}", path.display())]
    CredentialsFile {
        /// Their name.
        name: String,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file of credentials that holds something else.
    #[error("--credentials {name}: {}, {source}", path.display())]
    CredentialsText {
        /// Their name.
        name: String,
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: CredentialsError,
    },
    /// Neither a file nor a type.
    #[error("which task? A FILE, - for stdin, or --type with --payload")]
    NoTask,
    /// A payload that is no JSON.
    #[error("--payload: JSON of at most {LARGEST} bytes is wanted")]
    Payload,
    /// A time that is none.
    #[error("--timeout {text:?}: a time such as 90s or 10m is wanted")]
    Timeout {
        /// The text.
        text: String,
    },
}

impl WorkerSettings {
    /// Gives the options their meaning.
    ///
    /// # Errors
    /// [`SettingsError`].
    pub fn check(args: WorkerArgs, around: &Surroundings<'_>) -> Result<Self, SettingsError> {
        let (server, queue) = rabbit(args.amqp, around)?;
        Ok(Self {
            server,
            queue,
            declare: args.declare,
            concurrency: args.concurrency.unwrap_or(CONCURRENCY),
            limits: limits(&args.limit)?,
            results: args.results,
            reply_prefix: args.reply_prefix,
            listen: args.listen,
            commands: if args.no_commands { Vec::new() } else { rules() },
            credentials: all_credentials(&args.credentials)?,
            means: ClickhouseMeans::check(args.means, around)?,
        })
    }
}

impl SendSettings {
    /// Gives the options their meaning.
    ///
    /// # Errors
    /// [`SettingsError`].
    pub fn check(args: SendArgs, around: &Surroundings<'_>) -> Result<Self, SettingsError> {
        let (server, queue) = rabbit(args.amqp, around)?;
        let timeout = args.timeout.map(time).transpose()?;
        let wait = args.wait.then(|| timeout.unwrap_or(REPLY));
        let task = match (args.file, args.kind) {
            (Some(path), _) if path == Path::new("-") => TaskFrom::Stdin,
            (Some(path), _) => TaskFrom::File(path),
            (None, Some(kind)) => TaskFrom::Words(kind, args.payload.map(payload).transpose()?),
            (None, None) => return Err(QueueOptionError::NoTask.into()),
        };
        Ok(Self { server, queue, task, keys: options::keys(around)?, wait })
    }
}

fn payload(text: String) -> Result<Secret, QueueOptionError> {
    let json = text.len() <= LARGEST && serde_json::from_str::<Value>(&text).is_ok();
    json.then(|| Secret::new(text)).ok_or(QueueOptionError::Payload)
}

fn time(text: String) -> Result<Duration, QueueOptionError> {
    let time: Option<jiff::SignedDuration> = text.parse().ok();
    let time = time.and_then(|time| Duration::try_from(time).ok());
    time.filter(|time| !time.is_zero()).ok_or(QueueOptionError::Timeout { text })
}

fn rabbit(args: AmqpArgs, around: &Surroundings<'_>) -> Result<(Server, String), SettingsError> {
    let url = args.amqp.ok_or(SettingsError::Missing { keyword: "--amqp" })?;
    let mut server = Server::parse(&url).map_err(QueueOptionError::Address)?;
    server.user = args.amqp_user.unwrap_or(server.user);
    if let Some(password) = options::secret(around, "DELTAKEEP_AMQP_PASSWORD")? {
        server.password = password;
    }
    if let Some(path) = args.amqp_ca {
        server.authorities = Some(pem("--amqpCa", &path)?);
    }
    if let (Some(cert), Some(key)) = (args.amqp_cert, args.amqp_key) {
        let cert = pem("--amqpCert", &cert)?.into_bytes();
        server.identity = Some((cert, Secret::new(pem("--amqpKey", &key)?)));
    }
    Ok((server, args.queue.unwrap_or_else(|| "backup".to_owned())))
}

fn pem(keyword: &'static str, path: &Path) -> Result<String, SettingsError> {
    let text = String::from_utf8(options::read(keyword, path)?);
    let text = text.ok().filter(|text| text.contains("-----BEGIN "));
    Ok(text.ok_or(QueueOptionError::Pem { keyword })?)
}

fn limits(texts: &[String]) -> Result<Limits, QueueOptionError> {
    let mut limits = Limits::default();
    for text in texts {
        let wrong = || QueueOptionError::Limit { text: text.clone() };
        let (kind, count) = text.split_once('=').ok_or_else(wrong)?;
        let count: Option<usize> = count.parse().ok();
        let count = count.filter(|count| (1..=1000).contains(count)).ok_or_else(wrong)?;
        match kind {
            "create_backup" => limits.backups = count,
            "restore_backup" => limits.restores = count,
            "commands" => limits.commands = count,
            _ => return Err(wrong()),
        }
    }
    Ok(limits)
}

fn all_credentials(texts: &[String]) -> Result<BTreeMap<String, Credentials>, QueueOptionError> {
    let named = |text: &String| {
        let (name, path) = text.split_once('=').ok_or(QueueOptionError::Credentials)?;
        if name.is_empty() || path.is_empty() {
            return Err(QueueOptionError::Credentials);
        }
        let (name, path) = (name.to_owned(), PathBuf::from(path));
        let text = match read_secret(&path) {
            Ok(text) => text,
            Err(source) => return Err(QueueOptionError::CredentialsFile { name, path, source }),
        };
        match credentials(text.expose(), &OWN) {
            Ok(credentials) => Ok((name, credentials)),
            Err(source) => Err(QueueOptionError::CredentialsText { name, path, source }),
        }
    };
    texts.iter().map(named).collect()
}
