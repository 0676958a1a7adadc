//! The matrix: {lost, doubled, swapped, cut, flipped, foreign} done to every message of what the
//! engine wrote, so to keys, data, changelog, manifest and last chunks alike. Never a silent
//! success.

use deltakeep::model::DeltaNum;
use deltakeep::verify::{Kind, Report};

use crate::topic::{At, Message, Topic, kinds};

fn is_told(report: &Report, kind: Kind) -> bool {
    report.findings.counts().contains_key(&kind)
}

/// Asserts that a damage is found, and that some finding names the place it was done to.
fn check_found(damaged: &Topic, what: &str, (partition, offset): At) {
    let report = damaged.verify();
    assert!(!report.is_good(), "{what} at {partition}/{offset} is a silent success");
    let named = report.findings.list().any(|finding| {
        let place = &finding.place;
        place.partition.is_some_and(|p| p.0 as usize == partition)
            && place.offset.is_some_and(|o| o.0 as usize == offset)
    });
    assert!(named, "{what} at {partition}/{offset} is not named: {report:#?}");
}

#[test]
fn what_the_engine_wrote_is_sound() {
    for partitions in [1, 3] {
        let topic = Topic::of_engine(partitions);
        let report = topic.verify();
        assert_eq!(kinds(&report), [], "{report:#?}");
        let of = &report.datamarts[0];
        assert_eq!(of.whole.len(), topic.shown().0.len());
        assert_eq!(of.newest().map(|(delta, _)| delta.0), topic.shown().0.last().copied());
        assert_eq!(report.messages as usize, topic.places().len());
        assert!(of.rows > 0 && of.broken.is_empty());
    }
}

#[test]
fn every_lost_message_is_found() {
    for partitions in [1, 3] {
        let topic = Topic::of_engine(partitions);
        for at in topic.places() {
            let key = topic.at(at).says();
            let mut damaged = topic.clone();
            damaged.0[at.0].remove(at.1);
            let report = damaged.verify();
            assert!(!report.is_good(), "the loss of {key:?} is a silent success");
            let names = |table: bool| {
                report.findings.list().any(|found| {
                    found.place.delta == Some(key.delta)
                        && (!table || found.place.table == key.table)
                })
            };
            assert!(names(key.table.is_some()), "{key:?} is not named: {report:#?}");
            assert!(report.datamarts.iter().all(|of| !of.whole.contains_key(&key.delta)));
            assert!(!damaged.shown().0.contains(&key.delta.0), "topic show: {key:?}");
        }
    }
}

#[test]
fn only_the_loss_of_everything_of_the_newest_deltas_needs_a_node_to_be_seen() {
    let topic = Topic::of_engine(1);
    let newest = *topic.shown().0.last().unwrap();
    let report = topic.deltas(|delta| delta != newest).verify();
    assert!(report.is_good(), "{report:#?}");
    assert_eq!(report.datamarts[0].newest().map(|(delta, _)| delta), Some(DeltaNum(newest - 1)));
    let first = topic.deltas(|delta| delta > 0).verify();
    assert_eq!(kinds(&first), [Kind::Missing], "{first:#?}");
    assert!(is_told(&topic.deltas(|_| false).verify(), Kind::Missing), "an empty topic");
}

#[test]
fn a_doubled_message_is_told_and_is_no_damage() {
    for partitions in [1, 3] {
        let topic = Topic::of_engine(partitions);
        for at in topic.places() {
            // At once, and as the last message of its partition.
            for place in [at.1 + 1, topic.0[at.0].len()] {
                let mut doubled = topic.clone();
                doubled.0[at.0].insert(place, topic.at(at).clone());
                let report = doubled.verify();
                let copies = report.findings.list().filter(|f| f.kind == Kind::Copy);
                let places: Vec<_> = copies.map(|f| f.place.offset.unwrap().0 as usize).collect();
                assert_eq!(places, [place], "{:?}", topic.at(at).says());
                assert_eq!(kinds(&report), [Kind::Copy], "{report:#?}");
            }
        }
    }
}

#[test]
fn two_messages_that_change_places_are_found_where_their_order_means_anything() {
    let topic = Topic::of_engine(1);
    let mut free = 0;
    for at in topic.places().into_iter().filter(|at| at.1 > 0) {
        let (one, other) = (topic.at((at.0, at.1 - 1)).says(), topic.at(at).says());
        let mut swapped = topic.clone();
        swapped.0[at.0].swap(at.1 - 1, at.1);
        // Streams are independent of one another: each still has its own order.
        let is_free = one.delta == other.delta
            && one.table.is_some()
            && other.table.is_some()
            && (&one.table, one.stream) != (&other.table, other.stream);
        let report = swapped.verify();
        assert_eq!(report.is_good(), is_free, "{one:?} and {other:?}: {report:#?}");
        assert_eq!(is_told(&report, Kind::Order), !is_free);
        free += usize::from(is_free);
    }
    assert!(free > 0 && free < topic.places().len() / 2, "{free}");
}

#[test]
fn parts_in_another_order_or_of_other_numbers_than_promised_are_found() {
    for partitions in [1, 3] {
        let topic = Topic::of_engine(partitions);
        let parts = topic.parts();
        assert_eq!(topic.in_parts(), "12233");
        // Only the order is wrong: there are as many chunks of each as the manifest promises.
        for [one, other] in [[0, 1], [2, 3], [0, 4]] {
            let mut swapped = topic.clone();
            swapped.say_part(parts[one].0, parts[other].1);
            swapped.say_part(parts[other].0, parts[one].1);
            assert_eq!(kinds(&swapped.verify()), [Kind::Order, Kind::Missing], "{one} and {other}");
        }
        // Only the numbers are: 1, 1, 2, 3, 3 and the like are in order.
        for (at, part) in [(0, '2'), (1, '1'), (2, '3'), (3, '2')] {
            let mut other = topic.clone();
            other.say_part(parts[at].0, part);
            assert_eq!(kinds(&other.verify()), [Kind::Differs, Kind::Missing], "{at} says {part}");
        }
    }
}

#[test]
fn bodies_and_keys_that_change_places_are_found() {
    let topic = Topic::of_engine(3);
    let places = topic.places();
    for pair in places.windows(2) {
        let mut swapped = topic.clone();
        let (one, other) = (topic.at(pair[0]).body.clone(), topic.at(pair[1]).body.clone());
        swapped.at_mut(pair[0]).body = other;
        swapped.at_mut(pair[1]).body = one;
        check_found(&swapped, "another message's body", pair[0]);
        check_found(&swapped, "another message's body", pair[1]);
    }
}

#[test]
fn cut_keys_and_bodies_are_found() {
    let topic = Topic::of_engine(1).deltas(|delta| delta == 0);
    for at in topic.places() {
        let Message { key, body } = topic.at(at).clone();
        for length in [0, 1, 4, key.len() / 2, key.len() - 17, key.len() - 16, key.len() - 1] {
            let mut cut = topic.clone();
            cut.at_mut(at).key.truncate(length);
            check_found(&cut, "a cut key", at);
            assert_ne!(cut.shown(), (vec![0], 0), "topic show: a cut key");
        }
        for length in [0, 1, 4, body.len() / 2, body.len() - 17, body.len() - 16, body.len() - 1] {
            let mut cut = topic.clone();
            cut.at_mut(at).body.truncate(length);
            check_found(&cut, "a cut body", at);
        }
    }
}

#[test]
fn every_flipped_bit_of_an_increment_is_found() {
    let topic = Topic::of_engine(1).deltas(|delta| delta == 0);
    assert!(topic.verify().is_good());
    let mut flips = 0;
    for at in topic.places() {
        let (key, body) = (topic.at(at).key.len(), topic.at(at).body.len());
        for place in 0..key + body {
            let mut flipped = topic.clone();
            let message = flipped.at_mut(at);
            // Each byte, another bit each time: over the whole increment all bits come up.
            let bit = 1 << ((place + at.1) % 8);
            match place.checked_sub(key) {
                None => message.key[place] ^= bit,
                Some(place) => message.body[place] ^= bit,
            }
            check_found(&flipped, &format!("a bit flipped at byte {place}"), at);
            flips += 1;
        }
    }
    assert!(flips > 8_000, "{flips}");
}
