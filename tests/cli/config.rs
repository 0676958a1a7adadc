//! The settings file: its place between variables and defaults, what it refuses, what is shown.

use std::path::PathBuf;

use crate::binary::{run, text};

/// A settings file of this content, and the folder it lives in.
fn file(content: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("keep.toml");
    std::fs::write(&path, content).expect("written");
    (folder, path)
}

/// What `config show` says of a setting: value and origin.
fn shown(words: &[&str], variables: &[(&str, &str)], name: &str) -> (String, String) {
    let words = [&["--output", "json", "config", "show"], words].concat();
    let output = run(&words, variables);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let all = document["settings"].as_array().expect("settings");
    let setting = all.iter().find(|s| s["name"] == name).unwrap_or_else(|| panic!("no {name}"));
    let text = |field: &str| setting[field].as_str().unwrap_or("none").to_owned();
    (text("value"), text("origin"))
}

#[test]
fn a_flag_comes_before_a_variable_before_the_file_before_the_default() {
    let (_folder, path) = file("chunkSize = 5\ntopic = \"of_file\"\nthreads-count = 3\n");
    let config = path.to_str().expect("a path");
    let variables = [("DELTAKEEP_TOPIC", "of_env"), ("DELTAKEEP_CONFIG", config)];
    let pair = |value: &str, origin: &str| (value.to_owned(), origin.to_owned());
    let show = |words: &[&str], name: &str| shown(words, &variables, name);
    assert_eq!(show(&["--topic", "of_flag"], "topic"), pair("of_flag", "flag"));
    assert_eq!(show(&[], "topic"), pair("of_env", "env"));
    assert_eq!(show(&[], "chunkSize"), pair("5", "file"));
    assert_eq!(show(&[], "threadsCount"), pair("3", "file"));
    assert_eq!(show(&["--threads-count", "9"], "threadsCount"), pair("9", "flag"));
    assert_eq!(show(&[], "kafkaRetries"), pair("10", "default"));
    assert_eq!(show(&[], "dryRun"), pair("false", "default"));
}

#[test]
fn the_file_sets_what_the_run_takes_and_only_where_it_is_asked_for() {
    let content = "connect = \"h:1/m\"\ntopic = \"of_file\"\ndryRun = true\n\
                   kafkaProperty = [\"security.protocol=SSL\", \"sasl.password=canary\"]\n";
    let (_folder, path) = file(content);
    let config = path.to_str().expect("a path");
    let words = ["-vv", "--config", config, "backup_to_kafka", "--kafkaBrokersCore", "127.0.0.1:1"];
    let said = text(&run(&words, &[]));
    for part in ["topic: \"of_file\"", "dry_run: true", "\"security.protocol\": [secret]"] {
        assert!(said.contains(part), "{part} is not in {said}");
    }
    assert!(said.contains("others can read the secrets"), "{said}");
    assert!(!said.contains("canary"), "{said}");
    assert_eq!(run(&["--config", config, "list"], &[]).status.code(), Some(0));
}

#[test]
fn one_file_serves_backups_and_restores_each_with_what_it_takes() {
    let content = "connect = \"h:1/m\"\ntopic = \"of_file\"\nchunkSize = 7\ndeltaFrom = 4\n\
                   dates = \"bump\"\nthreadsCount = 3\n";
    let (_folder, path) = file(content);
    let config = path.to_str().expect("a path");
    let of = |command: &str| {
        text(&run(&["-vv", "--config", config, command, "--kafkaBrokersCore", "127.0.0.1:1"], &[]))
    };
    let restored = of("restore_from_kafka");
    for part in ["topic: \"of_file\"", "threads: 3", "dates: Bump", "from: Some(DeltaNum(4))"] {
        assert!(restored.contains(part), "{part} is not in {restored}");
    }
    let backed_up = of("backup_to_kafka");
    assert!(backed_up.contains("chunk_size: 7"), "{backed_up}");
}

#[test]
fn what_the_file_cannot_mean_is_refused_with_its_line() {
    for (content, says) in [
        ("topic = \"t\"\nchunk = 5\n", "line 2: \"chunk\" is no setting"),
        ("\n\ntoken = \"canary\"\n", "line 3: a token is not kept here"),
        ("chunkSize = 5\nchunk-size = 6\n", "is set twice"),
        ("chunkSize = [5]\n", "line 1: chunkSize is a text or a whole number"),
        ("dryRun = \"yes\"\n", "line 1: dryRun is true or false"),
        ("topic = \"t\"\nthreadsCount = 0\n", "line 2: invalid value '0'"),
        ("topic = \"canary\n", "line 1:"),
        ("[backup]\ntopic = \"t\"\n", "line 1: \"backup\" is no setting"),
        ("config = \"x\"\n", "line 1: \"config\" is no setting"),
    ] {
        let (_folder, path) = file(content);
        let output = run(&["--config", path.to_str().expect("a path"), "config", "show"], &[]);
        let said = text(&output);
        assert_eq!(output.status.code(), Some(2), "{content}: {said}");
        assert!(said.contains(says) && said.contains("\nnext: "), "{content}: {said}");
        assert!(!said.contains("canary"), "{said}");
    }
    let missing = run(&["--config", "/nowhere/at/all", "list"], &[]);
    assert_eq!(missing.status.code(), Some(2), "{}", text(&missing));
}

#[test]
fn no_secret_is_shown_wherever_it_comes_from() {
    let content = "connect = \"h:1/m?user=jwt&password=canary\"\n\
                   kafkaPropertyCore = [\"sasl.password=canary\", \"ssl.key=@/dev/null\"]\n";
    let (_folder, path) = file(content);
    let words = ["--config", path.to_str().expect("a path"), "config", "show"];
    let variables =
        [("DELTAKEEP_TOKEN", "canary"), ("DELTAKEEP_KAFKA_PROPERTY", "a.b=canary\nc.d=canary")];
    let said = text(&run(&words, &variables));
    assert!(!said.contains("canary"), "{said}");
    for part in [
        "h:1/m?user=jwt&password=[secret]",
        "sasl.password=[secret], ssl.key=@/dev/null",
        "a.b=[secret], c.d=[secret]  (env DELTAKEEP_KAFKA_PROPERTY)",
        "[secret]  (env DELTAKEEP_TOKEN)",
        "keep.toml:1)",
    ] {
        assert!(said.contains(part), "{part} is not in {said}");
    }
}
