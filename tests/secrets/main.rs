//! Canaries: a token, a password and a key, given by environment, by file and by argv, are looked
//! for in all that a process of ours writes, in its journal, and in its command line.

#![cfg(feature = "demo")]
#![allow(clippy::unwrap_used, reason = "a test that meets the unexpected is to fail")]

mod brokers;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use deltakeep::extract::prostore::{ProstoreNode, Secret, Timeouts};
use deltakeep::kafka::mock::MockAdmin;
use deltakeep::model::Datamart;
use deltakeep::sandbox::{Options, Sandbox};

/// Letters that encodings treat in different ways.
const TOKEN: &str = "toKen.caNary/7+x-y_Z";
const PASSWORD: &str = "passwd caNary&'8/+%=\"Q";
const KEY: &str = "keycaNaryMIIEvQIBADANBgkqhkiG9w0BAQEFAASC";

/// How the secrets are given.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    Environment,
    File,
    Argv,
}

/// A node that wants the token, a broker, and folders of a test.
struct World {
    node: String,
    broker: String,
    folder: tempfile::TempDir,
}

impl World {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn file(&self, name: &str, text: &str) -> String {
        use std::os::unix::fs::PermissionsExt;
        let path = self.path(name);
        if !path.exists() {
            std::fs::write(&path, text).unwrap();
        }
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// The command with the secrets given in this way, and these properties of the client.
    fn command(&self, way: Way, protocol: &str, broker: &str, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_deltakeep"));
        command.env_clear().env("HOME", self.folder.path()).env("RUST_BACKTRACE", "full");
        command
            .env("DELTAKEEP_STATE_DIR", self.path("state"))
            .env("DELTAKEEP_SANDBOX_TOKEN", TOKEN);
        command.args(words).args(["-vvv", "--logFile", self.path("log").to_str().unwrap()]);
        let place = format!("{}/mart", self.node);
        let mut properties = vec![
            format!("security.protocol={protocol}"),
            "sasl.mechanisms=PLAIN".to_owned(),
            "sasl.username=backup".to_owned(),
            "debug=all".to_owned(),
        ];
        let pem = format!("-----BEGIN PRIVATE KEY-----\n{KEY}\n-----END PRIVATE KEY-----");
        if way == Way::File {
            let password = self.file("password", PASSWORD);
            properties.push(format!("sasl.password=@{password}"));
            properties.push(format!("ssl.key.pem=@{}", self.file("key", &pem)));
            let token = self.file("token", &format!("{TOKEN}\n"));
            command.args(["--connect", &place, "--tokenFile", &token]);
        } else {
            properties.push(format!("sasl.password={PASSWORD}"));
            if way == Way::Argv {
                properties.push(format!("ssl.key.pem={pem}"));
            }
        }
        match way {
            Way::File => {}
            Way::Environment => {
                command.args(["--connect", &place]).env("DELTAKEEP_TOKEN", TOKEN);
            }
            Way::Argv => {
                let token = percent(TOKEN);
                command.args(["--connect", &format!("{place}?user=jwt&password={token}")]);
            }
        }
        if words[0] != "backup_to_kafka" {
            return command;
        }
        command.args(["--topic", "backup", "--kafkaBrokersCore", broker, "--kafkaRetries", "0"]);
        for name in ["kafkaProperty", "kafkaPropertyCore"] {
            match way {
                Way::Environment => {
                    let variable = name.replace("kafkaProperty", "DELTAKEEP_KAFKA_PROPERTY");
                    let variable = variable.replace("Core", "_CORE");
                    command.env(variable, properties.join("\n"));
                }
                _ => properties.iter().for_each(|property| {
                    command.args([&format!("--{name}"), property.as_str()]);
                }),
            }
        }
        command
    }
}

/// A process at work.
struct Started {
    child: Child,
    place: String,
}

/// Starts; what is secret is never in the command line of a process that got it otherwise.
fn start(mut command: Command, way: Way, place: String) -> Started {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    let words = std::fs::read(format!("/proc/{}/cmdline", child.id())).unwrap_or_default();
    if way != Way::Argv {
        search(&words, &format!("the command line of {place}"));
    }
    Started { child, place }
}

impl Started {
    /// Waits for the end and searches what was written; returns stdout.
    fn end(self) -> String {
        let Self { child, place } = self;
        let output = child.wait_with_output().unwrap();
        search(&output.stdout, &format!("stdout of {place}"));
        search(&output.stderr, &format!("stderr of {place}"));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

fn percent(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric();
    let encode = |byte: u8| match plain(byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}

/// Base64 of a text that begins anywhere in what was encoded: only the letters that depend on
/// nothing but the text.
fn base64(text: &str) -> Vec<String> {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let encode = |skip: usize| {
        let bytes = &text.as_bytes()[skip..];
        let whole = bytes.chunks_exact(3).flat_map(|three| {
            let bits = u32::from_be_bytes([0, three[0], three[1], three[2]]);
            [18, 12, 6, 0].map(|at| char::from(LETTERS[(bits >> at) as usize & 63]))
        });
        whole.collect::<String>()
    };
    let standard: Vec<String> = (0..3).map(encode).collect();
    let url = standard.iter().map(|text| text.replace('+', "-").replace('/', "_"));
    standard.iter().cloned().chain(url).collect()
}

/// No secret, in no form.
fn search(bytes: &[u8], place: &str) {
    search_for(&[TOKEN, PASSWORD, KEY], bytes, place);
}

fn search_for(secrets: &[&str], bytes: &[u8], place: &str) {
    let text = String::from_utf8_lossy(bytes);
    for secret in secrets {
        let mut forms = base64(secret);
        let debug = format!("{secret:?}").trim_matches('"').to_owned();
        forms.extend([
            (*secret).to_owned(),
            debug,
            percent(secret),
            percent(secret).to_lowercase(),
        ]);
        for form in forms {
            assert!(!text.contains(&form), "{place} holds {form}: {text}");
        }
    }
    assert!(!text.contains("caNary"), "{place}: {text}");
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let below = |path: PathBuf| if path.is_dir() { files(&path) } else { vec![path] };
    entries.flat_map(|entry| below(entry.path())).collect()
}

/// Looks through everything that the processes left.
fn search_left(world: &World) {
    let (mut logs, mut journals) = (0, 0);
    for path in files(world.folder.path()) {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if ["token", "password", "key"].contains(&name.as_str()) {
            continue;
        }
        search(&std::fs::read(&path).unwrap(), &path.display().to_string());
        logs += u32::from(name.starts_with("log."));
        journals += u32::from(path.starts_with(world.path("state")));
    }
    assert!(logs > 0 && journals > 0, "{logs} logs, {journals} files of journals");
}

async fn world() -> (World, Sandbox, std::sync::Arc<MockAdmin>) {
    let broker = MockAdmin::start().unwrap();
    let kafka = broker.brokers().list().to_owned();
    let options = Options {
        listen: "127.0.0.1:0".parse().unwrap(),
        kafka: kafka.clone(),
        token: Some(TOKEN.to_owned()),
        ..Options::default()
    };
    let sandbox = Sandbox::start(options).await.unwrap();
    let node = sandbox.address().to_string();
    let timeouts = Timeouts { connect: Duration::from_secs(5), answer: Duration::from_secs(10) };
    let (datamart, token) = (Datamart::parse("mart").unwrap(), Some(Secret::new(TOKEN)));
    let admin = ProstoreNode::new(node.clone(), datamart, token, timeouts).unwrap();
    for sql in [
        "CREATE DATABASE mart",
        "CREATE TABLE mart.t (id bigint NOT NULL, v varchar(9), PRIMARY KEY (id)) \
         DISTRIBUTED BY (id)",
        "BEGIN DELTA",
        "COMMIT DELTA",
    ] {
        admin.execute(sql).await.unwrap();
    }
    let folder = tempfile::tempdir().unwrap();
    (World { node, broker: kafka, folder }, sandbox, broker)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_ever_written() {
    let (world, sandbox, _broker) = world().await;
    let refusing = "127.0.0.1:1";
    let sandbox_words = ["sandbox", "--kafka", "k:1", "--listen", "203.0.113.1:1"];
    let waiting: [(&str, &[&str]); 3] = [
        ("sasl_plaintext", &["backup_to_kafka"]),
        ("ssl", &["backup_to_kafka"]),
        ("", &sandbox_words),
    ];
    let quick: [&[&str]; 4] =
        [&["backup_to_kafka"], &["backup_to_kafka", "--dryRun"], &["unlock"], &["list"]];
    let place = |way: Way, words: &[&str]| format!("{words:?}, {way:?}");
    let ways = [Way::Environment, Way::File, Way::Argv];
    let begun: Vec<Started> = ways
        .iter()
        .flat_map(|way| waiting.iter().map(move |case| (*way, case)))
        .map(|(way, (protocol, words))| {
            start(world.command(way, protocol, refusing, words), way, place(way, words))
        })
        .collect();
    let mut met_node = 0;
    for way in ways {
        for words in quick {
            let command = world.command(way, "plaintext", &world.broker, words);
            let said = start(command, way, place(way, words)).end();
            met_node += u32::from(said.contains("not denied"));
        }
    }
    assert_eq!(met_node, 3, "a command did not get past the node's token");
    begun.into_iter().for_each(|started| drop(started.end()));
    search_left(&world);
    sandbox.stop().await;
}

#[test]
fn the_search_finds_every_form() {
    for text in [
        TOKEN.to_owned(),
        format!("Basic {}", base64(TOKEN)[0]),
        base64(PASSWORD)[2].clone(),
        percent(PASSWORD),
        format!("{PASSWORD:?}"),
        format!("x{KEY}x"),
    ] {
        assert!(std::panic::catch_unwind(|| search(text.as_bytes(), "")).is_err(), "{text}");
    }
}
