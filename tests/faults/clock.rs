//! Midnight between stop and resume: the lock's code names the day on which the run began, by the
//! host's local date, which is moved here by the time zone.

use crate::rig::Rig;
use crate::scene::Scene;

/// 26 hours apart: never the same day.
const WEST: &str = "<-12>12";
const EAST: &str = "<+14>-14";

fn zone(scene: &mut Scene, zone: &str) {
    scene.rig.keep.variables = vec![("TZ".to_owned(), zone.to_owned())];
}

#[test]
fn a_run_resumed_on_another_day_takes_its_lock_by_the_first_days_code() {
    // Killed, it leaves the lock closed; stopped, it opens it and closes it again on another day.
    for (first, second, signal) in [(WEST, EAST, "KILL"), (EAST, WEST, "TERM")] {
        let mut scene = Scene::of(Rig::new("midnight"));
        zone(&mut scene, first);
        let before = scene.rig.node.calls().len();
        scene.rig.slow(10);
        let mut process = scene.start(&[]);
        scene.await_messages(&mut process, 10);
        process.signal(signal);
        let stopped = process.wait();
        assert_ne!(stopped.code, Some(0), "{stopped}");
        assert_eq!(scene.rig.node.is_locked("d"), signal == "KILL");
        scene.rig.node.clear_faults();
        zone(&mut scene, second);
        let run = stopped.run();
        let done = scene.end(scene.rig.keep.start_as(&[], &["resume", "--unloadStall", "1s"]));
        assert_eq!((done.code, done.run()), (Some(0), run.clone()), "{done}");
        let codes = codes(&scene.rig.node.calls()[before..]);
        assert_eq!(codes.len(), 1, "locked by several codes: {codes:?}");
        scene.judge(&run.expect("a run"));
        // The other zone does have another day: a fresh run's code is another one.
        scene.rig.delta("SANDBOX_FILL(b, 3)");
        let before = scene.rig.node.calls().len();
        assert_eq!(scene.end(scene.start(&[])).code, Some(0));
        assert_ne!(self::codes(&scene.rig.node.calls()[before..]), codes);
    }
}

/// The codes that changes were denied and allowed by; not those of probes.
fn codes(calls: &[String]) -> std::collections::BTreeSet<String> {
    let quoted = calls.iter().filter(|call| call.contains("_CHANGES"));
    let codes = quoted.filter_map(|call| call.split('\'').nth(1));
    codes.filter(|code| code.starts_with("backup_d_")).map(str::to_owned).collect()
}
