//! The account of the demo: counts every message of the topic by increment, table and stream, and
//! says whether each chunk is there exactly once. Reads the topic; changes nothing.

use std::collections::BTreeMap;

use super::{DemoError, leavings, read_topic};
use crate::catalog::index::Catalog;
use crate::cli::wiring::RealWorld;
use crate::format;
use crate::model::{DeltaNum, MessageKey};

/// By delta and table: the chunk numbers of each stream, in the order they lie.
type Chunks = BTreeMap<(DeltaNum, String), BTreeMap<u32, Vec<u64>>>;

#[derive(Default)]
struct Account {
    chunks: Chunks,
    rows: BTreeMap<(DeltaNum, String), u64>,
    catalog: Catalog,
}

impl Account {
    fn take(&mut self, key: &MessageKey, body: &[u8]) {
        let table = key.table.as_ref().map_or("changelog".to_owned(), |table| table.0.clone());
        let at = (key.delta, table);
        *self.rows.entry(at.clone()).or_default() += format::staging_rows(body).unwrap_or_default();
        let streams = self.chunks.entry(at).or_default();
        streams.entry(key.stream.0).or_default().push(key.chunk.0);
        self.catalog.see(key);
    }
}

async fn account(world: &RealWorld) -> Result<Account, DemoError> {
    let mut account = Account::default();
    read_topic(world, &mut |seen| {
        if let Ok(key) = format::decode_key(seen.key) {
            account.take(&key, seen.body);
        }
    })
    .await?;
    Ok(account)
}

/// What the killed run left.
///
/// # Errors
/// [`DemoError::Wrong`] where it left nothing, so that there is nothing to show.
pub async fn of_the_dead(
    world: &RealWorld,
    say: &(dyn Fn(&str) + Send + Sync),
) -> Result<(), DemoError> {
    let (owner, left) = leavings(world).await?;
    let Some(owner) = owner else {
        return Err(DemoError::Wrong("the killed run left no marker".to_owned()));
    };
    let account = account(world).await?;
    let messages: usize = account.chunks.values().flat_map(BTreeMap::values).map(Vec::len).sum();
    let complete = account.catalog.complete().len();
    say(&format!("     run {} is dead; changes are still denied, its marker is there", owner.run));
    say(&format!("     {left} staging topics or external tables are left on the node"));
    say(&format!("     {messages} messages arrived, {complete} increments are complete"));
    Ok(())
}

/// What the topic holds in the end; every chunk must be there once.
///
/// # Errors
/// [`DemoError::Wrong`] names what is missing or doubled.
pub async fn of_the_topic(
    world: &RealWorld,
    deltas: usize,
    say: &(dyn Fn(&str) + Send + Sync),
) -> Result<(), DemoError> {
    let account = account(world).await?;
    say("     delta  table       streams  chunks  rows");
    for ((delta, table), streams) in &account.chunks {
        let chunks: usize = streams.values().map(Vec::len).sum();
        let rows = account.rows.get(&(*delta, table.clone())).copied().unwrap_or_default();
        let streams = streams.len();
        say(&format!("     {:<6} {table:<11} {streams:<8} {chunks:<7} {rows}", delta.0));
    }
    for ((delta, table), streams) in &account.chunks {
        for (stream, chunks) in streams {
            let mut sorted = chunks.clone();
            sorted.sort_unstable();
            if sorted.iter().zip(1..).any(|(number, wanted)| *number != wanted) {
                let what = format!("delta {delta}, {table}, stream {stream}: chunks {sorted:?}");
                return Err(DemoError::Wrong(what));
            }
        }
    }
    let complete = account.catalog.complete().len();
    let (owner, _) = leavings(world).await?;
    if complete != deltas || owner.is_some() {
        let what = format!("{complete} of {deltas} increments are complete, owner {owner:?}");
        return Err(DemoError::Wrong(what));
    }
    say(&format!(
        "     {complete} of {deltas} increments are complete; every chunk is there once."
    ));
    say("     Changes are allowed again; marker, external tables and staging topics are gone.");
    Ok(())
}
