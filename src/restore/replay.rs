//! Which statement of the source's changelog the target needs next (D8 "Replay"). Pure: the
//! target's own log is the truth, so replaying needs no record in the journal.

use std::collections::{BTreeMap, BTreeSet};

use crate::format::ChangeRecord;
use crate::model::{ChangeLog, DeltaNum, TableName};

use super::outside::outside;
use super::rename::{self, Ambiguous, TableChange, same_statement, table_change};

/// How statements are changed on their way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rewrite {
    /// The datamart in the topic.
    pub from: String,
    /// The target.
    pub to: String,
    /// The datasource of all tables, where another one is asked for (`--datasourceType`).
    pub datasource: Option<String>,
}

/// The source's changelog as the target is to have it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Script {
    records: Vec<ChangeRecord>,
    skipped: BTreeSet<u64>,
}

/// What the target needs next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing: it has all that is asked for.
    Nothing,
    /// This statement. Where the target holds it unfinished, the same text goes on with it.
    Send {
        /// Its number in the source.
        num: u64,
        /// The statement.
        query: String,
    },
    /// The target holds a statement unfinished that is to be skipped: take its record away.
    Erase {
        /// Its number in the target.
        num: u64,
    },
}

/// The target's log is not the beginning of the source's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoReplay {
    /// Another statement stands where the source's should.
    #[error("change {num} of the target is {found:?}, but {wanted:?} in the source")]
    Differs {
        /// Its number in the target.
        num: u64,
        /// The target's.
        found: String,
        /// The source's.
        wanted: String,
    },
    /// The target has more statements than ran before this point of the source.
    #[error("the target has {found} schema changes, the source had {wanted} at this point")]
    Ahead {
        /// Records of the target.
        found: u64,
        /// Records of the source.
        wanted: u64,
    },
    /// The target holds a statement unfinished that is not the next one.
    #[error("schema change {num} of the target is not finished: {query}")]
    Unfinished {
        /// Its number in the target.
        num: u64,
        /// The statement.
        query: String,
    },
}

impl Script {
    /// The source's records under the target's name and datasources.
    ///
    /// # Errors
    /// [`Ambiguous`].
    pub fn new(
        source: &[ChangeRecord],
        rewrite: &Rewrite,
        skipped: BTreeSet<u64>,
    ) -> Result<Self, Ambiguous> {
        let write = |record: &ChangeRecord| {
            let query = match skipped.contains(&record.num) {
                true => record.query.clone(),
                false => rename::rename(&record.query, &rewrite.from, &rewrite.to)?,
            };
            let query = match &rewrite.datasource {
                Some(datasource) => rename::set_datasource(&query, datasource),
                None => query,
            };
            Ok(ChangeRecord { query, ..record.clone() })
        };
        let records = source.iter().map(write).collect::<Result<_, _>>()?;
        Ok(Self { records, skipped })
    }

    /// Records that are to run among the first `count`.
    fn wanted(&self, count: u64) -> impl Iterator<Item = &ChangeRecord> {
        let first = self.records.iter().take(count as usize);
        first.filter(|record| !self.skipped.contains(&record.num))
    }

    /// How many records it has, skipped ones included.
    pub fn len(&self) -> u64 {
        self.records.len() as u64
    }

    /// True where there are none.
    pub fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Whether the table is dropped after the first `count` records: then its rows do not last.
    pub fn drops(&self, table: &TableName, count: u64) -> bool {
        let later = self.records.iter().skip(count as usize);
        let mut later = later.filter(|record| !self.skipped.contains(&record.num));
        later.any(|record| {
            record.entity == table.0 && table_change(&record.query) == Some(TableChange::Drop)
        })
    }

    /// Materialized views it makes, dropped ones left out.
    pub fn matviews(&self) -> Vec<String> {
        let mut views = BTreeSet::new();
        for record in self.wanted(self.len()) {
            match rename::matview_change(&record.query) {
                Some(TableChange::Create) => views.insert(record.entity.clone()),
                Some(TableChange::Drop) => views.remove(&record.entity),
                None => false,
            };
        }
        views.into_iter().collect()
    }

    /// External and standalone tables that its views read, to be made by hand; with the views.
    pub fn outside(&self, datamart: &str) -> BTreeMap<String, BTreeSet<String>> {
        outside(self.records.iter(), datamart)
    }

    /// Datasources that its tables name.
    pub fn datasources(&self) -> BTreeSet<String> {
        let named = self.wanted(self.len()).flat_map(|r| rename::datasources(&r.query));
        named.collect()
    }

    /// What the target needs so that the first `count` records of the source have run there.
    ///
    /// # Errors
    /// [`NoReplay`].
    pub fn next(&self, target: &ChangeLog, count: u64) -> Result<Step, NoReplay> {
        let mut finished = target.0.iter().filter(|change| change.finished);
        let mut wanted = self.wanted(count);
        let unfinished = target.unfinished();
        let next = loop {
            match (finished.next(), wanted.next()) {
                (Some(found), Some(record)) if same_statement(&found.query, &record.query) => {}
                (Some(found), Some(record)) => {
                    let (num, found) = (found.num, found.query.clone());
                    return Err(NoReplay::Differs { num, found, wanted: record.query.clone() });
                }
                (Some(_), None) => {
                    let found = target.0.iter().filter(|change| change.finished).count() as u64;
                    return Err(NoReplay::Ahead {
                        found,
                        wanted: self.wanted(count).count() as u64,
                    });
                }
                (None, next) => break next,
            }
        };
        match (unfinished, next) {
            (None, None) => Ok(Step::Nothing),
            (None, Some(record)) => Ok(send(record)),
            (Some(open), Some(record)) if same_statement(&open.query, &record.query) => {
                Ok(send(record))
            }
            (Some(open), _) if self.is_skipped(&open.query) => Ok(Step::Erase { num: open.num }),
            (Some(open), _) => {
                Err(NoReplay::Unfinished { num: open.num, query: open.query.clone() })
            }
        }
    }

    fn is_skipped(&self, query: &str) -> bool {
        let skipped = self.records.iter().filter(|record| self.skipped.contains(&record.num));
        skipped.into_iter().any(|record| same_statement(&record.query, query))
    }
}

fn send(record: &ChangeRecord) -> Step {
    Step::Send { num: record.num, query: record.query.clone() }
}

/// What an increment says of the changelog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogView {
    /// The delta.
    pub delta: DeltaNum,
    /// How many records its changelog has.
    pub count: u64,
    /// How many of them ran before the delta; the old tool does not say.
    pub replay_before: Option<u64>,
    /// Tables that it holds rows of.
    pub tables: BTreeSet<TableName>,
}

/// Why the order of changes and deltas cannot be told. Exit 4.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoOrder {
    /// Without `deltakeep.replayBefore`: the table may have been dropped before or after.
    #[error(
        "delta {delta} was written by a tool that does not say whether change {num} ({query}) ran \
         before or after it, and it holds rows of table {table}"
    )]
    Unknown {
        /// The delta.
        delta: DeltaNum,
        /// The change's number.
        num: u64,
        /// Its statement.
        query: String,
        /// The table.
        table: TableName,
    },
    /// A later delta knows of fewer changes than an earlier one.
    #[error(
        "{found} schema changes ran before delta {delta}, but {before} before the delta before it"
    )]
    Falls {
        /// The delta.
        delta: DeltaNum,
        /// Its number of changes.
        found: u64,
        /// That of the one before.
        before: u64,
    },
}

/// How many records of the source's changelog run before each of the deltas, in order. `known`
/// are records that the target has already: none of them is new to the first delta.
///
/// # Errors
/// [`NoOrder`].
pub fn counts(views: &[LogView], source: &[ChangeRecord], known: u64) -> Result<Vec<u64>, NoOrder> {
    let mut counts = Vec::with_capacity(views.len());
    let mut before = 0;
    for view in views {
        let delta = view.delta;
        let count = view.replay_before.unwrap_or(view.count);
        if count < before {
            return Err(NoOrder::Falls { delta, found: count, before });
        }
        if view.replay_before.is_none() {
            require_order(view, source, before.max(known), count)?;
        }
        before = count;
        counts.push(count);
    }
    Ok(counts)
}

/// A new record may make a table that the delta holds rows of, but not drop it or make it again.
fn require_order(
    view: &LogView,
    source: &[ChangeRecord],
    before: u64,
    count: u64,
) -> Result<(), NoOrder> {
    let mut alive: BTreeSet<&str> = BTreeSet::new();
    for (at, record) in (0..).zip(source.iter().take(count as usize)) {
        let table = TableName(record.entity.clone());
        let doubtful = match table_change(&record.query) {
            Some(TableChange::Create) => !alive.insert(&record.entity),
            Some(TableChange::Drop) => alive.remove(record.entity.as_str()),
            None => false,
        };
        if doubtful && at >= before && view.tables.contains(&table) {
            let (delta, num, query) = (view.delta, record.num, record.query.clone());
            return Err(NoOrder::Unknown { delta, num, query, table });
        }
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failing test may panic")]
mod tests {
    use super::*;
    use crate::model::Change;

    fn record(num: u64, entity: &str, query: &str) -> ChangeRecord {
        ChangeRecord { num, entity: entity.into(), query: query.into() }
    }

    fn source() -> Vec<ChangeRecord> {
        vec![
            record(0, "a", "CREATE TABLE old.a (id int)"),
            record(1, "b", "CREATE TABLE old.b (id int)"),
            record(2, "a", "DROP TABLE old.a"),
            record(3, "v", "CREATE VIEW old.v AS SELECT id FROM old.b"),
        ]
    }

    fn script(skipped: &[u64]) -> Script {
        let rewrite = Rewrite { from: "old".into(), to: "new".into(), datasource: None };
        Script::new(&source(), &rewrite, skipped.iter().copied().collect()).unwrap()
    }

    fn log(queries: &[&str], unfinished: bool) -> ChangeLog {
        let change = |(num, query): (usize, &&str)| Change {
            num: num as u64,
            entity: "x".into(),
            query: (*query).into(),
            delta: None,
            finished: !(unfinished && num + 1 == queries.len()),
        };
        ChangeLog(queries.iter().enumerate().map(change).collect())
    }

    fn sent(step: Result<Step, NoReplay>) -> (u64, String) {
        match step {
            Ok(Step::Send { num, query }) => (num, query),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_targets_own_log_says_what_comes_next() {
        let script = script(&[]);
        assert_eq!(sent(script.next(&log(&[], false), 2)).0, 0);
        let one = log(&["create table NEW.a  (id int)"], false);
        let (num, query) = sent(script.next(&one, 2));
        assert_eq!((num, query.as_str()), (1, "CREATE TABLE new.b (id int)"));
        assert_eq!(script.next(&one, 1), Ok(Step::Nothing));
        assert!(matches!(script.next(&one, 0), Err(NoReplay::Ahead { found: 1, wanted: 0 })));
        let other = log(&["CREATE TABLE new.c (id int)"], false);
        assert!(matches!(script.next(&other, 4), Err(NoReplay::Differs { num: 0, .. })));
    }

    #[test]
    fn an_unfinished_statement_is_continued_or_named() {
        let script = script(&[]);
        let open = log(&["CREATE TABLE new.a (id int)", "CREATE TABLE new.b (id int)"], true);
        assert_eq!(sent(script.next(&open, 2)).0, 1);
        assert!(matches!(script.next(&open, 1), Err(NoReplay::Unfinished { num: 1, .. })));
        let foreign = log(&["CREATE TABLE new.z (id int)"], true);
        assert!(matches!(script.next(&foreign, 2), Err(NoReplay::Unfinished { num: 0, .. })));
    }

    #[test]
    fn a_skipped_statement_is_left_out_and_its_open_record_erased() {
        let script = script(&[1]);
        let one = log(&["CREATE TABLE new.a (id int)"], false);
        assert_eq!(sent(script.next(&one, 4)).0, 2);
        assert_eq!(script.next(&one, 2), Ok(Step::Nothing));
        let rewritten = log(&["CREATE TABLE new.a (id int)", "CREATE TABLE old.b (id int)"], true);
        assert_eq!(script.next(&rewritten, 4), Ok(Step::Erase { num: 1 }));
    }

    fn view(delta: u64, count: u64, replay_before: Option<u64>, tables: &[&str]) -> LogView {
        let tables = tables.iter().map(|table| TableName((*table).into())).collect();
        LogView { delta: DeltaNum(delta), count, replay_before, tables }
    }

    #[test]
    fn without_our_field_new_records_run_before_their_delta() {
        let views = [view(0, 1, None, &["a"]), view(1, 2, None, &["a", "b"])];
        assert_eq!(counts(&views, &source(), 0), Ok(vec![1, 2]));
        let dropped = [view(0, 2, None, &["a", "b"]), view(1, 3, None, &["a"])];
        let error = counts(&dropped, &source(), 0).unwrap_err();
        assert!(matches!(error, NoOrder::Unknown { num: 2, delta: DeltaNum(1), .. }), "{error}");
        let elsewhere = [view(0, 2, None, &["a", "b"]), view(1, 4, None, &["b"])];
        assert_eq!(counts(&elsewhere, &source(), 0), Ok(vec![2, 4]));
        // What the target has already is not new.
        assert_eq!(counts(&dropped[1..], &source(), 3), Ok(vec![3]));
    }

    #[test]
    fn with_our_field_it_alone_counts_and_may_not_fall() {
        let views = [view(0, 4, Some(1), &["a"]), view(1, 4, Some(3), &["b"])];
        assert_eq!(counts(&views, &source(), 0), Ok(vec![1, 3]));
        let falls = [view(0, 4, Some(3), &[]), view(1, 4, Some(1), &[])];
        assert!(matches!(counts(&falls, &source(), 0), Err(NoOrder::Falls { .. })));
    }
}
