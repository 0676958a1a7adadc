//! Operations as JSON, for the command line and for replies; docs/clickhouse.md describes it. Pure.
//! Nothing in it is a secret.

use serde_json::{Value, json};

use super::failure::{Code, TaskError};
use super::list::{Entry, Page, Source, Status};
use crate::journal::{Operation, OperationFailure, OperationKind};

/// A list of operations.
pub fn of_page(page: &Page) -> Value {
    let entries: Vec<_> = page.entries.iter().map(of_entry).collect();
    json!({ "operations": entries, "cursor": page.cursor })
}

/// One operation.
pub fn of_entry(entry: &Entry) -> Value {
    let mut value = match &entry.operation {
        Some(operation) => of_operation(operation),
        None => json!({
            "id": entry.id(),
            "kind": kind(entry.kind()),
            "status": entry.status().as_str(),
        }),
    };
    value["source"] = match entry.source() {
        Source::Journal => "journal",
        Source::Clickhouse => "clickhouse",
        Source::Both => "both",
    }
    .into();
    if let Some(beside) = &entry.beside {
        value["beside"] = beside.to_string().into();
    }
    if let Some(server) = &entry.server {
        value["server"] = json!({
            "id": server.id,
            "location": server.url,
            "running": server.status.is_running() && !server.logged,
            "error": (!server.error.is_empty()).then_some(&server.error),
            "started_at": time(Some(server.started)),
            "finished_at": time(server.ended),
            "files": server.size.files,
            "bytes": server.size.bytes,
            "bytes_stored": server.size.bytes_stored,
            "bytes_read": server.bytes_read,
        });
    }
    value
}

/// One operation, as the journal knows it.
pub fn of_operation(operation: &Operation) -> Value {
    let rows: u64 = operation.checks.iter().map(|check| check.rows).sum();
    let passed = operation.checks.iter().all(|check| check.passed);
    let verify = (!operation.checks.is_empty()).then(|| {
        json!({
            "state": if passed { "passed" } else { "failed" },
            "rows": rows,
            "tables": operation.checks.iter().map(|check| json!({
                "table": check.table,
                "rows": check.rows,
                "bytes": check.bytes,
                "passed": check.passed,
            })).collect::<Vec<_>>(),
        })
    });
    json!({
        "id": operation.id,
        "kind": kind(operation.kind),
        "status": Status::of(operation).as_str(),
        "final": operation.end.is_some(),
        "database": operation.database,
        "table": operation.table,
        "source_database": operation.source_database,
        "source_table": operation.source_table,
        "location": operation.path,
        "on_cluster": operation.cluster.as_ref().map(|cluster| &cluster.name),
        "overwrite": operation.overwrite,
        "attempt": operation.attempt,
        "files": operation.size.files,
        "bytes": operation.size.bytes,
        "bytes_stored": operation.size.bytes_stored,
        "started_at": time(Some(operation.created)),
        "finished_at": time(operation.ended),
        "duration_ms": operation.ended.map(|ended| ended - operation.created),
        "verify": verify,
        "error": operation.failure.as_ref().map(of_failure),
    })
}

/// An error, as replies carry it.
pub fn of_error(error: &TaskError) -> Value {
    json!({
        "code": error.code.as_str(),
        "message": error.message,
        "retryable": error.code.is_retryable(),
        "clickhouse_code": error.clickhouse_code,
        "hint": error.code.hint(),
    })
}

fn of_failure(failure: &OperationFailure) -> Value {
    of_error(&error_of(failure))
}

/// The error that a failure of the journal was.
pub fn error_of(failure: &OperationFailure) -> TaskError {
    TaskError {
        // A code of a later version is not known here.
        code: Code::parse(&failure.code).unwrap_or(Code::Internal),
        message: failure.message.clone(),
        clickhouse_code: failure.clickhouse_code,
        open: None,
    }
}

fn kind(kind: OperationKind) -> &'static str {
    match kind {
        OperationKind::Backup => "backup",
        OperationKind::Restore => "restore",
    }
}

fn time(milliseconds: Option<i64>) -> Option<String> {
    let time = jiff::Timestamp::from_millisecond(milliseconds?).ok()?;
    Some(format!("{time:.3}"))
}
