//! Load topics: a fresh one each time, whole once it is sealed, without gaps, and gone when it is
//! deleted. Run on Kafka and on the world in memory; what only Kafka can do follows.

use std::collections::BTreeSet;

use deltakeep::extract::SourceError;
use deltakeep::load::kafka::KafkaLoads;
use deltakeep::load::{LoadWriter, Loads};
use deltakeep::model::{AttemptName, DeltaNum, RunId};
use deltakeep::testing::{Memory, MemoryTarget};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{ClientConfig, Message as _, Offset, TopicPartitionList};

use crate::support::{Cluster, run};
use crate::topic::delete_before;

fn loads(cluster: &Cluster) -> KafkaLoads {
    KafkaLoads::new(cluster.brokers.clone(), cluster.admin.clone(), 0)
}

fn name(run: RunId, number: u32) -> AttemptName {
    AttemptName::new(run, DeltaNum(3), 1, 0, number)
}

async fn check<L: Loads>(loads: &L) {
    let (ours, others) = (run(), run());
    let (one, two) = (name(ours, 1), name(ours, 2));
    let mut first = loads.make(&one, 2).await.unwrap();
    let mut second = loads.make(&two, 1).await.unwrap();
    let _of_another_run = loads.make(&name(others, 1), 1).await.unwrap();
    for n in 0..100u8 {
        first.append(&vec![n; 5000 + n as usize]).await.unwrap();
        second.append(&[n]).await.unwrap();
    }
    assert_eq!(first.seal().await.unwrap(), 100);
    second.append(b"last").await.unwrap();
    assert_eq!(second.seal().await.unwrap(), 101);
    let left: BTreeSet<_> = loads.leftovers(ours).await.unwrap().into_iter().collect();
    assert_eq!(left, BTreeSet::from([one.clone(), two.clone()]));
    for name in [&one, &one, &two, &name(others, 1)] {
        loads.delete(name).await.unwrap();
    }
    assert_eq!(loads.leftovers(ours).await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn load_topics_hold_what_was_sent_and_are_found_by_their_run() {
    check(&loads(&Cluster::plain())).await;
}

#[tokio::test]
async fn load_topics_in_memory_do_too() {
    check(&MemoryTarget::new(&Memory::new(1))).await;
}

/// By partition: offset and body, as a reader sees them that knows nothing of transactions.
fn content(cluster: &Cluster, topic: &str, ends: &[i64]) -> Vec<Vec<(i64, Vec<u8>)>> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", cluster.brokers.list()).set("group.id", "test");
    config.set("isolation.level", "read_uncommitted");
    let consumer: BaseConsumer = config.create().unwrap();
    let mut list = TopicPartitionList::new();
    for partition in 0..ends.len() {
        list.add_partition_offset(topic, partition as i32, Offset::Beginning).unwrap();
    }
    consumer.assign(&list).unwrap();
    let mut content = vec![vec![]; ends.len()];
    for _ in 0..ends.iter().sum::<i64>() {
        let message = consumer.poll(std::time::Duration::from_secs(10)).expect("in time").unwrap();
        let body = message.payload().unwrap_or_default().to_vec();
        content[message.partition() as usize].push((message.offset(), body));
    }
    content
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_finds_every_body_once_without_gaps_in_all_partitions() {
    let cluster = Cluster::plain();
    let (loads, name) = (loads(&cluster), name(run(), 1));
    let mut writer = loads.make(&name, 3).await.unwrap();
    let bodies: Vec<Vec<u8>> = (0..200u32).map(|n| vec![n as u8; 1 + 997 * n as usize]).collect();
    for body in &bodies {
        writer.append(body).await.unwrap();
    }
    assert_eq!(writer.seal().await.unwrap(), 200);
    let ranges = cluster.admin.ranges(&name.0).await.unwrap().unwrap();
    let ends: Vec<i64> = ranges.iter().map(|range| range.1).collect();
    assert!(ends.iter().all(|end| (66..=67).contains(end)), "{ends:?}");
    let content = content(&cluster, &name.0, &ends);
    for partition in &content {
        let offsets: Vec<i64> = partition.iter().map(|(offset, _)| *offset).collect();
        assert_eq!(offsets, (0..partition.len() as i64).collect::<Vec<_>>());
    }
    let mut found: Vec<Vec<u8>> = content.into_iter().flatten().map(|(_, body)| body).collect();
    found.sort_by_key(Vec::len);
    assert!(found == bodies, "other bodies arrived");
    let settings = cluster.admin.settings(&name.0).await.unwrap();
    assert_eq!(settings["retention.ms"], "-1");
    loads.delete(&name).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_is_there_already_is_not_fresh() {
    let cluster = Cluster::plain();
    let (loads, name) = (loads(&cluster), name(run(), 1));
    drop(loads.make(&name, 1).await.unwrap());
    assert!(matches!(loads.make(&name, 1).await, Err(SourceError::Brokers { .. })));
    loads.delete(&name).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_lost_or_got_messages_is_not_sealed() {
    let cluster = Cluster::plain();
    let loads = loads(&cluster);
    let lost = name(run(), 1);
    let mut writer = loads.make(&lost, 1).await.unwrap();
    for n in 0..9 {
        writer.append(&[n]).await.unwrap();
    }
    // Whatever is written so far is there once another writer of the producer is sealed.
    let other = name(run(), 2);
    loads.make(&other, 1).await.unwrap().seal().await.unwrap();
    delete_before(&cluster, &lost.0, 4).await;
    assert!(matches!(writer.seal().await, Err(SourceError::Brokers { .. })));
    let foreign = name(run(), 3);
    let mut writer = loads.make(&foreign, 1).await.unwrap();
    writer.append(b"ours").await.unwrap();
    write_as_another(&cluster, &foreign.0).await;
    let error = writer.seal().await.unwrap_err();
    assert!(error.to_string().contains("sent were [1]"), "{error}");
    for name in [&lost, &other, &foreign] {
        loads.delete(name).await.unwrap();
    }
}

async fn write_as_another(cluster: &Cluster, topic: &str) {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", cluster.brokers.list());
    let producer: rdkafka::producer::FutureProducer = config.create().unwrap();
    let record = rdkafka::producer::FutureRecord::<(), _>::to(topic).payload("foreign");
    producer.send(record, std::time::Duration::from_secs(10)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_deleted_under_a_writer_ends_it_and_others_get_a_new_producer() {
    let cluster = Cluster::automatic();
    let (loads, gone) = (loads(&cluster), name(run(), 1));
    let mut writer = loads.make(&gone, 1).await.unwrap();
    writer.append(b"1").await.unwrap();
    cluster.admin.delete(&gone.0).await.unwrap();
    let filled = async {
        for _ in 0..20 {
            writer.append(&vec![7; 500_000]).await?;
        }
        writer.seal().await
    };
    let end = tokio::time::timeout(std::time::Duration::from_secs(75), filled);
    assert!(matches!(end.await.expect("it hangs"), Err(SourceError::Brokers { .. })));
    let next = name(run(), 2);
    let mut writer = loads.make(&next, 1).await.unwrap();
    writer.append(b"1").await.unwrap();
    assert_eq!(writer.seal().await.unwrap(), 1);
    loads.delete(&next).await.unwrap();
    assert_eq!(cluster.admin.list(&gone.0).await.unwrap(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_as_large_as_the_backup_topic_allows_is_taken_and_a_larger_one_named() {
    let cluster = Cluster::plain();
    let largest = 6 << 20;
    let loads = KafkaLoads::new(cluster.brokers.clone(), cluster.admin.clone(), largest);
    let name = name(run(), 1);
    let mut writer = loads.make(&name, 1).await.unwrap();
    writer.append(&vec![7; largest - 200]).await.unwrap();
    let error = writer.append(&vec![7; largest]).await.unwrap_err();
    assert!(error.to_string().contains("is above a load topic's"), "{error}");
    assert_eq!(writer.seal().await.unwrap(), 1);
    loads.delete(&name).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn unreachable_brokers_are_told_as_such() {
    let loads = loads(&Cluster::at("127.0.0.1:1".into()));
    let error = loads.make(&name(run(), 1), 1).await.err().expect("it was made");
    assert!(matches!(error, SourceError::Brokers { .. }), "{error:?}");
}
