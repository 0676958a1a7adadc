//! The ClickHouse server and the S3 server of scripts/servers: asked, killed, started again. Tests
//! that kill take them for themselves; all others share them.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

pub static TURN: RwLock<()> = RwLock::new(());

/// A setting from the environment; without it the test fails, it is never skipped.
pub fn setting(variable: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| {
        panic!("{variable} is not set; run scripts/test, or scripts/servers up stores")
    })
}

/// The servers run and nobody kills them.
pub fn share() -> RwLockReadGuard<'static, ()> {
    TURN.read().unwrap_or_else(PoisonError::into_inner)
}

/// The servers run, and nobody else uses them.
pub fn take() -> RwLockWriteGuard<'static, ()> {
    let turn = TURN.write().unwrap_or_else(PoisonError::into_inner);
    up("stores");
    turn
}

fn script(words: &[&str]) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/servers");
    let done = Command::new(script).args(words).output().expect("scripts/servers runs");
    String::from_utf8_lossy(&done.stdout).into_owned()
}

/// Starts a server that does not run, and waits until it answers.
pub fn up(name: &str) {
    let told = script(&["up", name]);
    assert!(!told.is_empty(), "{name} does not come up");
}

/// kill -9.
pub fn kill(name: &str) {
    let pid = signal(name, "KILL");
    let gone = || !Path::new("/proc").join(&pid).exists();
    assert!(eventually(Duration::from_secs(10), gone), "{name} does not die");
}

/// Sends a signal to a server and returns its number.
pub fn signal(name: &str, signal: &str) -> String {
    let told = script(&["status", name]);
    let pid = told.split_whitespace().nth(2).expect("a pid").to_owned();
    let sent = Command::new("kill").args([&format!("-{signal}"), &pid]).status();
    assert!(sent.expect("kill runs").success(), "{name}: {told}");
    pid
}

/// Asks until the answer is yes or the time is over.
pub fn eventually(within: Duration, mut ask: impl FnMut() -> bool) -> bool {
    let began = Instant::now();
    loop {
        if ask() {
            return true;
        }
        if began.elapsed() > within {
            return false;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Runs a statement; the error is ClickHouse's text.
pub fn try_sql(statement: &str) -> Result<String, String> {
    let server = setting("DELTAKEEP_TEST_CLICKHOUSE");
    let (user, password) =
        (setting("DELTAKEEP_TEST_CLICKHOUSE_USER"), setting("DELTAKEEP_TEST_CLICKHOUSE_PASSWORD"));
    let done = Command::new("curl")
        .args(["-sS", "--max-time", "60", "--fail-with-body", "--data-binary", statement])
        .args(["-H", &format!("X-ClickHouse-User: {user}")])
        .args(["-H", &format!("X-ClickHouse-Key: {password}")])
        .arg(format!("http://{server}/?database=system"))
        .output()
        .expect("curl runs");
    let text = String::from_utf8_lossy(&done.stdout).trim_end().to_owned();
    if done.status.success() { Ok(text) } else { Err(text) }
}

/// Runs a statement that must succeed.
pub fn sql(statement: &str) -> String {
    try_sql(statement).unwrap_or_else(|error| panic!("{statement}: {error}"))
}

/// The folder in which the S3 server keeps the bucket.
pub fn bucket() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/dev-servers/s3/data/my-bucket")
}

/// SHA-256 of nothing, which is what a request without a body sends.
const NOTHING: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// Removes an object as an operator does. What the server keeps beside the file must go, too: else
/// it takes no new one that must not be there yet.
pub fn delete_object(key: &str) {
    let (server, access, secret) = (
        setting("DELTAKEEP_TEST_S3"),
        setting("DELTAKEEP_TEST_S3_ACCESS_KEY"),
        setting("DELTAKEEP_TEST_S3_SECRET_KEY"),
    );
    let options = format!(
        "url = \"http://{server}/my-bucket/{key}\"\nrequest = DELETE\naws-sigv4 = \
         \"aws:amz:us-east-1:s3\"\nheader = \"x-amz-content-sha256: {NOTHING}\"\nuser = \
         \"{access}:{secret}\"\n"
    );
    // On stdin, so that the key is in nobody's list of processes.
    let mut curl = Command::new("curl");
    curl.args(["-sSf", "--max-time", "20", "-K", "-"]).stdin(Stdio::piped());
    let mut curl = curl.spawn().expect("curl runs");
    let mut stdin = curl.stdin.take().expect("its stdin");
    stdin.write_all(options.as_bytes()).expect("told");
    drop(stdin);
    assert!(curl.wait().expect("its end").success(), "{key} is not deleted");
}
