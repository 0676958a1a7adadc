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

/// A data file of a table in a backup. Files that are equal in several are there once.
fn data_of(rig: &Rig, backup: &str, tables: &[&str]) -> PathBuf {
    let folder = bucket().join("tests").join(&rig.db).join(backup);
    let mut all = files(&folder).into_iter().filter(|path| path.ends_with("data.bin"));
    let of = |path: &PathBuf| {
        let part = |table: &&str| format!("data/{}/{table}/", rig.db);
        tables.iter().map(part).any(|part| path.to_string_lossy().contains(&part))
    };
    all.find(of).unwrap_or_else(|| panic!("no data of {tables:?}"))
}

fn flip(data: &Path) {
    let mut bytes = std::fs::read(data).expect("read");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(data, bytes).expect("written");
}

#[test]
fn a_flipped_byte_is_found_and_what_was_there_stays() {
    let _turn = share();
    let rig = Rig::new("flipped");
    let path = format!("{}/f", rig.path);
    rig.back_up(&path, &[]);
    flip(&data_of(&rig, "f", &["t"]));
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
    std::fs::remove_file(data_of(&rig, "l", &["t"])).expect("removed");
    let failed = rig.restore(5, &rig.db, &path, &["--overwrite"]);
    assert!(failed.stderr.contains("STORAGE_ERROR"), "{failed}");
    assert_eq!(json(&failed)["operation"]["status"], "rolled_back", "{failed}");
    assert_eq!(rig.counts(&rig.db), "1000\t1000\t1000\t1000\t5");
    let other = format!("{}_new", rig.db);
    rig.restore(5, &other, &path, &[]);
    assert_eq!(sql(&format!("EXISTS DATABASE {other}")), "0", "a part was left");
    rig.require_tidy();
}

#[test]
fn rows_behind_a_view_are_checked_too() {
    let _turn = share();
    let rig = Rig::new("inner");
    let path = format!("{}/i", rig.path);
    rig.back_up(&path, &[]);
    let other = format!("{}_new", rig.db);
    let more = ["--table", "seen", "--sourceTable", "mv"];
    let done = json(&rig.restore(0, &other, &path, &more));
    assert_eq!(done["operation"]["verify"]["rows"], 1000, "{done}");
    assert_eq!(sql(&format!("SELECT count() FROM {other}.seen")), "1000");
    flip(&data_of(&rig, "i", &["mv", "dst"]));
    let more = ["--table", "again", "--sourceTable", "mv"];
    let damaged = rig.restore(4, &other, &path, &more);
    assert!(damaged.stderr.contains("VERIFY_FAILED"), "{damaged}");
    let left = sql(&format!("SELECT count() FROM system.tables WHERE database = '{other}'"));
    assert_eq!(left, "2", "the view and its table of before");
    rig.require_tidy();
}

#[test]
fn long_names_are_replaced_as_well() {
    let _turn = share();
    let rig = Rig::bare("long");
    // Each letter is six bytes in the name of a file.
    let table = "\u{444}".repeat(30);
    let name = format!("{}.`{table}`", rig.db);
    sql(&format!("CREATE TABLE {name} (id UInt64) ENGINE = MergeTree ORDER BY id"));
    sql(&format!("INSERT INTO {name} VALUES (1)"));
    let (path, more) = (format!("{}/n", rig.path), ["--table", &table]);
    rig.back_up(&path, &more);
    sql(&format!("INSERT INTO {name} VALUES (2)"));
    rig.restore(0, &rig.db, &path, &[&more[..], &["--overwrite"]].concat());
    assert_eq!(sql(&format!("SELECT count() FROM {name}")), "1");
    rig.require_tidy();
}
