//! From why a restore ended to what the process ends with and what to type next. Every match is
//! exhaustive, as for a backup.

use super::{Signal, code_of_journal, next_of_source};
use crate::catalog::CatalogError;
use crate::cli::exit_code::{ExitCode, Failure};
use crate::journal::JournalError;
use crate::restore::choose::NoChoice;
use crate::restore::{Disagreement, Fault, Holder, Refusal, RunError, Wanting};

/// The failure of a restore. `stopped` is the signal that was received, if any.
pub fn of_restore(error: &RunError, stopped: Option<Signal>) -> Failure {
    let mut message = error.to_string();
    if error.unreleased {
        message.push_str("; the target may still have table deltakeep_owner and an open delta");
    }
    if error.complete {
        let next = "deltakeep resume, to take table deltakeep_owner away".to_owned();
        return Failure { code: ExitCode::NotReleased, message, next };
    }
    let code = code_of(&error.fault, error.touched, stopped);
    Failure { code, message, next: next_of(&error.fault, error.touched) }
}

fn code_of(fault: &Fault, touched: bool, stopped: Option<Signal>) -> ExitCode {
    let resumable = if touched { ExitCode::Stopped } else { ExitCode::Refused };
    match fault {
        Fault::Refused(_) | Fault::Target(_) | Fault::Again(_) => resumable,
        Fault::NotReplayable { .. } => ExitCode::Stopped,
        Fault::Wanting(_) => ExitCode::Wanting,
        Fault::Catalog(error) => match error {
            CatalogError::Unreachable { .. } | CatalogError::Refused { .. } => resumable,
            CatalogError::Gone { .. } => ExitCode::Disagrees,
        },
        Fault::Journal(error) => code_of_journal(error, resumable),
        Fault::Disagrees(_) => ExitCode::Disagrees,
        Fault::Held(_) => ExitCode::HeldByOther,
        Fault::Stopped => match stopped {
            Some(Signal::Interrupt) | None => ExitCode::Interrupted,
            Some(Signal::Terminate) => ExitCode::Terminated,
        },
        Fault::Unexpected(_) => ExitCode::Unexpected,
    }
}

fn next_of(fault: &Fault, touched: bool) -> String {
    let again = if touched { "deltakeep resume" } else { "the same command again" };
    match fault {
        Fault::Refused(refusal) => next_of_refusal(refusal),
        Fault::Wanting(wanting) => next_of_wanting(wanting, touched).to_owned(),
        Fault::Target(source) => next_of_source(source, again),
        Fault::Catalog(CatalogError::Refused { .. }) => {
            format!("{again}, with rights to read the topic")
        }
        Fault::Catalog(CatalogError::Unreachable { .. }) => {
            format!("{again}, once the brokers answer")
        }
        Fault::Catalog(CatalogError::Gone { .. }) => {
            "deltakeep restore_from_kafka --readonly, to see what the topic still holds".to_owned()
        }
        Fault::Journal(error) => next_of_journal(error).to_owned(),
        Fault::Disagrees(disagreement) => next_of_disagreement(disagreement).to_owned(),
        Fault::Held(holder) => next_of_holder(holder),
        Fault::NotReplayable { num, .. } => format!(
            "deltakeep resume, once the target takes the statement (a view wants its external \
             table first); or deltakeep resume --skipChange {num}"
        ),
        Fault::Stopped | Fault::Again(_) => again.to_owned(),
        Fault::Unexpected(_) => format!("{again}; please report this with the log"),
    }
}

fn next_of_refusal(refusal: &Refusal) -> String {
    let text = match refusal {
        Refusal::NoTopic { .. } => "the same command again with another --topic",
        Refusal::Date(_) => "the same command again with --dates bump",
        Refusal::Ambiguous(_) => {
            "the same command again with the source's name in --connect; or --skipChange with the \
             number of the change"
        }
        Refusal::NotEmpty { .. } | Refusal::Replay(_) => {
            "the same command again with a new or empty datamart in --connect"
        }
        Refusal::NotAt { newest: Some(newest), .. } => {
            return format!("the same command again with --deltaFrom {}", newest.0 + 1);
        }
        Refusal::NotAt { newest: None, .. } => "the same command again without --deltaFrom",
        Refusal::OtherHistory { .. } => {
            "the same command again with the topic of this datamart, or with a new datamart"
        }
        Refusal::Hot { .. } => "COMMIT DELTA or ROLLBACK DELTA there, then the same command again",
        Refusal::UnfinishedChange { .. } => {
            "finish the schema change by sending its text again, or ERASE_CHANGE_OPERATION; then \
             the same command again"
        }
        Refusal::Datasources(_) => {
            "the same command again with a --datasourceType that is active in the target"
        }
    };
    text.to_owned()
}

fn next_of_wanting(wanting: &Wanting, touched: bool) -> &'static str {
    match wanting {
        Wanting::Choice { choice, .. } => match choice {
            NoChoice::Nothing { .. } => {
                "the same command again with another --topic or --sourceDatamart"
            }
            NoChoice::NoRange { .. } => "the same command again with a smaller --deltaFrom",
            NoChoice::Gaps(_) => {
                "deltakeep backup_to_kafka --fillGaps on the source; or --delta below the gap"
            }
            NoChoice::TwoHistories { .. }
            | NoChoice::Unordered { .. }
            | NoChoice::Broken { .. } => "the same command again with --increment ID",
        },
        Wanting::Order(_) | Wanting::Changelog { .. } => {
            "the same command again with --delta below it; deltakeep verify tells more"
        }
        Wanting::Damaged { .. } | Wanting::Lost { .. } if touched => {
            "deltakeep verify; the deltas below it are restored: deltakeep abandon keeps them"
        }
        Wanting::Damaged { .. } | Wanting::Lost { .. } => {
            "deltakeep verify; then the same command again with --delta below it"
        }
    }
}

fn next_of_disagreement(disagreement: &Disagreement) -> &'static str {
    match disagreement {
        Disagreement::IncrementGone { .. } => {
            "deltakeep abandon, which keeps the closed deltas; then a restore with --deltaFrom"
        }
        Disagreement::Changed { .. } | Disagreement::Replay(_) => {
            "deltakeep abandon, then the restore again into a new datamart"
        }
        Disagreement::Sums { .. } => {
            "deltakeep resume, to load it once more; or deltakeep resume --acceptDifferences"
        }
        Disagreement::NoTable { .. } => {
            "deltakeep abandon, then the restore again without --skipChange of its CREATE TABLE"
        }
    }
}

fn next_of_holder(holder: &Holder) -> String {
    match holder {
        Holder::Run(owner) => format!(
            "deltakeep status {}, and wait for it to end; where it is surely dead: deltakeep unlock",
            owner.run.short()
        ),
        Holder::UnknownMarker | Holder::MarkerLost => {
            "look who works there; then deltakeep resume, or the same command again".to_owned()
        }
        Holder::Hot(_) => {
            "COMMIT DELTA or ROLLBACK DELTA there, once it is certain whose it is; then deltakeep \
             resume"
                .to_owned()
        }
    }
}

fn next_of_journal(error: &JournalError) -> &'static str {
    match error {
        JournalError::InUse { .. } => "deltakeep status, and wait for the restore to end",
        JournalError::Damaged { .. } => {
            "DROP DATABASE of the target, then the restore again; or a restore with --deltaFrom \
             behind its last closed delta"
        }
        JournalError::Newer { .. } => "the newer deltakeep that wrote it",
        JournalError::Disk { .. } => "make room or give rights, then: deltakeep resume",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::extract::SourceError;
    use crate::model::{DeltaNum, TableName};
    use crate::restore::gaps::{Gaps, Ranges};

    fn of(fault: Fault, touched: bool) -> Failure {
        of_restore(&RunError { fault, touched, complete: false, unreleased: false }, None)
    }

    #[test]
    fn what_the_topic_lacks_is_4_and_what_somebody_did_to_the_target_is_6_or_7() {
        let gaps = Gaps { missing: Ranges::of(DeltaNum(3)), ..Gaps::default() };
        let choice = NoChoice::Gaps(gaps);
        let failure = of(Wanting::Choice { choice, damage: vec![] }.into(), false);
        assert_eq!(failure.code, ExitCode::Wanting);
        assert!(failure.next.contains("--fillGaps"), "{}", failure.next);
        let sums = Disagreement::Sums {
            delta: DeltaNum(1),
            table: TableName("a".into()),
            wanted: "1".into(),
            found: "2".into(),
        };
        let failure = of(sums.into(), true);
        assert_eq!(failure.code, ExitCode::Disagrees);
        assert!(failure.next.contains("--acceptDifferences"), "{}", failure.next);
        assert_eq!(of(Holder::Hot(DeltaNum(1)).into(), true).code, ExitCode::HeldByOther);
    }

    #[test]
    fn a_statement_that_is_refused_names_its_number_and_both_ways_on() {
        let (query, message) = ("CREATE VIEW x".to_owned(), "no such table".to_owned());
        let failure = of(Fault::NotReplayable { num: 7, query, message }, true);
        assert_eq!(failure.code, ExitCode::Stopped);
        assert!(failure.message.contains("CREATE VIEW x"), "{}", failure.message);
        assert!(failure.next.contains("--skipChange 7"), "{}", failure.next);
    }

    #[test]
    fn the_same_failure_is_refused_before_and_resumable_after_the_first_touch() {
        let unreachable = || {
            let (node, reason) = ("n:1".into(), "refused".into());
            Fault::from(SourceError::Unreachable { node, reason })
        };
        assert_eq!(of(unreachable(), false).code, ExitCode::Refused);
        let failure = of(unreachable(), true);
        assert_eq!(failure.code, ExitCode::Stopped);
        assert!(failure.next.contains("deltakeep resume"), "{}", failure.next);
        let hot = Refusal::Hot { delta: DeltaNum(2) };
        assert_eq!(of(hot.into(), false).code, ExitCode::Refused);
    }

    #[test]
    fn a_restore_that_only_could_not_give_back_is_8() {
        let fault = SourceError::Brokers { reason: "gone".into() }.into();
        let error = RunError { fault, touched: true, complete: true, unreleased: true };
        let failure = of_restore(&error, None);
        assert_eq!(failure.code, ExitCode::NotReleased);
        assert!(failure.message.contains("deltakeep_owner"), "{}", failure.message);
    }
}
