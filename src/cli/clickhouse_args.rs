//! Options of `deltakeep clickhouse` as they are typed. Owns names and help; never gives a meaning or a
//! default to anything.

use std::path::PathBuf;

use clap::builder::FalseyValueParser;
use clap::{Args, Subcommand};

/// `deltakeep clickhouse`
#[derive(Debug, Args)]
pub struct ClickhouseArgs {
    /// What to do.
    #[command(subcommand)]
    pub what: ClickhouseCommand,
    /// How to get there.
    #[command(flatten)]
    pub means: MeansArgs,
}

/// How to get to the server and its object store.
#[derive(Debug, Args)]
pub struct MeansArgs {
    /// The server. The password comes from DELTAKEEP_CLICKHOUSE_PASSWORD (or _FILE)
    #[arg(long, global = true, value_name = "http[s]://HOST:PORT", env = "DELTAKEEP_CLICKHOUSE")]
    pub clickhouse: Option<String>,
    /// Its user [default: the server's default]
    #[arg(
        long = "clickhouseUser",
        visible_alias = "clickhouse-user",
        global = true,
        value_name = "NAME",
        env = "DELTAKEEP_CLICKHOUSE_USER"
    )]
    pub user: Option<String>,
    /// File with authorities that are trusted besides the system's, PEM
    #[arg(
        long = "clickhouseCa",
        visible_alias = "clickhouse-ca",
        global = true,
        value_name = "PATH",
        env = "DELTAKEEP_CLICKHOUSE_CA"
    )]
    pub ca: Option<PathBuf>,
    /// File with the client's certificate, PEM
    #[arg(
        long = "clickhouseCert",
        visible_alias = "clickhouse-cert",
        global = true,
        value_name = "PATH",
        env = "DELTAKEEP_CLICKHOUSE_CERT",
        requires = "key"
    )]
    pub cert: Option<PathBuf>,
    /// File with its key, PEM in PKCS #8
    #[arg(
        long = "clickhouseKey",
        visible_alias = "clickhouse-key",
        global = true,
        value_name = "PATH",
        env = "DELTAKEEP_CLICKHOUSE_KEY",
        requires = "cert"
    )]
    pub key: Option<PathBuf>,
    /// The object store behind s3:// where it is not AWS. Keys come from
    /// DELTAKEEP_S3_ACCESS_KEY (or _FILE) and DELTAKEEP_S3_SECRET_KEY (or _FILE)
    #[arg(
        long = "s3Endpoint",
        visible_alias = "s3-endpoint",
        global = true,
        value_name = "http[s]://HOST:PORT",
        env = "DELTAKEEP_S3_ENDPOINT"
    )]
    pub s3_endpoint: Option<String>,
    /// Allow an object store over plain http: ClickHouse sends it rows that anybody can read
    #[arg(
        long = "allowHttp",
        visible_alias = "allow-http",
        global = true,
        env = "DELTAKEEP_ALLOW_HTTP",
        value_parser = FalseyValueParser::new()
    )]
    pub allow_http: bool,
    /// Beginning of paths that backups may have; several are separated by commas [default: any]
    #[arg(
        long = "allowPath",
        visible_alias = "allow-path",
        global = true,
        value_name = "s3://BUCKET/KEY",
        env = "DELTAKEEP_ALLOW_PATH",
        value_delimiter = ','
    )]
    pub allow_path: Vec<String>,
    /// Named collection of the server with the URL and keys for paths that begin so, used where no
    /// keys are given; several are separated by commas [default: none]
    #[arg(
        long = "namedCollection",
        visible_alias = "named-collection",
        global = true,
        value_name = "NAME=s3://BUCKET/KEY",
        env = "DELTAKEEP_NAMED_COLLECTION",
        value_delimiter = ','
    )]
    pub named_collection: Vec<String>,
    /// Cluster that may be backed up and restored as a whole; several are separated by commas [default: none]
    #[arg(
        long = "allowCluster",
        visible_alias = "allow-cluster",
        global = true,
        value_name = "NAME",
        env = "DELTAKEEP_ALLOW_CLUSTER",
        value_delimiter = ','
    )]
    pub allow_cluster: Vec<String>,
    /// How long nothing may move before an operation is cancelled [default: 900s]
    #[arg(
        long = "clickhouseStall",
        visible_alias = "clickhouse-stall",
        global = true,
        value_name = "TIME",
        env = "DELTAKEEP_CLICKHOUSE_STALL"
    )]
    pub stall: Option<String>,
    /// How often ClickHouse asks an object store that does not answer, about 5 s apart
    /// [default: 10]
    #[arg(
        long = "s3Retries",
        visible_alias = "s3-retries",
        global = true,
        value_name = "COUNT",
        env = "DELTAKEEP_S3_RETRIES"
    )]
    pub s3_retries: Option<u32>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum ClickhouseCommand {
    /// Back a database or a table up into an object store
    #[command(name = "create-backup", visible_alias = "create_backup")]
    CreateBackup(ObjectArgs),
    /// Restore a database or a table, under its name or another
    #[command(name = "restore-backup", visible_alias = "restore_backup")]
    RestoreBackup {
        /// What.
        #[command(flatten)]
        object: ObjectArgs,
        /// The database's name in the backup [default: found in the backup]
        #[arg(long = "sourceDatabase", visible_alias = "source-database", value_name = "NAME")]
        source_database: Option<String>,
        /// The table's name in the backup [default: found in the backup]
        #[arg(long = "sourceTable", visible_alias = "source-table", value_name = "NAME")]
        source_table: Option<String>,
        /// Replace what is there. What was there is dropped only after what replaces it was checked
        #[arg(long)]
        overwrite: bool,
    },
    /// List operations of this host and of the server
    #[command(name = "list-backups", visible_alias = "list_backups")]
    ListBackups(ListArgs),
    /// Tell everything about one operation
    #[command(name = "get-backup", visible_alias = "get_backup")]
    GetBackup {
        /// Its id
        id: String,
    },
    /// Bring an operation that a dead process left to its end: finished, or everything put back
    Recover {
        /// Its id [default: all that are not at their end]
        #[arg(long, value_name = "ID")]
        op: Option<String>,
    },
}

/// What is backed up or restored.
#[derive(Debug, Args)]
pub struct ObjectArgs {
    /// Whether a whole database is meant or one table
    #[arg(long, value_name = "database|table")]
    pub scope: String,
    /// The database
    #[arg(long, value_name = "NAME")]
    pub database: String,
    /// The table
    #[arg(long, value_name = "NAME")]
    pub table: Option<String>,
    /// Where the backup lies
    #[arg(long, visible_alias = "backup_path", value_name = "s3://BUCKET/KEY")]
    pub path: String,
    /// What the operation is to be known by; the same id again does not begin it twice
    #[arg(long, visible_alias = "backup_id", value_name = "ID")]
    pub id: Option<String>,
    /// An earlier backup: only what changed since is stored
    #[arg(long = "baseBackup", visible_alias = "base-backup", value_name = "s3://BUCKET/KEY")]
    pub base_backup: Option<String>,
    /// Only definitions, no rows
    #[arg(long = "structureOnly", visible_alias = "structure-only")]
    pub structure_only: bool,
    /// Bytes a second that the server may move
    #[arg(
        long = "maxBackupBandwidth",
        visible_alias = "max-backup-bandwidth",
        value_name = "BYTES"
    )]
    pub max_backup_bandwidth: Option<u64>,
    /// All servers of a cluster; a restore only where none of them has the target. Not tried on a
    /// cluster by deltakeep's own tests
    #[arg(long = "onCluster", visible_alias = "on-cluster", value_name = "NAME")]
    pub on_cluster: Option<String>,
}

/// Which operations are listed.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// How many [default: 50]
    #[arg(long, value_name = "COUNT")]
    pub limit: Option<u64>,
    /// Where the last list ended
    #[arg(long, value_name = "CURSOR")]
    pub cursor: Option<String>,
    /// Only these: accepted, running, swapping, succeeded, failed, rolled_back, ...
    #[arg(long, value_name = "STATUS")]
    pub status: Option<String>,
    /// Only these: backup or restore
    #[arg(long, value_name = "KIND")]
    pub kind: Option<String>,
    /// Only of this database
    #[arg(long, value_name = "NAME")]
    pub database: Option<String>,
    /// Not older than this
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
}
