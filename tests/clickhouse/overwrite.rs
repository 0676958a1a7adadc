//! Restores over what is there: replaced as a whole, or left as it was.

use std::path::{Path, PathBuf};

use crate::rig::{Rig, TABLE, json};
use crate::servers::{bucket, share, sql};

#[test]
fn a_database_is_replaced_as_a_whole() {
    let _turn = share();
    let rig = Rig::new("replaced");
    let path = format!("{}/r", rig.path);
    rig.back_up(&path, &[]);
    sql(&format!("INSERT INTO {}.t SELECT number + 5000, 'late' FROM numbers(10)", rig.db));
    let refused = rig.restore(3, &rig.db, &path, &[]);
    assert!(refused.stderr.contains("TARGET_NOT_EMPTY"), "{refused}");
    assert_eq!(rig.counts(&rig.db), "1010\t1010\t1010\t1010\t5", "nothing was touched");
    let done = json(&rig.restore(0, &rig.db, &path, &["--overwrite"]));
    assert_eq!(done["operation"]["verify"]["rows"], 3000, "{done}");
    assert_eq!(rig.counts(&rig.db), "1000\t1000\t1000\t1000\t5");
    // No view of what was there before fires for rows of its replacement.
    sql(&format!("INSERT INTO {}.t VALUES (9000, 'z')", rig.db));
    assert_eq!(rig.counts(&rig.db), "1001\t1001\t1001\t1001\t5");
    rig.require_tidy();
}

#[test]
fn a_table_is_swapped_and_views_follow() {
    let _turn = share();
    let rig = Rig::new("swapped");
    let path = format!("{}/s", rig.path);
    rig.back_up(&path, &TABLE);
    sql(&format!("TRUNCATE TABLE {}.t", rig.db));
    rig.restore(0, &rig.db, &path, &["--table", "t", "--overwrite"]);
    sql(&format!("INSERT INTO {}.t VALUES (9000, 'z')", rig.db));
    assert_eq!(rig.counts(&rig.db), "1001\t1001\t1001\t1001\t5");
    rig.require_tidy();
}

#[test]
fn views_and_dictionaries_are_not_swapped_alone() {
    let _turn = share();
    let rig = Rig::new("alone");
    let path = format!("{}/a", rig.path);
    rig.back_up(&path, &[]);
    for object in ["mv", "dict", "vw"] {
        let refused = rig.restore(3, &rig.db, &path, &["--table", object, "--overwrite"]);
        assert!(refused.stderr.contains("FORBIDDEN_TARGET"), "{object}: {refused}");
    }
    assert_eq!(rig.counts(&rig.db), "1000\t1000\t1000\t1000\t5");
    rig.require_tidy();
}

/// Files of a backup, by the folder of the bucket.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries =
        std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("it").path());
    let mut all = Vec::new();
    for path in entries {
        if path.is_dir() { all.extend(files(&path)) } else { all.push(path) }
    }
    all
}

/// The data files of a table in a backup.
fn data_of(rig: &Rig, backup: &str, table: &str) -> PathBuf {
    let folder = bucket().join("tests").join(&rig.db).join(backup);
    let part = format!("data/{}/{table}/", rig.db);
    let all = files(&folder).into_iter();
    let mut all: Vec<_> = all.filter(|path| path.to_string_lossy().contains(&part)).collect();
    all.retain(|path| path.ends_with("data.bin"));
    all.into_iter().next().unwrap_or_else(|| panic!("no data of {table}"))
}

#[test]
fn a_flipped_byte_is_found_and_what_was_there_stays() {
    let _turn = share();
    let rig = Rig::new("flipped");
    let path = format!("{}/f", rig.path);
    rig.back_up(&path, &[]);
    let data = data_of(&rig, "f", "t");
    let mut bytes = std::fs::read(&data).expect("read");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&data, bytes).expect("written");
    sql(&format!("INSERT INTO {}.t VALUES (9000, 'z')", rig.db));
    for more in [&["--overwrite"][..], &["--overwrite", "--table", "t"]] {
        let damaged = rig.restore(4, &rig.db, &path, more);
        assert!(damaged.stderr.contains("VERIFY_FAILED"), "{damaged}");
        assert_eq!(json(&damaged)["operation"]["status"], "rolled_back", "{damaged}");
        assert_eq!(rig.counts(&rig.db), "1001\t1001\t1001\t1001\t5");
    }
    // Its views work as before.
    sql(&format!("INSERT INTO {}.t VALUES (9001, 'z')", rig.db));
    assert_eq!(rig.counts(&rig.db), "1002\t1002\t1002\t1002\t5");
    rig.require_tidy();
}

#[test]
fn a_backup_that_lacks_an_object_is_rolled_back() {
    let _turn = share();
    let rig = Rig::new("lacking");
    let path = format!("{}/l", rig.path);
    rig.back_up(&path, &[]);
    std::fs::remove_file(data_of(&rig, "l", "t")).expect("removed");
    let failed = rig.restore(5, &rig.db, &path, &["--overwrite"]);
    assert!(failed.stderr.contains("STORAGE_ERROR"), "{failed}");
    assert_eq!(json(&failed)["operation"]["status"], "rolled_back", "{failed}");
    assert_eq!(rig.counts(&rig.db), "1000\t1000\t1000\t1000\t5");
    let other = format!("{}_new", rig.db);
    rig.restore(5, &other, &path, &[]);
    assert_eq!(sql(&format!("EXISTS DATABASE {other}")), "0", "a part was left");
    rig.require_tidy();
}
