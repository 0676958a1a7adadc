//! Deltas that a topic lacks below its newest complete one: told of by every run, filled by
//! `--fillGaps`.

use std::time::Duration;

use serde_json::{Value, json};

use crate::rig::Rig;

/// Four deltas; of the topic's, 3 is complete, 1 is in parts, 0 and 2 are not there.
fn gapped() -> Rig {
    let rig = Rig::new("gaps");
    rig.delta("SANDBOX_FILL(b, 30)");
    rig.delta("SANDBOX_FILL(a, 30)\nSANDBOX_FILL(b, 9)");
    rig.slow(40);
    let mut process = rig.keep.start(&rig.words(&["--deltaNum", "1"]));
    process.await_line("Successfully archived delta table to backup topic");
    process.wait_for(Duration::ZERO).expect_err("it was not done");
    rig.node.clear_faults();
    rig.keep.expect(0, &["abandon", "--unloadStall", "1s"]);
    rig.keep.expect(0, &rig.words(&["--deltaNum", "3"]));
    rig
}

#[test]
fn gaps_are_told_of_and_filled_when_asked_for_over_a_kill_and_a_resume() {
    let rig = gapped();
    let expect = rig.undisturbed();
    let nothing = rig.keep.expect(0, &rig.words(&[]));
    assert!(nothing.stdout.contains("Nothing to back up"), "{nothing}");
    for part in ["only a part of these deltas: 1;", "lacks these deltas", "0, 2;", "--fillGaps"] {
        assert!(nothing.stderr.contains(part), "{part}: {nothing}");
    }
    let dry = |more: &[&str]| -> Value {
        let words = rig.words(&[&["--dryRun", "--output", "json"], more].concat());
        serde_json::from_str(&rig.keep.expect(0, &words).stdout).expect("one document")
    };
    let (plain, filling) = (dry(&[]), dry(&["--fillGaps"]));
    assert_eq!((&plain["deltas"], &filling["deltas"]), (&json!([]), &json!([0, 1, 2])));
    assert_eq!((&plain["incomplete"], &plain["missing"]), (&json!([1]), &json!([0, 2])));

    let run = rig.leave_killed_run(&rig.words(&["--fillGaps"]));
    let again = rig.keep.expect(0, &["resume", "--unloadStall", "1s"]);
    assert_eq!(again.run(), Some(run), "{again}");
    assert!(again.stdout.contains("Delta range [0, 2] to backup"), "{again}");
    rig.judge(&[0, 1, 2, 3]);
    rig.judge_against(&expect);
    let nothing = rig.keep.expect(0, &rig.words(&["--fillGaps"]));
    assert!(nothing.stdout.contains("Nothing to back up"), "{nothing}");
    assert!(!nothing.stderr.contains("--fillGaps"), "{nothing}");
}
