//! Owns single values: from SQL literals into the store, and out of it as JSON and checksum text; never whole rows.

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;
use rusqlite::types::{Value as Stored, ValueRef};
use serde_json::{Number, Value as Json};

use super::failure::Failure;
use super::statement::Literal;
use super::types::Kind;

const MICROS: i64 = 1_000_000;
const DAY_SECONDS: i64 = 86_400;

fn bad(kind: Kind, text: &str) -> Failure {
    Failure::BadValue { kind: kind.name().to_lowercase(), value: text.to_owned() }
}

/// Seconds since 1970 of `yyyy-MM-dd HH:mm:ss` in UTC; exactly that form.
pub(crate) fn parse_second(text: &str) -> Option<i64> {
    let shaped = text.len() == 19 && text.as_bytes().get(10) == Some(&b' ');
    let parsed: DateTime = shaped.then(|| text.parse().ok()).flatten()?;
    Some(TimeZone::UTC.to_timestamp(parsed).ok()?.as_second())
}

/// `yyyy-MM-dd HH:mm:ss` in UTC.
pub(crate) fn format_second(seconds: i64) -> String {
    jiff::Timestamp::from_second(seconds)
        .map(|t| t.strftime("%Y-%m-%d %H:%M:%S").to_string())
        .unwrap_or_default()
}

/// Days for DATE, microseconds for TIME and TIMESTAMP.
pub(crate) fn temporal(kind: Kind, text: &str) -> Result<i64, Failure> {
    let number = match kind {
        Kind::Date => text.parse::<Date>().ok().and_then(|d| days(d.at(0, 0, 0, 0))),
        Kind::Time => text.parse::<Time>().ok().map(|t| {
            let (hour, minute) = (i64::from(t.hour()), i64::from(t.minute()));
            let seconds = hour * 3600 + minute * 60 + i64::from(t.second());
            seconds * MICROS + i64::from(t.subsec_nanosecond()) / 1000
        }),
        Kind::Timestamp => text.parse::<DateTime>().ok().and_then(micros),
        _ => None,
    };
    number.ok_or_else(|| bad(kind, text))
}

fn days(at: DateTime) -> Option<i64> {
    Some(TimeZone::UTC.to_timestamp(at).ok()?.as_second().div_euclid(DAY_SECONDS))
}

fn micros(at: DateTime) -> Option<i64> {
    Some(TimeZone::UTC.to_timestamp(at).ok()?.as_microsecond())
}

/// A literal as a column of this type stores it.
pub(crate) fn store(literal: &Literal, kind: Kind) -> Result<Stored, Failure> {
    match literal {
        Literal::Null => Ok(Stored::Null),
        Literal::Boolean(b) => match kind {
            Kind::Boolean => Ok(Stored::Integer(i64::from(*b))),
            _ if kind.is_text() => Ok(Stored::Text(b.to_string())),
            _ => Err(bad(kind, &b.to_string())),
        },
        Literal::Number(digits) => store_number(digits, kind),
        Literal::Text(text) => store_text(text, kind),
    }
}

fn store_number(digits: &str, kind: Kind) -> Result<Stored, Failure> {
    if kind.is_text() {
        return Ok(Stored::Text(digits.to_owned()));
    }
    store_text(digits, kind)
}

fn store_text(text: &str, kind: Kind) -> Result<Stored, Failure> {
    let fail = || bad(kind, text);
    Ok(match kind {
        Kind::Varchar | Kind::Char | Kind::Link | Kind::Uuid => Stored::Text(text.to_owned()),
        Kind::Boolean => match text.to_ascii_lowercase().as_str() {
            "true" | "t" | "1" => Stored::Integer(1),
            "false" | "f" | "0" => Stored::Integer(0),
            _ => return Err(fail()),
        },
        Kind::Int32 => Stored::Integer(text.parse::<i32>().map_err(|_| fail())?.into()),
        Kind::Int | Kind::Bigint => Stored::Integer(text.parse().map_err(|_| fail())?),
        Kind::Float => float(f64::from(text.parse::<f32>().map_err(|_| fail())?)),
        Kind::Double => float(text.parse().map_err(|_| fail())?),
        Kind::Date | Kind::Time | Kind::Timestamp => Stored::Integer(temporal(kind, text)?),
    })
}

/// A real number for the store, which has no NaN and would keep it as NULL: that one becomes text.
/// The literal `-0.0` becomes `0.0`, as on the real node.
fn float(number: f64) -> Stored {
    if number.is_nan() {
        Stored::Text("NaN".to_owned())
    } else if number == 0.0 {
        Stored::Real(0.0)
    } else {
        Stored::Real(number)
    }
}

/// A stored value that came from a load, where negative zero is kept.
pub(crate) fn loaded_float(number: f64) -> Stored {
    if number.is_nan() { Stored::Text("NaN".to_owned()) } else { Stored::Real(number) }
}

/// A stored real number; NaN is stored as text.
pub(crate) fn real(value: ValueRef<'_>) -> Option<f64> {
    match value {
        ValueRef::Real(r) => Some(r),
        ValueRef::Integer(i) => Some(i as f64),
        ValueRef::Text(b"NaN") => Some(f64::NAN),
        _ => None,
    }
}

fn text(value: ValueRef<'_>) -> Option<String> {
    match value {
        ValueRef::Text(bytes) => Some(String::from_utf8_lossy(bytes).into_owned()),
        ValueRef::Integer(i) => Some(i.to_string()),
        ValueRef::Real(r) => Some(r.to_string()),
        _ => None,
    }
}

/// A stored value as `/query/execute` shows it.
pub(crate) fn json(value: ValueRef<'_>, kind: Kind) -> Json {
    match (kind, value) {
        (_, ValueRef::Null) => Json::Null,
        (Kind::Boolean, ValueRef::Integer(i)) => Json::Bool(i != 0),
        (Kind::Float, v) => real(v).map_or(Json::Null, |r| float_json(shortest(r as f32))),
        (Kind::Double, v) => real(v).map_or(Json::Null, float_json),
        (Kind::Uuid, v) => text(v).map_or(Json::Null, |t| Json::String(t.to_lowercase())),
        (_, ValueRef::Integer(i)) if !kind.is_text() => Json::from(i),
        (_, ValueRef::Real(r)) if !kind.is_text() => float_json(r),
        (_, v) => text(v).map_or(Json::Null, Json::String),
    }
}

/// The f64 whose shortest text equals that of the f32.
fn shortest(number: f32) -> f64 {
    number.to_string().parse().unwrap_or(f64::from(number))
}

fn float_json(number: f64) -> Json {
    match Number::from_f64(number) {
        Some(n) => Json::Number(n),
        None if number.is_nan() => Json::from("NaN"),
        None if number > 0.0 => Json::from("Infinity"),
        None => Json::from("-Infinity"),
    }
}

/// A stored value as a checksum sees it: NULL is empty, dates are days, times are microseconds.
pub(crate) fn checksum_text(value: ValueRef<'_>, kind: Kind, out: &mut String) {
    match (kind, value) {
        (_, ValueRef::Null) => {}
        (Kind::Float, v) => {
            out.push_str(&real(v).map_or(String::new(), |r| postgres_float(shortest(r as f32))));
        }
        (Kind::Double, v) => {
            out.push_str(&real(v).map_or(String::new(), postgres_float));
        }
        (_, v) => out.push_str(&text(v).unwrap_or_default()),
    }
}

/// The shortest exact text as PostgreSQL prints it: plain between 1e-4 and 1e15, else `1e+300`.
fn postgres_float(number: f64) -> String {
    if number.is_nan() {
        return "NaN".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { "Infinity" } else { "-Infinity" }.to_owned();
    }
    let size = number.abs();
    if size == 0.0 || (1e-4..1e15).contains(&size) {
        return number.to_string();
    }
    let text = format!("{number:e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}
