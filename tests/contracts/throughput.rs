//! Sink and reader against a plain consume-and-produce copy of the same messages. Ignored: it
//! measures, and needs a quiet machine.

use std::sync::Arc;
use std::time::{Duration, Instant};

use deltakeep::catalog::TopicReader;
use deltakeep::deliver::kafka::Delivery;
use deltakeep::deliver::{Lane, Sink};
use deltakeep::extract::staging::Staging;
use deltakeep::model::{AttemptName, Partition};
use rdkafka::consumer::{Consumer, StreamConsumer};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Message as _, Offset, TopicPartitionList};

use crate::support::{Cluster, message, run, unique};

const BODY: usize = 157_000;
const COUNT: usize = 3000;
const MEGABYTES: f64 = (BODY * COUNT) as f64 / 1e6;

/// Copies with the client's own settings, as fast as it can.
async fn plain(cluster: &Cluster, from: &str, to: &str) -> Duration {
    let started = Instant::now();
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", cluster.brokers.list()).set("enable.idempotence", "true");
    let producer: BaseProducer = config.create().unwrap();
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", cluster.brokers.list()).set("group.id", "plain");
    let consumer: StreamConsumer = config.create().unwrap();
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(from, 0, Offset::Beginning).unwrap();
    consumer.assign(&list).unwrap();
    for _ in 0..COUNT {
        let message = consumer.recv().await.unwrap();
        let mut record =
            BaseRecord::to(to).partition(0).key("k").payload(message.payload().unwrap());
        while let Err((_, back)) = producer.send(record) {
            producer.poll(Duration::from_millis(5));
            record = back;
        }
        producer.poll(Duration::ZERO);
    }
    producer.flush(Duration::from_secs(60)).unwrap();
    started.elapsed()
}

/// Copies as a backup does: a staging reader and a lane that commits every second or 64 MB.
async fn ours(cluster: &Cluster, from: &str, to: &str, delivery: Delivery) -> Duration {
    let started = Instant::now();
    let staging = Staging::new(cluster.brokers.clone(), Arc::clone(&cluster.admin));
    let name = AttemptName(from.into());
    let mut reader = staging.reader(&name, Partition(0), 0, COUNT as u64).await.unwrap();
    let mut lane = cluster.sink(to, delivery).open(run(), 0).await.unwrap();
    let (mut opened, mut bytes) = (Instant::now(), 0);
    while let Some(staged) = reader.next().await.unwrap() {
        bytes += staged.body.len();
        let body = staged.body;
        lane.send(deltakeep::deliver::Message {
            partition: Partition(0),
            key: b"k".to_vec(),
            body,
        })
        .await
        .unwrap();
        if bytes > 64 << 20 || opened.elapsed() > Duration::from_secs(1) {
            lane.commit().await.unwrap();
            (opened, bytes) = (Instant::now(), 0);
        }
    }
    lane.commit().await.unwrap();
    started.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn a_copy_is_nearly_as_fast_as_a_plain_one() {
    let cluster = Cluster::plain();
    let source = unique("source");
    cluster.topic(&source).create(1).await.unwrap();
    let mut lane = cluster.sink(&source, Delivery::Idempotent).open(run(), 0).await.unwrap();
    let mut state = 1u64;
    let mut noise = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 33) as u8
    };
    let bodies: Vec<Vec<u8>> = (0..16).map(|_| (0..BODY).map(|_| noise()).collect()).collect();
    for n in 0..COUNT {
        lane.send(message(0, "k", &bodies[n % 16])).await.unwrap();
    }
    lane.commit().await.unwrap();
    drop(lane);
    for round in 0..3 {
        let mut spent = Vec::new();
        for way in ["plain", "transactions", "idempotent"] {
            let target = unique("target");
            cluster.topic(&target).create(1).await.unwrap();
            let span = match way {
                "plain" => plain(&cluster, &source, &target).await,
                "transactions" => ours(&cluster, &source, &target, Delivery::Transactions).await,
                _ => ours(&cluster, &source, &target, Delivery::Idempotent).await,
            };
            spent.push(format!("{way} {:.0} MB/s", MEGABYTES / span.as_secs_f64()));
            cluster.admin.delete(&target).await.unwrap();
        }
        println!("round {round}: {}", spent.join(", "));
    }
    cluster.admin.delete(&source).await.unwrap();
}

/// Resident memory of this process, KiB.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn many_small_staging_topics_cost_little() {
    let cluster = Cluster::plain();
    let staging = Staging::new(cluster.brokers.clone(), Arc::clone(&cluster.admin));
    let prefix = unique("many");
    let mut spent = [Duration::ZERO; 5];
    for n in 0..300 {
        let name = AttemptName(format!("{prefix}_{n}"));
        let mut mark = Instant::now();
        let mut lap = |place: usize| {
            spent[place] += mark.elapsed();
            mark = Instant::now();
        };
        staging.create(&name.0, 2).await.unwrap();
        lap(0);
        let mut lane = cluster.sink(&name.0, Delivery::Idempotent).open(run(), 0).await.unwrap();
        lane.send(message(0, "k", b"v")).await.unwrap();
        lane.commit().await.unwrap();
        lap(1);
        assert_eq!(staging.ends(&name.0).await.unwrap(), Some(vec![1, 0]));
        lap(2);
        let mut reader = staging.reader(&name, Partition(0), 0, 1).await.unwrap();
        assert!(reader.next().await.unwrap().is_some());
        drop(reader);
        lap(3);
        staging.delete(&name.0).await.unwrap();
        lap(4);
        if n % 100 == 99 {
            let millis = spent.map(|span| span.as_millis() / 100);
            println!("{n}: create, write, ends, read, delete: {millis:?} ms; {} KiB", resident());
            spent = [Duration::ZERO; 5];
        }
    }
}
