//! Each fault of the node alone: the run ends well, or can be resumed or started again, and the
//! backup is what it is without the fault.

use crate::rig::Rig;
use crate::support::{judge, unique};

const FAULTS: &[&str] = &[
    "drop-unload-answer",
    "zombie-unload=300",
    "fail-unload-after=1",
    "hang-unload",
    "hang-unload-after=1",
    "double-last",
    "duplicate-chunk",
    "skip-chunk",
    "silent-unload",
    "oversize-unload",
    "reader-down",
    "lost-deny",
    "drop-answer",
    "stale-delta-ok",
    "consistency-breach",
];

#[test]
fn no_single_fault_of_the_node_changes_the_backup() {
    let rig = Rig::new("fault");
    let expect = rig.undisturbed();
    for (fault, nth) in FAULTS.iter().zip([1, 2].into_iter().cycle()) {
        let topic = unique("fault");
        let words = rig.words(&[]);
        let words: Vec<_> =
            words.iter().map(|word| if *word == rig.topic { &*topic } else { *word }).collect();
        rig.node.fault(&format!("{fault}@{nth}"));
        let mut done = rig.keep.run(&words);
        if done.code == Some(5) {
            done = rig.keep.run(&["resume", "--unloadStall", "1s"]);
        } else if done.code == Some(3) {
            // Nothing was touched, or what was is given back.
            rig.node.require_free("d", fault);
            done = rig.keep.run(&words);
        }
        assert_eq!(done.code, Some(0), "{fault}@{nth}: {done}");
        rig.node.clear_faults();
        let of = (&*rig.brokers, &*topic, "d");
        judge(of, Some(&expect), rig.folder.path(), &format!("{fault}@{nth}"));
        rig.node.require_free("d", fault);
    }
}
