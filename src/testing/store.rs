//! A datamart in memory with row versions, deltas and a changelog, by the rules of PROSTORE.md 3, 4
//! and 6. Pure: it answers and never fails by chance. A source's history is made with it, and a
//! target is one.

use std::collections::{BTreeMap, BTreeSet};

use crate::format::row_value;
use crate::load::Hot;
use crate::model::{Change, Delta, DeltaDate, DeltaNum, Owner, TableName};

use super::rows::TestRow;

/// A version of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// Key.
    pub id: i64,
    /// Value.
    pub v: Option<String>,
    /// The write operation that made it.
    pub from: i64,
    /// The last write operation at which it was valid; none while it is.
    pub to: Option<i64>,
    /// It ended by a removal.
    pub removed: bool,
}

/// A write operation under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// Its number.
    pub cn: i64,
    /// The table it writes to.
    pub table: String,
    /// The load topic it reads.
    pub topic: String,
}

/// A delta that is begun.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Open {
    cn_from: i64,
    next: i64,
    num: u64,
    /// A rollback began and did not end.
    pub rolling_back: bool,
    finished: Vec<String>,
    /// Operations under way.
    pub running: Vec<Operation>,
}

/// A load topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Topic {
    /// Its messages.
    pub bodies: Vec<Vec<u8>>,
    /// It was read before.
    pub read: bool,
}

/// The datamart and what stands around it.
#[derive(Clone, Debug, Default)]
pub struct Store {
    /// It exists.
    pub exists: bool,
    /// Versions by table.
    pub tables: BTreeMap<String, Vec<Version>>,
    /// Views.
    pub views: BTreeSet<String>,
    /// Upload external tables.
    pub uploads: BTreeSet<String>,
    /// The owner marker.
    pub marker: Option<Owner>,
    /// The changelog; its last record can be unfinished.
    pub changes: Vec<Change>,
    /// Closed deltas.
    pub deltas: Vec<Delta>,
    /// The hot delta.
    pub hot: Option<Open>,
    /// Load topics.
    pub topics: BTreeMap<String, Topic>,
    /// Names that were load topics once.
    pub used: BTreeSet<String>,
}

type Answer<T = ()> = Result<T, String>;

impl Store {
    /// An empty datamart.
    pub fn created() -> Self {
        Self { exists: true, ..Self::default() }
    }

    /// Opens the record of a schema change.
    ///
    /// # Errors
    /// The node's text.
    pub fn open_change(&mut self, query: &str) -> Answer {
        if self.hot.is_some() {
            return Err("Change operations are forbidden".into());
        }
        let delta = self.deltas.last().map(|delta| delta.num);
        match self.changes.last() {
            Some(open) if !open.finished && open.query != query => {
                Err("Previous change operation is not completed in datamart [db]".into())
            }
            Some(open) if !open.finished => Ok(()),
            _ => {
                let num = self.changes.len() as u64;
                let entity = entity(query).unwrap_or_default();
                let query = query.to_owned();
                self.changes.push(Change { num, entity, query, delta, finished: false });
                Ok(())
            }
        }
    }

    /// Carries the open schema change out.
    ///
    /// # Errors
    /// The node's text; the record stays open.
    pub fn end_change(&mut self) -> Answer {
        let Some(change) = self.changes.last_mut().filter(|change| !change.finished) else {
            return Ok(());
        };
        let name = change.entity.clone();
        let words: Vec<&str> = change.query.split_whitespace().take(2).collect();
        let done = match words[..] {
            ["CREATE", "TABLE"] => match self.tables.contains_key(&name) {
                true => Err(format!("Entity db.{name} already exists")),
                false => {
                    self.tables.insert(name, Vec::new());
                    Ok(())
                }
            },
            ["DROP", "TABLE"] => match self.tables.remove(&name) {
                Some(_) => Ok(()),
                None => Err(format!("Entity db.{name} does not exist")),
            },
            ["CREATE", "VIEW"] => {
                self.views.insert(name);
                Ok(())
            }
            ["DROP", "VIEW"] => {
                self.views.remove(&name);
                Ok(())
            }
            _ => Err("Error parsing query".into()),
        };
        done.map(|()| change.finished = true)
    }

    /// A whole schema change.
    ///
    /// # Errors
    /// The node's text.
    pub fn change(&mut self, query: &str) -> Answer {
        self.open_change(query)?;
        self.end_change()
    }

    /// BEGIN DELTA SET.
    ///
    /// # Errors
    /// The node's text.
    pub fn begin(&mut self, num: DeltaNum) -> Answer {
        let next = self.deltas.last().map_or(0, |delta| delta.num.0 + 1);
        if self.hot.is_some() || self.changes.last().is_some_and(|change| !change.finished) {
            return Err(format!("The delta {num} is not committed."));
        }
        if next != num.0 {
            return Err(format!("The delta number {num} is not next to an actual delta"));
        }
        let cn = self.deltas.last().map_or(0, |delta| delta.cn_to + 1);
        self.hot = Some(Open { cn_from: cn, next: cn, num: num.0, ..Open::default() });
        Ok(())
    }

    /// Starts a write operation.
    ///
    /// # Errors
    /// The node's text.
    pub fn start(&mut self, table: &str, topic: &str) -> Answer<i64> {
        if !self.tables.contains_key(table) {
            return Err(format!("Entity db.{table} does not exist"));
        }
        let hot = self.hot.as_mut().filter(|hot| !hot.rolling_back);
        let hot = hot.ok_or_else(|| "Delta closed".to_owned())?;
        if hot.running.iter().any(|operation| operation.table == table) {
            return Err(format!("Table[{table}] blocked: KeeperErrorCode = NodeExists"));
        }
        let cn = hot.next;
        hot.next += 1;
        let (table, topic) = (table.to_owned(), topic.to_owned());
        hot.running.push(Operation { cn, table, topic });
        Ok(cn)
    }

    /// Ends a write operation: `rows` are loaded, or none where it failed; `counts` says whether
    /// the node lists it among the finished ones.
    pub fn end(&mut self, cn: i64, rows: &[TestRow], counts: bool) {
        let Some(hot) = self.hot.as_mut() else { return };
        let Some(at) = hot.running.iter().position(|operation| operation.cn == cn) else { return };
        let operation = hot.running.remove(at);
        if counts {
            hot.finished.push(operation.table.clone());
        }
        if let Some(versions) = self.tables.get_mut(&operation.table) {
            write(versions, cn, rows);
        }
    }

    /// COMMIT DELTA SET.
    ///
    /// # Errors
    /// The node's text.
    pub fn commit(&mut self, date: DeltaDate) -> Answer {
        let Some(hot) = &self.hot else { return Err("Delta is already commited".into()) };
        if !hot.running.is_empty() {
            return Err("not finished write operation exist: ...".into());
        }
        if hot.rolling_back {
            return Err("Delta is rolling back".into());
        }
        if date.0 % 1_000_000 != 0 {
            return Err("Incorrect format of delta date value".into());
        }
        if self.deltas.last().is_some_and(|last| date <= last.date) {
            return Err("Unable to set the date-time preceding or equal the actual delta".into());
        }
        let cn_to = (hot.next - 1).max(hot.cn_from);
        self.deltas.push(Delta { num: DeltaNum(hot.num), date, cn_from: hot.cn_from, cn_to });
        self.hot = None;
        Ok(())
    }

    /// ROLLBACK DELTA.
    ///
    /// # Errors
    /// The node's text.
    pub fn rollback(&mut self) -> Answer {
        let Some(hot) = self.hot.take() else {
            return Err("Can't rollback delta by datamart [db]".into());
        };
        for versions in self.tables.values_mut() {
            versions.retain(|version| version.from < hot.cn_from);
            for version in
                versions.iter_mut().filter(|v| v.to.is_some_and(|to| to >= hot.cn_from - 1))
            {
                version.to = None;
                version.removed = false;
            }
        }
        Ok(())
    }

    /// GET_DELTA_HOT.
    pub fn hot(&self) -> Option<Hot> {
        self.hot.as_ref().map(|hot| {
            let mut finished: BTreeMap<TableName, u64> = BTreeMap::new();
            for table in &hot.finished {
                *finished.entry(TableName(table.clone())).or_default() += 1;
            }
            Hot { num: DeltaNum(hot.num), rolling_back: hot.rolling_back, finished }
        })
    }

    fn range(&self, num: DeltaNum) -> Option<(i64, i64)> {
        let closed = self.deltas.iter().find(|delta| delta.num == num);
        let hot = self.hot.as_ref().filter(|hot| hot.num == num.0);
        closed.map(|d| (d.cn_from, d.cn_to)).or(hot.map(|hot| (hot.cn_from, hot.next - 1)))
    }

    /// The increment of a delta: versions that began in it, and versions removed in it.
    pub fn increment(&self, num: DeltaNum, table: &str) -> Vec<TestRow> {
        let Some((first, last)) = self.range(num) else { return vec![] };
        let mut rows = Vec::new();
        for version in self.tables.get(table).into_iter().flatten() {
            let row = |sys_op| TestRow { id: version.id, v: version.v.clone(), sys_op };
            if (first..=last).contains(&version.from) {
                rows.push(row(0));
            }
            if version.removed && version.to.is_some_and(|to| (first - 1..last).contains(&to)) {
                rows.push(row(1));
            }
        }
        rows
    }

    /// AS OF DELTA_NUM, ordered.
    pub fn as_of(&self, num: DeltaNum, table: &str) -> Vec<(i64, Option<String>)> {
        let Some((_, last)) = self.range(num) else { return vec![] };
        let valid = |v: &&Version| v.from <= last && v.to.is_none_or(|to| to >= last);
        let versions = self.tables.get(table).into_iter().flatten().filter(valid);
        let mut rows: Vec<_> = versions.map(|v| (v.id, v.v.clone())).collect();
        rows.sort();
        rows
    }

    /// CHECK_SUM: a version that began and was removed in the delta counts once.
    pub fn check_sum(&self, num: DeltaNum, table: &str) -> String {
        let Some((first, last)) = self.range(num) else { return "0".into() };
        let counts = |version: &&Version| {
            let removed = version.to.is_some_and(|to| (first - 1..last).contains(&to));
            (first..=last).contains(&version.from) || version.removed && removed
        };
        let versions = self.tables.get(table).into_iter().flatten().filter(counts);
        versions.map(|v| value(v.id, v.v.as_deref())).sum::<u128>().to_string()
    }

    /// CHECK_SUM_SNAPSHOT.
    pub fn snapshot(&self, num: DeltaNum, table: &str) -> String {
        let rows = self.as_of(num, table);
        rows.iter().map(|(id, v)| value(*id, v.as_deref())).sum::<u128>().to_string()
    }
}

/// One load: versions of its keys are closed, added rows become new ones (PROSTORE.md 6).
fn write(versions: &mut Vec<Version>, cn: i64, rows: &[TestRow]) {
    let mut keys: BTreeMap<i64, (bool, Option<Option<String>>)> = BTreeMap::new();
    for row in rows {
        let key = keys.entry(row.id).or_default();
        match row.sys_op {
            0 => key.1 = Some(row.v.clone()),
            _ => key.0 = true,
        }
    }
    for (id, (removed, added)) in keys {
        for version in versions.iter_mut().filter(|v| v.id == id && v.to.is_none()) {
            version.to = Some(cn - 1);
            version.removed = removed;
        }
        if let Some(v) = added {
            versions.push(Version { id, v, from: cn, to: None, removed: false });
        }
    }
}

/// As the node computes it: more than 0 for every row.
fn value(id: i64, v: Option<&str>) -> u128 {
    row_value(format!("{id};{}", v.unwrap_or_default()).as_bytes()).into()
}

/// The entity of a statement: what follows the first `.`, up to a space or parenthesis.
fn entity(query: &str) -> Option<String> {
    let (_, rest) = query.split_once('.')?;
    let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
    Some(rest[..end].to_owned())
}
