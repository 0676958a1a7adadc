//! The same search over brokers that take the secrets: a backup by SASL and TLS with a client's
//! key, from its first line to its hook, its metrics and its end by a panic.

use std::path::Path;
use std::process::{Command, Stdio};

use deltakeep::extract::prostore::{ProstoreNode, Secret, Timeouts};
use deltakeep::model::Datamart;
use deltakeep::sandbox::{Options, Sandbox};

use super::{TOKEN, files, search_for};

fn setting(variable: &str) -> String {
    std::env::var(variable)
        .unwrap_or_else(|_| panic!("{variable} is not set; run scripts/test, or scripts/servers"))
}

fn certificate(name: &str) -> String {
    format!("{}/{name}", setting("DELTAKEEP_TEST_CERTIFICATES"))
}

/// What must not be found: the token, the password, and each line of the client's key.
fn secrets() -> Vec<String> {
    let read = |name| std::fs::read_to_string(certificate(name)).unwrap();
    let key = read("client.key");
    let lines = key.lines().filter(|line| line.len() > 40).map(str::to_owned);
    let secrets: Vec<_> = [TOKEN.to_owned(), read("password")].into_iter().chain(lines).collect();
    assert!(secrets.len() > 10, "the key has few lines");
    secrets
}

fn find_none(bytes: &[u8], place: &str) {
    let secrets = secrets();
    let secrets: Vec<_> = secrets.iter().map(String::as_str).collect();
    search_for(&secrets, bytes, place);
}

/// A node over the secure broker, with a datamart `mart` of one delta.
async fn node() -> Sandbox {
    let options = Options {
        listen: "127.0.0.1:0".parse().unwrap(),
        kafka: setting("DELTAKEEP_TEST_SECURE"),
        token: Some(TOKEN.to_owned()),
        ..Options::default()
    };
    let sandbox = Sandbox::start(options).await.unwrap();
    let (datamart, token) = (Datamart::parse("mart").unwrap(), Some(Secret::new(TOKEN)));
    let address = sandbox.address().to_string();
    let node = ProstoreNode::new(address, datamart, token, Timeouts::default()).unwrap();
    for sql in [
        "CREATE DATABASE mart",
        "CREATE TABLE mart.t (id bigint NOT NULL, v varchar, PRIMARY KEY (id)) DISTRIBUTED BY (id)",
        "BEGIN DELTA",
        "SANDBOX_FILL(mart.t, 300)",
        "COMMIT DELTA",
    ] {
        node.execute(sql).await.unwrap();
    }
    sandbox
}

/// A backup whose secrets come from files, or all from the environment; everything that can tell
/// of something does.
fn backup(folder: &Path, node: &str, topic: &str, from_files: bool, password: &str) -> Command {
    let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    let mut command = Command::new(env!("CARGO_BIN_EXE_deltakeep"));
    command.env_clear().env("RUST_BACKTRACE", "full").env("HOME", folder);
    command.env("DELTAKEEP_STATE_DIR", path("state")).env("PATH", "/usr/bin:/bin");
    command.args(["backup_to_kafka", "--topic", topic, "--chunkSize", "20", "-vvv"]);
    command.args(["--kafkaBrokersCore", &setting("DELTAKEEP_TEST_SASL_SSL")]);
    command.args(["--connect", &format!("{node}/mart"), "--kafkaRetries", "0"]);
    command.args(["--logFile", &path("log"), "--metricsFile", &path("metrics.prom")]);
    let hook = format!(
        "sh -c 'cat /proc/self/cmdline /proc/$$/cmdline /proc/$$/environ >>{}'",
        path("hook")
    );
    command.args(["--onFinishCmd", &hook]);
    let mut properties = vec![
        "security.protocol=sasl_ssl".to_owned(),
        "sasl.mechanisms=PLAIN".to_owned(),
        "sasl.username=backup".to_owned(),
        "debug=all".to_owned(),
        format!("ssl.ca.location={}", certificate("ca.pem")),
        format!("ssl.certificate.location={}", certificate("client.pem")),
        format!("ssl.key.pem=@{}", certificate("client.key")),
    ];
    if from_files {
        std::fs::write(path("token"), TOKEN).unwrap();
        command.args(["--tokenFile", &path("token")]);
        properties.push(format!("sasl.password=@{}", certificate(password)));
        properties.iter().for_each(|property| {
            command.args(["--kafkaPropertyCore", property]);
        });
    } else {
        let text = std::fs::read_to_string(certificate(password)).unwrap();
        properties.push(format!("sasl.password={text}"));
        command.env("DELTAKEEP_KAFKA_PROPERTY_CORE", properties.join("\n"));
        command.env("DELTAKEEP_TOKEN", TOKEN);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs to the end; searches command line, stdout and stderr. The exit code and stderr.
fn run(mut command: Command, place: &str) -> (Option<i32>, String) {
    let child = command.spawn().unwrap();
    let words = std::fs::read(format!("/proc/{}/cmdline", child.id())).unwrap_or_default();
    find_none(&words, &format!("the command line of {place}"));
    let output = child.wait_with_output().unwrap();
    find_none(&output.stdout, &format!("stdout of {place}"));
    find_none(&output.stderr, &format!("stderr of {place}"));
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_uses_its_secrets_writes_none_of_them() {
    let sandbox = node().await;
    let address = sandbox.address().to_string();
    let folder = tempfile::tempdir().unwrap();
    let topic = |n: u32| format!("secrets_{n}_{}", uuid::Uuid::new_v4().simple());
    for from_files in [true, false] {
        let place = format!("a backup, secrets from files: {from_files}");
        let command = backup(folder.path(), &address, &topic(1), from_files, "password");
        let (code, stderr) = run(command, &place);
        assert_eq!(code, Some(0), "{place}: {stderr}");
        // The file of names is no password, and all that is said is said about a wrong one.
        let command = backup(folder.path(), &address, &topic(2), from_files, "names");
        let (code, stderr) = run(command, &place);
        assert_eq!(code, Some(3), "{place}: {stderr}");
        // A process whose stdout takes nothing dies as it may.
        let mut command = backup(folder.path(), &address, &topic(3), from_files, "password");
        command.stdout(std::fs::File::options().write(true).open("/dev/full").unwrap());
        run(command, &format!("{place}, stdout full"));
    }
    let mut found = Vec::new();
    for path in files(folder.path()) {
        let name = path.strip_prefix(folder.path()).unwrap().display().to_string();
        if name != "token" {
            find_none(&std::fs::read(&path).unwrap(), &name);
        }
        found.push(name);
    }
    for part in ["log.", "metrics.prom", "hook", ".status.json", "state/journal/"] {
        assert!(found.iter().any(|name| name.contains(part)), "no {part} in {found:?}");
    }
    let hook = std::fs::read_to_string(folder.path().join("hook")).unwrap();
    assert!(hook.contains("DELTAKEEP_EXIT"), "the hook did not tell its environment: {hook}");
    sandbox.stop().await;
}
