//! Canaries in every secret: they are in no log, no file of the journal, no table of the server and
//! no list of processes.

use std::path::Path;

use crate::rig::Rig;
use crate::servers::{setting, share, sql, try_sql};

fn search(folder: &Path, canaries: &[&str]) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            search(&path, canaries);
            continue;
        }
        let bytes = std::fs::read(&path).expect("a file");
        for canary in canaries {
            let found = bytes.windows(canary.len()).any(|window| window == canary.as_bytes());
            assert!(!found, "{} holds a secret", path.display());
        }
    }
}

#[test]
fn no_secret_is_seen_anywhere() {
    let _turn = share();
    let mut rig = Rig::new("secrets");
    let secret = setting("DELTAKEEP_TEST_S3_SECRET_KEY");
    let access = setting("DELTAKEEP_TEST_S3_ACCESS_KEY");
    let password = setting("DELTAKEEP_TEST_CLICKHOUSE_PASSWORD");
    let wrong = "wr0ng-caNary-secret";
    let path = format!("{}/s", rig.path);
    let log = rig.keep.folder.join("deltakeep.log").to_string_lossy().into_owned();
    let loud = ["-vvv", "--logFile", &log];
    let mut process = rig.keep.start_as(&loud, &rig.words("create-backup", &rig.db, &path, &[]));
    if process.is_alive() {
        let argv = std::fs::read(format!("/proc/{}/cmdline", process.pid())).unwrap_or_default();
        let argv = String::from_utf8_lossy(&argv).into_owned();
        assert!(![&secret, &password].iter().any(|text| argv.contains(*text)), "{argv}");
    }
    assert_eq!(process.wait().code, Some(0));
    let words = rig.words("restore-backup", &rig.db, &path, &["--overwrite"]);
    assert_eq!(rig.keep.start_as(&loud, &words).wait().code, Some(0));
    rig.set("DELTAKEEP_S3_SECRET_KEY", wrong);
    let words = rig.words("create-backup", &rig.db, &path, &["--id", "wrong"]);
    assert_eq!(rig.keep.start_as(&loud, &words).wait().code, Some(3));
    let words = ["clickhouse", "--output", "json", "list-backups"];
    assert_eq!(rig.keep.start_as(&loud, &words).wait().code, Some(0));
    let canaries = [secret.as_str(), password.as_str(), wrong];
    search(&rig.keep.folder, &canaries);
    // We show the access key nowhere, either; ClickHouse does, in system.backups.
    search(&rig.keep.state, &[&access]);
    sql("SYSTEM FLUSH LOGS");
    let tables = sql("SELECT name FROM system.tables WHERE database = 'system'");
    let looked = tables.lines().filter(|table| !ENDLESS.contains(table));
    let seen = looked.filter(|table| looked_through(table, &canaries)).count();
    assert!(seen > 80, "only {seen} tables of the server were looked through");
}

/// Tables that only count, or want a condition.
const ENDLESS: [&str; 9] = [
    "numbers",
    "numbers_mt",
    "zeros",
    "zeros_mt",
    "primes",
    "generate_series",
    "generateSeries",
    "completions",
    "remote_data_paths",
];

/// Looks for secrets in a table of the server; false where this server does not have what it shows.
fn looked_through(table: &str, canaries: &[&str]) -> bool {
    // Split, so that the question does not find itself.
    let found = canaries.iter().map(|canary| {
        let (head, tail) = canary.split_at(5);
        format!("position(text, concat('{head}', '{tail}')) > 0")
    });
    let found = found.collect::<Vec<_>>().join(" OR ");
    let asked = format!(
        "SELECT count() FROM (SELECT toString(tuple(*)) AS text FROM system.`{table}`) WHERE {found}"
    );
    match try_sql(&asked) {
        Ok(found) => {
            assert_eq!(found, "0", "system.{table}");
            true
        }
        Err(error) => {
            let absent = ["NO_ELEMENTS_IN_CONFIG", "FILE_DOESNT_EXIST"];
            assert!(absent.iter().any(|name| error.contains(name)), "system.{table}: {error}");
            false
        }
    }
}
