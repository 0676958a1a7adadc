//! Operations as they are listed: those of the journal joined with those that the server shows.
//! Pure. Owns filters, the order and the cursor.

use serde_json::Value;

use super::ServerOperation;
use super::failure::TaskError;
use super::json::Fields;
use super::name::{Name, Object, OperationId};
use super::statement::attempt_id;
use crate::journal::{Operation, OperationEnd, OperationKind, OperationStep};

/// How many are listed where nobody says.
const USUAL: usize = 50;
/// Most that are listed at once.
const MOST: u64 = 1000;

/// How an operation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Taken on.
    Accepted,
    /// ClickHouse works on it.
    Running,
    /// What was restored is put in its place, or what was there before is dropped.
    Swapping,
    /// Everything is being put back.
    RollingBack,
    /// Ended as asked.
    Succeeded,
    /// Ended otherwise.
    Failed,
    /// Cancelled.
    Cancelled,
    /// Ended otherwise, and everything is back.
    RolledBack,
    /// Nobody can tell.
    Unknown,
    /// Another journal's: it works, or something of it is beside a name. Whoever has that journal
    /// ends it.
    Orphaned,
}

impl Status {
    const ALL: [Self; 10] = [
        Self::Accepted,
        Self::Running,
        Self::Swapping,
        Self::RollingBack,
        Self::Succeeded,
        Self::Failed,
        Self::Cancelled,
        Self::RolledBack,
        Self::Unknown,
        Self::Orphaned,
    ];

    /// As replies spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Running => "running",
            Self::Swapping => "swapping",
            Self::RollingBack => "rolling_back",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::RolledBack => "rolled_back",
            Self::Unknown => "unknown",
            Self::Orphaned => "orphaned",
        }
    }

    /// The status of an operation of the journal.
    pub fn of(operation: &Operation) -> Self {
        match (operation.step, operation.end) {
            (_, Some(OperationEnd::Succeeded)) => Self::Succeeded,
            (_, Some(OperationEnd::Failed)) => Self::Failed,
            (_, Some(OperationEnd::RolledBack)) => Self::RolledBack,
            (_, Some(OperationEnd::Cancelled)) => Self::Cancelled,
            (_, Some(OperationEnd::Unknown)) | (OperationStep::Ended, None) => Self::Unknown,
            (OperationStep::Planned, None) => Self::Accepted,
            (OperationStep::Aside | OperationStep::Submitting, None) => Self::Running,
            (OperationStep::Placing | OperationStep::Cleaning, None) => Self::Swapping,
            (OperationStep::RollingBack, None) => Self::RollingBack,
        }
    }

    /// The status of an operation that only the server knows.
    pub fn of_server(operation: &ServerOperation) -> Self {
        use super::ServerStatus as S;
        match operation.status {
            S::CreatingBackup | S::Restoring if operation.logged => Self::Unknown,
            S::CreatingBackup | S::Restoring => Self::Running,
            S::BackupCreated | S::Restored => Self::Succeeded,
            S::BackupFailed | S::RestoreFailed => Self::Failed,
            S::BackupCancelled | S::RestoreCancelled => Self::Cancelled,
        }
    }
}

/// Who knows of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The journal: the server was restarted, or nothing was sent.
    Journal,
    /// The server: somebody else began it, or another journal has it.
    Clickhouse,
    /// Both.
    Both,
}

/// One listed operation: at least one of the three is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What the journal knows.
    pub operation: Option<Operation>,
    /// What the server shows of its last attempt.
    pub server: Option<ServerOperation>,
    /// What another journal's operation keeps beside a name.
    pub beside: Option<Object>,
}

impl Entry {
    /// What it is known by.
    pub fn id(&self) -> &str {
        let ours = self.operation.as_ref().map(|operation| operation.id.as_str());
        let theirs = self.server.as_ref().map(|server| server.id.as_str());
        // Nothing else tells of it: the server was restarted, and the name has only a hash of its id.
        let beside = || self.beside.as_ref().map(|beside| beside.given().as_str());
        ours.or(theirs).or_else(beside).unwrap_or_default()
    }

    /// When it was taken on or began, milliseconds since 1970.
    pub fn began(&self) -> i64 {
        let ours = self.operation.as_ref().map(|operation| operation.created);
        ours.or(self.server.as_ref().map(|server| server.started)).unwrap_or_default()
    }

    /// How it stands.
    pub fn status(&self) -> Status {
        match (&self.operation, &self.server) {
            (Some(operation), _) => Status::of(operation),
            (None, _) if self.beside.is_some() => Status::Orphaned,
            (None, Some(server)) => match Status::of_server(server) {
                Status::Running if operation_of(&server.id).is_some() => Status::Orphaned,
                status => status,
            },
            (None, None) => Status::Unknown,
        }
    }

    /// Whether it is a backup or a restore.
    pub fn kind(&self) -> OperationKind {
        // Only restores keep something beside a name.
        let theirs = || match self.server.as_ref().is_none_or(|s| s.status.is_restore()) {
            true => OperationKind::Restore,
            false => OperationKind::Backup,
        };
        self.operation.as_ref().map_or_else(theirs, |operation| operation.kind)
    }

    /// Who knows of it.
    pub fn source(&self) -> Source {
        match (&self.operation, &self.server) {
            (Some(_), Some(_)) => Source::Both,
            (Some(_), None) => Source::Journal,
            (None, _) => Source::Clickhouse,
        }
    }
}

/// What is to be listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// How many.
    pub limit: usize,
    /// After this one.
    pub cursor: Option<(i64, String)>,
    /// Only these.
    pub status: Option<Status>,
    /// Only these.
    pub kind: Option<OperationKind>,
    /// Only of this database; those of others, which only the server knows, name none.
    pub database: Option<String>,
    /// Not older, milliseconds since 1970.
    pub since: Option<i64>,
}

impl Default for Query {
    fn default() -> Self {
        Self { limit: USUAL, cursor: None, status: None, kind: None, database: None, since: None }
    }
}

impl Query {
    /// Reads the payload of `list_backups`; an empty or missing one is valid.
    ///
    /// # Errors
    /// A [`TaskError`] that names the field.
    pub fn read(payload: Value) -> Result<Self, TaskError> {
        if payload.is_null() {
            return Ok(Self::default());
        }
        let mut fields = Fields::of("", payload)?;
        let limit = fields.number("limit")?.unwrap_or(USUAL as u64);
        if !(1..=MOST).contains(&limit) {
            return Err(fields.wrong("limit", format_args!("1 to {MOST} is wanted")));
        }
        let cursor = match fields.text("cursor")? {
            Some(text) => {
                let cursor = cursor(&text);
                Some(cursor.ok_or_else(|| fields.wrong("cursor", "is of no earlier list"))?)
            }
            None => None,
        };
        let status = match fields.text("status")? {
            Some(text) => {
                let found = Status::ALL.into_iter().find(|status| status.as_str() == text);
                Some(found.ok_or_else(|| fields.wrong("status", "is not known"))?)
            }
            None => None,
        };
        let kind = match fields.text("kind")?.as_deref() {
            Some("backup") => Some(OperationKind::Backup),
            Some("restore") => Some(OperationKind::Restore),
            Some(_) => return Err(fields.wrong("kind", "backup or restore is wanted")),
            None => None,
        };
        let since = match fields.text("since")? {
            Some(text) => {
                let time: Result<jiff::Timestamp, _> = text.parse();
                let wrong = |_| fields.wrong("since", "a time such as 2026-11-21T05:25:00Z");
                Some(time.map_err(wrong)?.as_millisecond())
            }
            None => None,
        };
        let database = fields.text("database")?;
        fields.end()?;
        Ok(Self { limit: limit as usize, cursor, status, kind, database, since })
    }

    fn takes(&self, entry: &Entry) -> bool {
        let database = |wanted: &String| match (&entry.operation, &entry.beside) {
            (Some(operation), _) => operation.database == *wanted,
            (None, Some(beside)) => {
                let wanted = Name::known(wanted);
                beside.database == wanted || beside.database.is_beside_of(&wanted)
            }
            (None, None) => false,
        };
        let after = |(began, id): &(i64, String)| (entry.began(), entry.id()) < (*began, id);
        self.status.is_none_or(|status| entry.status() == status)
            && self.kind.is_none_or(|kind| entry.kind() == kind)
            && self.since.is_none_or(|since| entry.began() >= since)
            && self.database.as_ref().is_none_or(database)
            && self.cursor.as_ref().is_none_or(after)
    }
}

fn cursor(text: &str) -> Option<(i64, String)> {
    let (began, id) = text.split_once('/')?;
    Some((began.parse().ok()?, id.to_owned()))
}

/// Some operations, newest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Them.
    pub entries: Vec<Entry>,
    /// Where the next page begins, where there is one.
    pub cursor: Option<String>,
}

/// Joins what the journal knows with what the server shows, and takes what was asked for.
pub fn page(
    operations: Vec<Operation>,
    servers: Vec<ServerOperation>,
    beside: Vec<Object>,
    query: &Query,
) -> Page {
    let mut entries = join(operations, servers);
    add_beside(&mut entries, beside);
    entries.retain(|entry| query.takes(entry));
    entries.sort_by(|a, b| (b.began(), b.id()).cmp(&(a.began(), a.id())));
    let more = entries.len() > query.limit;
    entries.truncate(query.limit);
    let cursor = entries.last().filter(|_| more);
    let cursor = cursor.map(|last| format!("{}/{}", last.began(), last.id()));
    Page { entries, cursor }
}

/// Earlier attempts of an operation are the operation's own and not listed beside it.
pub fn join(operations: Vec<Operation>, mut servers: Vec<ServerOperation>) -> Vec<Entry> {
    let mut entries = Vec::with_capacity(operations.len());
    for operation in operations {
        let last = attempt_id(&operation.id, operation.attempt);
        let at = servers.iter().position(|server| server.id == last);
        let server = at.map(|at| servers.swap_remove(at));
        let earlier: Vec<_> =
            (1..operation.attempt).map(|number| attempt_id(&operation.id, number)).collect();
        servers.retain(|server| !earlier.contains(&server.id));
        entries.push(Entry { operation: Some(operation), server, beside: None });
    }
    let others = servers.into_iter().map(|server| Entry {
        operation: None,
        server: Some(server),
        beside: None,
    });
    entries.extend(others);
    entries
}

/// The id of the operation that an attempt looks like one of.
fn operation_of(attempt: &str) -> Option<OperationId> {
    let (id, number) = attempt.rsplit_once("-a")?;
    number.parse::<u32>().ok()?;
    OperationId::parse(id)
}

/// What is beside a name tells of an operation of another journal, unless it is one of ours.
fn add_beside(entries: &mut Vec<Entry>, beside: Vec<Object>) {
    for object in beside {
        let Some(mark) = object.given().mark() else { continue };
        let marked = |entry: &&mut Entry| match (&entry.operation, &entry.server) {
            (Some(operation), _) => OperationId::known(&operation.id).mark() == mark,
            (None, Some(server)) => operation_of(&server.id).is_some_and(|id| id.mark() == mark),
            (None, None) => false,
        };
        match entries.iter_mut().find(marked) {
            Some(entry) if entry.operation.is_some() => {}
            Some(entry) => entry.beside = Some(object),
            None => {
                entries.push(Entry { operation: None, server: None, beside: Some(object) });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::ServerStatus;
    use super::super::json;
    use super::*;
    use crate::journal::OperationSize;

    fn operation(id: &str, created: i64, attempt: u32) -> Operation {
        Operation {
            id: id.into(),
            kind: OperationKind::Backup,
            fingerprint: [0; 32],
            database: "quotes".into(),
            table: None,
            source_database: None,
            source_table: None,
            path: String::new(),
            url: String::new(),
            overwrite: false,
            check: true,
            attempt,
            step: OperationStep::Ended,
            old: None,
            fresh: None,
            views: Vec::new(),
            owned: true,
            created,
            updated: created,
            ended: Some(created),
            size: OperationSize::default(),
            checks: Vec::new(),
            failure: None,
            end: Some(OperationEnd::Succeeded),
            cluster: None,
        }
    }

    fn server(id: &str, started: i64) -> ServerOperation {
        ServerOperation {
            id: id.into(),
            url: String::new(),
            query: String::new(),
            status: ServerStatus::Restored,
            error: String::new(),
            started,
            ended: None,
            size: OperationSize::default(),
            bytes_read: 0,
            logged: false,
        }
    }

    fn ids(page: &Page) -> Vec<&str> {
        page.entries.iter().map(Entry::id).collect()
    }

    #[test]
    fn attempts_are_joined_and_others_are_listed_too() {
        let operations = vec![operation("a", 10, 2), operation("b", 30, 1)];
        let servers = vec![server("a-a1", 10), server("a-a2", 11), server("theirs", 20)];
        let found = page(operations, servers, Vec::new(), &Query::default());
        assert_eq!(ids(&found), ["b", "theirs", "a"]);
        let sources: Vec<_> = found.entries.iter().map(Entry::source).collect();
        assert_eq!(sources, [Source::Journal, Source::Clickhouse, Source::Both]);
        assert_eq!(found.entries[2].server.as_ref().map(|s| s.id.as_str()), Some("a-a2"));
        assert_eq!(found.cursor, None);
    }

    #[test]
    fn what_others_left_is_orphaned() {
        let running =
            |id: &str| ServerOperation { status: ServerStatus::Restoring, ..server(id, 20) };
        let beside = |id: &str| Object {
            database: Name::known("d").beside(&OperationId::known(id)),
            table: None,
        };
        let servers =
            vec![running("w-a1"), running("theirs"), server("x-a2", 15), server("y-a1", 5)];
        let beside = vec![beside("x"), beside("mine"), beside("gone")];
        let operations = vec![operation("mine", 1, 1)];
        let found = page(operations, servers, beside.clone(), &Query::default());
        let all: Vec<_> = found.entries.iter().map(|e| (e.id(), e.status().as_str())).collect();
        let gone = beside[2].database.as_str();
        let wanted = [
            ("w-a1", "orphaned"),
            ("theirs", "running"),
            ("x-a2", "orphaned"),
            ("y-a1", "succeeded"),
            ("mine", "succeeded"),
            (gone, "orphaned"),
        ];
        assert_eq!(all, wanted);
        let orphans = Query { status: Some(Status::Orphaned), ..Query::default() };
        let orphans = Query { database: Some("d".into()), ..orphans };
        let found = page(Vec::new(), Vec::new(), beside, &orphans);
        assert_eq!(found.entries.len(), 3);
    }

    #[test]
    fn pages_follow_one_another_without_a_gap_or_a_repeat() {
        let operations: Vec<_> = (0..23).map(|n| operation(&format!("op{n}"), n / 4, 1)).collect();
        let mut query = Query { limit: 5, ..Query::default() };
        let mut all = Vec::new();
        loop {
            let found = page(operations.clone(), Vec::new(), Vec::new(), &query);
            all.extend(ids(&found).into_iter().map(str::to_owned));
            let Some(next) = found.cursor else { break };
            query.cursor = cursor(&next);
        }
        let whole =
            page(operations, Vec::new(), Vec::new(), &Query { limit: 1000, ..Query::default() });
        assert_eq!(all, ids(&whole));
        assert_eq!(all.len(), 23);
    }

    #[test]
    fn filters_are_read_and_hold() {
        let read = |text: &str| Query::read(json::read(text.as_bytes()).expect("JSON"));
        let all = |query: &Query| {
            let servers = vec![server("theirs", 20)];
            ids(&page(vec![operation("a", 10, 1)], servers, Vec::new(), query)).join(",")
        };
        let cases = [
            ("{}", "theirs,a"),
            ("null", "theirs,a"),
            (r#"{"kind": "backup"}"#, "a"),
            (r#"{"kind": "restore"}"#, "theirs"),
            (r#"{"database": "quotes"}"#, "a"),
            (r#"{"since": "1970-01-01T00:00:00.015Z"}"#, "theirs"),
            (r#"{"status": "failed"}"#, ""),
        ];
        for (text, wanted) in cases {
            assert_eq!(all(&read(text).expect(text)), wanted, "{text}");
        }
        let wrong =
            [r#"{"limit": 0}"#, r#"{"limit": 1001}"#, r#"{"cursor": "x"}"#, r#"{"kind": 1}"#];
        for text in wrong {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
