//! Places of the backup topic read again: every committed message of them once, in order within a
//! partition, nothing beyond the last place. Run on Kafka and on the world in memory.

use std::collections::BTreeMap;

use deltakeep::catalog::{CatalogError, Cursor, RangeReader, Stored, TopicReader};
use deltakeep::deliver::kafka::Delivery;
use deltakeep::deliver::{Lane, Sink};
use deltakeep::model::{Offset, Partition};
use deltakeep::testing::Memory;

use crate::support::{Cluster, message, run, unique};
use crate::topic::delete_before;

type Places = BTreeMap<Partition, (Offset, Offset)>;

fn places(of: &[(i32, i64, i64)]) -> Places {
    let place = |(partition, first, last): &(i32, i64, i64)| {
        (Partition(*partition), (Offset(*first), Offset(*last)))
    };
    of.iter().map(place).collect()
}

async fn read<R: RangeReader>(topic: &R, places: &Places) -> Result<Vec<Stored>, CatalogError> {
    let mut cursor = topic.open(places).await?;
    let mut found = Vec::new();
    while let Some(stored) = cursor.next().await? {
        found.push(stored);
    }
    assert_eq!(cursor.next().await?, None, "something follows the last message");
    Ok(found)
}

/// Two partitions with commits of several messages, an aborted transaction between them.
async fn check<T: RangeReader, S: Sink>(topic: &T, sink: &S) {
    topic.create(2).await.unwrap();
    let id = run();
    let mut lane = sink.open(id, 0).await.unwrap();
    let mut sent = Vec::new();
    for n in 0..60u8 {
        let partition = i32::from(n % 3 == 0);
        lane.send(message(partition, &n.to_string(), &vec![n; 2000])).await.unwrap();
        sent.push((partition, n));
        if n % 20 == 19 {
            lane.commit().await.unwrap();
        }
        if n == 39 {
            for _ in 0..5 {
                lane.send(message(0, "hidden", b"x")).await.unwrap();
            }
            drop(lane);
            lane = sink.open(id, 0).await.unwrap();
        }
    }
    let mut all: Vec<Stored> = Vec::new();
    let state = topic.state().await.unwrap().unwrap();
    let from: Vec<Offset> = state.ranges.iter().map(|range| range.0).collect();
    let mut see = |seen: deltakeep::catalog::Seen<'_>| {
        let (key, body) = (seen.key.to_vec(), seen.body.to_vec());
        all.push(Stored { partition: seen.partition, offset: seen.offset, key, body });
    };
    topic.scan(&from, &mut see).await.unwrap();
    assert_eq!(all.len(), sent.len());
    all.sort_by_key(|stored| (stored.partition, stored.offset));
    let of = |partition: i32| -> Vec<&Stored> {
        all.iter().filter(|stored| stored.partition.0 == partition).collect()
    };
    let (zero, one) = (of(0), of(1));
    let (first, last) = (zero[3].offset, zero[zero.len() - 4].offset);
    let wanted = BTreeMap::from([
        (Partition(0), (first, last)),
        (Partition(1), (one[0].offset, one[one.len() - 1].offset)),
    ]);
    let mut found = read(topic, &wanted).await.unwrap();
    let inside =
        |stored: &&Stored| stored.partition.0 == 1 || (first..=last).contains(&stored.offset);
    let expected: Vec<Stored> = all.iter().filter(inside).cloned().collect();
    let order: Vec<_> = found.iter().map(|stored| (stored.partition, stored.offset)).collect();
    for partition in [Partition(0), Partition(1)] {
        let offsets = order.iter().filter(|place| place.0 == partition);
        assert!(offsets.is_sorted(), "{order:?}");
    }
    found.sort_by_key(|stored| (stored.partition, stored.offset));
    assert!(found == expected, "{order:?}");
    assert_eq!(read(topic, &Places::new()).await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn places_are_read_again_once_and_in_order() {
    let cluster = Cluster::plain();
    let name = unique("places");
    check(&cluster.topic(&name), &cluster.sink(&name, Delivery::Transactions)).await;
}

#[tokio::test]
async fn places_in_memory_too() {
    let memory = Memory::new(1);
    check(&memory, &memory).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn places_that_are_gone_are_told() {
    let cluster = Cluster::plain();
    let name = unique("places_gone");
    let topic = cluster.topic(&name);
    topic.create(1).await.unwrap();
    let mut lane = cluster.sink(&name, Delivery::Idempotent).open(run(), 0).await.unwrap();
    for n in 0..10 {
        lane.send(message(0, &n.to_string(), b"1")).await.unwrap();
    }
    lane.commit().await.unwrap();
    delete_before(&cluster, &name, 4).await;
    for (first, last) in [(3, 6), (8, 10)] {
        let error = read(&topic, &places(&[(0, first, last)])).await.unwrap_err();
        assert!(matches!(error, CatalogError::Gone { .. }), "{error:?}");
    }
    let found = read(&topic, &places(&[(0, 4, 9)])).await.unwrap();
    assert_eq!(found.len(), 6);
}
