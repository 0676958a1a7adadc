//! `send`: a task into a queue, and its reply out of it. Owns what is added to the task on its way
//! and the exit code of the reply; what a task means is the worker's business.

use std::io::Read;
use std::time::Duration;

use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{Stop, listen};
use crate::cli::args::Output;
use crate::cli::console::{note, say};
use crate::cli::exit_code::{ExitCode, Failure};
use crate::cli::queue_options::{SendSettings, TaskFrom};
use crate::cli::report;
use crate::clickhouse::{Code, Keys, TaskError};
use crate::queue::rabbit::send::Client;
use crate::queue::{Address, LARGEST, Outgoing, Published};

/// `deltakeep send`
///
/// # Errors
/// Why it was not sent, that no reply came, or how the task failed.
pub async fn send(output: Output, asked: SendSettings) -> Result<(), Failure> {
    let stop = listen()?;
    let mut task = task(asked.task)?;
    if let Some(keys) = &asked.keys {
        fill_in(&mut task, keys);
    }
    let id = match task.get("task_id").and_then(Value::as_str) {
        Some(id) => id.to_owned(),
        None => Uuid::new_v4().to_string(),
    };
    let next = question(&task, &id, &asked.queue);
    let kind = task.get("type").and_then(Value::as_str).map(str::to_owned);
    let connected = Client::connect(asked.server.clone(), asked.wait.is_some()).await;
    let mut client = connected.map_err(|error| report::of_rabbit(&error))?;
    let message = Outgoing {
        to: Address::Queue(asked.queue.clone()),
        body: Value::Object(task).to_string().into_bytes(),
        message_id: Some(id.clone()),
        correlation_id: Some(id.clone()),
        reply_to: client.reply_to().map(str::to_owned),
        kind,
        headers: Default::default(),
    };
    match client.send(&asked.queue, &message).await {
        Ok(Published::Taken) => {}
        Ok(Published::NoSuchQueue) => {
            return Err(Failure {
                code: ExitCode::Refused,
                message: format!("there is no queue {}", asked.queue),
                next: "deltakeep worker with the same --queue and --declare".to_owned(),
            });
        }
        Err(error) => return Err(report::of_rabbit(&error)),
    }
    let done = match asked.wait {
        Some(time) => await_reply(&mut client, &id, &next, time, stop).await,
        None => {
            say(&match output {
                Output::Json => json!({ "sent": id, "queue": asked.queue }).to_string(),
                Output::Text => format!("Task {id} is in queue {}", asked.queue),
            });
            Ok(())
        }
    };
    client.close().await;
    done
}

fn task(from: TaskFrom) -> Result<Map<String, Value>, Failure> {
    let text = match from {
        TaskFrom::Words(kind, payload) => {
            let mut task = Map::from_iter([("type".to_owned(), kind.into())]);
            if let Some(payload) = payload {
                let payload: Value = serde_json::from_str(payload.expose())
                    .map_err(|_| unreadable(&"--payload is no JSON"))?;
                task.insert("payload".to_owned(), payload);
            }
            return Ok(task);
        }
        TaskFrom::Stdin => limited(std::io::stdin().lock()),
        TaskFrom::File(path) => std::fs::File::open(path).and_then(limited),
    };
    let text = text.map_err(|error| unreadable(&error))?;
    // The parser's own words would quote the task.
    let task: Option<Map<String, Value>> = serde_json::from_slice(&text).ok();
    task.filter(|_| text.len() <= LARGEST)
        .ok_or_else(|| unreadable(&format!("a JSON object of at most {LARGEST} bytes is wanted")))
}

fn limited(from: impl Read) -> std::io::Result<Vec<u8>> {
    let mut text = Vec::new();
    from.take(LARGEST as u64 + 1).read_to_end(&mut text)?;
    Ok(text)
}

fn unreadable(reason: &dyn std::fmt::Display) -> Failure {
    Failure {
        code: ExitCode::Usage,
        message: format!("the task: {reason}"),
        next: "deltakeep send --help".to_owned(),
    }
}

/// Gives a backup or restore its keys where it has none.
fn fill_in(task: &mut Map<String, Value>, keys: &Keys) {
    let kind = task.get("type").and_then(Value::as_str).map(str::to_owned);
    let payload = task.get_mut("payload").and_then(Value::as_object_mut);
    let object = match (kind.as_deref(), payload) {
        (Some("create_backup"), Some(payload)) => payload,
        (Some("restore_backup"), Some(payload)) => match payload.get_mut("request") {
            Some(Value::Object(request)) => request,
            _ => payload,
        },
        _ => return,
    };
    let has = |field| object.get(field).is_some_and(|value: &Value| !value.is_null());
    if !has("access_key") && !has("secret_key") {
        object.insert("access_key".to_owned(), keys.access.expose().into());
        object.insert("secret_key".to_owned(), keys.secret.expose().into());
    }
}

async fn await_reply(
    client: &mut Client,
    id: &str,
    next: &str,
    time: Duration,
    (mut stop, received): Stop,
) -> Result<(), Failure> {
    let end = tokio::time::Instant::now() + time;
    loop {
        let reply = tokio::select! {
            reply = client.reply() => reply.map_err(|error| unanswered(id, next, &error))?,
            () = tokio::time::sleep_until(end) => return Err(unanswered(id, next, &"no reply in time")),
            _ = stop.wait_for(|stop| *stop) => {
                let code = match received.first() {
                    Some(report::Signal::Terminate) => ExitCode::Terminated,
                    Some(report::Signal::Interrupt) | None => ExitCode::Interrupted,
                };
                return Err(Failure { code, ..unanswered(id, next, &"not waited for any longer") });
            }
        };
        let Ok(body) = serde_json::from_slice::<Value>(&reply.body) else { continue };
        if reply.correlation_id.as_deref() != Some(id) {
            continue;
        }
        if body["final"] == Value::Bool(true) {
            say(&body.to_string());
            return verdict(&body);
        }
        note(&format!("deltakeep: task {id} is {}", body["status"].as_str().unwrap_or("at work")));
    }
}

/// The task goes on all the same.
fn unanswered(id: &str, next: &str, reason: &dyn std::fmt::Display) -> Failure {
    Failure {
        code: ExitCode::Stopped,
        message: format!("task {id}: {reason}; it goes on"),
        next: next.to_owned(),
    }
}

/// How to learn what became of a task. An operation is known by the id in its payload, where there
/// is one, and only operations are asked for by `get_backup`.
fn question(task: &Map<String, Value>, id: &str, queue: &str) -> String {
    let given = task.get("payload").and_then(|payload| payload["backup_id"].as_str());
    match task.get("type").and_then(Value::as_str) {
        Some("create_backup" | "restore_backup") => format!(
            "deltakeep send --queue {queue} --type get_backup --payload '{{\"backup_id\": \"{}\"}}' \
             --wait",
            given.unwrap_or(id)
        ),
        Some("list_backups" | "get_backup") => "the same command again".to_owned(),
        _ => "deltakeep list, with the worker's state directory".to_owned(),
    }
}

/// What a reply's error ends the process with.
fn verdict(reply: &Value) -> Result<(), Failure> {
    let error = &reply["error"];
    let Some(name) = error["code"].as_str() else { return Ok(()) };
    let message = error["message"].as_str().unwrap_or_default();
    let code = match name {
        "REFUSED" => ExitCode::Refused,
        "INTERRUPTED" => ExitCode::Stopped,
        "LOCK_LEFT" => ExitCode::NotReleased,
        "JOURNAL_DAMAGED" => ExitCode::Journal,
        _ => {
            let code = Code::parse(name).unwrap_or(Code::Internal);
            report::of_task(&TaskError::new(code, message), None).code
        }
    };
    let hint = error["hint"].as_str().filter(|hint| !hint.is_empty());
    Err(Failure {
        code,
        message: format!("{name}: {message}"),
        next: hint.unwrap_or("look at the worker's log").to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clickhouse::Secret;

    #[test]
    fn what_became_of_a_task_is_asked_by_the_id_that_it_is_known_by() {
        let next = |task: Value| {
            let task = task.as_object().cloned().expect("an object");
            question(&task, "t-1", "backup")
        };
        let create = next(json!({"type": "create_backup", "payload": {"scope": "table"}}));
        assert!(create.contains("--queue backup") && create.contains("\"t-1\""), "{create}");
        let payload = json!({"backup_id": "op-1", "request": {}});
        let restore = next(json!({"type": "restore_backup", "payload": payload}));
        assert!(restore.contains("\"op-1\"") && !restore.contains("t-1"), "{restore}");
        assert_eq!(next(json!({"type": "list_backups"})), "the same command again");
        assert!(next(json!({"type": "drill", "payload": {}})).starts_with("deltakeep list"));
    }

    fn filled(task: Value) -> Value {
        let secret = |text: &str| Secret::new(text.to_owned());
        let keys = Keys { access: secret("a"), secret: secret("s") };
        let mut task = task.as_object().cloned().expect("an object");
        fill_in(&mut task, &keys);
        Value::Object(task)
    }

    #[test]
    fn keys_are_filled_in_where_a_backup_or_restore_has_none() {
        let done = filled(json!({"type": "create_backup", "payload": {"scope": "table"}}));
        assert_eq!(done["payload"]["access_key"], "a");
        let done = filled(json!({"type": "restore_backup", "payload": {"request": {}}}));
        assert_eq!(done["payload"]["request"]["secret_key"], "s");
        let own = json!({"type": "create_backup", "payload": {"access_key": "own"}});
        assert_eq!(filled(own.clone()), own);
        for other in [json!({"type": "get_backup", "payload": {}}), json!({}), json!({"type": 1})] {
            assert_eq!(filled(other.clone()), other);
        }
    }

    #[test]
    fn replies_end_the_process_by_their_codes() {
        let ended = |error: Value| verdict(&json!({ "error": error })).map_err(|f| f.code);
        assert_eq!(ended(Value::Null), Ok(()));
        let cases = [
            ("PATH_EXISTS", ExitCode::Refused),
            ("BAD_REQUEST", ExitCode::Usage),
            ("BUSY", ExitCode::HeldByOther),
            ("INTERRUPTED", ExitCode::Stopped),
            ("JOURNAL_DAMAGED", ExitCode::Journal),
            ("SOMETHING_NEWER", ExitCode::Unexpected),
        ];
        for (name, code) in cases {
            assert_eq!(ended(json!({ "code": name, "message": "m" })), Err(code), "{name}");
        }
    }
}
