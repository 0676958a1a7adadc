//! Reading the backup topic and fixing what is taken from it (D8 "Freeze"). A resume reads the
//! same messages and requires that the increments it began with are still whole. Never touches
//! the target.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::catalog::{Cursor, Meter, RangeReader, Seen, TopicReader};
use crate::format::{self, ChangeRecord};
use crate::model::{Datamart, DeltaNum, Offset};

use super::choose::{Choice, choose};
use super::contents::{Contents, Increment, LogSum, Numbers, read_changelog};
use super::context::{Context, World};
use super::fault::{Disagreement, Fault, Refusal, Wanting};
use super::replay::{LogView, Rewrite, Script, counts};
use super::watch::Event;

/// What a restore takes from the topic.
pub struct Frozen {
    /// What the topic holds.
    pub contents: Contents,
    /// By partition: nothing at or above is read.
    pub ends: Vec<Offset>,
    /// The increment of each delta.
    pub choices: Vec<Choice>,
    /// The source's changelog, as far as the choices know it.
    pub source: Vec<ChangeRecord>,
    /// Changes after the last delta belong to the result: it is the topic's newest.
    pub trailing: bool,
}

impl Frozen {
    /// The increment that stands for a delta.
    ///
    /// # Errors
    /// [`Fault::Unexpected`]: only deltas that were chosen are asked for.
    pub fn increment(&self, delta: DeltaNum) -> Result<(&Choice, &Increment), Fault> {
        let choice = self.choices.iter().find(|choice| choice.delta == delta);
        let found = choice.and_then(|choice| {
            self.contents.get(delta, &choice.increment).map(|increment| (choice, increment))
        });
        found.ok_or_else(|| Fault::Unexpected(format!("delta {delta} was never chosen")))
    }

    /// The statements for the target, without those to be skipped.
    ///
    /// # Errors
    /// [`Refusal::Ambiguous`].
    pub fn script<W: World>(&self, run: &Context<W>) -> Result<Script, Fault> {
        let shape = run.shape();
        let rewrite =
            Rewrite { from: shape.source, to: shape.target, datasource: shape.datasource };
        let mut skipped = run.settings.skip.clone();
        run.ledger.look(|state| skipped.extend(&state.skipped));
        Ok(Script::new(&self.source, &rewrite, skipped).map_err(Refusal::from)?)
    }

    /// How many changes run before each delta; `known` are those the target has before the first.
    ///
    /// # Errors
    /// [`Wanting::Order`].
    pub fn counts(&self, known: u64) -> Result<Vec<u64>, Fault> {
        let mut views = Vec::with_capacity(self.choices.len());
        for choice in &self.choices {
            let (_, increment) = self.increment(choice.delta)?;
            let filled = increment.tables().filter(|(_, view)| view.all_rows() > 0);
            views.push(LogView {
                delta: choice.delta,
                count: increment.log.count,
                replay_before: increment.replay_before,
                tables: filled.map(|(name, _)| name.clone()).collect::<BTreeSet<_>>(),
            });
        }
        Ok(counts(&views, &self.source, known).map_err(Wanting::from)?)
    }
}

/// Reads the topic, once in an execution. A run that has planned gets what it planned with; another
/// one chooses.
///
/// # Errors
/// [`Fault::Wanting`], [`Refusal::NoTopic`], [`Disagreement::IncrementGone`], those of the brokers.
pub async fn freeze<W: World>(run: &Context<W>) -> Result<Arc<Frozen>, Fault> {
    if let Some(frozen) = run.frozen.get() {
        return Ok(Arc::clone(frozen));
    }
    let frozen = Arc::new(read(run).await?);
    Ok(Arc::clone(run.frozen.get_or_init(|| frozen)))
}

async fn read<W: World>(run: &Context<W>) -> Result<Frozen, Fault> {
    let planned = run.ledger.look(|state| state.planned.clone());
    let topic = run.world.topic();
    let Some(state) = topic.state().await? else {
        return Err(Refusal::NoTopic { topic: run.settings.topic.clone() }.into());
    };
    let datamart = Datamart::parse(&run.shape().source);
    let datamart = datamart.map_err(|error| Fault::Unexpected(error.to_string()))?;
    let mut contents = Contents::new(datamart);
    let from: Vec<Offset> = state.ranges.iter().map(|(low, _)| *low).collect();
    let frozen_at = planned.as_ref().map(|planned| planned.ends.clone());
    let mut meter = Meter::new(&state, &from);
    let mut see = |seen: Seen<'_>| {
        if let Some(percent) = meter.pass(&seen) {
            run.tell(Event::TopicRead { percent });
        }
        let end = frozen_at.as_ref().and_then(|ends| ends.get(seen.partition.0 as usize));
        if end.is_none_or(|end| seen.offset < *end) {
            contents.see(seen);
        }
    };
    let ends = topic.scan(&from, &mut see).await?;
    run.tell(Event::TopicRead { percent: 100 });
    let ends = frozen_at.unwrap_or(ends);
    let (choices, trailing) = match planned {
        None => {
            let choices = choose(&contents, &run.settings.wanted)
                .map_err(|choice| Wanting::Choice { choice, damage: contents.damage() })?;
            let last = choices.last().map(|choice| choice.delta);
            (choices, last == contents.newest())
        }
        Some(planned) => {
            let still = |chosen: &super::state::Chosen| {
                let (delta, increment) = (chosen.delta, chosen.increment.clone());
                match contents.get(delta, &increment).filter(|found| found.is_complete()) {
                    Some(found) => Ok(Choice { delta, date: found.date, increment }),
                    None => Err(Disagreement::IncrementGone { delta, increment }),
                }
            };
            let choices = planned.deltas.iter().map(still).collect::<Result<_, _>>()?;
            (choices, planned.trailing)
        }
    };
    let mut frozen = Frozen { contents, ends, choices, source: Vec::new(), trailing };
    frozen.source = source_log(run, &frozen).await?;
    Ok(frozen)
}

/// The longest changelog of the chosen increments, with which all others must agree.
async fn source_log<W: World>(
    run: &Context<W>,
    frozen: &Frozen,
) -> Result<Vec<ChangeRecord>, Fault> {
    let mut longest: Option<(&Choice, &Increment)> = None;
    for choice in &frozen.choices {
        let (choice, increment) = frozen.increment(choice.delta)?;
        if longest.is_none_or(|(_, known)| known.log.count <= increment.log.count) {
            longest = Some((choice, increment));
        }
    }
    let Some((choice, increment)) = longest else { return Ok(Vec::new()) };
    let records = read_log(run, choice, increment).await?;
    let wrong = |delta| Err(Wanting::Changelog { delta }.into());
    if !(0..).zip(&records).all(|(num, record)| record.num == num) {
        return wrong(choice.delta);
    }
    let mut sums = BTreeMap::new();
    let mut sum = LogSum::default();
    sums.insert(0, sum);
    for record in &records {
        sum.add(record);
        sums.insert(sum.count, sum);
    }
    for choice in &frozen.choices {
        let (_, increment) = frozen.increment(choice.delta)?;
        let before = increment.replay_before.unwrap_or(0);
        if sums.get(&increment.log.count) != Some(&increment.log) || before > increment.log.count {
            return wrong(choice.delta);
        }
    }
    Ok(records)
}

async fn read_log<W: World>(
    run: &Context<W>,
    choice: &Choice,
    increment: &Increment,
) -> Result<Vec<ChangeRecord>, Fault> {
    let places = increment.changelog().map(|view| view.places.clone()).unwrap_or_default();
    let mut cursor = run.world.topic().open(&places).await?;
    let (mut records, mut chunks) = (Vec::new(), Numbers::default());
    while let Some(stored) = cursor.next().await? {
        let Ok(key) = format::decode_key(&stored.key) else { continue };
        let is_of = key.table.is_none()
            && key.delta == choice.delta
            && key.increment == choice.increment
            && key.datamart.as_str() == run.shape().source;
        if !is_of || !chunks.insert(key.chunk.0) {
            continue;
        }
        let (partition, offset) = (stored.partition, stored.offset);
        let seen = Seen { partition, offset, key: &stored.key, body: &stored.body };
        // It was read at the freeze: what cannot be read now counts as missing below.
        records.extend(read_changelog(&seen).map(|found| found.records).unwrap_or_default());
    }
    records.sort_by_key(|record| record.num);
    Ok(records)
}
