//! Increments that do not fit together.

use deltakeep::model::{DeltaDate, DeltaNum, IncrementId, MessageKey};
use deltakeep::verify::{Asked, Kind};

use crate::topic::{Topic, kinds};

#[test]
fn a_topic_that_is_there_twice_is_all_copies() {
    let topic = Topic::of_engine(1);
    let mut twice = topic.clone();
    twice.0[0].extend(topic.0[0].clone());
    let report = twice.verify();
    let copies = report.findings.counts()[&Kind::Copy];
    assert_eq!(copies as usize, topic.places().len());
    assert_eq!(kinds(&report), [Kind::Copy]);
}

#[test]
fn a_backup_that_begins_later_is_whole_where_that_was_meant() {
    let topic = Topic::of_engine(1).deltas(|delta| delta > 0);
    let from = |delta| Asked { delta_from: Some(DeltaNum(delta)), ..Asked::default() };
    assert_eq!(kinds(&topic.verify()), [Kind::Missing]);
    assert_eq!(kinds(&topic.verify_as(from(0))), [Kind::Missing]);
    assert_eq!(kinds(&topic.verify_as(from(1))), []);
}

#[test]
fn what_a_stopped_run_left_is_no_damage_where_the_delta_is_whole() {
    let topic = Topic::of_engine(1);
    let end = topic.manifest_of(0);
    let mut left = topic.deltas(|delta| delta == 0);
    left.0[0].truncate(end.1);
    assert_eq!(kinds(&left.verify()), [Kind::Missing]);
    // The same messages under another id, before the whole ones.
    let stale = Topic::of_another_run(&left);
    let mut both = topic.clone();
    both.0[0].splice(0..0, stale.0.into_iter().flatten());
    let report = both.verify();
    assert_eq!(kinds(&report), [], "{report:#?}");
    assert_eq!(report.findings.counts()[&Kind::Leftover], 1);
}

#[test]
fn another_date_of_the_delta_before_is_found() {
    let topic = Topic::of_engine(1);
    let changed = topic.rekeyed(|key| match key.delta {
        DeltaNum(0) => MessageKey { date: DeltaDate(key.date.0 - 1), ..key },
        _ => key,
    });
    assert_eq!(kinds(&changed.verify()), [Kind::History]);
}

#[test]
fn two_dates_of_one_delta_are_found() {
    let topic = Topic::of_engine(1);
    let id = IncrementId("b2b3c8e2-0000-4000-8000-000000000001".into());
    let other = topic.rekeyed(|key| MessageKey {
        date: DeltaDate(key.date.0 - 1),
        increment: id.clone(),
        ..key
    });
    let mut both = topic.clone();
    both.0[0].extend(other.0.into_iter().flatten());
    assert!(kinds(&both.verify()).contains(&Kind::History));
}
