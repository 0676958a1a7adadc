//! What a dry run foretells equals what the run behind it does, and foretelling touches nothing.

use deltakeep::backup::{Estimate, MOST_QUESTIONS};
use deltakeep::model::DeltaNum;

use crate::rig::{Rig, Warnings};

const TABLES: u64 = 4;

/// Delta 0 fills two tables, 1 changes and removes rows of one, 2 is empty, 3 fills a third.
async fn rig(checksums: bool) -> Rig {
    let mut rig = Rig::new().await;
    rig.shape.checksums = checksums;
    rig.shape.chunk_size = 10;
    for table in 0..TABLES {
        let columns = "(id bigint not null, v varchar, PRIMARY KEY (id)) DISTRIBUTED BY (id)";
        rig.sql(&format!("CREATE TABLE t{table} {columns}")).await;
    }
    rig.delta(0, &["SANDBOX_FILL(t0, 95)".into(), "SANDBOX_FILL(t1, 3)".into()]).await;
    let update = "INSERT INTO t0 VALUES (1, 'other'), (1001, 'new')".to_owned();
    rig.delta(1, &[update, "DELETE FROM t0 WHERE id IN (2, 3)".into()]).await;
    rig.delta(2, &[]).await;
    rig.delta(3, &["INSERT INTO t2 VALUES (1, 'one')".into()]).await;
    rig
}

/// The estimate, and how many questions it took; none of them changes anything.
async fn estimate(rig: &Rig, most: u64) -> (Estimate, usize) {
    let before = rig.node.calls().len();
    let estimate = rig.estimate(most).await;
    let calls = rig.node.calls().split_off(before);
    let counting = |call: &&String| call.starts_with("SELECT count(*)");
    let asking = |call: &&String| counting(call) || call.starts_with("CHECK_SUM(");
    let changing = ["DENY_", "ALLOW_", "CREATE", "DROP", "INSERT"];
    let changes = |call: &String| changing.iter().any(|word| call.starts_with(word));
    assert!(!calls.iter().any(changes), "{calls:?}");
    assert!(rig.no_topic().await);
    (estimate, calls.iter().filter(asking).count())
}

async fn require_foretold(rig: &Rig, foretold: &Estimate) {
    let before = rig.node.calls().len();
    let summary = rig.backup(&Warnings::default()).await.expect("a backup");
    let calls = rig.node.calls().split_off(before);
    let unloads = calls.iter().filter(|call| call.starts_with("INSERT INTO")).count() as u64;
    assert_eq!(unloads, 2 * foretold.unloads);
    assert_eq!(summary.rows, foretold.added + foretold.removed);
    let manifests = rig.manifests().await;
    assert_eq!(manifests.len(), foretold.deltas.len());
    for delta in &foretold.deltas {
        let tables = &manifests[&delta.delta].tables;
        assert_eq!(tables.len() as u64, delta.pairs);
        for table in tables {
            let unload = delta.unloads.iter().find(|unload| unload.table == table.name);
            let rows = unload.map_or((0, 0), |unload| unload.rows.expect("counted"));
            assert_eq!((table.rows_added, table.rows_removed), rows, "{table:?}");
        }
    }
    // Rough: the sandbox's connector works in one stream, as is assumed.
    assert_eq!(summary.chunks, foretold.messages);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_does_what_its_dry_run_foretold() {
    let rig = rig(true).await;
    let (foretold, questions) = estimate(&rig, MOST_QUESTIONS).await;
    assert_eq!((foretold.pairs, foretold.looked_at, foretold.is_cut()), (16, 16, false));
    assert_eq!((foretold.unloads, foretold.uncounted), (4, 0));
    assert_eq!((foretold.added, foretold.removed), (95 + 3 + 2 + 1, 2));
    // One for each delta, one for each pair of the three that are not empty, two for each unload.
    assert_eq!(questions, 4 + 12 + 8);
    require_foretold(&rig, &foretold).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_check_sums_rows_are_counted_and_every_pair_is_an_unload() {
    let rig = rig(false).await;
    let (foretold, questions) = estimate(&rig, MOST_QUESTIONS).await;
    assert_eq!((foretold.unloads, foretold.added, foretold.removed), (16, 101, 2));
    assert_eq!(questions, 32);
    require_foretold(&rig, &foretold).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_estimate_ends_where_its_questions_do_and_says_so() {
    let rig = rig(true).await;
    let (cut, questions) = estimate(&rig, 6).await;
    // The delta, t0 and its two counts, t1 and its two counts: a pair is not left half way.
    assert_eq!(questions, 7);
    assert_eq!((cut.pairs, cut.looked_at, cut.is_cut()), (16, 2, true));
    assert_eq!((cut.unloads, cut.added), (2, 98));
    assert_eq!(cut.deltas.len(), 1);
    assert_eq!(cut.deltas[0].delta, DeltaNum(0));
}
