//! Owns the body of POST /query/execute and the error texts for a bad one; never looks at the SQL.

use serde_json::Value as Json;
use serde_json::error::Category;
use uuid::Uuid;

use super::failure::Failure;

/// A readable request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) id: String,
    pub(crate) datamart: String,
    pub(crate) sql: String,
}

/// Reads a body.
pub(crate) fn read(body: &[u8]) -> Result<Request, Failure> {
    if body.is_empty() {
        return Err(Failure::BodyEmpty);
    }
    let parsed: Json = serde_json::from_slice(body).map_err(|e| undecodable(&e))?;
    let Json::Object(fields) = parsed else {
        return Err(Failure::BodyEmpty);
    };
    let known = ["requestId", "sql", "datamartMnemonic", "parameters"];
    if let Some(unknown) = fields.keys().find(|name| !known.contains(&name.as_str())) {
        return Err(Failure::BodyField(unknown.clone()));
    }
    let text = |name: &str| match fields.get(name) {
        None | Some(Json::Null) => Ok(None),
        Some(Json::String(text)) => Ok(Some(text.clone())),
        Some(Json::Number(number)) => Ok(Some(number.to_string())),
        Some(Json::Bool(b)) => Ok(Some(b.to_string())),
        Some(_) => Err(Failure::BodyValue {
            kind: "java.lang.String".to_owned(),
            given: "Object value (token `JsonToken.START_OBJECT`)".to_owned(),
            field: name.to_owned(),
        }),
    };
    let id = match text("requestId")? {
        None => Uuid::new_v4(),
        Some(text) => uuid(&text)?,
    };
    Ok(Request {
        id: id.to_string(),
        datamart: text("datamartMnemonic")?.unwrap_or_default(),
        sql: text("sql")?.unwrap_or_default(),
    })
}

fn uuid(text: &str) -> Result<Uuid, Failure> {
    let bad = || Failure::BodyValue {
        kind: "java.util.UUID".to_owned(),
        given: format!(
            "String \"{text}\": UUID has to be represented by standard 36-char representation"
        ),
        field: "requestId".to_owned(),
    };
    if text.len() == 36 { text.parse().map_err(|_| bad()) } else { Err(bad()) }
}

/// The text of the node's JSON reader, as near as this reader's own errors allow.
fn undecodable(error: &serde_json::Error) -> Failure {
    let own = error.to_string();
    let what = match error.classify() {
        Category::Eof if own.contains("string") => "Unexpected end-of-input in VALUE_STRING",
        Category::Eof => "Unexpected end-of-input: expected close marker for Object",
        _ => "Unexpected character: was expecting a valid JSON value",
    };
    let (line, column) = (error.line(), error.column() + 1);
    Failure::BodyDecode(format!(
        "{what}\n at [Source: (io.netty.buffer.ByteBufInputStream); line: {line}, column: {column}]"
    ))
}
