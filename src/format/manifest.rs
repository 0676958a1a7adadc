//! The manifest: what an increment must hold to be complete (DESIGN D6). Field names are part of
//! the format; a reader of this version takes fields it does not know in silence.

use serde::{Deserialize, Deserializer, Serialize};

use super::FormatError;
use crate::model::{Datamart, DeltaDate, DeltaNum, RunId, TableName};

/// The manifest, in the last changelog body of an increment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// [`Manifest::FORMAT`].
    pub format: u32,
    /// Version of deltakeep that wrote it.
    pub tool: String,
    /// Version of the node.
    pub node: String,
    /// The run that wrote it.
    pub run: RunId,
    /// The datamart.
    #[serde(deserialize_with = "checked_datamart")]
    pub datamart: Datamart,
    /// The delta before this one; none before delta 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_delta: Option<PreviousDelta>,
    /// Changelog records with smaller numbers ran before the delta.
    pub replay_before: u64,
    /// Whether the changelog begins with record 0 and has no gaps.
    pub changelog_complete: bool,
    /// Every table of the delta, in the order of delivery.
    pub tables: Vec<TableManifest>,
}

/// Identifies a delta among those of a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreviousDelta {
    /// Its number.
    pub number: DeltaNum,
    /// Its date in microseconds.
    pub date: DeltaDate,
}

/// What an increment holds of one table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TableManifest {
    /// The table.
    pub name: TableName,
    /// How many streams.
    pub streams: u32,
    /// Chunks of each stream, by stream number.
    pub chunks: Vec<u64>,
    /// Rows with `sys_op` 0.
    pub rows_added: u64,
    /// Rows with `sys_op` 1.
    pub rows_removed: u64,
    /// Chunks of each of the three parts of a pair with repeated keys (D4.13).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parts: Option<Vec<u64>>,
    /// CHECK_SUM; none where the node could not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check_sum: Option<String>,
    /// CHECK_SUM_SNAPSHOT; none where it was not asked for or the node could not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check_sum_snapshot: Option<String>,
    /// The columns that the sums were computed over; none where there are no sums.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check_sum_columns: Option<Vec<String>>,
    /// False where only CHECK_SUM_SNAPSHOT can be equal after a restore (D4.13).
    pub exact: bool,
}

impl Manifest {
    /// The format of this version.
    pub const FORMAT: u32 = 1;

    /// Its JSON: fields in the order above, no white space.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("numbers, texts and lists always have a JSON text")
    }

    /// Reads a manifest of this format or an earlier one.
    ///
    /// # Errors
    /// [`FormatError::NewerManifest`] and [`FormatError::BadManifest`].
    pub fn parse(json: &str) -> Result<Self, FormatError> {
        #[derive(Deserialize)]
        struct Version {
            format: u32,
        }
        let bad = |error: serde_json::Error| FormatError::BadManifest { reason: error.to_string() };
        // The number first: a later format may have changed everything else.
        let Version { format: found } = serde_json::from_str(json).map_err(bad)?;
        if found > Self::FORMAT {
            return Err(FormatError::NewerManifest { found, known: Self::FORMAT });
        }
        serde_json::from_str(json).map_err(bad)
    }
}

fn checked_datamart<'de, D: Deserializer<'de>>(json: D) -> Result<Datamart, D::Error> {
    let text = String::deserialize(json)?;
    Datamart::parse(&text).map_err(serde::de::Error::custom)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failing test may panic")]
mod tests {
    use super::*;

    const JSON: &str = concat!(
        r#"{"format":1,"tool":"0.1.0","node":"5.5.0","run":"00000000-0000-0000-0000-000000000007","#,
        r#""datamart":"marketing","previousDelta":{"number":4,"date":1638360336000000},"#,
        r#""replayBefore":3,"changelogComplete":true,"tables":[{"name":"sales","streams":2,"#,
        r#""chunks":[3,1],"rowsAdded":3000,"rowsRemoved":1,"parts":[1,1,2],"checkSum":"12","#,
        r#""checkSumSnapshot":"-3","checkSumColumns":["id"],"exact":false}]}"#,
    );

    #[test]
    fn the_field_names_are_the_documented_ones() {
        let manifest = Manifest::parse(JSON).unwrap();
        assert_eq!(manifest.to_json(), JSON);
    }

    #[test]
    fn unknown_fields_are_taken_and_later_formats_refused() {
        let more = JSON.replacen('{', r#"{"colour":"blue","#, 1);
        assert_eq!(Manifest::parse(&more), Manifest::parse(JSON));
        let later = Manifest::parse(r#"{"format":2,"tables":"elsewhere"}"#);
        assert_eq!(later, Err(FormatError::NewerManifest { found: 2, known: 1 }));
        let bad = Manifest::parse(&JSON.replace("marketing", "mar'keting"));
        assert!(matches!(bad, Err(FormatError::BadManifest { .. })), "{bad:?}");
    }
}
