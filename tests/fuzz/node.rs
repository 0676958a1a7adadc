//! Answers of a node: their reading, and every question of the adapter that gets them.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use deltakeep::extract::Node;
use deltakeep::extract::prostore::{ProstoreNode, Reply, Timeouts};
use deltakeep::model::{
    Column, ColumnType, Datamart, Datasource, DeltaNum, LockCode, Owner, RunId, Table, TableName,
};
use proptest::prelude::*;

use super::{Harm, any_harm, cases, harmed, require_small};

type Case = (prop::sample::Index, prop::sample::Index, Vec<Harm>);
type Answer = Arc<Mutex<(u16, Vec<u8>)>>;

/// Replies of a real node, each with its status.
fn recorded() -> Vec<(u16, Vec<u8>)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/node_replies");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> =
        files.filter(|path| path.extension().is_some_and(|e| e == "json")).collect();
    files.sort();
    let read = |path: std::path::PathBuf| {
        let reply: serde_json::Value =
            serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let body = reply["body"].as_str().unwrap_or_default().as_bytes().to_vec();
        (reply["status"].as_u64().unwrap_or(200) as u16, body)
    };
    files.into_iter().map(read).collect()
}

/// Answers every request with what the answer holds at that time.
fn serve(answer: Answer) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for mut socket in listener.incoming().flatten() {
            let mut request = [0; 8192];
            let _ = socket.read(&mut request);
            let (status, body) = answer.lock().unwrap().clone();
            let head = format!(
                "HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                body.len()
            );
            let _ = socket.write_all(head.as_bytes()).and_then(|()| socket.write_all(&body));
        }
    });
    address
}

/// One of the questions; a node that lists tables is asked for each of them.
async fn ask(node: &ProstoreNode, which: usize) {
    let table = Table {
        name: TableName("t".into()),
        columns: vec![Column { name: "id".into(), kind: ColumnType::Bigint }],
        datasources: vec![Datasource("adp".into())],
        primary_key: vec!["id".into()],
    };
    let code = LockCode::probe(7);
    let owner = Owner { run: RunId(uuid::Uuid::from_u128(7)), day: 7, started: "then".into() };
    let columns = ["id".to_owned()];
    match which {
        0 => drop(node.last_delta().await),
        1 => drop(node.delta(DeltaNum(3)).await),
        2 => drop(node.changes().await),
        3 => drop(node.tables().await),
        4 => drop(node.version().await),
        5 => drop(node.preferred(DeltaNum(3), &table).await),
        6 => drop(node.delta_sum(DeltaNum(3)).await),
        7 => drop(node.table_sums(DeltaNum(3), &table, &columns, true).await),
        8 => drop(node.deny(&code).await),
        9 => drop(node.allow(&code).await),
        10 => drop(node.marker().await),
        11 => drop(node.mark(&owner).await),
        12 => drop(node.unmark().await),
        13 => drop(node.active_datasources().await),
        _ => drop(node.entities().await),
    }
}

#[test]
fn harmed_answers() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let answer = Answer::default();
    let timeouts = Timeouts { connect: Duration::from_secs(5), answer: Duration::from_secs(5) };
    let datamart = Datamart::parse("db").unwrap();
    let node = ProstoreNode::new(serve(answer.clone()), datamart, None, timeouts).unwrap();
    let recorded = recorded();
    let any_case = (any::<prop::sample::Index>(), any::<prop::sample::Index>(), any_harm());
    let check = |(which, question, harms): Case| {
        let (status, body) = &recorded[which.index(recorded.len())];
        *answer.lock().unwrap() = (*status, harmed(body, &harms));
        runtime.block_on(ask(&node, question.index(15)));
        Ok(())
    };
    proptest::test_runner::TestRunner::new(cases()).run(&any_case, check).unwrap();
    require_small();
}

#[test]
fn an_answer_without_end_is_refused() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let answer = Answer::new(Mutex::new((200, vec![b' '; 65 << 20])));
    let timeouts = Timeouts { connect: Duration::from_secs(5), answer: Duration::from_secs(30) };
    let datamart = Datamart::parse("db").unwrap();
    let node = ProstoreNode::new(serve(answer), datamart, None, timeouts).unwrap();
    let error = runtime.block_on(node.changes()).unwrap_err();
    assert!(error.to_string().contains("larger than"), "{error}");
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn bodies(which in any::<prop::sample::Index>(), harms in any_harm(), depth in 0..3000_usize) {
        let recorded = recorded();
        let (_, body) = &recorded[which.index(recorded.len())];
        for body in [harmed(body, &harms), "[".repeat(depth).into_bytes()] {
            if let Ok(reply) = Reply::read(&body) {
                for row in reply.iter() {
                    let _ = (row.integer("delta_num"), row.number("cn_from"), row.text("a"));
                    let _ = (row.number_or_null("delta_num"), row.is_null(&["date_time_end"]));
                }
            }
        }
    }
}
