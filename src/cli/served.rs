//! What a worker serves over HTTP: its numbers for Prometheus, whether it lives, whether it can take
//! tasks. Owns the names of the metrics. Plain HTTP without a login: meant for loopback or a network
//! of one's own; nothing in it is a secret.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::queue::Counts;

/// What OpenMetrics calls itself.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// How long ClickHouse's last answer counts.
const LATELY: Duration = Duration::from_secs(10);
/// How long it may take to answer whoever asks whether the worker is ready.
const PATIENCE: Duration = Duration::from_secs(3);

type Labels = Vec<(&'static str, String)>;

/// What is served, by whom it is known.
pub trait Subject: Send + Sync + 'static {
    /// What the worker did and does.
    fn counts(&self) -> Counts;

    /// Why the broker cannot be worked with; none where it can.
    fn broker(&self) -> Option<String>;

    /// Asks ClickHouse something cheap; why it does not answer.
    fn clickhouse(&self) -> impl Future<Output = Option<String>> + Send;
}

struct Served<S> {
    subject: S,
    /// When ClickHouse was asked last, and what was wrong then.
    asked: Mutex<Option<(Instant, Option<String>)>>,
}

/// Serves until it is dropped.
///
/// # Errors
/// Where the address cannot be listened on.
pub async fn serve(
    address: SocketAddr,
    subject: impl Subject,
) -> std::io::Result<(SocketAddr, tokio::task::JoinHandle<()>)> {
    let listener = tokio::net::TcpListener::bind(address).await?;
    let address = listener.local_addr()?;
    let served = Arc::new(Served { subject, asked: Mutex::new(None) });
    let router = router(served);
    let serving = tokio::spawn(async move {
        // It ends with the process only.
        let _ = axum::serve(listener, router).await;
    });
    Ok((address, serving))
}

fn router<S: Subject>(served: Arc<Served<S>>) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready::<S>))
        .route("/metrics", get(metrics::<S>))
        .with_state(served)
}

async fn ready<S: Subject>(State(served): State<Arc<Served<S>>>) -> impl IntoResponse {
    let clickhouse = served.clickhouse().await.map(|reason| format!("ClickHouse: {reason}"));
    let broker = served.subject.broker().map(|reason| format!("RabbitMQ: {reason}"));
    let troubles: Vec<_> = broker.into_iter().chain(clickhouse).collect();
    match troubles.is_empty() {
        true => (StatusCode::OK, "ready\n".to_owned()),
        false => (StatusCode::SERVICE_UNAVAILABLE, troubles.join("\n") + "\n"),
    }
}

async fn metrics<S: Subject>(State(served): State<Arc<Served<S>>>) -> impl IntoResponse {
    let clickhouse = served.clickhouse().await.is_none();
    let up = (served.subject.broker().is_none(), clickhouse);
    match text(&served.subject.counts(), up) {
        Ok(text) => Ok(([(header::CONTENT_TYPE, OPEN_METRICS)], text)),
        Err(error) => Err((StatusCode::INTERNAL_SERVER_ERROR, error.to_string())),
    }
}

impl<S: Subject> Served<S> {
    /// Why ClickHouse does not answer. Asked anew after a while only, and by one at a time.
    async fn clickhouse(&self) -> Option<String> {
        let mut asked = self.asked.lock().await;
        if let Some((when, trouble)) = asked.as_ref()
            && when.elapsed() < LATELY
            && trouble.is_none()
        {
            return None;
        }
        let answer = tokio::time::timeout(PATIENCE, self.subject.clickhouse()).await;
        let trouble = answer.unwrap_or_else(|_| Some("no answer".to_owned()));
        *asked = Some((Instant::now(), trouble.clone()));
        trouble
    }
}

/// The metrics, in OpenMetrics' form.
fn text(counts: &Counts, (broker, clickhouse): (bool, bool)) -> Result<String, std::fmt::Error> {
    let mut registry = Registry::with_prefix("deltakeep_worker");
    let tasks = Family::<Labels, Counter>::default();
    for ((kind, outcome), count) in &counts.tasks {
        let labels = vec![("type", kind.clone()), ("outcome", outcome.clone())];
        tasks.get_or_create(&labels).inc_by(*count);
    }
    registry.register("tasks", "Tasks that ended, by type and outcome", tasks);
    let running = Family::<Labels, Gauge>::default();
    for (kind, count) in &counts.running {
        let count = i64::try_from(*count).unwrap_or(i64::MAX);
        running.get_or_create(&vec![("type", kind.clone())]).set(count);
    }
    registry.register("running", "Tasks that are worked on", running);
    let mut counter = |name, help, count| {
        let counter = Counter::<u64>::default();
        counter.inc_by(count);
        registry.register(name, help, counter);
    };
    counter("dead", "Messages sent to the dead letter queue", counts.dead);
    counter("later", "Tasks sent back because a limit was reached", counts.later);
    let mut gauge = |name, help, value| {
        let gauge = Gauge::<f64, AtomicU64>::default();
        gauge.set(value);
        registry.register(name, help, gauge);
    };
    gauge("replies_unsent", "Replies that are not confirmed", counts.unsent as f64);
    gauge("broker_up", "1 while tasks come and replies go", f64::from(u8::from(broker)));
    gauge("clickhouse_up", "1 while ClickHouse answers", f64::from(u8::from(clickhouse)));
    if let Some(last) = counts.last {
        gauge("last_task_timestamp_seconds", "When the last task ended", last as f64 / 1000.0);
    }
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_names_and_labels() {
        let counts = Counts {
            tasks: [(("get_backup".to_owned(), "NOT_FOUND".to_owned()), 3)].into(),
            running: [("create_backup".to_owned(), 2)].into(),
            unsent: 1,
            dead: 4,
            later: 5,
            last: Some(1_500),
        };
        let text = text(&counts, (true, false)).expect("a text");
        for line in [
            "deltakeep_worker_tasks_total{type=\"get_backup\",outcome=\"NOT_FOUND\"} 3",
            "deltakeep_worker_running{type=\"create_backup\"} 2",
            "deltakeep_worker_replies_unsent 1.0",
            "deltakeep_worker_dead_total 4",
            "deltakeep_worker_later_total 5",
            "deltakeep_worker_broker_up 1.0",
            "deltakeep_worker_clickhouse_up 0.0",
            "deltakeep_worker_last_task_timestamp_seconds 1.5",
        ] {
            assert!(text.contains(line), "{line} is not in {text}");
        }
    }
}
