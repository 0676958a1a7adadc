//! Commands of this program as tasks: on a sandbox node and a real Kafka, as processes that belong
//! to the worker.

use std::time::Duration;

use serde_json::{Value, json};

use crate::backup_rig::Rig;
use crate::desk::Desk;
use crate::process::Process;
use crate::rig;
use crate::sandbox::Sandbox;
use crate::servers::{eventually, share};

fn desk(what: &str) -> Desk {
    Desk::of(rig::Rig::bare(what))
}

fn backup(rig: &Rig) -> Value {
    json!({
        "type": "backup_to_kafka",
        "payload": {
            "connect": rig.keep.connect,
            "topic": rig.topic,
            "kafkaBrokersCore": rig.brokers,
            "chunkSize": 20,
            "unloadStall": "1s",
        }
    })
}

/// A worker in the middle of a backup that takes a while.
fn begun(desk: &Desk, rig: &Rig) -> Process {
    rig.slow(40);
    let worker = desk.worker(&[]);
    desk.put(&backup(rig).to_string(), "backup");
    let begun = || !rig.node.leftovers("d").is_empty();
    assert!(eventually(Duration::from_secs(30), begun), "it never began");
    worker
}

#[test]
fn a_backup_to_kafka_and_its_verification_are_tasks() {
    let _turn = share();
    let (desk, rig) = (desk("qkafka"), Rig::new("queued"));
    let worker = desk.worker(&[]);
    let reply = desk.ask(&backup(&rig), "backup");
    assert_eq!((&reply["status"], &reply["error"]), (&"succeeded".into(), &Value::Null), "{reply}");
    assert_eq!(reply["result"]["deltas"], json!([0, 1]), "{reply}");
    rig.judge(&[0, 1]);
    let nothing_new = desk.ask(&backup(&rig), "again");
    assert_eq!(nothing_new["result"]["run"], Value::Null, "{nothing_new}");
    let verify = json!({
        "type": "verify",
        "payload": {"topic": rig.topic, "kafkaBrokers": rig.brokers},
    });
    let reply = desk.ask(&verify, "verify");
    assert_eq!(reply["status"], "succeeded", "{reply}");
    let mut wrong = verify;
    wrong["payload"]["topic"] = "nothing.is.here".into();
    let reply = desk.ask(&wrong, "wrong");
    assert_eq!(
        (&reply["error"]["code"], &reply["error"]["exit_code"]),
        (&"REFUSED".into(), &3.into()),
        "{reply}"
    );
    let mut unknown = backup(&rig);
    unknown["payload"]["credentials"] = "nobodys".into();
    let reply = desk.ask(&unknown, "unknown");
    assert_eq!(reply["status"], "failed", "{reply}");
    desk.stop(worker);
}

#[test]
fn a_run_of_a_stopped_worker_goes_on_with_the_next_one() {
    let _turn = share();
    let (desk, rig) = (desk("qstop"), Rig::new("queuestop"));
    let worker = begun(&desk, &rig);
    desk.stop(worker);
    rig.node.clear_faults();
    let worker = desk.worker(&[]);
    let (id, reply) = desk.reply();
    assert_eq!((id.as_str(), &reply["status"]), ("backup", &"succeeded".into()), "{reply}");
    rig.judge(&[0, 1]);
    rig.require_free();
    desk.stop(worker);
}

#[test]
fn a_killed_workers_command_ends_in_order_by_itself_and_its_run_goes_on() {
    let _turn = share();
    let (desk, rig) = (desk("qdead"), Rig::new("queuedead"));
    let worker = begun(&desk, &rig);
    worker.signal("KILL");
    assert_eq!(worker.wait().code, None);
    // The command gives the datamart back: it was asked to end by the end of its stdin.
    let listed = || {
        let done = desk.store.run(&["list", "--output", "json"]);
        let runs: Value = serde_json::from_str(&done.stdout).expect("runs");
        runs["runs"][0]["stage"] == "stopped"
    };
    assert!(eventually(Duration::from_secs(30), listed), "the command goes on");
    rig.require_free();
    rig.node.clear_faults();
    let worker = desk.worker(&[]);
    let (id, reply) = desk.reply();
    assert_eq!((id.as_str(), &reply["status"]), ("backup", &"succeeded".into()), "{reply}");
    rig.judge(&[0, 1]);
    rig.require_free();
    desk.stop(worker);
}

/// Of the datamart `d` of the topic into `e` on the same node.
fn restore(rig: &Rig) -> Value {
    json!({
        "type": "restore_from_kafka",
        "payload": {
            "connect": format!("{}/e", rig.node.address),
            "topic": rig.topic,
            "sourceDatamart": "d",
            "kafkaBrokersCore": rig.brokers,
        }
    })
}

/// Of a reply: whether it failed so.
fn require_failed(reply: &Value, code: &str, exit_code: i32) {
    assert_eq!((&reply["status"], &reply["final"]), (&"failed".into(), &true.into()), "{reply}");
    let error = &reply["error"];
    assert_eq!((&error["code"], &error["exit_code"]), (&code.into(), &exit_code.into()), "{reply}");
    assert_ne!(error["message"].as_str().unwrap_or_default(), "", "{reply}");
}

fn require_succeeded(reply: &Value) {
    assert_eq!((&reply["status"], &reply["error"]), (&"succeeded".into(), &Value::Null), "{reply}");
    assert_eq!(reply["final"], true, "{reply}");
}

/// What the tables of a datamart hold.
fn rows(node: &Sandbox, datamart: &str) -> [Vec<Value>; 2] {
    ["a", "b"].map(|table| node.sql(datamart, &format!("SELECT * FROM {table} ORDER BY id")))
}

#[test]
fn a_restore_and_a_drill_are_tasks() {
    let _turn = share();
    let (desk, rig) = (desk("qrestore"), Rig::new("queuerestore"));
    let worker = desk.worker(&[]);
    require_succeeded(&desk.ask(&backup(&rig), "backup"));
    let reply = desk.ask(&restore(&rig), "restore");
    require_succeeded(&reply);
    let result = &reply["result"];
    assert_eq!((&result["source"], &result["target"]), (&"d".into(), &"e".into()), "{reply}");
    assert_eq!((&result["deltas"], &result["different"]), (&json!([0, 1]), &json!([])), "{reply}");
    assert_eq!(rows(&rig.node, "e"), rows(&rig.node, "d"));
    assert_eq!(rig.node.sql("e", "GET_DELTA_OK()")[0]["delta_num"], 1);
    rig.node.require_free("e", "it was restored");
    let full = desk.ask(&restore(&rig), "again");
    require_failed(&full, "REFUSED", 3);
    assert_eq!(rows(&rig.node, "e"), rows(&rig.node, "d"));

    // Into another node, where the name is free.
    let folder = tempfile::tempdir().expect("a folder");
    let other = Sandbox::start(folder.path(), &rig.brokers, &[]);
    let drill = json!({
        "type": "drill",
        "payload": {
            "connect": rig.keep.connect,
            "topic": rig.topic,
            "target": format!("{}/d", other.address),
            "kafkaBrokersCore": rig.brokers,
        }
    });
    let reply = desk.ask(&drill, "drill");
    require_succeeded(&reply);
    assert_eq!(
        (&reply["result"]["verdict"], &reply["result"]["counts"]),
        (&"ok".into(), &json!({"equal": 4})),
        "{reply}"
    );
    assert!(other.try_sql("", "USE d").is_err(), "the scratch is left");
    rig.require_free();
    let again = desk.ask(&resume(reply["result"]["run"].as_str().expect("a run")), "drilled");
    require_succeeded(&again);
    assert_eq!(again["result"]["drill"], "ok", "{again}");
    other.fault("wrong-sum@always");
    let reply = desk.ask(&drill, "differs");
    require_failed(&reply, "VERIFY_FAILED", 4);
    assert_eq!(reply["result"]["verdict"], "failed", "{reply}");
    let again = desk.ask(&resume(reply["result"]["run"].as_str().expect("a run")), "failed");
    require_failed(&again, "VERIFY_FAILED", 4);
    assert!(other.try_sql("", "USE d").is_err(), "the scratch is left");
    rig.require_free();
    let mut told = drill;
    told["payload"]["report"] = "/tmp".into();
    assert_eq!(desk.ask(&told, "report")["error"]["code"], "FORBIDDEN_TARGET");
    desk.stop(worker);
}

fn resume(run: &str) -> Value {
    json!({"type": "resume", "payload": {"run": run}})
}

/// The run that the hint of an interrupted task names.
fn run_of(reply: &Value) -> String {
    require_failed(reply, "INTERRUPTED", 5);
    assert_eq!(reply["error"]["retryable"], true, "{reply}");
    let hint = reply["error"]["hint"].as_str().expect("a hint");
    let run = hint.strip_prefix("a task resume with \"run\": \"").expect("it names the task");
    run.trim_end_matches('"').to_owned()
}

#[test]
fn an_interrupted_backup_and_restore_are_brought_to_their_end_by_tasks() {
    let _turn = share();
    let (desk, mut rig) = (desk("qresume"), Rig::new("queueresume"));
    let worker = begun(&desk, &rig);
    rig.node.kill();
    let run = run_of(&desk.reply().1);
    rig.node.start_again();
    for unknown in ["ffffffff", "no run"] {
        require_failed(&desk.ask(&resume(unknown), unknown), "BAD_REQUEST", 2);
    }
    let reply = desk.ask(&resume(&run), "resume");
    require_succeeded(&reply);
    let result = &reply["result"];
    assert_eq!((&result["run"], &result["resumed"]), (&run.as_str().into(), &true.into()));
    rig.judge(&[0, 1]);
    rig.require_free();
    // Asked once more, it is told of again.
    let again = desk.ask(&resume(&run), "resumed");
    assert_eq!((&again["status"], &again["result"]), (&reply["status"], &reply["result"]));

    rig.node.fault("fail-commit@1");
    let run = run_of(&desk.ask(&restore(&rig), "restore"));
    require_succeeded(&desk.ask(&resume(&run), "restored"));
    assert_eq!(rows(&rig.node, "e"), rows(&rig.node, "d"));
    rig.node.require_free("e", "it was restored");
    desk.stop(worker);
}

#[test]
fn a_run_that_somebody_else_brought_to_its_end_has_succeeded() {
    let _turn = share();
    let (desk, rig) = (desk("qended"), Rig::new("queueended"));
    let worker = begun(&desk, &rig);
    desk.stop(worker);
    rig.node.clear_faults();
    let done = desk.store.run(&["resume", "--output", "json"]);
    let told: Value = serde_json::from_str(&done.stdout).expect("a summary");
    // As after a kill -9 between the run's end and the worker's note of it.
    let worker = desk.worker(&[]);
    let (id, reply) = desk.reply();
    assert_eq!(id, "backup");
    require_succeeded(&reply);
    assert_eq!(reply["result"], told);
    rig.judge(&[0, 1]);
    desk.stop(worker);
}

#[test]
fn credentials_come_by_name_from_a_file_and_are_shown_nowhere() {
    let _turn = share();
    let (desk, rig) = (desk("qcred"), Rig::new("queuecred"));
    let file = desk.store.keep.folder.join("credentials");
    let text = "# of the node\nDELTAKEEP_TOKEN=caNary-token\nDELTAKEEP_CONNECT=";
    std::fs::write(&file, format!("{text}{}\n", rig.keep.connect)).expect("a file");
    let named = format!("main={}", file.display());
    let worker = desk.worker(&["--credentials", &named, "-vv"]);
    let mut task = backup(&rig);
    task["payload"]["credentials"] = "main".into();
    task["payload"].as_object_mut().expect("fields").remove("connect");
    let reply = desk.ask(&task, "backup");
    assert_eq!(reply["status"], "succeeded", "{reply}");
    let done = desk.stop(worker);
    assert!(!format!("{done}{reply}").contains("caNary"), "{done}");
}
