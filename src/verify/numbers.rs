//! Which numbers from 1 on were seen, as ranges: memory grows with the holes, not with the
//! numbers, and holes beyond a bound are only counted as such.

use std::collections::BTreeMap;

/// Ranges kept of one stream. Messages of another tool lie in any order, so that many are open
/// while several partitions are read.
const MOST: usize = 100_000;

/// Numbers seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Numbers {
    /// 1 to this, all of them.
    high: u64,
    /// Ranges beyond it: first and last.
    beyond: BTreeMap<u64, u64>,
    /// Too many ranges to tell what is missing.
    lost_count: bool,
}

/// What a number was to those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// The next one.
    Next,
    /// There are others missing before it.
    Early,
    /// It was missing, and larger ones were seen before it.
    Late,
    /// It was seen before.
    Again,
}

impl Numbers {
    /// Takes a number in.
    pub(super) fn insert(&mut self, number: u64) -> Turn {
        if number == self.high + 1 && self.beyond.is_empty() {
            self.high = number;
            return Turn::Next;
        }
        let before = self.beyond.range(..=number).next_back().map(|(first, last)| (*first, *last));
        if number <= self.high || before.is_some_and(|(_, last)| number <= last) {
            return Turn::Again;
        }
        let turn = if number > self.max() { self.turn_at_end(number) } else { Turn::Late };
        let first = match before {
            Some((first, last)) if last + 1 == number => first,
            _ => number,
        };
        let last = self.beyond.remove(&(number + 1)).unwrap_or(number);
        self.beyond.insert(first, last);
        if let Some(last) = self.beyond.remove(&(self.high + 1)) {
            self.high = last;
        }
        if self.beyond.len() > MOST {
            self.beyond.pop_first();
            self.lost_count = true;
        }
        turn
    }

    fn turn_at_end(&self, number: u64) -> Turn {
        if number == self.max() + 1 { Turn::Next } else { Turn::Early }
    }

    /// The largest one; 0 where there is none.
    pub(super) fn max(&self) -> u64 {
        self.beyond.last_key_value().map_or(self.high, |(_, last)| *last)
    }

    /// Whether there were too many holes to remember.
    pub(super) fn is_scattered(&self) -> bool {
        self.lost_count
    }

    /// The missing ones up to `last`, as ranges.
    pub(super) fn missing(&self, last: u64) -> Vec<(u64, u64)> {
        let mut next = self.high + 1;
        let mut missing = Vec::new();
        for (first, end) in &self.beyond {
            if next < *first && next <= last {
                missing.push((next, (first - 1).min(last)));
            }
            next = end + 1;
        }
        if next <= last {
            missing.push((next, last));
        }
        missing
    }
}

/// `3`, or `3 to 7`, joined.
pub(super) fn ranges(ranges: &[(u64, u64)]) -> String {
    let one = |(first, last): &(u64, u64)| match first == last {
        true => first.to_string(),
        false => format!("{first} to {last}"),
    };
    let mut texts: Vec<_> = ranges.iter().take(10).map(one).collect();
    if ranges.len() > texts.len() {
        texts.push(format!("{} more ranges", ranges.len() - texts.len()));
    }
    texts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(numbers: &[u64]) -> (Numbers, Vec<Turn>) {
        let mut seen = Numbers::default();
        let turns = numbers.iter().map(|number| seen.insert(*number)).collect();
        (seen, turns)
    }

    #[test]
    fn numbers_are_next_early_late_or_there_again() {
        use Turn::{Again, Early, Late, Next};
        let (seen, turns) = of(&[1, 2, 5, 4, 5, 3, 6, 2, 8, 7]);
        assert_eq!(turns, [Next, Next, Early, Late, Again, Late, Next, Again, Early, Late]);
        assert_eq!((seen.max(), seen.missing(8)), (8, vec![]));
        assert_eq!(seen, of(&[1, 2, 3, 4, 5, 6, 7, 8]).0);
        assert_eq!(of(&[0]).1, [Again], "there is no chunk 0");
    }

    #[test]
    fn what_is_missing_is_told_up_to_the_last_one() {
        let (seen, _) = of(&[2, 3, 6, 9]);
        assert_eq!(seen.missing(10), [(1, 1), (4, 5), (7, 8), (10, 10)]);
        assert_eq!(seen.missing(4), [(1, 1), (4, 4)]);
        assert_eq!(ranges(&seen.missing(10)), "1, 4 to 5, 7 to 8, 10");
        assert_eq!(Numbers::default().missing(2), [(1, 2)]);
    }
}
