//! How long is waited before the next attempt to connect: longer each time, and by chance, so that
//! many workers do not come back at once. Owns no clock.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// The first wait, at most.
const FIRST: Duration = Duration::from_millis(250);
/// No wait is longer.
const LONGEST: Duration = Duration::from_secs(15);
/// A connection that lasted so long was a good one.
const GOOD: Duration = Duration::from_secs(30);

/// Counts failures.
#[derive(Default)]
pub(super) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The wait after a failure; the connection before it lasted so long.
    pub(super) fn next(&mut self, lasted: Duration) -> Duration {
        if lasted >= GOOD {
            self.failures = 0;
        }
        let most = FIRST.saturating_mul(1 << self.failures.min(16)).min(LONGEST);
        self.failures += 1;
        // Keys of hash tables are the standard library's only source of chance.
        let chance = RandomState::new().hash_one(self.failures) % 1000;
        most / 2 + (most / 2).mul_f64(chance as f64 / 1000.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_by_chance_up_to_a_limit_and_begin_again_after_a_good_connection() {
        let mut backoff = Backoff::default();
        let mut most = FIRST;
        for _ in 0..100 {
            let wait = backoff.next(Duration::ZERO);
            assert!(wait >= most / 2 && wait <= most, "{wait:?} of {most:?}");
            most = (most * 2).min(LONGEST);
        }
        assert!(backoff.next(GOOD) <= FIRST);
        let waits: std::collections::BTreeSet<_> =
            (0..20).map(|_| Backoff::default().next(Duration::ZERO)).collect();
        assert!(waits.len() > 1, "no chance in {waits:?}");
    }
}
