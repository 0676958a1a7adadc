//! What the worker does about single tasks.

use deltakeep::clickhouse::Name;
use deltakeep::journal::{TaskState, Tasks};
use deltakeep::queue::{Address, Limits, Message, Outgoing};
use deltakeep::testing::clickhouse::Faults;
use serde_json::{Value, json};

use crate::hand::{Hand, Life, Place, QUIET, backup, message};

fn place() -> Place {
    let place = Place::new();
    place.server.world().sample(&Name::known("live"), &[1, 2, 3]);
    place
}

fn restore(path: &str, overwrite: bool) -> Value {
    let mut request = backup(false, path)["payload"].clone();
    request["overwrite"] = overwrite.into();
    json!({"type": "restore_backup", "payload": {"request": request}})
}

fn sent_to(place: &Place, address: &Address) -> Vec<Outgoing> {
    place.exchange.sent().into_iter().filter(|sent| sent.to == *address).collect()
}

fn body(sent: &Outgoing) -> Value {
    serde_json::from_slice(&sent.body).unwrap()
}

/// Waits until every task is acknowledged.
async fn taken(place: &Place) {
    place.exchange.until(|exchange| exchange.tasks() == 0).await;
}

/// Waits until nothing more comes of any task.
async fn settled(place: &Place) {
    taken(place).await;
    tokio::time::sleep(QUIET).await;
}

#[tokio::test(start_paused = true)]
async fn the_seeds_tasks_need_nothing_but_their_bodies() {
    let place = place();
    let hand = Hand::new("one", &[]);
    let mut settings = hand.settings.clone();
    settings.results = Some("results".to_owned());
    let hand = Hand { settings, ..hand };
    let create = backup(false, "q1").to_string();
    place.exchange.put(Message { body: create.clone().into_bytes(), ..Message::default() });
    hand.live(&place, None, settled(&place)).await;
    let seed = json!({"type": "restore_backup", "payload": {"backup_id": "restore-op-123",
        "request": restore("q1", true)["payload"]["request"].clone()}});
    let mut seed = seed;
    seed["payload"]["request"]["database"] = "restored".into();
    place.exchange.put(Message { body: seed.to_string().into_bytes(), ..Message::default() });
    hand.live(&place, None, settled(&place)).await;
    let replies = sent_to(&place, &Address::Results("results".into()));
    let told: Vec<_> = replies.iter().map(|sent| body(sent)["status"].clone()).collect();
    assert_eq!(told, ["succeeded", "succeeded"]);
    assert_eq!(body(&replies[1])["backup_id"], "restore-op-123");
    // The same again, and nobody says that it was delivered before.
    place.exchange.put(Message { body: create.clone().into_bytes(), ..Message::default() });
    place.exchange.put(Message { body: seed.to_string().into_bytes(), ..Message::default() });
    // As it was delivered before: a copy.
    let again = Message { body: create.into_bytes(), redelivered: true, ..Message::default() };
    hand.live(&place, None, settled(&place)).await;
    place.exchange.put(again);
    hand.live(&place, None, settled(&place)).await;
    let replies = sent_to(&place, &Address::Results("results".into()));
    let mut later: Vec<_> = replies[2..4].iter().map(|sent| body(sent).to_string()).collect();
    later.sort_unstable();
    assert!(later[0].contains("PATH_EXISTS"), "{later:?}");
    assert!(later[1].contains("\"succeeded\""), "{later:?}");
    assert_eq!(
        replies[4].body,
        replies
            .iter()
            .rev()
            .skip(1)
            .find(|sent| { body(sent)["type"] == "create_backup" })
            .unwrap()
            .body,
        "the same reply again"
    );
}

#[tokio::test(start_paused = true)]
async fn a_second_message_of_the_same_id_gets_the_same_reply_or_a_conflict() {
    let place = place();
    let hand = Hand::new("one", &[]);
    place.exchange.put(message("m", &backup(false, "q1")));
    hand.live(&place, None, place.answered(&["m"])).await;
    let other = Message { reply_to: Some("other".into()), ..message("m", &backup(false, "q1")) };
    place.exchange.put(other);
    let changed = Message { reply_to: Some("third".into()), ..message("m", &backup(false, "q2")) };
    place.exchange.put(changed);
    // After a new start, too.
    hand.live(&place, None, settled(&place)).await;
    let first = sent_to(&place, &Address::Queue("replies".into()));
    let again = sent_to(&place, &Address::Queue("other".into()));
    assert_eq!((first.len(), again.len()), (1, 1));
    assert_eq!(first[0].body, again[0].body);
    assert_eq!(first[0].message_id, again[0].message_id);
    let conflict = sent_to(&place, &Address::Queue("third".into()));
    assert_eq!(body(&conflict[0])["error"]["code"], "ID_CONFLICT");
    assert!(place.server.world().operations().count() == 1, "one BACKUP");
}

#[tokio::test(start_paused = true)]
async fn another_message_of_a_finished_operation_is_told_so() {
    let place = place();
    let hand = Hand::new("one", &[]);
    let mut create = backup(false, "q1");
    create["payload"]["backup_id"] = "op".into();
    for id in ["a", "b"] {
        place.exchange.put(message(id, &create));
        hand.live(&place, None, place.answered(&[id])).await;
    }
    assert_eq!(place.status("a"), "succeeded");
    assert_eq!(place.reply("b")["error"]["code"], "PATH_EXISTS");
    let mut back = restore("q1", true);
    back["payload"]["backup_id"] = "back".into();
    for id in ["c", "d"] {
        place.exchange.put(message(id, &back));
        hand.live(&place, None, place.answered(&[id])).await;
    }
    assert_eq!(place.reply("c")["result"], place.reply("d")["result"]);
    assert_eq!(place.status("d"), "succeeded");
}

#[tokio::test(start_paused = true)]
async fn what_is_no_task_is_answered_kept_without_secrets_and_gone() {
    let place = place();
    let hand = Hand::new("one", &[]);
    let good = backup(false, "q1").to_string();
    let cases: Vec<(&str, String, &str)> = vec![
        ("a", good[..good.len() - 2].to_owned(), "BAD_JSON"),
        ("b", good.replace("create_backup", "drop_all"), "UNKNOWN_TYPE"),
        ("c", good.replace("\"scope\"", "\"overwite\""), "BAD_REQUEST"),
        ("d", good.replacen('{', "{\"version\": 7, ", 1), "UNSUPPORTED_VERSION"),
        ("e", good.replacen('{', "{\"vrsion\": 7, ", 1), "UNKNOWN_FIELD"),
        ("f", good.replace("live", "system"), "FORBIDDEN_TARGET"),
        ("g", format!("{good}{}", " ".repeat(70_000)), "BAD_REQUEST"),
    ];
    for (id, text, _) in &cases {
        let message = message(id, &Value::Null);
        place.exchange.put(Message { body: text.clone().into_bytes(), ..message });
    }
    let life = hand.live(&place, None, settled(&place)).await;
    let dead = sent_to(&place, &Address::Dead);
    assert_eq!(dead.len(), cases.len());
    for (id, _, code) in &cases {
        let reply = place.reply(id);
        assert_eq!(reply["error"]["code"], *code, "{id}: {reply}");
        let kept = dead.iter().find(|sent| sent.message_id.as_deref() == Some(*id)).unwrap();
        assert_eq!(kept.headers["code"], *code);
        assert_eq!(kept.headers["worker"], "one");
        assert!(kept.reply_to.is_none());
        assert!(!String::from_utf8_lossy(&kept.body).contains("caNary"), "{id}");
    }
    let Life::Stopped(_, counts) = life else { panic!("killed") };
    assert_eq!(counts.dead, 7);
    assert_eq!(counts.tasks[&("unknown".into(), "BAD_JSON".into())], 1);
    assert_eq!(counts.tasks[&("create_backup".into(), "FORBIDDEN_TARGET".into())], 1);
    assert!(hand.states().is_empty(), "nothing of them is remembered");
}

#[tokio::test(start_paused = true)]
async fn a_queue_of_replies_that_is_gone_holds_nothing_up() {
    let place = place();
    let hand = Hand::new("one", &[]);
    place.exchange.remove(Address::Queue("replies".into()));
    place.exchange.remove(Address::Dead);
    place.exchange.put(message("m", &backup(false, "q1")));
    place.exchange.put(message("n", &json!({"type": "drop_all"})));
    place.exchange.put(message("o", &json!({"type": "list_backups"})));
    let life = hand.live(&place, None, settled(&place)).await;
    assert_eq!(hand.states(), [TaskState::Done]);
    let Life::Stopped(served, counts) = life else { panic!("killed") };
    assert_eq!((served.left, counts.unsent), (0, 0));
    let told = hand.tasks.all().unwrap();
    assert!(told[0].reply.as_ref().unwrap().contains("succeeded"), "the journal keeps it");
}

#[tokio::test(start_paused = true)]
async fn a_task_that_kills_its_workers_is_buried() {
    let place = place();
    let mut hand = Hand::new("one", &[]);
    hand.settings.poison = 3;
    place.exchange.put(message("m", &backup(false, "q1")));
    for life in 1..=4 {
        // Killed at the first thing that it does about the task but remember it.
        let killed = hand.live(&place, Some(4), tokio::time::sleep(QUIET)).await;
        assert!(matches!(killed, Life::Killed), "life {life}");
        let remembered = hand.tasks.all().unwrap();
        // The first time was not durable yet.
        let deliveries = remembered.first().map_or(0, |task| task.deliveries);
        assert_eq!(deliveries, life - 1, "life {life}");
    }
    hand.live(&place, None, place.answered(&["m"])).await;
    assert_eq!(place.reply("m")["error"]["code"], "INTERNAL");
    let dead = sent_to(&place, &Address::Dead);
    assert_eq!(dead.len(), 1);
    assert_eq!(body(&dead[0])["payload"]["database"], "live");
    assert!(!String::from_utf8_lossy(&dead[0].body).contains("caNary"));
}

#[tokio::test(start_paused = true)]
async fn above_the_limit_tasks_come_again_and_short_ones_are_answered_meanwhile() {
    let place = place();
    let mut hand = Hand::new("one", &[]);
    hand.settings.limits = Limits { backups: 1, ..Limits::default() };
    place.server.world().faults = Faults { unseen: 500, ..Faults::default() };
    for id in ["a", "b"] {
        place.exchange.put(message(id, &backup(false, id)));
    }
    let done = async {
        place.exchange.until(|exchange| exchange.sent().len() == 1).await;
        let later = sent_to(&place, &Address::Later);
        assert_eq!(later.len(), 1, "one was sent back, once");
        assert_eq!(later[0].message_id.as_deref(), Some("b"));
        assert_eq!(later[0].reply_to.as_deref(), Some("replies"));
        place.exchange.put(message("list", &json!({"type": "list_backups"})));
        place.answered(&["list"]).await;
        let first = place.reply("list")["result"]["operations"][0].clone();
        assert_eq!((&first["id"], &first["status"]), (&json!("a"), &json!("running")));
        place.answered(&["a"]).await;
        assert_eq!(place.exchange.end_pause(), 1);
        place.answered(&["b"]).await;
    };
    let Life::Stopped(_, counts) = hand.live(&place, None, done).await else { panic!("killed") };
    assert_eq!((place.status("a"), place.status("b")), ("succeeded".into(), "succeeded".into()));
    assert_eq!(counts.later, 1);
    assert_eq!(counts.tasks[&("create_backup".into(), "succeeded".into())], 2);
    assert!(counts.running.values().all(|number| *number == 0), "{counts:?}");
}

#[tokio::test(start_paused = true)]
async fn without_a_place_to_wait_tasks_are_held() {
    let place = place();
    let mut hand = Hand::new("one", &[]);
    hand.settings.limits = Limits { backups: 1, ..Limits::default() };
    place.exchange.remove(Address::Later);
    for id in ["a", "b", "c"] {
        place.exchange.put(message(id, &backup(false, id)));
    }
    hand.live(&place, None, place.answered(&["a", "b", "c"])).await;
    for id in ["a", "b", "c"] {
        assert_eq!(place.status(id), "succeeded");
    }
}

#[tokio::test(start_paused = true)]
async fn an_operation_at_its_end_is_told_of_without_the_server() {
    let place = place();
    let hand = Hand::new("one", &[]);
    place.exchange.put(message("m", &backup(false, "q1")));
    hand.live(&place, None, place.answered(&["m"])).await;
    let before = place.server.world().asked;
    for number in 0..100 {
        let body = json!({"type": "get_backup", "payload": {"id": "m"}});
        place.exchange.put(message(&format!("get{number}"), &body));
    }
    hand.live(&place, None, settled(&place)).await;
    assert_eq!(place.reply("get99")["result"]["status"], "succeeded");
    assert_eq!(place.server.world().asked, before);
    assert_eq!(hand.states().len(), 1, "no journal has them");
}

#[tokio::test(start_paused = true)]
async fn progress_is_told_to_those_who_ask_for_it() {
    let place = place();
    let hand = Hand::new("one", &[]);
    place.server.world().faults = Faults { unseen: 40, ..Faults::default() };
    let header = [("progress".to_owned(), "true".to_owned())].into();
    place.exchange.put(Message { headers: header, ..message("m", &backup(false, "q1")) });
    place.exchange.put(message("n", &backup(false, "q2")));
    hand.live(&place, None, place.answered(&["m", "n"])).await;
    let ids: Vec<_> =
        place.exchange.sent().into_iter().filter_map(|sent| sent.message_id).collect();
    let of = |id: &str| ids.iter().filter(|sent| sent.as_str() == id).count();
    assert_eq!(of("m/accepted"), 1);
    assert!(of("m/progress") >= 1, "{ids:?}");
    assert_eq!((of("n/accepted"), of("n/progress")), (0, 0));
    let last = ids.iter().rposition(|id| id.starts_with("m/")).unwrap();
    assert_eq!(ids[last], "m/final", "nothing follows the last word");
}

#[tokio::test(start_paused = true)]
async fn a_command_that_is_stopped_goes_on_after_the_next_start() {
    let place = place();
    let hand = Hand::new("one", &[]);
    hand.runner.runs().held = true;
    let body = json!({"type": "backup_to_kafka", "payload": {"topic": "t", "credentials": "main"}});
    place.exchange.put(message("m", &body));
    let life = hand.live(&place, None, taken(&place)).await;
    let Life::Stopped(served, _) = life else { panic!("killed") };
    assert_eq!(served.left, 1);
    assert_eq!(hand.states(), [TaskState::Acked]);
    hand.runner.let_go();
    hand.live(&place, None, place.answered(&["m"])).await;
    let started: Vec<_> = hand.runner.runs().started.clone();
    assert_eq!(started[0].words, ["backup_to_kafka", "--topic=t"]);
    assert_eq!(started[1].words, ["resume", "--", "run-1"]);
    assert_eq!(started[1].credentials.as_deref(), Some("main"));
    assert_eq!(place.reply("m")["result"], json!({"run": "run-1"}));
}

#[tokio::test(start_paused = true)]
async fn a_command_that_was_killed_is_resumed_and_a_failure_is_told() {
    let place = place();
    let hand = Hand::new("one", &[]);
    hand.runner.runs().codes.extend([None, Some(7), Some(3)]);
    let body = json!({"type": "backup_to_kafka", "payload": {"topic": "t"}});
    place.exchange.put(message("m", &body));
    hand.live(&place, None, place.answered(&["m"])).await;
    assert_eq!(hand.runner.runs().started.len(), 3);
    let error = place.reply("m")["error"].clone();
    assert_eq!((&error["code"], &error["exit_code"]), (&json!("REFUSED"), &json!(3)));
    assert_eq!(error["message"], "topic \"t\" is not there");
    let unknown = json!({"type": "verify", "payload": {"credentials": "unknown"}});
    place.exchange.put(message("n", &unknown));
    hand.live(&place, None, place.answered(&["n"])).await;
    assert_eq!(place.reply("n")["error"]["code"], "BAD_REQUEST");
}

#[tokio::test(start_paused = true)]
async fn asked_to_stop_it_leaves_clickhouse_at_work_and_goes_on_later() {
    let place = place();
    let hand = Hand::new("one", &[]);
    place.server.world().faults = Faults { unseen: 1000, ..Faults::default() };
    place.exchange.put(message("m", &backup(false, "q1")));
    let life = hand.live(&place, None, taken(&place)).await;
    let Life::Stopped(served, _) = life else { panic!("killed") };
    assert_eq!((served.left, hand.states()), (1, vec![TaskState::Acked]));
    assert!(place.server.world().operations().all(|operation| operation.status.is_running()));
    tokio::time::sleep(QUIET).await;
    hand.live(&place, None, place.answered(&["m"])).await;
    assert_eq!(place.status("m"), "succeeded");
}
