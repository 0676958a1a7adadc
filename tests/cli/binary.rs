//! The binary: exit codes, what comes first of flag and environment, and what is never printed.

use std::process::{Command, Output};

/// Variables of the environment.
pub type Variables<'a> = &'a [(&'a str, &'a str)];

/// Runs the binary with these words in an environment of these variables alone.
pub fn run(words: &[&str], variables: Variables<'_>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_deltakeep"));
    command.args(words).env_clear().env("HOME", "/nowhere");
    command.envs(variables.iter().copied()).output().expect("the binary starts")
}

pub fn text(output: &Output) -> String {
    let stdout = String::from_utf8_lossy(&output.stdout);
    format!("{stdout}{}", String::from_utf8_lossy(&output.stderr))
}

#[test]
fn version_and_help_are_no_failures() {
    let version = run(&["version"], &[]);
    assert_eq!(version.status.code(), Some(0));
    assert!(text(&version).starts_with("deltakeep 0."));
    let help = run(&["backup_to_kafka", "--help"], &[]);
    assert_eq!(help.status.code(), Some(0));
    for keyword in ["--kafkaBrokersCore", "--kafka-brokers-core", "DELTAKEEP_KAFKA_BROKERS_CORE"] {
        assert!(text(&help).contains(keyword), "help does not name {keyword}");
    }
}

#[test]
fn what_cannot_be_meant_ends_with_2_and_says_what_to_type() {
    for words in [
        &["--connect", "h:1/m", "backup_to_kafka"][..],
        &["--connect", "h:1/m", "backup_to_kafka", "--topic", "t", "--nextDeltasCount", "2"],
        &["--connect", "nonsense", "list"],
        &["resume", "xyz"],
    ] {
        let output = run(words, &[]);
        assert_eq!(output.status.code(), Some(2), "{words:?}: {}", text(&output));
        assert!(text(&output).contains("\nnext: "), "{words:?}: {}", text(&output));
    }
    for words in [&[][..], &["backup"], &["backup_to_kafka", "--threadsCount", "0"]] {
        assert_eq!(run(words, &[]).status.code(), Some(2), "{words:?}");
    }
}

#[test]
fn a_flag_comes_before_the_environment_and_that_before_the_default() {
    let variables = [
        ("DELTAKEEP_CONNECT", "env:1/of_env"),
        ("DELTAKEEP_TOPIC", "of_env"),
        ("DELTAKEEP_CHUNK_SIZE", "7"),
        ("DELTAKEEP_KAFKA_BROKERS_CORE", "core-of-env:1"),
        ("DELTAKEEP_DRY_RUN", "yes"),
        ("DELTAKEEP_NO_CHECKSUMS", "0"),
        ("DELTAKEEP_KAFKA_PROPERTY", "security.protocol=SSL\nsasl.password=canary"),
    ];
    let output = run(&["-vv", "backup_to_kafka", "--topic", "of_flag"], &variables);
    let text = text(&output);
    for part in [
        r#"topic: "of_flag""#,
        r#"node: "env:1""#,
        r#"Datamart("of_env")"#,
        "chunk_size: 7",
        "core-of-env:1",
        "dry_run: true",
        "checksums: true",
        "kafka_retries: 10",
        r#""security.protocol": [secret], "sasl.password": [secret]"#,
    ] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    assert!(!text.contains("canary"), "{text}");
}

#[test]
fn a_token_is_printed_nowhere_however_it_comes() {
    let typed = "h:1/m?user=jwt&password=canary";
    let cases: [(&[&str], Variables<'_>); 7] = [
        (&["-vvv", "--connect", typed, "backup_to_kafka", "--topic", "t"], &[]),
        (&["-vvv", "list"], &[("DELTAKEEP_CONNECT", typed)]),
        (&["-vvv", "--connect", "h:1/m", "unlock"], &[("DELTAKEEP_TOKEN", "canary")]),
        (&[typed, "backup_to_kafka"], &[]),
        (&["backup_to_kafka", "--connect", "h:1/m&user=jwt&password=canary"], &[]),
        (&["backup_to_kafka", typed], &[]),
        (&["backup_to_kafka", "--help"], &[("DELTAKEEP_CONNECT", typed)]),
    ];
    for (words, variables) in cases {
        let output = text(&run(words, variables));
        assert!(!output.contains("canary"), "{words:?}: {output}");
    }
    let warned = text(&run(&["--connect", typed, "list"], &[]));
    assert!(warned.contains("other users of this host can see"), "{warned}");
    let quiet = text(&run(&["--connect", "h:1/m", "list"], &[("DELTAKEEP_TOKEN", "canary")]));
    assert!(!quiet.contains("other users"), "{quiet}");
}

#[test]
fn a_log_file_gets_the_lines_and_a_bad_one_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("keep.log");
    let words = ["--connect", "h:1/m", "list", "--logFile", path.to_str().expect("a path"), "-vv"];
    run(&words, &[]);
    let files: Vec<_> = std::fs::read_dir(folder.path()).expect("a folder").flatten().collect();
    assert_eq!(files.len(), 1);
    assert!(files[0].file_name().to_string_lossy().starts_with("keep.log."));
    let log = std::fs::read_to_string(files[0].path()).expect("the log");
    assert!(log.contains("started"), "{log}");
    assert_eq!(run(&["list", "--logFile", "/proc/none/x"], &[]).status.code(), Some(2));
}
