//! What the words of a restore mean, and what is refused before anything is connected to.

use deltakeep::cli::args::OnUnfinished;
use deltakeep::cli::restore_settings::{GapsSettings, RestoreSettings, RestoreTask};
use deltakeep::cli::settings::{BackupBrokers, CoreBrokers, SettingsError, Task};
use deltakeep::model::DeltaNum;
use deltakeep::restore::Dates;

use crate::meaning::{check, check_in};

fn task(line: &str) -> RestoreTask {
    match check(line).map(|settings| settings.task) {
        Ok(Task::Restore(task)) => task,
        other => panic!("{line}: {other:?}"),
    }
}

fn restore(options: &str) -> RestoreSettings {
    match task(&format!("--connect h:1/new restore_from_kafka --topic t {options}")) {
        RestoreTask::Restore(settings) => *settings,
        RestoreTask::Gaps(settings) => panic!("{options}: {settings:?}"),
    }
}

fn gaps(line: &str) -> GapsSettings {
    match task(line) {
        RestoreTask::Gaps(settings) => *settings,
        RestoreTask::Restore(settings) => panic!("{line}: {settings:?}"),
    }
}

fn wrong(line: &str) -> SettingsError {
    check(line).err().unwrap_or_else(|| panic!("{line} was taken"))
}

#[test]
fn what_is_not_asked_for_restores_everything_under_its_own_name() {
    let settings = restore("");
    let shape = &settings.shape;
    assert_eq!((shape.source.as_str(), shape.target.as_str()), ("new", "new"));
    assert_eq!((shape.threads, shape.partitions, shape.message_limit), (1, 1, None));
    assert_eq!((&shape.datasource, shape.accept_differences), (&None, false));
    assert_eq!((settings.wanted.from, settings.wanted.to), (None, None));
    assert_eq!((settings.dates, settings.on_unfinished), (Dates::Keep, OnUnfinished::Resume));
    assert_eq!(settings.ways.core, CoreBrokers::AskNode);
    assert_eq!(settings.ways.backup, BackupBrokers::Core);
    assert_eq!(settings.ways.kafka_retries, 10);
    assert!(settings.skip.is_empty() && !settings.dry_run);
}

#[test]
fn each_keyword_of_a_restore_means_what_it_says() {
    let settings = restore(
        "--sourceDatamart Old --delta 9 --deltaFrom 3 --messageLimit 500 --partitionsCount 4 \
         --threadsCount 8 --kafkaRetries 2 --datasourceType ADQM --dates bump --skipChange 7 \
         --skipChange 2 --onUnfinished fail --acceptDifferences --increment aa --increment bb \
         --dryRun --kafkaBrokersCore c:1 --kafkaBrokers b:1",
    );
    let shape = &settings.shape;
    assert_eq!((shape.source.as_str(), shape.target.as_str()), ("old", "new"));
    assert_eq!((shape.threads, shape.partitions, shape.message_limit), (8, 4, Some(500)));
    assert_eq!((shape.datasource.as_deref(), shape.accept_differences), (Some("adqm"), true));
    let wanted = &settings.wanted;
    assert_eq!((wanted.from, wanted.to), (Some(DeltaNum(3)), Some(DeltaNum(9))));
    let ids: Vec<_> = wanted.increments.iter().map(|id| id.0.as_str()).collect();
    assert_eq!(ids, ["aa", "bb"]);
    assert_eq!((settings.dates, settings.on_unfinished), (Dates::Bump, OnUnfinished::Fail));
    assert_eq!(settings.skip.iter().copied().collect::<Vec<_>>(), [2, 7]);
    assert!(settings.dry_run);
    assert_eq!(settings.ways.kafka_retries, 2);
    let kebab = restore("--source-datamart old --delta-from 3 --message-limit 5 --dry-run");
    assert_eq!((kebab.shape.source.as_str(), kebab.shape.message_limit), ("old", Some(5)));
}

#[test]
fn a_look_at_the_topic_needs_a_node_only_where_nothing_else_names_the_brokers() {
    let node = gaps("--connect h:1/d restore_from_kafka --topic t --readonly");
    assert!(node.connection.is_some());
    assert_eq!(node.source.as_str(), "d");
    let alone = "restore_from_kafka --topic t --readonly --kafkaBrokers b:1 --sourceDatamart d";
    assert!(gaps(alone).connection.is_none());
    for (line, keyword) in [
        ("restore_from_kafka --topic t --readonly", "--connect"),
        ("restore_from_kafka --topic t --readonly --kafkaBrokers b:1", "--sourceDatamart"),
        ("restore_from_kafka --topic t", "--connect"),
        ("restore_from_kafka --topic t --sourceDatamart d --kafkaBrokers b:1", "--connect"),
        ("--connect h:1/d restore_from_kafka", "--topic"),
    ] {
        let error = wrong(line);
        let SettingsError::Missing { keyword: told } = error else { panic!("{line}: {error:?}") };
        assert_eq!(told, keyword, "{line}");
    }
}

#[test]
fn ranges_and_names_that_are_none_are_refused() {
    let with = |options: &str| format!("--connect h:1/d restore_from_kafka --topic t {options}");
    let range = wrong(&with("--deltaFrom 5 --delta 4"));
    assert!(matches!(range, SettingsError::DeltaRange { .. }), "{range:?}");
    let source = wrong(&with("--sourceDatamart a-b"));
    assert!(matches!(source, SettingsError::SourceDatamart(_)), "{source:?}");
    let datasource = wrong(&with("--datasourceType a'b"));
    assert!(matches!(datasource, SettingsError::Datasource { .. }), "{datasource:?}");
    for options in ["--dates never", "--threadsCount 0", "--messageLimit 0", "--delta x"] {
        let line = with(options);
        let words: Vec<_> = line.split_whitespace().collect();
        assert!(check_in(&words, &[]).is_err(), "{options} was taken");
    }
}

#[test]
fn a_resume_takes_what_a_restore_may_go_on_in_spite_of() {
    let line = "resume abcd --skipChange 3 --acceptDifferences --threadsCount 4";
    match check(line).map(|settings| settings.task) {
        Ok(Task::Resume(asked)) => {
            assert_eq!(asked.lenient.skip_change, [3]);
            assert!(asked.lenient.accept_differences);
            assert_eq!(asked.again.threads, Some(4));
        }
        other => panic!("{other:?}"),
    }
}
