//! What is kept of a message that is no task: its shape, and the values of fields that are known to
//! hold no secret. Pure. What is not JSON is told by its size and hash alone.

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::envelope::hex;
use crate::clickhouse::json as strict;
use crate::clickhouse::{OperationId, Place, Places};

/// What a value is replaced by.
const MASK: &str = "(not kept)";
/// Fields whose numbers and flags are kept, and whose texts are where they are short and plain.
const PLAIN: [&str; 14] = [
    "type",
    "version",
    "scope",
    "database",
    "table",
    "source_database",
    "source_table",
    "overwrite",
    "structure_only",
    "max_backup_bandwidth",
    "on_cluster",
    "limit",
    "kind",
    "status",
];
/// Fields that hold ids.
const IDS: [&str; 3] = ["task_id", "backup_id", "id"];
/// Fields that hold paths of backups.
const PATHS: [&str; 2] = ["backup_path", "base_backup"];
/// Fields that hold others, or nothing that is kept.
const OTHERS: [&str; 7] =
    ["payload", "request", "meta", "access_key", "secret_key", "since", "cursor"];

/// A body without its secrets. `kept` says which values of `type` are kept.
pub fn mask(body: &[u8], is_kind: impl Fn(&str) -> bool) -> Value {
    match strict::read(body) {
        Ok(value) => {
            let mut hidden = Vec::new();
            let masked = of(&value, None, &is_kind, &mut hidden);
            without(masked, &hidden)
        }
        Err(error) => json!({
            "unreadable": {
                "bytes": body.len(),
                "sha256": hex(&Sha256::digest(body)),
                "error": error.message,
            }
        }),
    }
}

fn of(
    value: &Value,
    field: Option<&str>,
    is_kind: &impl Fn(&str) -> bool,
    hidden: &mut Vec<String>,
) -> Value {
    match value {
        Value::Object(fields) => {
            let mut masked = Map::new();
            for (number, (key, value)) in fields.iter().enumerate() {
                let known = PLAIN.iter().chain(&IDS).chain(&PATHS).chain(&OTHERS);
                let known = known.into_iter().any(|name| name == key);
                let name = if known { key.clone() } else { format!("(unknown {number})") };
                let inner = of(value, known.then_some(key.as_str()), is_kind, hidden);
                masked.insert(name, inner);
            }
            masked.into()
        }
        Value::Array(items) => items.iter().map(|item| of(item, None, is_kind, hidden)).collect(),
        Value::Null => Value::Null,
        Value::Bool(_) | Value::Number(_) if field.is_some_and(|name| PLAIN.contains(&name)) => {
            value.clone()
        }
        Value::String(text) if field.is_some_and(|name| is_kept(name, text, is_kind)) => {
            value.clone()
        }
        Value::String(text) => {
            hidden.push(text.clone());
            MASK.into()
        }
        Value::Bool(_) | Value::Number(_) => MASK.into(),
    }
}

fn is_kept(field: &str, text: &str, is_kind: impl Fn(&str) -> bool) -> bool {
    let plain = |c: char| c.is_alphanumeric() || c == '_';
    match field {
        "type" => is_kind(text),
        _ if IDS.contains(&field) => OperationId::parse(text).is_some(),
        _ if PATHS.contains(&field) => {
            let any = Places { allow_http: true, ..Places::default() };
            Place::parse(text, &any).is_ok() && !text.contains('@')
        }
        _ if PLAIN.contains(&field) => text.chars().count() <= 64 && text.chars().all(plain),
        _ => false,
    }
}

/// A secret that also stands in another field is kept in none.
fn without(value: Value, hidden: &[String]) -> Value {
    match value {
        Value::String(text) => {
            let found = hidden.iter().any(|secret| secret.len() >= 4 && text.contains(secret));
            if found { MASK.into() } else { text.into() }
        }
        Value::Object(fields) => {
            let fields = fields.into_iter().map(|(key, value)| (key, without(value, hidden)));
            fields.collect::<Map<_, _>>().into()
        }
        Value::Array(items) => items.into_iter().map(|item| without(item, hidden)).collect(),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_text(body: &str) -> Value {
        mask(body.as_bytes(), |kind| kind == "create_backup")
    }

    #[test]
    fn only_values_that_are_known_to_be_harmless_stay() {
        let body = r#"{"type": "create_backup", "caNary1": "caNary2", "task_id": "t-1", "payload":
            {"database": "quotes", "table": "caNary3!", "backup_path": "s3://my-bucket/q1",
             "base_backup": "https://user:caNary4@host/x", "access_key": "caNary5",
             "secret_key": ["caNary6"], "overwrite": true, "limit": 12, "id": "caNary 7",
             "request": "caNary8", "source_table": "AK1x", "cursor": "AK1x"}, "meta": {"a": 77}}"#;
        let masked = of_text(body);
        let payload = &masked["payload"];
        assert_eq!(masked["type"], "create_backup");
        assert_eq!(masked["task_id"], "t-1");
        assert_eq!((&payload["database"], &payload["limit"]), (&json!("quotes"), &json!(12)));
        assert_eq!(payload["backup_path"], "s3://my-bucket/q1");
        assert_eq!(payload["source_table"], MASK, "a value that is hidden elsewhere");
        let text = masked.to_string();
        assert!(!text.contains("caNary") && !text.contains("77"), "{text}");
        assert_eq!(of_text(r#"{"type": "caNary"}"#)["type"], MASK);
        assert_eq!(of_text(r#""caNary""#), MASK);
    }

    #[test]
    fn what_is_no_json_is_told_by_size_and_hash() {
        let masked = of_text("{\"secret_key\": \"caNary");
        assert_eq!(masked["unreadable"]["bytes"], 22);
        assert_eq!(masked["unreadable"]["error"], "no JSON at line 1, column 22");
        assert!(!masked.to_string().contains("caNary"));
        let twice = of_text(r#"{"caNary1": 1, "caNary1": 2}"#);
        assert!(!twice.to_string().contains("caNary"), "{twice}");
    }
}
