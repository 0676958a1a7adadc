//! What a drill found, as a document: drill.json is this, and the two other reports are made from
//! it. Pure: everything comes from the drill's journal. docs/drill.md describes the fields.

mod build;
mod chart;
mod junit;
mod markup;
mod page;

use serde::Serialize;

pub use junit::junit;
pub use page::page;

/// Version of the document; fields may be added without a new one.
pub const SCHEMA_VERSION: u32 = 1;

/// How a drill ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Verdict {
    /// The backup restores, and what it restores is what was backed up.
    Ok,
    /// It does not.
    Failed,
}

/// What a failure is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Part {
    /// The restore did not come to its end.
    Restore,
    /// Numbers and dates of deltas.
    Delta,
    /// Names of tables and views.
    Entities,
    /// Sums of a table in a delta.
    Sums,
}

/// Something that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// What it is about.
    pub part: Part,
    /// What happened.
    pub text: String,
    /// The delta, where one can be named.
    pub delta: Option<u64>,
    /// The table, where one can be named.
    pub table: Option<String>,
    /// The partition of the backup topic, where a message can be named.
    pub partition: Option<i32>,
    /// The offset in it.
    pub offset: Option<i64>,
}

/// A datamart on a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Place {
    /// host:port
    pub node: String,
    /// The datamart.
    pub datamart: String,
}

/// The scratch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Scratch {
    /// Where.
    #[serde(flatten)]
    pub place: Place,
    /// False where it was kept.
    pub dropped: bool,
}

/// How the recovery went.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Recovery {
    /// From the empty scratch to its last delta, over all executions.
    pub seconds: f64,
    /// Deltas restored.
    pub deltas: u64,
    /// Rows loaded.
    pub rows: u64,
    /// Bytes of the messages loaded.
    pub bytes: u64,
    /// Rows by second.
    pub rows_per_second: f64,
    /// Millions of bytes by second.
    pub megabytes_per_second: f64,
}

/// Up to where the backup brings a datamart back.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RecoveryPoint {
    /// The newest delta restored.
    pub delta: u64,
    /// When it was closed, UTC.
    pub date: String,
    /// How old it was when the drill began.
    pub age_seconds: f64,
    /// The newest closed delta of the live source.
    pub newest_of_source: Option<u64>,
    /// Deltas that the live source has beyond.
    pub deltas_behind: u64,
}

/// Names of tables and views.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Entities {
    /// In the scratch and in the backup.
    pub equal: Vec<String>,
    /// In the backup only.
    pub missing: Vec<String>,
    /// In the scratch only.
    pub unexpected: Vec<String>,
    /// In the live source, and not in the backup.
    pub newer_in_source: Vec<String>,
}

/// One kind of sum; null where nobody can say.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Sums {
    /// By the manifest of the backup.
    pub manifest: Option<String>,
    /// By the scratch.
    pub scratch: Option<String>,
    /// By the live source.
    pub source: Option<String>,
}

/// A (delta, table).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Table {
    /// The table.
    pub table: String,
    /// Rows that the delta adds and removes.
    pub rows: u64,
    /// `equal`, `equalToSource`, `differs`, `notRestored` or `notComparable`.
    pub outcome: &'static str,
    /// Why it is not equal; null where it is.
    pub reason: Option<String>,
    /// `same`, `differs` or `unknown`: the live source against the backup.
    pub source: &'static str,
    /// Why it is unknown; null where it is not.
    pub source_reason: Option<String>,
    /// CHECK_SUM has to be equal, too.
    pub exact: bool,
    /// CHECK_SUM.
    pub check_sum: Sums,
    /// CHECK_SUM_SNAPSHOT.
    pub check_sum_snapshot: Sums,
}

/// A delta.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Delta {
    /// Its number.
    pub delta: u64,
    /// When it was closed by the backup, UTC.
    pub date: String,
    /// In the scratch; null where it is not closed there.
    pub scratch_date: Option<String>,
    /// In the live source; null where it is not closed there.
    pub source_date: Option<String>,
    /// Its tables.
    pub tables: Vec<Table>,
}

/// Something of the recovery that took time.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Bar {
    /// `delta`, `fill`, `load` or `rolledBack`.
    pub doing: &'static str,
    /// Of which delta.
    pub delta: u64,
    /// Of which table; null where it is about the whole delta.
    pub table: Option<String>,
    /// Seconds from the beginning of the recovery.
    pub from: f64,
    /// How long.
    pub seconds: f64,
    /// Rows that were moved.
    pub rows: u64,
    /// Bytes of their messages.
    pub bytes: u64,
}

/// What a drill found.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// [`SCHEMA_VERSION`].
    #[serde(rename = "schema_version")]
    pub schema_version: u32,
    /// Version of deltakeep.
    pub tool: String,
    /// Id of the drill.
    pub run: String,
    /// How it ended.
    pub verdict: Verdict,
    /// What failed; empty where nothing did.
    pub failures: Vec<Failure>,
    /// What is no failure and should be known.
    pub warnings: Vec<String>,
    /// The backup topic.
    pub topic: String,
    /// The live source.
    pub source: Place,
    /// The scratch.
    pub scratch: Scratch,
    /// When it began, UTC.
    pub started: String,
    /// When it ended, UTC.
    pub ended: String,
    /// Executions; more than one where it was stopped or killed.
    pub executions: u64,
    /// How the recovery went.
    pub recovery: Recovery,
    /// Up to where; null where nothing was restored.
    pub recovery_point: Option<RecoveryPoint>,
    /// How many pairs of delta and table have which outcome.
    pub counts: std::collections::BTreeMap<&'static str, u64>,
    /// Names of tables and views; null where the restore did not come to its end.
    pub entities: Option<Entities>,
    /// Deltas in order.
    pub deltas: Vec<Delta>,
    /// What took time, as it ended.
    pub timeline: Vec<Bar>,
}

impl Report {
    /// The document of drill.json.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("numbers, texts and lists always have a JSON text")
    }

    /// What the journal keeps of an ended drill.
    pub fn summary(&self) -> String {
        serde_json::json!({
            "run": self.run,
            "drill": self.verdict,
            "topic": self.topic,
            "scratch": self.scratch,
            "started": self.started,
            "ended": self.ended,
            "recovery": self.recovery,
        })
        .to_string()
    }
}
