//! `verify --against` through real brokers and a node that adds sums up by itself: a backup of all
//! types, with repeated keys, has the node's sums; a row that was changed has not, although its
//! check sum was made anew. Every row of a topic is tried in tests/verify, in memory.

use deltakeep::format::container::Header;
use deltakeep::format::decode_key;
use serde_json::{Value, json};

use crate::resealed::resealed;
use crate::rig::Rig;
use crate::support::delete_topic;
use crate::verify::{document, read, write};
use crate::{parts, process::Done};

const TOKEN: &str = "live-against-token";

fn verify(rig: &Rig, topic: &str, more: &[&str]) -> Done {
    let words = ["verify", "--topic", topic, "--kafkaBrokers", &rig.brokers, "--output", "json"];
    rig.keep.run(&[&words, more].concat())
}

/// A table of all types, three deltas of it; in the last one a key is written twice, so that it comes
/// in three parts.
fn all_types(rig: &Rig) {
    let columns = "(id bigint not null, b boolean, i32 int32, i int, f float, d double, c char(10), \
                   v varchar, u uuid, l link, da date, t time(6), ts timestamp(6), \
                   PRIMARY KEY (id)) DISTRIBUTED BY (id)";
    rig.node.sql("d", &format!("CREATE TABLE types {columns}"));
    let nulls = ["NULL"; 12].join(", ");
    rig.delta(&format!(
        "INSERT INTO types VALUES (1, true, -2147483648, -9223372036854775808, 0.1, 1e300, 'ab;', \
         'день', '00000000-1111-2222-3333-444444444444', 'l', '1900-01-01', '23:59:59.999999', \
         '1969-12-31 23:59:59.5'), (2, {nulls}), (9223372036854775807, false, 2147483647, \
         9223372036854775807, -0.5, -1e-7, '', '', NULL, '', '2999-12-31', '00:00:00', \
         '2026-11-21 10:00:00.000001')"
    ));
    rig.delta("DELETE FROM types WHERE id = 1\nUPSERT INTO types (id, v) VALUES (2, 'no null')");
    rig.delta(
        "UPSERT INTO types (id, v) VALUES (2, 'first'), (7, 'new')\n\
         UPSERT INTO types (id, v) VALUES (2, 'second')\nDELETE FROM types WHERE id > 7",
    );
}

fn sums(told: &Value) -> (Option<u64>, Option<u64>, Option<u64>) {
    let of = |name: &str| told["against"][name].as_u64();
    (of("equal"), of("different"), of("undecided"))
}

#[test]
fn rows_of_a_backup_have_the_nodes_sums_and_a_changed_one_has_not() {
    let mut rig = Rig::over("against", &crate::support::kafka(), &["--token", TOKEN]);
    rig.keep.variables.push(("DELTAKEEP_TOKEN".to_owned(), TOKEN.to_owned()));
    parts::fill(&rig);
    all_types(&rig);
    rig.keep.expect(0, &rig.words(&["--partitionsCount", "1"]));
    let against = rig.keep.connect.clone();
    let told = verify(&rig, &rig.topic, &["--against", &against]);
    assert_eq!(told.code, Some(0), "{told}");
    let told = document(&told.stdout);
    let (equal, different, undecided) = sums(&told);
    // In delta 3 versions died with the values of ones that live: no part has them (D4.13).
    assert_eq!((different, undecided), (Some(0), Some(1)), "{told}");
    assert!(equal > Some(15), "{told}");
    assert_eq!(told["against"]["newest"], 7);
    let text = ["verify", "--topic", &rig.topic, "--kafkaBrokers", &rig.brokers];
    let text = rig.keep.expect(0, &[&text[..], &["--against", &against]].concat());
    assert!(text.stdout.contains("0 different, 1 not to be told"), "{text}");

    changed_rows(&rig, &against);
    rig.delta("SANDBOX_FILL(b, 3)");
    let newer = verify(&rig, &rig.topic, &["--against", &against]);
    assert_eq!((newer.code, &document(&newer.stdout)["counts"]["apart"]), (Some(0), &json!(1)));
    denied(&mut rig, &against);
}

/// A row of each table is changed, one at a time.
fn changed_rows(rig: &Rig, against: &str) {
    let messages = read(&rig.brokers, &rig.topic);
    let cases: [(_, _, &[u8]); 4] = [
        ("a", 0, b"v1"),
        ("pairs", 4, b"later"),
        ("types", 5, "день".as_bytes()),
        ("types", 7, b"first"),
    ];
    for (table, delta, text) in cases {
        let place_of = |(key, body): &(Vec<u8>, Vec<u8>)| {
            let key = decode_key(key).expect("a key");
            let is_of = key.table.is_some_and(|name| name.0 == table) && key.delta.0 == delta;
            let rows = Header::read(body).expect("a header").len;
            let found = body[rows..].windows(text.len()).position(|at| at == text);
            found.filter(|_| is_of).map(|at| rows + at)
        };
        let mut changed = messages.clone();
        let found = messages.iter().zip(0..).find_map(|(m, n)| Some((n, place_of(m)?)));
        let (place, at) = found.expect("such a row");
        let (key, mut body) = changed[place].clone();
        body[at] ^= 1;
        changed[place].1 = resealed(&key, &body);
        let topic = write(&rig.brokers, &changed);
        let silent = verify(rig, &topic, &[]);
        assert_eq!(silent.code, Some(0), "nothing but the sum can show it: {silent}");
        let told = verify(rig, &topic, &["--against", against]);
        assert_eq!(told.code, Some(4), "{table}: {told}");
        let found = document(&told.stdout);
        assert_eq!(found["counts"], json!({ "sums": 1, "unchecked": 1 }), "{found}");
        let first = &found["findings"][0];
        assert_eq!((&first["table"], &first["delta"]), (&json!(table), &json!(delta)));
        assert!(
            first["text"].as_str().expect("a text").contains("the rows were changed"),
            "{first}"
        );
        assert!(told.stderr.contains("next: deltakeep"), "{told}");
        delete_topic(&rig.brokers, &topic);
    }
}

/// Without the token the node gives nothing, and that is no verdict about the topic.
fn denied(rig: &mut Rig, against: &str) {
    rig.keep.variables.clear();
    let denied = verify(rig, &rig.topic, &["--against", against]);
    assert_eq!(denied.code, Some(3), "{denied}");
    let typed = format!("{against}?user=jwt&password={TOKEN}");
    let told = verify(rig, &rig.topic, &["--against", &typed]);
    assert_eq!(told.code, Some(0), "{told}");
    assert!(!told.stderr.contains(TOKEN) && !told.stdout.contains(TOKEN), "{told}");
    assert!(told.stderr.contains("other users of this host can see"), "{told}");
}
