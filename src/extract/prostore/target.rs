//! The node as something to be filled: the [`Target`] of a restore. Owns what the answers to its
//! statements mean; never touches a broker. Every command is sent once: after a lost answer the
//! restore looks at the node again, it never repeats.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::refusal::Refusal;
use super::reply::{BadValue, Row};
use super::{ACTIVE, ProstoreNode, entities, refusal, unless_refused};
use crate::extract::SourceError;
use crate::extract::sql;
use crate::load::{Hot, Scratch, Target};
use crate::model::{AttemptName, Datasource, DeltaDate, DeltaNum, Table, TableName};

/// An entry of the JSON text in GET_DELTA_HOT's `write_op_finished`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Finished {
    table_name: String,
    cn_list: Vec<i64>,
}

impl Target for ProstoreNode {
    async fn exists(&self) -> Result<bool, SourceError> {
        match ProstoreNode::entities(self).await {
            Ok(_) => Ok(true),
            Err(SourceError::NoDatamart { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn create_datamart(&self) -> Result<(), SourceError> {
        self.http.command_of_none(&sql::create_datamart(self.datamart())).await.map(drop)
    }

    async fn entities(&self) -> Result<Vec<String>, SourceError> {
        ProstoreNode::entities(self).await
    }

    async fn active_datasources(&self) -> Result<Option<Vec<Datasource>>, SourceError> {
        let sql = sql::config_show(ACTIVE);
        let Some(reply) = unless_refused(self.ask(&sql).await)? else { return Ok(None) };
        let list =
            self.rows(&sql, &reply, |row| row.text("parameter_value").map(str::to_owned))?.pop();
        Ok(list.as_deref().map(entities::datasources))
    }

    async fn hot(&self) -> Result<Option<Hot>, SourceError> {
        let sql = sql::delta_hot();
        let reply = self.named(self.ask(&sql)).await?;
        Ok(self.rows(&sql, &reply, read_hot)?.pop())
    }

    async fn running(&self) -> Result<u64, SourceError> {
        let reply = self.named(self.ask(&sql::write_operations())).await?;
        Ok(reply.rows.len() as u64)
    }

    // A refusal is not looked into: that a database is missing may be said of one that the
    // statement only refers to.
    async fn execute(&self, query: &str) -> Result<(), SourceError> {
        ProstoreNode::execute(self, query).await.map(drop)
    }

    async fn erase_change(&self, num: u64) -> Result<(), SourceError> {
        self.command(&sql::erase_change(self.datamart(), num)).await
    }

    async fn begin(&self, delta: DeltaNum) -> Result<(), SourceError> {
        self.command(&sql::begin_delta(delta)).await
    }

    async fn commit(&self, date: DeltaDate) -> Result<(), SourceError> {
        let sql = sql::commit_delta(date);
        let sql = sql.map_err(|bad| self.http.unreadable("the date of a delta", bad))?;
        self.command(&sql).await
    }

    // The refusal hides its cause, and is also the answer where an earlier ROLLBACK has just ended.
    async fn rollback(&self) -> Result<(), SourceError> {
        let answer = self.command(&sql::rollback_delta()).await;
        match answer.as_ref().map_err(refusal) {
            Err(Some(Refusal::Rollback)) if self.hot().await?.is_none() => Ok(()),
            _ => answer,
        }
    }

    // One of this name is ours from a lost answer, for names are never used twice.
    async fn make_upload(
        &self,
        name: &AttemptName,
        table: &Table,
        message_limit: Option<u32>,
    ) -> Result<(), SourceError> {
        let sql = sql::create_upload(self.datamart(), name, table, message_limit);
        match self.command(&self.checked(sql)?).await {
            Err(error) if refusal(&error) == Some(Refusal::Exists) => Ok(()),
            answer => answer,
        }
    }

    // A load takes as long as its topic is large, so no patience of ours ends it.
    async fn insert(&self, name: &AttemptName, table: &Table) -> Result<(), SourceError> {
        let sql = self.checked(sql::load(self.datamart(), name, table))?;
        self.http.unlimited(&sql).await.map(drop)
    }

    async fn drop_upload(&self, name: &AttemptName) -> Result<(), SourceError> {
        let sql = self.checked(sql::drop_upload(self.datamart(), name))?;
        self.drop_table(&sql).await
    }
}

impl Scratch for ProstoreNode {
    async fn drop_datamart(&self) -> Result<(), SourceError> {
        self.http.command_of_none(&sql::drop_datamart(self.datamart())).await.map(drop)
    }
}

impl ProstoreNode {
    async fn command(&self, sql: &str) -> Result<(), SourceError> {
        self.named(self.http.command(sql)).await.map(drop)
    }
}

fn read_hot(row: Row<'_>) -> Result<Hot, BadValue> {
    let mut finished: BTreeMap<TableName, u64> = BTreeMap::new();
    if let Some(text) = row.text_or_null("write_op_finished")? {
        let list: Vec<Finished> = serde_json::from_str(text)
            .map_err(|_| BadValue { column: "write_op_finished".into(), found: text.to_owned() })?;
        for of_table in list {
            let name = TableName(of_table.table_name.to_ascii_lowercase());
            *finished.entry(name).or_default() += of_table.cn_list.len() as u64;
        }
    }
    Ok(Hot {
        num: DeltaNum(row.number("delta_num")?),
        rolling_back: row.flag("is_rolling_back")?,
        finished,
    })
}
