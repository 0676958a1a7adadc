//! A restore in memory: loads what increments hold into row versions, as a node does (PROSTORE.md
//! section 6), and compares them with the node's own. Owns no test.

use std::collections::BTreeMap;

use deltakeep::format::TableManifest;
use deltakeep::model::{DeltaNum, TableName};
use deltakeep::testing::{Memory, TestRow};

/// A version of a row in the target.
#[derive(Clone, Debug)]
struct Version {
    row: TestRow,
    /// Added by a load of the delta being restored.
    is_new: bool,
    is_open: bool,
    /// Closed by a removal in the delta being restored.
    is_removed: bool,
}

/// Tables that increments are loaded into, delta by delta.
#[derive(Default)]
pub struct Target {
    tables: BTreeMap<TableName, Vec<Version>>,
}

impl Target {
    /// Loads a table's part of an increment and compares: the rows at the delta's end wherever the
    /// backup promises them, and what CHECK_SUM adds up wherever the manifest says it is exact.
    pub fn check(
        &mut self,
        memory: &Memory,
        delta: DeltaNum,
        table: &TableManifest,
        parts: &BTreeMap<u8, Vec<TestRow>>,
        seed: u64,
    ) {
        let versions = self.tables.entry(table.name.clone()).or_default();
        for rows in parts.values() {
            load(versions, rows);
        }
        let at = (delta, table.name.clone());
        let inner = memory.lock();
        let alive = sorted(inner.alive[&at].iter());
        let open = sorted(versions.iter().filter(|v| v.is_open).map(|v| &v.row));
        if table.exact || table.parts.is_some() {
            assert_eq!(open, alive, "seed {seed}: rows of {} at delta {delta}", table.name);
        }
        let changed = sorted(versions.iter().filter(|v| v.is_new || v.is_removed).map(|v| &v.row));
        if table.exact {
            let held = sorted(inner.changed[&at].iter());
            assert_eq!(changed, held, "seed {seed}: CHECK_SUM of {} at {delta}", table.name);
        }
        // The next delta begins with the right rows, whatever was promised of this one.
        let version = |row| Version { row, is_new: false, is_open: true, is_removed: false };
        *versions = alive.into_iter().map(version).collect();
    }
}

/// One load: additions close what was open before, removals too, and of several additions of a key
/// the first counts.
fn load(versions: &mut Vec<Version>, rows: &[TestRow]) {
    let before = versions.len();
    for row in rows {
        let of_key = |v: &Version| v.row.id == row.id;
        for old in versions[..before].iter_mut().filter(|v| of_key(v) && v.is_open) {
            old.is_open = false;
            old.is_removed = row.sys_op == 1;
        }
        if row.sys_op == 0 && !versions[before..].iter().any(of_key) {
            let (row, is_new, is_open) = (row.clone(), true, true);
            versions.push(Version { row, is_new, is_open, is_removed: false });
        }
    }
}

fn sorted<'a>(rows: impl Iterator<Item = &'a TestRow>) -> Vec<TestRow> {
    let mut rows: Vec<_> = rows.map(|row| TestRow { sys_op: 0, ..row.clone() }).collect();
    rows.sort();
    rows
}
