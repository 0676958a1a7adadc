//! What is done about a task that comes, seen from what this worker remembers of it. Pure;
//! docs/queue.md prints the table, a test compares the two.

use crate::journal::TaskState;

/// What is known of a task that comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// How far it is remembered to be; none where it is not remembered.
    pub state: Option<TaskState>,
    /// Whether this worker is at it now.
    pub at_work: bool,
    /// Whether it asks for the same as what is remembered.
    pub same: bool,
    /// Whether it is another delivery of what is remembered: the sender named it, or the broker says
    /// that it was delivered before. Else it is a further task that only looks the same.
    pub copy: bool,
}

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meeting {
    /// Work on it.
    TakeOn,
    /// Acknowledge it: the delivery that is worked on is answered.
    Drop,
    /// Send the same final reply again.
    Repeat,
    /// Answer ID_CONFLICT.
    Conflict,
    /// Answer BUSY.
    Busy,
}

/// Decides about a task that comes.
pub fn meet(known: Known) -> Meeting {
    use Meeting as M;
    use TaskState as S;
    let Some(state) = known.state else { return M::TakeOn };
    match (state, known.at_work, known.same, known.copy) {
        (_, _, false, _) => M::Conflict,
        (_, true, _, true) => M::Drop,
        (_, true, _, false) => M::Busy,
        (S::Answered | S::Done, _, _, true) => M::Repeat,
        (S::Answered, _, _, false) => M::Busy,
        (S::Taken | S::Acking | S::Acked | S::Done, ..) => M::TakeOn,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rows of the table in docs/queue.md: state, at work, same, copy, decision.
    fn rows() -> Vec<[String; 5]> {
        let text = include_str!("../../docs/queue.md");
        let rows = text.lines().skip_while(|line| !line.starts_with("| remembered as |")).skip(2);
        let rows = rows.take_while(|line| line.starts_with('|'));
        rows.map(|row| {
            let cells: Vec<_> = row.trim_matches('|').split('|').map(str::trim).collect();
            let cells: [&str; 5] = cells.try_into().expect("five columns");
            cells.map(str::to_owned)
        })
        .collect()
    }

    #[test]
    fn the_table_in_the_manual_is_the_code() {
        let rows = rows();
        assert!(rows.len() > 5, "the table was not found");
        let states = [None, Some("taken"), Some("acking"), Some("acked"), Some("answered")];
        for state in states.into_iter().chain([Some("done")]) {
            for bits in 0..8 {
                let [at_work, same, copy] = [1, 2, 4].map(|bit| bits & bit != 0);
                let known = Known {
                    state: match state {
                        None => None,
                        Some("taken") => Some(TaskState::Taken),
                        Some("acking") => Some(TaskState::Acking),
                        Some("acked") => Some(TaskState::Acked),
                        Some("answered") => Some(TaskState::Answered),
                        Some(_) => Some(TaskState::Done),
                    },
                    at_work,
                    same,
                    copy,
                };
                let fits = |cell: &str, flag: bool| {
                    cell == "any" || cell == if flag { "yes" } else { "no" }
                };
                let row = rows.iter().find(|[states, work, like, copies, _]| {
                    (states == "any" || states.split(", ").any(|s| s == state.unwrap_or("nothing")))
                        && fits(work, at_work)
                        && fits(like, same)
                        && fits(copies, copy)
                });
                let wanted = match row.map(|row| row[4].as_str()) {
                    Some("take on") => Meeting::TakeOn,
                    Some("drop") => Meeting::Drop,
                    Some("repeat the reply") => Meeting::Repeat,
                    Some("ID_CONFLICT") => Meeting::Conflict,
                    Some("BUSY") => Meeting::Busy,
                    other => panic!("{known:?}: {other:?}"),
                };
                assert_eq!(meet(known), wanted, "{known:?}");
            }
        }
    }
}
