//! What is told at the end of a command: metrics and hooks, which never change its exit code.

use crate::binary::{run, text};

#[test]
fn metrics_and_hooks_tell_of_a_failure_and_change_nothing_of_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).to_str().expect("a path").to_owned();
    let (metrics, heard) = (path("keep.prom"), path("heard"));
    let hook = format!("/bin/sh -c 'echo heard; /usr/bin/env > {heard}; exit 3'");
    // A property that the client does not know ends the command before anybody is asked.
    let words = ["--connect", "h:1/shop", "--stateDir", &path("state"), "backup_to_kafka"];
    let options = ["--topic", "keep", "--kafkaBrokersCore", "h:1", "--kafkaProperty", "no.such=1"];
    let ends = ["--metricsFile", &metrics, "--onFinishCmd", &hook];
    let url = ["--onFinishUrl", "http://127.0.0.1:1/canary"];
    let variables = [("DELTAKEEP_TOKEN", "canary")];
    let output = run(&[&words[..], &options, &ends, &url].concat(), &variables);
    let said = text(&output);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(output.stdout.is_empty(), "{said}");
    for warning in ["--onFinishCmd /bin/sh: ended with exit status: 3", "--onFinishUrl: "] {
        assert!(said.contains(warning), "{warning} is not in {said}");
    }
    let metrics = std::fs::read_to_string(&metrics).expect("metrics");
    let status = r#"deltakeep_last_status{datamart="shop",topic="keep"} 2.0"#;
    assert!(metrics.contains(status), "{metrics}");
    let heard = std::fs::read_to_string(&heard).expect("variables");
    assert!(heard.contains("DELTAKEEP_EXIT=2"), "{heard}");
    assert!(heard.contains(r#""exitCode":2"#) && heard.contains(r#""topic":"keep""#), "{heard}");
    assert!(!heard.contains("canary") && !said.contains("canary"), "{heard}{said}");
    assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 2);
}

#[test]
fn hooks_that_cannot_be_are_refused_before_anything_is_done() {
    for option in ["--onFinishCmd=a 'b", "--onFinishUrl=https://h/canary"] {
        let output = run(&["--connect", "h:1/m", "backup_to_kafka", "--topic", "t", option], &[]);
        assert_eq!(output.status.code(), Some(2), "{}", text(&output));
        assert!(!text(&output).contains("canary"), "{}", text(&output));
    }
}
