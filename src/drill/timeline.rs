//! What took time, made from the events of a restore as they come. Pure: the time of each event
//! comes in as a value.

use std::collections::{BTreeMap, VecDeque};

use crate::journal::drill_record::{Doing, Span};
use crate::model::{DeltaNum, Moment, TableName};
use crate::restore::Event;

/// Open ends of what is under way.
#[derive(Clone, Debug)]
pub struct Timeline {
    /// When this execution began: what was begun before it is taken from here.
    since: Moment,
    begun: Option<(DeltaNum, Moment)>,
    /// Load topics that are full, by table; several where a table comes in parts.
    filled: BTreeMap<TableName, VecDeque<Moment>>,
}

impl Timeline {
    /// Nothing is under way.
    pub fn new(since: Moment) -> Self {
        Self { since, begun: None, filled: BTreeMap::new() }
    }

    /// Takes an event in; the span that it ends, if any.
    pub fn see(&mut self, event: &Event, now: Moment) -> Option<Span> {
        let span = |doing, delta: &DeltaNum, table: Option<&TableName>, from, rows| Span {
            doing,
            delta: *delta,
            table: table.cloned(),
            from,
            to: now,
            rows,
            bytes: 0,
        };
        match event {
            Event::Started { .. } => {
                *self = Self::new(now);
                None
            }
            Event::DeltaBegun { delta } => {
                self.begun = Some((*delta, now));
                self.filled.clear();
                None
            }
            Event::Filled { delta, table, rows } => {
                self.filled.entry(table.clone()).or_default().push_back(now);
                Some(span(Doing::Fill, delta, Some(table), self.begin_of(*delta), *rows))
            }
            Event::Loaded { delta, table, rows } => {
                let from = self.filled.get_mut(table).and_then(VecDeque::pop_front);
                let from = from.unwrap_or_else(|| self.begin_of(*delta));
                Some(span(Doing::Load, delta, Some(table), from, *rows))
            }
            Event::RolledBack { delta } => {
                let from = self.begin_of(*delta);
                self.begun = None;
                Some(span(Doing::RolledBack, delta, None, from, 0))
            }
            Event::DeltaRestored { delta } => {
                let from = self.begin_of(*delta);
                self.begun = None;
                // The next delta's changes are replayed from here on.
                self.since = now;
                Some(span(Doing::Delta, delta, None, from, 0))
            }
            Event::Range { .. } | Event::Replayed { .. } | Event::Warning { .. } => None,
        }
    }

    fn begin_of(&self, delta: DeltaNum) -> Moment {
        self.begun.filter(|(open, _)| *open == delta).map_or(self.since, |(_, from)| from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::RunId;

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

    fn of_table(name: &str, loaded: bool) -> Event {
        let (delta, table, rows) = (DELTA, TableName(name.into()), 5);
        match loaded {
            true => Event::Loaded { delta, table, rows },
            false => Event::Filled { delta, table, rows },
        }
    }

    #[test]
    fn a_delta_is_told_from_its_begin_to_its_commit_and_each_load_by_itself() {
        let table = |name: &str| Some(name.to_owned());
        let found = spans(&[
            (10, Event::DeltaBegun { delta: DELTA }),
            (12, of_table("a", false)),
            (15, of_table("b", false)),
            (20, of_table("b", true)),
            (21, of_table("a", true)),
            (30, Event::DeltaRestored { delta: DELTA }),
        ]);
        let wanted = [
            (Doing::Fill, table("a"), 10, 12),
            (Doing::Fill, table("b"), 10, 15),
            (Doing::Load, table("b"), 15, 20),
            (Doing::Load, table("a"), 12, 21),
            (Doing::Delta, None, 10, 30),
        ];
        assert_eq!(found, wanted);
    }

    #[test]
    fn what_a_killed_execution_began_is_told_from_the_start_of_the_next() {
        let run = RunId(uuid::Uuid::from_u128(1));
        let found = spans(&[
            (1, Event::DeltaBegun { delta: DELTA }),
            (50, Event::Started { run, resumed: true }),
            (60, of_table("a", true)),
            (70, Event::DeltaRestored { delta: DELTA }),
        ]);
        let wanted = [(Doing::Load, Some("a".into()), 50, 60), (Doing::Delta, None, 50, 70)];
        assert_eq!(found, wanted);
    }

    #[test]
    fn parts_of_a_table_are_told_one_by_one() {
        let found = spans(&[
            (0, Event::DeltaBegun { delta: DELTA }),
            (1, of_table("a", false)),
            (2, of_table("a", false)),
            (5, of_table("a", true)),
            (9, of_table("a", true)),
        ]);
        let loads: Vec<_> = found.iter().filter(|span| span.0 == Doing::Load).collect();
        assert_eq!(loads.iter().map(|span| (span.2, span.3)).collect::<Vec<_>>(), [(1, 5), (2, 9)]);
    }
}
