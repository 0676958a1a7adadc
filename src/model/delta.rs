//! A closed delta as the node tells of it. Owns no query.

use serde::{Deserialize, Serialize};

use super::{DeltaDate, DeltaNum};

/// A closed delta: identified by number *and* date (DESIGN D2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delta {
    /// Its number.
    pub num: DeltaNum,
    /// When it was closed.
    pub date: DeltaDate,
    /// First write operation number (PROSTORE.md section 3).
    pub cn_from: i64,
    /// Last write operation number; larger than `cn_from` where keys can repeat (D4.13).
    pub cn_to: i64,
}
