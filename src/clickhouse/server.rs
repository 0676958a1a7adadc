//! The server over HTTP, by the crate `clickhouse` with a client of our own making, because its own
//! takes no certificates. Owns the questions and what their answers mean; never repeats a command.
//!
//! Only named columns are read, as text and numbers: a server with more columns, or with another
//! order of its enumerations, answers the same.

use std::time::Duration;

use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use native_tls::{Certificate, Identity, TlsConnector};

use super::failure::{ServerError, cut};
use super::manifest::{Contents, Manifest};
use super::name::Object;
use super::name::{Name, text};
use super::question;
use super::secret::{Keys, Secret};
use super::statement::{Statement, Value};
use super::{Command, DatabaseRow, Place, Server, ServerOperation, ServerStatus, TableRow};
use crate::journal::OperationSize;

/// How long a question may take.
const QUESTION: Duration = Duration::from_secs(60);
/// How long a command may take: dropping many tables waits for their files.
const COMMAND: Duration = Duration::from_secs(600);
/// How long a CHECK TABLE may take.
const CHECK: Duration = Duration::from_secs(6 * 3600);

/// How to get to a server.
#[derive(Clone, Debug)]
pub struct Address {
    /// http://HOST:PORT or https://HOST:PORT.
    pub url: String,
    /// The user; the server's default where there is none.
    pub user: Option<String>,
    /// The password.
    pub password: Option<Secret>,
    /// PEM of the authorities that are trusted besides the system's.
    pub authorities: Vec<Vec<u8>>,
    /// PEM of a certificate with its chain, and of its key in PKCS #8.
    pub identity: Option<(Vec<u8>, Secret)>,
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    /// Certificates or keys that mean nothing.
    #[error("certificates: {0}")]
    Certificates(#[from] native_tls::Error),
}

/// A ClickHouse server.
#[derive(Clone)]
pub struct ClickhouseServer {
    client: clickhouse::Client,
}

impl ClickhouseServer {
    /// A client; nothing is asked yet.
    ///
    /// # Errors
    /// [`AddressError`].
    pub fn new(address: &Address) -> Result<Self, AddressError> {
        let mut tls = TlsConnector::builder();
        // The system's authorities take more than a megabyte; without TLS nobody asks them.
        tls.disable_built_in_roots(!address.url.starts_with("https:"));
        for pem in &address.authorities {
            tls.add_root_certificate(Certificate::from_pem(pem)?);
        }
        if let Some((certificate, key)) = &address.identity {
            tls.identity(Identity::from_pkcs8(certificate, key.expose().as_bytes())?);
        }
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_keepalive(Some(Duration::from_secs(60)));
        tcp.set_connect_timeout(Some(Duration::from_secs(10)));
        let https = hyper_tls::HttpsConnector::from((tcp, tls.build()?.into()));
        // The server closes idle connections after 3 s.
        let http = HttpClient::builder(TokioExecutor::new())
            .pool_idle_timeout(Duration::from_secs(2))
            .build(https);
        // Without a database of its own: the usual one can be what is moved aside.
        let mut client = clickhouse::Client::with_http_client(http)
            .with_url(&address.url)
            .with_database("system");
        if let Some(user) = &address.user {
            client = client.with_user(user);
        }
        if let Some(password) = &address.password {
            client = client.with_password(password.expose());
        }
        Ok(Self { client })
    }

    fn query(&self, statement: &Statement) -> clickhouse::query::Query {
        let mut query = self.client.query_raw(&statement.text);
        for (name, value) in &statement.parameters {
            query = match value {
                Value::Text(text) => query.param(name, text),
                Value::Secret(secret) => query.param(name, secret.expose()),
            };
        }
        for (name, value) in &statement.settings {
            query = query.with_setting(*name, value.clone());
        }
        query
    }

    async fn rows<T>(&self, statement: &Statement, time: Duration) -> Result<Vec<T>, ServerError>
    where
        T: clickhouse::RowOwned + clickhouse::RowRead,
    {
        let rows = tokio::time::timeout(time, self.query(statement).fetch_all::<T>());
        answer(rows.await, time, statement)
    }

    /// Databases and tables, each of those that are wanted: two questions at once take less time than
    /// one about both.
    async fn objects(&self, wanted: [&str; 2]) -> Result<Vec<Object>, ServerError> {
        let [of_databases, of_tables] = wanted;
        let ask = |text: String| Statement { text, ..Statement::default() };
        let databases =
            ask(format!("SELECT name AS base, '' AS given FROM system.databases {of_databases}"));
        let tables =
            ask(format!("SELECT database AS base, name AS given FROM system.tables {of_tables}"));
        let (databases, tables) = tokio::join!(
            self.rows::<BesideRow>(&databases, QUESTION),
            self.rows::<BesideRow>(&tables, QUESTION)
        );
        Ok(databases?.into_iter().chain(tables?).map(BesideRow::object).collect())
    }

    async fn databases_by(&self, question: &Statement) -> Result<Vec<DatabaseRow>, ServerError> {
        let rows: Vec<NamedRow> = self.rows(question, QUESTION).await?;
        let row = |row: NamedRow| DatabaseRow {
            name: Name::known(row.name),
            uuid: row.uuid,
            engine: row.engine,
        };
        Ok(rows.into_iter().map(row).collect())
    }

    async fn tables_by(&self, question: &Statement) -> Result<Vec<TableRow>, ServerError> {
        let rows: Vec<SizedRow> = self.rows(question, QUESTION).await?;
        let row = |row: SizedRow| TableRow {
            name: Name::known(row.name),
            uuid: row.uuid,
            engine: row.engine,
            rows: row.rows,
            bytes: row.bytes,
        };
        Ok(rows.into_iter().map(row).collect())
    }

    async fn shown(&self, from: &str, rest: &str) -> Result<Vec<ServerOperation>, ServerError> {
        let text = format!("{OPERATIONS} FROM system.{from} {rest}");
        let statement = Statement { text, ..Statement::default() };
        let rows: Vec<OperationRow> = self.rows(&statement, QUESTION).await?;
        let logged = from != "backups";
        Ok(rows.into_iter().filter_map(|row| row.meaning(logged)).collect())
    }

    /// The log, where there is one and this user may read it.
    async fn in_log(&self, rest: &str) -> Result<Vec<ServerOperation>, ServerError> {
        match self.shown("backup_log", rest).await {
            Err(error) if NO_LOG.iter().any(|number| error.is(*number)) => Ok(Vec::new()),
            shown => shown,
        }
    }
}

/// A host of a cluster that this server cannot get to is asked for again, as this server would be.
fn of_host(error: ServerError) -> ServerError {
    match error {
        ServerError::Refused { number: 279, text } => ServerError::Unreachable { reason: text },
        error => error,
    }
}

/// No such table, and no right to read it.
const NO_LOG: [i32; 2] = [60, 497];

/// The name of an operation can hold the access key: only its URL is asked for, and the whole of it
/// only in forms that have no key.
const OPERATIONS: &str = r"SELECT id, multiIf(
        startsWith(name, 'S3(\''), extract(name, '^S3\\(\'([^\']*)'),
        match(name, '^(S3|Disk|File)\\([^(),]*(, \'[^\']*\')?\\)$'), name,
        extract(name, '^[A-Za-z0-9]*')) AS url,
    query_id AS query, toString(status) AS status, error, toUnixTimestamp64Milli(start_time) AS started,
    toUnixTimestamp64Milli(end_time) AS ended, num_files AS files, total_size AS bytes,
    compressed_size AS bytes_stored, bytes_read";

#[derive(clickhouse::Row, serde::Deserialize)]
struct OperationRow {
    id: String,
    url: String,
    query: String,
    status: String,
    error: String,
    started: i64,
    ended: i64,
    files: u64,
    bytes: u64,
    bytes_stored: u64,
    bytes_read: u64,
}

impl OperationRow {
    /// None for a status of a later version.
    fn meaning(self, logged: bool) -> Option<ServerOperation> {
        let size =
            OperationSize { files: self.files, bytes: self.bytes, bytes_stored: self.bytes_stored };
        Some(ServerOperation {
            status: ServerStatus::parse(&self.status)?,
            id: self.id,
            url: self.url,
            query: self.query,
            error: cut(&self.error),
            started: self.started,
            ended: Some(self.ended).filter(|ended| *ended > 0),
            size,
            bytes_read: self.bytes_read,
            logged,
        })
    }
}

#[derive(clickhouse::Row, serde::Deserialize)]
struct NamedRow {
    name: String,
    uuid: String,
    engine: String,
}

#[derive(clickhouse::Row, serde::Deserialize)]
struct SizedRow {
    name: String,
    uuid: String,
    engine: String,
    rows: Option<u64>,
    bytes: Option<u64>,
}

#[derive(clickhouse::Row, serde::Deserialize)]
struct BesideRow {
    base: String,
    given: String,
}

impl BesideRow {
    fn object(self) -> Object {
        Object {
            database: Name::known(self.base),
            table: (!self.given.is_empty()).then(|| Name::known(self.given)),
        }
    }
}

#[derive(clickhouse::Row, serde::Deserialize)]
struct MovedRow {
    moved: u64,
}

#[derive(clickhouse::Row, serde::Deserialize)]
struct FileRow {
    file: String,
}

#[derive(clickhouse::Row, serde::Deserialize)]
struct ManifestRow {
    id: String,
    names: Vec<String>,
}

#[derive(clickhouse::Row, serde::Deserialize)]
struct CheckRow {
    result: bool,
}

impl Server for ClickhouseServer {
    async fn run(&self, command: Command<'_>) -> Result<(), ServerError> {
        let statement = command.render();
        let done = tokio::time::timeout(COMMAND, self.query(&statement).execute()).await;
        // What cannot be read tells nothing of what was done.
        answer(done, COMMAND, &statement).map_err(|error| match error {
            ServerError::Unreadable { reason } => ServerError::Unreachable { reason },
            error => error,
        })
    }

    async fn databases(&self) -> Result<Vec<DatabaseRow>, ServerError> {
        self.databases_by(&question::databases(None)).await
    }

    async fn tables(&self, database: &Name) -> Result<Vec<TableRow>, ServerError> {
        self.tables_by(&question::tables(None, database)).await
    }

    async fn databases_of(&self, cluster: &Name) -> Result<Vec<DatabaseRow>, ServerError> {
        self.databases_by(&question::databases(Some(cluster))).await.map_err(of_host)
    }

    async fn tables_of(
        &self,
        cluster: &Name,
        database: &Name,
    ) -> Result<Vec<TableRow>, ServerError> {
        self.tables_by(&question::tables(Some(cluster), database)).await.map_err(of_host)
    }

    async fn beside(&self) -> Result<Vec<Object>, ServerError> {
        const GIVEN: &str = "WHERE match(name, '__bk_[0-9a-f]{16}$')";
        self.objects([GIVEN, GIVEN]).await
    }

    async fn beside_of(&self, database: &Name) -> Result<Vec<Object>, ServerError> {
        // Names alone are cheap.
        let within = format!("WHERE database = {}", text(database.as_str()));
        let all = self.objects(["", &within]).await?.into_iter();
        Ok(all.filter(|object| object.is_near(database)).collect())
    }

    async fn operation(&self, id: &str) -> Result<Option<ServerOperation>, ServerError> {
        let found = self.shown("backups", &format!("WHERE id = {}", text(id))).await?;
        Ok(found.into_iter().next())
    }

    async fn logged(&self, id: &str) -> Result<Option<ServerOperation>, ServerError> {
        let rest = format!("WHERE id = {} ORDER BY event_time_microseconds DESC LIMIT 1", text(id));
        Ok(self.in_log(&rest).await?.into_iter().next())
    }

    async fn movement(&self, query: &str) -> Result<Option<u64>, ServerError> {
        let rows: Vec<MovedRow> = self.rows(&question::movement(query), QUESTION).await?;
        Ok(rows.first().map(|row| row.moved))
    }

    async fn operations(&self, most: usize) -> Result<Vec<ServerOperation>, ServerError> {
        let newest = format!("ORDER BY start_time DESC LIMIT {most}");
        let logged =
            format!("ORDER BY event_time_microseconds DESC LIMIT 1 BY id, start_time LIMIT {most}");
        let (all, older) = tokio::join!(self.shown("backups", &newest), self.in_log(&logged));
        let mut all = all?;
        let seen: Vec<_> = all.iter().map(|known| (known.id.clone(), known.started)).collect();
        all.extend(
            older?.into_iter().filter(|known| !seen.contains(&(known.id.clone(), known.started))),
        );
        Ok(all)
    }

    async fn contents(&self, place: &Place, keys: Option<&Keys>) -> Result<Contents, ServerError> {
        let (listing, manifest) = (question::listing(place, keys), question::manifest(place, keys));
        // Each takes the store's time: both at once, though there may be no manifest to read.
        let (files, rows) = tokio::join!(
            self.rows::<FileRow>(&listing, QUESTION),
            self.rows::<ManifestRow>(&manifest, QUESTION)
        );
        let files = files?;
        let has = |name: &str| files.iter().any(|row| row.file == name);
        let backup = match (has(".backup"), rows) {
            (false, _) => None,
            (true, Ok(rows)) => manifest_of(rows),
            // It may have come between the two.
            (true, Err(_)) => manifest_of(self.rows(&manifest, QUESTION).await?),
        };
        Ok(Contents { locked: has(".lock"), backup })
    }

    async fn check(&self, database: &Name, table: &Name) -> Result<bool, ServerError> {
        let rows: Vec<CheckRow> = self.rows(&question::check(database, table), CHECK).await?;
        Ok(rows.iter().all(|row| row.result))
    }
}

fn manifest_of(rows: Vec<ManifestRow>) -> Option<Manifest> {
    rows.into_iter().next().map(|row| Manifest::read(row.id, &row.names))
}

/// What became of a statement. Keys that a text of the server repeats are taken out of it.
fn answer<T>(
    done: Result<Result<T, clickhouse::error::Error>, tokio::time::error::Elapsed>,
    time: Duration,
    statement: &Statement,
) -> Result<T, ServerError> {
    use clickhouse::error::Error;
    let Ok(done) = done else {
        return Err(ServerError::Unreachable {
            reason: format!("nothing for {} s", time.as_secs()),
        });
    };
    done.map_err(|error| {
        let shown = redact(&causes(&error), statement);
        match error {
            // Without a number it is of something between, which gave up waiting or never was one.
            Error::BadResponse(_) => match ServerError::from_text(&shown) {
                ServerError::Unreadable { reason } => ServerError::Unreachable {
                    reason: format!("what answers is no ClickHouse: {reason}"),
                },
                error => error,
            },
            Error::Network(_) | Error::TimedOut => ServerError::Unreachable { reason: cut(&shown) },
            _ => ServerError::Unreadable { reason: cut(&shown) },
        }
    })
}

fn redact(shown: &str, statement: &Statement) -> String {
    let secrets = statement.parameters.iter().filter_map(|(_, value)| match value {
        Value::Secret(secret) => Some(secret),
        Value::Text(_) => None,
    });
    secrets.fold(shown.to_owned(), |shown, secret| secret.redact(&shown))
}

/// An error with what caused it: a client's own words alone say "client error (Connect)".
fn causes(error: &dyn std::error::Error) -> String {
    let mut shown = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let text = inner.to_string();
        if !shown.contains(&text) {
            shown.push_str(": ");
            shown.push_str(&text);
        }
        cause = inner.source();
    }
    shown
}
