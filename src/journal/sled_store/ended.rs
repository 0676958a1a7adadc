//! The end of a run: its records are forgotten, its summary is kept. Never forgets one without
//! the other.

use super::ENDED;
use super::layout;
use super::table::{Broken, Table, read as read_entry};

/// Replaces the run's records by its summary, and forgets the oldest summary beyond [`ENDED`].
pub(super) fn write(table: &mut Table, summary: &str) -> Result<(), Broken> {
    let mut change = table.change();
    layout::records().into_iter().for_each(|keys| change.remove(keys));
    change.restart_facts();
    let number = change.next_ended();
    change.put(layout::ended_key(number), &summary)?;
    change.remove(layout::ended_before((number + 1).saturating_sub(ENDED)));
    change.commit()
}

/// The summaries, oldest first.
pub(super) fn read(table: &mut Table) -> Result<Vec<String>, Broken> {
    let entries = table.entries()?.into_iter().filter(|(key, _)| layout::is_ended(key));
    entries.map(|(_, entry)| read_entry(&entry)).collect()
}

/// Writes the summaries that `amend` changes.
pub(super) fn amend(
    table: &mut Table,
    amend: impl Fn(&str) -> Option<String>,
) -> Result<(), Broken> {
    let entries = table.entries()?;
    let mut change = table.change();
    for (key, entry) in entries.into_iter().filter(|(key, _)| layout::is_ended(key)) {
        let text: String = read_entry(&entry)?;
        if let Some(amended) = amend(&text) {
            change.put(key, &amended)?;
        }
    }
    change.commit()
}
