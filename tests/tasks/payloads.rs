//! Generated tasks: each is a task or has a code, the schema says the same of its structure, and
//! none of its secrets is in anything that goes out or is remembered.

use std::collections::BTreeMap;

use deltakeep::clickhouse::{Code, Name, TaskError};
use deltakeep::journal::Tasks;
use deltakeep::queue::ask::{self, Ask, Heavy, Light};
use deltakeep::queue::{Address, Limits, Message, envelope};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::{Value, json};

use crate::hand::{Hand, Place, QUIET};
use crate::schema;

/// In every secret.
const CANARY: &str = "caNary9";

fn seeds() -> Vec<Value> {
    let keys = json!({"access_key": "AKcaNary9", "secret_key": "SKcaNary9"});
    let with = |mut body: Value, place: &str| {
        let fields = body.pointer_mut(place).unwrap().as_object_mut().unwrap();
        fields.extend(keys.as_object().unwrap().clone());
        body
    };
    vec![
        with(
            json!({"type": "create_backup", "payload": {"scope": "database", "database": "quotes",
                "backup_path": "s3://my-bucket/q1"}}),
            "/payload",
        ),
        with(
            json!({"type": "create_backup", "version": 1, "task_id": "t", "payload": {"scope": "table",
                "database": "quotes", "table": "t", "backup_path": "s3://my-bucket/q1",
                "base_backup": "s3://my-bucket/q0", "structure_only": false,
                "max_backup_bandwidth": 1000, "backup_id": "b"}}),
            "/payload",
        ),
        with(
            json!({"type": "restore_backup", "meta": {"a": 1}, "payload": {"backup_id": "r", "request":
                {"scope": "table", "database": "quotes", "table": "t", "source_database": "q",
                "source_table": "u", "backup_path": "s3://my-bucket/q1", "overwrite": true}}}),
            "/payload/request",
        ),
        json!({"type": "list_backups", "payload": {"limit": 5, "cursor": "5/a", "status": "failed",
            "kind": "backup", "database": "quotes", "since": "2026-11-21T00:00:00Z"}}),
        json!({"type": "get_backup", "payload": {"backup_id": "r"}}),
        json!({"type": "backup_to_kafka", "payload": {"topic": "t", "credentials": "main"}}),
        with(
            json!({"type": "restore_backup", "payload": {"request": {"scope": "database",
                "database": "quotes", "backup_path": "s3://my-bucket/q1", "on_cluster": "main",
                "overwrite": false}}}),
            "/payload/request",
        ),
    ]
}

/// A change of a task: a field at a place is removed, replaced, or a further one is added.
#[derive(Clone, Debug)]
enum Change {
    Remove(Index),
    Replace(Index, Value),
    Add(Index, String, Value),
}

fn value() -> impl Strategy<Value = Value> {
    let texts = [
        "",
        "database",
        "table",
        "quotes",
        "system",
        "a\nb",
        "s3://my-bucket/x",
        "s3://b/x",
        "http://h/x",
        "t__bk_0123456789abcdef",
        "restore",
        "succeeded",
        "1",
        "1.5",
        "2",
        "x y",
        "2026-11-21T00:00:00Z",
        "5/a",
        "default",
        "main",
    ];
    prop_oneof![
        4 => select(texts.to_vec()).prop_map(Value::from),
        1 => select(vec![
            json!(null), json!(true), json!(false), json!(0), json!(1), json!(1.5), json!(-1),
            json!(1001), json!(u64::MAX), json!([]), json!(["a", 1]), json!([null]), json!({}),
            json!({"a": {"b": 1}}),
        ]),
        1 => "[a-z:.-]{0,8}|\\PC{0,4}".prop_map(Value::from),
        1 => "x{150,260}".prop_map(Value::from),
    ]
}

fn change() -> impl Strategy<Value = Change> {
    let fields = [
        "type",
        "version",
        "task_id",
        "meta",
        "payload",
        "scope",
        "database",
        "table",
        "overwrite",
        "overwite",
        "source_table",
        "source_database",
        "structure_only",
        "on_cluster",
        "request",
        "backup_id",
        "id",
        "limit",
        "topic",
        "stateDir",
        "access_key",
        "run",
        "x",
    ];
    prop_oneof![
        any::<Index>().prop_map(Change::Remove),
        (any::<Index>(), value()).prop_map(|(at, value)| Change::Replace(at, value)),
        (any::<Index>(), select(fields.to_vec()), value())
            .prop_map(|(at, field, value)| Change::Add(at, field.to_owned(), value)),
    ]
}

/// Places of fields, and of objects.
fn places(value: &Value, at: &str, fields: &mut Vec<String>, objects: &mut Vec<String>) {
    if let Some(inner) = value.as_object() {
        objects.push(at.to_owned());
        for (name, value) in inner {
            let place = format!("{at}/{name}");
            fields.push(place.clone());
            places(value, &place, fields, objects);
        }
    }
}

fn apply(body: &mut Value, change: &Change) {
    let (mut fields, mut objects) = (Vec::new(), Vec::new());
    places(body, "", &mut fields, &mut objects);
    match change {
        Change::Remove(at) if !fields.is_empty() => {
            let place = at.get(&fields);
            let (object, name) = place.rsplit_once('/').unwrap();
            body.pointer_mut(object).unwrap().as_object_mut().unwrap().remove(name);
        }
        Change::Replace(at, value) if !fields.is_empty() => {
            *body.pointer_mut(at.get(&fields[..]).as_str()).unwrap() = value.clone();
        }
        Change::Add(at, name, value) => {
            let object = body.pointer_mut(at.get(&objects[..]).as_str()).unwrap();
            object[name.as_str()] = value.clone();
        }
        Change::Remove(_) | Change::Replace(..) => {}
    }
}

fn read(body: &Value) -> Result<Ask, TaskError> {
    let mut settings = Hand::new("one", &[]).settings;
    settings.policy.clusters = vec!["main".to_owned()];
    let message = Message { body: body.to_string().into_bytes(), ..Message::default() };
    let known = |kind: &str| ask::is_kind(&settings, kind);
    let mut task =
        envelope::read(&message, "backup", known).map_err(|refusal| refusal.error.clone())?;
    ask::read(&mut task, &settings)
}

/// What no schema of ours can say: names that are taken, the grammar of paths, of times and of
/// cursors, sizes in bytes, and which options a command has.
fn is_beyond_the_schema(kind: &str, error: &TaskError) -> bool {
    let places = ["backup_path:", "request.backup_path:", "base_backup:", "request.base_backup:"];
    let further = ["since:", "cursor:", "meta: is larger", "id and backup_id differ"];
    let command = !kind.ends_with("_backup") && !kind.ends_with("_backups");
    let said = |texts: &[&str]| texts.iter().any(|text| error.message.starts_with(text));
    matches!(error.code, Code::ForbiddenTarget | Code::PathNotAllowed)
        || said(&places)
        || said(&further)
        || error.message.contains("200 bytes")
        || command
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn each_is_a_task_or_has_a_code_and_the_schema_agrees(
        seed in any::<Index>(),
        changes in prop::collection::vec(change(), 0..3),
    ) {
        let seeds = seeds();
        let mut body = seed.get(&seeds).clone();
        changes.iter().for_each(|change| apply(&mut body, change));
        let kind = body["type"].as_str().unwrap_or_default().to_owned();
        let read = read(&body);
        let fits = schema::check(&schema::of_kind(&kind), &body);
        match (&read, &fits) {
            (Ok(_), Ok(())) | (Err(_), Err(_)) => {}
            (Err(error), Ok(())) if is_beyond_the_schema(&kind, error) => {}
            (Ok(_), Err(why)) => prop_assert!(false, "{body} is read, but {why}"),
            (Err(error), Ok(())) => prop_assert!(false, "{body} fits, but {error}"),
        }
        if let Err(error) = read {
            let wanted = [Code::BadRequest, Code::UnknownField, Code::UnknownType,
                Code::UnsupportedVersion, Code::ForbiddenTarget, Code::PathNotAllowed];
            prop_assert!(wanted.contains(&error.code), "{body}: {error}");
            prop_assert!(!error.to_string().contains(CANARY), "{body}: {error}");
        }
    }
}

/// Bodies that are cut, mixed up and mangled, all of them through a worker.
#[tokio::test(start_paused = true)]
async fn whatever_is_sent_is_answered_and_no_secret_goes_out() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mangled = (any::<Index>(), any::<Index>(), 0..40usize, "\\PC{0,12}|[\\[\\]{}\":,a-z]{0,8}");
    let place = Place::new();
    let mut hand = Hand::new("one", &[]);
    hand.settings.limits = Limits { backups: 1024, restores: 1024, commands: 1024 };
    let mut number = 0;
    for _ in 0..1500 {
        use proptest::strategy::ValueTree;
        let drawn = mangled.new_tree(&mut runner).unwrap().current();
        let (seed, at, length, into) = drawn;
        let mut body = seed.get(&seeds()).to_string().into_bytes();
        let from = at.index(body.len());
        let to = (from + length).min(body.len());
        body.splice(from..to, into.bytes());
        number += 1;
        let message = Message {
            body,
            message_id: Some(format!("m{number}")),
            reply_to: Some("replies".to_owned()),
            ..Message::default()
        };
        place.exchange.put(message);
    }
    let done = async {
        place.exchange.until(|exchange| exchange.tasks() == 0).await;
        tokio::time::sleep(QUIET).await;
    };
    hand.live(&place, None, done).await;
    let sent = place.exchange.sent();
    let mut finals: BTreeMap<String, usize> = BTreeMap::new();
    let mut dead = 0;
    for message in &sent {
        let text = String::from_utf8_lossy(&message.body);
        let headers = format!("{:?}", message.headers);
        assert!(!text.contains(CANARY) && !headers.contains(CANARY), "{text} {headers}");
        if message.to == Address::Dead {
            dead += 1;
            continue;
        }
        let reply: Value = serde_json::from_slice(&message.body).unwrap();
        if let Err(why) = schema::check(&schema::load("reply"), &reply) {
            panic!("{reply}: {why}");
        }
        *finals.entry(message.message_id.clone().unwrap_or_default()).or_default() += 1;
    }
    assert!(finals.values().sum::<usize>() >= number, "{} of {number} are answered", finals.len());
    assert!(dead > number / 2, "only {dead} were refused");
    let remembered = hand.tasks.all().unwrap();
    assert!(!format!("{remembered:?}").contains(CANARY));
}

#[test]
fn what_is_read_is_what_was_asked_for() {
    let seeds = seeds();
    let heavy = |number: usize| match read(&seeds[number]) {
        Ok(Ask::Heavy(_, heavy)) => *heavy,
        Ok(Ask::Light(_)) => panic!("{number} is answered at once"),
        Err(error) => panic!("{number}: {error}"),
    };
    assert!(matches!(heavy(0), Heavy::Create(_)));
    assert!(matches!(heavy(2), Heavy::Restore(_)));
    assert!(matches!(read(&seeds[3]), Ok(Ask::Light(Light::List(_)))));
    assert!(matches!(read(&seeds[4]), Ok(Ask::Light(Light::Get(_)))));
    assert!(matches!(heavy(5), Heavy::Run(_)));
    let Heavy::Restore(restore) = heavy(6) else { panic!("6 is no restore") };
    assert_eq!(restore.common.cluster.as_ref().map(Name::as_str), Some("main"));
}
