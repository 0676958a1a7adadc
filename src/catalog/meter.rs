//! How much of a topic was read, in percent, for who waits. Pure.

use super::{Seen, TopicState};
use crate::model::Offset;

/// How far the reading is, by offsets.
pub struct Meter {
    at: Vec<Offset>,
    all: i64,
    done: i64,
    told: u8,
}

impl Meter {
    /// Of a topic that stands so, read from there.
    pub fn new(state: &TopicState, from: &[Offset]) -> Self {
        let left = |((_, high), from): (&(Offset, Offset), &Offset)| high.0 - from.0;
        let all = state.ranges.iter().zip(from).map(left).sum();
        Self { at: from.to_vec(), all, done: 0, told: 0 }
    }

    /// Passes a message; the percentage where it is another one than before.
    pub fn pass(&mut self, seen: &Seen<'_>) -> Option<u8> {
        let at = self.at.get_mut(seen.partition.0 as usize)?;
        self.done += seen.offset.0 + 1 - at.0;
        *at = Offset(seen.offset.0 + 1);
        let percent = (self.done.saturating_mul(100) / self.all.max(1)).clamp(0, 99) as u8;
        let told = std::mem::replace(&mut self.told, percent);
        (percent != told).then_some(percent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Partition;

    #[test]
    fn each_percent_is_told_once_and_offsets_without_messages_count() {
        let ranges = vec![(Offset(0), Offset(300)), (Offset(50), Offset(150))];
        let state = TopicState { ranges, settings: Default::default() };
        let mut meter = Meter::new(&state, &[Offset(100), Offset(50)]);
        let mut pass = |partition, offset| {
            let (key, body) = (&b""[..], &b""[..]);
            let (partition, offset) = (Partition(partition), Offset(offset));
            meter.pass(&Seen { partition, offset, key, body })
        };
        assert_eq!(pass(0, 100), None);
        assert_eq!(pass(0, 102), Some(1));
        assert_eq!(pass(0, 103), None);
        assert_eq!(pass(1, 149), Some(34));
        assert_eq!(pass(0, 299), Some(99), "the end is told when it is known to be read");
    }
}
