//! What is known of a topic against the real one: only new messages are read again, and a topic that
//! is not the same any more is told from the one that was read.

use deltakeep::catalog::cache::CacheFile;
use deltakeep::catalog::kafka::KafkaTopic;
use deltakeep::catalog::known::Known;
use deltakeep::catalog::{CatalogCache, TopicReader};
use deltakeep::deliver::kafka::Delivery;
use deltakeep::deliver::{Lane, Sink};
use deltakeep::model::Offset;

use crate::support::{Cluster, message, run, unique};
use crate::topic::delete_before;

/// A topic, and what was read of it.
struct Followed {
    cluster: Cluster,
    name: String,
    topic: KafkaTopic,
    known: Known,
}

impl Followed {
    /// Of two partitions with nothing in them.
    async fn new(what: &str) -> Self {
        let cluster = Cluster::plain();
        let name = unique(what);
        let topic = cluster.topic(&name);
        let known = Known::nothing(&topic.create(2).await.unwrap());
        Self { cluster, name, topic, known }
    }

    async fn send(&self, partition: i32, texts: &[&str]) {
        let sink = self.cluster.sink(&self.name, Delivery::Transactions);
        let mut lane = sink.open(run(), 0).await.unwrap();
        for text in texts {
            lane.send(message(partition, text, b"body")).await.unwrap();
        }
        lane.commit().await.unwrap();
    }

    /// Goes on reading: what was shown, and whether it all holds; none where nothing fits.
    async fn follow(&mut self) -> Option<(Vec<String>, bool)> {
        let from = self.known.go_on(&self.topic.state().await.unwrap().unwrap())?;
        let mut shown = Vec::new();
        let known = &mut self.known;
        let mut see = |seen: deltakeep::catalog::Seen<'_>| {
            shown.push(String::from_utf8_lossy(seen.key).into_owned());
            known.take(seen);
        };
        let ends = self.topic.scan(&from, &mut see).await.unwrap();
        Some((shown, self.known.read_to(&ends)))
    }

    /// The topic deleted and created again under its name.
    async fn create_again(&self) {
        self.cluster.admin.delete(&self.name).await.unwrap();
        // A deletion goes on for a moment after it was answered.
        for _ in 0..100 {
            let created = self.topic.create(2).await;
            if created.is_ok_and(|state| state.ranges.iter().all(|range| range.1 == Offset(0))) {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        panic!("{} is not created again", self.name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_new_messages_and_the_last_known_one_of_each_partition_are_read() {
    let mut followed = Followed::new("followed").await;
    assert_eq!(followed.follow().await, Some((vec![], true)));
    followed.send(0, &["a", "b", "c"]).await;
    followed.send(1, &["x"]).await;
    let (shown, holds) = followed.follow().await.unwrap();
    assert_eq!((shown.len(), holds), (4, true));
    followed.send(0, &["d", "e"]).await;
    let folder = tempfile::tempdir().unwrap();
    let file = CacheFile::new(folder.path(), "cluster", &followed.name);
    file.store(&followed.known).unwrap();
    followed.known = file.load().unwrap();
    let (mut shown, holds) = followed.follow().await.unwrap();
    shown.sort();
    assert_eq!((shown.join(" ").as_str(), holds), ("c d e x", true));
    let (mut shown, _) = followed.follow().await.unwrap();
    shown.sort();
    assert_eq!(shown, ["e", "x"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_lost_its_beginning_or_its_end_is_not_the_one_that_was_read() {
    let mut followed = Followed::new("lost").await;
    followed.send(0, &["a", "b", "c"]).await;
    followed.follow().await.unwrap();
    delete_before(&followed.cluster, &followed.name, 1).await;
    assert_eq!(followed.follow().await, None);
    let mut followed = Followed::new("shorter").await;
    followed.send(0, &["a", "b", "c"]).await;
    followed.follow().await.unwrap();
    followed.create_again().await;
    followed.send(0, &["a"]).await;
    assert_eq!(followed.follow().await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_created_again_with_as_many_messages_is_told_by_its_last_one() {
    let mut followed = Followed::new("again").await;
    followed.send(0, &["a", "b", "c"]).await;
    followed.follow().await.unwrap();
    followed.create_again().await;
    followed.send(0, &["a", "b", "d", "e"]).await;
    let (_, holds) = followed.follow().await.unwrap();
    assert!(!holds);
}
