//! The sink: what is committed is there once and in order, what is not stays invisible, and of two
//! instances of a lane only the later one writes.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use deltakeep::catalog::TopicReader;
use deltakeep::deliver::kafka::Delivery;
use deltakeep::deliver::{Lane, Sink, SinkError};
use deltakeep::kafka::Brokers;
use deltakeep::model::Offset;
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;

use crate::support::{Cluster, message, run, unique};

/// By partition: (offset, key, body) in the order seen.
type Content = BTreeMap<i32, Vec<(i64, String, Vec<u8>)>>;

pub async fn content(cluster: &Cluster, topic: &str, from: &[i64]) -> (Content, Vec<Offset>) {
    let from: Vec<_> = from.iter().copied().map(Offset).collect();
    let mut content = Content::new();
    let ends = cluster
        .topic(topic)
        .scan(&from, &mut |seen| {
            let key = String::from_utf8(seen.key.to_vec()).unwrap();
            let place = content.entry(seen.partition.0).or_default();
            place.push((seen.offset.0, key, seen.body.to_vec()));
        })
        .await
        .unwrap();
    (content, ends)
}

fn keys(content: &Content) -> Vec<&str> {
    content.values().flatten().map(|(_, key, _)| key.as_str()).collect()
}

async fn check_round_trip(cluster: &Cluster, delivery: Delivery) {
    let topic = unique("round_trip");
    cluster.topic(&topic).create(3).await.unwrap();
    let sink = cluster.sink(&topic, delivery);
    let mut lane = sink.open(run(), 0).await.unwrap();
    assert_eq!(lane.commit().await.unwrap(), []);
    let mut told = Vec::new();
    let mut sent = Vec::new();
    for batch in 0..4 {
        for n in 0..50usize {
            let (key, body) = (format!("{batch}/{n}"), vec![n as u8; 40_000 + n * 997]);
            let partition = (n % 3) as i32;
            sent.push((partition, key.clone(), body.clone()));
            lane.send(message(partition, &key, &body)).await.unwrap();
        }
        told.extend(lane.commit().await.unwrap());
    }
    assert_eq!(told.len(), sent.len());
    let (content, ends) = content(cluster, &topic, &[0, 0, 0]).await;
    let mut expected = Content::new();
    for ((partition, key, body), offset) in sent.into_iter().zip(told) {
        expected.entry(partition).or_default().push((offset.0, key, body));
    }
    assert!(expected == content, "the topic does not hold what was told");
    assert_eq!(ends.len(), 3);
    let known: Vec<_> = ends.iter().map(|end| end.0).collect();
    // Markers of the last transaction may still arrive: the ends can move, with nothing to show.
    let (news, _) = crate::sink::content(cluster, &topic, &known).await;
    assert!(news.is_empty(), "{:?}", keys(&news));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_committed_is_read_back_once_and_in_order() {
    check_round_trip(&Cluster::plain(), Delivery::Transactions).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_transactions_too() {
    check_round_trip(&Cluster::plain(), Delivery::Idempotent).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_committed_stays_invisible_and_holds_nobody_up() {
    let cluster = Cluster::plain();
    let topic = unique("uncommitted");
    cluster.topic(&topic).create(1).await.unwrap();
    let sink = cluster.sink(&topic, Delivery::Transactions);
    let id = run();
    let mut lane = sink.open(id, 0).await.unwrap();
    lane.send(message(0, "seen", b"1")).await.unwrap();
    lane.commit().await.unwrap();
    // Enough to be on the broker, not only in the client.
    for n in 0..40 {
        lane.send(message(0, &format!("hidden {n}"), &vec![7; 300_000])).await.unwrap();
    }
    drop(lane);
    let (content, ends) = content(&cluster, &topic, &[0]).await;
    assert_eq!(keys(&content), ["seen"]);
    assert!(ends[0].0 > 20, "the aborted messages should be in the log: {ends:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scan_waits_for_what_another_writer_has_open_below_its_end() {
    let cluster = Cluster::plain();
    let topic = unique("held_back");
    cluster.topic(&topic).create(1).await.unwrap();
    let sink = cluster.sink(&topic, Delivery::Transactions);
    let mut other = sink.open(run(), 0).await.unwrap();
    for n in 0..12 {
        other.send(message(0, &format!("other {n}"), &vec![7; 300_000])).await.unwrap();
    }
    let mut ours = sink.open(run(), 0).await.unwrap();
    ours.send(message(0, "ours", b"1")).await.unwrap();
    ours.commit().await.unwrap();
    let started = Instant::now();
    let finish = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        other.commit().await.unwrap();
    };
    let (_, (content, _)) = tokio::join!(finish, content(&cluster, &topic, &[0]));
    assert!(keys(&content).contains(&"ours"), "{:?}", keys(&content));
    assert!(started.elapsed() >= Duration::from_secs(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_second_instance_of_a_lane_fences_the_first() {
    let cluster = Cluster::plain();
    let topic = unique("fenced");
    cluster.topic(&topic).create(1).await.unwrap();
    let sink = cluster.sink(&topic, Delivery::Transactions);
    let id = run();
    let mut zombie = sink.open(id, 3).await.unwrap();
    for n in 0..12 {
        zombie.send(message(0, &format!("zombie {n}"), &vec![7; 300_000])).await.unwrap();
    }
    let mut heir = sink.open(id, 3).await.unwrap();
    let error = zombie.commit().await.unwrap_err();
    assert!(matches!(error, SinkError::Fenced { lane: 3 }), "{error:?}");
    assert!(matches!(
        zombie.send(message(0, "late", b"")).await,
        Err(SinkError::Interrupted { .. })
    ));
    heir.send(message(0, "heir", b"1")).await.unwrap();
    heir.commit().await.unwrap();
    drop(zombie);
    let (content, _) = content(&cluster, &topic, &[0]).await;
    assert_eq!(keys(&content), ["heir"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fenced_lane_fails_while_it_sends_too() {
    let cluster = Cluster::plain();
    let topic = unique("fenced_sending");
    cluster.topic(&topic).create(1).await.unwrap();
    let sink = cluster.sink(&topic, Delivery::Transactions);
    let id = run();
    let mut zombie = sink.open(id, 0).await.unwrap();
    zombie.send(message(0, "zombie", &[7; 1000])).await.unwrap();
    let _heir = sink.open(id, 0).await.unwrap();
    let started = Instant::now();
    let error = loop {
        assert!(started.elapsed() < Duration::from_secs(30), "nobody stops the zombie");
        if let Err(error) = zombie.send(message(0, "zombie", &vec![7; 500_000])).await {
            break error;
        }
    };
    assert!(matches!(error, SinkError::Fenced { .. } | SinkError::Interrupted { .. }), "{error:?}");
    assert_eq!(content(&cluster, &topic, &[0]).await.0, Content::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_above_the_limit_is_refused_with_its_size() {
    let cluster = Cluster::plain();
    let topic = unique("large");
    cluster.topic(&topic).create(1).await.unwrap();
    let sink = cluster.sink(&topic, Delivery::Transactions);
    let mut lane = sink.open(run(), 0).await.unwrap();
    let limit = 4 << 20;
    lane.send(message(0, "key", &vec![7; limit - 200])).await.unwrap();
    let error = lane.send(message(0, "key", &vec![7; limit])).await.unwrap_err();
    let SinkError::TooLarge { bytes, limit: told } = error else { panic!("{error:?}") };
    assert_eq!((bytes, told), (limit + 3, limit));
    // Refused before it was handed over: the lane goes on.
    assert_eq!(lane.commit().await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_takes_less_than_it_tells_is_too_large_as_well() {
    let cluster = Cluster::plain();
    let topic = unique("small");
    cluster.admin.create(&topic, 1, &[("max.message.bytes", "100000")]).await.unwrap();
    let sink = cluster.sink(&topic, Delivery::Idempotent);
    let mut lane = sink.open(run(), 0).await.unwrap();
    lane.send(message(0, "key", &vec![7; 99_800])).await.unwrap();
    lane.commit().await.unwrap();
    let error = lane.send(message(0, "key", &vec![7; 100_000])).await.unwrap_err();
    assert!(matches!(error, SinkError::TooLarge { limit: 100_000, .. }), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_lowered_under_a_lane_is_told_by_the_brokers() {
    let cluster = Cluster::plain();
    for delivery in [Delivery::Transactions, Delivery::Idempotent] {
        let topic = unique("lowered");
        cluster.topic(&topic).create(1).await.unwrap();
        let mut lane = cluster.sink(&topic, delivery).open(run(), 0).await.unwrap();
        lower_limit(&cluster, &topic).await;
        lane.send(message(0, "key", &vec![7; 50_000])).await.unwrap();
        let error = lane.commit().await.unwrap_err();
        assert!(matches!(error, SinkError::TooLarge { bytes: 50_003, .. }), "{error:?}");
    }
}

async fn lower_limit(cluster: &Cluster, topic: &str) {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", cluster.brokers.list());
    let admin: AdminClient<DefaultClientContext> = config.create().unwrap();
    let lower = AlterConfig::new(ResourceSpecifier::Topic(topic)).set("max.message.bytes", "10000");
    admin.alter_configs([&lower], &AdminOptions::new()).await.unwrap()[0].as_ref().unwrap();
    while cluster.admin.settings(topic).await.unwrap()["max.message.bytes"] != "10000" {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_topic_is_refused_and_not_created() {
    let cluster = Cluster::automatic();
    let topic = unique("missing");
    let sink = cluster.sink(&topic, Delivery::Idempotent);
    let opened = sink.open(run(), 0).await;
    let error = opened.err().expect("it was opened");
    assert!(matches!(error, SinkError::Refused { .. }), "{error:?}");
    assert_eq!(cluster.admin.list(&topic).await.unwrap(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn transactions_that_brokers_refuse_suggest_the_other_delivery() {
    let list = Cluster::plain().brokers.list().to_owned();
    let an_hour = BTreeMap::from([("transaction.timeout.ms".to_owned(), "3600000".to_owned())]);
    let mut cluster = Cluster::plain();
    cluster.brokers = Brokers::new(list, an_hour).unwrap();
    let topic = unique("refused");
    cluster.topic(&topic).create(1).await.unwrap();
    let opened = cluster.sink(&topic, Delivery::Transactions).open(run(), 0).await;
    let Some(SinkError::Refused { reason }) = opened.err() else { panic!("it was taken") };
    assert!(reason.contains("--delivery idempotent"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn settling_waits_for_a_quiet_tail_without_transactions_only() {
    let cluster = Cluster::plain();
    let topic = unique("settle");
    cluster.topic(&topic).create(2).await.unwrap();
    let quiet = Duration::from_millis(1500);
    let started = Instant::now();
    cluster.sink(&topic, Delivery::Transactions).settle().await.unwrap();
    assert!(started.elapsed() < Duration::from_millis(500));
    let sink = cluster.sink(&topic, Delivery::Idempotent).with_quiet(quiet);
    let mut lane = sink.open(run(), 0).await.unwrap();
    let write = async {
        for _ in 0..4 {
            tokio::time::sleep(Duration::from_millis(500)).await;
            lane.send(message(1, "late", b"1")).await.unwrap();
            lane.commit().await.unwrap();
        }
        Instant::now()
    };
    let settle = async {
        sink.settle().await.unwrap();
        Instant::now()
    };
    let (written, settled) = tokio::join!(write, settle);
    assert!(settled > written + quiet - Duration::from_millis(400));
}

#[tokio::test(flavor = "multi_thread")]
async fn unreachable_brokers_are_told_as_such() {
    let cluster = Cluster::at("127.0.0.1:1".into());
    let opened = cluster.sink("any", Delivery::Transactions).open(run(), 0).await;
    let Some(SinkError::Interrupted { reason }) = opened.err() else { panic!("it was opened") };
    assert!(reason.contains("refused"), "{reason}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_deleted_under_a_lane_ends_it_and_does_not_come_back() {
    let cluster = Cluster::automatic();
    let topic = unique("deleted");
    cluster.topic(&topic).create(1).await.unwrap();
    let mut lane = cluster.sink(&topic, Delivery::Idempotent).open(run(), 0).await.unwrap();
    lane.send(message(0, "k", b"1")).await.unwrap();
    lane.commit().await.unwrap();
    cluster.admin.delete(&topic).await.unwrap();
    lane.send(message(0, "k", b"2")).await.unwrap();
    let end = tokio::time::timeout(Duration::from_secs(45), lane.commit());
    let error = end.await.expect("it hangs").unwrap_err();
    assert!(matches!(error, SinkError::Refused { .. }), "{error:?}");
    assert_eq!(cluster.admin.list(&topic).await.unwrap(), Vec::<String>::new());
}
