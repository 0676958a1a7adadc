//! What took time, made from the events of a restore as they come. Pure: the time of each event
//! comes in as a value.

use std::collections::BTreeMap;

use crate::journal::drill_record::{Doing, Span};
use crate::model::{DeltaNum, Moment, TableName};
use crate::restore::{Amount, Event};

/// Open ends of what is under way.
#[derive(Clone, Debug)]
pub struct Timeline {
    /// When this execution began: what was begun before it is taken from here.
    since: Moment,
    begun: Option<(DeltaNum, Moment)>,
    /// Loads that the node is at.
    loading: BTreeMap<(TableName, u8), Moment>,
}

impl Timeline {
    /// Nothing is under way.
    pub fn new(since: Moment) -> Self {
        Self { since, begun: None, loading: BTreeMap::new() }
    }

    /// Takes an event in; the span that it ends, if any.
    pub fn see(&mut self, event: &Event, now: Moment) -> Option<Span> {
        match event {
            Event::Started { .. } => {
                *self = Self::new(now);
                None
            }
            Event::DeltaBegun { delta } => {
                self.begun = Some((*delta, now));
                self.loading.clear();
                None
            }
            Event::Filled(amount) => {
                let from = self.begin_of(amount.delta);
                Some(of_load(Doing::Fill, amount, from, now))
            }
            Event::LoadBegun(amount) => {
                self.loading.insert((amount.table.clone(), amount.part), now);
                None
            }
            Event::Loaded(amount) => {
                let from = self.loading.remove(&(amount.table.clone(), amount.part));
                let from = from.unwrap_or_else(|| self.begin_of(amount.delta));
                Some(of_load(Doing::Load, amount, from, now))
            }
            Event::RolledBack { delta } => Some(self.end(Doing::RolledBack, *delta, now)),
            Event::DeltaRestored { delta, .. } => {
                let span = self.end(Doing::Delta, *delta, now);
                // The next delta's changes are replayed from here on.
                self.since = now;
                Some(span)
            }
            Event::TopicRead { .. }
            | Event::Range { .. }
            | Event::Replayed { .. }
            | Event::Loading { .. }
            | Event::Warning { .. } => None,
        }
    }

    fn end(&mut self, doing: Doing, delta: DeltaNum, to: Moment) -> Span {
        let from = self.begin_of(delta);
        self.begun = None;
        Span { doing, delta, table: None, from, to, rows: 0, bytes: 0 }
    }

    fn begin_of(&self, delta: DeltaNum) -> Moment {
        self.begun.filter(|(open, _)| *open == delta).map_or(self.since, |(_, from)| from)
    }
}

fn of_load(doing: Doing, amount: &Amount, from: Moment, to: Moment) -> Span {
    let Amount { delta, table, rows, bytes, .. } = amount.clone();
    Span { doing, delta, table: Some(table), from, to, rows, bytes }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::RestoreShape;
    use crate::model::{DeltaDate, RunId};

    const DELTA: DeltaNum = DeltaNum(3);

    fn spans(events: &[(i64, Event)]) -> Vec<(Doing, Option<String>, i64, i64)> {
        let mut line = Timeline::new(Moment(0));
        let mut spans = Vec::new();
        for (at, event) in events {
            let span = line.see(event, Moment(*at));
            spans.extend(span.map(|s| (s.doing, s.table.map(|t| t.0), s.from.0, s.to.0)));
        }
        spans
    }

    fn amount(name: &str, part: u8) -> Amount {
        Amount { delta: DELTA, table: TableName(name.into()), part, rows: 5, bytes: 50 }
    }

    fn begun() -> Event {
        Event::DeltaBegun { delta: DELTA }
    }

    fn restored() -> Event {
        Event::DeltaRestored { delta: DELTA, date: DeltaDate(1) }
    }

    #[test]
    fn a_delta_is_told_from_its_begin_to_its_commit_and_each_load_by_itself() {
        let table = |name: &str| Some(name.to_owned());
        let found = spans(&[
            (10, begun()),
            (12, Event::Filled(amount("a", 0))),
            (13, Event::LoadBegun(amount("a", 0))),
            (15, Event::Filled(amount("b", 0))),
            (16, Event::LoadBegun(amount("b", 0))),
            (20, Event::Loaded(amount("b", 0))),
            (21, Event::Loaded(amount("a", 0))),
            (30, restored()),
        ]);
        let wanted = [
            (Doing::Fill, table("a"), 10, 12),
            (Doing::Fill, table("b"), 10, 15),
            (Doing::Load, table("b"), 16, 20),
            (Doing::Load, table("a"), 13, 21),
            (Doing::Delta, None, 10, 30),
        ];
        assert_eq!(found, wanted);
    }

    #[test]
    fn what_a_killed_execution_began_is_told_from_the_start_of_the_next() {
        let run = RunId(uuid::Uuid::from_u128(1));
        let shape = RestoreShape {
            source: "db".into(),
            target: "scratch".into(),
            threads: 1,
            partitions: 1,
            message_limit: None,
            datasource: None,
            accept_differences: true,
        };
        let found = spans(&[
            (1, begun()),
            (2, Event::LoadBegun(amount("a", 0))),
            (50, Event::Started { run, resumed: true, shape }),
            (60, Event::Loaded(amount("a", 0))),
            (70, restored()),
        ]);
        let wanted = [(Doing::Load, Some("a".into()), 50, 60), (Doing::Delta, None, 50, 70)];
        assert_eq!(found, wanted);
    }

    #[test]
    fn parts_of_a_table_are_told_one_by_one() {
        let found = spans(&[
            (0, begun()),
            (1, Event::LoadBegun(amount("a", 1))),
            (5, Event::Loaded(amount("a", 1))),
            (6, Event::LoadBegun(amount("a", 2))),
            (9, Event::Loaded(amount("a", 2))),
        ]);
        assert_eq!(found.iter().map(|span| (span.2, span.3)).collect::<Vec<_>>(), [(1, 5), (6, 9)]);
    }
}
