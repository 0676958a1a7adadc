//! What can be asked for: the four tasks, read from the seed's JSON, every field checked and named.
//! Pure. Owns no statement and no default that the server has itself.

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::failure::{Code, TaskError};
use super::json::Fields;
use super::list::Query;
use super::name::{Name, NameError, Object, OperationId};
use super::place::{Place, PlaceError, Places};
use super::secret::Keys;

/// Largest bandwidth that is taken, bytes a second: a setting of the server is 64 bits with a sign.
const BANDWIDTH: u64 = i64::MAX as u64;

/// A checked task.
#[derive(Clone, Debug, PartialEq)]
pub enum Task {
    /// Back a database or a table up.
    Create(CreateBackup),
    /// Restore one.
    Restore(RestoreBackup),
    /// Tell of operations.
    List(Query),
    /// Tell of one operation.
    Get(OperationId),
}

/// What backups and restores have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Common {
    /// What is backed up; what a restore fills.
    pub object: Object,
    /// Where the backup lies.
    pub place: Place,
    /// Keys of the object store; none where the server has its own.
    pub keys: Option<Keys>,
    /// The backup that this one builds on.
    pub base: Option<Place>,
    /// Only definitions, no rows.
    pub structure_only: bool,
    /// Bytes a second, of the server.
    pub bandwidth: Option<u64>,
    /// The cluster whose servers take part.
    pub cluster: Option<Name>,
}

/// `create_backup`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateBackup {
    /// The id that the sender chose.
    pub id: Option<OperationId>,
    /// The rest.
    pub common: Common,
}

/// `restore_backup`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestoreBackup {
    /// The id that the sender chose.
    pub id: Option<OperationId>,
    /// The rest.
    pub common: Common,
    /// The name in the backup, as far as it is given.
    pub source_database: Option<Name>,
    /// The table's name in the backup, where it is given.
    pub source_table: Option<Name>,
    /// Whether what is there may be replaced.
    pub overwrite: bool,
}

/// What may be asked for, beyond the rules of [`Places`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Where backups may lie.
    pub places: Places,
    /// Clusters that may take part; none are allowed unless they are named.
    pub clusters: Vec<String>,
}

impl Task {
    /// Reads a task by its type.
    ///
    /// # Errors
    /// A [`TaskError`] that names the field.
    pub fn read(kind: &str, payload: Value, policy: &Policy) -> Result<Self, TaskError> {
        match kind {
            "create_backup" => create(payload, policy).map(Self::Create),
            "restore_backup" => restore(payload, policy).map(Self::Restore),
            "list_backups" => Query::read(payload).map(Self::List),
            "get_backup" => get(payload).map(Self::Get),
            other => {
                let text = format!("{} is no task", super::json::shown(other));
                Err(TaskError::new(Code::UnknownType, text))
            }
        }
    }
}

fn create(payload: Value, policy: &Policy) -> Result<CreateBackup, TaskError> {
    let mut fields = Fields::of("", payload)?;
    let id = id(&mut fields, "backup_id")?;
    let common = common(&mut fields, policy)?;
    fields.end()?;
    Ok(CreateBackup { id, common })
}

fn restore(payload: Value, policy: &Policy) -> Result<RestoreBackup, TaskError> {
    let mut outer = Fields::of("", payload)?;
    let id = id(&mut outer, "backup_id")?;
    let request = outer.take("request").ok_or_else(|| outer.wrong("request", "is missing"))?;
    outer.end()?;
    let mut fields = Fields::of("request.", request)?;
    let common = common(&mut fields, policy)?;
    let source_database = name(&mut fields, "source_database")?;
    let source_table = name(&mut fields, "source_table")?;
    let overwrite = fields.flag("overwrite")?;
    if source_table.is_some() && common.object.table.is_none() {
        return Err(fields.wrong("source_table", "only with scope table"));
    }
    if overwrite {
        refuse_overwrite(&fields, &common)?;
    }
    fields.end()?;
    Ok(RestoreBackup { id, common, source_database, source_table, overwrite })
}

/// What cannot be replaced safely.
fn refuse_overwrite(fields: &Fields, common: &Common) -> Result<(), TaskError> {
    if common.structure_only {
        return Err(
            fields.wrong("overwrite", "not with structure_only: it would replace rows by none")
        );
    }
    if common.cluster.is_some() {
        let why = "not with on_cluster: what was there could not be put back on all hosts. Restore \
                   under another name, or drop it on the cluster before";
        return Err(fields.wrong("overwrite", why));
    }
    let whole = common.object.table.is_none();
    if whole && common.object.database.as_str() == "default" {
        // A server that starts while it is away makes an empty one.
        let message = "database default cannot be replaced as a whole";
        return Err(TaskError::new(Code::ForbiddenTarget, message));
    }
    Ok(())
}

fn get(payload: Value) -> Result<OperationId, TaskError> {
    let mut fields = Fields::of("", payload)?;
    let (first, second) = (id(&mut fields, "backup_id")?, id(&mut fields, "id")?);
    fields.end()?;
    match (first, second) {
        (Some(id), None) | (None, Some(id)) => Ok(id),
        (Some(first), Some(second)) if first == second => Ok(first),
        (Some(_), Some(_)) => Err(TaskError::new(Code::BadRequest, "id and backup_id differ")),
        (None, None) => Err(TaskError::new(Code::BadRequest, "backup_id: is missing")),
    }
}

fn id(fields: &mut Fields, field: &str) -> Result<Option<OperationId>, TaskError> {
    let Some(text) = fields.text(field)? else { return Ok(None) };
    let rule = "1 to 128 letters, digits, dots, dashes, underscores and colons are wanted";
    OperationId::parse(&text).map(Some).ok_or_else(|| fields.wrong(field, rule))
}

fn name(fields: &mut Fields, field: &str) -> Result<Option<Name>, TaskError> {
    let Some(text) = fields.text(field)? else { return Ok(None) };
    Name::parse(&text).map(Some).map_err(|error| {
        let code = match error {
            NameError::Reserved => Code::ForbiddenTarget,
            NameError::Length | NameError::Control => Code::BadRequest,
        };
        TaskError { code, ..fields.wrong(field, error) }
    })
}

fn place(
    fields: &Fields,
    field: &str,
    text: &str,
    (keys, policy): (Option<&Keys>, &Policy),
) -> Result<Place, TaskError> {
    let place = match keys {
        Some(_) => Place::parse(text, &policy.places),
        None => Place::without_keys(text, &policy.places),
    };
    place.map_err(|error| {
        let code = match error {
            PlaceError::NotAllowed | PlaceError::Http => Code::PathNotAllowed,
            _ => Code::BadRequest,
        };
        TaskError { code, ..fields.wrong(field, error) }
    })
}

fn object(fields: &mut Fields) -> Result<Object, TaskError> {
    let scope = fields.needed("scope")?;
    let database =
        name(fields, "database")?.ok_or_else(|| fields.wrong("database", "is missing"))?;
    let table = name(fields, "table")?;
    match (scope.as_str(), table) {
        ("database", None) => Ok(Object { database, table: None }),
        ("database", Some(_)) => Err(fields.wrong("table", "only with scope table")),
        ("table", Some(table)) => Ok(Object { database, table: Some(table) }),
        ("table", None) => Err(fields.wrong("table", "is missing")),
        _ => Err(fields.wrong("scope", "database or table is wanted")),
    }
}

fn common(fields: &mut Fields, policy: &Policy) -> Result<Common, TaskError> {
    let object = object(fields)?;
    let path = fields.needed("backup_path")?;
    let keys = match (fields.secret("access_key")?, fields.secret("secret_key")?) {
        (Some(access), Some(secret)) => Some(Keys { access, secret }),
        (None, None) => None,
        (None, Some(_)) => return Err(fields.wrong("access_key", "is missing beside secret_key")),
        (Some(_), None) => return Err(fields.wrong("secret_key", "is missing beside access_key")),
    };
    let with = (keys.as_ref(), policy);
    let at = place(fields, "backup_path", &path, with)?;
    let base = match fields.text("base_backup")? {
        Some(path) => Some(place(fields, "base_backup", &path, with)?),
        None => None,
    };
    if base.as_ref() == Some(&at) {
        return Err(fields.wrong("base_backup", "is backup_path itself"));
    }
    let bandwidth = fields.number("max_backup_bandwidth")?;
    if bandwidth.is_some_and(|bytes| bytes == 0 || bytes > BANDWIDTH) {
        return Err(fields.wrong("max_backup_bandwidth", "1 or more bytes a second are wanted"));
    }
    let cluster = name(fields, "on_cluster")?;
    if let Some(cluster) = &cluster
        && !policy.clusters.iter().any(|allowed| allowed == cluster.as_str())
    {
        let error = fields.wrong("on_cluster", "this cluster is not allowed here");
        return Err(TaskError { code: Code::ForbiddenTarget, ..error });
    }
    let structure_only = fields.flag("structure_only")?;
    Ok(Common { object, place: at, keys, base, structure_only, bandwidth, cluster })
}

/// What a request asks for, without its id and its secrets, as a hash: the same id with another
/// one is a conflict.
pub fn fingerprint(task: &str, common: &Common, restore: Option<&RestoreBackup>) -> [u8; 32] {
    let mut hash = Sha256::new();
    let mut add = |part: Option<&str>| {
        let part = part.map(str::as_bytes);
        hash.update(part.map_or(0, |part| part.len() as u64 + 1).to_be_bytes());
        hash.update(part.unwrap_or_default());
    };
    add(Some(task));
    add(Some(common.object.database.as_str()));
    add(common.object.table.as_ref().map(Name::as_str));
    add(Some(common.place.path()));
    add(common.base.as_ref().map(Place::path));
    add(common.structure_only.then_some("structure"));
    add(common.cluster.as_ref().map(Name::as_str));
    add(restore.and_then(|restore| restore.source_database.as_ref()).map(Name::as_str));
    add(restore.and_then(|restore| restore.source_table.as_ref()).map(Name::as_str));
    add(restore.filter(|restore| restore.overwrite).map(|_| "overwrite"));
    hash.finalize().into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::json;
    use super::*;

    const CREATE: &str = r#"{"scope": "database", "database": "quotes",
        "backup_path": "s3://my-bucket/backups/quotes_backup_1",
        "access_key": "...", "secret_key": "..."}"#;
    const RESTORE: &str = r#"{"backup_id": "restore-op-123", "request": {"scope": "database",
        "database": "quotes_restored", "backup_path": "s3://my-bucket/backups/quotes_backup_1",
        "access_key": "...", "secret_key": "...", "overwrite": true}}"#;

    fn read(kind: &str, body: &str) -> Result<Task, TaskError> {
        Task::read(kind, json::read(body.as_bytes())?, &Policy::default())
    }

    #[test]
    fn the_seeds_bodies_are_taken_unchanged() {
        let Ok(Task::Create(create)) = read("create_backup", CREATE) else { panic!("refused") };
        assert_eq!((create.id, create.common.object.to_string()), (None, "quotes".to_owned()));
        let Ok(Task::Restore(restore)) = read("restore_backup", RESTORE) else { panic!("refused") };
        assert_eq!(restore.id, OperationId::parse("restore-op-123"));
        assert!(restore.overwrite && restore.source_database.is_none());
        assert!(matches!(read("list_backups", "{}"), Ok(Task::List(_))));
        assert!(matches!(read("get_backup", r#"{"id": "a"}"#), Ok(Task::Get(_))));
    }

    #[test]
    fn every_field_that_is_wrong_is_named() {
        let change = |from: &str, to: &str| read("create_backup", &CREATE.replace(from, to));
        let cases = [
            (r#""scope": "database","#, "", Code::BadRequest, "scope: is missing"),
            ("\"database\",", "\"cluster\",", Code::BadRequest, "scope: database or table"),
            ("\"quotes\"", "1", Code::BadRequest, "database: a text"),
            ("\"quotes\"", "\"system\"", Code::ForbiddenTarget, "database: this name is reserved"),
            ("\"database\",", "\"table\",", Code::BadRequest, "table: is missing"),
            ("\"quotes\"", "\"q\", \"table\": \"t\"", Code::BadRequest, "table: only with"),
            ("s3://", "http://", Code::PathNotAllowed, "backup_path: http://"),
            ("s3://my-bucket", "s3://b", Code::BadRequest, "backup_path: a bucket"),
            ("\"access_key\": \"...\",", "", Code::BadRequest, "access_key: is missing"),
            ("\"quotes\"", "\"q\", \"overwite\": true", Code::UnknownField, "\"overwite\""),
            ("\"quotes\"", "\"q\", \"on_cluster\": \"c\"", Code::ForbiddenTarget, "on_cluster"),
            ("\"quotes\"", "\"q\", \"max_backup_bandwidth\": 0", Code::BadRequest, "max_backup"),
            (
                "\"quotes\"",
                "\"q\", \"backup_id\": \"a b\"",
                Code::BadRequest,
                "backup_id: 1 to 128",
            ),
        ];
        for (from, to, code, message) in cases {
            let error = change(from, to).expect_err(from);
            assert_eq!(error.code, code, "{from} {to}: {error}");
            assert!(error.message.starts_with(message), "{from} {to}: {error}");
        }
        assert_eq!(read("drop_all", "{}").expect_err("refused").code, Code::UnknownType);
        let default = RESTORE.replace("quotes_restored", "default");
        assert_eq!(read("restore_backup", &default).expect_err("d").code, Code::ForbiddenTarget);
    }

    #[test]
    fn a_cluster_is_restored_where_it_is_allowed_and_never_overwritten() {
        let policy = Policy { clusters: vec!["main".into()], ..Policy::default() };
        let read = |overwrite: &str, policy: &Policy| {
            let with = format!("{overwrite}, \"on_cluster\": \"main\"");
            let body = RESTORE.replace("true", &with);
            Task::read("restore_backup", json::read(body.as_bytes())?, policy)
        };
        let Ok(Task::Restore(restore)) = read("false", &policy) else { panic!("refused") };
        assert_eq!(restore.common.cluster, Some(Name::known("main")));
        let refused = read("true", &policy).expect_err("refused");
        assert_eq!(refused.code, Code::BadRequest);
        let message = &refused.message;
        assert!(message.starts_with("request.overwrite: not with on_cluster"), "{message}");
        assert!(message.contains("drop it on the cluster before"), "{message}");
        let stranger = read("false", &Policy::default()).expect_err("refused");
        assert_eq!(stranger.code, Code::ForbiddenTarget);
    }

    #[test]
    fn no_error_repeats_a_secret() {
        let canary = CREATE.replace("...", "caNary\\u0001");
        let error = read("create_backup", &canary).expect_err("refused");
        assert!(!format!("{error:?}").contains("caNary"), "{error:?}");
    }

    #[test]
    fn the_fingerprint_knows_neither_id_nor_keys() {
        let of = |body: &str| match read("restore_backup", body) {
            Ok(Task::Restore(r)) => fingerprint("restore_backup", &r.common, Some(&r)),
            other => panic!("{other:?}"),
        };
        let base = of(RESTORE);
        assert_eq!(of(&RESTORE.replace("restore-op-123", "other").replace("...", "k")), base);
        for (from, to) in [("quotes_restored", "q"), ("backup_1", "backup_2"), ("true", "false")] {
            assert_ne!(of(&RESTORE.replace(from, to)), base, "{from}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(10_000))]
        #[test]
        fn any_payload_has_an_answer_and_none_repeats_a_secret(
            restore in any::<bool>(),
            from in any::<prop::sample::Index>(),
            length in 0..60usize,
            into in "\\PC{0,12}|[\\[\\]{}\":,0-9a-z/]{0,12}|\"(scope|table|overwrite|on_cluster)\": ?(1|true|\"t\")",
        ) {
            let (kind, body) = match restore {
                true => ("restore_backup", RESTORE),
                false => ("create_backup", CREATE),
            };
            let mut body = body.replace("\"...\"", "\"caNary\"");
            let at = from.index(body.len());
            let end = (at + length).min(body.len());
            body.replace_range(at..end, &into);
            let wanted = [
                Code::BadJson,
                Code::BadRequest,
                Code::UnknownField,
                Code::ForbiddenTarget,
                Code::PathNotAllowed,
            ];
            if let Err(error) = read(kind, &body) {
                prop_assert!(wanted.contains(&error.code), "{}", error);
                // Only a name of a field is repeated, and only where the secret became one.
                let told = format!("{error:?}");
                let is_name = matches!(error.code, Code::UnknownField | Code::BadJson);
                prop_assert!(is_name || !told.contains("caNary"), "{}", told);
            }
        }
    }
}
