//! Two runs on one datamart at once: one works, the other is told so and harms nothing.

use crate::process::Keep;
use crate::rig::Rig;

#[test]
fn a_second_run_from_another_state_directory_exits_7_and_harms_nothing() {
    let rig = Rig::new("two");
    let expect = rig.undisturbed();
    rig.slow(100);
    let mut first = rig.keep.start(&rig.words(&[]));
    first.await_line("Successfully created download ext table");
    let second = rig.keep.elsewhere("other").expect(7, &rig.words(&["--threadsCount", "2"]));
    rig.node.clear_faults();
    let first = first.wait();
    assert_eq!(first.code, Some(0), "{first}");
    let run = first.run().expect("a run");
    assert!(second.stderr.contains(&run), "the second does not name run {run}: {second}");
    rig.judge_against(&expect);
}

#[test]
fn a_second_run_of_the_same_state_directory_exits_7_and_names_the_process() {
    let rig = Rig::new("same");
    rig.slow(100);
    let mut first = rig.keep.start(&rig.words(&[]));
    first.await_line("Successfully created download ext table");
    for words in [rig.words(&[]), vec!["resume"], vec!["abandon"], vec!["unlock"]] {
        let second = rig.keep.expect(7, &words);
        assert!(second.stderr.contains(&first.pid()), "{words:?}: {second}");
    }
    rig.node.clear_faults();
    let first = first.wait();
    assert_eq!(first.code, Some(0), "{first}");
    rig.judge(&[0, 1]);
    rig.require_free();
}

#[test]
fn of_runs_started_together_one_wins() {
    let rig = Rig::new("together");
    let expect = rig.undisturbed();
    rig.slow(30);
    let keeps: Vec<Keep> = (0..3).map(|n| rig.keep.elsewhere(&format!("state-{n}"))).collect();
    let words = rig.words(&[]);
    let running: Vec<_> = keeps.iter().map(|keep| keep.start(&words)).collect();
    let done: Vec<_> = running.into_iter().map(|process| process.wait()).collect();
    let mut codes: Vec<_> = done.iter().map(|done| done.code).collect();
    codes.sort_unstable();
    assert_eq!(codes, [Some(0), Some(7), Some(7)], "{done:#?}");
    rig.judge_against(&expect);
}
