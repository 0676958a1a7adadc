//! What stands still is cancelled and told as that; what is only large or slow is not.

use std::time::Duration;

use crate::rig::{Rig, json};
use crate::servers::{eventually, signal, sql, take, try_sql};

#[test]
fn a_large_file_is_not_taken_for_a_standstill() {
    let _turn = take();
    let rig = Rig::new("large");
    rig.fill(8);
    let path = format!("{}/l", rig.path);
    // About 3 s each, of which system.backups shows nothing.
    let slow = ["--maxBackupBandwidth", "3000000", "--clickhouseStall", "1s"];
    rig.back_up(&path, &slow);
    let restored = format!("{}_r", rig.db);
    rig.restore(0, &restored, &path, &slow);
    assert_eq!(rig.counts(&restored), "1008\t1008\t1008\t1008\t5");
}

#[test]
fn a_store_that_says_nothing_is_a_standstill_and_the_path_is_free_afterwards() {
    let _turn = take();
    let rig = Rig::new("stands");
    rig.fill(12);
    let (path, id) = (format!("{}/s", rig.path), rig.db.clone());
    let more = ["--id", &id, "--maxBackupBandwidth", "3000000", "--clickhouseStall", "2s"];
    let process = rig.keep.start_as(&[], &rig.words("create-backup", &rig.db, &path, &more));
    let ask = |what: &str| {
        let ask = format!(
            "SELECT count() FROM system.processes WHERE startsWith(query, 'BACKUP') AND position(query, \
             '{id}') > 0 AND query NOT LIKE '%system.processes%' {what}"
        );
        try_sql(&ask).is_ok_and(|count| count != "0")
    };
    assert!(eventually(Duration::from_secs(30), || ask("")), "it is not met");
    signal("s3", "STOP");
    let cancelled = eventually(Duration::from_secs(60), || ask("AND is_cancelled"));
    signal("s3", "CONT");
    assert!(cancelled, "nobody asked it to end");
    let done = process.wait();
    assert_eq!(done.code, Some(5), "{done}");
    assert_eq!(json(&done)["operation"]["error"]["code"], "STALLED", "{done}");
    let running = format!(
        "SELECT count() FROM system.backups WHERE startsWith(id, '{id}') AND status = 'CREATING_BACKUP'"
    );
    assert_eq!(sql(&running), "0");
    // ClickHouse takes away what it had written, and its lock.
    rig.back_up(&path, &["--id", &id]);
}
