//! `topic show`: what a backup topic holds, by its messages alone; no node is asked. Owns the
//! counting and the wording; writes nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::catalog::index::Catalog;
use crate::catalog::kafka::KafkaTopic;
use crate::catalog::{Seen, TopicReader, TopicState};
use crate::cli::args::Output;
use crate::cli::console::say;
use crate::cli::exit_code::{ExitCode, Failure};
use crate::cli::progress::date_text;
use crate::cli::topic_options::TopicSettings;
use crate::cli::wiring::{self, WiringError};
use crate::format;
use crate::model::{DeltaDate, DeltaNum, IncrementId, Offset};
use crate::verify::{Level, Verifier};

/// What was counted of an increment of a delta.
#[derive(Clone, Copy, Debug)]
struct Count {
    date: DeltaDate,
    messages: u64,
    bytes: u64,
}

/// What was seen of a datamart.
#[derive(Default)]
struct OfDatamart {
    catalog: Catalog,
    counts: BTreeMap<(DeltaNum, IncrementId), Count>,
}

/// What was seen of the topic.
#[derive(Default)]
struct Inventory {
    datamarts: BTreeMap<String, OfDatamart>,
    /// Messages that are none of a backup.
    strangers: u64,
    /// Holds them to what they promise.
    verifier: Verifier,
    /// What it found, by kind; where, is for `verify` to tell.
    found: BTreeMap<&'static str, u64>,
}

/// `topic show`
pub async fn show(output: Output, asked: TopicSettings) -> Result<(), Failure> {
    let brokers = wiring::named_brokers(&asked.brokers, &asked.properties)?;
    let admin: Arc<_> = wiring::admin(&brokers)?;
    let topic = KafkaTopic::new(brokers, admin, asked.topic.as_str());
    let state = topic.state().await.map_err(WiringError::Topic)?;
    let state = state.ok_or_else(|| Failure {
        code: ExitCode::Refused,
        message: format!("topic {} does not exist", asked.topic),
        next: "the same command again with another --topic".to_owned(),
    })?;
    let mut seen = Inventory::default();
    let from: Vec<_> = state.ranges.iter().map(|(low, _)| *low).collect();
    let scanned = topic.scan(&from, &mut |message| seen.take(message)).await;
    scanned.map_err(WiringError::Topic)?;
    seen.judge(&from);
    match output {
        Output::Json => say(&seen.json(&asked.topic, &state).to_string()),
        Output::Text => seen.lines(&asked.topic, &state).iter().for_each(|line| say(line)),
    }
    Ok(())
}

impl Inventory {
    fn judge(&mut self, lows: &[Offset]) {
        let report = std::mem::take(&mut self.verifier).finish(lows);
        let counts = report.findings.counts().iter();
        let told = counts.filter(|(kind, _)| kind.level() < Level::Note);
        self.found = told.map(|(kind, count)| (kind.name(), *count)).collect();
    }

    fn take(&mut self, message: Seen<'_>) {
        self.verifier.see(message);
        let Ok(key) = format::decode_key(message.key) else {
            self.strangers += 1;
            return;
        };
        let of = self.datamarts.entry(key.datamart.to_string()).or_default();
        of.catalog.see_at(&key, message.partition, message.offset);
        if key.table.is_none()
            && key.is_last
            && let Some(manifest) = format::read_label(message.body).ok().and_then(|l| l.manifest)
            && let Ok(manifest) = format::Manifest::parse(manifest)
        {
            let tables = manifest.tables.into_iter().map(|table| (table.name, table.chunks));
            of.catalog.expect(&key, tables.collect());
        }
        let count = of.counts.entry((key.delta, key.increment)).or_insert(Count {
            date: key.date,
            messages: 0,
            bytes: 0,
        });
        count.messages += 1;
        count.bytes += (message.key.len() + message.body.len()) as u64;
    }

    fn lines(&self, topic: &str, state: &TopicState) -> Vec<String> {
        let settings: Vec<_> = state.settings.iter().map(|(n, v)| format!("{n}={v}")).collect();
        let settings =
            if settings.is_empty() { "not told".to_owned() } else { settings.join(", ") };
        let partitions = state.ranges.len();
        let mut lines =
            vec![format!("Topic {topic}: {partitions} partitions; settings {settings}")];
        let forgets = state.finite_retention();
        let warn = |setting| format!("WARNING {setting}: the oldest increments will vanish");
        lines.extend(forgets.iter().map(warn));
        for (datamart, of) in &self.datamarts {
            let (complete, incomplete) = (of.catalog.complete(), of.catalog.incomplete());
            let range = match (complete.first_key_value(), complete.last_key_value()) {
                (Some((first, _)), Some((last, _))) => format!(" from {first} to {last}"),
                _ => String::new(),
            };
            let (whole, parts) = (complete.len(), incomplete.len());
            lines.push(format!("Datamart {datamart}: {whole} complete deltas{range}, {parts} not"));
            lines.extend(of.counts.iter().map(|((delta, increment), count)| {
                let word = if of.catalog.has(*delta, increment) { "complete" } else { "INCOMPLETE" };
                let Count { date, messages, bytes } = count;
                let date = date_text(*date).unwrap_or_else(|| date.to_string());
                let id = &increment.0;
                format!("  delta {delta} of {date}: {word}, increment {id}, {messages} messages, {bytes} bytes")
            }));
        }
        if self.strangers > 0 {
            lines.push(format!("{} messages are none of a backup", self.strangers));
        }
        if !self.found.is_empty() {
            let found: Vec<_> = self.found.iter().map(|(kind, n)| format!("{kind} {n}")).collect();
            lines.push(format!("Found: {}; deltakeep verify tells where", found.join(", ")));
        }
        lines
    }

    fn json(&self, topic: &str, state: &TopicState) -> Value {
        let datamarts: Vec<_> = self.datamarts.iter().map(|(name, of)| of.json(name)).collect();
        json!({
            "topic": topic,
            "partitions": state.ranges.len(),
            "settings": state.settings,
            "forgets": state.finite_retention(),
            "datamarts": datamarts,
            "strangers": self.strangers,
            "found": self.found,
        })
    }
}

impl OfDatamart {
    fn json(&self, name: &str) -> Value {
        let increment = |((delta, id), count): (&(DeltaNum, IncrementId), &Count)| {
            let places = self.catalog.places(*delta, id);
            let places = places.iter().map(|(partition, (first, last))| {
                json!({ "partition": partition.0, "first": first.0, "last": last.0 })
            });
            json!({
                "places": places.collect::<Vec<_>>(),
                "delta": delta.0,
                "date": date_text(count.date),
                "increment": id.0,
                "complete": self.catalog.has(*delta, id),
                "messages": count.messages,
                "bytes": count.bytes,
            })
        };
        let increments: Vec<_> = self.counts.iter().map(increment).collect();
        let complete: Vec<_> = self.catalog.complete().keys().map(|delta| delta.0).collect();
        let incomplete: Vec<_> = self.catalog.incomplete().iter().map(|delta| delta.0).collect();
        json!({
            "datamart": name,
            "complete": complete,
            "incomplete": incomplete,
            "increments": increments,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ChunkNumber, Datamart, MessageKey, Partition, StreamNumber, TableName};

    fn key(delta: u64, table: Option<&str>, chunk: u64) -> Vec<u8> {
        format::encode_key(&MessageKey {
            increment: IncrementId(format!("i{delta}")),
            datamart: Datamart::parse("shop").expect("a name"),
            delta: DeltaNum(delta),
            date: DeltaDate(1_767_261_601_000_000),
            table: table.map(|table| TableName(table.into())),
            stream: StreamNumber(1),
            stream_total: 1,
            chunk: ChunkNumber(chunk),
            is_last: true,
        })
    }

    #[test]
    fn a_topic_tells_what_it_holds_and_what_is_missing() {
        let keys = [
            key(0, Some("t"), 1),
            key(0, None, 1),
            key(1, Some("t"), 2),
            key(1, None, 1),
            b"stranger".to_vec(),
        ];
        let mut seen = Inventory::default();
        for key in &keys {
            let (partition, offset) = (Partition(0), Offset(0));
            seen.take(Seen { partition, offset, key, body: b"body" });
        }
        let settings = BTreeMap::from([("retention.ms".to_owned(), "-1".to_owned())]);
        let state = TopicState { ranges: vec![(Offset(0), Offset(5))], settings };
        seen.judge(&[Offset(0)]);
        let document = seen.json("keep", &state);
        let of = &document["datamarts"][0];
        assert_eq!((&document["partitions"], &document["strangers"]), (&1.into(), &1.into()));
        assert_eq!((&of["complete"], &of["incomplete"]), (&json!([0]), &json!([1])));
        assert_eq!(of["increments"][0]["messages"], 2, "{document}");
        assert_eq!(of["increments"][0]["date"], "2026-01-01T10:00:01Z", "{document}");
        let lines = seen.lines("keep", &state).join("\n");
        assert!(lines.contains("settings retention.ms=-1"), "{lines}");
        assert!(lines.contains("Datamart shop: 1 complete deltas from 0 to 0, 1 not"), "{lines}");
        assert!(lines.contains("INCOMPLETE, increment i1, 2 messages"), "{lines}");
        assert!(lines.contains("Found: body 4, foreign 1, lost "), "{lines}");
        assert_eq!(document["found"]["foreign"], 1, "{document}");
        assert!(!lines.contains("WARNING"), "{lines}");
        let settings = BTreeMap::from([("retention.ms".to_owned(), "5".to_owned())]);
        let state = TopicState { settings, ..state };
        assert!(
            seen.lines("keep", &state).join("\n").contains("WARNING retention.ms=5: the oldest")
        );
        assert_eq!(seen.json("keep", &state)["forgets"], json!(["retention.ms=5"]));
    }
}
