//! A run with nothing new on a backup topic of 2 GB: the first one on a host reads it whole, the next
//! ones go on where it ended. Prints for `scripts/bench`; asserts nothing about time.

#[path = "shared/cluster.rs"]
mod cluster;
#[allow(dead_code, reason = "staging topics are the other benchmarks' to fill")]
#[path = "shared/data.rs"]
mod data;
#[allow(dead_code, reason = "whole backups are the other benchmarks' to make")]
#[path = "shared/engine.rs"]
mod engine;
#[allow(dead_code, reason = "what was spent is the other benchmarks' to tell")]
#[path = "shared/measure.rs"]
mod measure;

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use deltakeep::backup::{Backup, Unwatched};
use deltakeep::catalog::cache::CacheFile;
use deltakeep::deliver::kafka::{Delivery, KafkaSink};
use deltakeep::deliver::{Lane, Message, Sink};
use deltakeep::format::encode_key;
use deltakeep::journal::sled_store::SledJournal;
use deltakeep::model::{
    ChunkNumber, Datamart, DeltaDate, DeltaNum, IncrementId, MessageKey, Partition, RunId,
    StreamNumber, TableName,
};
use tokio::sync::watch;
use uuid::Uuid;

use cluster::Cluster;
use engine::RealDelivery;
use measure::median;

const BODY: usize = 200_000;
const MESSAGES: u64 = 10_000;
const ROUNDS: usize = 7;

#[tokio::main]
async fn main() {
    let cluster = Cluster::of_environment();
    let topic = cluster.new_topic("catalog", 1).await;
    fill(&cluster, &topic).await;
    let folder = tempfile::tempdir().expect("a folder");
    let mut spent = Vec::new();
    for round in 0..=ROUNDS {
        spent.push(nothing_new(&cluster, &topic, folder.path(), round).await);
    }
    cluster.delete(&topic).await;
    let (middle, least, most) = median(spent[1..].iter().copied());
    let megabytes = MESSAGES * BODY as u64 / 1_000_000;
    println!("a run with nothing new, topic of {megabytes} MB; s");
    println!("{:32} {:>22.2}", "the first: reads it whole", spent[0]);
    let text = format!("{middle:.2} ({least:.2}, {most:.2})");
    println!("{:32} {text:>22}   claim: under 2", "the next ones (least, most)");
}

/// One complete increment of the only delta that the node has.
async fn fill(cluster: &Cluster, topic: &str) {
    let delivery = Delivery::Idempotent;
    let sink = KafkaSink::new(cluster.brokers.clone(), cluster.admin.clone(), topic, delivery);
    let mut lane = sink.open(RunId(Uuid::new_v4()), 0).await.expect("a lane");
    let increment = IncrementId(Uuid::new_v4().to_string());
    let key = |table: Option<&str>, chunk: u64, is_last| {
        encode_key(&MessageKey {
            increment: increment.clone(),
            datamart: Datamart::parse("shop").expect("a plain name"),
            delta: DeltaNum(0),
            date: DeltaDate(1_700_000_000_000_000),
            table: table.map(|table| TableName(table.into())),
            stream: StreamNumber(1),
            stream_total: 1,
            chunk: ChunkNumber(chunk),
            is_last,
        })
    };
    for chunk in 1..=MESSAGES {
        let body = vec![chunk as u8; BODY];
        let key = key(Some("sales"), chunk, chunk == MESSAGES);
        lane.send(Message { partition: Partition(0), key, body }).await.expect("sent");
    }
    let key = key(None, 1, true);
    lane.send(Message { partition: Partition(0), key, body: Vec::new() }).await.expect("sent");
    lane.commit().await.expect("the topic is filled");
}

/// A run as of a process of its own, seconds.
async fn nothing_new(cluster: &Cluster, topic: &str, folder: &Path, round: usize) -> f64 {
    let filled = data::Filled { topic: String::new(), ends: vec![], bytes: 0 };
    let began = Instant::now();
    let (_never, stop) = watch::channel(false);
    let journal = SledJournal::open(&folder.join(round.to_string())).expect("a journal");
    let world = RealDelivery::<SledJournal>::new(cluster, &filled, topic);
    let settings = engine::settings(topic, 1);
    let backup = Backup::open(world, journal, settings, Arc::new(Unwatched), stop);
    let backup = backup.expect("the journal opens").remembering(CacheFile::new(folder, "c", topic));
    let summary = backup.execute().await.expect("it ends well");
    assert_eq!(summary.run, None, "something was new");
    began.elapsed().as_secs_f64()
}
