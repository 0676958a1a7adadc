//! The second host of a cluster, as far as its statements reach: what both do, what one does later,
//! and what a RESTORE brings to it. Owns the order of what waits for it.

use std::collections::BTreeMap;

use super::world::{Db, Tbl, World};
use crate::clickhouse::{Name, ServerError};

/// A statement that every host of a cluster carries out, one after the other.
#[derive(Clone, Debug)]
pub(super) enum Ddl {
    Create { database: Name },
    DropDatabase { database: Name },
    Rename { database: Name, from: Name, to: Name, missing: bool },
    DropTable { database: Name, table: Name },
}

impl Ddl {
    fn run(&self, databases: &mut BTreeMap<Name, Db>, fresh: String) -> Result<(), ServerError> {
        let no_database = ServerError::refused(81, "it is not there");
        match self {
            Self::Create { database } => {
                let empty = || Db { uuid: fresh, ..Db::default() };
                databases.entry(database.clone()).or_insert_with(empty);
            }
            Self::DropDatabase { database } => drop(databases.remove(database)),
            Self::Rename { database, from, to, missing } => {
                let tables = &mut databases.get_mut(database).ok_or(no_database)?.tables;
                if !tables.contains_key(from) {
                    let refused = ServerError::refused(60, "it is not there");
                    return if *missing { Ok(()) } else { Err(refused) };
                }
                if tables.contains_key(to) {
                    return Err(ServerError::refused(57, "it exists"));
                }
                if let Some(table) = tables.remove(from) {
                    tables.insert(to.clone(), table);
                }
            }
            Self::DropTable { database, table } => {
                databases.get_mut(database).ok_or(no_database)?.tables.remove(table);
            }
        }
        Ok(())
    }
}

impl World {
    /// Carries a statement out here, and on the other host where the whole cluster is meant. One
    /// for which that host has no time waits for it, with all that come later.
    pub(super) fn carry_out(&mut self, ddl: Ddl, everywhere: bool) -> Result<(), ServerError> {
        let fresh = self.uuid();
        let here = ddl.run(&mut self.databases, fresh);
        if !everywhere || self.faults.deaf {
            return here;
        }
        self.told += 1;
        self.waiting.push_back(ddl);
        if self.faults.late.is_some_and(|nth| self.told.is_multiple_of(nth)) {
            return here.and(Err(ServerError::refused(159, "a host is not finished")));
        }
        let mut there = Ok(());
        while !self.waiting.is_empty() {
            there = self.catch_up();
        }
        here.and(there)
    }

    /// Lets the other host do what waited longest for it.
    pub(super) fn catch_up(&mut self) -> Result<(), ServerError> {
        let fresh = self.uuid();
        let Some(ddl) = self.waiting.pop_front() else { return Ok(()) };
        ddl.run(&mut self.elsewhere, fresh)
    }

    /// What a RESTORE brings to the other host: a table with an identity of its own.
    pub(super) fn restore_elsewhere(&mut self, database: &Name, name: &Name, table: &Tbl) {
        let (of_database, fresh) = (self.uuid(), self.uuid());
        let empty = || Db { uuid: of_database, ..Db::default() };
        let db = self.elsewhere.entry(database.clone()).or_insert_with(empty);
        db.tables.insert(name.clone(), Tbl { uuid: fresh, ..table.clone() });
    }
}
