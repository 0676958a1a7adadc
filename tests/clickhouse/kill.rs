//! kill -9 of the command, of ClickHouse and of the S3 server in the middle of backups and
//! restores: what was there is whole, nothing is left, and the same can be asked for again.

use std::time::Duration;

use crate::process::Process;
use crate::rig::{Rig, json};
use crate::servers::{delete_object, eventually, kill, sql, take, try_sql, up};

/// Slow enough to be hit, megabytes and bytes a second.
const MEGABYTES: u64 = 12;
const SLOW: &str = "4000000";

/// Waits until the server works on an operation.
fn meet(id: &str) {
    let ask = format!(
        "SELECT count() FROM system.backups WHERE startsWith(id, '{id}') AND status IN \
                       ('CREATING_BACKUP', 'RESTORING')"
    );
    let met = || try_sql(&ask).is_ok_and(|count| count != "0");
    assert!(eventually(Duration::from_secs(30), met), "{id} is not met");
}

fn kill_command(process: Process) {
    process.signal("KILL");
    process.wait();
}

fn recover(rig: &Rig, id: &str) -> serde_json::Value {
    let done = rig.run(&["clickhouse", "--output", "json", "recover", "--op", id]);
    assert_eq!(done.code, Some(0), "{done}");
    json(&done)
}

#[test]
fn a_backup_outlives_the_command_and_is_found_again() {
    let _turn = take();
    let rig = Rig::new("killed");
    rig.fill(MEGABYTES);
    let (path, id) = (format!("{}/k", rig.path), rig.db.clone());
    let words =
        rig.words("create-backup", &rig.db, &path, &["--id", &id, "--maxBackupBandwidth", SLOW]);
    let process = rig.keep.start_as(&[], &words);
    meet(&id);
    kill_command(process);
    let list = rig.run(&["clickhouse", "--output", "json", "list-backups", "--database", &rig.db]);
    assert_eq!(json(&list)["operations"][0]["status"], "running", "{list}");
    let done = rig.run(&words);
    assert_eq!(done.code, Some(0), "{done}");
    assert_eq!(json(&done)["operation"]["attempt"], 1, "{done}");
}

#[test]
fn a_killed_restore_over_a_database_is_finished() {
    let _turn = take();
    let rig = Rig::new("finished");
    rig.fill(MEGABYTES);
    let (path, id) = (format!("{}/k", rig.path), rig.db.clone());
    rig.back_up(&path, &[]);
    sql(&format!("INSERT INTO {}.t VALUES (9000, 'late')", rig.db));
    let more = ["--overwrite", "--id", &id, "--maxBackupBandwidth", SLOW];
    let process = rig.start_restore(&path, &more);
    meet(&id);
    kill_command(process);
    let busy = rig.run(&rig.words("create-backup", &rig.db, &format!("{}/b", rig.path), &[]));
    assert_eq!(busy.code, Some(7), "{busy}");
    assert!(busy.stderr.contains("BUSY"), "{busy}");
    let done = recover(&rig, &id);
    assert_eq!(done["operation"]["status"], "succeeded", "{done}");
    assert_eq!(rig.counts(&rig.db), "1012\t1012\t1012\t1012\t5");
    rig.require_tidy();
}

#[test]
fn a_restore_lost_by_a_restart_of_clickhouse_goes_back() {
    let _turn = take();
    for more in [&["--overwrite"][..], &["--overwrite", "--table", "t"]] {
        let rig = Rig::new("goesback");
        rig.fill(MEGABYTES);
        let (path, id) = (format!("{}/k", rig.path), rig.db.clone());
        rig.back_up(&path, &[]);
        sql(&format!("INSERT INTO {}.t VALUES (9000, 'late')", rig.db));
        let more = [more, &["--id", &id, "--maxBackupBandwidth", SLOW]].concat();
        let process = rig.start_restore(&path, &more);
        meet(&id);
        kill("clickhouse");
        up("clickhouse");
        let done = process.wait();
        assert_eq!(done.code, Some(5), "{done}");
        assert_eq!(json(&done)["operation"]["status"], "rolled_back", "{done}");
        assert_eq!(rig.counts(&rig.db), "1013\t1013\t1013\t1013\t5");
        // Views of what came back fire, once.
        sql(&format!("INSERT INTO {}.t VALUES (9001, 'z')", rig.db));
        assert_eq!(rig.counts(&rig.db), "1014\t1014\t1014\t1014\t5");
        rig.require_tidy();
        let again: Vec<_> = more
            .iter()
            .filter(|word| **word != SLOW && **word != "--maxBackupBandwidth")
            .copied()
            .collect();
        rig.restore(0, &rig.db, &path, &again);
        assert_eq!(sql(&format!("SELECT count() FROM {}.t", rig.db)), "1012");
    }
}

#[test]
fn command_and_clickhouse_killed_together_are_recovered() {
    let _turn = take();
    let rig = Rig::new("together");
    rig.fill(MEGABYTES);
    let (path, id) = (format!("{}/k", rig.path), rig.db.clone());
    rig.back_up(&path, &[]);
    let more = ["--overwrite", "--id", &id, "--maxBackupBandwidth", SLOW];
    let process = rig.start_restore(&path, &more);
    meet(&id);
    kill_command(process);
    kill("clickhouse");
    up("clickhouse");
    // While nobody works on it, rows that come are not doubled by views of what was moved aside.
    let done = recover(&rig, &id);
    assert_eq!(done["operation"]["status"], "rolled_back", "{done}");
    sql(&format!("INSERT INTO {}.t VALUES (9001, 'z')", rig.db));
    assert_eq!(rig.counts(&rig.db), "1013\t1013\t1013\t1013\t5");
    rig.require_tidy();
}

#[test]
fn a_backup_lost_by_a_restart_of_clickhouse_names_its_lock() {
    let _turn = take();
    let rig = Rig::new("lost");
    rig.fill(MEGABYTES);
    let (path, id) = (format!("{}/k", rig.path), rig.db.clone());
    let more = ["--id", &id, "--maxBackupBandwidth", SLOW];
    let process = rig.keep.start_as(&[], &rig.words("create-backup", &rig.db, &path, &more));
    meet(&id);
    std::thread::sleep(Duration::from_millis(500));
    kill("clickhouse");
    up("clickhouse");
    let done = process.wait();
    assert_eq!(done.code, Some(3), "{done}");
    assert!(done.stderr.contains("PATH_LOCKED") && done.stderr.contains("/k/.lock"), "{done}");
    delete_object(&format!("tests/{}/k/.lock", rig.db));
    rig.back_up(&path, &[]);
}

#[test]
fn an_s3_server_killed_for_a_while_is_waited_for() {
    let _turn = take();
    let rig = Rig::new("store");
    rig.fill(MEGABYTES);
    let (path, id) = (format!("{}/k", rig.path), rig.db.clone());
    let more = ["--id", &id, "--maxBackupBandwidth", SLOW, "--s3Retries", "100"];
    let process = rig.keep.start_as(&[], &rig.words("create-backup", &rig.db, &path, &more));
    meet(&id);
    kill("s3");
    std::thread::sleep(Duration::from_millis(1500));
    up("s3");
    let done = process.wait();
    assert_eq!(done.code, Some(0), "{done}");
    let restored = format!("{}_r", rig.db);
    rig.restore(0, &restored, &path, &[]);
    assert_eq!(sql(&format!("SELECT count() FROM {restored}.t")), "1012");
}

#[test]
fn a_signal_leaves_clickhouse_at_work_and_recover_ends_it() {
    let _turn = take();
    let rig = Rig::new("signal");
    rig.fill(MEGABYTES);
    let (path, id) = (format!("{}/k", rig.path), rig.db.clone());
    let more = ["--id", &id, "--maxBackupBandwidth", SLOW];
    let process = rig.keep.start_as(&[], &rig.words("create-backup", &rig.db, &path, &more));
    meet(&id);
    process.signal("TERM");
    let done = process.wait();
    assert_eq!(done.code, Some(143), "{done}");
    assert!(done.stderr.contains(&format!("recover --op {id}")), "{done}");
    assert_eq!(recover(&rig, &id)["operation"]["status"], "succeeded");
}
