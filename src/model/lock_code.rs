//! The code word of DENY_CHANGES and ALLOW_CHANGES. Never reads a clock: the day comes in.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Datamart;

/// `backup_<db>_<day of month>` of the host's local date when the run started (seed, "Снятие
/// блокировки"). Not an identity: another host has the same one (DESIGN D3).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockCode(String);

impl LockCode {
    /// The code of a run that starts on `day` (1 to 31); no leading zero.
    pub fn new(datamart: &Datamart, day: u8) -> Self {
        Self(format!("backup_{datamart}_{day}"))
    }

    /// A code that nobody else uses, to probe whether the datamart is locked at all.
    pub fn probe(nonce: u64) -> Self {
        Self(format!("deltakeep_probe_{nonce:016x}"))
    }

    /// The code word.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for LockCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_is_the_seeds_without_a_leading_zero() {
        let code = Datamart::parse("marketing").map(|d| LockCode::new(&d, 9));
        assert_eq!(code.map(|c| c.to_string()), Ok("backup_marketing_9".to_owned()));
    }
}
