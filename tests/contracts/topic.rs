//! The topic reader: exact ends, whatever lies at them; offsets outside the log are gone; topics
//! are created with the settings a backup needs.

use std::time::Duration;

use deltakeep::catalog::{CatalogError, TopicReader};
use deltakeep::deliver::kafka::Delivery;
use deltakeep::deliver::{Lane, Sink};
use deltakeep::model::Offset;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::{ClientConfig, TopicPartitionList};

use crate::sink::content;
use crate::support::{Cluster, message, run, unique};

#[tokio::test(flavor = "multi_thread")]
async fn a_created_topic_never_forgets() {
    let cluster = Cluster::plain();
    let topic = cluster.topic(&unique("created"));
    assert_eq!(topic.state().await.unwrap(), None);
    let state = topic.create(3).await.unwrap();
    assert_eq!(state.ranges, [(Offset(0), Offset(0)); 3]);
    let settings: Vec<_> = state.settings.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    let expected = [
        ("cleanup.policy", "delete"),
        ("max.message.bytes", "4194304"),
        ("retention.bytes", "-1"),
        ("retention.ms", "-1"),
    ];
    assert_eq!(settings, expected);
    assert_eq!(topic.create(7).await.unwrap().ranges.len(), 3, "an existing topic is as good");
}

#[tokio::test(flavor = "multi_thread")]
async fn brokers_that_create_by_themselves_choose_the_partitions_but_not_the_retention() {
    let cluster = Cluster::automatic();
    let state = cluster.topic(&unique("automatic")).create(7).await.unwrap();
    assert_eq!(state.ranges.len(), 2, "num.partitions of the broker that scripts/servers starts");
    assert_eq!(state.settings["retention.ms"], "-1");
}

#[tokio::test(flavor = "multi_thread")]
async fn compaction_is_told() {
    let cluster = Cluster::plain();
    let name = unique("compacted");
    cluster.admin.create(&name, 1, &[("cleanup.policy", "compact,delete")]).await.unwrap();
    let state = cluster.topic(&name).create(1).await.unwrap();
    assert!(state.settings["cleanup.policy"].contains("compact"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scan_ends_behind_trailing_aborted_messages() {
    let cluster = Cluster::plain();
    let name = unique("aborted_tail");
    cluster.topic(&name).create(2).await.unwrap();
    let sink = cluster.sink(&name, Delivery::Transactions);
    let mut lane = sink.open(run(), 0).await.unwrap();
    lane.send(message(0, "kept", b"1")).await.unwrap();
    lane.commit().await.unwrap();
    for n in 0..24 {
        lane.send(message(n % 2, "aborted", &vec![7; 300_000])).await.unwrap();
    }
    drop(lane);
    let scan = tokio::time::timeout(Duration::from_secs(10), content(&cluster, &name, &[0, 0]));
    let (content_, ends) = scan.await.expect("the scan should end");
    assert_eq!(content_.values().flatten().count(), 1);
    assert!(ends.iter().all(|end| end.0 > 4), "{ends:?}");
    let nothing = content(&cluster, &name, &[2, 0]).await;
    assert!(nothing.0.is_empty(), "only markers and aborted messages lie there");
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_offsets_are_gone() {
    let cluster = Cluster::plain();
    let name = unique("gone");
    let topic = cluster.topic(&name);
    topic.create(1).await.unwrap();
    let mut lane = cluster.sink(&name, Delivery::Idempotent).open(run(), 0).await.unwrap();
    for n in 0..10 {
        lane.send(message(0, &n.to_string(), b"1")).await.unwrap();
    }
    lane.commit().await.unwrap();
    delete_before(&cluster, &name, 4).await;
    for wanted in [0, 3, 11] {
        let error = topic.scan(&[Offset(wanted)], &mut |_| {}).await.unwrap_err();
        let CatalogError::Gone { low, high, wanted: told, .. } = error else { panic!("{error:?}") };
        assert_eq!((low.0, high.0, told.0), (4, 10, wanted));
    }
    let (content, _) = content(&cluster, &name, &[4]).await;
    assert_eq!(content[&0].iter().map(|seen| seen.0).collect::<Vec<_>>(), [4, 5, 6, 7, 8, 9]);
}

pub async fn delete_before(cluster: &Cluster, topic: &str, offset: i64) {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", cluster.brokers.list());
    let admin: AdminClient<DefaultClientContext> = config.create().unwrap();
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, 0, rdkafka::Offset::Offset(offset)).unwrap();
    admin.delete_records(&list, &AdminOptions::new()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_has_an_id_that_stays() {
    let (one, other) = (Cluster::plain(), Cluster::automatic());
    let id = one.topic("any").cluster_id().await.unwrap();
    assert!(id.as_ref().is_some_and(|id| !id.is_empty()));
    assert_eq!(Cluster::plain().topic("any").cluster_id().await.unwrap(), id);
    assert_ne!(other.topic("any").cluster_id().await.unwrap(), id);
}

#[tokio::test(flavor = "multi_thread")]
async fn unreachable_brokers_are_told_as_such() {
    let error = Cluster::at("127.0.0.1:1".into()).topic("any").state().await.unwrap_err();
    let CatalogError::Unreachable { reason } = error else { panic!("{error:?}") };
    assert!(reason.contains("refused"), "{reason}");
}
