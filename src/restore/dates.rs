//! The dates that deltas are committed with (D8 "dates"). Pure; never reads a clock.

use crate::model::{DeltaDate, DeltaNum};

const SECOND: i64 = 1_000_000;

/// What is done with dates that the node would refuse.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dates {
    /// The source's dates or none.
    #[default]
    Keep,
    /// Whole seconds, each later than the one before.
    Bump,
}

/// A date that cannot be committed as it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoDate {
    /// The node takes whole seconds only (PROSTORE.md 2.3).
    #[error("delta {delta} was closed at {date} us, which is no whole second")]
    Fraction {
        /// The delta.
        delta: DeltaNum,
        /// Its date.
        date: DeltaDate,
    },
    /// Dates must rise.
    #[error(
        "delta {delta} was closed at {date} us, not later than the delta before it ({before} us)"
    )]
    NotLater {
        /// The delta.
        delta: DeltaNum,
        /// Its date.
        date: DeltaDate,
        /// The date of the one before.
        before: DeltaDate,
    },
}

/// The dates to commit with, in order. `before` is the date of the target's last closed delta.
///
/// # Errors
/// [`NoDate`] under [`Dates::Keep`].
pub fn dates(
    deltas: &[(DeltaNum, DeltaDate)],
    mut before: Option<DeltaDate>,
    policy: Dates,
    whole_seconds: bool,
) -> Result<Vec<DeltaDate>, NoDate> {
    let mut dates = Vec::with_capacity(deltas.len());
    for (delta, date) in deltas.iter().copied() {
        let date = match policy {
            Dates::Keep => keep(delta, date, before, whole_seconds)?,
            Dates::Bump => bump(date, before),
        };
        before = Some(date);
        dates.push(date);
    }
    Ok(dates)
}

fn keep(
    delta: DeltaNum,
    date: DeltaDate,
    before: Option<DeltaDate>,
    whole_seconds: bool,
) -> Result<DeltaDate, NoDate> {
    if whole_seconds && date.0.rem_euclid(SECOND) != 0 {
        return Err(NoDate::Fraction { delta, date });
    }
    match before.filter(|before| date <= *before) {
        Some(before) => Err(NoDate::NotLater { delta, date, before }),
        None => Ok(date),
    }
}

fn bump(date: DeltaDate, before: Option<DeltaDate>) -> DeltaDate {
    let cut = |micros: i64| micros.div_euclid(SECOND) * SECOND;
    let date = DeltaDate(cut(date.0));
    match before {
        Some(before) if date <= before => DeltaDate(cut(before.0) + SECOND),
        _ => date,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failing test may panic")]
mod tests {
    use super::*;

    fn run(given: &[i64], before: Option<i64>, policy: Dates) -> Result<Vec<i64>, NoDate> {
        let deltas: Vec<_> =
            (0..).zip(given).map(|(n, date)| (DeltaNum(n), DeltaDate(*date))).collect();
        let dates = dates(&deltas, before.map(DeltaDate), policy, true)?;
        Ok(dates.into_iter().map(|date| date.0).collect())
    }

    #[test]
    fn dates_are_kept_or_refused_by_name() {
        assert_eq!(run(&[-1_000_000, 0, 5_000_000], None, Dates::Keep).unwrap().len(), 3);
        let fraction = run(&[0, 1_000_001], None, Dates::Keep).unwrap_err();
        assert!(matches!(fraction, NoDate::Fraction { delta: DeltaNum(1), .. }), "{fraction}");
        let later = run(&[0, 1_000_000, 1_000_000], None, Dates::Keep).unwrap_err();
        assert!(matches!(later, NoDate::NotLater { delta: DeltaNum(2), .. }), "{later}");
        assert!(run(&[3_000_000], Some(3_000_000), Dates::Keep).is_err());
        assert!(run(&[4_000_000], Some(3_000_000), Dates::Keep).is_ok());
    }

    #[test]
    fn bumped_dates_are_whole_seconds_and_rise() {
        let bumped = run(&[-1, 1, 1, 2_500_000, 2_900_000, 9_000_000], None, Dates::Bump).unwrap();
        assert_eq!(bumped, [-1_000_000, 0, 1_000_000, 2_000_000, 3_000_000, 9_000_000]);
        assert_eq!(run(&[5], Some(7_300_000), Dates::Bump).unwrap(), [8_000_000]);
    }
}
