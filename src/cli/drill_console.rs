//! What a drill does, as lines on stdout. Owns their wording.

use super::console::say;
use super::restore_console::RestoreConsole;
use crate::drill::{Event, Watch};
use crate::restore::Watch as _;

/// Prints the lines.
pub struct DrillConsole {
    /// Prints those of its restore.
    pub restore: RestoreConsole,
}

impl Watch for DrillConsole {
    fn tell(&self, event: Event) {
        match event {
            Event::Restore(event) => self.restore.tell(event),
            Event::ScratchReady(place) => {
                say(&format!("Scratch datamart {} on {} is ready", place.datamart, place.node));
            }
            Event::Compared { delta, pairs, wrong: 0 } => {
                say(&format!("Compared delta {delta}: {pairs} tables, nothing differs"));
            }
            Event::Compared { delta, pairs, wrong } => {
                say(&format!("Compared delta {delta}: {wrong} of {pairs} tables are wrong"));
            }
            Event::ScratchDropped(place) => {
                say(&format!("Scratch datamart {} is dropped", place.datamart));
            }
            Event::ScratchKept(place) => {
                say(&format!("Scratch datamart {} is kept", place.datamart));
            }
            Event::Warning { text } => tracing::warn!("{text}"),
        }
    }
}
