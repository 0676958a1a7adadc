//! What a restore does, as lines on stdout in the manner of the backup's. Owns their wording.

use super::console::say;
use crate::journal::RestoreShape;
use crate::plan;
use crate::restore::{Event, Watch};

/// Prints the lines.
pub struct RestoreConsole {
    /// The backup topic.
    pub topic: String,
    /// host:port of the target's node.
    pub node: String,
}

impl Watch for RestoreConsole {
    fn tell(&self, event: Event) {
        if let Some(line) = self.line(event) {
            say(&line);
        }
    }
}

impl RestoreConsole {
    fn params(&self, shape: &RestoreShape) -> String {
        let Self { node, topic } = self;
        let RestoreShape { source, target, threads, partitions, .. } = shape;
        let datasource = shape.datasource.as_deref().unwrap_or("null");
        let limit = shape.message_limit.map_or("null".to_owned(), |limit| limit.to_string());
        format!(
            "[node {node}, datamart {target}, sourceDatamart {source}, topic {topic}, \
             datasourceType {datasource}, partitionsCount {partitions}, threadsCount {threads}, \
             messageLimit {limit}]"
        )
    }

    fn line(&self, event: Event) -> Option<String> {
        Some(match event {
            Event::Started { run, resumed, shape } => {
                let how = if resumed { ", resumed" } else { "" };
                let params = self.params(&shape);
                format!("Started RESTORE process with params {params}, run {run}{how}")
            }
            Event::Range { deltas, .. } => {
                format!("Delta range [{}] to restore", plan::shown(&deltas))
            }
            Event::Replayed { num, query } => format!("Change {num} replayed: {query}"),
            Event::DeltaBegun { delta } => {
                format!("Started restore delta processing: delta {delta}")
            }
            Event::Filled(amount) => format!(
                "Successfully filled load topic: delta {}, table {}, {} rows",
                amount.delta, amount.table, amount.rows
            ),
            Event::Loaded(amount) => format!(
                "Successfully loaded delta table: delta {}, table {}, {} rows",
                amount.delta, amount.table, amount.rows
            ),
            Event::RolledBack { delta } => format!("Delta {delta} is rolled back"),
            Event::DeltaRestored { delta, date } => {
                format!("Successfully restored delta {delta}, delta date {date}")
            }
            Event::Warning { text } => {
                tracing::warn!("{text}");
                return None;
            }
            Event::TopicRead { .. } | Event::Loading { .. } | Event::LoadBegun(_) => return None,
        })
    }
}
