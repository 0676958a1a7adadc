//! The lookup of brokers in a real ZooKeeper.

use std::time::{Duration, Instant};

use deltakeep::extract::zookeeper::{ZooKeeperError, brokers};

use zookeeper_client::{Acls, Client, CreateMode};

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

/// Registers brokers below a chroot of their own.
async fn register(connect: &str, chroot: &str, brokers: &[(u32, &str)]) {
    let client = Client::connect(connect).await.unwrap();
    let options = CreateMode::Persistent.with_acls(Acls::anyone_all());
    client.mkdir(&format!("{chroot}/brokers/ids"), &options).await.unwrap();
    for (id, json) in brokers {
        let path = format!("{chroot}/brokers/ids/{id}");
        client.create(&path, json.as_bytes(), &options).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn brokers_of_a_chroot_are_listed_by_id_with_their_plain_listeners() {
    let connect = address("DELTAKEEP_TEST_ZOOKEEPER");
    let chroot = format!("/{}", unique("listeners"));
    let secure = r#"{"host":null,"port":-1,"endpoints":["SASL_SSL://c:3"]}"#;
    let registered = [
        (10, r#"{"host":"a","port":1,"endpoints":["PLAINTEXT://a:1"]}"#),
        (9, r#"{"host":null,"port":-1,"endpoints":["SSL://b:1","PLAINTEXT://b:2"]}"#),
        (11, secure),
    ];
    register(&connect, &chroot, &registered).await;
    assert_eq!(brokers(&connect, &chroot, SPAN).await.unwrap(), "b:2,a:1");
    let chroot = format!("/{}", unique("secure"));
    register(&connect, &chroot, &[(11, secure), (12, secure)]).await;
    let error = brokers(&connect, &chroot, SPAN).await.unwrap_err();
    assert_eq!(error, ZooKeeperError::NoPlainListener { connect, ids: "11,12".into() });
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_there_is_told_soon() {
    let started = Instant::now();
    let error = brokers("127.0.0.1:1", "", Duration::from_secs(3)).await.unwrap_err();
    assert!(matches!(error, ZooKeeperError::Unreachable { .. }), "{error:?}");
    assert!(started.elapsed() < Duration::from_secs(5));
}
