//! What the options of `deltakeep clickhouse` mean, and the reading of secrets from variables and
//! files. What is asked for is checked where tasks of a queue are, so both take the same.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Map, Value};

use super::clickhouse_args::{ClickhouseArgs, ClickhouseCommand, MeansArgs, ObjectArgs};
use super::kafka_options::read_secret;
use super::settings::{SettingsError, Surroundings};
use crate::clickhouse::server::Address;
use crate::clickhouse::{Collection, Keys, OperationId, Patience, Policy, Secret, Task, TaskError};

/// Everything that `deltakeep clickhouse` means.
#[derive(Clone, Debug)]
pub struct ClickhouseSettings {
    /// What to do.
    pub task: ClickhouseTask,
    /// The server.
    pub address: Address,
    /// Keys of the object store, for looking an outcome up.
    pub keys: Option<Keys>,
    /// How long is waited for what.
    pub patience: Patience,
}

/// What to do.
#[derive(Clone, Debug)]
pub enum ClickhouseTask {
    /// One of the four tasks.
    Task(Box<Task>),
    /// Bring one or all to their end.
    Recover(Option<OperationId>),
}

/// Why options mean nothing. No case repeats a secret.
#[derive(Debug, thiserror::Error)]
pub enum ClickhouseOptionError {
    /// A file that cannot be read.
    #[error("{what} {}: {source}", path.display())]
    File {
        /// The option or variable.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Not http://HOST:PORT or https://HOST:PORT.
    #[error("{keyword}: http://HOST:PORT or https://HOST:PORT is wanted")]
    Url {
        /// The keyword.
        keyword: &'static str,
    },
    /// Plain http where it is not allowed.
    #[error("--s3Endpoint: plain http needs --allowHttp")]
    Http,
    /// Not NAME=s3://BUCKET/KEY.
    #[error("--namedCollection {text:?}: NAME=s3://BUCKET/KEY is wanted")]
    Collection {
        /// The text.
        text: String,
    },
    /// One key of the object store without the other.
    #[error("{missing} is not set, though the other key is")]
    Keys {
        /// The variable.
        missing: &'static str,
    },
    /// A field of what is asked for.
    #[error("{0}")]
    Task(#[from] TaskError),
    /// A time that is none.
    #[error("--clickhouseStall {text:?}: a time such as 900s or 15m is wanted")]
    Stall {
        /// The text.
        text: String,
    },
}

impl ClickhouseSettings {
    /// Gives the options their meaning.
    ///
    /// # Errors
    /// [`SettingsError`].
    pub fn check(args: ClickhouseArgs, around: &Surroundings<'_>) -> Result<Self, SettingsError> {
        let ClickhouseArgs { what, means } = args;
        let ClickhouseMeans { address, policy, patience } = ClickhouseMeans::check(means, around)?;
        let keys = keys(around)?;
        let task = task(what, keys.as_ref(), &policy).map_err(ClickhouseOptionError::Task)?;
        Ok(Self { task, address, keys, patience })
    }
}

/// How to get to the server and its object store.
#[derive(Clone, Debug)]
pub struct ClickhouseMeans {
    /// The server.
    pub address: Address,
    /// What may be asked of it.
    pub policy: Policy,
    /// How long is waited for what.
    pub patience: Patience,
}

impl ClickhouseMeans {
    /// Gives the options their meaning.
    ///
    /// # Errors
    /// [`SettingsError`].
    pub fn check(means: MeansArgs, around: &Surroundings<'_>) -> Result<Self, SettingsError> {
        let url = means.clickhouse.ok_or(SettingsError::Missing { keyword: "--clickhouse" })?;
        let endpoint = means.s3_endpoint.map(|url| address("--s3Endpoint", &url)).transpose()?;
        if !means.allow_http && endpoint.as_ref().is_some_and(|url| url.starts_with("http://")) {
            return Err(ClickhouseOptionError::Http.into());
        }
        let mut policy = Policy { clusters: means.allow_cluster, ..Policy::default() };
        policy.places.endpoint = endpoint;
        policy.places.allow_http = means.allow_http;
        policy.places.allowed = means.allow_path;
        policy.places.collections = collections(means.named_collection)?;
        let mut patience = Patience::default();
        if let Some(text) = means.stall {
            patience.stall = stall(text)?;
        }
        patience.retries = means.s3_retries.unwrap_or(patience.retries);
        let file = |what, path: Option<PathBuf>| path.map(|path| read(what, &path)).transpose();
        let cert = file("--clickhouseCert", means.cert)?;
        // What is no text is no PEM, as nothing is none.
        let key = |bytes| Secret::new(String::from_utf8(bytes).unwrap_or_default());
        let key = file("--clickhouseKey", means.key)?.map(key);
        let password = secret(around, "DELTAKEEP_CLICKHOUSE_PASSWORD")?;
        let address = Address {
            url: address("--clickhouse", &url)?,
            user: means.user,
            password,
            authorities: file("--clickhouseCa", means.ca)?.into_iter().collect(),
            identity: cert.zip(key),
        };
        Ok(Self { address, policy, patience })
    }
}

/// The task, by way of the payload that a queue would bring.
fn task(
    what: ClickhouseCommand,
    keys: Option<&Keys>,
    policy: &Policy,
) -> Result<ClickhouseTask, TaskError> {
    let (kind, payload) = match what {
        ClickhouseCommand::CreateBackup(mut object) => {
            let id = object.id.take();
            let mut payload = of_object(object, keys);
            add(&mut payload, "backup_id", id);
            ("create_backup", payload)
        }
        ClickhouseCommand::RestoreBackup {
            mut object,
            source_database,
            source_table,
            overwrite,
        } => {
            let id = object.id.take();
            let mut request = of_object(object, keys);
            add(&mut request, "source_database", source_database);
            add(&mut request, "source_table", source_table);
            request.insert("overwrite".into(), overwrite.into());
            let mut payload = Map::new();
            add(&mut payload, "backup_id", id);
            payload.insert("request".into(), request.into());
            ("restore_backup", payload)
        }
        ClickhouseCommand::ListBackups(list) => {
            let mut payload = Map::new();
            add(&mut payload, "limit", list.limit);
            add(&mut payload, "cursor", list.cursor);
            add(&mut payload, "status", list.status);
            add(&mut payload, "kind", list.kind);
            add(&mut payload, "database", list.database);
            add(&mut payload, "since", list.since);
            ("list_backups", payload)
        }
        ClickhouseCommand::GetBackup { id } => {
            ("get_backup", Map::from_iter([("backup_id".to_owned(), id.into())]))
        }
        ClickhouseCommand::Recover { op: None } => return Ok(ClickhouseTask::Recover(None)),
        ClickhouseCommand::Recover { op: Some(id) } => {
            let payload = Map::from_iter([("backup_id".to_owned(), id.into())]);
            return match Task::read("get_backup", payload.into(), policy)? {
                Task::Get(id) => Ok(ClickhouseTask::Recover(Some(id))),
                other => Ok(ClickhouseTask::Task(Box::new(other))),
            };
        }
    };
    Task::read(kind, payload.into(), policy).map(|task| ClickhouseTask::Task(Box::new(task)))
}

fn of_object(object: ObjectArgs, keys: Option<&Keys>) -> Map<String, Value> {
    let mut payload = Map::new();
    add(&mut payload, "scope", Some(object.scope));
    add(&mut payload, "database", Some(object.database));
    add(&mut payload, "table", object.table);
    add(&mut payload, "backup_path", Some(object.path));
    add(&mut payload, "base_backup", object.base_backup);
    add(&mut payload, "structure_only", Some(object.structure_only));
    add(&mut payload, "max_backup_bandwidth", object.max_backup_bandwidth);
    add(&mut payload, "on_cluster", object.on_cluster);
    add(&mut payload, "access_key", keys.map(|keys| keys.access.expose()));
    add(&mut payload, "secret_key", keys.map(|keys| keys.secret.expose()));
    payload
}

fn add(payload: &mut Map<String, Value>, field: &str, value: Option<impl Into<Value>>) {
    if let Some(value) = value {
        payload.insert(field.to_owned(), value.into());
    }
}

fn collections(texts: Vec<String>) -> Result<Vec<Collection>, ClickhouseOptionError> {
    let read =
        |text: String| Collection::parse(&text).ok_or(ClickhouseOptionError::Collection { text });
    texts.into_iter().map(read).collect()
}

/// Keys of the object store: both or none.
pub(super) fn keys(around: &Surroundings<'_>) -> Result<Option<Keys>, ClickhouseOptionError> {
    let (access, other) = ("DELTAKEEP_S3_ACCESS_KEY", "DELTAKEEP_S3_SECRET_KEY");
    match (secret(around, access)?, secret(around, other)?) {
        (Some(access), Some(secret)) => Ok(Some(Keys { access, secret })),
        (None, None) => Ok(None),
        (None, Some(_)) => Err(ClickhouseOptionError::Keys { missing: access }),
        (Some(_), None) => Err(ClickhouseOptionError::Keys { missing: other }),
    }
}

/// A secret from a variable, or from the file that the variable with `_FILE` names.
pub(super) fn secret(
    around: &Surroundings<'_>,
    name: &'static str,
) -> Result<Option<Secret>, ClickhouseOptionError> {
    if let Some(text) = (around.variable)(name).filter(|text| !text.is_empty()) {
        return Ok(Some(Secret::new(text.to_string_lossy().into_owned())));
    }
    let Some(path) = (around.variable)(&format!("{name}_FILE")) else { return Ok(None) };
    let path = PathBuf::from(path);
    let text = read_secret(&path).map_err(|source| ClickhouseOptionError::File {
        what: name,
        path,
        source,
    })?;
    Ok(Some(Secret::new(text.expose().to_owned())))
}

pub(super) fn read(what: &'static str, path: &Path) -> Result<Vec<u8>, ClickhouseOptionError> {
    let failed = |source| ClickhouseOptionError::File { what, path: path.to_owned(), source };
    std::fs::read(path).map_err(failed)
}

/// Scheme, host and port; a user, a path or a question would go elsewhere than it seems.
fn address(keyword: &'static str, url: &str) -> Result<String, ClickhouseOptionError> {
    let url = url.trim_end_matches('/');
    let host = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    let letter = |c: char| c.is_ascii_alphanumeric() || "-._:[]".contains(c);
    match host {
        Some(host) if !host.is_empty() && host.chars().all(letter) => Ok(url.to_owned()),
        _ => Err(ClickhouseOptionError::Url { keyword }),
    }
}

fn stall(text: String) -> Result<Duration, ClickhouseOptionError> {
    let time: Option<jiff::SignedDuration> = text.parse().ok();
    let time = time.and_then(|time| Duration::try_from(time).ok());
    time.filter(|time| !time.is_zero()).ok_or(ClickhouseOptionError::Stall { text })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_a_host_and_nothing_else() {
        for url in ["http://h:8123", "https://h/", "http://[::1]:8123", "http://10.0.0.1"] {
            assert!(address("--clickhouse", url).is_ok(), "{url}");
        }
        for url in ["h:8123", "ftp://h", "http://", "http://u@h", "http://h/x", "http://h?x=1"] {
            assert!(address("--clickhouse", url).is_err(), "{url}");
        }
    }

    #[test]
    fn what_leads_to_a_server_is_shown_without_its_secrets() {
        let address = Address {
            url: "https://h".to_owned(),
            user: None,
            password: Some(Secret::new("caNary".to_owned())),
            authorities: Vec::new(),
            identity: Some((b"PEM".to_vec(), Secret::new("caNary".to_owned()))),
        };
        let shown = format!("{address:?}");
        let numbers = format!("{:?}", b"caNary");
        assert!(!shown.contains("caNary") && !shown.contains(&numbers), "{shown}");
    }
}
