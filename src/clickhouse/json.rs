//! JSON read strictly: no key twice, every field known, every wrong value named by its place. Owns
//! no meaning of any field. Texts are moved out, so that a secret is in no second place.

use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::failure::{Code, TaskError};
use super::secret::Secret;

/// A value in which no object has a key twice.
struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Self)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut all = Vec::new();
        while let Some(Strict(item)) = items.next_element()? {
            all.push(item);
        }
        Ok(all.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut all = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            let Strict(value) = entries.next_value()?;
            if all.contains_key(&key) {
                let key = shown(&key);
                return Err(de::Error::custom(format_args!("the key {key} is there twice")));
            }
            all.insert(key, value);
        }
        Ok(all.into())
    }
}

/// A name that a sender gave, for a message. Where quotes are misplaced a secret can stand where a
/// name is wanted, so only what looks like one is repeated.
pub fn shown(name: &str) -> String {
    let letter = |c: char| c.is_ascii_alphabetic() || matches!(c, '_' | '-');
    let plain = (1..=30).contains(&name.len()) && name.chars().all(letter);
    if plain { format!("{name:?}") } else { "(not shown)".to_owned() }
}

/// Reads one JSON document.
///
/// # Errors
/// [`Code::BadJson`] with the place; the text itself is not repeated, as it can hold a secret.
pub fn read(body: &[u8]) -> Result<Value, TaskError> {
    let Strict(value) = serde_json::from_slice(body).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        let what = error.to_string();
        let what = match what.starts_with("the key ") {
            true => what,
            false => format!("no JSON at line {line}, column {column}"),
        };
        TaskError::new(Code::BadJson, what)
    })?;
    Ok(value)
}

/// The fields of an object, taken out one by one.
pub struct Fields {
    /// Where the object is, for messages: empty, or `request.`.
    place: String,
    left: Map<String, Value>,
}

impl Fields {
    /// Those of an object.
    ///
    /// # Errors
    /// [`Code::BadRequest`] where it is none.
    pub fn of(place: &str, value: Value) -> Result<Self, TaskError> {
        match value {
            Value::Object(left) => Ok(Self { place: place.to_owned(), left }),
            _ => {
                let what =
                    if place.is_empty() { "the payload" } else { place.trim_end_matches('.') };
                Err(TaskError::new(Code::BadRequest, format!("{what} is no object")))
            }
        }
    }

    /// What is said about a field's value.
    pub fn wrong(&self, field: &str, what: impl fmt::Display) -> TaskError {
        TaskError::new(Code::BadRequest, format!("{}{field}: {what}", self.place))
    }

    /// A field, none where it is missing or null.
    pub fn take(&mut self, field: &str) -> Option<Value> {
        self.left.remove(field).filter(|value| !value.is_null())
    }

    /// A text.
    ///
    /// # Errors
    /// [`Code::BadRequest`] where it is something else.
    pub fn text(&mut self, field: &str) -> Result<Option<String>, TaskError> {
        match self.take(field) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(self.wrong(field, "a text is wanted")),
        }
    }

    /// A text that must be there.
    ///
    /// # Errors
    /// [`Code::BadRequest`].
    pub fn needed(&mut self, field: &str) -> Result<String, TaskError> {
        self.text(field)?.ok_or_else(|| self.wrong(field, "is missing"))
    }

    /// A secret text; its value is never repeated.
    ///
    /// # Errors
    /// [`Code::BadRequest`].
    pub fn secret(&mut self, field: &str) -> Result<Option<Secret>, TaskError> {
        let secret = self.text(field)?.map(Secret::new);
        match &secret {
            Some(secret) if secret.expose().is_empty() => Err(self.wrong(field, "is empty")),
            Some(secret) if secret.expose().chars().any(char::is_control) => {
                Err(self.wrong(field, "has control characters"))
            }
            _ => Ok(secret),
        }
    }

    /// Yes or no.
    ///
    /// # Errors
    /// [`Code::BadRequest`].
    pub fn flag(&mut self, field: &str) -> Result<bool, TaskError> {
        match self.take(field) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(flag),
            Some(_) => Err(self.wrong(field, "true or false is wanted")),
        }
    }

    /// A whole number.
    ///
    /// # Errors
    /// [`Code::BadRequest`].
    pub fn number(&mut self, field: &str) -> Result<Option<u64>, TaskError> {
        match self.take(field) {
            None => Ok(None),
            Some(value) => {
                let number = value.as_u64();
                number.map(Some).ok_or_else(|| self.wrong(field, "a whole number is wanted"))
            }
        }
    }

    /// Nothing may be left.
    ///
    /// # Errors
    /// [`Code::UnknownField`] names what is.
    pub fn end(self) -> Result<(), TaskError> {
        match self.left.keys().next() {
            None => Ok(()),
            Some(field) => {
                let message = format!("{}{} is not known here", self.place, shown(field));
                Err(TaskError::new(Code::UnknownField, message))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_twice_is_no_json() {
        let twice = read(br#"{"a": {"b": 1, "b": 2}}"#).expect_err("refused");
        assert_eq!(twice.code, Code::BadJson);
        assert!(twice.message.starts_with("the key \"b\" is there twice"), "{}", twice.message);
        let cut = read(br#"{"secret_key": "canary"#).expect_err("refused");
        assert_eq!(cut.message, "no JSON at line 1, column 22");
        assert_eq!(read(br#"{"a": [1, -2, 1.5, true, null]}"#).expect("JSON")["a"][1], -2);
        assert!(read(b"{} {}").is_err() && read(b"").is_err());
    }

    #[test]
    fn fields_are_named_in_what_is_wrong_with_them() {
        let mut fields =
            Fields::of("request.", read(br#"{"n": "x", "m": 1}"#).expect("JSON")).expect("fields");
        let wrong = fields.number("n").expect_err("refused");
        assert_eq!(wrong.message, "request.n: a whole number is wanted");
        let left = fields.end().expect_err("refused");
        assert_eq!(
            (left.code, left.message.as_str()),
            (Code::UnknownField, "request.\"m\" is not known here")
        );
    }
}
