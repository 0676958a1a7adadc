//! What `backup_to_kafka --dryRun` prints: the draft of a run and what it amounts to. Pure; never
//! asks anything.

use serde_json::{Value, json};

use crate::backup::{Changed, Draft, Estimate, Estimated};
use crate::model::DeltaNum;

/// Deltas with changes that the text tells one by one; JSON tells all.
const SHOWN: usize = 20;

/// For people.
pub fn text(topic: &str, draft: &Draft, estimate: &Estimate) -> String {
    let deltas: Vec<_> = draft.deltas.iter().map(|d| d.num).collect();
    let tables: Vec<_> = draft.tables.iter().map(|t| t.name.0.as_str()).collect();
    let mut lines = vec![
        format!("Deltas to back up into topic {topic}: [{}]", numbers(&deltas)),
        format!("Tables: [{}]", tables.join(", ")),
        format!("Changelog records: {}", draft.changes.0.len()),
    ];
    if !deltas.is_empty() {
        amount(estimate, &mut lines);
    }
    if !draft.incomplete.is_empty() {
        lines.push(format!("Incomplete in the topic: [{}]", numbers(&draft.incomplete)));
    }
    if !draft.missing.is_empty() {
        lines.push(format!("Missing in the topic: [{}]", numbers(&draft.missing)));
    }
    if draft.topic.is_none() {
        lines.push(format!("Topic {topic} does not exist and would be created"));
    }
    lines.push("Nothing was touched".to_owned());
    lines.join("\n")
}

fn numbers(deltas: &[DeltaNum]) -> String {
    deltas.iter().map(DeltaNum::to_string).collect::<Vec<_>>().join(", ")
}

fn amount(estimate: &Estimate, lines: &mut Vec<String>) {
    let Estimate { pairs, looked_at, unloads, uncounted, added, removed, messages, .. } = estimate;
    lines.push(format!("Pairs of delta and table: {pairs}"));
    if estimate.is_cut() {
        lines.push(format!(
            "The node was asked about the first {looked_at} of them only; what follows is theirs"
        ));
    }
    let filled: Vec<_> = estimate.deltas.iter().filter(|d| !d.unloads.is_empty()).collect();
    for delta in filled.iter().take(SHOWN) {
        let tables: Vec<_> = delta.unloads.iter().map(shown).collect();
        lines.push(format!("  delta {}: {}", delta.delta, tables.join(", ")));
    }
    if filled.len() > SHOWN {
        let more = filled.len() - SHOWN;
        lines.push(format!("  and {more} more deltas; --output json tells all"));
    }
    lines.push(format!("Unloads: {unloads}"));
    lines.push(format!("Rows: {added} added, {removed} removed"));
    if *uncounted > 0 {
        lines.push(format!("Not counted, because the node refused to: {uncounted} unloads"));
    }
    lines.push(format!("Messages: about {messages}"));
}

fn shown(changed: &Changed) -> String {
    match changed.rows {
        Some((added, removed)) => format!("{} (+{added} -{removed})", changed.table),
        None => format!("{} (not counted)", changed.table),
    }
}

/// For programs: docs/json.md, "Dry run".
pub fn json(topic: &str, datamart: &str, draft: &Draft, estimate: &Estimate) -> String {
    json!({
        "dryRun": true,
        "topic": topic,
        "topicExists": draft.topic.is_some(),
        "datamart": datamart,
        "deltas": draft.deltas.iter().map(|d| d.num.0).collect::<Vec<_>>(),
        "tables": draft.tables.iter().map(|t| t.name.0.as_str()).collect::<Vec<_>>(),
        "changes": draft.changes.0.len(),
        "incomplete": draft.incomplete.iter().map(|d| d.0).collect::<Vec<_>>(),
        "missing": draft.missing.iter().map(|d| d.0).collect::<Vec<_>>(),
        "estimate": {
            "pairs": estimate.pairs,
            "pairsAsked": estimate.looked_at,
            "cut": estimate.is_cut(),
            "unloads": estimate.unloads,
            "uncounted": estimate.uncounted,
            "rowsAdded": estimate.added,
            "rowsRemoved": estimate.removed,
            "messages": estimate.messages,
            "deltas": estimate.deltas.iter().map(delta).collect::<Vec<_>>(),
        },
    })
    .to_string()
}

fn delta(of: &Estimated) -> Value {
    let table = |changed: &Changed| {
        let rows = changed.rows.unzip();
        json!({ "table": changed.table.0, "rowsAdded": rows.0, "rowsRemoved": rows.1 })
    };
    json!({
        "delta": of.delta.0,
        "pairs": of.pairs,
        "pairsAsked": of.looked_at,
        "unloads": of.unloads.iter().map(table).collect::<Vec<_>>(),
    })
}
