//! The in-process broker of the demo: the same sink, reader and staging topics work on it.

#![cfg(feature = "demo")]

use std::sync::Arc;

use deltakeep::catalog::TopicReader;
use deltakeep::deliver::kafka::Delivery;
use deltakeep::deliver::{Lane, Sink};
use deltakeep::extract::staging::Staging;
use deltakeep::kafka::mock::MockAdmin;
use deltakeep::model::{AttemptName, Partition};

use crate::sink::content;
use crate::support::{Cluster, message, run};

fn cluster() -> Cluster {
    let admin = MockAdmin::start().unwrap();
    Cluster { brokers: admin.brokers().clone(), admin }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_topic_works_without_a_server() {
    let cluster = cluster();
    let topic = cluster.topic("backup");
    assert_eq!(topic.state().await.unwrap(), None);
    assert_eq!(topic.create(3).await.unwrap().ranges.len(), 3);
    assert_eq!(topic.create(3).await.unwrap().ranges.len(), 3);
    assert!(topic.cluster_id().await.unwrap().is_some());
    let mut lane = cluster.sink("backup", Delivery::Idempotent).open(run(), 0).await.unwrap();
    for n in 0..30 {
        lane.send(message(n % 3, &n.to_string(), &[7; 1000])).await.unwrap();
    }
    let told = lane.commit().await.unwrap();
    assert_eq!(told.iter().map(|o| o.0).max(), Some(9));
    let (content, ends) = content(&cluster, "backup", &[0, 5, 10]).await;
    assert_eq!(content.values().map(Vec::len).collect::<Vec<_>>(), [10, 5]);
    assert!(ends.iter().all(|end| end.0 == 10));
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_topics_count_as_gone() {
    let cluster = cluster();
    let staging = Staging::new(cluster.brokers.clone(), Arc::clone(&cluster.admin));
    staging.create("stage_1", 1).await.unwrap();
    let mut lane = cluster.sink("stage_1", Delivery::Idempotent).open(run(), 0).await.unwrap();
    lane.send(message(0, "k", b"v")).await.unwrap();
    lane.commit().await.unwrap();
    assert_eq!(staging.ends("stage_1").await.unwrap(), Some(vec![1]));
    let name = AttemptName("stage_1".into());
    let mut reader = staging.reader(&name, Partition(0), 0, 1).await.unwrap();
    assert_eq!(reader.next().await.unwrap().map(|staged| staged.key), Some(b"k".to_vec()));
    assert_eq!(reader.next().await.unwrap(), None);
    staging.delete("stage_1").await.unwrap();
    assert_eq!(staging.list("stage_").await.unwrap(), Vec::<String>::new());
    assert_eq!(staging.ends("stage_1").await.unwrap(), None);
}
