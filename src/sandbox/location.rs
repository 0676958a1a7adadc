//! Owns the LOCATION of external tables: which topic it names and whether the node can reach it; never connects.

use super::Options;

/// A parsed `kafka://hosts[/chroot]/topic`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Location {
    pub(crate) hosts: String,
    pub(crate) topic: String,
}

/// Splits a location; `None` when it has no host or topic.
pub(crate) fn parse(text: &str) -> Option<Location> {
    let rest = text.strip_prefix("kafka://")?;
    let (hosts, path) = rest.split_once('/')?;
    let topic = path.rsplit('/').next()?;
    if hosts.is_empty() || topic.is_empty() {
        return None;
    }
    Some(Location { hosts: hosts.to_owned(), topic: topic.to_owned() })
}

/// Whether the hosts are the ZooKeeper of the options. Any will do when the options name none.
pub(crate) fn reachable(location: &Location, options: &Options) -> bool {
    let Some(zookeeper) = &options.zookeeper else {
        return true;
    };
    if location.hosts == "$kafka" {
        return true;
    }
    let known: Vec<_> = zookeeper.split(',').map(with_port).collect();
    location.hosts.split(',').all(|host| known.contains(&with_port(host)))
}

fn with_port(host: &str) -> String {
    if host.contains(':') { host.to_owned() } else { format!("{host}:2181") }
}
