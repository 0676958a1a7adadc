//! https to ClickHouse. The engine of scripts/servers has none, so a relay before it speaks TLS and
//! wants a client's certificate, as a server or a proxy of others does.

use std::path::Path;

use crate::rig::Rig;
use crate::servers::{setting, share};
use crate::tls_relay::Relay;

fn certificate(name: &str) -> String {
    Path::new(&setting("DELTAKEEP_TEST_CERTIFICATES")).join(name).to_string_lossy().into_owned()
}

fn relay(address: &str) -> Relay {
    Relay::start(&setting("DELTAKEEP_TEST_CLICKHOUSE"), address)
}

/// Settings by which commands go through the relay with everything that it wants.
fn go_through(rig: &mut Rig, relay: &Relay) {
    rig.set("DELTAKEEP_CLICKHOUSE", &format!("https://localhost:{}", relay.port));
    rig.set("DELTAKEEP_CLICKHOUSE_CA", &certificate("ca.pem"));
    rig.set("DELTAKEEP_CLICKHOUSE_CERT", &certificate("client.pem"));
    rig.set("DELTAKEEP_CLICKHOUSE_KEY", &certificate("client.key"));
}

#[test]
fn a_database_is_backed_up_and_restored_over_https_with_certificates() {
    let _turn = share();
    let (mut rig, local) = (Rig::new("tls"), relay("127.0.0.1"));
    go_through(&mut rig, &local);
    let (path, restored) = (format!("{}/tls", rig.path), format!("{}_restored", rig.db));
    rig.back_up(&path, &[]);
    rig.restore(0, &restored, &path, &[]);
    assert_eq!(rig.counts(&restored), "1000\t1000\t1000\t1000\t5");
    // By options instead of variables, and over what is there.
    let url = rig.unset("DELTAKEEP_CLICKHOUSE");
    let [ca, cert, key] =
        ["CA", "CERT", "KEY"].map(|name| rig.unset(&format!("DELTAKEEP_CLICKHOUSE_{name}")));
    let mut words = rig.words("restore-backup", &restored, &path, &["--overwrite"]);
    words.extend(["--clickhouse", &url, "--clickhouseCa", &ca]);
    words.extend(["--clickhouseCert", &cert, "--clickhouseKey", &key]);
    let done = rig.run(&words);
    assert_eq!(done.code, Some(0), "{done}");
    assert_eq!(rig.counts(&restored), "1000\t1000\t1000\t1000\t5");
    rig.require_tidy();
}

#[test]
fn a_certificate_that_is_missing_or_of_strangers_is_told_of() {
    let _turn = share();
    let (mut rig, local) = (Rig::bare("tlswrong"), relay("127.0.0.1"));
    go_through(&mut rig, &local);
    let path = format!("{}/w", rig.path);
    let refused = |rig: &Rig, reason: &str| {
        let done = rig.run(&rig.words("create-backup", &rig.db, &path, &[]));
        assert_eq!(done.code, Some(5), "{reason}: {done}");
        for part in ["CLICKHOUSE_UNAVAILABLE", "next: ", reason] {
            assert!(done.stderr.contains(part), "{part}: {done}");
        }
        assert!(!done.to_string().contains("caNary"), "{done}");
    };
    rig.set("DELTAKEEP_CLICKHOUSE_CA", &certificate("other-ca.pem"));
    refused(&rig, "certificate verify failed");
    let ca = rig.unset("DELTAKEEP_CLICKHOUSE_CA");
    refused(&rig, "certificate verify failed");
    rig.set("DELTAKEEP_CLICKHOUSE_CA", &ca.replace("other-ca", "ca"));
    // The certificate is good for localhost and 127.0.0.1 only.
    let elsewhere = relay("127.0.0.2");
    rig.set("DELTAKEEP_CLICKHOUSE", &format!("https://127.0.0.2:{}", elsewhere.port));
    refused(&rig, "IP address mismatch");
    go_through(&mut rig, &local);
    let (cert, _) = (rig.unset("DELTAKEEP_CLICKHOUSE_CERT"), rig.unset("DELTAKEEP_CLICKHOUSE_KEY"));
    refused(&rig, "certificate required");
    // A key that is none, and one that is missing, are seen before anything is asked.
    rig.set("DELTAKEEP_CLICKHOUSE_CERT", &cert);
    let alone = rig.run(&["clickhouse", "list-backups"]);
    assert_eq!(alone.code, Some(2), "{alone}");
    assert!(alone.stderr.contains("--clickhouseKey"), "{alone}");
    rig.set("DELTAKEEP_CLICKHOUSE_KEY", &cert);
    let wrong = rig.run(&["clickhouse", "list-backups"]);
    assert_eq!(wrong.code, Some(2), "{wrong}");
    assert!(wrong.stderr.contains("certificates: "), "{wrong}");
}
