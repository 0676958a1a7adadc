//! Owns the HTTP interface: paths, bodies and statuses; never runs a statement itself.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{ConnectInfo, DefaultBodyLimit, Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::{Value as Json, json};

use super::failure::Failure;
use super::link::Link;
use super::meta;
use super::node::{Node, Outcome};
use super::request;

/// Largest body taken; a statement with many rows is big.
const BODY_LIMIT: usize = 256 << 20;

type Shared = State<Arc<Node>>;

/// All paths of the node and of the sandbox itself.
pub(crate) fn router(node: Arc<Node>) -> Router {
    Router::new()
        .route("/query/execute", post(execute))
        .route("/meta", get(datamarts))
        .route("/meta/{datamart}/entities", get(entities))
        .route("/meta/{datamart}/entity/{entity}/attributes", get(attributes))
        .route("/sandbox/faults", post(add_fault).delete(clear_faults).get(list_faults))
        .route("/sandbox/calls", get(calls))
        .fallback(not_found)
        .layer(middleware::from_fn_with_state(Arc::clone(&node), authorise))
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .with_state(node)
}

/// With a token set, everything but the sandbox's own paths needs it.
async fn authorise(
    State(node): Shared,
    headers: HeaderMap,
    request: Request,
    next: Next,
) -> Response {
    let wanted = node.options.token.as_ref().map(|t| format!("Bearer {t}"));
    let given = headers.get(header::AUTHORIZATION).map(HeaderValue::as_bytes);
    let own = request.uri().path().starts_with("/sandbox/");
    match wanted {
        Some(wanted) if !own && given != Some(wanted.as_bytes()) => {
            let body = json!({"exceptionMessage": "Unauthorized"});
            with_json(StatusCode::UNAUTHORIZED, &body)
        }
        _ => next.run(request).await,
    }
}

fn with_json(status: StatusCode, body: &Json) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}

fn failed(failure: &Failure) -> Response {
    let body = json!({"exceptionMessage": failure.to_string()});
    with_json(StatusCode::INTERNAL_SERVER_ERROR, &body)
}

async fn not_found() -> Response {
    let html = "<html><body><h1>Resource not found</h1></body></html>";
    let kind = [(header::CONTENT_TYPE, "text/html; charset=utf-8")];
    (StatusCode::NOT_FOUND, kind, html).into_response()
}

async fn execute(
    State(node): Shared,
    ConnectInfo(link): ConnectInfo<Link>,
    body: Bytes,
) -> Response {
    let request = match request::read(&body) {
        Ok(request) => request,
        Err(failure) => return failed(&failure),
    };
    let id = request.id.clone();
    let outcome = blocking(move || node.execute(&request.datamart, &request.sql)).await;
    match outcome {
        Some(Outcome::Answered(answer)) => with_json(StatusCode::OK, &answer.body(&id)),
        Some(Outcome::Failed(failure)) => failed(&failure),
        Some(Outcome::Hang) => std::future::pending().await,
        Some(Outcome::Cut) | None => {
            link.cut();
            std::future::pending().await
        }
    }
}

/// Runs work that blocks; `None` only when the runtime is shutting down.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    tokio::task::spawn_blocking(work).await.ok()
}

async fn looked_up(
    node: Arc<Node>,
    look: impl FnOnce(&rusqlite::Connection) -> Result<Json, Failure> + Send + 'static,
) -> Response {
    let result = blocking(move || node.store.read(look)).await;
    match result {
        Some(Ok(body)) => with_json(StatusCode::OK, &body),
        Some(Err(failure)) => failed(&failure),
        None => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}

async fn datamarts(State(node): Shared) -> Response {
    looked_up(node, meta::datamarts).await
}

async fn entities(State(node): Shared, Path(datamart): Path<String>) -> Response {
    looked_up(node, move |conn| meta::entities(conn, &datamart)).await
}

async fn attributes(
    State(node): Shared,
    Path((datamart, entity)): Path<(String, String)>,
) -> Response {
    looked_up(node, move |conn| meta::attributes(conn, &datamart, &entity)).await
}

async fn add_fault(State(node): Shared, body: Bytes) -> Response {
    let parsed: Option<Json> = serde_json::from_slice(&body).ok();
    let text = parsed.as_ref().and_then(|b| b.get("fault")).and_then(Json::as_str);
    let bad = |text: String| with_json(StatusCode::BAD_REQUEST, &json!({ "error": text }));
    match text.map(str::parse) {
        None => bad("write {\"fault\": \"...\"}".to_owned()),
        Some(Err(error)) => {
            let error: super::FaultError = error;
            bad(error.to_string())
        }
        Some(Ok(fault)) => {
            node.faults.add(fault);
            with_json(StatusCode::OK, &json!({ "fault": fault.to_string() }))
        }
    }
}

async fn clear_faults(State(node): Shared, _method: Method) -> Response {
    node.faults.clear();
    with_json(StatusCode::OK, &json!({}))
}

async fn list_faults(State(node): Shared) -> Response {
    let faults: Vec<_> = node.faults.list().iter().map(ToString::to_string).collect();
    with_json(StatusCode::OK, &json!(faults))
}

async fn calls(State(node): Shared) -> Response {
    with_json(StatusCode::OK, &json!(node.calls()))
}
