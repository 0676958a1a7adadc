//! How much work of each kind a worker does at once. Owns the slots.

/// Most tasks of a kind that are worked on at once; `list_backups` and `get_backup` have no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// `create_backup`
    pub backups: usize,
    /// `restore_backup`
    pub restores: usize,
    /// Commands of this program.
    pub commands: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { backups: 2, restores: 1, commands: 1 }
    }
}
