//! A Prostore node over HTTP and SQL+: the [`Node`] of a datamart, and the statements of an unload.
//! Owns what each statement's answer means; statements are written in `sql`, requests made in
//! `http`; `target` is the same node as something to be filled. Never touches a broker.

mod entities;
mod http;
mod refusal;
mod reply;
mod secret;
mod target;

use std::future::Future;

use serde::de::DeserializeOwned;

use self::entities::{Attribute, Entity, Listing};
use self::http::Http;
use self::refusal::Refusal;
use self::reply::{BadValue, Row};
use super::sql::{self, BadName, Sum};
use super::{Allow, Count, Deny, Half, Mark, Marker, Node, SourceError, Sums, Tables};
use crate::model::{
    Attempt, AttemptName, Change, ChangeLog, Datamart, Datasource, Delta, DeltaDate, DeltaNum,
    LockCode, Owner, Part, Table, TableName,
};

pub use http::Timeouts;
pub(super) use refusal::names_the_size;
pub use reply::Reply;
pub use secret::Secret;

/// The parameter that lists a node's active datasources.
const ACTIVE: &str = "core:plugins:active";

/// The component that is the node itself in CHECK_VERSIONS.
const CORE: &str = "query-execution-core";

/// One datamart on a Prostore node.
#[derive(Clone, Debug)]
pub struct ProstoreNode {
    http: Http,
}

impl ProstoreNode {
    /// Prepares to talk to `node` (host:port) about `datamart`; connects to nothing yet. The token
    /// goes out as `Authorization: Bearer` and nowhere else.
    ///
    /// # Errors
    /// [`SourceError::Unreachable`] where the HTTP client cannot be made.
    pub fn new(
        node: String,
        datamart: Datamart,
        token: Option<Secret>,
        timeouts: Timeouts,
    ) -> Result<Self, SourceError> {
        Ok(Self { http: Http::new(node, datamart, token, timeouts)? })
    }

    /// Sends any statement, once.
    ///
    /// # Errors
    /// [`SourceError::Unreachable`] where no answer came: the statement may have been carried out.
    pub async fn execute(&self, sql: &str) -> Result<Reply, SourceError> {
        let body = self.http.command(sql).await?;
        Reply::read(&body).map_err(|reason| self.http.unreadable(sql, reason))
    }

    /// Asks something that changes nothing; again where no answer came.
    async fn ask(&self, sql: &str) -> Result<Reply, SourceError> {
        let body = self.http.question(sql).await?;
        Reply::read(&body).map_err(|reason| self.http.unreadable(sql, reason))
    }

    async fn meta<T: DeserializeOwned>(&self, path: &str) -> Result<T, SourceError> {
        let path = format!("{}/{path}", self.datamart());
        let body = self.http.meta(&path).await?;
        serde_json::from_slice(&body).map_err(|e| self.http.unreadable(&path, e))
    }

    fn datamart(&self) -> &Datamart {
        self.http.datamart()
    }

    /// Names of all entities of the datamart, external tables among them.
    ///
    /// # Errors
    /// [`SourceError::NoDatamart`] where there is no such datamart.
    pub async fn entities(&self) -> Result<Vec<String>, SourceError> {
        let entities: Vec<Entity> = self.named(self.meta("entities")).await?;
        Ok(entities.into_iter().map(|entity| entity.mnemonic).collect())
    }

    /// The value of one parameter of the node; none where it knows no such parameter.
    ///
    /// # Errors
    /// As any question.
    pub async fn config(&self, parameter: &str) -> Result<Option<String>, SourceError> {
        let sql = sql::config_show(parameter);
        let reply = self.ask(&sql).await?;
        let value = reply.iter().next().map(|row| row.text("parameter_value").map(str::to_owned));
        value.transpose().map_err(|bad| self.http.unreadable(&sql, bad))
    }

    /// The datasources that the node works with.
    ///
    /// # Errors
    /// As any question.
    pub async fn active_datasources(&self) -> Result<Vec<Datasource>, SourceError> {
        Ok(self.config(ACTIVE).await?.map_or_else(Vec::new, |list| entities::datasources(&list)))
    }

    /// The datasource that the node itself would read a (delta, table) from; none where it cannot
    /// say, as versions without ESTIMATE_ONLY cannot.
    ///
    /// # Errors
    /// As any question.
    pub async fn estimate_datasource(
        &self,
        table: &Table,
        delta: DeltaNum,
    ) -> Result<Option<Datasource>, SourceError> {
        let sql = self.checked(sql::estimate(self.datamart(), table, delta))?;
        let Some(reply) = unless_refused(self.ask(&sql).await)? else { return Ok(None) };
        let text = reply.iter().next().and_then(|row| row.text("estimate").ok());
        Ok(text.and_then(estimated_plugin))
    }

    /// Creates the external table of an attempt. One of this name is ours from a lost answer, for
    /// names are never used twice.
    ///
    /// # Errors
    /// [`SourceError::Unreachable`] where no answer came: it may be there.
    pub async fn create_download(
        &self,
        attempt: &Attempt,
        table: &Table,
    ) -> Result<(), SourceError> {
        let sql = self.checked(sql::create_download(self.datamart(), attempt, table))?;
        match self.execute(&sql).await {
            Err(error) if refusal(&error) == Some(Refusal::Exists) => Ok(()),
            answer => answer.map(drop),
        }
    }

    /// Unloads one half of an attempt; answers when the connector has written everything. That can
    /// be never (D4.12): the patience is the caller's.
    ///
    /// # Errors
    /// [`SourceError::Unreachable`] where the connection broke: the connector may go on writing.
    pub async fn unload(
        &self,
        attempt: &Attempt,
        table: &Table,
        half: Half,
    ) -> Result<(), SourceError> {
        let sql = self.checked(sql::unload(self.datamart(), attempt, table, half))?;
        self.http.unlimited(&sql).await.map(drop)
    }

    /// Unloads one part of a pair with repeated keys; answers as [`Self::unload`] does.
    ///
    /// # Errors
    /// [`SourceError::PartRefused`] where the node does not take such a statement at all.
    pub async fn unload_part(
        &self,
        attempt: &Attempt,
        table: &Table,
        part: Part,
    ) -> Result<(), SourceError> {
        let sql = self.checked(sql::unload_part(self.datamart(), attempt, table, part))?;
        match self.http.unlimited(&sql).await {
            Err(SourceError::Refused { statement, message })
                if Refusal::of(&message) != Refusal::Unload =>
            {
                Err(SourceError::PartRefused { statement, message })
            }
            answer => answer.map(drop),
        }
    }

    /// How many rows a part of a pair with repeated keys has in its datasource.
    ///
    /// # Errors
    /// As any question.
    pub async fn count_part(
        &self,
        attempt: &Attempt,
        table: &Table,
        part: Part,
    ) -> Result<u64, SourceError> {
        let sql = self.checked(sql::count_part(self.datamart(), attempt, table, part))?;
        self.ask_count(&sql).await
    }

    /// How many rows a half of a (delta, table) has in this datasource.
    ///
    /// # Errors
    /// As any question.
    pub async fn count_rows(
        &self,
        delta: DeltaNum,
        table: &Table,
        datasource: Option<&Datasource>,
        half: Half,
    ) -> Result<u64, SourceError> {
        let sql = sql::count_rows(self.datamart(), delta, table, datasource, half);
        let sql = self.checked(sql)?;
        self.ask_count(&sql).await
    }

    async fn ask_count(&self, sql: &str) -> Result<u64, SourceError> {
        let reply = self.ask(sql).await?;
        let count = self.rows(sql, &reply, |row| row.number("c"))?.pop();
        count.ok_or_else(|| self.http.unreadable(sql, "no count"))
    }

    /// Drops the external table of an attempt; none there is as good.
    ///
    /// # Errors
    /// [`SourceError::Unreachable`] where no answer came.
    pub async fn drop_download(&self, name: &AttemptName) -> Result<(), SourceError> {
        let sql = self.checked(sql::drop_download(self.datamart(), name))?;
        self.drop_table(&sql).await
    }

    async fn drop_table(&self, sql: &str) -> Result<(), SourceError> {
        match self.execute(sql).await {
            Err(error) if refusal(&error) == Some(Refusal::Missing) => Ok(()),
            answer => answer.map(drop),
        }
    }

    async fn table(
        &self,
        name: TableName,
        datasources: Vec<Datasource>,
    ) -> Result<Table, SourceError> {
        let path = format!("entity/{name}/attributes");
        let attributes: Vec<Attribute> = self.named(self.meta(&path)).await?;
        let primary_key = entities::primary_key(&attributes);
        let columns = entities::columns(attributes);
        let columns = columns.map_err(|reason| self.http.unreadable(&path, reason))?;
        Ok(Table { name, columns, datasources, primary_key })
    }

    async fn sum(&self, sql: &str) -> Result<Option<String>, SourceError> {
        let Some(reply) = unless_refused(self.named(self.ask(sql)).await)? else {
            return Ok(None);
        };
        let sum = reply.iter().next().map(|row| row.text("check_result").map(str::to_owned));
        sum.transpose().map_err(|bad| self.http.unreadable(sql, bad))
    }

    /// Names the missing datamart where the node's text is about that.
    async fn named<T>(
        &self,
        answer: impl Future<Output = Result<T, SourceError>>,
    ) -> Result<T, SourceError> {
        answer.await.map_err(|error| match refusal(&error) {
            Some(Refusal::NoDatamart) => self.http.no_datamart(),
            _ => error,
        })
    }

    /// A name that came from the node and cannot be sent back to it.
    fn checked(&self, sql: Result<String, BadName>) -> Result<String, SourceError> {
        sql.map_err(|bad| self.http.unreadable("names of entities", bad))
    }

    fn rows<T>(
        &self,
        sql: &str,
        reply: &Reply,
        read: impl Fn(Row<'_>) -> Result<T, BadValue>,
    ) -> Result<Vec<T>, SourceError> {
        let rows: Result<_, _> = reply.iter().map(read).collect();
        rows.map_err(|bad| self.http.unreadable(sql, bad))
    }
}

impl Node for ProstoreNode {
    async fn preferred(
        &self,
        delta: DeltaNum,
        table: &Table,
    ) -> Result<Option<Datasource>, SourceError> {
        self.estimate_datasource(table, delta).await
    }

    async fn last_delta(&self) -> Result<Option<Delta>, SourceError> {
        let sql = sql::delta_ok();
        let reply = self.named(self.ask(&sql)).await?;
        Ok(self.rows(&sql, &reply, read_delta)?.pop())
    }

    async fn delta(&self, num: DeltaNum) -> Result<Option<Delta>, SourceError> {
        let sql = sql::delta_by_num(num);
        match self.named(self.ask(&sql)).await {
            Ok(reply) => Ok(self.rows(&sql, &reply, read_delta)?.pop()),
            Err(error) if refusal(&error) == Some(Refusal::NoDelta) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn changes(&self) -> Result<ChangeLog, SourceError> {
        let sql = sql::get_changes(self.datamart());
        let reply = self.named(self.ask(&sql)).await?;
        Ok(ChangeLog(self.rows(&sql, &reply, read_change)?))
    }

    async fn tables(&self) -> Result<Tables, SourceError> {
        let sql = sql::tables(self.datamart());
        let reply = self.ask(&sql).await?;
        if reply.rows.is_empty() {
            // INFORMATION_SCHEMA does not tell an empty datamart from a missing one.
            self.entities().await?;
        }
        let listing = Listing::read(&reply).map_err(|bad| self.http.unreadable(&sql, bad))?;
        let mut tables = Vec::new();
        for (name, datasources) in listing.tables {
            tables.push(self.table(name, datasources).await?);
        }
        Ok(Tables { tables, views: listing.views, unknown: listing.unknown })
    }

    async fn version(&self) -> Result<String, SourceError> {
        // It fails where any connector is down; the version only labels the backup.
        let reply = unless_refused(self.ask(&sql::check_versions()).await)?.unwrap_or_default();
        let of_core = |row: &Row<'_>| row.text("component_name") == Ok(CORE);
        let core = reply.iter().find(of_core).and_then(|row| row.text("version").ok());
        Ok(core.unwrap_or("unknown").to_owned())
    }

    async fn delta_sum(&self, delta: DeltaNum) -> Result<Option<String>, SourceError> {
        self.sum(&sql::delta_sum(Sum::Changes, delta)).await
    }

    async fn count(
        &self,
        delta: DeltaNum,
        table: &Table,
        datasource: Option<&Datasource>,
        what: Count,
    ) -> Result<Option<u64>, SourceError> {
        if delta.0 == 0 && what == Count::Replaced {
            return Ok(Some(0));
        }
        let sql = self.checked(sql::count(self.datamart(), delta, table, datasource, what))?;
        let Some(reply) = unless_refused(self.named(self.ask(&sql)).await)? else {
            return Ok(None);
        };
        let count = reply.iter().next().map(|row| row.number("c"));
        count.transpose().map_err(|bad| self.http.unreadable(&sql, bad))
    }

    async fn table_sums(
        &self,
        delta: DeltaNum,
        table: &Table,
        columns: &[String],
        snapshot: bool,
    ) -> Result<Sums, SourceError> {
        if columns.is_empty() {
            return Ok(Sums::default());
        }
        let text = |sum| self.checked(sql::table_sum(sum, self.datamart(), delta, table, columns));
        let changes = self.sum(&text(Sum::Changes)?).await?;
        // A pair without changes costs this one question (D4.5).
        let snapshot = snapshot && changes.as_deref() != Some("0");
        let snapshot = if snapshot { self.sum(&text(Sum::Snapshot)?).await? } else { None };
        Ok(Sums { changes, snapshot })
    }

    async fn deny(&self, code: &LockCode) -> Result<Deny, SourceError> {
        let answer = self.named(self.execute(&sql::deny(self.datamart(), code))).await;
        match answer.as_ref().map_err(refusal) {
            Ok(_) => Ok(Deny::Done),
            Err(Some(Refusal::ChangesBlocked)) => Ok(Deny::Blocked),
            Err(_) => answer.map(|_| Deny::Done),
        }
    }

    async fn allow(&self, code: &LockCode) -> Result<Allow, SourceError> {
        let answer = self.execute(&sql::allow(self.datamart(), code)).await;
        match answer.as_ref().map_err(refusal) {
            Ok(_) => Ok(Allow::Done),
            Err(Some(Refusal::WrongCode)) => Ok(Allow::WrongCode),
            Err(Some(Refusal::ChangesBlocked)) => Ok(Allow::Blocked),
            // The node says the same of a missing datamart: that must not pass for "no lock".
            Err(Some(Refusal::NotBlocked)) => self.entities().await.map(|_| Allow::NotBlocked),
            Err(_) => answer.map(|_| Allow::Done),
        }
    }

    async fn marker(&self) -> Result<Marker, SourceError> {
        let path = format!("entity/{}/attributes", Owner::MARKER);
        let attributes: Vec<Attribute> = match self.named(self.meta(&path)).await {
            Err(error) if refusal(&error) == Some(Refusal::Missing) => return Ok(Marker::Absent),
            answer => answer?,
        };
        let owner = Owner::from_columns(attributes.iter().map(|a| a.mnemonic.as_str()));
        Ok(owner.map_or(Marker::Foreign, Marker::Of))
    }

    async fn mark(&self, owner: &Owner) -> Result<Mark, SourceError> {
        let sql = self.checked(sql::create_marker(self.datamart(), owner))?;
        match self.named(self.execute(&sql)).await {
            Err(error) if refusal(&error) == Some(Refusal::Exists) => Ok(Mark::Exists),
            answer => answer.map(|_| Mark::Done),
        }
    }

    async fn unmark(&self) -> Result<(), SourceError> {
        self.drop_table(&sql::drop_marker(self.datamart())).await
    }
}

/// What a refusal is about; none where the statement was not refused.
fn refusal(error: &SourceError) -> Option<Refusal> {
    match error {
        SourceError::Refused { message, .. } => Some(Refusal::of(message)),
        _ => None,
    }
}

/// An answer that a node may lack: a refusal is none.
fn unless_refused(answer: Result<Reply, SourceError>) -> Result<Option<Reply>, SourceError> {
    match answer {
        Err(SourceError::Refused { statement, message }) => {
            tracing::debug!(statement, message, "the node cannot say");
            Ok(None)
        }
        answer => answer.map(Some),
    }
}

fn read_delta(row: Row<'_>) -> Result<Delta, BadValue> {
    Ok(Delta {
        num: DeltaNum(row.number("delta_num")?),
        date: DeltaDate(row.integer("delta_date")?),
        cn_from: row.integer("cn_from")?,
        cn_to: row.integer("cn_to")?,
    })
}

fn read_change(row: Row<'_>) -> Result<Change, BadValue> {
    Ok(Change {
        num: row.number("change_num")?,
        entity: row.text("entity_name")?.to_ascii_lowercase(),
        query: row.text("change_query")?.to_owned(),
        delta: row.number_or_null("delta_num")?.map(DeltaNum),
        // Nodes call it date_time_end, their documentation end_time.
        finished: !row.is_null(&["date_time_end", "end_time"])?,
    })
}

/// The datasource in the JSON text that ESTIMATE_ONLY answers with.
fn estimated_plugin(estimate: &str) -> Option<Datasource> {
    let value: serde_json::Value = serde_json::from_str(estimate).ok()?;
    let plugin = value.get("plugin")?.as_str()?;
    Some(Datasource(plugin.to_ascii_lowercase()))
}
