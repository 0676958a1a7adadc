//! Bodies of replies, and the messages that carry them; docs/queue.md describes them. Pure. Nothing
//! in them is a secret.

use serde_json::{Value, json};

use super::{Address, Ending, Outgoing};
use crate::clickhouse::report::{of_error, of_operation};
use crate::clickhouse::{Code, Status, TaskError};
use crate::journal::{Operation, OperationEnd, QueueTask};

/// What a reply says beside what the task itself said.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// How it stands: a status, `succeeded` or `failed`.
    pub status: &'static str,
    /// What came of it.
    pub result: Value,
    /// Why it failed; null where it did not.
    pub error: Value,
}

/// Who is answered.
#[derive(Clone, Copy, Debug)]
pub struct Asker<'a> {
    /// The sender's id.
    pub task_id: &'a str,
    /// The task's type, where it is known.
    pub kind: Option<&'a str>,
    /// Id of the operation, where there is one.
    pub operation: Option<&'a str>,
    /// What the sender wants back.
    pub meta: Option<&'a Value>,
}

impl Answer {
    /// A task that ended as asked.
    pub fn done(result: Value) -> Self {
        Self { status: "succeeded", result, error: Value::Null }
    }

    /// A task that failed before there was an operation, or whose operation is left open.
    pub fn failed(error: &TaskError) -> Self {
        Self { status: "failed", result: Value::Null, error: of_error(error) }
    }

    /// An operation, at its end or not.
    pub fn of_operation(operation: &Operation) -> Self {
        let mut result = of_operation(operation);
        let error = result["error"].take();
        if let Some(fields) = result.as_object_mut() {
            fields.remove("error");
        }
        let error = if operation.end.is_some() { error } else { Value::Null };
        Self { status: Status::of(operation).as_str(), result, error }
    }

    /// A command of this program that ended. `run` is what it began, where it began one.
    pub fn of_ending(ending: &Ending, run: Option<&str>) -> Self {
        let result = ending.output.clone().unwrap_or(Value::Null);
        if ending.code == Some(0) {
            return Self { status: "succeeded", result, error: Value::Null };
        }
        let (code, retryable) = code_of(ending.code);
        let hint = match (code, run) {
            (INTERRUPTED | LOCK_LEFT, Some(run)) => {
                format!("a task resume with \"run\": \"{run}\"")
            }
            (INTERRUPTED, None) => "the task again".to_owned(),
            (REFUSED, _) => "correct what the message names".to_owned(),
            (JOURNAL_DAMAGED, _) => "look at the worker's state directory".to_owned(),
            _ => Code::parse(code).map_or("", Code::hint).to_owned(),
        };
        let message = match ending.code {
            None => format!("the command was killed {}", ending.message),
            Some(_) => ending.message.clone(),
        };
        let error = json!({
            "code": code,
            "message": message.trim(),
            "retryable": retryable,
            "clickhouse_code": null,
            "exit_code": ending.code,
            "hint": hint,
        });
        Self { status: "failed", result, error }
    }

    /// The code of the error, or `succeeded`, for counting.
    pub fn outcome(&self) -> &str {
        self.error["code"].as_str().unwrap_or(self.status)
    }

    /// The body.
    pub fn body(&self, asker: Asker<'_>, is_final: bool) -> String {
        let mut body = json!({
            "version": 1,
            "task_id": asker.task_id,
            "backup_id": asker.operation,
            "type": asker.kind,
            "status": self.status,
            "final": is_final,
            "result": self.result,
            "error": self.error,
        });
        if let Some(meta) = asker.meta {
            body["meta"] = meta.clone();
        }
        body.to_string()
    }
}

const REFUSED: &str = "REFUSED";
const INTERRUPTED: &str = "INTERRUPTED";
const LOCK_LEFT: &str = "LOCK_LEFT";
const JOURNAL_DAMAGED: &str = "JOURNAL_DAMAGED";

/// The code of an exit code (README), and whether the same task can succeed later.
fn code_of(exit: Option<i32>) -> (&'static str, bool) {
    match exit {
        Some(2) => (Code::BadRequest.as_str(), false),
        Some(3) => (REFUSED, false),
        Some(4) => (Code::VerifyFailed.as_str(), false),
        Some(5 | 130 | 143) | None => (INTERRUPTED, true),
        Some(6) => (Code::TargetChanged.as_str(), false),
        Some(7) => (Code::Busy.as_str(), true),
        Some(8) => (LOCK_LEFT, false),
        Some(9) => (JOURNAL_DAMAGED, false),
        Some(_) => (Code::Internal.as_str(), false),
    }
}

/// Whether an operation ended as asked.
pub fn has_succeeded(operation: &Operation) -> bool {
    operation.end == Some(OperationEnd::Succeeded)
}

/// The id that all copies of a task's final reply have.
pub fn final_id(task_id: &str) -> String {
    format!("{task_id}/final")
}

/// The final reply of a task, which its record holds; none where nobody is to get it.
pub fn of_task(task: &QueueTask, results: Option<&str>) -> Option<Outgoing> {
    let body = task.reply.as_ref()?;
    let to = address(task.reply_to.as_deref(), results)?;
    Some(Outgoing {
        to,
        body: body.clone().into_bytes(),
        message_id: Some(final_id(&task.task_id)),
        correlation_id: task.correlation_id.clone(),
        reply_to: None,
        kind: Some(task.kind.clone()),
        headers: Default::default(),
    })
}

/// Where replies go.
pub fn address(reply_to: Option<&str>, results: Option<&str>) -> Option<Address> {
    match (reply_to, results) {
        (Some(queue), _) => Some(Address::Queue(queue.to_owned())),
        (None, Some(key)) => Some(Address::Results(key.to_owned())),
        (None, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ending(code: Option<i32>) -> Ending {
        Ending { code, output: Some(json!({"run": "r"})), message: "topic is not there".into() }
    }

    #[test]
    fn an_exit_code_becomes_a_code_with_a_next_step() {
        assert_eq!(Answer::of_ending(&ending(Some(0)), None).outcome(), "succeeded");
        let codes = [1, 2, 3, 4, 5, 6, 7, 8, 9, 130, 143].map(Some).into_iter().chain([None]);
        let told: Vec<_> = codes
            .map(|code| {
                let answer = Answer::of_ending(&ending(code), Some("r-1"));
                assert!(!answer.error["hint"].as_str().unwrap_or("").is_empty(), "{answer:?}");
                assert_eq!(answer.error["exit_code"], json!(code));
                answer.outcome().to_owned()
            })
            .collect();
        let wanted = "INTERNAL BAD_REQUEST REFUSED VERIFY_FAILED INTERRUPTED TARGET_CHANGED BUSY \
                      LOCK_LEFT JOURNAL_DAMAGED INTERRUPTED INTERRUPTED INTERRUPTED";
        assert_eq!(told.join(" "), wanted);
        let stopped = Answer::of_ending(&ending(Some(5)), Some("r-1"));
        assert_eq!(stopped.error["hint"], "a task resume with \"run\": \"r-1\"");
    }

    #[test]
    fn a_body_carries_what_the_sender_knows_the_task_by() {
        let meta = json!({"trace": 7});
        let asker = Asker {
            task_id: "t",
            kind: Some("create_backup"),
            operation: Some("op"),
            meta: Some(&meta),
        };
        let error = TaskError::new(Code::PathExists, "it is there");
        let body = Answer::failed(&error).body(asker, true);
        let body: Value = serde_json::from_str(&body).expect("JSON");
        assert_eq!(body["meta"], meta);
        assert_eq!(body["error"]["code"], "PATH_EXISTS");
        assert_eq!((&body["final"], &body["backup_id"]), (&json!(true), &json!("op")));
    }
}
