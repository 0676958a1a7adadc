//! Commands of this program as tasks: which there are and which options they take comes in as data.
//! Pure. Owns the words that a payload becomes; never an option that is not allowed by name.

use serde_json::Value;

use super::Work;
use crate::clickhouse::{Code, TaskError, json};

/// Key of a payload that names credentials of the worker's settings.
const CREDENTIALS: &str = "credentials";
/// Longest value of an option, bytes.
const LONGEST: usize = 4096;

/// What a connection string or a setting of a client begins a secret with: words of a command are
/// seen by others of the host, and are written down.
const SECRET: [&str; 3] = ["password=", "secret=", "token="];

/// How an option takes its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// None: it is there or not. In a payload `true` or `false`.
    Nothing,
    /// One: a text or a number.
    One,
    /// Some, by being repeated: a text, a number, or a list of them.
    Many,
}

/// An option of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OptionRule {
    /// Its long names without dashes: the keys of a payload that mean it. The first is used.
    pub names: Vec<String>,
    /// How it takes its value.
    pub takes: Takes,
    /// Whether a task may give it: not what carries a secret, names a file of this machine or
    /// changes who the worker is.
    pub allowed: bool,
}

/// A command that a task may ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandRule {
    /// The type of the task, also the command's name on the command line.
    pub kind: String,
    /// The key of a payload whose value stands alone, without an option: `run` of `resume`.
    pub subject: Option<String>,
    /// Its options.
    pub options: Vec<OptionRule>,
}

/// What a payload asks for.
///
/// # Errors
/// A [`TaskError`] that names the field.
pub fn read(rule: &CommandRule, payload: Value) -> Result<Work, TaskError> {
    let Value::Object(fields) = payload else {
        return Err(TaskError::new(Code::BadRequest, "the payload is no object"));
    };
    let (mut words, mut subject, mut credentials) = (vec![rule.kind.clone()], None, None);
    let mut used = Vec::new();
    for (field, value) in fields {
        if value.is_null() {
            continue;
        }
        if field == CREDENTIALS {
            credentials = Some(one(&field, value)?);
        } else if rule.subject.as_ref() == Some(&field) {
            subject = Some(one(&field, value)?);
        } else {
            let option = option(rule, &field)?;
            if used.contains(&option) {
                return Err(wrong(&field, "is there under two names"));
            }
            used.push(option);
            add(&mut words, option, &field, value)?;
        }
    }
    if let Some(subject) = subject {
        words.extend(["--".to_owned(), subject]);
    }
    Ok(Work { words, credentials })
}

fn option<'a>(rule: &'a CommandRule, field: &str) -> Result<&'a OptionRule, TaskError> {
    let found = rule.options.iter().find(|option| option.names.iter().any(|name| name == field));
    match found {
        Some(option) if option.allowed => Ok(option),
        Some(_) => {
            let text = format!("{field}: is the worker's own; a task cannot give it");
            Err(TaskError::new(Code::ForbiddenTarget, text))
        }
        None => {
            let text = format!("{} is not known here", json::shown(field));
            Err(TaskError::new(Code::UnknownField, text))
        }
    }
}

/// Adds an option as `--name=value`, so that no value can be taken for an option.
fn add(
    words: &mut Vec<String>,
    option: &OptionRule,
    field: &str,
    value: Value,
) -> Result<(), TaskError> {
    let name = option.names.first().map_or(field, String::as_str);
    match (option.takes, value) {
        (Takes::Nothing, Value::Bool(false)) => {}
        (Takes::Nothing, Value::Bool(true)) => words.push(format!("--{name}")),
        (Takes::Nothing, _) => return Err(wrong(field, "true or false is wanted")),
        (Takes::Many, Value::Array(items)) => {
            for item in items {
                words.push(format!("--{name}={}", one(field, item)?));
            }
        }
        (Takes::One | Takes::Many, value) => {
            words.push(format!("--{name}={}", one(field, value)?));
        }
    }
    Ok(())
}

fn one(field: &str, value: Value) -> Result<String, TaskError> {
    let text = match value {
        Value::String(text) => text,
        Value::Number(number) => number.to_string(),
        _ => return Err(wrong(field, "a text or a number is wanted")),
    };
    if text.len() > LONGEST || text.contains('\0') {
        return Err(wrong(field, format_args!("at most {LONGEST} bytes without NUL are wanted")));
    }
    let lower = text.to_lowercase();
    if SECRET.iter().any(|name| lower.contains(name)) {
        let text = format!("{field}: a secret has no place here; name {CREDENTIALS} of the worker");
        return Err(TaskError::new(Code::ForbiddenTarget, text));
    }
    Ok(text)
}

fn wrong(field: &str, what: impl std::fmt::Display) -> TaskError {
    TaskError::new(Code::BadRequest, format!("{field}: {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clickhouse::json;

    fn rule() -> CommandRule {
        let option = |names: &[&str], takes, allowed| OptionRule {
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            takes,
            allowed,
        };
        CommandRule {
            kind: "resume".into(),
            subject: Some("run".into()),
            options: vec![
                option(&["dryRun", "dry-run"], Takes::Nothing, true),
                option(&["topic"], Takes::One, true),
                option(&["table"], Takes::Many, true),
                option(&["stateDir"], Takes::One, false),
            ],
        }
    }

    fn read_one(payload: &str) -> Result<Work, TaskError> {
        read(&rule(), json::read(payload.as_bytes())?)
    }

    #[test]
    fn options_become_words_that_nothing_can_leave() {
        let payload = r#"{"run": "--yes", "dry-run": true, "topic": "--stateDir=/etc", "table":
            ["a", 1], "credentials": "main"}"#;
        let work = read_one(payload).expect("work");
        let wanted = ["resume", "--dryRun", "--table=a", "--table=1", "--topic=--stateDir=/etc"];
        assert_eq!(work.words, [&wanted[..], &["--", "--yes"]].concat());
        assert_eq!(work.credentials.as_deref(), Some("main"));
        assert_eq!(read_one("{}").expect("work").words, ["resume"]);
        let none = read_one(r#"{"topic": null, "dryRun": false}"#).expect("work");
        assert_eq!(none.words, ["resume"]);
    }

    #[test]
    fn what_is_not_for_tasks_is_refused_by_name() {
        let cases = [
            (r#"{"stateDir": "/x"}"#, Code::ForbiddenTarget, "stateDir: is the worker's own"),
            (r#"{"topik": "x"}"#, Code::UnknownField, "\"topik\" is not known"),
            (r#"{"--topic": "x"}"#, Code::UnknownField, "\"--topic\" is not known"),
            (r#"{"topic": ["x"]}"#, Code::BadRequest, "topic: a text or a number"),
            (r#"{"topic": "a\u0000b"}"#, Code::BadRequest, "topic: at most"),
            (r#"{"topic": "h:1/d?Password=caNary"}"#, Code::ForbiddenTarget, "topic: a secret has"),
            (r#"{"dryRun": "yes"}"#, Code::BadRequest, "dryRun: true or false"),
            (r#"{"dryRun": true, "dry-run": true}"#, Code::BadRequest, "dryRun: is there under"),
            ("[]", Code::BadRequest, "the payload is no object"),
        ];
        for (payload, code, text) in cases {
            let error = read_one(payload).expect_err(payload);
            assert_eq!(error.code, code, "{payload}: {error}");
            assert!(error.message.starts_with(text), "{payload}: {error}");
            assert!(!error.message.contains("caNary"), "{error}");
        }
    }
}
