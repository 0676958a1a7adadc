//! Talks HTTP to a node: requests, their retries and the reading of failures (PROSTORE.md section
//! 1). Owns the connection; knows no statement. Only questions are asked again after a lost
//! answer: a command may have been carried out, so its loss is told to the caller.

use std::error::Error as _;
use std::time::Duration;

use reqwest::{Client, RequestBuilder, StatusCode, header};
use serde::Deserialize;
use serde_json::json;

use super::Secret;
use crate::extract::SourceError;
use crate::model::Datamart;

/// How long a node may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// To accept a connection.
    pub connect: Duration,
    /// To answer anything but an unload, whose patience is its caller's.
    pub answer: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { connect: Duration::from_secs(10), answer: Duration::from_secs(600) }
    }
}

/// A connection is kept so long for the next question.
const KEPT: Duration = Duration::from_secs(10);

/// Waits before a question is asked a second and a third time.
const PAUSES: [Duration; 2] = [Duration::from_millis(200), Duration::from_secs(1)];

/// Largest answer that is read: far above the largest changelog.
const LARGEST: usize = 64 << 20;

/// Longest text of a statement in a message.
const SHORT: usize = 120;

/// What a request is for, in messages.
fn short(statement: &str) -> String {
    let line = statement.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(SHORT) {
        Some((end, _)) => format!("{}...", &line[..end]),
        None => line,
    }
}

/// A node's HTTP side, for one datamart.
#[derive(Clone, Debug)]
pub(super) struct Http {
    /// For commands: each has a connection of its own.
    client: Client,
    /// For questions, which are asked again where a kept connection was closed meanwhile.
    asking: Client,
    node: String,
    datamart: Datamart,
    token: Option<Secret>,
    timeouts: Timeouts,
}

/// How a request failed before it is known whose statement it was.
enum Lost {
    /// No connection, or none any more.
    Connection(String),
    /// No answer in time.
    Silence(String),
    /// More than any answer can be.
    Endless,
}

struct Answer {
    status: StatusCode,
    body: Vec<u8>,
}

#[derive(Deserialize)]
struct Failure {
    #[serde(rename = "exceptionMessage")]
    message: Option<String>,
}

impl Http {
    /// Prepares requests; connects to nothing yet. The system's proxy is not used: nodes are on
    /// the inside, and their unloads answer after hours.
    pub(super) fn new(
        node: String,
        datamart: Datamart,
        token: Option<Secret>,
        timeouts: Timeouts,
    ) -> Result<Self, SourceError> {
        let client = |kept| {
            let made = Client::builder()
                .no_proxy()
                .redirect(reqwest::redirect::Policy::none())
                .retry(reqwest::retry::never())
                .pool_max_idle_per_host(kept)
                .pool_idle_timeout(KEPT)
                .connect_timeout(timeouts.connect)
                .tcp_keepalive(Duration::from_secs(30))
                .build();
            let node = node.clone();
            made.map_err(|e| SourceError::Unreachable { node, reason: reasons(&e) })
        };
        // A kept connection can be closed while a command is sent on it, and then nobody knows
        // whether the command arrived.
        let (client, asking) = (client(0)?, client(usize::MAX)?);
        Ok(Self { client, asking, node, datamart, token, timeouts })
    }

    /// Sends a statement once and waits for the answer as long as other requests.
    pub(super) async fn command(&self, sql: &str) -> Result<Vec<u8>, SourceError> {
        let request = self.statement(&self.client, sql).timeout(self.timeouts.answer);
        self.judge(sql, self.send(request).await)
    }

    /// As [`Self::command`], beside no datamart: for one that does not exist yet.
    pub(super) async fn command_of_none(&self, sql: &str) -> Result<Vec<u8>, SourceError> {
        let request = self.request(&self.client, "", sql).timeout(self.timeouts.answer);
        self.judge(sql, self.send(request).await)
    }

    /// Sends a statement once and waits for the answer for ever.
    pub(super) async fn unlimited(&self, sql: &str) -> Result<Vec<u8>, SourceError> {
        self.judge(sql, self.send(self.statement(&self.client, sql)).await)
    }

    /// Sends a statement that changes nothing; again where no answer came.
    pub(super) async fn question(&self, sql: &str) -> Result<Vec<u8>, SourceError> {
        self.repeat(sql, || self.statement(&self.asking, sql)).await
    }

    /// Reads a path below `/meta/`.
    pub(super) async fn meta(&self, path: &str) -> Result<Vec<u8>, SourceError> {
        let path = format!("/meta/{path}");
        self.repeat(&path, || self.asking.get(format!("http://{}{path}", self.node))).await
    }

    /// An answer whose shape is not as documented.
    pub(super) fn unreadable(&self, statement: &str, reason: impl ToString) -> SourceError {
        let reason = self.redact(&reason.to_string());
        SourceError::Unreadable { statement: short(statement), reason }
    }

    /// The datamart is not there.
    pub(super) fn no_datamart(&self) -> SourceError {
        SourceError::NoDatamart { datamart: self.datamart.to_string() }
    }

    /// Datamart of the requests.
    pub(super) fn datamart(&self) -> &Datamart {
        &self.datamart
    }

    fn statement(&self, client: &Client, sql: &str) -> RequestBuilder {
        self.request(client, self.datamart.as_str(), sql)
    }

    fn request(&self, client: &Client, datamart: &str, sql: &str) -> RequestBuilder {
        let body = json!({ "datamartMnemonic": datamart, "sql": sql });
        client.post(format!("http://{}/query/execute", self.node)).json(&body)
    }

    async fn repeat(
        &self,
        what: &str,
        request: impl Fn() -> RequestBuilder,
    ) -> Result<Vec<u8>, SourceError> {
        for pause in PAUSES {
            let answer = self.send(request().timeout(self.timeouts.answer)).await;
            let Err(Lost::Connection(reason)) = answer else { return self.judge(what, answer) };
            tracing::debug!(what = short(what), reason, "no answer, asking again");
            tokio::time::sleep(pause).await;
        }
        self.judge(what, self.send(request().timeout(self.timeouts.answer)).await)
    }

    async fn send(&self, request: RequestBuilder) -> Result<Answer, Lost> {
        let request = match &self.token {
            Some(token) => request.bearer_auth(token.expose()),
            None => request,
        };
        let lost = |e: reqwest::Error| {
            let reason = self.redact(&reasons(&e));
            let silent = e.is_timeout() && !e.is_connect();
            if silent { Lost::Silence(reason) } else { Lost::Connection(reason) }
        };
        let response = request.header(header::ACCEPT, "application/json").send().await;
        let mut response = response.map_err(lost)?;
        let status = response.status();
        let mut body = Vec::new();
        while let Some(part) = response.chunk().await.map_err(lost)? {
            if body.len() + part.len() > LARGEST {
                return Err(Lost::Endless);
            }
            body.extend_from_slice(&part);
        }
        Ok(Answer { status, body })
    }

    /// Turns what came into the body of a success or into an error by name.
    fn judge(&self, what: &str, answer: Result<Answer, Lost>) -> Result<Vec<u8>, SourceError> {
        let answer = match answer {
            Ok(answer) => answer,
            Err(Lost::Connection(reason) | Lost::Silence(reason)) => {
                return Err(SourceError::Unreachable { node: self.node.clone(), reason });
            }
            Err(Lost::Endless) => {
                let reason = format!("the answer is larger than {LARGEST} bytes: not a node?");
                return Err(self.unreadable(what, reason));
            }
        };
        let statement = short(what);
        match answer.status {
            StatusCode::OK => Ok(answer.body),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                Err(SourceError::NoRights { statement, message: self.message(&answer) })
            }
            // Something between us and the node gave up; the node may still be at work.
            StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT => {
                let reason = format!("HTTP {}", answer.status);
                Err(SourceError::Unreachable { node: self.node.clone(), reason })
            }
            StatusCode::INTERNAL_SERVER_ERROR => {
                Err(SourceError::Refused { statement, message: self.message(&answer) })
            }
            status => Err(self.unreadable(what, format!("HTTP {status}: not a Prostore node?"))),
        }
    }

    /// The node's own text, or the status where it gave none.
    fn message(&self, answer: &Answer) -> String {
        let failure = serde_json::from_slice::<Failure>(&answer.body).ok();
        let text = failure.and_then(|failure| failure.message);
        self.redact(&text.unwrap_or_else(|| format!("HTTP {}", answer.status)))
    }

    /// A node or a library could quote the request; the token goes nowhere.
    fn redact(&self, text: &str) -> String {
        self.token.as_ref().map_or_else(|| text.to_owned(), |token| token.redact(text))
    }
}

/// What a client error says, with the causes that it keeps to itself.
fn reasons(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_statements_are_shortened_between_letters() {
        let long = format!("SELECT\n  {}", "я".repeat(300));
        assert_eq!(short(&long), format!("SELECT {}...", "я".repeat(SHORT - 7)));
        assert_eq!(short("GET_DELTA_OK()"), "GET_DELTA_OK()");
    }
}
