//! Brokers that ask who one is: a backup over SASL and TLS works from end to end, and a wrong
//! password, a missing certificate or a wrong authority is refused soon, by its reason, with exit
//! code 3.

use std::path::PathBuf;
use std::time::Duration;

use crate::rig::Rig;
use crate::scene::Scene;
use crate::support::setting;

/// A refusal takes no longer; brokers that only do not answer are waited for longer.
const SOON: Duration = Duration::from_secs(10);

fn certificate(name: &str) -> String {
    let path = PathBuf::from(setting("DELTAKEEP_TEST_CERTIFICATES")).join(name);
    path.to_str().expect("a plain name").to_owned()
}

fn password() -> String {
    std::fs::read_to_string(certificate("password")).expect("a password")
}

/// Properties for a listener that SASL guards, with this password.
fn sasl(protocol: &str, password: &str) -> Vec<String> {
    vec![
        format!("security.protocol={protocol}"),
        "sasl.mechanisms=PLAIN".to_owned(),
        "sasl.username=backup".to_owned(),
        format!("sasl.password={password}"),
    ]
}

fn authority(name: &str) -> String {
    format!("ssl.ca.location={}", certificate(name))
}

/// The node reaches the broker without any of this; the binary has these properties from its
/// environment.
fn scene(what: &str, listener: &str, properties: &[String]) -> Scene {
    let rig = Rig::over(what, &setting("DELTAKEEP_TEST_SECURE"), &[]);
    let mut scene = Scene::of(rig).seeing(&setting(listener));
    let properties = properties.join("\n");
    let variable = "DELTAKEEP_KAFKA_PROPERTY_CORE".to_owned();
    scene.rig.keep.variables = vec![(variable, properties)];
    scene
}

/// A backup that is stopped once, so that a resume has to find its way as well.
fn works(what: &str, listener: &str, properties: &[String]) {
    let scene = scene(what, listener, properties);
    let mut process = scene.start(&[]);
    scene.await_messages(&mut process, 10);
    process.signal("TERM");
    let stopped = process.wait();
    assert_eq!(stopped.code, Some(143), "{stopped}");
    let done = scene.end(scene.rig.keep.start_as(&[], &["resume", "--unloadStall", "1s"]));
    assert_eq!(done.code, Some(0), "{done}");
    assert!(!format!("{stopped}{done}").contains("caNary"), "the password is shown");
    scene.judge(&done.run().expect("a run"));
}

#[test]
fn a_backup_over_sasl_works_with_the_password_from_a_file() {
    let properties = sasl("sasl_plaintext", &format!("@{}", certificate("password")));
    works("sasl", "DELTAKEEP_TEST_SASL_PLAINTEXT", &properties);
}

#[test]
fn a_backup_over_sasl_and_tls_works_with_the_password_from_the_environment() {
    let properties = [sasl("sasl_ssl", &password()), vec![authority("ca.pem")]].concat();
    works("sasl_ssl", "DELTAKEEP_TEST_SASL_SSL", &properties);
}

#[test]
fn a_backup_over_tls_works_with_a_certificate_of_the_client() {
    let properties = vec![
        "security.protocol=ssl".to_owned(),
        authority("ca.pem"),
        format!("ssl.certificate.location={}", certificate("client.pem")),
        format!("ssl.key.pem=@{}", certificate("client.key")),
    ];
    works("ssl", "DELTAKEEP_TEST_SSL", &properties);
}

/// A backup with these properties is refused, and nothing is touched.
fn is_refused(rig: &Rig, words: &[&str], properties: &[String], reason: &str) {
    let mut keep = rig.keep.clone();
    let variables = ["DELTAKEEP_KAFKA_PROPERTY", "DELTAKEEP_KAFKA_PROPERTY_CORE"];
    keep.variables =
        vec![(variables[usize::from(words.len() == 2)].to_owned(), properties.join("\n"))];
    let words = [&["backup_to_kafka", "--topic", &rig.topic], words].concat();
    let done = keep.start(&words).wait_for(SOON);
    let done = done.unwrap_or_else(|done| panic!("{reason}: {done}"));
    assert_eq!(done.code, Some(3), "{reason}: {done}");
    assert!(done.stderr.contains(reason), "{reason}: {done}");
    assert!(done.stderr.contains("credentials and certificates"), "{reason}: {done}");
    assert!(!done.to_string().contains("caNary"), "{reason}: the password is shown");
    rig.require_free();
}

#[test]
fn what_the_brokers_refuse_is_told_soon_and_by_its_reason() {
    let rig = Rig::over("refused", &setting("DELTAKEEP_TEST_SECURE"), &[]);
    let [sasl_plaintext, sasl_ssl, ssl] = ["SASL_PLAINTEXT", "SASL_SSL", "SSL"]
        .map(|name| setting(&format!("DELTAKEEP_TEST_{name}")));
    let wrong = sasl("sasl_plaintext", &format!("{}x", password()));
    is_refused(
        &rig,
        &["--kafkaBrokersCore", &sasl_plaintext],
        &wrong,
        "Invalid username or password",
    );
    // Where the backup topic lies elsewhere, both are asked before anything is touched.
    let both = ["--kafkaBrokersCore", &rig.brokers, "--kafkaBrokers", &sasl_plaintext];
    is_refused(&rig, &both, &wrong, "Invalid username or password");
    let mut wrong = sasl("sasl_ssl", &format!("{}x", password()));
    wrong.push(authority("ca.pem"));
    is_refused(&rig, &["--kafkaBrokersCore", &sasl_ssl], &wrong, "Invalid username or password");
    let mut other = sasl("sasl_ssl", &password());
    is_refused(&rig, &["--kafkaBrokersCore", &sasl_ssl], &other, "certificate verify failed");
    other.push(authority("other-ca.pem"));
    is_refused(&rig, &["--kafkaBrokersCore", &sasl_ssl], &other, "certificate verify failed");
    let anonymous = ["security.protocol=ssl".to_owned(), authority("ca.pem")];
    is_refused(&rig, &["--kafkaBrokersCore", &ssl], &anonymous, "alert");
}

#[test]
fn core_brokers_that_refuse_are_found_out_before_anything_is_touched() {
    let rig = Rig::over("core", &setting("DELTAKEEP_TEST_SECURE"), &[]);
    let wrong = sasl("sasl_plaintext", &format!("{}x", password()));
    let mut keep = rig.keep.clone();
    keep.variables = vec![("DELTAKEEP_KAFKA_PROPERTY_CORE".to_owned(), wrong.join("\n"))];
    let core = setting("DELTAKEEP_TEST_SASL_PLAINTEXT");
    let words = ["backup_to_kafka", "--topic", &rig.topic, "--kafkaBrokers", &rig.brokers];
    let process = keep.start(&[&words[..], &["--kafkaBrokersCore", &core]].concat());
    let done = process.wait_for(SOON).unwrap_or_else(|done| panic!("{done}"));
    assert_eq!(done.code, Some(3), "{done}");
    assert!(done.stderr.contains("Invalid username or password"), "{done}");
    assert!(done.stderr.contains("--kafkaPropertyCore"), "{done}");
    rig.require_free();
}
