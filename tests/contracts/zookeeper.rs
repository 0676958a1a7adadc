//! The lookup of brokers in a real ZooKeeper.

use std::time::{Duration, Instant};

use deltakeep::extract::zookeeper::{ZooKeeperError, brokers};

use crate::support::{Cluster, address, unique};

const SPAN: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread")]
async fn registered_brokers_are_found_and_answer() {
    let connect = address("DELTAKEEP_TEST_ZOOKEEPER");
    let list = brokers(&connect, "", SPAN).await.unwrap();
    assert!(list.contains(':'), "{list}");
    assert_eq!(brokers(&connect, "/", SPAN).await.unwrap(), list);
    assert!(Cluster::at(list).admin.cluster_id().await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chroot_without_brokers_is_named() {
    let connect = address("DELTAKEEP_TEST_ZOOKEEPER");
    let chroot = format!("/{}", unique("chroot"));
    let error = brokers(&connect, &chroot, SPAN).await.unwrap_err();
    let path = format!("{chroot}/brokers/ids");
    assert_eq!(error, ZooKeeperError::NoBrokers { connect, path });
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_there_is_told_soon() {
    let started = Instant::now();
    let error = brokers("127.0.0.1:1", "", Duration::from_secs(3)).await.unwrap_err();
    assert!(matches!(error, ZooKeeperError::Unreachable { .. }), "{error:?}");
    assert!(started.elapsed() < Duration::from_secs(5));
}
