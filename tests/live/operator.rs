//! What an operator does with runs that did not end: signals, status, resume, abandon, unlock.

use std::time::{Duration, Instant};

use crate::rig::Rig;
use crate::support::{eventually, topics, unique};

/// With the patience of tests, and nothing told again that the run knows.
const RESUME: &[&str] = &["resume", "--unloadStall", "1s"];

#[test]
fn a_signal_ends_a_run_in_order_and_a_resume_completes_it() {
    for (signal, code) in [("TERM", 143), ("INT", 130)] {
        for line in ["Successfully created download ext table", "Trying to send data message 2 "] {
            let rig = Rig::new("signal");
            let expect = rig.undisturbed();
            rig.slow(60);
            let mut process = rig.keep.start(&rig.words(&["--threadsCount", "2"]));
            process.await_line(line);
            process.signal(signal);
            let stopped = process.wait();
            assert_eq!(stopped.code, Some(code), "{signal} after {line}: {stopped}");
            assert!(stopped.stderr.contains("deltakeep resume"), "{stopped}");
            rig.node.clear_faults();
            assert!(!rig.node.is_locked("d"), "{signal} after {line}: {stopped}");
            let leftovers = rig.node.leftovers("d");
            assert!(!leftovers.contains(&"deltakeep_owner".to_owned()), "{leftovers:?}");
            let resumed = rig.keep.elsewhere("state").start_as(&[], RESUME).wait();
            assert_eq!(resumed.code, Some(0), "{resumed}");
            assert_eq!(resumed.run(), stopped.run());
            rig.judge_against(&expect);
        }
    }
}

#[test]
fn a_second_signal_ends_at_once_even_where_the_node_is_silent() {
    let rig = Rig::new("silent");
    rig.slow(60);
    let mut process = rig.keep.start(&rig.words(&[]));
    process.await_line("Successfully created download ext table");
    rig.node.signal("STOP");
    process.signal("TERM");
    std::thread::sleep(Duration::from_millis(500));
    assert!(process.is_alive(), "it ended without giving the lock back");
    let began = Instant::now();
    process.signal("TERM");
    let ended = process.wait();
    rig.node.signal("CONT");
    assert_eq!(ended.code, Some(143), "{ended}");
    assert!(began.elapsed() < Duration::from_secs(1), "it took {:?}", began.elapsed());
    rig.node.clear_faults();
    rig.keep.expect(0, RESUME);
    rig.judge(&[0, 1]);
    rig.require_free();
}

#[test]
fn status_and_list_tell_of_killed_stopped_and_done_runs() {
    let rig = Rig::new("status");
    let run = rig.leave_killed_run(&rig.words(&[]));
    for command in ["status", "list"] {
        let told = rig.keep.expect(0, &[command]);
        for part in [&*run, "killed", "d to ", &rig.topic] {
            assert!(told.stdout.contains(part), "{command}: {part}: {told}");
        }
    }
    let next = format!("next: deltakeep resume {run}");
    assert!(rig.keep.expect(0, &["status", &run[..8]]).stdout.contains(&next));
    rig.keep.expect(0, &["resume", &run[..8], "--unloadStall", "1s"]);
    let done = rig.keep.expect(0, &["status", &run]);
    assert!(done.stdout.contains("done") && done.stdout.contains("2 of 2 deltas"), "{done}");
    let nothing = rig.keep.expect(2, &["resume"]);
    assert!(nothing.stderr.contains("no unfinished run"), "{nothing}");
    let again = rig.keep.expect(0, &["resume", &run[..8]]);
    assert_eq!(again.last_line(), format!("Run {run} is done"));
    let json = rig.keep.expect(0, &["resume", &run, "--output", "json"]);
    assert!(json.stdout.contains("\"deltas\":[0,1]"), "{json}");
    rig.keep.expect(2, &["status", "ffffffff"]);
}

#[test]
fn an_abandoned_run_leaves_nothing_but_what_it_delivered() {
    let rig = Rig::new("abandon");
    let run = rig.leave_killed_run(&rig.words(&[]));
    assert!(rig.node.is_locked("d"));
    let done = rig.keep.expect(0, &["abandon", "--unloadStall", "1s"]);
    assert!(done.stdout.contains(&run), "{done}");
    rig.require_free();
    let prefix = format!("deltakeep_{}", &run[..8]);
    let gone = || topics(&rig.brokers, &prefix).is_empty();
    assert!(eventually(Duration::from_secs(3), gone), "{:?}", topics(&rig.brokers, &prefix));
    rig.keep.expect(2, &["resume"]);
    rig.keep.expect(2, &["resume", &run]);
    let fresh = rig.keep.expect(0, &rig.words(&[]));
    assert_ne!(fresh.run(), Some(run));
    rig.judge(&[0, 1]);
}

#[test]
fn unlock_gives_a_dead_runs_lock_back_and_the_run_can_still_go_on() {
    let rig = Rig::new("unlock");
    let run = rig.leave_killed_run(&rig.words(&[]));
    let other = rig.keep.elsewhere("other");
    let foreign = other.expect(7, &["unlock"]);
    assert!(foreign.to_string().contains(&run), "{foreign}");
    assert!(foreign.stderr.contains("--yes"), "{foreign}");
    assert!(rig.node.is_locked("d"));
    let own = rig.keep.expect(0, &["unlock"]);
    assert!(own.stdout.contains("Allow changes in datamart d"), "{own}");
    assert!(!rig.node.is_locked("d"));
    let nothing = rig.keep.expect(0, &["unlock"]);
    assert!(nothing.stdout.contains("nothing to unlock"), "{nothing}");
    rig.leave_killed_run(RESUME);
    other.expect(0, &["unlock", "--yes"]);
    assert!(!rig.node.is_locked("d"));
    rig.keep.expect(0, RESUME);
    rig.judge(&[0, 1]);
    rig.require_free();
}

#[test]
fn a_lock_without_a_marker_is_opened_by_its_day() {
    let rig = Rig::new("day");
    rig.node.sql("d", "DENY_CHANGES(d, 'backup_d_9')");
    let backup = rig.keep.expect(7, &rig.words(&[]));
    assert!(backup.stderr.contains("deltakeep unlock"), "{backup}");
    assert_eq!(rig.node.leftovers("d"), [""; 0]);
    let unknown = rig.keep.expect(7, &["unlock"]);
    assert!(unknown.stderr.contains("--day"), "{unknown}");
    rig.keep.expect(7, &["unlock", "--day", "9"]);
    rig.keep.expect(7, &["unlock", "--day", "8", "--yes"]);
    assert!(rig.node.is_locked("d"));
    rig.keep.expect(0, &["unlock", "--day", "9", "--yes"]);
    rig.require_free();
    rig.keep.expect(0, &rig.words(&[]));
}

#[test]
fn an_unfinished_run_is_met_as_the_operator_wants() {
    let rig = Rig::new("met");
    let run = rig.leave_killed_run(&rig.words(&[]));
    let refused = rig.keep.expect(3, &rig.words(&["--onUnfinished", "fail"]));
    assert!(refused.stderr.contains(&format!("deltakeep resume {run}")), "{refused}");
    let fresh = rig.keep.expect(0, &rig.words(&["--onUnfinished", "abandon"]));
    let started = fresh.stdout.lines().rfind(|line| line.starts_with("Started BACKUP"));
    assert!(started.is_some_and(|line| !line.contains(&run)), "{fresh}");
    rig.judge(&[0, 1]);
    rig.require_free();
}

#[test]
fn a_backup_command_finishes_the_unfinished_run_and_goes_on() {
    let rig = Rig::new("goes_on");
    let run = rig.leave_killed_run(&rig.words(&[]));
    rig.delta("SANDBOX_FILL(b, 9)");
    let done = rig.keep.expect(0, &rig.words(&[]));
    assert_eq!(done.run(), Some(run), "{done}");
    assert!(done.stdout.contains("Delta range [0, 1] to backup"), "{done}");
    assert!(done.stdout.contains("Delta range [2, 2] to backup"), "{done}");
    rig.judge(&[0, 1, 2]);
    rig.require_free();
}

#[test]
fn settings_that_contradict_the_run_are_named() {
    let rig = Rig::new("contradict");
    rig.leave_killed_run(&rig.words(&["--threadsCount", "2"]));
    for (keyword, value) in [
        ("--threadsCount", "3"),
        ("--chunkSize", "21"),
        ("--partitionsCount", "2"),
        ("--topic", "another"),
        ("--deltaNum", "1"),
        ("--datasourceType", "adqm"),
    ] {
        let done = rig.keep.expect(2, &["resume", keyword, value]);
        assert!(done.stderr.contains(keyword), "{done}");
    }
    let same = ["resume", "--threadsCount", "2", "--chunkSize", "20", "--topic", &rig.topic];
    rig.keep.expect(0, &same);
    rig.judge(&[0, 1]);
}

#[test]
fn of_several_unfinished_runs_one_must_be_named() {
    let rig = Rig::new("several");
    let first = rig.leave_killed_run(&rig.words(&[]));
    rig.keep.expect(0, &["unlock"]);
    let topic = unique("several");
    let words = rig.words(&[]);
    let words: Vec<_> =
        words.iter().map(|word| if *word == rig.topic { &*topic } else { *word }).collect();
    let second = rig.leave_killed_run(&words);
    rig.keep.expect(0, &["unlock"]);
    for command in ["resume", "abandon"] {
        let asked = rig.keep.expect(2, &[command]);
        for run in [&first, &second] {
            assert!(asked.stderr.contains(run.as_str()), "{command}: {asked}");
        }
    }
    rig.keep.expect(0, &["resume", &first, "--unloadStall", "1s"]);
    rig.keep.expect(0, &["abandon", "--unloadStall", "1s"]);
    rig.judge(&[0, 1]);
    rig.require_free();
}
