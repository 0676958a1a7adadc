//! What is typed, and what files hold: connection strings, brokers, properties, faults, tokens.

use std::ffi::OsString;
use std::path::Path;

use clap::Parser;
use deltakeep::cli::args::LowArgs;
use deltakeep::cli::connect::{Connection, mask_typed};
use deltakeep::cli::kafka_options::{Brokers, Properties};
use deltakeep::cli::settings::{Settings, Surroundings};
use deltakeep::extract::prostore::Secret;
use proptest::collection::vec;
use proptest::prelude::*;

use super::{cases, require_small};

/// Words made of what the grammar is made of.
fn any_words(pieces: &'static [&'static str]) -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => prop::sample::select(pieces).prop_map(str::to_owned),
        1 => "\\PC{0,6}",
        1 => any::<char>().prop_map(String::from),
    ];
    vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

const CONNECT: &[&str] = &[
    "jdbc:prostore://",
    "h",
    "10.0.0.1",
    "[::1]",
    ":",
    "9090",
    "65536",
    "/",
    "mart",
    "?",
    "&",
    "=",
    "user=jwt",
    "password=",
    "canary",
    "%",
    "%41",
    "%ff",
    "://",
    " ",
    "\0",
    "я",
];
const BROKERS: &[&str] = &["h", ":", ",", "9092", "0", "[", "]", "::1", " ", "99999", "\n", "я"];
const PROPERTIES: &[&str] =
    &["sasl.password", "acks", "=", "@", "/", "canary", "\n", " ", "ssl.ca"];
#[cfg(feature = "sandbox")]
const FAULTS: &[&str] = &[
    "hang-unload",
    "slow-unload",
    "fail-unload-after",
    "=",
    "@",
    "1",
    "0",
    "always",
    "-1",
    " ",
    "18446744073709551616",
    "lost-deny",
];

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn connection_strings(text in any_words(CONNECT)) {
        match Connection::parse(&text) {
            Ok(connection) => {
                prop_assert!(connection.node.contains(':'));
                // The token is shown by nobody; a host may be called the same.
                let shown = format!("{:?}", connection.token);
                prop_assert!(!shown.contains("canary"));
            }
            Err(error) => prop_assert!(!error.to_string().contains("canary")),
        }
        let word = OsString::from(&text);
        let quoted = mask_typed(&format!("unexpected '{text}'"), &[word]);
        if let Some((_, secret)) = text.split_once("password=")
            && !secret.starts_with('@') && secret.contains("canary") {
            prop_assert!(!quoted.contains(secret));
        }
    }

    #[test]
    fn broker_lists_and_properties(list in any_words(BROKERS), words in any_words(PROPERTIES)) {
        if let Ok(brokers) = Brokers::parse("--kafkaBrokers", &list) {
            for address in brokers.as_str().split(',') {
                prop_assert!(address.rsplit_once(':').is_some_and(|(_, p)| p.parse::<u16>().is_ok()));
            }
        }
        let given = [Secret::new(words.as_str())];
        let read = Properties::parse("--kafkaProperty", &given);
        let shown = format!("{read:?}");
        let value = words.split_once('=').map_or("", |(_, value)| value);
        let is_plain = value.starts_with("canary") && value.len() == 6;
        prop_assert!(!is_plain || !shown.contains("canary") || words.matches("canary").count() > 1);
    }

    #[test]
    #[cfg(feature = "sandbox")]
    fn faults(text in any_words(FAULTS)) {
        use deltakeep::sandbox::Fault;
        if let Ok(fault) = text.parse::<Fault>() {
            prop_assert_eq!(fault.to_string().parse::<Fault>(), Ok(fault));
        }
    }
}

/// What the token file of these bytes leads to.
fn token_of(path: &Path) -> Result<Settings, deltakeep::cli::settings::SettingsError> {
    let words = ["deltakeep", "--connect", "h:1/m", "--tokenFile", path.to_str().unwrap(), "list"];
    let args = LowArgs::try_parse_from(words).unwrap();
    let variable = |_: &str| None;
    let around = Surroundings { variable: &variable, here: Path::new("/"), secret_typed: false };
    Settings::check(args, &around)
}

#[test]
fn token_files() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    let any_bytes = prop_oneof![
        vec(any::<u8>(), 0..80),
        "[ -~]{0,60}(\r?\n){0,2}".prop_map(String::into_bytes),
        Just(vec![b'a'; 3 << 20]),
    ];
    let check = |bytes: Vec<u8>| {
        std::fs::write(&path, &bytes).unwrap();
        let said = format!("{:?}", token_of(&path));
        let text = String::from_utf8_lossy(&bytes).trim().to_owned();
        prop_assert!(text.len() < 20 || !said.contains(&text), "{}", said);
        Ok(())
    };
    proptest::test_runner::TestRunner::new(cases()).run(&any_bytes, check).unwrap();
    // A file without an end is an error too.
    assert!(token_of(Path::new("/dev/zero")).is_err());
    require_small();
}
