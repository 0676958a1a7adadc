//! The rows of a topic against a node: CHECK_SUM of every (delta, table) of whole increments, as
//! the topic's rows and the node give it. Owns which sums are asked for and what a difference
//! means; the sums of the rows are made in `sums`. Changes nothing on the node.

use std::collections::BTreeMap;

use super::report::{IncrementSums, NodeSums, Report};
use super::{Kind, PairSum, Place, Verdict};
use crate::extract::{Count, Node, SourceError};
use crate::format::TableManifest;
use crate::model::{ChangeLog, ColumnType, Delta, DeltaNum, Table, TableName};
use crate::plan;

/// Compares the sums of a report with those of a node, and adds what is found to it.
///
/// # Errors
/// The node's, but for sums that it refuses: these are findings.
pub async fn compare<N: Node>(node: &N, report: &mut Report) -> Result<(), SourceError> {
    let mut against = Against {
        node,
        tables: node.tables().await?.tables,
        log: node.changes().await?,
        compared: NodeSums::default(),
        found: Vec::new(),
    };
    against.compared.newest = node.last_delta().await?.map(|delta| delta.num);
    let sums = std::mem::take(&mut report.sums);
    against.ends(&sums);
    for increment in &sums {
        against.increment(increment).await?;
    }
    against
        .found
        .into_iter()
        .for_each(|(kind, place, text)| report.findings.add(kind, place, text));
    (report.sums, report.against) = (sums, Some(against.compared));
    Ok(())
}

struct Against<'n, N> {
    node: &'n N,
    tables: Vec<Table>,
    log: ChangeLog,
    compared: NodeSums,
    found: Vec<(Kind, Place, String)>,
}

/// The node's answer to a question for a sum.
enum Answer {
    Sum(u128),
    /// It has none to give: the text says why.
    None(String),
}

impl<N: Node> Against<'_, N> {
    /// Which deltas only one of the two has, beyond the newest of the other: a node goes on after a
    /// backup, and a replica may be behind one.
    fn ends(&mut self, sums: &[IncrementSums]) {
        let topic = sums.iter().map(|increment| increment.delta).max();
        let node = self.compared.newest;
        let text = match (topic, node) {
            (None, _) => return,
            (Some(topic), None) => format!("the node has no delta, the topic has up to {topic}"),
            (Some(topic), Some(node)) if node > topic => {
                format!("the node has deltas up to {node}, the topic up to {topic}")
            }
            (Some(topic), Some(node)) if topic > node => {
                format!("the topic has deltas up to {topic}, the node up to {node}")
            }
            _ => return,
        };
        self.found.push((Kind::Apart, Place::default(), text));
    }

    async fn increment(&mut self, of: &IncrementSums) -> Result<(), SourceError> {
        if self.compared.newest.is_none_or(|newest| newest < of.delta) {
            return Ok(());
        }
        let history = |text: String| (Kind::History, of.place(None), text);
        let delta = match self.node.delta(of.delta).await? {
            Some(delta) if delta.date == of.date => delta,
            Some(Delta { date, .. }) => {
                let text = format!("the delta is of {} here, and of {date} on the node", of.date);
                self.found.push(history(text));
                return Ok(());
            }
            None => {
                self.found.push(history("the node has no such delta".to_owned()));
                return Ok(());
            }
        };
        let there = plan::tables_of(of.delta, &self.tables, &self.log).into_iter();
        let there: BTreeMap<TableName, Table> =
            there.map(|table| (table.name.clone(), table.clone())).collect();
        let is_empty = of.tables.values().all(|pair| pair.rows == 0);
        if is_empty && self.node.delta_sum(of.delta).await?.as_deref() == Some("0") {
            self.compared.equal += there.len() as u64;
            return Ok(());
        }
        for (name, pair) in &of.tables {
            match there.get(name) {
                Some(table) => self.pair(of, &delta, table, pair).await?,
                None if pair.rows == 0 => {}
                None => {
                    let text = "its sum: the node has dropped the table, or made it again, since";
                    self.undecided(of, name, text);
                }
            }
        }
        for table in there.values().filter(|table| !of.tables.contains_key(&table.name)) {
            self.only_on_node(of, table).await?;
        }
        Ok(())
    }

    async fn pair(
        &mut self,
        of: &IncrementSums,
        delta: &Delta,
        table: &Table,
        pair: &PairSum,
    ) -> Result<(), SourceError> {
        let node = match self.ask(of.delta, table, &pair.columns).await? {
            Answer::Sum(sum) => sum,
            Answer::None(text) => {
                self.different(of, &table.name, text);
                return Ok(());
            }
        };
        let repeats = pair.wants_repeats(node) && self.can_repeat(delta, table).await?;
        let verdict = pair.compare(node, repeats);
        let promised = of.promised.get(&table.name);
        match (verdict, promised.filter(|promised| !promised.exact)) {
            (Verdict::Equal, _) => self.compared.equal += 1,
            (_, Some(inexact)) => self.inexact(of, table, inexact).await?,
            (Verdict::Undecided, None) => {
                let text = "its sum: the topic does not say which rows were removed again";
                self.undecided(of, &table.name, text);
            }
            (Verdict::Different, None) => {
                let text = difference(pair, node, promised);
                self.different(of, &table.name, text);
            }
        }
        Ok(())
    }

    /// A pair of which a restore cannot bring every version back: only what there is at the end of
    /// the delta can be equal. The topic's rows alone do not say what that is, its manifest does.
    async fn inexact(
        &mut self,
        of: &IncrementSums,
        table: &Table,
        promised: &TableManifest,
    ) -> Result<(), SourceError> {
        let columns = promised.check_sum_columns.clone().unwrap_or_default();
        let Some(wanted) = promised.check_sum_snapshot.as_ref().filter(|_| !columns.is_empty())
        else {
            let text = "its sum: keys repeat in the delta, and nothing says what was left of them";
            self.undecided(of, &table.name, text);
            return Ok(());
        };
        let found = self.node.table_sums(of.delta, table, &columns, true).await?.snapshot;
        if found.as_ref() == Some(wanted) {
            let text = "its sum: keys repeat in the delta; what there is at its end is the same, \
                        by the manifest's CHECK_SUM_SNAPSHOT";
            self.undecided(of, &table.name, text);
        } else {
            let found = found.unwrap_or_else(|| "unknown".to_owned());
            let text =
                format!("CHECK_SUM_SNAPSHOT is {wanted} by the manifest, {found} on the node");
            self.different(of, &table.name, text);
        }
        Ok(())
    }

    async fn only_on_node(&mut self, of: &IncrementSums, table: &Table) -> Result<(), SourceError> {
        let exact = |kind| !matches!(kind, ColumnType::Float | ColumnType::Double);
        let columns = table.columns.iter().filter(|column| exact(column.kind));
        let columns: Vec<_> = columns.map(|column| column.name.clone()).collect();
        match self.ask(of.delta, table, &columns).await? {
            Answer::Sum(0) => self.compared.equal += 1,
            Answer::Sum(sum) => {
                let text = format!("nothing of the table is here, CHECK_SUM is {sum} on the node");
                self.different(of, &table.name, text);
            }
            Answer::None(text) => self.different(of, &table.name, text),
        }
        Ok(())
    }

    async fn ask(
        &self,
        delta: DeltaNum,
        table: &Table,
        columns: &[String],
    ) -> Result<Answer, SourceError> {
        let sums = match self.node.table_sums(delta, table, columns, false).await {
            Err(SourceError::Refused { message, .. }) => {
                return Ok(Answer::None(format!("the node gives no CHECK_SUM: {message}")));
            }
            sums => sums?,
        };
        let Some(sum) = sums.changes else {
            let text = "the node gives no CHECK_SUM: its datasources differ".to_owned();
            return Ok(Answer::None(text));
        };
        let number = sum.parse().map(Answer::Sum);
        Ok(number.unwrap_or_else(|_| Answer::None(format!("CHECK_SUM of the node is {sum:?}"))))
    }

    /// Whether a key of the pair can have been changed more than once. One write operation changes
    /// a key once; else the node counts.
    async fn can_repeat(&self, delta: &Delta, table: &Table) -> Result<bool, SourceError> {
        if delta.cn_from >= delta.cn_to {
            return Ok(false);
        }
        if table.primary_key.is_empty() {
            return Ok(true);
        }
        let mut counted = [None; 3];
        let what = [Count::Started, Count::Finished, Count::Keys];
        for (what, number) in what.into_iter().zip(&mut counted) {
            *number = self.node.count(delta.num, table, None, what).await?;
        }
        let [Some(started), Some(finished), Some(keys)] = counted else { return Ok(true) };
        Ok(started.saturating_add(finished) != keys)
    }

    fn different(&mut self, of: &IncrementSums, table: &TableName, text: String) {
        self.compared.different += 1;
        self.found.push((Kind::Sums, of.place(Some(table)), text));
    }

    fn undecided(&mut self, of: &IncrementSums, table: &TableName, text: &str) {
        self.compared.undecided += 1;
        self.found.push((Kind::Unchecked, of.place(Some(table)), text.to_owned()));
    }
}

impl IncrementSums {
    fn place(&self, table: Option<&TableName>) -> Place {
        let place = Place {
            datamart: Some(self.datamart.clone()),
            delta: Some(self.delta),
            increment: Some(self.increment.clone()),
            ..Place::default()
        };
        place.at_table(table)
    }
}

/// Both sums, and whose changed since the backup, by the one that the manifest remembers.
fn difference(pair: &PairSum, node: u128, promised: Option<&TableManifest>) -> String {
    let PairSum { columns, rows, sum, .. } = pair;
    let same = |promised: &&TableManifest| promised.check_sum_columns.as_ref() == Some(columns);
    let then = promised.filter(same).and_then(|promised| promised.check_sum.as_deref());
    let whose = match then.map(str::parse::<u128>) {
        Some(Ok(then)) if then == node => {
            "; the node's is that of the backup: the rows were changed"
        }
        Some(Ok(then)) if then == *sum => {
            "; these rows are those of the backup: the node's changed"
        }
        Some(Ok(_)) => "; neither is that of the backup",
        _ => "",
    };
    format!("CHECK_SUM of the {rows} rows is {sum}, {node} on the node{whose}")
}
