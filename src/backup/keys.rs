//! Whether keys occur more than once inside a (delta, table), asked of the node once and kept in the
//! journal (DESIGN D4.13). Never unloads anything.

use crate::extract::{Count, Node};
use crate::journal::Fact;
use crate::model::{Datasource, KeyCounts};

use super::context::{Context, World};
use super::fault::Fault;
use super::pair::Pair;
use super::state::State;
use super::unload;
use super::watch::Event;

/// Counts the keys of a pair where they can repeat, unless the journal knows.
///
/// # Errors
/// Those of the node and the journal.
pub async fn count<W: World>(run: &Context<W>, pair: &Pair) -> Result<(), Fault> {
    // A single write operation touches a key once.
    let known = run.ledger.look(|state| state.keys.contains_key(&pair.key()));
    if known || pair.delta.cn_from >= pair.delta.cn_to {
        return Ok(());
    }
    let datasource = unload::datasource(run, pair.delta.num, &pair.table).await?;
    let counts = ask(run, pair, datasource.as_ref()).await?;
    let (delta, issue, table) = pair.key();
    if counts.is_none() {
        let text = format!(
            "delta {delta}, table {table}: the node does not count its keys; it is delivered in two \
             halves, although keys may repeat"
        );
        run.tell(Event::Warning { text });
    }
    run.ledger.note([Fact::KeysCounted { delta, issue, table, datasource, counts }])?;
    Ok(())
}

async fn ask<W: World>(
    run: &Context<W>,
    pair: &Pair,
    datasource: Option<&Datasource>,
) -> Result<Option<KeyCounts>, Fault> {
    let (node, table) = (run.world.node(), &pair.table);
    if table.primary_key.is_empty() {
        return Ok(None);
    }
    let mut counted = [None; 3];
    for (what, number) in
        [Count::Started, Count::Finished, Count::Keys].into_iter().zip(&mut counted)
    {
        *number = node.count(pair.delta.num, table, datasource, what).await?;
    }
    let [Some(started), Some(finished), Some(keys)] = counted else { return Ok(None) };
    let mut counts = KeyCounts { started, finished, keys, ..KeyCounts::default() };
    if counts.repeat() {
        counts.alive = node.count(pair.delta.num, table, datasource, Count::Alive).await?;
        counts.dead = node.count(pair.delta.num, table, datasource, Count::Dead).await?;
        counts.replaced = node.count(pair.delta.num, table, datasource, Count::Replaced).await?;
    }
    Ok(Some(counts))
}

/// What the manifest says of a delivered pair: whether CHECK_SUM can be equal after a restore.
pub fn is_exact(state: &State, pair: &Pair) -> bool {
    let key = pair.key();
    if pair.delta.cn_from >= pair.delta.cn_to {
        return true;
    }
    let Some(keys) = state.keys.get(&key).filter(|keys| !keys.refused) else { return false };
    let rows = state.parts_of(&key).map(|part| part.map_or(0, |part| part.rows));
    keys.counts.is_some_and(|counts| !counts.repeat() || counts.exact(rows))
}
