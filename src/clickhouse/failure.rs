//! Why a task failed: a code that stays, a text, and what the server said. Owns the mapping from
//! ClickHouse's numbers; the text of the server decides only where one number has two meanings.

use std::fmt;

use super::name::OperationId;

/// Longest text of the server that is kept, characters.
const LONGEST: usize = 600;

/// What went wrong, as programs read it. They are stable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Code {
    /// The body is no JSON, or has a key twice.
    BadJson,
    /// A field that is missing or has a wrong value.
    BadRequest,
    /// A field that is not known.
    UnknownField,
    /// A task that is not known.
    UnknownType,
    /// A version of the task that is not known.
    UnsupportedVersion,
    /// A name that is reserved, or an object that cannot be replaced.
    ForbiddenTarget,
    /// A path outside of those that are allowed.
    PathNotAllowed,
    /// What is to be backed up does not exist.
    SourceNotFound,
    /// The backup does not hold what is to be restored.
    NotInBackup,
    /// There is no backup at the path.
    BackupNotFound,
    /// The backup holds several things that could be meant.
    AmbiguousSource,
    /// There is a backup at the path already.
    PathExists,
    /// An unfinished backup left its lock at the path.
    PathLocked,
    /// The id was used for another request.
    IdConflict,
    /// The target exists, and overwriting was not asked for.
    TargetNotEmpty,
    /// The target changed while the task worked.
    TargetChanged,
    /// The target's definition differs from the backup's.
    DefinitionDiffers,
    /// A replicated table's path in ZooKeeper is in use.
    ReplicatedPathConflict,
    /// The object store.
    StorageError,
    /// ClickHouse does not answer.
    ClickhouseUnavailable,
    /// It went on too long.
    Timeout,
    /// Nothing moved for a long time.
    Stalled,
    /// Another operation works on the same names, or the server takes no more.
    Busy,
    /// ClickHouse's user lacks a right.
    AccessDenied,
    /// ClickHouse or the object store does not know the user or the keys.
    BadCredentials,
    /// A check of the restored data failed.
    VerifyFailed,
    /// The backup cannot be read.
    BackupDamaged,
    /// Keys that were held in memory are gone.
    CredentialsLost,
    /// Nobody can tell how it ended.
    UnknownOutcome,
    /// No such operation.
    NotFound,
    /// Somebody cancelled it.
    Cancelled,
    /// A fault of this program or one that it does not know.
    Internal,
}

impl Code {
    /// As replies and the journal spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BadJson => "BAD_JSON",
            Self::BadRequest => "BAD_REQUEST",
            Self::UnknownField => "UNKNOWN_FIELD",
            Self::UnknownType => "UNKNOWN_TYPE",
            Self::UnsupportedVersion => "UNSUPPORTED_VERSION",
            Self::ForbiddenTarget => "FORBIDDEN_TARGET",
            Self::PathNotAllowed => "PATH_NOT_ALLOWED",
            Self::SourceNotFound => "SOURCE_NOT_FOUND",
            Self::NotInBackup => "NOT_IN_BACKUP",
            Self::BackupNotFound => "BACKUP_NOT_FOUND",
            Self::AmbiguousSource => "AMBIGUOUS_SOURCE",
            Self::PathExists => "PATH_EXISTS",
            Self::PathLocked => "PATH_LOCKED",
            Self::IdConflict => "ID_CONFLICT",
            Self::TargetNotEmpty => "TARGET_NOT_EMPTY",
            Self::TargetChanged => "TARGET_CHANGED",
            Self::DefinitionDiffers => "DEFINITION_DIFFERS",
            Self::ReplicatedPathConflict => "REPLICATED_PATH_CONFLICT",
            Self::StorageError => "STORAGE_ERROR",
            Self::ClickhouseUnavailable => "CLICKHOUSE_UNAVAILABLE",
            Self::Timeout => "TIMEOUT",
            Self::Stalled => "STALLED",
            Self::Busy => "BUSY",
            Self::AccessDenied => "ACCESS_DENIED",
            Self::BadCredentials => "BAD_CREDENTIALS",
            Self::VerifyFailed => "VERIFY_FAILED",
            Self::BackupDamaged => "BACKUP_DAMAGED",
            Self::CredentialsLost => "CREDENTIALS_LOST",
            Self::UnknownOutcome => "UNKNOWN_OUTCOME",
            Self::NotFound => "NOT_FOUND",
            Self::Cancelled => "CANCELLED",
            Self::Internal => "INTERNAL",
        }
    }

    /// All of them.
    pub const ALL: [Self; 32] = [
        Self::BadJson,
        Self::BadRequest,
        Self::UnknownField,
        Self::UnknownType,
        Self::UnsupportedVersion,
        Self::ForbiddenTarget,
        Self::PathNotAllowed,
        Self::SourceNotFound,
        Self::NotInBackup,
        Self::BackupNotFound,
        Self::AmbiguousSource,
        Self::PathExists,
        Self::PathLocked,
        Self::IdConflict,
        Self::TargetNotEmpty,
        Self::TargetChanged,
        Self::DefinitionDiffers,
        Self::ReplicatedPathConflict,
        Self::StorageError,
        Self::ClickhouseUnavailable,
        Self::Timeout,
        Self::Stalled,
        Self::Busy,
        Self::AccessDenied,
        Self::BadCredentials,
        Self::VerifyFailed,
        Self::BackupDamaged,
        Self::CredentialsLost,
        Self::UnknownOutcome,
        Self::NotFound,
        Self::Cancelled,
        Self::Internal,
    ];

    /// The code of this spelling.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|code| code.as_str() == text)
    }

    /// Whether the same task can succeed later without being changed.
    pub fn is_retryable(self) -> bool {
        matches!(
            self,
            Self::StorageError
                | Self::ClickhouseUnavailable
                | Self::Timeout
                | Self::Stalled
                | Self::Busy
                | Self::CredentialsLost
        )
    }

    /// What the sender of the task can do.
    pub fn hint(self) -> &'static str {
        match self {
            Self::BadJson | Self::BadRequest | Self::UnknownField => "correct the task",
            Self::UnknownType => {
                "create_backup, restore_backup, list_backups or get_backup, as type of the task"
            }
            Self::UnsupportedVersion => "version 1",
            Self::ForbiddenTarget => "another target, or scope database instead of table",
            Self::PathNotAllowed => "a path below one that is allowed",
            Self::SourceNotFound => "the name of a database or table that exists",
            Self::NotInBackup | Self::AmbiguousSource => "source_database and source_table",
            Self::BackupNotFound => "the backup_path of a finished backup",
            Self::PathExists => "a new backup_path",
            Self::PathLocked => "a new backup_path; or, once no backup writes there, delete .lock",
            Self::IdConflict => "a new backup_id",
            Self::TargetNotEmpty => "another target, or overwrite",
            Self::TargetChanged => "look at what is there now, then the task again with a new id",
            Self::DefinitionDiffers => "overwrite, or another target",
            Self::ReplicatedPathConflict => "scope database with overwrite, or another target",
            Self::StorageError => {
                "the task again, once the object store answers and has the bucket"
            }
            Self::ClickhouseUnavailable => "the task again, once ClickHouse answers",
            Self::Timeout | Self::Stalled => {
                "the task again; look at the object store and its load"
            }
            Self::Busy => "the task again, once the other operation has ended",
            Self::AccessDenied => "the missing right for ClickHouse's user",
            Self::BadCredentials => "the right user and password, or keys of the object store",
            Self::VerifyFailed | Self::BackupDamaged => "another backup",
            Self::CredentialsLost => "the task again, with its keys",
            Self::UnknownOutcome => "look at backup_path: a backup is whole where .backup is there",
            Self::NotFound => "list_backups",
            Self::Cancelled => "the task again",
            Self::Internal => "please report this with the log",
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a task failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct TaskError {
    /// As programs read it.
    pub code: Code,
    /// As people read it. Holds no secret.
    pub message: String,
    /// ClickHouse's own number, where it had one.
    pub clickhouse_code: Option<i32>,
    /// An operation whose end is open, and who goes on with it.
    pub open: Option<OperationId>,
}

impl TaskError {
    /// One without a number of the server.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), clickhouse_code: None, open: None }
    }

    /// The same, of an operation that is not at its end.
    pub fn of_open(mut self, operation: &OperationId) -> Self {
        self.open = Some(operation.clone());
        self
    }
}

/// What the server answered, or that it did not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ServerError {
    /// No answer: nobody can tell whether the statement was carried out.
    #[error("ClickHouse does not answer: {reason}")]
    Unreachable {
        /// What the client said.
        reason: String,
    },
    /// It refused.
    #[error("ClickHouse refused ({number}): {text}")]
    Refused {
        /// Its number for that.
        number: i32,
        /// Its text, cut.
        text: String,
    },
    /// An answer that means nothing.
    #[error("ClickHouse answered something else: {reason}")]
    Unreadable {
        /// What was wrong.
        reason: String,
    },
}

impl ServerError {
    /// A refusal. The text is cut before its stack trace and to a length that a log takes.
    pub fn refused(number: i32, text: &str) -> Self {
        Self::Refused { number, text: cut(text) }
    }

    /// A refusal from the text alone: `Code: 598. DB::Exception: ...`.
    pub fn from_text(text: &str) -> Self {
        match number_of(text) {
            Some(number) => Self::refused(number, text),
            None => Self::Unreadable { reason: cut(text) },
        }
    }

    /// Whether the server refused because the statement's id was used before.
    pub fn is_used_id(&self) -> bool {
        matches!(self, Self::Refused { number: 36, text } if text.contains("the same ID"))
    }

    /// Whether the server refused with this number.
    pub fn is(&self, wanted: i32) -> bool {
        matches!(self, Self::Refused { number, .. } if *number == wanted)
    }
}

/// ClickHouse's number in its own text.
pub fn number_of(text: &str) -> Option<i32> {
    let (_, rest) = text.split_once("Code: ")?;
    let end = rest.find(|c: char| !c.is_ascii_digit())?;
    rest[..end].parse().ok()
}

/// A text of the server, fit for a reply: without stack trace, not too long, on one line.
pub fn cut(text: &str) -> String {
    // The client's own word for any refusal.
    let text = text.strip_prefix("bad response: ").unwrap_or(text);
    let text = text.split("Stack trace").next().unwrap_or_default();
    let text = text.split(", The stack trace").next().unwrap_or_default();
    let line = hide_access_keys(&text.split_whitespace().collect::<Vec<_>>().join(" "));
    let mut short: String = line.chars().take(LONGEST).collect();
    if short.len() < line.len() {
        short.push_str("...");
    }
    short
}

/// Takes out access keys: the server hides only the secret one, in `S3('url', 'access', '[HIDDEN]')`.
fn hide_access_keys(text: &str) -> String {
    const HIDDEN: &str = "', '[HIDDEN]'";
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(HIDDEN) {
        let head = before.rsplit_once('\'').map_or("", |(head, _)| head);
        shown.push_str(head);
        shown.push_str("'[HIDDEN]");
        shown.push_str(HIDDEN);
        rest = after;
    }
    shown.push_str(rest);
    shown
}

/// The code of a refusal. Numbers as in ClickHouse's ErrorCodes.cpp; not all were seen.
pub fn code_of(number: i32, text: &str) -> Code {
    match number {
        60 | 81 => Code::SourceNotFound,
        605 => Code::NotInBackup,
        599 => Code::BackupNotFound,
        598 if text.contains("is being written already") => Code::PathLocked,
        598 => Code::PathExists,
        608 if text.contains("different definition") => Code::DefinitionDiffers,
        608 | 57 | 82 => Code::TargetNotEmpty,
        253 => Code::ReplicatedPathConflict,
        // Another BACKUP made its lock in the same moment.
        499 if text.contains("PreconditionFailed") && text.contains("/.lock") => Code::PathLocked,
        499 if is_about_keys(text) => Code::BadCredentials,
        499 => Code::StorageError,
        201 | 202 | 241 => Code::Busy,
        // "Concurrent backups not supported, turn on setting 'allow_concurrent_backups'"
        642 | 643 => Code::Busy,
        159 | 209 => Code::Timeout,
        497 => Code::AccessDenied,
        192 | 193 | 194 | 516 => Code::BadCredentials,
        600 | 601 | 602 | 604 | 606 => Code::BackupDamaged,
        394 | 735 => Code::Cancelled,
        // Clusters that are not there or have no ZooKeeper, servers that take no statement for one,
        // and names that are too long together.
        69 | 139 | 170 | 225 | 371 | 392 | 701 => Code::BadRequest,
        // A host of a cluster, or its ZooKeeper.
        279 | 999 => Code::ClickhouseUnavailable,
        // Read-only users, and settings that a profile forbids.
        164 | 452 => Code::AccessDenied,
        // Connections, names of hosts, disks.
        74 | 75 | 198 | 210 | 243 | 1000 | 1001 | 1002 => Code::StorageError,
        // Checksums, and what cannot be unpacked.
        40 | 246 | 271 => Code::BackupDamaged,
        48 => Code::ForbiddenTarget,
        36 if text.contains("the same ID") => Code::IdConflict,
        36 => Code::BadRequest,
        _ => Code::Internal,
    }
}

/// An object store has many words for keys that it does not take.
fn is_about_keys(text: &str) -> bool {
    let words = [
        "InvalidAccessKeyId",
        "SignatureDoesNotMatch",
        "AccessDenied",
        "ACCESS_DENIED",
        "XAdminUserNotFound",
        "Access Denied",
        "ExpiredToken",
        "InvalidToken",
    ];
    words.iter().any(|word| text.contains(word))
}

impl From<ServerError> for TaskError {
    fn from(error: ServerError) -> Self {
        match error {
            ServerError::Unreachable { reason } => {
                Self::new(Code::ClickhouseUnavailable, format!("no answer: {reason}"))
            }
            ServerError::Refused { number, text } => {
                let code = code_of(number, &text);
                Self { code, message: text, clickhouse_code: Some(number), open: None }
            }
            ServerError::Unreadable { reason } => Self::new(Code::Internal, reason),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_decides_and_a_text_only_splits_it() {
        let cases = [
            (598, "Backup S3(..) already exists", Code::PathExists),
            (598, "Backup S3(..) is being written already", Code::PathLocked),
            (608, "Table a.b has a different definition", Code::DefinitionDiffers),
            (608, "because it already contains some data", Code::TargetNotEmpty),
            (499, "S3 exception: `XAdminUserNotFound`", Code::BadCredentials),
            (499, "S3 exception: `NoSuchBucket`", Code::StorageError),
            (499, "PreconditionFailed Message: .., key backups/q1/.lock", Code::PathLocked),
            (36, "another backup with the same ID", Code::IdConflict),
            (36, "malformed", Code::BadRequest),
            (139, "There is no Zookeeper configuration", Code::BadRequest),
            (392, "Replicated DDL queries are disabled", Code::BadRequest),
            (279, "All connection tries failed", Code::ClickhouseUnavailable),
            (4242, "is being written already", Code::Internal),
        ];
        for (number, text, code) in cases {
            assert_eq!(code_of(number, text), code, "{number} {text}");
        }
    }

    #[test]
    fn texts_are_cut_before_their_stack_trace() {
        let text = "Code: 598. DB::Exception: exists. (BACKUP_ALREADY_EXISTS), Stack trace (when \
                    copying this message, always include the lines below):\n\n0. ./src";
        let ServerError::Refused { number, text } = ServerError::from_text(text) else {
            panic!("not refused")
        };
        assert_eq!(number, 598);
        assert!(text.ends_with("(BACKUP_ALREADY_EXISTS),"), "{text}");
        assert_eq!(cut(&"й".repeat(2000)).chars().count(), LONGEST + 3);
        assert!(matches!(ServerError::from_text("<html>"), ServerError::Unreadable { .. }));
    }

    #[test]
    fn access_keys_are_taken_out_of_texts() {
        let text = "Backup S3('http://s/b', 'AK1', '[HIDDEN]') builds on S3('http://s/c', 'AK2', \
                    '[HIDDEN]'): both exist";
        let hidden = "Backup S3('http://s/b', '[HIDDEN]', '[HIDDEN]') builds on S3('http://s/c', \
                      '[HIDDEN]', '[HIDDEN]'): both exist";
        assert_eq!(cut(text), hidden);
        assert_eq!(cut("S3(kept, 'q') is there"), "S3(kept, 'q') is there");
        assert_eq!(cut("', '[HIDDEN]'"), "'[HIDDEN]', '[HIDDEN]'");
    }

    #[test]
    fn codes_are_read_as_they_are_written() {
        for code in Code::ALL {
            assert_eq!(Code::parse(code.as_str()), Some(code));
            assert!(!code.hint().is_empty());
        }
    }
}
