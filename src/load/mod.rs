//! Where increments go back to: the node of a target datamart ([`Target`]) and the topics that it
//! loads from ([`Loads`]). Owns the two traits; never names a protocol or a broker.

pub mod kafka;

use std::collections::BTreeMap;
use std::future::Future;

use crate::extract::{Node, SourceError};
use crate::model::{AttemptName, Datasource, DeltaDate, DeltaNum, RunId, Table, TableName};

/// A delta that is begun and not committed (GET_DELTA_HOT).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hot {
    /// Its number.
    pub num: DeltaNum,
    /// A ROLLBACK began and did not end; only another ROLLBACK helps.
    pub rolling_back: bool,
    /// Finished write operations by table.
    pub finished: BTreeMap<TableName, u64>,
}

/// One datamart on a node, as something to be filled.
///
/// An error other than [`SourceError::Unreachable`] means that the node has answered: nothing goes
/// on behind it.
pub trait Target: Node {
    /// Whether the datamart exists.
    fn exists(&self) -> impl Future<Output = Result<bool, SourceError>> + Send;

    /// CREATE DATABASE.
    fn create_datamart(&self) -> impl Future<Output = Result<(), SourceError>> + Send;

    /// Names of all entities, external tables among them.
    fn entities(&self) -> impl Future<Output = Result<Vec<String>, SourceError>> + Send;

    /// Datasources that tables can be created on (CONFIG_SHOW); none where the node cannot say.
    fn active_datasources(
        &self,
    ) -> impl Future<Output = Result<Option<Vec<Datasource>>, SourceError>> + Send;

    /// The hot delta.
    fn hot(&self) -> impl Future<Output = Result<Option<Hot>, SourceError>> + Send;

    /// How many write operations are under way (GET_WRITE_OPERATIONS).
    fn running(&self) -> impl Future<Output = Result<u64, SourceError>> + Send;

    /// Sends a schema change.
    fn execute(&self, query: &str) -> impl Future<Output = Result<(), SourceError>> + Send;

    /// Takes the record of an unfinished schema change away (ERASE_CHANGE_OPERATION).
    fn erase_change(&self, num: u64) -> impl Future<Output = Result<(), SourceError>> + Send;

    /// BEGIN DELTA SET.
    fn begin(&self, delta: DeltaNum) -> impl Future<Output = Result<(), SourceError>> + Send;

    /// COMMIT DELTA SET.
    fn commit(&self, date: DeltaDate) -> impl Future<Output = Result<(), SourceError>> + Send;

    /// ROLLBACK DELTA; stops running loads first.
    fn rollback(&self) -> impl Future<Output = Result<(), SourceError>> + Send;

    /// CREATE UPLOAD EXTERNAL TABLE over the load topic of this name, with the table's columns.
    fn make_upload(
        &self,
        name: &AttemptName,
        table: &Table,
        message_limit: Option<u32>,
    ) -> impl Future<Output = Result<(), SourceError>> + Send;

    /// INSERT from the upload external table; returns when the load has ended. A success proves
    /// nothing (PROSTORE.md 6).
    fn insert(
        &self,
        name: &AttemptName,
        table: &Table,
    ) -> impl Future<Output = Result<(), SourceError>> + Send;

    /// DROP UPLOAD EXTERNAL TABLE; none there is as good.
    fn drop_upload(
        &self,
        name: &AttemptName,
    ) -> impl Future<Output = Result<(), SourceError>> + Send;
}

/// A datamart that was made to be dropped again. A trait of its own, so that no restore can.
pub trait Scratch: Target {
    /// DROP DATABASE, with everything in it.
    fn drop_datamart(&self) -> impl Future<Output = Result<(), SourceError>> + Send;
}

/// Load topics. Each is used once: a node takes a topic that it has read before for an empty one.
pub trait Loads: Send + Sync + 'static {
    /// What fills one.
    type Writer: LoadWriter;

    /// Makes a topic that did not exist before.
    fn make(
        &self,
        name: &AttemptName,
        partitions: u32,
    ) -> impl Future<Output = Result<Self::Writer, SourceError>> + Send;

    /// Deletes a topic; none there is as good.
    fn delete(&self, name: &AttemptName) -> impl Future<Output = Result<(), SourceError>> + Send;

    /// Names of load topics that carry this run's prefix.
    fn leftovers(
        &self,
        run: RunId,
    ) -> impl Future<Output = Result<Vec<AttemptName>, SourceError>> + Send;
}

/// Fills one load topic, without transactions: a node stops at the gaps that their markers leave.
pub trait LoadWriter: Send + 'static {
    /// Appends a message; waits while too much is under way.
    fn append(&mut self, body: &[u8]) -> impl Future<Output = Result<(), SourceError>> + Send;

    /// Waits until every message is durable, and returns how many the topic holds.
    fn seal(self) -> impl Future<Output = Result<u64, SourceError>> + Send;
}
