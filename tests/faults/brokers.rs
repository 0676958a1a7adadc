//! Brokers of the cluster that die, stay away or stand still in the middle of a backup.

use std::time::Duration;

use deltakeep::kafka::{Brokers, ClusterAdmin, TopicAdmin};

use crate::cluster::Cluster;
use crate::long;
use crate::scene::Scene;
use crate::support::{block_on, eventually, unique};

/// Between the first and the last message of the largest table.
const AMID: i64 = 150;

#[test]
fn the_leader_of_the_backup_topic_is_killed() {
    let cluster = Cluster::take();
    let scene = Scene::new("leader", &cluster.brokers);
    let mut process = scene.start(&[]);
    scene.await_messages(&mut process, AMID);
    cluster.kill(cluster.leader(&scene.rig.topic));
    let done = scene.end(process);
    cluster.heal();
    scene.resume_and_judge(done);
}

#[test]
fn a_broker_that_is_gone_for_good_is_not_needed() {
    if !long("a broker gone for good") {
        return;
    }
    let cluster = Cluster::take();
    for line in ["Successfully created download ext table", "Trying to send data message 40 "] {
        let scene = Scene::new("gone", &cluster.brokers);
        let mut process = scene.start(&[]);
        scene.await_line(&mut process, line, 2);
        cluster.kill(1);
        let done = scene.end(process);
        // It does not come back for the resume either.
        scene.resume_and_judge(done);
        cluster.heal();
    }
}

#[test]
fn all_brokers_are_gone_for_a_minute() {
    if !long("all brokers gone for a minute") {
        return;
    }
    // Patient enough to see them come back; and so impatient that it ends without them.
    for (retries, code) in [("10", None), ("0", Some(5))] {
        let cluster = Cluster::take();
        let scene = Scene::new("all", &cluster.brokers);
        let mut process = scene.start(&["--kafkaRetries", retries]);
        scene.await_messages(&mut process, AMID);
        (1..=3).for_each(|broker| cluster.kill(broker));
        std::thread::sleep(Duration::from_secs(60));
        let done = match code {
            None => {
                cluster.heal();
                scene.end(process)
            }
            code => {
                let done = scene.end(process);
                assert_eq!(done.code, code, "{done}");
                cluster.heal();
                done
            }
        };
        scene.resume_and_judge(done);
    }
}

#[test]
fn a_frozen_leader_is_left_behind_and_harms_nothing_when_it_wakes() {
    if !long("a frozen broker") {
        return;
    }
    let cluster = Cluster::take();
    let scene = Scene::new("frozen", &cluster.brokers);
    let mut process = scene.start(&[]);
    scene.await_messages(&mut process, AMID);
    cluster.freeze(cluster.leader(&scene.rig.topic));
    let done = scene.end(process);
    cluster.heal();
    scene.resume_and_judge(done);
}

#[test]
fn administration_goes_on_whichever_broker_dies() {
    if !long("administration without each broker") {
        return;
    }
    let cluster = Cluster::take();
    let brokers = Brokers::new(cluster.brokers.clone(), Default::default()).expect("brokers");
    let admin = ClusterAdmin::new(&brokers).expect("a client");
    let works = || {
        let topic = unique("admin");
        block_on(admin.create(&topic, 1, &[])).is_ok() && block_on(admin.delete(&topic)).is_ok()
    };
    // Which one the client relies on is chance.
    for broker in [1, 2, 3, 1, 2, 3] {
        assert!(eventually(Duration::from_secs(60), works), "the cluster is whole");
        cluster.kill(broker);
        assert!(eventually(Duration::from_secs(40), works), "broker {broker} was relied on");
        cluster.heal();
    }
}
