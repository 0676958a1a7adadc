//! Clusters, as far as a server without distributed statements shows them: backups that a cluster
//! wrote, names that its hosts have, statements that are understood.

use std::fs;
use std::path::Path;

use deltakeep::clickhouse::{Command, Name};

use crate::process::Done;
use crate::rig::{Rig, TABLE, json};
use crate::servers::{bucket, share, sql, try_sql};

/// Gives a backup the shape of one that a cluster of one host wrote.
fn as_of_a_cluster(at: &Path) {
    // Beside its files the S3 server keeps what it knows of them.
    let known = bucket().join("../../attributes/my-bucket");
    for kept in [bucket(), known] {
        let folder = kept.join(at);
        let host = folder.join("shards/1/replicas/1");
        fs::create_dir_all(&host).expect("a folder");
        for part in ["metadata", "data"] {
            fs::rename(folder.join(part), host.join(part)).expect("moved");
        }
    }
    let manifest = bucket().join(at).join(".backup");
    let text = fs::read_to_string(&manifest).expect("a manifest");
    let moved = ["metadata/", "data/"].iter().fold(text, |text, part| {
        text.replace(&format!("<name>{part}"), &format!("<name>shards/1/replicas/1/{part}"))
    });
    fs::write(manifest, moved).expect("written");
}

#[test]
fn what_a_cluster_backed_up_is_found_and_restored_by_a_server_alone() {
    let _turn = share();
    let rig = Rig::new("shards");
    let path = format!("{}/s", rig.path);
    rig.back_up(&path, &[]);
    as_of_a_cluster(&Path::new("tests").join(&rig.db).join("s"));
    let restored = format!("{}_alone", rig.db);
    let done = json(&rig.restore(0, &restored, &path, &[]));
    assert_eq!(done["operation"]["source_database"], rig.db.as_str(), "{done}");
    assert_eq!(rig.counts(&restored), "1000\t1000\t1000\t1000\t5");
    rig.restore(0, &rig.db, &path, &["--table", "again", "--sourceTable", "t"]);
    rig.require_tidy();
}

/// A cluster that is allowed.
fn on(cluster: &str) -> [&str; 4] {
    ["--onCluster", cluster, "--allowCluster", cluster]
}

#[test]
fn a_restore_of_a_cluster_asks_all_hosts_and_replaces_nothing() {
    let _turn = share();
    let rig = Rig::new("hosts");
    let path = format!("{}/h", rig.path);
    rig.back_up(&path, &[]);
    let alone = on("alone");
    let table = [&alone[..], &TABLE].concat();
    for more in [&alone[..], &table] {
        let done = rig.restore(3, &rig.db, &path, more);
        assert!(done.stderr.contains("TARGET_NOT_EMPTY"), "{done}");
        assert!(done.stderr.contains("a host of cluster alone has"), "{done}");
    }
    let overwrite = [&alone[..], &["--overwrite"]].concat();
    let done = rig.restore(2, &rig.db, &path, &overwrite);
    assert!(done.stderr.contains("not with on_cluster"), "{done}");
    // What keeps something beside a name is at work there.
    sql(&format!("CREATE TABLE {}.x__bk_0123456789abcdef (a Int8) ENGINE = Log", rig.db));
    let beside = [&alone[..], &["--table", "x", "--sourceTable", "t"]].concat();
    let done = rig.restore(7, &rig.db, &path, &beside);
    assert!(done.stderr.contains("BUSY"), "{done}");
    let halved = rig.restore(5, &format!("{}_new", rig.db), &path, &on("halved"));
    assert!(halved.stderr.contains("CLICKHOUSE_UNAVAILABLE"), "{halved}");
    assert_eq!(rig.counts(&rig.db), "1000\t1000\t1000\t1000\t5");
}

#[test]
fn statements_for_a_cluster_are_understood_by_a_server_that_takes_none() {
    let _turn = share();
    let rig = Rig::new("told");
    let path = format!("{}/t", rig.path);
    rig.back_up(&path, &[]);
    let alone = on("alone");
    let refused = |done: Done| {
        assert_eq!(done.code, Some(2), "{done}");
        assert!(done.stderr.contains("BAD_REQUEST"), "{done}");
        let said = ["Replicated DDL queries are disabled", "There is no Zookeeper configuration"];
        assert!(said.iter().any(|said| done.stderr.contains(said)), "{done}");
    };
    let other = format!("{}_new", rig.db);
    let next = format!("{}/n", rig.path);
    let table = [&alone[..], &["--table", "x", "--sourceTable", "t"]].concat();
    refused(rig.run(&rig.words("create-backup", &rig.db, &next, &alone)));
    refused(rig.run(&rig.words("restore-backup", &other, &path, &alone)));
    refused(rig.run(&rig.words("restore-backup", &rig.db, &path, &table)));
    refused(rig.run(&rig.words("restore-backup", &other, &path, &table)));
    assert_eq!(sql(&format!("EXISTS DATABASE {other}")), "0");
    rig.require_tidy();
    let (database, table, beside) = (&Name::known("d"), &Name::known("t"), &Name::known("u"));
    let cluster = Name::known("alone");
    let cluster = Some(&cluster);
    for command in [
        Command::CreateDatabase { cluster, database },
        Command::RenameTable { cluster, database, from: beside, to: table },
        Command::DropTable { cluster, database, table },
        Command::DropDatabase { cluster, database },
    ] {
        let text = command.render().text;
        let why = try_sql(&text).expect_err(&text);
        assert!(why.contains("Replicated DDL queries are disabled"), "{text}: {why}");
    }
}
