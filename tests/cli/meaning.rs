//! Words to settings, in process.

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use clap::Parser;
use deltakeep::cli::args::{Delivery, LowArgs, OnUnfinished, Output};
use deltakeep::cli::filter::StatusOf;
use deltakeep::cli::resume::RunChoice;
use deltakeep::cli::settings::{
    BackupBrokers, BackupSettings, CodeFrom, CoreBrokers, Settings, SettingsError, Surroundings,
    Task,
};
use deltakeep::model::DeltaNum;

/// Meaning of the words after the program's name, in an environment of `variables`.
pub fn check_in(
    words: &[&str],
    variables: &[(&str, &str)],
) -> Result<Result<Settings, SettingsError>, String> {
    let words = ["deltakeep"].iter().chain(words);
    let args = LowArgs::try_parse_from(words).map_err(|error| error.to_string())?;
    let variable = |name: &str| {
        let found = variables.iter().find(|(known, _)| *known == name);
        found.map(|(_, value)| OsString::from(value))
    };
    let around = Surroundings { variable: &variable, here: Path::new("/"), secret_typed: false };
    Ok(Settings::check(args, &around))
}

pub fn check(line: &str) -> Result<Settings, SettingsError> {
    let words: Vec<_> = line.split_whitespace().collect();
    check_in(&words, &[("HOME", "/home/me")]).unwrap_or_else(|error| panic!("{line}: {error}"))
}

fn backup(line: &str) -> BackupSettings {
    match check(line).map(|settings| settings.task) {
        Ok(Task::Backup(settings)) => *settings,
        other => panic!("{line}: {other:?}"),
    }
}

/// `--connect` and the command, so that a test names only what it is about.
fn check_backup(options: &str) -> Result<Settings, SettingsError> {
    check(&format!("--connect h:1/m backup_to_kafka {options}"))
}

/// True where clap itself refuses the words.
fn refused(options: &str) -> bool {
    let line = format!("--connect h:1/m backup_to_kafka {options}");
    let words: Vec<_> = line.split_whitespace().collect();
    check_in(&words, &[]).is_err()
}

#[test]
fn the_seeds_example_of_all_deltas_means_what_it_says() {
    let line = "--connect 10.92.3.86:9090/marketing backup_to_kafka --datasourceType adqm \
                --topic marketing_backup --partitionsCount 3 --threadsCount 2";
    let settings = backup(line);
    assert_eq!(settings.connection.node, "10.92.3.86:9090");
    assert_eq!(settings.connection.datamart.as_str(), "marketing");
    assert_eq!((settings.topic.as_str(), settings.dry_run), ("marketing_backup", false));
    let shape = &settings.shape;
    assert_eq!((shape.datasource.as_deref(), shape.chunk_size), (Some("adqm"), 1000));
    assert_eq!((shape.threads, shape.partitions, shape.asked), (2, 3, None));
    assert_eq!((settings.means.ways.kafka_retries, shape.checksums), (10, true));
    assert_eq!(settings.means.unload_stall, Duration::from_secs(120));
    assert_eq!(settings.means.ways.core, CoreBrokers::AskNode);
    assert_eq!(settings.means.ways.backup, BackupBrokers::Core);
    assert_eq!(settings.means.delivery, Delivery::Transactions);
    assert_eq!(settings.on_unfinished, OnUnfinished::Resume);
}

#[test]
fn the_seeds_example_with_a_token_sends_it_and_shows_it_nowhere() {
    let token = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIiwibmFtZSI6Ikpv\
                 aG4gRG9lIiwiaWF0IjoxNTE2MjM5MDIyfQ.SflKxwRJSMeKKF2QT4fwpMeJf36POk6yJV_adQssw5c";
    let line = format!(
        "--connect 10.92.3.86:9090/marketing?user=jwt&password={token} backup_to_kafka \
         --datasourceType adqm --topic marketing_backup --partitionsCount 3 --threadsCount 2"
    );
    let words = ["deltakeep"].into_iter().chain(line.split_whitespace());
    let typed = LowArgs::try_parse_from(words).expect("words");
    let settings = check(&line).expect("settings");
    assert!(!format!("{typed:?} {settings:?}").contains("eyJ"));
    let Task::Backup(settings) = settings.task else { panic!("another task") };
    assert_eq!(settings.connection.token.map(|t| t.expose() == token), Some(true));
}

#[test]
fn the_seeds_example_of_one_delta_means_what_it_says() {
    let line = "--connect 10.92.3.86:9090/marketing backup_to_kafka --topic marketing_backup \
                --kafkaBrokers 10.123.2.43:9092,10.123.2.44:9092 --deltaNum 12 --kafkaRetries 5";
    let settings = backup(line);
    assert_eq!(settings.shape.asked, Some((DeltaNum(12), 0)));
    assert_eq!((settings.means.ways.kafka_retries, settings.shape.datasource), (5, None));
    let BackupBrokers::Given(brokers) = &settings.means.ways.backup else { panic!("not given") };
    assert_eq!(brokers.as_str(), "10.123.2.43:9092,10.123.2.44:9092");
    assert_eq!(settings.means.ways.core, CoreBrokers::AskNode);
}

#[test]
fn the_seeds_step_by_step_example_means_what_it_says() {
    let line = "--connect 10.92.3.86:9090/sourcedb backup_to_kafka --datasourceType adqm \
                --topic backup_topic_sourcedb --partitionsCount 1 --threadsCount 1";
    assert_eq!(backup(line).topic, "backup_topic_sourcedb");
}

#[test]
fn keywords_work_in_kebab_case_and_connect_after_the_command_too() {
    let settings = backup(
        "backup-to-kafka --datasource-type ADQM --topic t --kafka-brokers-core a:1,b:2 \
         --kafka-brokers c:3 --delta-num 3 --next-deltas-count 2 --partitions-count 4 \
         --threads-count 5 --chunk-size 6 --kafka-retries 0 --unload-stall 2m \
         --on-unfinished fail --dry-run --no-checksums --accept-retention \
         --datasource-fallback --delivery idempotent --connect jdbc:prostore://[::1]:9090/M",
    );
    assert_eq!(settings.connection.node, "[::1]:9090");
    let shape = settings.shape;
    assert_eq!((shape.datasource.as_deref(), shape.chunk_size), (Some("adqm"), 6));
    assert_eq!((shape.threads, shape.partitions, shape.checksums), (5, 4, false));
    assert_eq!(shape.asked, Some((DeltaNum(3), 2)));
    let means = settings.means;
    assert_eq!((means.ways.kafka_retries, means.delivery), (0, Delivery::Idempotent));
    assert_eq!((means.unload_stall, means.accept_retention), (Duration::from_secs(120), true));
    assert!(settings.dry_run && shape.datasource_fallback && !shape.fill_gaps);
    assert!(backup("--connect h:1/m backup_to_kafka --topic t --fill-gaps").shape.fill_gaps);
    assert_eq!(settings.on_unfinished, OnUnfinished::Fail);
}

#[test]
fn rules_between_keywords_are_kept() {
    let error = |options| check_backup(options).map(drop).expect_err(options);
    assert!(matches!(error(""), SettingsError::Missing { keyword: "--topic" }));
    assert!(matches!(error("--topic t --nextDeltasCount 1"), SettingsError::CountAlone));
    let both = "--topic t --deltaNum 1 --fillGaps";
    assert!(matches!(error(both), SettingsError::GapsOfOne));
    let most = "--topic t --deltaNum 9223372036854775807 --nextDeltasCount 1";
    assert!(matches!(error(most), SettingsError::Range { .. }));
    for bad in ["a/b", "..", "тема", &"t".repeat(250)] {
        let options = format!("--topic {bad}");
        let error = check_backup(&options).map(drop).expect_err(bad);
        assert!(matches!(error, SettingsError::Topic { .. }), "{bad}");
    }
    assert!(matches!(error("--topic t --datasourceType 'adqm'"), SettingsError::Datasource { .. }));
    for stall in ["0s", "25h", "-1s", "soon", "120"] {
        let options = format!("--topic t --unloadStall={stall}");
        let error = check_backup(&options).map(drop).expect_err(stall);
        assert!(matches!(error, SettingsError::Stall { .. }), "{stall}");
    }
    for list in ["--kafkaBrokers a", "--kafkaBrokersCore a:1,:2", "--kafkaProperty canary"] {
        let options = format!("--topic t {list}");
        let error = check_backup(&options).map(drop).expect_err(list);
        assert!(matches!(error, SettingsError::Kafka(_)), "{list}");
        assert!(!error.to_string().contains("canary"), "{error}");
    }
    let missing = check("backup_to_kafka --topic t").map(drop).expect_err("no connection");
    assert!(matches!(missing, SettingsError::Missing { keyword: "--connect" }));
}

#[test]
fn numbers_out_of_range_are_refused() {
    for options in [
        "--partitionsCount 0",
        "--partitionsCount 10001",
        "--threadsCount 0",
        "--threadsCount 65",
        "--chunkSize 0",
        "--chunkSize 1000001",
        "--kafkaRetries -1",
        "--deltaNum -1",
        "--delivery maybe",
        "--onUnfinished ask",
        "--output yaml",
    ] {
        assert!(refused(&format!("--topic t {options}")), "{options} was taken");
    }
}

#[test]
fn a_token_comes_from_the_string_before_the_file_and_from_that_before_the_variable() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), "of-file\n").expect("written");
    let path = file.path().to_str().expect("a path");
    let variables = [("HOME", "/home/me"), ("DELTAKEEP_TOKEN", "of-variable")];
    let token = |words: &[&str]| {
        let all: Vec<_> = words.iter().copied().chain(["unlock"]).collect();
        match check_in(&all, &variables).map(|settings| settings.map(|s| s.task)) {
            Ok(Ok(Task::Unlock(unlock))) => {
                unlock.connection.token.map(|token| token.expose().to_owned())
            }
            other => panic!("{words:?}: {other:?}"),
        }
    };
    let typed = "h:1/m?user=jwt&password=of-string";
    assert_eq!(token(&["--connect", "h:1/m"]).as_deref(), Some("of-variable"));
    assert_eq!(token(&["--connect", "h:1/m", "--tokenFile", path]).as_deref(), Some("of-file"));
    assert_eq!(token(&["--connect", typed, "--tokenFile", path]).as_deref(), Some("of-string"));
    let missing = check("--connect h:1/m --tokenFile /nowhere/at/all list").map(drop);
    assert!(matches!(missing, Err(SettingsError::TokenFile { .. })));
    std::fs::write(file.path(), "\n").expect("written");
    let empty = check(&format!("--connect h:1/m --tokenFile {path} list")).map(drop);
    assert!(matches!(empty, Err(SettingsError::BadToken { from: "--tokenFile" })));
}

#[test]
fn the_other_commands_mean_what_they_say() {
    let task = |line: &str| check(line).unwrap_or_else(|error| panic!("{line}: {error}")).task;
    assert!(matches!(task("status"), Task::Status(StatusOf::Run(RunChoice::Obvious, _))));
    assert!(matches!(task("status 1234abcd"), Task::Status(StatusOf::Run(RunChoice::Named(_), _))));
    assert!(matches!(task("list"), Task::List(_)));
    assert!(matches!(task("version"), Task::Version));
    assert!(
        matches!(task("abandon 1234"), Task::Abandon(a) if a.run == RunChoice::Named("1234".into()))
    );
    let Task::Unlock(unlock) = task("unlock --day 9 --yes --connect h:1/m") else { panic!() };
    assert_eq!((unlock.code, unlock.yes), (CodeFrom::Day(9), true));
    let Task::Resume(resume) = task("resume 1234 --chunkSize 7 --kafkaRetries 3") else {
        panic!("another task")
    };
    assert_eq!((resume.again.chunk_size, resume.again.topic), (Some(7), None));
    assert_eq!((resume.means.ways.kafka_retries, resume.connection), (3, None));
    assert!(matches!(check("resume ../x").map(drop), Err(SettingsError::Run { .. })));
}

#[test]
fn the_place_of_the_journals_and_the_output_are_settings_of_all_commands() {
    let settings = check("list --stateDir /var/keep --output json").expect("settings");
    assert_eq!(
        (settings.state_dir.as_path(), settings.output),
        (Path::new("/var/keep"), Output::Json)
    );
    let homeless = check_in(&["list"], &[]).expect("words");
    assert!(matches!(homeless, Err(SettingsError::NoState)));
}
