//! Who works on a datamart, as the columns of the owner marker say it (DESIGN D3).
//! Never asks the node.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::RunId;

/// The owner that a marker table names by its column names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// The run.
    pub run: RunId,
    /// Day of month in its lock code.
    pub day: u8,
    /// When it started, UTC, as `20261121t0525z`.
    pub started: String,
}

impl Owner {
    /// Name of the marker table in every datamart.
    pub const MARKER: &'static str = "deltakeep_owner";

    /// The column names of the marker: `run_<32 hex>`, `day_<n>`, `at_<time>`.
    pub fn columns(&self) -> [String; 3] {
        let run = self.run.hex();
        [format!("run_{run}"), format!("day_{}", self.day), format!("at_{}", self.started)]
    }

    /// Reads the owner back from column names in any order; none where they are not a marker's.
    pub fn from_columns<'a>(columns: impl IntoIterator<Item = &'a str>) -> Option<Self> {
        let (mut run, mut day, mut started) = (None, None, None);
        for column in columns {
            let column = column.to_ascii_lowercase();
            if let Some(text) = column.strip_prefix("run_") {
                run = Uuid::try_parse(text).ok().map(RunId);
            } else if let Some(text) = column.strip_prefix("day_") {
                day = text.parse().ok();
            } else if let Some(text) = column.strip_prefix("at_") {
                started = Some(text.to_owned());
            }
        }
        Some(Self { run: run?, day: day?, started: started? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_survives_its_columns_in_any_order() {
        let owner =
            Owner { run: RunId(Uuid::from_u128(7)), day: 9, started: "20261121t0525z".into() };
        let mut columns = owner.columns().to_vec();
        columns.reverse();
        let upper: Vec<_> = columns.iter().map(|c| c.to_ascii_uppercase()).collect();
        assert_eq!(Owner::from_columns(upper.iter().map(String::as_str)), Some(owner));
        assert_eq!(Owner::from_columns(["id", "name"]), None);
    }
}
