//! Owns one running node: its state, its faults and which module answers a statement; never speaks HTTP.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::answer::Answer;
use super::broker::Broker;
use super::catalog;
use super::checks::{self, Lie};
use super::definitions::{self, datamart_of};
use super::deltas::{self, Started, Status};
use super::entity::Body;
use super::failure::Failure;
use super::faults::{FaultKind, FaultSet};
use super::query::Selection;
use super::statement::{self, Name, Statement};
use super::store::Store;
use super::{
    Dialect, Options, change_statements, delta_statements, info, load, select, unload, versions,
    writes,
};

/// What becomes of a request.
#[derive(Debug)]
pub(crate) enum Outcome {
    Answered(Answer),
    Failed(Failure),
    /// The connection is closed without an answer.
    Cut,
    /// No answer ever comes.
    Hang,
}

impl From<Result<Answer, Failure>> for Outcome {
    fn from(result: Result<Answer, Failure>) -> Self {
        result.map_or_else(Outcome::Failed, Outcome::Answered)
    }
}

/// The state behind the HTTP interface.
pub(crate) struct Node {
    pub(crate) options: Options,
    pub(crate) store: Store,
    pub(crate) broker: Broker,
    pub(crate) faults: FaultSet,
    calls: Mutex<Vec<String>>,
    /// Datamarts whose open delta is being rolled back right now.
    rolling: Mutex<BTreeSet<String>>,
    /// Seconds since 1970 to show instead of the real time; `i64::MIN` is the real time.
    clock: AtomicI64,
}

impl Node {
    pub(crate) fn open(options: Options) -> Result<Arc<Self>, Failure> {
        let node = Arc::new(Node {
            store: Store::open(options.data.as_deref())?,
            broker: Broker::new(&options.kafka)?,
            faults: FaultSet::new(&options.faults),
            calls: Mutex::default(),
            rolling: Mutex::default(),
            clock: AtomicI64::new(i64::MIN),
            options,
        });
        node.resume_loads()?;
        Ok(node)
    }

    /// Loads that were under way when the node last died go on in the background.
    fn resume_loads(self: &Arc<Self>) -> Result<(), Failure> {
        let open: Vec<_> = self.store.read(|conn| {
            let mut open = Vec::new();
            for datamart in catalog::datamarts(conn)? {
                for operation in deltas::operations(conn, &datamart)? {
                    if operation.status == Status::Executing {
                        open.push((datamart.clone(), operation));
                    }
                }
            }
            Ok(open)
        })?;
        for (datamart, operation) in open {
            match self.load_job(&datamart, &operation.query) {
                Ok(job) => {
                    let node = Arc::clone(self);
                    // Its outcome has nobody to go to: the client of the load is long gone.
                    let started = Started { ticket: operation.ticket, cn: operation.cn };
                    let _detached = std::thread::spawn(move || load::resume(&node, &job, started));
                }
                Err(_) => self.store.write(|tx| {
                    if let Some(entity) = catalog::find(tx, &datamart, &operation.target)? {
                        versions::erase(tx, &entity, operation.cn)?;
                    }
                    deltas::end_operation(tx, &datamart, operation.cn, Status::Failed)
                })?,
            }
        }
        Ok(())
    }

    fn load_job(&self, datamart: &str, sql: &str) -> Result<load::Job, Failure> {
        match statement::parse(sql, true)? {
            Statement::Insert { table, source, .. } => {
                self.store.read(|conn| job(conn, datamart, &table, &source))
            }
            _ => Err(Failure::Parsing),
        }
    }

    /// Seconds since 1970 as this node sees them.
    pub(crate) fn now(&self) -> i64 {
        match self.clock.load(Ordering::SeqCst) {
            i64::MIN => jiff::Timestamp::now().as_second(),
            fixed => fixed,
        }
    }

    pub(crate) fn set_clock(&self, seconds: Option<i64>) {
        self.clock.store(seconds.unwrap_or(i64::MIN), Ordering::SeqCst);
    }

    pub(crate) fn calls(&self) -> Vec<String> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Runs one statement; blocks until it is over.
    pub(crate) fn execute(self: &Arc<Self>, datamart: &str, sql: &str) -> Outcome {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).push(sql.to_owned());
        // The node drops one closing semicolon; what is left is also what unload keys carry.
        let sql = sql.trim();
        let sql = sql.strip_suffix(';').unwrap_or(sql);
        let cut = self.faults.take(FaultKind::DropAnswer);
        let outcome = match statement::parse(sql, self.options.dialect == Dialect::V6) {
            Ok(statement) => self.run(datamart, sql, statement),
            Err(failure) => Outcome::Failed(failure),
        };
        if cut { Outcome::Cut } else { outcome }
    }

    fn run(self: &Arc<Self>, db: &str, sql: &str, statement: Statement) -> Outcome {
        match statement {
            Statement::Select(selection) => {
                self.store.read(|conn| select::run(conn, db, &selection)).into()
            }
            Statement::Insert { table, source, .. } => self.transfer(db, &table, &source, sql),
            Statement::Define(definition) => {
                let result = self.store.write(|tx| definitions::run(self, tx, db, &definition));
                result.and_then(|inner| inner).map(|()| Answer::nothing()).into()
            }
            Statement::Values(values) => {
                let refused = self.store.write(|tx| writes::refuse_upsert(tx, db, &values, sql));
                match refused {
                    Ok(Some(refusal)) => Outcome::Failed(refusal),
                    Ok(None) => self.store.write(|tx| writes::values(tx, db, &values, sql)).into(),
                    Err(failure) => Outcome::Failed(failure),
                }
            }
            Statement::Delete { table, selection } => {
                self.store.write(|tx| writes::delete(tx, db, (&table, &selection), sql)).into()
            }
            Statement::Fill { table, rows } => {
                self.store.write(|tx| writes::fill(tx, db, (&table, rows), sql)).into()
            }
            Statement::Deny { datamart, code } => {
                let cut = self.faults.take(FaultKind::LostDeny);
                let given = datamart.as_deref();
                let result = self.store.write(|tx| change_statements::deny(tx, db, given, &code));
                if cut { Outcome::Cut } else { result.into() }
            }
            Statement::BeginDelta(wanted) => {
                let cut = self.faults.take(FaultKind::LostBegin);
                let result = self.store.write(|tx| delta_statements::begin(tx, db, wanted));
                if cut { Outcome::Cut } else { result.into() }
            }
            Statement::CommitDelta(date) => self.commit(db, date.as_deref()),
            Statement::RollbackDelta => {
                let cut = self.faults.take(FaultKind::LostRollback);
                let result = self.roll_back(db);
                if cut { Outcome::Cut } else { result.into() }
            }
            other => self.small_write(db, other).into(),
        }
    }

    fn commit(&self, db: &str, date: Option<&str>) -> Outcome {
        if self.faults.take(FaultKind::FailCommit) {
            return Outcome::Failed(Failure::WritesUnfinished);
        }
        let cut = self.faults.take(FaultKind::LostCommit);
        let now = self.now();
        let result = self.store.write(|tx| delta_statements::commit(tx, db, date, now));
        if cut { Outcome::Cut } else { result.into() }
    }

    /// A ROLLBACK; one that takes its time is seen by others, and refuses further ones.
    fn roll_back(&self, db: &str) -> Result<Answer, Failure> {
        let rolling = || self.rolling.lock().unwrap_or_else(PoisonError::into_inner);
        if !rolling().insert(db.to_owned()) {
            return Err(Failure::Rollback(db.to_owned()));
        }
        let is_rollback =
            |kind| matches!(kind, FaultKind::SlowRollback(_) | FaultKind::StuckRollback);
        let mut result = Ok(());
        for fault in self.faults.due(is_rollback) {
            result = result
                .and_then(|()| self.store.write(|tx| delta_statements::begin_rollback(tx, db)));
            match fault {
                FaultKind::SlowRollback(ms) => std::thread::sleep(Duration::from_millis(ms)),
                _ => result = result.and(Err(Failure::Rollback(db.to_owned()))),
            }
        }
        let answer =
            result.and_then(|()| self.store.write(|tx| delta_statements::rollback(tx, db)));
        rolling().remove(db);
        answer
    }

    /// Statements that change little.
    fn small_write(&self, db: &str, statement: Statement) -> Result<Answer, Failure> {
        let store = &self.store;
        match statement {
            Statement::EraseWrite(n) => store.write(|tx| delta_statements::erase_write(tx, db, n)),
            Statement::Allow { datamart, code } => {
                store.write(|tx| change_statements::allow(tx, db, datamart.as_deref(), &code))
            }
            Statement::EraseChange { number, datamart } => {
                store.write(|tx| change_statements::erase(tx, db, number, datamart.as_deref()))
            }
            other => self.look(db, other),
        }
    }

    /// Statements that change nothing.
    fn look(&self, db: &str, statement: Statement) -> Result<Answer, Failure> {
        let stale =
            matches!(statement, Statement::DeltaOk) && self.faults.take(FaultKind::StaleDeltaOk);
        let lie = match statement {
            Statement::CheckSum(_) => self.lie(),
            _ => Lie::None,
        };
        let now = self.now();
        self.store.read(|conn| match statement {
            Statement::DeltaOk => delta_statements::ok(conn, db, stale),
            Statement::DeltaHot => delta_statements::hot(conn, db),
            Statement::DeltaByNumber(n) => delta_statements::by_number(conn, db, n),
            Statement::DeltaByDate(text) => delta_statements::by_date(conn, db, &text),
            Statement::WriteOperations => delta_statements::write_operations(conn, db),
            Statement::Changes(given) => change_statements::list(conn, db, given.as_deref()),
            Statement::CheckSum(request) => checks::sum(conn, db, &request, lie),
            Statement::CheckData { table, from } => checks::data(conn, db, &table, from),
            Statement::CheckDatabase(given) => checks::database(conn, db, given.as_deref()),
            Statement::CheckTable(name) => checks::table(conn, db, &name),
            Statement::CheckMatview(name) => info::matview(conn, db, &name, now),
            Statement::CheckVersions => Ok(info::versions(&self.options)),
            Statement::ConfigShow(wanted) => Ok(info::config(&self.options, wanted.as_deref())),
            Statement::Use(name) => info::use_datamart(conn, &name),
            Statement::EntityDdl(name) => info::entity_ddl(conn, db, &name),
            _ => Ok(Answer::nothing()),
        })
    }

    fn lie(&self) -> Lie {
        if self.faults.take(FaultKind::ConsistencyBreach) {
            Lie::Breach
        } else if self.faults.take(FaultKind::WrongSum) {
            Lie::OneMore
        } else {
            Lie::None
        }
    }

    /// INSERT ... SELECT: an unload or a load, by what the tables are.
    fn transfer(
        self: &Arc<Self>,
        db: &str,
        table: &Name,
        source: &Selection,
        sql: &str,
    ) -> Outcome {
        let found = self.store.read(|conn| {
            let datamart = datamart_of(table, db)?;
            catalog::require(conn, &datamart, &table.entity)
        });
        let entity = match found {
            Ok(entity) => entity,
            Err(failure) => return Outcome::Failed(failure),
        };
        match entity.body.clone() {
            Body::External(external) if !external.upload => {
                unload::run(self, db, (entity, external), source, sql)
            }
            _ => self.load(db, table, source, sql),
        }
    }

    fn load(self: &Arc<Self>, db: &str, table: &Name, source: &Selection, sql: &str) -> Outcome {
        let late = self.faults.due(|kind| matches!(kind, FaultKind::LateLoad(_)));
        if let [FaultKind::LateLoad(ms), ..] = late[..] {
            let (node, db, sql) = (Arc::clone(self), db.to_owned(), sql.to_owned());
            // Its outcome has nobody to go to: the client's connection is cut.
            let _detached = std::thread::spawn(move || {
                std::thread::sleep(Duration::from_millis(ms));
                node.execute(&db, &sql)
            });
            return Outcome::Cut;
        }
        match self.store.read(|conn| job(conn, db, table, source)) {
            Ok(job) => load::run(self, &job, sql),
            Err(failure) => Outcome::Failed(failure),
        }
    }
}

/// The parts of a load.
fn job(
    conn: &rusqlite::Connection,
    db: &str,
    table: &Name,
    source: &Selection,
) -> Result<load::Job, Failure> {
    let (entity, table) = writes::target(conn, db, table)?;
    let unsupported =
        || Failure::Unsupported("INSERT INTO a table needs an upload external table".to_owned());
    let (datamart, name) = source.single_table().ok_or_else(unsupported)?;
    let datamart = datamart_of(&Name { datamart, entity: name.clone() }, db)?;
    let from = catalog::require(conn, &datamart, &name)?;
    match from.body {
        Body::External(external) if external.upload => {
            let known = external.columns.iter().all(|c| table.position(&c.name).is_some());
            if !known {
                return Err(Failure::Unsupported(
                    "columns of the upload external table differ from the table".to_owned(),
                ));
            }
            Ok(load::Job { entity, table, source: name, external })
        }
        _ => Err(unsupported()),
    }
}
