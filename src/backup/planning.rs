//! Fixing what a run does: the range, the tables, the changelog; and checking on a resume that
//! what was fixed still holds (DESIGN D4.3, D4.4, D3). Never changes anything but the journal and,
//! once there is work, creates the backup topic.

use crate::catalog::{TopicReader, TopicState};
use crate::extract::{Node, SourceError, Tables};
use crate::journal::Fact;
use crate::model::{ChangeLog, Datasource, Delta, DeltaNum, Offset, Table};
use crate::plan::{self, Asked};

use super::context::{Context, World};
use super::fault::{Disagreement, Fault, Refusal};
use super::reading::Reading;
use super::state::Planned;
use super::watch::Event;

/// What a run would do, before anything is touched: printed by `--dryRun`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// Deltas to export; empty where nothing newer is closed.
    pub deltas: Vec<Delta>,
    /// Newest closed delta of the datamart.
    pub newest: Option<DeltaNum>,
    /// Tables.
    pub tables: Vec<Table>,
    /// Views that the log does not create.
    pub older_views: Vec<String>,
    /// Entities of an unknown type.
    pub unknown: Vec<String>,
    /// The changelog.
    pub changes: ChangeLog,
    /// Deltas of which the topic holds only parts.
    pub incomplete: Vec<DeltaNum>,
    /// Deltas below the newest complete one of which the topic holds nothing.
    pub missing: Vec<DeltaNum>,
    /// The topic's state, where it exists.
    pub topic: Option<TopicState>,
    /// The node's version.
    pub node: String,
}

/// Works out what a run would do.
///
/// # Errors
/// [`Fault::Refused`] with the reason, or those of the node and the brokers.
pub async fn draft<W: World>(run: &Context<W>, reading: &mut Reading) -> Result<Draft, Fault> {
    let node = run.world.node();
    super::own::refuse_unfinished(node).await?;
    let changes = node.changes().await?;
    let newest = newest_closed(node).await?;
    let Tables { tables, views, unknown } = node.tables().await?;
    let older = plan::views_older_than_log(&views, &changes);
    let older_views = older.into_iter().map(str::to_owned).collect();
    let shape = run.shape();
    if let Some(asked) = shape.datasource.filter(|_| !shape.datasource_fallback) {
        plan::check_datasource(&Datasource(asked), &tables).map_err(Refusal::from)?;
    }
    let topic = run.world.topic().state().await?;
    if let Some(state) = &topic {
        refuse_compaction(&run.settings.topic, state)?;
        reading.read_on(run, state).await?;
    }
    let catalog = reading.catalog(&run.settings.datamart);
    let complete = catalog.complete();
    for end in [complete.first_key_value(), complete.last_key_value()].into_iter().flatten() {
        let known = node.delta(*end.0).await?.map(|d| d.date);
        if newest.is_some_and(|newest| *end.0 <= newest.num) {
            plan::check_history(*end.0, *end.1, known).map_err(Refusal::from)?;
        }
    }
    let asked = match shape.asked {
        Some((first, further)) => Asked::From { first, further },
        None if shape.fill_gaps => Asked::NewAndGaps,
        None => Asked::New,
    };
    let complete = complete.into_keys().collect();
    let newest = newest.map(|delta| delta.num);
    let range = plan::delta_range(newest, &complete, asked).map_err(Refusal::from)?;
    let deltas = deltas_of(node, range).await?;
    let incomplete = catalog.incomplete();
    let mut missing = plan::gaps(&complete);
    missing.retain(|delta| !incomplete.contains(delta));
    let node = node.version().await?;
    Ok(Draft {
        deltas,
        newest,
        tables,
        older_views,
        unknown,
        changes,
        incomplete,
        missing,
        topic,
        node,
    })
}

/// GET_DELTA_OK can be stale behind a balancer; GET_DELTA_BY_NUM is not (PROSTORE.md section 3).
async fn newest_closed(node: &impl Node) -> Result<Option<Delta>, Fault> {
    let mut newest = node.last_delta().await?;
    while let Some(next) = node.delta(DeltaNum(newest.map_or(0, |d| d.num.0 + 1))).await? {
        newest = Some(next);
    }
    Ok(newest)
}

async fn deltas_of(node: &impl Node, range: Vec<DeltaNum>) -> Result<Vec<Delta>, Fault> {
    let mut deltas = Vec::new();
    for num in range {
        // A delta below the newest closed one exists: numbers have no gaps. A node that denies it
        // is not up to date, and a backup without it would never be missed.
        let known = node.delta(num).await?;
        deltas.push(known.ok_or_else(|| SourceError::Unreadable {
            statement: format!("GET_DELTA_BY_NUM({num})"),
            reason: "no such delta, although a later one is closed".to_owned(),
        })?);
    }
    Ok(deltas)
}

fn refuse_compaction(topic: &str, state: &TopicState) -> Result<(), Refusal> {
    match state.settings.get("cleanup.policy") {
        Some(policy) if policy.contains("compact") => {
            Err(Refusal::Compacted { topic: topic.to_owned(), policy: policy.clone() })
        }
        _ => Ok(()),
    }
}

/// Fixes the draft in the journal, the topic created where it was not.
///
/// # Errors
/// Those of the brokers and the journal.
pub async fn fix<W: World>(run: &Context<W>, draft: &Draft) -> Result<(), Fault> {
    let state = match &draft.topic {
        Some(_) => run.world.topic().state().await?,
        None => None,
    };
    let state = match state {
        Some(state) => state,
        None => run.world.topic().create(run.shape().partitions).await?,
    };
    refuse_compaction(&run.settings.topic, &state)?;
    warn(run, draft, &state);
    // A resume that has to plan again has lost its journal's tail: anything in the topic may be of
    // this run then.
    let ends = state.ranges.iter().map(|(low, high)| if run.resumed { *low } else { *high });
    let ends: Vec<Offset> = ends.collect();
    let count = draft.changes.0.len();
    let mut facts: Vec<Fact> = draft.tables.iter().cloned().map(Fact::TablePlanned).collect();
    facts.extend(draft.tables.iter().map(|table| {
        let (table, columns) = (table.name.clone(), table.primary_key.clone());
        Fact::KeyPlanned { table, columns }
    }));
    facts.extend(draft.older_views.iter().cloned().map(|view| Fact::ViewPlanned { view }));
    facts.extend(draft.deltas.iter().copied().map(Fact::DeltaPlanned));
    facts.push(Fact::Planned {
        changes: count as u64,
        hash: draft.changes.hash(count).unwrap_or_default(),
        newest: draft.newest.unwrap_or(DeltaNum(0)),
        node: draft.node.clone(),
        partitions: ends.len() as u32,
    });
    run.ledger.note_plan(facts, ends)?;
    Ok(())
}

/// Tells what the operator should know of a plan: what is not backed up, what is broken in the
/// topic, what the topic will forget.
pub fn warn<W: World>(run: &Context<W>, draft: &Draft, topic: &TopicState) {
    let warn = |text: String| run.tell(Event::Warning { text });
    for entity in &draft.unknown {
        warn(format!("{entity} is of a type that this version does not know; it is not backed up"));
    }
    let mut older = plan::older_than_log(&draft.tables, &draft.changes);
    older.extend(draft.older_views.iter().map(String::as_str));
    if !older.is_empty() {
        warn(format!(
            "the changelog does not create {}: a restore cannot either; fill it with \
             POPULATE_CHANGELOG",
            older.join(", ")
        ));
    }
    let (mut incomplete, mut missing) = (draft.incomplete.clone(), draft.missing.clone());
    let stays = |delta: &DeltaNum| draft.deltas.iter().all(|planned| planned.num != *delta);
    incomplete.retain(stays);
    missing.retain(stays);
    let fill = "--fillGaps exports what is not complete";
    if !incomplete.is_empty() {
        let deltas = plan::shown(&incomplete);
        warn(format!("the topic holds only a part of these deltas: {deltas}; {fill}"));
    }
    if !missing.is_empty() {
        let deltas = plan::shown(&missing);
        warn(format!(
            "the topic lacks these deltas below its newest complete one: {deltas}; {fill}"
        ));
    }
    let finite = topic.finite_retention();
    for setting in finite.iter().filter(|_| !run.settings.accept_retention) {
        let topic = &run.settings.topic;
        warn(format!("topic {topic} has {setting}: its oldest increments will vanish"));
    }
    run.tell(Event::Retention { finite });
}

/// Tells the watchers of the plan.
pub fn announce<W: World>(run: &Context<W>, planned: &Planned) {
    let done = run.ledger.look(|state| state.done.len());
    run.tell(Event::Range { deltas: planned.deltas.iter().map(|d| d.num).collect(), done });
    run.tell(Event::Changes { records: planned.changes });
    run.tell(Event::Tables { tables: planned.tables.iter().map(|t| t.name.clone()).collect() });
}

/// Checks that the plan still holds, and returns its part of the changelog.
///
/// # Errors
/// [`Fault::Disagrees`] names what changed.
pub async fn verify<W: World>(run: &Context<W>, planned: &Planned) -> Result<ChangeLog, Fault> {
    let node = run.world.node();
    let mut log = node.changes().await?;
    if log.hash(planned.changes) != Some(planned.hash) {
        return Err(Disagreement::Changelog { count: planned.changes }.into());
    }
    let left = run.ledger.look(|s| s.done.len() < planned.deltas.len());
    let later = log.0.split_off(planned.changes);
    for change in later.iter().filter(|_| left) {
        let table = planned.tables.iter().find(|t| t.name.0 == change.entity);
        if let Some(table) = table.filter(|_| remakes_table(&change.query)) {
            let (table, query) = (table.name.clone(), change.query.clone());
            return Err(Disagreement::TableChanged { table, query }.into());
        }
    }
    for delta in [planned.deltas.first(), planned.deltas.last()].into_iter().flatten() {
        let known = node.delta(delta.num).await?.map(|d| d.date);
        plan::check_history(delta.num, delta.date, known).map_err(Disagreement::from)?;
    }
    Ok(log)
}

fn remakes_table(query: &str) -> bool {
    let words: Vec<String> =
        query.split_whitespace().take(2).map(str::to_ascii_uppercase).collect();
    matches!(
        words.iter().map(String::as_str).collect::<Vec<_>>()[..],
        ["DROP" | "CREATE" | "ALTER", "TABLE"]
    )
}
