//! What a test works with: a folder, a database with everything in it, the command with its
//! secrets in the environment.

use serde_json::Value;
use tempfile::TempDir;

use crate::process::{Done, Keep, Process};
use crate::servers::{setting, sql, try_sql};

/// A database of its own and a command line.
pub struct Rig {
    pub keep: Keep,
    /// The database.
    pub db: String,
    /// Where its backups lie, without the last part.
    pub path: String,
    _folder: TempDir,
}

impl Rig {
    /// A rig with an empty database.
    pub fn bare(what: &str) -> Self {
        let folder = TempDir::new().expect("a folder");
        let mut keep = Keep::new(folder.path(), "unused", "unused");
        let mut set = |name: &str, value: String| keep.variables.push((name.to_owned(), value));
        set("DELTAKEEP_CLICKHOUSE", format!("http://{}", setting("DELTAKEEP_TEST_CLICKHOUSE")));
        set("DELTAKEEP_CLICKHOUSE_USER", setting("DELTAKEEP_TEST_CLICKHOUSE_USER"));
        set("DELTAKEEP_CLICKHOUSE_PASSWORD", setting("DELTAKEEP_TEST_CLICKHOUSE_PASSWORD"));
        set("DELTAKEEP_S3_ENDPOINT", format!("http://{}", setting("DELTAKEEP_TEST_S3")));
        set("DELTAKEEP_ALLOW_HTTP", "1".into());
        set("DELTAKEEP_S3_ACCESS_KEY", setting("DELTAKEEP_TEST_S3_ACCESS_KEY"));
        set("DELTAKEEP_S3_SECRET_KEY", setting("DELTAKEEP_TEST_S3_SECRET_KEY"));
        set("DELTAKEEP_S3_RETRIES", "2".into());
        let tail = uuid::Uuid::new_v4().simple().to_string();
        let db = format!("{what}_{}", &tail[..10]);
        let path = format!("s3://my-bucket/tests/{db}");
        sql(&format!("CREATE DATABASE {db}"));
        Self { keep, db, path, _folder: folder }
    }

    /// A rig whose database has a table, a view, two materialized views and a dictionary.
    pub fn new(what: &str) -> Self {
        let rig = Self::bare(what);
        let db = &rig.db;
        let password = setting("DELTAKEEP_TEST_CLICKHOUSE_PASSWORD");
        for statement in [
            format!("CREATE TABLE {db}.t (id UInt64, s String) ENGINE = MergeTree ORDER BY id"),
            format!("CREATE VIEW {db}.vw AS SELECT * FROM {db}.t"),
            format!(
                "CREATE MATERIALIZED VIEW {db}.mv ENGINE = MergeTree ORDER BY id AS SELECT id FROM {db}.t"
            ),
            format!("CREATE TABLE {db}.dst (id UInt64) ENGINE = MergeTree ORDER BY id"),
            format!("CREATE MATERIALIZED VIEW {db}.mv2 TO {db}.dst AS SELECT id FROM {db}.t"),
            format!(
                "CREATE DICTIONARY {db}.dict (id UInt64, s String) PRIMARY KEY id SOURCE(CLICKHOUSE(\
                 DB '{db}' TABLE 't' USER 'backup' PASSWORD '{password}')) LAYOUT(HASHED()) LIFETIME(0)"
            ),
            format!("INSERT INTO {db}.t SELECT number, toString(number) FROM numbers(1000)"),
        ] {
            sql(&statement);
        }
        rig
    }

    /// Sets a variable of the commands to come.
    pub fn set(&mut self, name: &str, value: &str) {
        self.keep.variables.retain(|(known, _)| known != name);
        self.keep.variables.push((name.to_owned(), value.to_owned()));
    }

    /// Takes a variable away and returns what it was.
    pub fn unset(&mut self, name: &str) -> String {
        let at = self.keep.variables.iter().position(|(known, _)| known == name);
        self.keep.variables.swap_remove(at.unwrap_or_else(|| panic!("{name} is not set"))).1
    }

    /// Rows that do not pack, so that moving them takes a while.
    pub fn fill(&self, megabytes: u64) {
        sql(&format!(
            "INSERT INTO {}.t SELECT number + 10000, randomString(1048576) FROM numbers({megabytes})",
            self.db
        ));
    }

    /// Words of a backup or a restore of the database.
    pub fn words<'a>(
        &'a self,
        what: &'a str,
        db: &'a str,
        path: &'a str,
        more: &[&'a str],
    ) -> Vec<&'a str> {
        let mut words =
            vec!["clickhouse", "--output", "json", what, "--path", path, "--database", db];
        if !more.contains(&"--table") {
            words.extend(["--scope", "database"]);
        } else {
            words.extend(["--scope", "table"]);
        }
        words.extend(more);
        words
    }

    /// Backs the database up.
    pub fn back_up(&self, path: &str, more: &[&str]) -> Done {
        self.expect(0, &self.words("create-backup", &self.db, path, more))
    }

    /// Restores into a database, and requires an exit code.
    pub fn restore(&self, code: i32, db: &str, path: &str, more: &[&str]) -> Done {
        self.expect(code, &self.words("restore-backup", db, path, more))
    }

    /// Starts a restore into the rig's database.
    pub fn start_restore(&self, path: &str, more: &[&str]) -> Process {
        self.keep.start_as(&[], &self.words("restore-backup", &self.db, path, more))
    }

    fn expect(&self, code: i32, words: &[&str]) -> Done {
        let done = self.run(words);
        assert_eq!(done.code, Some(code), "{words:?}: {done}");
        done
    }

    /// Runs a command without a connection to a node.
    pub fn run(&self, words: &[&str]) -> Done {
        self.keep.start_as(&[], words).wait()
    }

    /// What a database holds: rows of the table, of both views' tables, of the view, and a value of
    /// the dictionary.
    pub fn counts(&self, db: &str) -> String {
        sql(&format!(
            "SELECT (SELECT count() FROM {db}.t), (SELECT count() FROM {db}.mv), (SELECT count() FROM \
             {db}.dst), (SELECT count() FROM {db}.vw), dictGet('{db}.dict', 's', toUInt64(5))"
        ))
    }

    /// Nothing that an operation keeps beside a name may be left.
    pub fn require_tidy(&self) {
        let left = sql(&format!(
            "SELECT name FROM system.databases WHERE name LIKE '{0}%\\\\_\\\\_bk\\\\_%' UNION ALL SELECT \
             concat(database, '.', name) FROM system.tables WHERE database LIKE '{0}%' AND name LIKE \
             '%\\\\_\\\\_bk\\\\_%'",
            self.db
        ));
        assert_eq!(left, "", "left behind");
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        let all = try_sql(&format!(
            "SELECT name FROM system.databases WHERE startsWith(name, '{}')",
            self.db
        ));
        for db in all.unwrap_or_default().lines() {
            let _ =
                try_sql(&format!("DROP DATABASE {db} SYNC SETTINGS check_table_dependencies = 0"));
        }
        let folder = crate::servers::bucket().join("tests").join(&self.db);
        let _ = std::fs::remove_dir_all(folder);
    }
}

/// The document that a command printed first.
pub fn json(done: &Done) -> Value {
    let line = done.stdout.lines().next().unwrap_or_default();
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {done}"))
}

/// Words of a table's backup or restore.
pub const TABLE: [&str; 2] = ["--table", "t"];
