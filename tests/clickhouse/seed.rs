//! The seed's two examples, and what is told of them.

use serde_json::Value;

use crate::rig::{Rig, TABLE, json};
use crate::servers::{bucket, share, sql};

#[test]
fn the_seeds_examples_back_a_database_up_and_restore_it_under_another_name() {
    let _turn = share();
    let rig = Rig::new("seed");
    let path = format!("{}/quotes_backup_1", rig.path);
    let created = json(&rig.back_up(&path, &[]));
    let operation = &created["operation"];
    assert_eq!(operation["status"], "succeeded", "{created}");
    assert!(operation["files"].as_u64() > Some(10), "{created}");
    let restored = format!("{}_restored", rig.db);
    let done = json(&rig.restore(0, &restored, &path, &["--overwrite", "--id", "restore-op-123"]));
    let operation = &done["operation"];
    assert_eq!(
        (&operation["id"], &operation["status"]),
        (&"restore-op-123".into(), &"succeeded".into())
    );
    assert_eq!(operation["source_database"], rig.db.as_str());
    assert_eq!(operation["verify"]["state"], "passed", "{done}");
    assert_eq!(rig.counts(&restored), "1000\t1000\t1000\t1000\t5");
    sql(&format!("INSERT INTO {restored}.t VALUES (5000, 'x')"));
    assert_eq!(rig.counts(&restored), "1001\t1001\t1001\t1001\t5");
    assert_eq!(rig.counts(&rig.db), "1000\t1000\t1000\t1000\t5", "the source");
    rig.require_tidy();
}

#[test]
fn a_table_is_backed_up_and_restored_into_a_database_that_is_not_there() {
    let _turn = share();
    let rig = Rig::new("table");
    let path = format!("{}/t", rig.path);
    rig.back_up(&path, &TABLE);
    let other = format!("{}_other", rig.db);
    rig.restore(0, &other, &path, &["--table", "renamed"]);
    assert_eq!(sql(&format!("SELECT count(), sum(id) FROM {other}.renamed")), "1000\t499500");
    let refused = rig.restore(3, &other, &path, &["--table", "renamed"]);
    assert!(refused.stderr.contains("TARGET_NOT_EMPTY"), "{refused}");
    rig.require_tidy();
}

#[test]
fn operations_are_listed_and_told_of_by_the_journal_and_the_server() {
    let _turn = share();
    let rig = Rig::new("listed");
    let path = format!("{}/l", rig.path);
    let id = format!("op-{}", rig.db);
    rig.back_up(&path, &["--id", &id]);
    let list = |more: &[&str]| -> Value {
        let words = [&["clickhouse", "--output", "json", "list-backups"], more].concat();
        let done = rig.run(&words);
        assert_eq!(done.code, Some(0), "{done}");
        json(&done)
    };
    let all = list(&["--database", &rig.db]);
    let entry = &all["operations"][0];
    assert_eq!((&entry["id"], &entry["source"]), (&id.as_str().into(), &"both".into()), "{all}");
    assert!(!all.to_string().contains("ACCESSKEY"), "{all}");
    // Somebody else's operation is listed as the server's.
    let theirs = list(&["--limit", "1000"]);
    let entries = theirs["operations"].as_array().expect("a list");
    assert!(!entries.is_empty(), "{theirs}");
    let first = list(&["--limit", "1"]);
    let cursor = first["cursor"].as_str().map(str::to_owned);
    if let Some(cursor) = cursor {
        let second = list(&["--limit", "1", "--cursor", &cursor]);
        assert_ne!(first["operations"][0]["id"], second["operations"][0]["id"]);
    }
    // So is what another journal's operation keeps beside a name; it is orphaned.
    let (beside, table) = (format!("{}__bk_0123456789abcdef", rig.db), "t__bk_00000000deadbeef");
    sql(&format!("CREATE DATABASE {beside}"));
    sql(&format!("CREATE TABLE {}.{table} (a Int8) ENGINE = MergeTree ORDER BY a", rig.db));
    let orphans = list(&["--status", "orphaned", "--database", &rig.db]);
    sql(&format!("DROP DATABASE {beside}"));
    sql(&format!("DROP TABLE {}.{table}", rig.db));
    let entries = orphans["operations"].as_array().expect("a list");
    let mut ids: Vec<_> = entries.iter().filter_map(|entry| entry["id"].as_str()).collect();
    ids.sort_unstable();
    assert_eq!(ids, [beside.as_str(), table], "{orphans}");
    let got = rig.run(&["clickhouse", "--output", "json", "get-backup", &id]);
    let operation = &json(&got)["operation"];
    assert_eq!((&operation["status"], &operation["final"]), (&"succeeded".into(), &true.into()));
    let missing = rig.run(&["clickhouse", "get-backup", "nobody"]);
    assert_eq!(missing.code, Some(3), "{missing}");
    assert!(missing.stderr.contains("NOT_FOUND"), "{missing}");
}

#[test]
fn the_same_id_again_begins_nothing_and_with_another_request_is_refused() {
    let _turn = share();
    let rig = Rig::new("again");
    let path = format!("{}/a", rig.path);
    // ClickHouse takes an id once in its life.
    let id = format!("{}-fixed", rig.db);
    let first = json(&rig.back_up(&path, &["--id", &id]));
    let second = json(&rig.back_up(&path, &["--id", &id]));
    assert_eq!(first["operation"], second["operation"]);
    let other = format!("{}/b", rig.path);
    let words = rig.words("create-backup", &rig.db, &other, &["--id", &id]);
    let refused = rig.run(&words);
    assert_eq!(refused.code, Some(3), "{refused}");
    assert!(refused.stderr.contains("ID_CONFLICT"), "{refused}");
}

#[test]
fn an_incremental_backup_and_definitions_alone_are_restored() {
    let _turn = share();
    let rig = Rig::new("increment");
    let (base, next) = (format!("{}/base", rig.path), format!("{}/next", rig.path));
    rig.back_up(&base, &[]);
    sql(&format!("INSERT INTO {}.t VALUES (7000, 'y')", rig.db));
    rig.back_up(&next, &["--baseBackup", &base]);
    let restored = format!("{}_inc", rig.db);
    rig.restore(0, &restored, &next, &["--baseBackup", &base]);
    assert_eq!(rig.counts(&restored), "1001\t1001\t1001\t1001\t5");
    // The backup names what it builds on.
    rig.restore(0, &restored, &next, &["--overwrite"]);
    assert_eq!(rig.counts(&restored), "1001\t1001\t1001\t1001\t5");
    let empty = format!("{}_empty", rig.db);
    rig.restore(0, &empty, &base, &["--structureOnly"]);
    assert_eq!(sql(&format!("SELECT count() FROM {empty}.t")), "0");
}

#[test]
fn a_named_collection_of_the_server_stands_for_keys_and_url() {
    let _turn = share();
    let mut rig = Rig::new("named");
    for name in ["DELTAKEEP_S3_ACCESS_KEY", "DELTAKEEP_S3_SECRET_KEY", "DELTAKEEP_S3_ENDPOINT"] {
        rig.unset(name);
    }
    rig.set("DELTAKEEP_NAMED_COLLECTION", "kept=s3://my-bucket/kept");
    let at = |what: &str| format!("s3://my-bucket/kept/{}/{what}", rig.db);
    let (base, next) = (at("base"), at("next"));
    rig.back_up(&base, &[]);
    sql(&format!("INSERT INTO {}.t VALUES (7000, 'y')", rig.db));
    let made = json(&rig.back_up(&next, &["--baseBackup", &base]));
    assert_eq!(made["operation"]["location"], next.as_str(), "{made}");
    rig.restore(0, &rig.db, &base, &["--overwrite"]);
    assert_eq!(rig.counts(&rig.db), "1000\t1000\t1000\t1000\t5");
    rig.restore(0, &rig.db, &next, &["--overwrite", "--table", "t"]);
    assert_eq!(sql(&format!("SELECT count() FROM {}.t", rig.db)), "1001");
    // Elsewhere the server's own credentials are used, of which it has none.
    let elsewhere = rig.run(&rig.words("create-backup", &rig.db, "s3://my-bucket/kept2/x", &[]));
    assert_ne!(elsewhere.code, Some(0), "{elsewhere}");
    let _ = std::fs::remove_dir_all(bucket().join("kept").join(&rig.db));
}

#[test]
fn secrets_and_options_come_from_files_too() {
    let _turn = share();
    let mut rig = Rig::new("files");
    let path = format!("{}/f", rig.path);
    let mut config = String::new();
    for (name, keyword) in [
        ("DELTAKEEP_CLICKHOUSE", "clickhouse"),
        ("DELTAKEEP_CLICKHOUSE_USER", "clickhouseUser"),
        ("DELTAKEEP_S3_ENDPOINT", "s3Endpoint"),
    ] {
        config.push_str(&format!("{keyword} = \"{}\"\n", rig.unset(name)));
    }
    rig.unset("DELTAKEEP_ALLOW_HTTP");
    config.push_str("allowHttp = true\n");
    let file = |name: &str, text: &str| {
        let path = rig.keep.folder.join(name);
        std::fs::write(&path, text).expect("written");
        path.to_string_lossy().into_owned()
    };
    let config = file("keep.toml", &config);
    let names =
        ["DELTAKEEP_CLICKHOUSE_PASSWORD", "DELTAKEEP_S3_ACCESS_KEY", "DELTAKEEP_S3_SECRET_KEY"];
    for name in names {
        let text = rig.unset(name);
        let path = rig.keep.folder.join(name);
        std::fs::write(&path, format!("{text}\n")).expect("written");
        rig.set(&format!("{name}_FILE"), &path.to_string_lossy());
    }
    rig.set("DELTAKEEP_CONFIG", &config);
    rig.back_up(&path, &[]);
    let restored = format!("{}_r", rig.db);
    rig.restore(0, &restored, &path, &[]);
    // One key alone is no pair, and not the server's own credentials either.
    rig.unset("DELTAKEEP_S3_ACCESS_KEY_FILE");
    let half = rig.run(&rig.words("create-backup", &rig.db, &format!("{path}2"), &[]));
    assert_eq!(half.code, Some(2), "{half}");
    assert!(half.stderr.contains("DELTAKEEP_S3_ACCESS_KEY is not set"), "{half}");
}
