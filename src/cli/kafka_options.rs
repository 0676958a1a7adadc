//! Options about brokers: their addresses and the settings of their clients. Owns the grammar and
//! the reading of values kept in files; connects to nothing.

use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::connect::{ConnectError, check_address};
use crate::extract::prostore::Secret;

/// Settings that deltakeep's promises rest on, or that have a keyword of their own.
const OURS: [&str; 9] = [
    "acks",
    "auto.offset.reset",
    "bootstrap.servers",
    "enable.auto.commit",
    "enable.idempotence",
    "group.id",
    "isolation.level",
    "metadata.broker.list",
    "transactional.id",
];

/// Why an option about brokers is none. No case repeats the value of a setting.
#[derive(Debug, thiserror::Error)]
pub enum KafkaOptionError {
    /// An element of a list is not HOST:PORT.
    #[error("{keyword}: address {position} of the list is wrong: {reason}")]
    Address {
        /// The keyword.
        keyword: &'static str,
        /// Which element, from 1.
        position: usize,
        /// What is wrong.
        reason: ConnectError,
    },
    /// No `=` in a setting.
    #[error("{keyword}: a setting is not NAME=VALUE")]
    NoValue {
        /// The keyword.
        keyword: &'static str,
    },
    /// A setting that is not to be changed.
    #[error("{keyword}: {name} is set by deltakeep itself")]
    Ours {
        /// The keyword.
        keyword: &'static str,
        /// The setting.
        name: String,
    },
    /// The file of a value cannot be read.
    #[error("{keyword}: the value of {name} cannot be read from {}: {source}", path.display())]
    File {
        /// The keyword.
        keyword: &'static str,
        /// The setting.
        name: String,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// A checked list of brokers, as clients take it: `host:port,host:port`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Brokers(String);

impl Brokers {
    /// Reads a list.
    ///
    /// # Errors
    /// [`KafkaOptionError::Address`] names the element that is wrong.
    pub fn parse(keyword: &'static str, list: &str) -> Result<Self, KafkaOptionError> {
        let addresses: Vec<_> = list.split(',').map(str::trim).collect();
        for (index, address) in addresses.iter().enumerate() {
            let wrong = |reason| KafkaOptionError::Address { keyword, position: index + 1, reason };
            check_address(address).map_err(wrong)?;
        }
        Ok(Self(addresses.join(",")))
    }

    /// The list.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Settings of a client. Their values can be passwords, so none of them is ever shown.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Properties(Vec<(String, Secret)>);

impl Properties {
    /// Reads `NAME=VALUE` settings; a value `@PATH` is the content of that file without the line
    /// end after it.
    ///
    /// # Errors
    /// [`KafkaOptionError`] names the setting.
    pub fn parse(keyword: &'static str, settings: &[Secret]) -> Result<Self, KafkaOptionError> {
        let settings = settings.iter().map(Secret::expose).filter(|setting| !setting.is_empty());
        settings.map(|setting| property(keyword, setting)).collect::<Result<_, _>>().map(Self)
    }

    /// The settings, as given.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Secret)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }
}

impl fmt::Debug for Properties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

fn property(keyword: &'static str, text: &str) -> Result<(String, Secret), KafkaOptionError> {
    let (name, value) = text.split_once('=').ok_or(KafkaOptionError::NoValue { keyword })?;
    let name = name.trim().to_owned();
    if name.is_empty() {
        return Err(KafkaOptionError::NoValue { keyword });
    }
    if OURS.contains(&name.as_str()) {
        return Err(KafkaOptionError::Ours { keyword, name });
    }
    let Some(path) = value.strip_prefix('@') else { return Ok((name, Secret::new(value))) };
    match read_secret(Path::new(path)) {
        Ok(secret) => Ok((name, secret)),
        Err(source) => Err(KafkaOptionError::File { keyword, name, path: path.into(), source }),
    }
}

/// Largest file of a key, a token or a password.
const LARGEST_SECRET: u64 = 1 << 20;

/// A file's content without the line end after it.
pub(super) fn read_secret(path: &Path) -> std::io::Result<Secret> {
    let mut text = String::new();
    let file = std::fs::File::open(path)?.take(LARGEST_SECRET + 1);
    std::io::BufReader::new(file).read_to_string(&mut text)?;
    if text.len() as u64 > LARGEST_SECRET {
        return Err(std::io::Error::other("larger than any key or token"));
    }
    let line = text.strip_suffix('\n').unwrap_or(&text);
    Ok(Secret::new(line.strip_suffix('\r').unwrap_or(line)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYWORD: &str = "--kafkaBrokers";

    #[test]
    fn lists_are_checked_element_by_element() {
        let list = Brokers::parse(KEYWORD, "10.123.2.43:9092, k2:9092,[::1]:9092");
        assert_eq!(
            list.ok().as_ref().map(Brokers::as_str),
            Some("10.123.2.43:9092,k2:9092,[::1]:9092")
        );
        for (bad, position) in [("", 1), ("a:1,", 2), ("a:1,b", 2), ("a", 1), ("a:1;b:2", 1)] {
            let error = Brokers::parse(KEYWORD, bad).expect_err(bad);
            let found =
                matches!(error, KafkaOptionError::Address { position: p, .. } if p == position);
            assert!(found, "{bad:?}: {error}");
        }
    }

    #[test]
    fn values_come_from_files_and_are_not_shown() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), "canary\n").expect("written");
        let settings = [
            Secret::new(format!("sasl.password=@{}", file.path().display())),
            Secret::new("sasl.username=a=b"),
            Secret::new(""),
        ];
        let properties = Properties::parse(KEYWORD, &settings).expect("settings");
        let values: Vec<_> = properties.iter().map(|(name, v)| (name, v.expose())).collect();
        assert_eq!(values, [("sasl.password", "canary"), ("sasl.username", "a=b")]);
        assert!(!format!("{properties:?}").contains("canary"));
        for bad in ["canary", "=canary", "acks=canary", "ssl.key=@/nowhere/at/all"] {
            let error = Properties::parse(KEYWORD, &[Secret::new(bad)]).expect_err(bad);
            assert!(!format!("{error} {error:?}").contains("canary"), "{error}");
        }
    }
}
