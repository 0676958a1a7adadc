//! The network between the binary and the brokers: cut, slow, silent. The node's own network is
//! whole: it reaches the brokers at their other addresses.

use std::time::Duration;

use crate::cluster::Cluster;
use crate::long;
use crate::proxy::{Mode, Proxy};
use crate::scene::Scene;
use crate::support::setting;

/// Proxies where the brokers' further listeners are advertised, and their addresses.
fn proxies() -> (Proxy, String) {
    let proxy = Proxy::new();
    let pairs = setting("DELTAKEEP_TEST_PROXIES");
    let pairs = pairs.split(',').map(|pair| pair.split_once('=').expect("proxy=broker"));
    let addresses: Vec<_> = pairs.map(|(from, to)| proxy.lead(from, to)).collect();
    (proxy, addresses.join(","))
}

/// A backup under way is put through these modes, each for so long.
fn disturb(what: &str, messages: i64, modes: &[(Mode, u64)]) {
    let cluster = Cluster::take();
    let (proxy, seen) = proxies();
    let scene = Scene::new(what, &cluster.brokers).seeing(&seen);
    let mut process = scene.start(&[]);
    scene.await_messages(&mut process, messages);
    for (mode, milliseconds) in modes {
        proxy.set(*mode);
        std::thread::sleep(Duration::from_millis(*milliseconds));
    }
    proxy.set(Mode::Open);
    assert!(proxy.struck() > 0, "nothing passed the proxies");
    let done = scene.end(process);
    scene.resume_and_judge(done);
}

#[test]
fn connections_are_cut() {
    if !long("connections cut") {
        return;
    }
    disturb("cut", 150, &[(Mode::Cut, 10_000)]);
    // Again and again, with too little time between for more than a few messages.
    disturb("cuts", 50, &[(Mode::Cut, 500), (Mode::Open, 700)].repeat(15));
}

#[test]
fn connections_are_slow() {
    if !long("connections slowed") {
        return;
    }
    disturb("slow", 50, &[(Mode::Slow(4000), 45_000)]);
}

#[test]
fn answers_of_brokers_are_lost() {
    if !long("answers of brokers lost") {
        return;
    }
    disturb("answers", 150, &[(Mode::AnswersLost, 3000), (Mode::Open, 1000)].repeat(4));
}

#[test]
fn connections_are_silent_for_longer_than_a_client_waits() {
    if !long("silent connections") {
        return;
    }
    disturb("silent", 150, &[(Mode::Silent, 75_000)]);
}
