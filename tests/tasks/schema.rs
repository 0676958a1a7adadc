//! JSON Schema, as much of it as ours use: a keyword or pattern that is not known here fails the test.

use serde_json::Value;

/// Reads a schema of the manual.
pub fn load(name: &str) -> Value {
    let path = format!("{}/docs/schemas/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// The schema of a type of task.
pub fn of_kind(kind: &str) -> Value {
    match kind {
        "create_backup" | "restore_backup" | "list_backups" | "get_backup" => load(kind),
        _ => load("command"),
    }
}

/// What a schema finds wrong with a value.
pub fn check(schema: &Value, value: &Value) -> Result<(), String> {
    for (keyword, rule) in schema.as_object().unwrap() {
        let fits = match keyword.as_str() {
            "$schema" | "title" | "description" => true,
            "type" => types(rule).any(|name| is_of(value, name)),
            "const" => rule == value,
            "enum" => rule.as_array().unwrap().contains(value),
            "anyOf" => rule.as_array().unwrap().iter().any(|rule| check(rule, value).is_ok()),
            "allOf" => rule.as_array().unwrap().iter().all(|rule| check(rule, value).is_ok()),
            "minLength" => value.as_str().is_none_or(|text| text.chars().count() >= number(rule)),
            "maxLength" => value.as_str().is_none_or(|text| text.chars().count() <= number(rule)),
            "pattern" => value.as_str().is_none_or(|text| matches(rule.as_str().unwrap(), text)),
            "minimum" => value.as_f64().is_none_or(|n| n >= rule.as_f64().unwrap()),
            "maximum" => value.as_u64().is_none_or(|n| n <= rule.as_u64().unwrap()),
            "exclusiveMaximum" => value.as_f64().is_none_or(|n| n < rule.as_f64().unwrap()),
            "required" => value.as_object().is_none_or(|fields| {
                let mut names = rule.as_array().unwrap().iter().map(|name| name.as_str().unwrap());
                names.all(|name| fields.contains_key(name))
            }),
            "properties" => {
                for (name, rule) in rule.as_object().unwrap() {
                    if let Some(value) = value.get(name) {
                        check(rule, value).map_err(|why| format!("{name}: {why}"))?;
                    }
                }
                true
            }
            "additionalProperties" => {
                let known = schema.get("properties").and_then(Value::as_object);
                let more = value.as_object().into_iter().flatten();
                let mut more =
                    more.filter(|(name, _)| !known.is_some_and(|k| k.contains_key(*name)));
                more.all(|(_, value)| *rule != Value::Bool(false) && check(rule, value).is_ok())
            }
            "items" => {
                value.as_array().is_none_or(|all| all.iter().all(|v| check(rule, v).is_ok()))
            }
            other => panic!("the keyword {other} is not known here"),
        };
        if !fits {
            return Err(format!("{keyword} {rule}"));
        }
    }
    Ok(())
}

fn types(rule: &Value) -> impl Iterator<Item = &str> {
    let one = rule.as_str().into_iter();
    let many = rule.as_array().into_iter().flatten().map(|name| name.as_str().unwrap());
    one.chain(many)
}

fn number(rule: &Value) -> usize {
    rule.as_u64().unwrap().try_into().unwrap()
}

fn is_of(value: &Value, name: &str) -> bool {
    match name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "string" => value.is_string(),
        "object" => value.is_object(),
        "array" => value.is_array(),
        "number" => value.is_number(),
        "integer" => value.is_i64() || value.is_u64(),
        other => panic!("the type {other} is not known here"),
    }
}

fn matches(pattern: &str, text: &str) -> bool {
    match pattern {
        "^[A-Za-z0-9._:-]{1,128}$" => {
            let letter = |c: char| c.is_ascii_alphanumeric() || "._:-".contains(c);
            (1..=128).contains(&text.len()) && text.chars().all(letter)
        }
        "^[^\\u0000-\\u001f\\u007f-\\u009f]+$" => {
            !text.is_empty() && !text.chars().any(char::is_control)
        }
        "^1(\\..*)?$" => text.split('.').next() == Some("1"),
        other => panic!("the pattern {other} is not known here"),
    }
}
