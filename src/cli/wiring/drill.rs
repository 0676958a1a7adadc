//! Builds the outside worlds of a drill: those of its restore, and the live source. Never decides
//! what is done with them.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Addresses, RestoreWorld, WiringError, node, restore};
use crate::cli::connect::Connection;
use crate::cli::settings::Ways;
use crate::drill::World;
use crate::extract::prostore::ProstoreNode;

/// The real worlds of a drill.
#[derive(Clone)]
pub struct DrillWorld {
    restore: Arc<RestoreWorld>,
    source: ProstoreNode,
}

impl World for DrillWorld {
    type Restore = RestoreWorld;
    type Source = ProstoreNode;

    fn restore(&self) -> &Arc<RestoreWorld> {
        &self.restore
    }

    fn source(&self) -> &ProstoreNode {
        &self.source
    }
}

/// Finds the brokers and builds everything.
///
/// # Errors
/// [`WiringError`], each case named.
pub async fn drill(
    source: &Connection,
    scratch: &Connection,
    topic: &str,
    ways: &Ways,
) -> Result<(DrillWorld, Addresses), WiringError> {
    let (world, addresses) = restore(scratch, topic, ways).await?;
    Ok((DrillWorld { restore: Arc::new(world), source: node(source)? }, addresses))
}

/// Worlds over given parts: the demo's.
#[cfg(feature = "demo")]
pub fn assemble_drill(restore: RestoreWorld, source: ProstoreNode) -> DrillWorld {
    DrillWorld { restore: Arc::new(restore), source }
}

/// Whether two addresses lead to one node, as far as names tell. What cannot be looked up is
/// another one: the marker decides in the end.
pub async fn same_node(one: &str, other: &str) -> bool {
    let addresses = async |name: &str| -> BTreeSet<std::net::SocketAddr> {
        tokio::net::lookup_host(name).await.map(Iterator::collect).unwrap_or_default()
    };
    let (one, other) = (addresses(one).await, addresses(other).await);
    one.intersection(&other).next().is_some()
}
