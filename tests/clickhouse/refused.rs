//! What cannot work, told by its name: wrong keys, missing things, names that try to leave their
//! place.

use std::time::{Duration, Instant};

use crate::rig::{Rig, json};
use crate::servers::{bucket, share, sql};

#[test]
fn wrong_keys_and_missing_things_have_their_codes() {
    let _turn = share();
    let mut rig = Rig::new("wrong");
    let path = format!("{}/w", rig.path);
    let refused = |rig: &Rig, words: &[&str], code: i32, name: &str| {
        let done = rig.run(words);
        assert_eq!(done.code, Some(code), "{name}: {done}");
        assert!(done.stderr.contains(name), "{name}: {done}");
        assert!(done.stderr.contains("next: "), "{name}: {done}");
    };
    refused(&rig, &rig.words("restore-backup", &rig.db, &path, &[]), 3, "BACKUP_NOT_FOUND");
    refused(&rig, &rig.words("create-backup", "nobody", &path, &[]), 3, "SOURCE_NOT_FOUND");
    let bucket = "s3://no-such-bucket/w";
    refused(&rig, &rig.words("create-backup", &rig.db, bucket, &[]), 5, "STORAGE_ERROR");
    rig.back_up(&path, &[]);
    refused(&rig, &rig.words("create-backup", &rig.db, &path, &[]), 3, "PATH_EXISTS");
    let other = ["--sourceDatabase", "other"];
    refused(&rig, &rig.words("restore-backup", "x_y", &path, &other), 3, "NOT_IN_BACKUP");
    let next = format!("{}/x", rig.path);
    rig.set("DELTAKEEP_S3_SECRET_KEY", "wrong");
    refused(&rig, &rig.words("create-backup", &rig.db, &next, &[]), 3, "BAD_CREDENTIALS");
    rig.set("DELTAKEEP_S3_ACCESS_KEY", "nobody");
    refused(&rig, &rig.words("create-backup", &rig.db, &next, &[]), 3, "BAD_CREDENTIALS");
    rig.set("DELTAKEEP_CLICKHOUSE_PASSWORD", "wrong");
    refused(&rig, &rig.words("create-backup", &rig.db, &next, &[]), 3, "BAD_CREDENTIALS");
    let store = rig.unset("DELTAKEEP_S3_ENDPOINT");
    rig.set("DELTAKEEP_CLICKHOUSE", &store);
    let stranger = rig.run(&["clickhouse", "list-backups"]);
    assert_eq!(stranger.code, Some(5), "{stranger}");
    assert!(stranger.stderr.contains("what answers is no ClickHouse"), "{stranger}");
    rig.set("DELTAKEEP_S3_ENDPOINT", &store);
    rig.set("DELTAKEEP_CLICKHOUSE", "http://127.0.0.1:1");
    refused(&rig, &rig.words("create-backup", &rig.db, &next, &[]), 5, "CLICKHOUSE_UNAVAILABLE");
}

#[test]
fn a_user_without_rights_is_told_so() {
    let _turn = share();
    let mut rig = Rig::new("rights");
    rig.set("DELTAKEEP_CLICKHOUSE_USER", "reader");
    rig.set("DELTAKEEP_CLICKHOUSE_PASSWORD", "reader");
    let path = format!("{}/r", rig.path);
    let done = rig.run(&rig.words("create-backup", &rig.db, &path, &[]));
    assert_eq!(done.code, Some(3), "{done}");
    assert!(done.stderr.contains("ACCESS_DENIED"), "{done}");
}

#[test]
fn names_stay_in_their_place() {
    let _turn = share();
    let rig = Rig::new("names");
    sql(&format!("CREATE TABLE {}.victim (id UInt8) ENGINE = MergeTree ORDER BY id", rig.db));
    let evil = [
        format!("x`; DROP TABLE {}.victim; --", rig.db),
        format!("x\\`; DROP TABLE {}.victim; --", rig.db),
        format!("x' UNION ALL SELECT 1; DROP TABLE {}.victim", rig.db),
        "{u:String}".to_owned(),
        "?".to_owned(),
        "имя с `кавычками` и 'ещё'".to_owned(),
        "../../etc".to_owned(),
    ];
    for (number, name) in evil.iter().enumerate() {
        let path = format!("{}/{number}", rig.path);
        let done = rig.run(&rig.words("create-backup", name, &path, &[]));
        assert_eq!(done.code, Some(3), "{name}: {done}");
        assert!(done.stderr.contains("SOURCE_NOT_FOUND"), "{name}: {done}");
        // The same names work where they are real.
        let quoted = name.replace('\\', "\\\\").replace('`', "\\`");
        sql(&format!(
            "CREATE TABLE {}.`{quoted}` (id UInt8) ENGINE = MergeTree ORDER BY id",
            rig.db
        ));
        sql(&format!("INSERT INTO {}.`{quoted}` VALUES (7)", rig.db));
        let done = rig.run(&rig.words("create-backup", &rig.db, &path, &["--table", name]));
        assert_eq!(done.code, Some(0), "{name}: {done}");
        sql(&format!("INSERT INTO {}.`{quoted}` VALUES (8)", rig.db));
        rig.restore(0, &rig.db, &path, &["--table", name, "--overwrite"]);
        assert_eq!(sql(&format!("SELECT count() FROM {}.`{quoted}`", rig.db)), "1", "{name}");
    }
    assert_eq!(sql(&format!("EXISTS TABLE {}.victim", rig.db)), "1");
    rig.require_tidy();
}

#[test]
fn a_stale_lock_is_named() {
    let _turn = share();
    let rig = Rig::new("locked");
    let folder = bucket().join("tests").join(&rig.db).join("l");
    let path = format!("{}/l", rig.path);
    rig.back_up(&path, &[]);
    std::fs::remove_file(folder.join(".backup")).expect("removed");
    std::fs::write(folder.join(".lock"), "somebody").expect("written");
    let done = rig.run(&rig.words("create-backup", &rig.db, &path, &[]));
    assert_eq!(done.code, Some(3), "{done}");
    assert!(done.stderr.contains("PATH_LOCKED") && done.stderr.contains("/l/.lock"), "{done}");
    let done = rig.run(&rig.words("restore-backup", "x_y", &path, &[]));
    assert!(done.stderr.contains("BACKUP_NOT_FOUND") && done.stderr.contains(".lock"), "{done}");
    std::fs::remove_file(folder.join(".lock")).expect("removed");
    rig.back_up(&path, &[]);
}

#[test]
fn an_object_store_that_does_not_answer_is_given_up() {
    let _turn = share();
    let mut rig = Rig::new("dead");
    rig.set("DELTAKEEP_S3_ENDPOINT", "http://127.0.0.1:1");
    let path = format!("{}/d", rig.path);
    let began = Instant::now();
    let done = rig.run(&rig.words("create-backup", &rig.db, &path, &[]));
    assert_eq!(done.code, Some(5), "{done}");
    assert!(done.stderr.contains("STORAGE_ERROR"), "{done}");
    assert!(began.elapsed() < Duration::from_secs(140), "{:?}", began.elapsed());
}

#[test]
fn only_allowed_places_are_used() {
    let _turn = share();
    let mut rig = Rig::new("allowed");
    rig.set("DELTAKEEP_ALLOW_PATH", "s3://my-bucket/elsewhere");
    let path = format!("{}/p", rig.path);
    let done = rig.run(&rig.words("create-backup", &rig.db, &path, &[]));
    assert_eq!(done.code, Some(2), "{done}");
    assert!(done.stderr.contains("PATH_NOT_ALLOWED"), "{done}");
    let here = rig.path.clone();
    rig.set("DELTAKEEP_ALLOW_PATH", &here);
    let done = rig.run(&rig.words("create-backup", &rig.db, &path, &[]));
    assert_eq!(json(&done)["operation"]["status"], "succeeded", "{done}");
    rig.unset("DELTAKEEP_ALLOW_HTTP");
    let done = rig.run(&rig.words("create-backup", &rig.db, &path, &[]));
    assert_eq!(done.code, Some(2), "{done}");
    assert!(done.stderr.contains("--allowHttp"), "{done}");
}

#[test]
fn a_cluster_must_be_allowed_and_its_statement_is_understood() {
    let _turn = share();
    let rig = Rig::new("cluster");
    let path = format!("{}/c", rig.path);
    let words = |more: &[&'static str]| -> Vec<String> {
        let words = rig.words("create-backup", &rig.db, &path, more);
        words.into_iter().map(str::to_owned).collect()
    };
    let run = |words: Vec<String>| rig.run(&words.iter().map(String::as_str).collect::<Vec<_>>());
    let done = run(words(&["--onCluster", "`my; cluster"]));
    assert_eq!(done.code, Some(2), "{done}");
    assert!(done.stderr.contains("FORBIDDEN_TARGET"), "{done}");
    // This server has no cluster: it says so, and not that it does not understand.
    let allowed = ["--onCluster", "`my; cluster", "--allowCluster", "`my; cluster"];
    let done = run(words(&allowed));
    assert_eq!(done.code, Some(2), "{done}");
    assert!(done.stderr.contains("'`my; cluster' not found"), "{done}");
    let overwrite = [&allowed[..], &["--overwrite"]].concat();
    let done = rig.run(&rig.words("restore-backup", &rig.db, &path, &overwrite));
    assert_eq!(done.code, Some(2), "{done}");
    assert!(done.stderr.contains("on_cluster"), "{done}");
}
