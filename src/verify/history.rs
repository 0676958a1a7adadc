//! All increments of a datamart together: whether every delta is there, and whether they are of
//! one history. Never looks into an increment.

use std::collections::{BTreeMap, BTreeSet};

use super::increment::{Increment, Writer};
use super::numbers::ranges;
use super::{Kind, Place, Verifier};
use crate::model::{Datamart, DeltaNum, IncrementId, Offset, Partition};

/// What is wrong, at a place of the history.
type Wrong = Vec<(Kind, Place, String)>;
/// First and last offset by partition.
type Spans = BTreeMap<Partition, (Offset, Offset)>;

impl Verifier {
    /// Judges the histories of all datamarts that were asked for.
    pub(super) fn judge_history(&mut self) {
        let datamarts: BTreeSet<Datamart> =
            self.increments.iter().map(|increment| increment.datamart.clone()).collect();
        let mut wrong = Wrong::new();
        if let Some(asked) = self.asked.datamart.as_ref().filter(|asked| !datamarts.contains(asked))
        {
            let place = Place { datamart: Some(asked.clone()), ..Place::default() };
            wrong.push((Kind::Missing, place, "nothing of the datamart is there".to_owned()));
        } else if datamarts.is_empty() {
            let text = "the topic holds no increment".to_owned();
            wrong.push((Kind::Missing, Place::default(), text));
        }
        for datamart in &datamarts {
            let of = OfDatamart::new(&self.increments, datamart);
            of.judge_gaps(self.asked.delta_from, &mut wrong);
            of.judge_dates(&mut wrong);
            of.judge_chain(&mut wrong);
            self.judge_logs(&of, &mut wrong);
        }
        self.judge_sequence(&mut wrong);
        for (kind, place, text) in wrong {
            self.findings.add(kind, place, text);
        }
    }

    /// The changelogs of whole increments repeat one another.
    fn judge_logs(&self, of: &OfDatamart<'_>, wrong: &mut Wrong) {
        let Some(records) = self.records.get(of.datamart) else { return };
        let own = of.increments().filter(|i| i.is_whole && i.writer == Writer::Own);
        let own: Vec<_> = own.collect();
        for pair in own.windows(2) {
            if let Some(number) = records.difference(&pair[0].log, &pair[1].log) {
                let delta = pair[0].delta;
                let text = format!("record {number} of its changelog is not that of delta {delta}");
                wrong.push((Kind::History, pair[1].place(), text));
            }
        }
    }

    /// A run writes its deltas one after the other: those of one increment id rise.
    fn judge_sequence(&self, wrong: &mut Wrong) {
        let mut by_id: BTreeMap<(&Datamart, &IncrementId), BTreeMap<DeltaNum, usize>> =
            BTreeMap::new();
        for (number, increment) in self.increments.iter().enumerate() {
            if increment.writer == Writer::Own {
                let deltas = by_id.entry((&increment.datamart, &increment.id)).or_default();
                deltas.insert(increment.delta, number);
            }
        }
        for deltas in by_id.into_values() {
            let mut before = Spans::new();
            for (delta, number) in deltas {
                for (partition, (first, last)) in self.spans(number) {
                    if before.get(&partition).is_some_and(|(_, end)| *end > first) {
                        let place = Place {
                            partition: Some(partition),
                            offset: Some(first),
                            ..self.increments[number].place()
                        };
                        let text = format!("delta {delta} lies before the end of an earlier one");
                        wrong.push((Kind::Order, place, text));
                    }
                    let span = before.entry(partition).or_insert((first, last));
                    span.1 = Offset(span.1.0.max(last.0));
                }
            }
        }
    }

    fn spans(&self, number: usize) -> Spans {
        let mut spans = Spans::new();
        for stream in self.streams_of(number) {
            let span = spans.entry(stream.partition).or_insert((stream.first, stream.last));
            span.0 = Offset(span.0.0.min(stream.first.0));
            span.1 = Offset(span.1.0.max(stream.last.0));
        }
        spans
    }
}

/// The increments of one datamart by delta.
pub(super) struct OfDatamart<'a> {
    datamart: &'a Datamart,
    deltas: BTreeMap<DeltaNum, Vec<&'a Increment>>,
}

impl<'a> OfDatamart<'a> {
    /// Those of `datamart` among all.
    pub(super) fn new(all: &'a [Increment], datamart: &'a Datamart) -> Self {
        let mut deltas: BTreeMap<DeltaNum, Vec<&Increment>> = BTreeMap::new();
        for increment in all.iter().filter(|increment| increment.datamart == *datamart) {
            deltas.entry(increment.delta).or_default().push(increment);
        }
        Self { datamart, deltas }
    }

    /// All, by delta.
    pub(super) fn increments(&self) -> impl Iterator<Item = &'a Increment> {
        self.deltas.values().flatten().copied()
    }

    /// The whole increments of a delta.
    fn whole(&self, delta: DeltaNum) -> impl Iterator<Item = &'a Increment> {
        self.deltas.get(&delta).into_iter().flatten().copied().filter(|i| i.is_whole)
    }

    fn place(&self, delta: Option<DeltaNum>) -> Place {
        Place { datamart: Some(self.datamart.clone()), delta, ..Place::default() }
    }

    /// Every delta up to the newest one that the topic knows of has a whole increment.
    fn judge_gaps(&self, from: Option<DeltaNum>, wrong: &mut Wrong) {
        let mut next = from.map_or(0, |from| from.0);
        let mut gaps = Vec::new();
        for (delta, increments) in &self.deltas {
            if delta.0 > next {
                gaps.push((next, delta.0 - 1));
            }
            next = next.max(delta.0.saturating_add(1));
            let is_whole = increments.iter().any(|increment| increment.is_whole);
            if is_whole {
                wrong.extend(increments.iter().filter(|i| !i.has_ended()).map(|increment| {
                    let text = "left behind by a stopped run; the delta is whole elsewhere";
                    (Kind::Leftover, increment.place(), text.to_owned())
                }));
            } else if from.is_none_or(|from| *delta >= from) {
                let ended = increments.iter().any(|increment| increment.has_ended());
                let text = match ended {
                    true => "no increment of the delta is whole",
                    false => "no increment of the delta has an end",
                };
                wrong.push((Kind::Missing, self.place(Some(*delta)), text.to_owned()));
            }
        }
        for gap in gaps {
            let delta = (gap.0 == gap.1).then_some(DeltaNum(gap.0));
            let text = format!("nothing of the deltas {} is there", ranges(&[gap]));
            wrong.push((Kind::Missing, self.place(delta), text));
        }
    }

    /// Two increments of one delta that both came to their end are of the same date.
    fn judge_dates(&self, wrong: &mut Wrong) {
        for increments in self.deltas.values() {
            let ended: Vec<_> = increments.iter().filter(|i| i.has_ended()).collect();
            for other in ended.iter().skip(1).filter(|other| other.date != ended[0].date) {
                let (date, first) = (other.date, ended[0].date);
                let text = format!("the delta is of {date} here, and of {first} elsewhere");
                wrong.push((Kind::History, other.place(), text));
            }
        }
    }

    /// Each manifest names the delta before.
    fn judge_chain(&self, wrong: &mut Wrong) {
        for increment in self.increments().filter(|increment| increment.is_whole) {
            let Some(manifest) = &increment.manifest else { continue };
            let previous = manifest.previous_delta;
            if previous.map(|previous| previous.number) != increment.delta_before() {
                let text = "the manifest does not name the delta before".to_owned();
                wrong.push((Kind::History, increment.place(), text));
                continue;
            }
            let Some(previous) = previous else { continue };
            let other = self.whole(previous.number).find(|before| before.date != previous.date);
            if let Some(other) = other {
                let text = format!(
                    "written after delta {} of {}, but that one is of {}",
                    previous.number, previous.date, other.date
                );
                wrong.push((Kind::History, increment.place(), text));
            }
        }
    }
}
