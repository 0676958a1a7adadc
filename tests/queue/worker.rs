//! The worker as users have it: the seed's tasks, tasks that are none, questions while it works, its
//! numbers, its end.

use serde_json::{Value, json};

use crate::desk::{Desk, get};
use crate::servers::{eventually, setting, share, sql};

#[test]
fn the_seeds_examples_are_carried_out_and_answered() {
    let _turn = share();
    let desk = Desk::new("qseed");
    let worker = desk.worker(&[]);
    let path = format!("{}/quotes_backup_1", desk.store.path);
    let reply = desk.ask(&desk.create(&path), "create-1");
    assert_eq!(
        (&reply["status"], &reply["error"], &reply["type"], &reply["task_id"]),
        (&"succeeded".into(), &Value::Null, &"create_backup".into(), &"create-1".into()),
        "{reply}"
    );
    assert!(reply["result"]["files"].as_u64() > Some(10), "{reply}");
    let restored = format!("{}_restored", desk.store.db);
    let reply = desk.ask(&desk.restore(&path, &restored, "restore-op-123"), "restore-1");
    assert_eq!(
        (&reply["status"], &reply["backup_id"]),
        (&"succeeded".into(), &"restore-op-123".into()),
        "{reply}"
    );
    assert_eq!(reply["result"]["verify"]["state"], "passed", "{reply}");
    assert_eq!(desk.store.counts(&restored), "1000\t1000\t1000\t1000\t5");
    // The worker's operations are those of the command line, while it runs and afterwards.
    let get = ["clickhouse", "--output", "json", "get-backup", "restore-op-123"];
    assert_eq!(desk.store.run(&get).code, Some(0));
    desk.stop(worker);
    let done = desk.store.run(&get);
    assert!(done.stdout.contains("\"succeeded\""), "{done}");
    assert_eq!(desk.dead(), []);
    desk.store.require_tidy();
}

#[test]
fn questions_are_answered_while_a_backup_works_and_after_the_worker_was_stopped_in_its_middle() {
    let _turn = share();
    let desk = Desk::new("qlong");
    desk.store.fill(24);
    let worker = desk.worker(&[]);
    let path = format!("{}/long", desk.store.path);
    let mut task = desk.create(&path);
    task["payload"]["max_backup_bandwidth"] = 3_000_000.into();
    desk.put(&task.to_string(), "long-1");
    let question = json!({"type": "get_backup", "payload": {"backup_id": "long-1"}});
    let working = || {
        let reply = desk.ask(&question, "question");
        reply["result"]["status"] == "running"
    };
    assert!(eventually(std::time::Duration::from_secs(30), working), "it never ran");
    let list = json!({"type": "list_backups", "payload": {"database": desk.store.db}});
    let listed = desk.ask(&list, "list");
    assert_eq!(listed["result"]["operations"][0]["id"], "long-1", "{listed}");
    let done = desk.stop(worker);
    assert!(done.stderr.contains("1 tasks go on"), "{done}");
    let worker = desk.worker(&[]);
    let (id, reply) = desk.reply();
    assert_eq!(id, "long-1");
    assert_eq!((&reply["status"], &reply["final"]), (&"succeeded".into(), &true.into()), "{reply}");
    desk.stop(worker);
}

#[test]
fn what_is_no_task_is_answered_with_its_code_and_kept_without_secrets() {
    let _turn = share();
    let desk = Desk::new("qbad");
    let worker = desk.worker(&[]);
    let large = format!("{{\"type\": \"get_backup\", \"payload\": \"{}\"}}", "x".repeat(70_000));
    let cases = [
        ("{\"secret_key\": \"caNary", "BAD_JSON"),
        ("[]", "BAD_REQUEST"),
        (&*large, "BAD_REQUEST"),
        (r#"{"type": "erase_backup", "payload": {"secret_key": "caNary"}}"#, "UNKNOWN_TYPE"),
        (r#"{"type": "get_backup", "version": 9, "payload": {}}"#, "UNSUPPORTED_VERSION"),
        (
            r#"{"type": "get_backup", "payload": {"id": "x", "overwite": 1, "secret_key": "caNary"}}"#,
            "UNKNOWN_FIELD",
        ),
        (r#"{"type": "verify", "payload": {"stateDir": "/etc"}}"#, "FORBIDDEN_TARGET"),
        (
            r#"{"type": "backup_to_kafka", "payload": {"connect": "h/d?password=caNary"}}"#,
            "FORBIDDEN_TARGET",
        ),
    ];
    for (number, (body, code)) in cases.iter().enumerate() {
        let id = format!("bad-{number}");
        desk.put(body, &id);
        let (of, reply) = desk.reply();
        assert_eq!((of, &reply["error"]["code"]), (id, &Value::from(*code)), "{reply}");
        assert!(!reply.to_string().contains("caNary"), "{reply}");
    }
    let mut dead = Vec::new();
    let all = || {
        dead.extend(desk.dead());
        dead.len() == cases.len()
    };
    assert!(eventually(std::time::Duration::from_secs(20), all));
    let codes: Vec<_> = dead.iter().map(|(_, code)| code.as_str()).collect();
    assert_eq!(codes, cases.map(|(_, code)| code));
    assert!(dead.iter().all(|(body, _)| !body.contains("caNary")), "{dead:?}");
    desk.stop(worker);
}

#[test]
fn a_worker_tells_its_numbers_and_whether_it_is_ready() {
    let _turn = share();
    let desk = Desk::new("qnumbers");
    let worker = desk.worker(&["--listen", "127.0.0.1:0"]);
    let told = worker.stderr();
    let address = told.split("http://").nth(1).and_then(|rest| rest.split('/').next());
    let address = address.expect("an address").to_owned();
    let ready = || get(&address, "/readyz").0 == 200;
    assert!(eventually(std::time::Duration::from_secs(20), ready));
    assert_eq!(get(&address, "/healthz").0, 200);
    let question = json!({"type": "get_backup", "payload": {"backup_id": "nobody"}});
    assert_eq!(desk.ask(&question, "q")["error"]["code"], "NOT_FOUND");
    let wanted = "deltakeep_worker_tasks_total{type=\"get_backup\",outcome=\"NOT_FOUND\"} 1";
    let counted = || get(&address, "/metrics").1.contains(wanted);
    assert!(eventually(std::time::Duration::from_secs(10), counted));
    assert!(get(&address, "/metrics").1.contains("deltakeep_worker_broker_up 1.0"));
    block(&desk);
    let unready = || {
        let (code, text) = get(&address, "/readyz");
        code == 503 && text.contains("RabbitMQ")
    };
    assert!(eventually(std::time::Duration::from_secs(20), unready));
    desk.stop(worker);
}

/// Takes the worker's queue away.
fn block(desk: &Desk) {
    crate::support::block_on(desk.other.delete(&format!("{}.dead", desk.queue)));
    crate::support::block_on(desk.other.delete(&desk.queue));
}

#[test]
fn a_second_worker_of_the_same_folder_is_refused_and_one_without_queues_too() {
    let _turn = share();
    let desk = Desk::new("qtwice");
    let missing = desk.store.run(&["worker"]);
    assert_eq!(missing.code, Some(3), "{missing}");
    assert!(missing.stderr.contains("--declare"), "{missing}");
    let worker = desk.worker(&[]);
    let second = desk.store.run(&["worker"]);
    assert_eq!(second.code, Some(7), "{second}");
    assert!(second.stderr.contains("once that process has ended"), "{second}");
    desk.stop(worker);
}

#[test]
fn send_waits_for_the_reply_and_ends_by_its_code() {
    let _turn = share();
    let desk = Desk::new("qsend");
    let nobody = desk.send(&["--type", "list_backups"]);
    assert_eq!(nobody.code, Some(3), "{nobody}");
    assert!(nobody.stderr.contains("--declare"), "{nobody}");
    let worker = desk.worker(&[]);
    let path = format!("{}/sent", desk.store.path);
    // Without keys: they come from the environment.
    let payload =
        json!({"scope": "table", "database": desk.store.db, "table": "t", "backup_path": path});
    let payload = payload.to_string();
    let words = ["--type", "create_backup", "--payload", &payload, "--wait", "--timeout", "1m"];
    let done = desk.send(&words);
    assert_eq!(done.code, Some(0), "{done}");
    let reply: Value = serde_json::from_str(&done.stdout).expect("the reply");
    assert_eq!(reply["status"], "succeeded");
    let again = desk.send(&words);
    assert_eq!(again.code, Some(3), "{again}");
    assert!(again.stderr.contains("PATH_EXISTS"), "{again}");
    let file = desk.store.keep.folder.join("task.json");
    std::fs::write(&file, r#"{"type": "get_backup", "payload": {"backup_id": "none"}}"#)
        .expect("a file");
    let file = file.to_string_lossy().into_owned();
    assert_eq!(desk.send(&[&file, "--wait"]).code, Some(3));
    let sent = desk.send(&["--output", "json", &file]);
    assert!(sent.stdout.contains("\"sent\""), "{sent}");
    desk.stop(worker);
    let late = desk.send(&[&file, "--wait", "--timeout", "1s"]);
    assert_eq!(late.code, Some(5), "{late}");
    assert!(late.stderr.contains("next: the same command again"), "{late}");
    std::fs::write(&file, "{\"secret_key\": caNary}").expect("a file");
    let bad = desk.send(&[&file]);
    assert_eq!(bad.code, Some(2), "{bad}");
    assert!(!bad.to_string().contains("caNary"), "{bad}");
}

#[test]
fn a_worker_and_a_sender_work_over_tls_with_certificates() {
    let _turn = share();
    let mut desk = Desk::new("qtls");
    let folder = std::path::PathBuf::from(setting("DELTAKEEP_TEST_CERTIFICATES"));
    let file = |name: &str| folder.join(name).to_string_lossy().into_owned();
    let secure = format!("amqps://guest@{}/%2f", setting("DELTAKEEP_TEST_AMQPS"));
    desk.store.set("DELTAKEEP_AMQP", &secure);
    desk.store.set("DELTAKEEP_AMQP_CA", &file("ca.pem"));
    desk.store.set("DELTAKEEP_AMQP_CERT", &file("client.pem"));
    desk.store.set("DELTAKEEP_AMQP_KEY", &file("client.key"));
    let password = desk.store.keep.folder.join("password");
    std::fs::write(&password, "guest\n").expect("a file");
    desk.store.set("DELTAKEEP_AMQP_PASSWORD_FILE", &password.to_string_lossy());
    let worker = desk.worker(&[]);
    let done = desk.send(&["--type", "list_backups", "--wait"]);
    assert_eq!(done.code, Some(0), "{done}");
    desk.stop(worker);
}

#[test]
fn settings_stand_in_a_file_too() {
    let _turn = share();
    let desk = Desk::new("qfile");
    let file = desk.store.keep.folder.join("worker.toml");
    let results = format!("{}.results", desk.queue);
    let text = format!(
        "queue = \"{0}\"\ndeclare = true\nconcurrency = 4\nlimit = [\"create_backup=1\"]\n\
         results = \"{results}\"\nlisten = \"127.0.0.1:0\"\n",
        desk.queue
    );
    std::fs::write(&file, text).expect("a file");
    let file = file.to_string_lossy().into_owned();
    let mut worker = desk.store.keep.start_as(&["--config", &file], &["worker"]);
    worker.await_stderr("are worked on");
    assert!(worker.stderr().contains("/metrics"));
    desk.stop(worker);
    for wrong in [["--limit", "everything=1"], ["--limit", "commands=0"], ["--credentials", "x"]] {
        let done = desk.store.run(&[&["worker"], &wrong[..]].concat());
        assert_eq!(done.code, Some(2), "{done}");
    }
    let deleted = desk.other.channel.exchange_delete(results.into(), Default::default());
    crate::support::block_on(deleted).expect("deleted");
}

#[test]
fn no_secret_of_a_task_or_a_login_is_seen_anywhere() {
    let _turn = share();
    let mut desk = Desk::new("qsecret");
    let secret = setting("DELTAKEEP_TEST_S3_SECRET_KEY");
    let (access, password) =
        (setting("DELTAKEEP_TEST_S3_ACCESS_KEY"), setting("DELTAKEEP_TEST_CLICKHOUSE_PASSWORD"));
    desk.store.set("DELTAKEEP_S3_SECRET_KEY", "unused-caNary-of-the-environment");
    let log = desk.store.keep.folder.join("deltakeep.log").to_string_lossy().into_owned();
    let worker = desk.worker(&["-vvv", "--logFile", &log]);
    let argv = std::fs::read(format!("/proc/{}/cmdline", worker.pid())).expect("its words");
    let argv = String::from_utf8_lossy(&argv).into_owned();
    let path = format!("{}/s", desk.store.path);
    let mut replies = vec![desk.ask(&desk.create(&path), "good")];
    let mut wrong = desk.create(&path);
    wrong["payload"]["secret_key"] = "wr0ng-caNary-secret".into();
    wrong["payload"]["backup_path"] = format!("{path}2").into();
    replies.push(desk.ask(&wrong, "wrong"));
    assert_eq!(replies[1]["status"], "failed", "{replies:?}");
    wrong["payload"]["overwite"] = true.into();
    replies.push(desk.ask(&wrong, "dead"));
    // A task for a queue that does not exist comes back to its sender, who logs it.
    let payload = wrong["payload"].to_string();
    let sent = desk.send(&[
        "-vvv",
        "--type",
        "create_backup",
        "--payload",
        &payload,
        "--queue",
        "no.queue",
    ]);
    assert_eq!(sent.code, Some(3), "{sent}");
    let done = desk.stop(worker);
    let dead = desk.dead();
    assert_eq!(dead.len(), 1, "{dead:?}");
    assert!(!sent.stderr.contains("returned"), "the client library quotes the task: {sent}");
    let said = format!("{argv}{replies:?}{dead:?}{done}{sent}");
    let canaries =
        [secret.as_str(), &password, "wr0ng-caNary-secret", "unused-caNary-of-the-environment"];
    for canary in canaries {
        assert!(!said.contains(canary), "{canary} is told");
        search(&desk.store.keep.folder, canary);
    }
    search(&desk.store.keep.state, &access);
}

fn search(folder: &std::path::Path, canary: &str) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            search(&path, canary);
            continue;
        }
        let bytes = std::fs::read(&path).expect("a file");
        let found = bytes.windows(canary.len()).any(|window| window == canary.as_bytes());
        assert!(!found, "{} holds a secret", path.display());
    }
}

#[test]
fn a_database_is_not_left_half_way_by_a_stop_in_the_middle_of_an_overwrite() {
    let _turn = share();
    let desk = Desk::new("qover");
    desk.store.fill(16);
    let worker = desk.worker(&[]);
    let path = format!("{}/over", desk.store.path);
    assert_eq!(desk.ask(&desk.create(&path), "create")["status"], "succeeded");
    sql(&format!("INSERT INTO {}.t VALUES (5000, 'newer')", desk.store.db));
    let mut task = desk.restore(&path, &desk.store.db, "over-1");
    task["payload"]["request"]["max_backup_bandwidth"] = 4_000_000.into();
    desk.put(&task.to_string(), "over");
    let beside = format!(
        "SELECT count() FROM system.databases WHERE name LIKE '{}\\\\_\\\\_bk%'",
        desk.store.db
    );
    // The stop must not come before RESTORE was sent: then it would go back.
    let restores =
        "SELECT count() FROM system.backups WHERE id LIKE 'over-1-a%' AND status = 'RESTORING'";
    let aside = || sql(&beside) == "1" && sql(restores) == "1";
    assert!(eventually(std::time::Duration::from_secs(30), aside), "it never began");
    desk.stop(worker);
    let worker = desk.worker(&[]);
    let (id, reply) = desk.reply();
    assert_eq!((id.as_str(), &reply["final"]), ("over", &true.into()), "{reply}");
    assert_eq!(reply["status"], "succeeded", "{reply}");
    assert_eq!(sql(&format!("SELECT count() FROM {}.t WHERE id < 10000", desk.store.db)), "1000");
    desk.stop(worker);
    desk.store.require_tidy();
}
