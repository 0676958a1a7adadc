//! The fixtures in the shape of the older tool: bodies that real connectors wrote, under keys that
//! are not ours. They are whole, restore, and what nobody can prove of them is said.

use std::collections::{BTreeMap, BTreeSet};

use deltakeep::catalog::Seen;
use deltakeep::deliver::Message;
use deltakeep::format::decode_key;
use deltakeep::model::{Datamart, DeltaNum, Offset, Partition, TableName};
use deltakeep::restore::contents::Contents;
use deltakeep::testing::{Stored, read_rows};
use deltakeep::verify::{Asked, Verifier};

use crate::older_tool::{Line, SUMS, edge, sourcedb};

use super::scenario::{Ended, Scenario};

/// Shows the messages as a topic's reader does.
fn read(lines: &[Line], mut each: impl FnMut(Seen<'_>)) {
    let mut offsets = BTreeMap::<usize, i64>::new();
    for (partition, key, body) in lines {
        let next = offsets.entry(*partition).or_default();
        let (offset, partition) = (Offset(*next), Partition(*partition as i32));
        *next += 1;
        each(Seen { partition, offset, key, body });
    }
}

#[test]
fn recorded_messages_under_foreign_keys_are_whole_and_have_the_nodes_sums() {
    let lines = sourcedb();
    let mut contents = Contents::new(Datamart::parse("sourcedb").unwrap());
    let mut verifier = Verifier::new(Asked { sums: true, ..Asked::default() });
    read(&lines, |seen| {
        contents.see(seen);
        verifier.see(seen);
    });
    assert_eq!(contents.whole(), (0..4).map(DeltaNum).collect());
    let report = verifier.finish(&[Offset(0), Offset(0)]);
    assert!(report.findings.counts().is_empty(), "{report:#?}");
    let of = &report.datamarts[0];
    assert_eq!((of.of_other_tools, of.increments, of.rows), (4, 4, 14));
    let (comp, sums) = (TableName(SUMS[1].0.into()), SUMS[1].1);
    // The other table has columns of floating-point numbers, which the recorded sums are over too.
    let found: Vec<_> = report.sums.iter().map(|of| of.tables[&comp].sum).collect();
    assert_eq!(found, sums.map(u128::from));
}

#[tokio::test(start_paused = true)]
async fn what_connectors_wrote_is_restored_row_by_row_and_called_unproven() {
    let mut scenario = Scenario::empty(1);
    (scenario.shape.source, scenario.shape.target) = ("edge".into(), "copy".into());
    let mut decoded = BTreeMap::new();
    let mut topic = vec![Vec::new()];
    for (partition, key, body) in edge() {
        let says = decode_key(&key).unwrap();
        if says.table.is_some() && says.delta == DeltaNum(0) {
            decoded.extend(read_rows(&body).into_iter().map(|row| (row.id, row.v)));
        }
        let partition = Partition(partition as i32);
        topic[0].push(Stored::Visible(Message { partition, key, body }));
    }
    scenario.memory.lock().topic = topic;
    let Ended::Done(summary) = scenario.execute(None).await else { panic!("it is restored") };
    let table = TableName("e".into());
    let unproven: BTreeSet<_> = (0..2).map(|delta| (DeltaNum(delta), table.clone())).collect();
    assert_eq!(summary.findings.unverified, unproven);
    let target = scenario.target.with(|store| store.clone());
    let found = |delta| target.as_of(DeltaNum(delta), "e");
    let first: Vec<_> = decoded.into_iter().collect();
    assert_eq!(found(0), first);
    let texts: Vec<_> = first.iter().map(|(id, v)| (*id, v.as_deref().unwrap())).collect();
    assert_eq!(texts, [(1, "a"), (2, "b"), (3, "c"), (4, "d"), (5, "e")]);
    // Keys 1 and 4 were written more than once in delta 1: one load cannot know what was left of
    // them (PROSTORE.md 9.2), and that is why it is called unproven.
    let once = |rows: Vec<(i64, Option<String>)>| -> Vec<_> {
        rows.into_iter().filter(|(id, _)| ![1, 4].contains(id)).collect()
    };
    let text = |v: &str| Some(v.to_owned());
    let wanted = [(2, text("b-again")), (3, text("c")), (5, text("e")), (6, text("new"))];
    assert_eq!(once(found(1)), wanted);
}
