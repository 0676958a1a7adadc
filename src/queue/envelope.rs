//! A message as a task: who sent it, what it is known by, what it asks for. Pure. Owns the fields
//! around the payload; never repeats a value of the body in an error.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::{LARGEST, Message};
use crate::clickhouse::json::{self, Fields};
use crate::clickhouse::{Code, OperationId, TaskError};

/// The header that a task has that was sent back to its queue: a second copy of it may be there.
const AGAIN: &str = "deltakeep-again";
/// Headers that say something about a task.
const HEADERS: [&str; 2] = ["schema-version", "progress"];
/// Largest `meta`, bytes.
const META: usize = 4096;
/// Longest id of a sender that is repeated as it is, bytes: with what is put behind it, an AMQP
/// property holds it.
const LONGEST: usize = 200;
/// The version of tasks that is understood.
const VERSION: &str = "1";
/// Fields whose values are in no hash, journal, log or reply.
const SECRETS: [&str; 2] = ["access_key", "secret_key"];

/// A task before its payload is read.
#[derive(Clone, PartialEq)]
pub struct Envelope {
    /// Its type.
    pub kind: String,
    /// What the task itself is known by.
    pub key: String,
    /// Whether the sender named it: then the same name again is the same task.
    pub named: bool,
    /// What replies carry.
    pub task_id: String,
    /// The id of what it asks for, where its payload has none.
    pub operation: OperationId,
    /// Hash of what it asks for, without secrets.
    pub asked: [u8; 32],
    /// What the sender wants back.
    pub meta: Option<Value>,
    /// What it asks for.
    pub payload: Value,
}

impl fmt::Debug for Envelope {
    /// Without the payload, which holds secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} for {}", self.kind, self.key, self.operation)
    }
}

/// A message that is no task.
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal {
    /// Why.
    pub error: TaskError,
    /// Its type, as far as it is known to be one.
    pub kind: Option<String>,
    /// What a reply carries.
    pub task_id: String,
    /// What the sender wants back.
    pub meta: Option<Value>,
}

/// Reads a message. `known` says which types there are.
///
/// # Errors
/// [`Refusal`], boxed because it is large.
pub fn read(
    message: &Message,
    queue: &str,
    known: impl Fn(&str) -> bool,
) -> Result<Envelope, Box<Refusal>> {
    let mut partial = Refusal {
        error: TaskError::new(Code::Internal, ""),
        kind: None,
        task_id: match &message.message_id {
            Some(id) => told(id),
            None => format!("unreadable-{}", &hex(&Sha256::digest(&message.body))[..32]),
        },
        meta: None,
    };
    fill(message, queue, known, &mut partial).map_err(|error| {
        partial.error = error;
        Box::new(partial)
    })
}

fn fill(
    message: &Message,
    queue: &str,
    known: impl Fn(&str) -> bool,
    partial: &mut Refusal,
) -> Result<Envelope, TaskError> {
    if message.body.len() > LARGEST {
        let text = format!("{} bytes are more than {LARGEST}", message.body.len());
        return Err(TaskError::new(Code::BadRequest, text));
    }
    let body = json::read(&message.body)?;
    if !body.is_object() {
        return Err(TaskError::new(Code::BadRequest, "the task is no object"));
    }
    let whole = hash(&[queue.as_bytes(), without_secrets(&body).to_string().as_bytes()]);
    let mut fields = Fields::of("", body)?;
    let id = fields.text("task_id")?.filter(|id| !id.is_empty());
    if let Some(id) = id.as_deref() {
        partial.task_id = told(id);
    } else if message.message_id.is_none() {
        partial.task_id = hex(&whole)[..32].to_owned();
    }
    partial.meta = meta(&mut fields)?;
    version(message, &mut fields)?;
    let kind = fields.needed("type")?;
    if !known(&kind) {
        let text = format!("{} is no task", json::shown(&kind));
        return Err(TaskError::new(Code::UnknownType, text));
    }
    partial.kind = Some(kind.clone());
    if message.kind.as_ref().is_some_and(|said| *said != kind) {
        return Err(fields.wrong("type", "differs from the message's property type"));
    }
    let payload = fields.take("payload").unwrap_or(Value::Null);
    fields.end()?;
    let asked = hash(&[kind.as_bytes(), without_secrets(&payload).to_string().as_bytes()]);
    let sender = message.message_id.as_deref().filter(|id| !id.is_empty());
    let (key, operation) = match (sender, id.as_deref()) {
        (Some(sender), _) => (format!("m/{}", told(sender)), legal(sender)),
        (None, Some(id)) => (format!("t/{}", told(id)), legal(id)),
        (None, None) => (format!("h/{}", hex(&whole)), OperationId::known(&hex(&whole)[..32])),
    };
    Ok(Envelope {
        kind,
        key,
        named: sender.is_some() || id.is_some(),
        task_id: partial.task_id.clone(),
        operation,
        asked,
        meta: partial.meta.clone(),
        payload,
    })
}

fn meta(fields: &mut Fields) -> Result<Option<Value>, TaskError> {
    let Some(meta) = fields.take("meta") else { return Ok(None) };
    if !meta.is_object() {
        return Err(fields.wrong("meta", "an object is wanted"));
    }
    if meta.to_string().len() > META {
        return Err(fields.wrong("meta", format_args!("is larger than {META} bytes")));
    }
    Ok(Some(meta))
}

/// The body's version, and the header's; only the part before a dot decides.
fn version(message: &Message, fields: &mut Fields) -> Result<(), TaskError> {
    let body = match fields.take("version") {
        None => None,
        Some(Value::String(text)) => Some(text),
        Some(Value::Number(number)) => Some(number.to_string()),
        Some(_) => return Err(fields.wrong("version", "a number is wanted")),
    };
    let header = message.headers.get("schema-version");
    for said in body.iter().chain(header) {
        if said.split('.').next() != Some(VERSION) {
            let text = format!("version {} is not known here", json::shown(said));
            return Err(TaskError::new(Code::UnsupportedVersion, text));
        }
    }
    Ok(())
}

/// Whether a second copy of a message may have been taken by somebody.
pub fn is_again(message: &Message) -> bool {
    message.redelivered || message.headers.contains_key(AGAIN)
}

/// The headers with which a message is sent back to its queue: those that are looked at, so that they
/// are as short as they need be.
pub fn headers_again(message: &Message) -> BTreeMap<String, String> {
    let kept = HEADERS.iter().filter_map(|name| {
        let value = message.headers.get(*name).filter(|value| value.len() <= LONGEST)?;
        Some(((*name).to_owned(), value.clone()))
    });
    kept.chain([(AGAIN.to_owned(), "true".to_owned())]).collect()
}

/// Whether its sender wants to hear of progress.
pub fn wants_progress(message: &Message) -> bool {
    message.headers.get("progress").is_some_and(|value| value == "true")
}

/// The queue that waits for replies, where there is one and replies may go there. Replies never go
/// to the queue of tasks, where they would be taken for tasks.
///
/// # Errors
/// [`Code::ForbiddenTarget`]
pub fn reply_to(
    message: &Message,
    queue: &str,
    prefix: Option<&str>,
) -> Result<Option<String>, TaskError> {
    let Some(to) = message.reply_to.as_deref().filter(|to| !to.is_empty()) else { return Ok(None) };
    let direct = to.starts_with("amq.rabbitmq.reply-to.");
    let allowed = prefix.is_none_or(|prefix| direct || to.starts_with(prefix));
    if to == queue || !allowed {
        let text = "reply_to: replies may not go to this queue";
        return Err(TaskError::new(Code::ForbiddenTarget, text));
    }
    Ok(Some(to.to_owned()))
}

/// An id of a sender as it can be repeated.
fn told(id: &str) -> String {
    let short = id.len() <= LONGEST && !id.chars().any(char::is_control);
    if short { id.to_owned() } else { hex(&hash(&[id.as_bytes()]))[..32].to_owned() }
}

/// An id of a sender as ClickHouse can know it.
fn legal(id: &str) -> OperationId {
    let hashed = || OperationId::known(&hex(&hash(&[id.as_bytes()]))[..32]);
    OperationId::parse(id).unwrap_or_else(hashed)
}

/// A body or a part of it without the values of secrets, wherever they are.
fn without_secrets(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields = fields.iter().map(|(key, value)| {
                let secret = SECRETS.contains(&key.as_str());
                (key.clone(), if secret { Value::Null } else { without_secrets(value) })
            });
            Value::Object(fields.collect::<Map<_, _>>())
        }
        Value::Array(items) => items.iter().map(without_secrets).collect(),
        other => other.clone(),
    }
}

fn hash(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

/// Bytes as text.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEED: &str = r#"{"type": "create_backup", "payload": {"scope": "database",
        "database": "quotes", "backup_path": "s3://my-bucket/backups/quotes_backup_1",
        "access_key": "caNary1", "secret_key": "caNary2"}}"#;

    fn message(body: &str) -> Message {
        Message { body: body.into(), ..Message::default() }
    }

    fn known(kind: &str) -> bool {
        matches!(kind, "create_backup" | "get_backup")
    }

    fn read_one(message: &Message) -> Envelope {
        read(message, "backup", known).expect("a task")
    }

    #[test]
    fn a_task_without_an_id_is_known_by_its_queue_and_its_body_without_secrets() {
        let one = read_one(&message(SEED));
        assert!(!one.named && one.key.starts_with("h/"), "{one:?}");
        assert_eq!(one.task_id, one.operation.as_str());
        let other_keys = read_one(&message(&SEED.replace("caNary", "other")));
        assert_eq!((&other_keys.key, other_keys.asked), (&one.key, one.asked));
        assert_ne!(read_one(&message(&SEED.replace("quotes\"", "q\""))).key, one.key);
        let elsewhere = read(&message(SEED), "other", known).expect("a task");
        assert_ne!(elsewhere.key, one.key);
    }

    #[test]
    fn the_senders_ids_are_kept_where_they_can_be() {
        let body = SEED.replace("{\"type\"", "{\"task_id\": \"t 1\", \"type\"");
        let one = read_one(&message(&body));
        assert_eq!((one.key.as_str(), one.task_id.as_str(), one.named), ("t/t 1", "t 1", true));
        assert_eq!(one.operation.as_str().len(), 32);
        let both = Message { message_id: Some("m-1".into()), ..message(&body) };
        let both = read_one(&both);
        assert_eq!((both.key.as_str(), both.task_id.as_str()), ("m/m-1", "t 1"));
        assert_eq!(both.operation.as_str(), "m-1");
        let long = Message { message_id: Some("x".repeat(250)), ..message(SEED) };
        assert_eq!(read_one(&long).task_id.len(), 32);
    }

    #[test]
    fn what_is_wrong_around_the_payload_is_named() {
        let cases = [
            ("x", Code::BadJson),
            ("[]", Code::BadRequest),
            (r#"{"payload": {}}"#, Code::BadRequest),
            (r#"{"type": "drop_all"}"#, Code::UnknownType),
            (r#"{"type": "get_backup", "version": 2}"#, Code::UnsupportedVersion),
            (r#"{"type": "get_backup", "version": []}"#, Code::BadRequest),
            (r#"{"type": "get_backup", "reply": 1}"#, Code::UnknownField),
            (r#"{"type": "get_backup", "type": "get_backup"}"#, Code::BadJson),
            (r#"{"type": "get_backup", "meta": 1}"#, Code::BadRequest),
            (r#"{"type": "get_backup", "task_id": 1}"#, Code::BadRequest),
        ];
        for (body, code) in cases {
            let refused = read(&message(body), "q", known).expect_err(body);
            assert_eq!(refused.error.code, code, "{body}: {}", refused.error);
        }
        for version in ["1", "1.4", "\"1\"", "1.0"] {
            let body = format!(r#"{{"type": "get_backup", "version": {version}}}"#);
            assert!(read(&message(&body), "q", known).is_ok(), "{version}");
        }
        let header = [("schema-version".to_owned(), "3".to_owned())].into();
        let other = Message { headers: header, ..message(SEED) };
        let refused = read(&other, "q", known).expect_err("a version");
        assert_eq!(refused.error.code, Code::UnsupportedVersion);
        let kind = Message { kind: Some("get_backup".into()), ..message(SEED) };
        assert!(read(&kind, "q", known).is_err());
        let meta = format!(r#"{{"type": "get_backup", "meta": {{"a": "{}"}}}}"#, "x".repeat(4090));
        assert!(read(&message(&meta), "q", known).is_err());
        let large = format!(r#"{{"type": "get_backup", "x": "{}"}}"#, "x".repeat(LARGEST));
        assert_eq!(read(&message(&large), "q", known).expect_err("large").kind, None);
    }

    #[test]
    fn a_task_is_sent_back_with_the_headers_that_count_and_no_long_one() {
        let headers = |all: &[(&str, &str)]| {
            all.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
        };
        let long = format!("1.{}", "0".repeat(100_000));
        let came =
            headers(&[("progress", "true"), ("schema-version", &long), ("traceparent", "x")]);
        let again = headers_again(&Message { headers: came, ..message(SEED) });
        assert_eq!(again, headers(&[("progress", "true"), (AGAIN, "true")]));
        assert!(is_again(&Message { headers: again, ..message(SEED) }));
    }

    #[test]
    fn replies_go_only_where_they_may() {
        let to = |to: &str, prefix| {
            reply_to(&Message { reply_to: Some(to.into()), ..message("") }, "backup", prefix)
        };
        assert_eq!(to("", None), Ok(None));
        assert_eq!(to("r", None), Ok(Some("r".into())));
        assert_eq!(to("replies.a", Some("replies.")), Ok(Some("replies.a".into())));
        assert!(to("amq.rabbitmq.reply-to.x", Some("replies.")).is_ok());
        assert!(to("other", Some("replies.")).is_err() && to("backup", None).is_err());
    }
}
