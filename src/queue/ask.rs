//! What a task asks for, by its type. Pure. Owns which types there are.

use super::command::{self, CommandRule};
use super::envelope::Envelope;
use super::{Settings, Work};
use crate::clickhouse::{CreateBackup, OperationId, Query, RestoreBackup, Task, TaskError};

/// Tasks of ClickHouse.
pub const CLICKHOUSE: [&str; 4] = ["create_backup", "restore_backup", "list_backups", "get_backup"];

/// A checked task.
pub enum Ask {
    /// Answered at once.
    Light(Light),
    /// Worked on.
    Heavy(OperationId, Box<Heavy>),
}

/// What is answered at once.
pub enum Light {
    /// `list_backups`
    List(Query),
    /// `get_backup`
    Get(OperationId),
}

/// What is worked on.
pub enum Heavy {
    /// `create_backup`
    Create(CreateBackup),
    /// `restore_backup`
    Restore(RestoreBackup),
    /// A command of this program.
    Run(Work),
}

/// Whether there is a task of this type here.
pub fn is_kind(settings: &Settings, kind: &str) -> bool {
    CLICKHOUSE.contains(&kind) || rule(settings, kind).is_some()
}

fn rule<'a>(settings: &'a Settings, kind: &str) -> Option<&'a CommandRule> {
    settings.commands.iter().find(|rule| rule.kind == kind)
}

/// Reads what a task asks for, and takes its payload out.
///
/// # Errors
/// A [`TaskError`] that names the field.
pub fn read(envelope: &mut Envelope, settings: &Settings) -> Result<Ask, TaskError> {
    let payload = envelope.payload.take();
    if let Some(rule) = rule(settings, &envelope.kind) {
        let work = command::read(rule, payload)?;
        return Ok(Ask::Heavy(envelope.operation.clone(), Box::new(Heavy::Run(work))));
    }
    let id = |chosen: &Option<OperationId>| chosen.as_ref().unwrap_or(&envelope.operation).clone();
    Ok(match Task::read(&envelope.kind, payload, &settings.policy)? {
        Task::Create(create) => Ask::Heavy(id(&create.id), Box::new(Heavy::Create(create))),
        Task::Restore(restore) => Ask::Heavy(id(&restore.id), Box::new(Heavy::Restore(restore))),
        Task::List(query) => Ask::Light(Light::List(query)),
        Task::Get(id) => Ask::Light(Light::Get(id)),
    })
}
