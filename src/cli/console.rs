//! The seed's log lines on stdout ("Вывод при успешной выгрузке инкрементов"), for the watchers
//! that grep them. Owns their wording; a closed stdout ends nothing.

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::backup::{Event, Watch};
use crate::extract::Half;
use crate::journal::Shape;
use crate::model::DeltaNum;
use crate::plan;

/// Prints the seed's lines.
pub struct Console {
    /// The datamart.
    pub datamart: String,
    /// The backup topic.
    pub topic: String,
    /// host:port of the node.
    pub node: String,
}

/// Whether stdout holds anything yet: in JSON mode it takes one document and no more.
static SAID: AtomicBool = AtomicBool::new(false);

/// True once something was printed.
pub fn has_said() -> bool {
    SAID.load(Ordering::Relaxed)
}

/// Prints a line; nobody listening is no failure of a backup.
pub fn say(line: &str) {
    SAID.store(true, Ordering::Relaxed);
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

/// Prints a line for people, beside what is said. Whoever listened may be gone, as a worker that
/// started this process: the run goes on to an orderly end all the same.
pub fn note(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

impl Watch for Console {
    fn tell(&self, event: Event) {
        if let Some(line) = self.line(event) {
            say(&line);
        }
    }
}

/// The seed knows ranges without holes only; where gaps are filled the numbers follow it.
fn range(deltas: &[DeltaNum]) -> String {
    let (Some(first), Some(last)) = (deltas.first(), deltas.last()) else {
        return "Delta range [] to backup".to_owned();
    };
    let line = format!("Delta range [{first}, {last}] to backup");
    let holes = deltas.windows(2).any(|two| two[0].0 + 1 != two[1].0);
    if holes { format!("{line}: {}", plan::shown(deltas)) } else { line }
}

impl Console {
    fn params(&self, shape: &Shape) -> String {
        let Self { node, datamart, topic } = self;
        let Shape { chunk_size, threads, partitions, datasource, .. } = shape;
        let datasource = datasource.as_deref().unwrap_or("null");
        format!(
            "[node {node}, datamart {datamart}, datasourceType {datasource}, topic {topic}, \
             partitionsCount {partitions}, threadsCount {threads}, chunkSize {chunk_size}]"
        )
    }

    fn line(&self, event: Event) -> Option<String> {
        let Self { datamart, topic, .. } = self;
        Some(match event {
            Event::Started { run, resumed, shape } => {
                let how = if resumed { ", resumed" } else { "" };
                let params = self.params(&shape);
                format!("Started BACKUP process with params {params}, run {run}{how}")
            }
            Event::Denied { code } => {
                format!("Deny changes in datamart [{datamart}] with code [{code}]")
            }
            Event::Range { deltas, .. } => range(&deltas),
            Event::Changes { .. } => format!("Got changes for datamart {datamart}"),
            Event::Tables { tables } => {
                let names: Vec<_> = tables.iter().map(|t| t.0.as_str()).collect();
                format!("Tables received for datamart {datamart}: [{}]", names.join(", "))
            }
            Event::DeltaStarted { delta, .. } => {
                let (num, date) = (delta.num, delta.date);
                say("Started backup delta processing");
                format!("Got delta date for datamart {datamart}, delta num {num}: {date}")
            }
            Event::ChangelogStarted { delta, records } => format!(
                "Start archiving delta changelog of delta {delta}, {records} records, into topic \
                 {topic}"
            ),
            Event::Sending { table: None, chunk, .. } => {
                format!("Trying to send changelog message {chunk} to topic [{topic}]")
            }
            Event::DeltaArchived { .. } => {
                format!("Successfully archived delta table to backup topic {topic}")
            }
            Event::Allowed => format!("Allow changes in datamart {datamart}"),
            of_table => return self.line_of_table(of_table),
        })
    }

    fn line_of_table(&self, event: Event) -> Option<String> {
        let topic = &self.topic;
        Some(match event {
            Event::TableStarted { delta, table } => {
                format!("Started backup delta table processing: delta {delta}, table {table}")
            }
            Event::TopicCreated { topic, partitions } => {
                format!("Topic {topic} with {partitions} partitions successfully created")
            }
            Event::ExternalTableCreated { name } => {
                format!("Successfully created download ext table {name}")
            }
            Event::Unloaded { name, half } => {
                let half = if half == Half::Added { "added" } else { "removed" };
                format!("Data inserted into kafka by {name}, {half} rows")
            }
            Event::ExternalTableDropped { name } => {
                format!("Successfully dropped download ext table {name}")
            }
            Event::Sealed { delta, table, chunks } => format!(
                "Successfully expload delta table to kafka: delta {delta}, table {table}, \
                 {chunks} messages"
            ),
            Event::Archiving { delta, table } => {
                format!("Started archiving delta table: delta {delta}, table {table}")
            }
            Event::Polled { message, topic } => {
                format!("Polled message {message} from source topic {topic}")
            }
            Event::Sending { delta, table: Some(table), stream, chunk } => format!(
                "Trying to send data message {chunk} of stream {stream}, delta {delta}, table \
                 {table}, to topic [{topic}]"
            ),
            Event::Archived { delta, table } => format!(
                "Successfully archived delta table to backup topic {topic}: delta {delta}, table \
                 {table}"
            ),
            Event::TopicDeleted { topic } => format!("Topic {topic} successfully deleted"),
            Event::Warning { text } => {
                tracing::warn!("{text}");
                return None;
            }
            _ => return None,
        })
    }
}
