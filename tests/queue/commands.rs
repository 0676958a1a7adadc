//! Commands of this program as tasks: on a sandbox node and a real Kafka, as processes that belong
//! to the worker.

use std::time::Duration;

use serde_json::{Value, json};

use crate::backup_rig::Rig;
use crate::desk::Desk;
use crate::process::Process;
use crate::rig;
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
