//! Staging topics: created to last, read by position with nothing skipped, and lost when lost.

use std::sync::Arc;
use std::time::Duration;

use deltakeep::deliver::kafka::Delivery;
use deltakeep::deliver::{Lane, Sink};
use deltakeep::extract::SourceError;
use deltakeep::extract::staging::Staging;
use deltakeep::model::{AttemptName, Partition};
use rdkafka::ClientConfig;
use rdkafka::producer::{FutureProducer, FutureRecord};

use crate::support::{Cluster, address, message, run, unique};
use crate::topic::delete_before;

fn staging(cluster: &Cluster) -> Staging {
    Staging::new(cluster.brokers.clone(), Arc::clone(&cluster.admin))
}

/// A topic of two partitions with `count` messages of `bytes` in partition 0.
async fn filled(cluster: &Cluster, what: &str, count: usize, bytes: usize) -> AttemptName {
    let topic = unique(what);
    staging(cluster).create(&topic, 2).await.unwrap();
    fill(cluster, &topic, count, bytes).await;
    AttemptName(topic)
}

async fn fill(cluster: &Cluster, topic: &str, count: usize, bytes: usize) {
    let mut lane = cluster.sink(topic, Delivery::Idempotent).open(run(), 0).await.unwrap();
    for n in 0..count {
        lane.send(message(0, &n.to_string(), &vec![n as u8; bytes])).await.unwrap();
    }
    lane.commit().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_is_read_in_order_below_its_end() {
    let cluster = Cluster::plain();
    let topic = filled(&cluster, "read", 300, 100_000).await;
    let staging = staging(&cluster);
    assert_eq!(staging.ends(&topic.0).await.unwrap(), Some(vec![300, 0]));
    let mut reader = staging.reader(&topic, Partition(0), 5, 290).await.unwrap();
    let mut next = 5;
    while let Some(staged) = reader.next().await.unwrap() {
        assert_eq!(staged.offset, next);
        assert_eq!(staged.key, next.to_string().as_bytes());
        assert_eq!(staged.body, vec![next as u8; 100_000]);
        next += 1;
    }
    assert_eq!(next, 290);
    assert_eq!(reader.next().await.unwrap(), None);
    let mut empty = staging.reader(&topic, Partition(1), 0, 0).await.unwrap();
    assert_eq!(empty.next().await.unwrap(), None);
}

/// A connector's answer comes before all replicas have what it wrote, and only they move the end
/// that brokers tell.
#[tokio::test(flavor = "multi_thread")]
async fn a_fence_lies_behind_everything_that_was_acknowledged_however_weakly() {
    let cluster = Cluster::at(address("DELTAKEEP_TEST_CLUSTER"));
    let staging = staging(&cluster);
    let topic = unique("fence");
    staging.create(&topic, 2).await.unwrap();
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", cluster.brokers.list()).set("acks", "1");
    let writer: FutureProducer = config.create().unwrap();
    let (mut written, mut behind) = (0, 0);
    for _ in 0..40 {
        for _ in 0..5 {
            let record = FutureRecord::<(), [u8]>::to(&topic).partition(0).payload(&[7; 5000]);
            writer.send(record, Duration::from_secs(9)).await.unwrap();
            written += 1;
        }
        let told = staging.ends(&topic).await.unwrap().unwrap();
        behind += u32::from(told[0] < written);
        let ends = staging.fence(&topic, 2).await.unwrap();
        assert_eq!(ends[0], written, "the fence lies before what was written");
        written += 1;
        let told = staging.ends(&topic).await.unwrap().unwrap();
        assert!(told[0] >= written && told[1] > ends[1], "{told:?} below the fence {ends:?}");
    }
    assert!(behind > 0, "the brokers' ends are never behind here: this proves nothing");
    staging.delete(&topic).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn staging_topics_do_not_expire() {
    let cluster = Cluster::plain();
    let topic = filled(&cluster, "settings", 0, 0).await;
    let settings = cluster.admin.settings(&topic.0).await.unwrap();
    assert_eq!(settings["retention.ms"], "-1");
    assert_eq!(settings["retention.bytes"], "-1");
    assert_eq!(settings["cleanup.policy"], "delete");
}

fn assert_lost(error: SourceError, topic: &AttemptName, end: u64) {
    let SourceError::StagingLost { attempt, partition, end: told } = error else {
        panic!("{error:?}")
    };
    assert_eq!((&attempt, partition, told), (topic, Partition(0), end));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_topic_is_lost_at_opening_and_while_reading() {
    let cluster = Cluster::plain();
    // More than a reader fetches ahead, so that the rest has to be asked for.
    let topic = filled(&cluster, "deleted", 300, 100_000).await;
    let staging = staging(&cluster);
    let mut reader = staging.reader(&topic, Partition(0), 0, 300).await.unwrap();
    assert_eq!(reader.next().await.unwrap().map(|staged| staged.offset), Some(0));
    staging.delete(&topic.0).await.unwrap();
    staging.delete(&topic.0).await.unwrap();
    let read = async {
        loop {
            match reader.next().await {
                Ok(staged) => assert!(staged.is_some(), "the end was reached"),
                Err(error) => break error,
            }
        }
    };
    let error = tokio::time::timeout(Duration::from_secs(20), read).await.expect("it hangs");
    assert_lost(error, &topic, 300);
    let reopened = staging.reader(&topic, Partition(0), 0, 300).await;
    assert_lost(reopened.err().expect("it was opened"), &topic, 300);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_made_anew_under_the_same_name_is_lost() {
    let cluster = Cluster::plain();
    let topic = filled(&cluster, "anew", 10, 100).await;
    let staging = staging(&cluster);
    staging.delete(&topic.0).await.unwrap();
    staging.create(&topic.0, 2).await.unwrap();
    fill(&cluster, &topic.0, 5, 100).await;
    let reopened = staging.reader(&topic, Partition(0), 0, 10).await;
    assert_lost(reopened.err().expect("it was opened"), &topic, 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_truncated_partition_is_lost() {
    let cluster = Cluster::plain();
    let topic = filled(&cluster, "truncated", 10, 100).await;
    delete_before(&cluster, &topic.0, 3).await;
    let staging = staging(&cluster);
    let lost = staging.reader(&topic, Partition(0), 2, 10).await;
    assert_lost(lost.err().expect("it was opened"), &topic, 10);
    let mut rest = staging.reader(&topic, Partition(0), 3, 10).await.unwrap();
    assert_eq!(rest.next().await.unwrap().map(|staged| staged.offset), Some(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn offsets_that_hold_no_message_are_lost() {
    let cluster = Cluster::plain();
    let topic = filled(&cluster, "hole", 3, 100).await;
    // A transaction's marker takes an offset.
    let sink = cluster.sink(&topic.0, Delivery::Transactions);
    let mut lane = sink.open(run(), 0).await.unwrap();
    lane.send(message(0, "3", b"")).await.unwrap();
    lane.commit().await.unwrap();
    fill(&cluster, &topic.0, 1, 10).await;
    let mut reader = staging(&cluster).reader(&topic, Partition(0), 0, 6).await.unwrap();
    for offset in 0..4 {
        assert_eq!(reader.next().await.unwrap().map(|staged| staged.offset), Some(offset));
    }
    assert_lost(reader.next().await.unwrap_err(), &topic, 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn leftovers_are_found_by_their_prefix() {
    let cluster = Cluster::plain();
    let staging = staging(&cluster);
    let prefix = unique("left");
    let names = [format!("{prefix}_a"), format!("{prefix}_b")];
    for name in &names {
        staging.create(name, 1).await.unwrap();
        staging.create(name, 1).await.unwrap();
    }
    assert_eq!(staging.list(&prefix).await.unwrap(), names);
    staging.delete(&names[0]).await.unwrap();
    let mut rest = staging.list(&prefix).await.unwrap();
    for _ in 0..50 {
        if rest.len() == 1 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        rest = staging.list(&prefix).await.unwrap();
    }
    assert_eq!(rest, names[1..]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_is_quiet_once_nobody_writes_or_it_is_gone() {
    let cluster = Cluster::plain();
    let topic = filled(&cluster, "quiet", 1, 10).await;
    let staging = staging(&cluster);
    let span = Duration::from_millis(1200);
    assert!(staging.quiet_for(&topic.0, span).await.unwrap());
    let write = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        fill(&cluster, &topic.0, 1, 10).await;
    };
    let (_, quiet) = tokio::join!(write, staging.quiet_for(&topic.0, span));
    assert!(!quiet.unwrap());
    assert!(staging.quiet_for(&unique("absent"), span).await.unwrap());
}
