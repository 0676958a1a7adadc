//! What other clients of the server do: shown beside our own, without their keys, and never taken for
//! ours.

use serde_json::Value;

use crate::rig::{Rig, json};
use crate::servers::{setting, share, sql};

/// Somebody else's BACKUP of a table, to its end.
fn theirs(rig: &Rig, id: &str, path: &str) {
    let (store, db) = (setting("DELTAKEEP_TEST_S3"), &rig.db);
    let (access, secret) =
        (setting("DELTAKEEP_TEST_S3_ACCESS_KEY"), setting("DELTAKEEP_TEST_S3_SECRET_KEY"));
    sql(&format!(
        "BACKUP TABLE {db}.t TO S3('http://{store}/my-bucket/tests/{db}/{path}', '{access}', \
         '{secret}') SETTINGS id = '{id}'"
    ));
}

fn list(rig: &Rig, more: &[&str]) -> Value {
    let done = rig.run(&[&["clickhouse", "--output", "json", "list-backups"], more].concat());
    assert_eq!(done.code, Some(0), "{done}");
    assert!(!done.stdout.contains(&setting("DELTAKEEP_TEST_S3_ACCESS_KEY")), "a key: {done}");
    json(&done)
}

fn ids(list: &Value) -> Vec<&str> {
    let all = list["operations"].as_array().expect("a list").iter();
    all.map(|operation| operation["id"].as_str().expect("an id")).collect()
}

fn get(rig: &Rig, id: &str) -> Value {
    let done = rig.run(&["clickhouse", "--output", "json", "get-backup", id]);
    assert_eq!(done.code, Some(0), "{done}");
    assert!(!done.stdout.contains(&setting("DELTAKEEP_TEST_S3_ACCESS_KEY")), "a key: {done}");
    json(&done)["operation"].clone()
}

#[test]
fn operations_of_others_are_listed_and_told_of_without_their_keys() {
    let _turn = share();
    let rig = Rig::new("others");
    let id = format!("their.{}", rig.db);
    theirs(&rig, &id, "o");
    let told = get(&rig, &id);
    assert_eq!((&told["status"], &told["source"]), (&"succeeded".into(), &"clickhouse".into()));
    let location = told["server"]["location"].as_str().expect("a place");
    assert!(location.ends_with(&format!("/my-bucket/tests/{}/o", rig.db)), "{told}");
    let listed = list(&rig, &["--limit", "1000", "--kind", "backup", "--status", "succeeded"]);
    assert!(ids(&listed).contains(&id.as_str()), "{listed}");
    let restores = list(&rig, &["--limit", "1000", "--kind", "restore"]);
    assert!(!ids(&restores).contains(&id.as_str()), "{restores}");
}

#[test]
fn filters_and_pages_hold_for_all_of_them() {
    let _turn = share();
    let rig = Rig::new("pages");
    let mut made = Vec::new();
    for number in 0..3 {
        let (path, id) = (format!("{}/{number}", rig.path), format!("{}-{number}", rig.db));
        rig.back_up(&path, &["--id", &id]);
        made.push(id);
    }
    let lost = rig.run(&rig.words("create-backup", "nobody", &format!("{}/l", rig.path), &[]));
    assert_eq!(lost.code, Some(3), "{lost}");
    let mut seen = Vec::new();
    let mut cursor: Option<String> = None;
    loop {
        let mut more = vec!["--database", &rig.db, "--limit", "1"];
        if let Some(cursor) = &cursor {
            more.extend(["--cursor", cursor.as_str()]);
        }
        let page = list(&rig, &more);
        seen.extend(ids(&page).into_iter().map(str::to_owned));
        cursor = page["cursor"].as_str().map(str::to_owned);
        if cursor.is_none() {
            break;
        }
    }
    made.reverse();
    assert_eq!(seen, made, "newest first, each once");
    let failed = list(&rig, &["--status", "failed", "--database", "nobody"]);
    assert_eq!(failed["operations"][0]["error"]["code"], "SOURCE_NOT_FOUND", "{failed}");
    let second = list(&rig, &["--database", &rig.db, "--limit", "2"]);
    let since = second["operations"][1]["started_at"].as_str().expect("a time").to_owned();
    let newer = list(&rig, &["--database", &rig.db, "--since", &since]);
    assert_eq!(ids(&newer), &made[..2]);
    for wrong in [["--limit", "0"], ["--cursor", "x"], ["--status", "x"], ["--since", "x"]] {
        let done = rig.run(&[&["clickhouse", "list-backups"], &wrong[..]].concat());
        assert_eq!(done.code, Some(2), "{wrong:?}: {done}");
        assert!(done.stderr.contains(&wrong[0][2..]), "{wrong:?}: {done}");
    }
}

#[test]
fn the_servers_log_tells_of_what_it_forgot() {
    let _turn = share();
    let rig = Rig::new("log");
    // The table is made when the first operation is written to it.
    theirs(&rig, &format!("first.{}", rig.db), "f");
    sql("SYSTEM FLUSH LOGS");
    for (id, status) in [("done", "RESTORED"), ("lost", "CREATING_BACKUP")] {
        sql(&format!(
            "INSERT INTO system.backup_log (event_date, event_time, event_time_microseconds, id, name, \
             status, start_time) VALUES (today(), now(), now64(6), '{id}.{}', \
             'S3(\\'https://store/b/k\\', \\'AK\\', \\'[HIDDEN]\\')', '{status}', now64(6))",
            rig.db
        ));
    }
    let listed = list(&rig, &["--limit", "1000"]);
    let status = |id: &str| {
        let all = listed["operations"].as_array().expect("a list");
        let found = all.iter().find(|operation| operation["id"] == format!("{id}.{}", rig.db));
        found.map(|operation| operation["status"].as_str().expect("a status").to_owned())
    };
    assert_eq!(status("first").as_deref(), Some("succeeded"), "{listed}");
    assert_eq!(status("done").as_deref(), Some("succeeded"), "{listed}");
    assert_eq!(status("lost").as_deref(), Some("unknown"), "{listed}");
    assert_eq!(get(&rig, &format!("done.{}", rig.db))["kind"], "restore");
}

#[test]
fn an_id_that_somebody_used_before_gets_a_further_number() {
    let _turn = share();
    let rig = Rig::new("used");
    let id = format!("op.{}", rig.db);
    for number in 1..3 {
        theirs(&rig, &format!("{id}-a{number}"), &format!("u{number}"));
    }
    let path = format!("{}/ours", rig.path);
    let done = json(&rig.back_up(&path, &["--id", &id]));
    assert_eq!(done["operation"]["attempt"], 3, "{done}");
    // A restore of that id is another request here; from another state directory it is a new one.
    let away = rig.keep.elsewhere("away");
    let words = rig.words("restore-backup", &rig.db, &path, &["--id", &id, "--overwrite"]);
    let done = away.start_as(&[], &words).wait();
    assert_eq!(done.code, Some(0), "{done}");
    assert_eq!(json(&done)["operation"]["attempt"], 4, "{done}");
    assert_eq!(rig.counts(&rig.db), "1000\t1000\t1000\t1000\t5");
}
