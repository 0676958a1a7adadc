//! What runs leave behind because a connector still writes to it, and how it is removed later (D4.12).

use std::time::Duration;

use crate::restart::auto_broker;
use crate::rig::Rig;
use crate::support::{eventually, topics};

#[test]
fn a_topic_that_comes_back_is_named_and_cleaned_up_later() {
    let (broker, _turn) = auto_broker();
    let rig = Rig::over("comes_back", &broker, &[]);
    // Nobody hears of the first unload again; its connector begins after its topic is deleted, and
    // the brokers create that anew. The last unload is slow, so that the run sees it.
    rig.node.fault("zombie-unload=4500@1");
    rig.node.fault("slow-unload=600@1");
    rig.node.fault("slow-unload=700@6");
    let words = rig.words(&["--chunkSize", "10", "--output", "json"]);
    let words: Vec<_> = words.into_iter().filter(|word| *word != "20").collect();
    let at = words.iter().position(|word| *word == "--chunkSize").expect("given");
    let words = [&words[..at], &words[at + 1..]].concat();
    let done = rig.keep.expect(0, &words);
    let summary: serde_json::Value = serde_json::from_str(&done.stdout).expect("JSON");
    let quarantined = summary["quarantined"].as_array().expect("a list");
    let [name] = &quarantined[..] else { panic!("{done}") };
    let name = name.as_str().expect("a name").to_owned();
    rig.judge(&[0, 1]);
    rig.node.require_free("d", "after the run");
    assert_eq!(topics(&broker, &name).len(), 1);
    // Its connector still writes: it is left, and the journal goes on knowing it.
    let left = rig.keep.expect(5, &["cleanup", "--unloadStall", "1s"]);
    assert!(left.stdout.contains(&format!("{name} is left: a connector still writes")), "{left}");
    let clean = || rig.keep.run(&["cleanup", "--unloadStall", "1s"]).code == Some(0);
    assert!(eventually(Duration::from_secs(60), clean));
    let gone = || topics(&broker, &name).is_empty();
    assert!(eventually(Duration::from_secs(5), gone), "{name} is there");
    let nothing = rig.keep.expect(0, &["cleanup"]);
    assert!(nothing.stdout.contains("Nothing was left behind"), "{nothing}");
    let ended = rig.keep.expect(0, &["list", "--ended", "--output", "json"]);
    assert!(!ended.stdout.contains(&name), "{ended}");
}

#[test]
fn what_an_unknown_run_left_is_removed_only_where_it_is_named_and_not_at_work() {
    let rig = Rig::new("unknown");
    let run = rig.leave_killed_run(&rig.words(&[]));
    let digits = &run[..8];
    let words = ["cleanup", "--unknownRun", digits, "--kafkaBrokersCore", &rig.brokers];
    let words = [&words[..], &["--unloadStall", "1s"]].concat();
    let other = rig.keep.elsewhere("other");
    for keep in [&rig.keep, &other] {
        let refused = keep.expect(7, &words);
        assert!(refused.stderr.contains(&run), "{refused}");
    }
    let told = rig.keep.expect(0, &["cleanup"]);
    assert!(told.stdout.contains(&format!("deltakeep resume {run}")), "{told}");
    let prefix = format!("deltakeep_{digits}_");
    assert_ne!(topics(&rig.brokers, &prefix), [""; 0]);
    other.expect(0, &["unlock", "--yes"]);
    let sql = format!(
        "CREATE DOWNLOAD EXTERNAL TABLE {prefix}mine (id int) LOCATION 'kafka://$kafka/x' FORMAT 'AVRO'"
    );
    rig.node.sql("d", &sql);
    let done = other.expect(0, &[&words[..], &["--output", "json"]].concat());
    let document: serde_json::Value = serde_json::from_str(&done.stdout).expect("JSON");
    assert_eq!(document["removed"].as_array().map(Vec::len), Some(1), "{done}");
    let gone = || topics(&rig.brokers, &prefix).is_empty();
    assert!(eventually(Duration::from_secs(5), gone), "{:?}", topics(&rig.brokers, &prefix));
    assert_eq!(rig.node.leftovers("d"), [format!("{prefix}mine")], "no attempt has such a name");
    rig.node.sql("d", &format!("DROP DOWNLOAD EXTERNAL TABLE {prefix}mine"));
    rig.keep.expect(0, &["resume", "--unloadStall", "1s"]);
    rig.judge(&[0, 1]);
}
