//! What a full backup asks of the node: empty deltas and empty pairs cost one question and no
//! unload (D4.5). Owns the datamart that shows it.

use std::collections::BTreeSet;

use deltakeep::model::DeltaNum;

use crate::rig::{Rig, Warnings};

const DELTAS: u64 = 300;
const TABLES: u64 = 40;

/// Every tenth delta is empty; of all pairs 1 in 20 changes.
fn changes(delta: u64, table: u64) -> bool {
    delta % 10 != 9 && (delta * 7 + table * 5 + 1).is_multiple_of(18)
}

fn changed() -> BTreeSet<(u64, u64)> {
    let pairs = (0..DELTAS).flat_map(|delta| (0..TABLES).map(move |table| (delta, table)));
    pairs.filter(|(delta, table)| changes(*delta, *table)).collect()
}

async fn fill(rig: &Rig) {
    for table in 0..TABLES {
        let columns = "(id bigint not null, v varchar, PRIMARY KEY (id)) DISTRIBUTED BY (id)";
        rig.sql(&format!("CREATE TABLE t{table} {columns}")).await;
    }
    for delta in 0..DELTAS {
        let insert = |table| format!("INSERT INTO t{table} VALUES ({delta}, 'one row')");
        let tables = (0..TABLES).filter(|table| changes(delta, *table));
        rig.delta(delta, &tables.map(insert).collect::<Vec<_>>()).await;
    }
}

/// (delta, table) of an unload of this half.
fn pair(statement: &str, verb: &str) -> Option<(u64, u64)> {
    let (_, rest) = statement.split_once(" FROM d.t")?;
    let (table, rest) = rest.split_once(' ')?;
    let (_, rest) = rest.split_once(verb)?;
    Some((rest.split_once(',')?.0.parse().ok()?, table.parse().ok()?))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_did_not_change_costs_one_question_and_no_unload() {
    let rig = Rig::new().await;
    fill(&rig).await;
    let changed = changed();
    assert_eq!(changed.len() as u64, DELTAS * TABLES / 20);
    let before = rig.node.calls().len();
    let summary = rig.backup(&Warnings::default()).await.expect("a backup");
    let calls = rig.node.calls().split_off(before);
    assert_eq!(summary.deltas, (0..DELTAS).map(DeltaNum).collect::<Vec<_>>());
    for verb in ["STARTED IN (", "FINISHED IN ("] {
        let inserts = calls.iter().filter(|call| call.starts_with("INSERT INTO"));
        let pairs: Vec<_> = inserts.filter_map(|call| pair(call, verb)).collect();
        assert_eq!(pairs.len(), changed.len(), "{verb}");
        assert_eq!(pairs.into_iter().collect::<BTreeSet<_>>(), changed, "{verb}");
    }
    let beginning = |text: &str| calls.iter().filter(|call| call.starts_with(text)).count() as u64;
    let changed_pairs = changed.len() as u64;
    let filled_deltas = DELTAS - DELTAS / 10;
    assert_eq!(beginning("INSERT INTO"), 2 * changed_pairs);
    // One for each delta, one for each pair of a delta that is not empty.
    assert_eq!(beginning("CHECK_SUM("), DELTAS + filled_deltas * TABLES);
    assert_eq!(beginning("CHECK_SUM_SNAPSHOT("), changed_pairs);
    let manifests = rig.manifests().await;
    assert_eq!(manifests.len() as u64, DELTAS);
    let tables = manifests.values().flat_map(|manifest| &manifest.tables);
    assert_eq!(tables.map(|table| table.rows_added).sum::<u64>(), changed_pairs);
}
