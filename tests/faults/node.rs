//! The node dies and comes back with what it knew; its answers are lost on the way.

use std::time::Duration;

use crate::long;
use crate::proxy::{Mode, Proxy};
use crate::rig::Rig;
use crate::scene::Scene;

#[test]
fn a_node_that_is_killed_and_started_again_is_found_as_it_was() {
    // While it unloads, and while the run delivers and does not need it.
    for line in ["Successfully created download ext table", "Trying to send data message 99 "] {
        let mut scene = Scene::of(Rig::new("node"));
        scene.rig.slow(20);
        let mut process = scene.start(&[]);
        scene.await_line(&mut process, line, 1);
        scene.rig.node.kill();
        let done = scene.end(process);
        assert_eq!(done.code, Some(5), "it was done without its node: {done}");
        scene.rig.node.start_again();
        scene.resume_and_judge(done);
    }
}

#[test]
fn answers_of_the_node_are_lost() {
    if !long("answers of the node lost") {
        return;
    }
    for line in [
        "Deny changes",
        "Successfully created download ext table",
        ", added rows",
        "Successfully dropped download ext table",
        "Trying to send data message 50 ",
        "Start archiving delta changelog",
    ] {
        let proxy = Proxy::new();
        let mut rig = Rig::new("lost");
        rig.slow(5);
        let address = proxy.lead("127.0.0.1:0", &rig.node.address);
        rig.keep.connect = format!("{address}/d");
        let scene = Scene::of(rig);
        let mut process = scene.start(&[]);
        scene.await_line(&mut process, line, 1);
        proxy.set(Mode::AnswersLost);
        std::thread::sleep(Duration::from_secs(3));
        assert!(proxy.struck() > 0, "after {line} nothing was asked");
        let done = scene.end(process);
        proxy.set(Mode::Open);
        scene.resume_and_judge(done);
    }
}
