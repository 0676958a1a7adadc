//! Where the node's Kafka brokers are: the lookup in ZooKeeper that the node itself makes
//! (PROSTORE.md section 8). Only reads; never talks to Kafka or to the node.

use std::time::Duration;

use serde::Deserialize;
use zookeeper_client::{Client, Error};

/// Port of ZooKeeper where the address names none.
const PORT: &str = "2181";

/// Why no brokers were found.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ZooKeeperError {
    /// Nobody answers.
    #[error("ZooKeeper {connect} is unreachable: {reason}")]
    Unreachable {
        /// The address, as asked.
        connect: String,
        /// What the client said.
        reason: String,
    },
    /// The address or the chroot is not one.
    #[error("ZooKeeper address {connect:?} with chroot {chroot:?} is not valid")]
    Invalid {
        /// The address.
        connect: String,
        /// The chroot.
        chroot: String,
    },
    /// No broker is registered there.
    #[error("ZooKeeper {connect} knows no brokers under {path}")]
    NoBrokers {
        /// The address.
        connect: String,
        /// Where was looked.
        path: String,
    },
    /// No registered broker has a listener without encryption and login.
    #[error(
        "brokers {ids} registered in ZooKeeper {connect} have no PLAINTEXT listener; name the brokers and their properties instead"
    )]
    NoPlainListener {
        /// The address.
        connect: String,
        /// Ids of the brokers, comma-separated.
        ids: String,
    },
}

/// What a broker registers of itself; other fields do not matter here.
#[derive(Deserialize)]
struct Registration {
    host: Option<String>,
    port: Option<i32>,
    #[serde(default)]
    endpoints: Vec<String>,
}

/// Asks ZooKeeper at `connect` (`host:port,host:port`, port 2181 where missing) for the brokers
/// registered below `chroot` (empty: the root): `host:port,host:port`, by id. The whole lookup
/// takes at most `timeout`.
///
/// # Errors
/// [`ZooKeeperError`], each case named.
pub async fn brokers(
    connect: &str,
    chroot: &str,
    timeout: Duration,
) -> Result<String, ZooKeeperError> {
    let connect = with_ports(connect);
    match tokio::time::timeout(timeout, look_up(&connect, chroot, timeout)).await {
        Ok(found) => found,
        Err(_) => Err(unreachable(&connect, format!("no answer in {} s", timeout.as_secs_f32()))),
    }
}

async fn look_up(connect: &str, chroot: &str, timeout: Duration) -> Result<String, ZooKeeperError> {
    let invalid = || ZooKeeperError::Invalid { connect: connect.into(), chroot: chroot.into() };
    let chroot = chroot.trim_end_matches('/');
    let connector = Client::connector().with_session_timeout(timeout).with_fail_eagerly();
    let client = match connector.connect(connect).await {
        Ok(client) => client,
        Err(Error::BadArguments(_)) => return Err(invalid()),
        Err(error) => return Err(unreachable(connect, error.to_string())),
    };
    if !chroot.is_empty() && !chroot.starts_with('/') {
        return Err(invalid());
    }
    let path = format!("{chroot}/brokers/ids");
    let registered = registrations(&client, &path).await;
    let registered = registered.map_err(|e| unreachable(connect, e.to_string()))?;
    if registered.is_empty() {
        return Err(ZooKeeperError::NoBrokers { connect: connect.into(), path });
    }
    let found: Vec<_> = registered.iter().filter_map(|(_, broker)| address(broker)).collect();
    if found.is_empty() {
        let ids: Vec<_> = registered.iter().map(|(id, _)| id.to_string()).collect();
        let ids = ids.join(",");
        return Err(ZooKeeperError::NoPlainListener { connect: connect.into(), ids });
    }
    Ok(found.join(","))
}

/// The brokers registered under a path, by id. One that leaves meanwhile is not there.
async fn registrations(client: &Client, path: &str) -> Result<Vec<(u64, Registration)>, Error> {
    let ids = match client.list_children(path).await {
        Err(Error::NoNode) => return Ok(Vec::new()),
        ids => ids?,
    };
    let mut found = Vec::new();
    for id in ids {
        let data = match client.get_data(&format!("{path}/{id}")).await {
            Err(Error::NoNode) => continue,
            data => data?.0,
        };
        if let (Ok(id), Ok(broker)) = (id.parse(), serde_json::from_slice(&data)) {
            found.push((id, broker));
        }
    }
    found.sort_by_key(|(id, _)| *id);
    Ok(found)
}

/// `host:port` of a broker's listener without encryption and login. Brokers that have several
/// listeners leave host and port empty and name the listeners as endpoints.
fn address(broker: &Registration) -> Option<String> {
    match (&broker.host, broker.port) {
        (Some(host), Some(port)) if !host.is_empty() && port > 0 => Some(format!("{host}:{port}")),
        _ => {
            let plain = broker.endpoints.iter().find_map(|e| e.strip_prefix("PLAINTEXT://"));
            plain.map(str::to_owned)
        }
    }
}

/// Appends `:2181` to hosts without a port.
fn with_ports(connect: &str) -> String {
    let host = |host: &str| {
        let host = host.trim();
        let bare = !host.rsplit(']').next().unwrap_or_default().contains(':');
        if bare { format!("{host}:{PORT}") } else { host.to_owned() }
    };
    connect.split(',').filter(|h| !h.trim().is_empty()).map(host).collect::<Vec<_>>().join(",")
}

fn unreachable(connect: &str, reason: String) -> ZooKeeperError {
    ZooKeeperError::Unreachable { connect: connect.to_owned(), reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Option<String> {
        serde_json::from_str::<Registration>(json).ok().and_then(|broker| address(&broker))
    }

    #[test]
    fn hosts_without_a_port_get_zookeepers() {
        assert_eq!(
            with_ports("zk1, zk2:12181,[::1]:5,[::2]"),
            "zk1:2181,zk2:12181,[::1]:5,[::2]:2181"
        );
    }

    #[test]
    fn an_address_is_host_and_port_or_the_plain_endpoint() {
        let plain = r#"{"host":"h","port":9092,"endpoints":["PLAINTEXT://h:9092"],"version":5}"#;
        assert_eq!(read(plain), Some("h:9092".into()));
        let several = r#"{"host":null,"port":-1,"endpoints":["SSL://h:1","PLAINTEXT://h:2"]}"#;
        assert_eq!(read(several), Some("h:2".into()));
        assert_eq!(read(r#"{"host":null,"port":-1,"endpoints":["SASL_SSL://h:1"]}"#), None);
        assert_eq!(read(r#"{"port":-1}"#), None);
    }
}
