//! The unloads of one (delta, table): attempt after attempt until one is sealed, or one for each of
//! the three parts of a pair with repeated keys (DESIGN D4.6, D4.13). Never delivers anything.

use std::time::Duration;

use crate::extract::{ChunkReader, Node, Seal, Source, SourceError, UnloadStep};
use crate::format;
use crate::journal::Fact;
use crate::model::{Attempt, AttemptName, Datasource, Delta, DeltaNum, Part, Partition, Table};
use crate::plan;

use super::context::{Context, Settings, World};
use super::fault::{Fault, Place};
use super::keys;
use super::pair::Pair;
use super::state::Fate;
use super::sweep::discard;
use super::tally::{self, Tallies};
use super::watch::Event;

/// Unloads a pair: in parts where its keys repeat, those in `keep` left out because they are sealed
/// already; else in two halves, as also where the node or the counts speak against parts.
///
/// # Errors
/// [`Fault::GaveUp`], those of the node and the journal.
pub async fn unload<W: World>(run: &Context<W>, pair: &Pair, keep: &[Part]) -> Result<(), Fault> {
    keys::count(run, pair).await?;
    if run.ledger.look(|state| state.in_parts(&pair.key())) {
        match unload_parts(run, pair, keep).await? {
            Ok(()) => return Ok(()),
            Err(reason) => refuse_parts(run, pair, &reason)?,
        }
    }
    match attempts(run, pair, None).await? {
        Ok(()) => Ok(()),
        Err(reason) => {
            Err(Fault::Unexpected(format!("two halves were refused as parts: {reason}")))
        }
    }
}

/// The inner error says why the pair cannot be unloaded in parts.
async fn unload_parts<W: World>(
    run: &Context<W>,
    pair: &Pair,
    keep: &[Part],
) -> Result<Result<(), String>, Fault> {
    let key = pair.key();
    let counts = run.ledger.look(|state| state.keys.get(&key).and_then(|keys| keys.counts));
    let Some(counts) = counts.filter(|counts| counts.alive.is_some()) else {
        return Ok(Err("the node does not count what is alive".to_owned()));
    };
    for part in Part::ALL.into_iter().filter(|part| !keep.contains(part)) {
        if let Err(reason) = attempts(run, pair, Some(part)).await? {
            return Ok(Err(reason));
        }
    }
    let rows = run.ledger.look(|state| state.parts_of(&key).map(|a| a.map_or(0, |a| a.rows)));
    if counts.fit(rows) {
        return Ok(Ok(()));
    }
    Ok(Err(format!("parts of {rows:?} rows do not add up with {counts:?}")))
}

/// From here on the pair is unloaded in two halves.
fn refuse_parts<W: World>(run: &Context<W>, pair: &Pair, reason: &str) -> Result<(), Fault> {
    let (delta, issue, table) = pair.key();
    let text = format!(
        "delta {delta}, table {table}: its keys repeat, and it is delivered in two halves: {reason}"
    );
    run.tell(Event::Warning { text });
    let dropped: Vec<Fact> = run.ledger.look(|state| {
        let key = pair.key();
        let names =
            state.attempts_of(&key).map(|a| (a.attempt.name.clone(), a.fate == Fate::Sealed));
        names.map(|(name, answered)| Fact::AttemptDropped { name, answered }).collect()
    });
    run.ledger.note([Fact::PartsRefused { delta, issue, table }].into_iter().chain(dropped))?;
    Ok(())
}

/// Attempts until one is sealed. The inner error is the node's text where it does not take the
/// statement of a part.
async fn attempts<W: World>(
    run: &Context<W>,
    pair: &Pair,
    part: Option<Part>,
) -> Result<Result<(), String>, Fault> {
    let mut last = String::new();
    let mut silent = 0;
    // Attempts of executions that died are none of this one's: a resume tries as often again.
    let made = run.ledger.look(|s| s.attempts_made(&pair.key()));
    for number in made..made + Settings::UNLOADS {
        run.go_on()?;
        let attempt = attempt(run, pair, number, part).await?;
        run.ledger.note([opened(attempt.clone(), pair.issue, part)])?;
        let error = match unload_once(run, pair, &attempt, part).await? {
            Ok(seal) => match seal_it(run, pair, &attempt, part, seal).await? {
                Ok(()) => return Ok(Ok(())),
                Err(error) => error,
            },
            Err(error) => error,
        };
        silent += u32::from(matches!(error, SourceError::Stalled { .. }));
        give_up(run, pair, &attempt, &error, number - made).await?;
        match error {
            SourceError::NoRights { .. } | SourceError::NoDatamart { .. } => {
                return Err(error.into());
            }
            SourceError::PartRefused { .. } => return Ok(Err(error.to_string())),
            error => last = error.to_string(),
        }
    }
    let at = Place { delta: Some(pair.delta.num), table: Some(pair.table.name.clone()) };
    if silent == Settings::UNLOADS {
        last = format!("the reader connector answers nothing; {last}");
    }
    Err(Fault::GaveUp { at, attempts: Settings::UNLOADS, last })
}

fn opened(attempt: Attempt, issue: u32, part: Option<Part>) -> Fact {
    match part {
        None => Fact::AttemptOpened { attempt, issue },
        Some(part) => Fact::PartOpened { attempt, issue, part },
    }
}

/// What failed is dropped, and cleared away at once where nothing writes to it any more.
async fn give_up<W: World>(
    run: &Context<W>,
    pair: &Pair,
    attempt: &Attempt,
    error: &SourceError,
    before: u32,
) -> Result<(), Fault> {
    let cut_short = matches!(error, SourceError::CutShort { .. });
    let refused = matches!(error, SourceError::Refused { .. } | SourceError::PartRefused { .. });
    let answered = cut_short || refused;
    let dropped = Fact::AttemptDropped { name: attempt.name.clone(), answered };
    // It may not say so, but too large a message is the commonest reason (D5). Where nothing came, as
    // when the connector is down, smaller messages would not help.
    let shrunk = cut_short.then(|| shrunk(pair.delta, attempt.chunk_size)).flatten();
    run.ledger.note([dropped].into_iter().chain(shrunk))?;
    if !matches!(error, SourceError::NoRights { .. } | SourceError::NoDatamart { .. }) {
        run.tell(Event::Warning { text: format!("unload {} failed: {error}", attempt.name) });
        tokio::time::sleep(Duration::from_millis(100 << before.min(6))).await;
        // What cannot be cleared away now is swept up later.
        if answered {
            discard(run, &attempt.name, answered).await.ok();
        }
    }
    Ok(())
}

/// Half the rows per message for the further unloads of a delta; none below one row.
pub fn shrunk(delta: Delta, rows: u32) -> Option<Fact> {
    (rows > 1).then_some(Fact::ChunksShrunk { delta: delta.num, rows: rows / 2 })
}

/// An attempt that answered and yet did not come whole.
fn cut_short(attempt: &Attempt, message: String) -> SourceError {
    SourceError::CutShort { statement: format!("unload {}", attempt.name), message }
}

async fn attempt<W: World>(
    run: &Context<W>,
    pair: &Pair,
    number: u32,
    part: Option<Part>,
) -> Result<Attempt, Fault> {
    let nonce = (run.settings.nonce)() as u32;
    let counted = run.ledger.look(|state| state.keys.get(&pair.key()).cloned());
    let datasource = match counted {
        Some(keys) => keys.datasource,
        None => datasource(run, pair.delta.num, &pair.table).await?,
    };
    Ok(Attempt {
        name: AttemptName::new(run.run(), pair.delta.num, pair.number, number, nonce),
        delta: pair.delta.num,
        table: pair.table.name.clone(),
        datasource,
        partitions: if part.is_some() { 1 } else { pair.partitions },
        chunk_size: chunk_size(run, pair),
    })
}

/// Rows per message of the further unloads of a pair.
pub fn chunk_size<W: World>(run: &Context<W>, pair: &Pair) -> u32 {
    let shrunk = run.ledger.look(|state| state.chunk_sizes.get(&pair.delta.num).copied());
    shrunk.unwrap_or_else(|| run.shape().chunk_size)
}

/// Named in every statement: rows of two datasources must never mix (D4.4).
///
/// # Errors
/// Those of the node.
pub async fn datasource<W: World>(
    run: &Context<W>,
    delta: DeltaNum,
    table: &Table,
) -> Result<Option<Datasource>, Fault> {
    let asked = run.shape().datasource.map(Datasource);
    if let Some(chosen) = plan::choose_datasource(asked.as_ref(), table, None) {
        return Ok(chosen);
    }
    let preferred = run.world.node().preferred(delta, table).await?;
    let preferred = Some(preferred.as_ref());
    Ok(plan::choose_datasource(asked.as_ref(), table, preferred).flatten())
}

/// The outer error stops the run, the inner one is the unload's own.
async fn unload_once<W: World>(
    run: &Context<W>,
    pair: &Pair,
    attempt: &Attempt,
    part: Option<Part>,
) -> Result<Result<Seal, SourceError>, Fault> {
    let name = attempt.name.0.clone();
    let tell = |step: UnloadStep| {
        let name = name.clone();
        run.tell(match step {
            UnloadStep::TopicCreated { partitions } => {
                Event::TopicCreated { topic: name, partitions }
            }
            UnloadStep::TableCreated => Event::ExternalTableCreated { name },
            UnloadStep::Inserted { half } => Event::Unloaded { name, half },
            UnloadStep::TableDropped => Event::ExternalTableDropped { name },
        });
    };
    let source = run.world.source();
    let sealed = async {
        match part {
            None => source.unload(attempt, &pair.table, &tell).await,
            Some(part) => source.unload_part(attempt, &pair.table, part, &tell).await,
        }
    };
    tokio::select! {
        sealed = sealed => Ok(sealed),
        () = run.stopped() => Err(Fault::Stopped),
    }
}

/// The outer error stops the run, the inner one makes the attempt useless.
async fn seal_it<W: World>(
    run: &Context<W>,
    pair: &Pair,
    attempt: &Attempt,
    part: Option<Part>,
    Seal { ends }: Seal,
) -> Result<Result<(), SourceError>, Fault> {
    let chunks: u64 = ends.iter().sum();
    // Even an unload without rows sends one last message for each of its statements.
    if chunks == 0 {
        let message = "the node answered, but its connector wrote no message".to_owned();
        let statement = format!("unload {}", attempt.name);
        return Ok(Err(SourceError::Refused { statement, message }));
    }
    let name = attempt.name.clone();
    let sealed = match part {
        None => Fact::Sealed { name, ends },
        Some(part) => match count_part(run, attempt, part, chunks).await? {
            Ok(rows) => Fact::PartSealed { name, ends, rows },
            Err(error) => return Ok(Err(error)),
        },
    };
    run.ledger.note([sealed])?;
    run.tell(Event::Sealed { delta: pair.delta.num, table: pair.table.name.clone(), chunks });
    Ok(Ok(()))
}

/// Reads a part once and counts its rows. Nothing of a pair in parts may be delivered before all of
/// them are known to be whole and to add up: what is delivered can only be taken back by writing
/// the whole delta again (ADR 15).
async fn count_part<W: World>(
    run: &Context<W>,
    attempt: &Attempt,
    part: Part,
    end: u64,
) -> Result<Result<u64, SourceError>, Fault> {
    let counted = async {
        let mut reader = run.world.source().read(attempt, Partition(0), 0, end).await?;
        let (mut tallies, mut rows) = (Tallies::new(), 0);
        while let Some(chunk) = reader.next().await? {
            let found = format::staging_rows(&chunk.body);
            let found = found.map_err(|error| cut_short(attempt, error.to_string()))?;
            tally::count(&mut tallies, &chunk, found);
            rows += found;
        }
        let half = tally::half_number(crate::extract::Half::of(part));
        let whole = tally::require_half(&tallies, half);
        whole.map_err(|incomplete| cut_short(attempt, incomplete.to_string()))?;
        Ok(rows)
    };
    tokio::select! {
        counted = counted => Ok(counted),
        () = run.stopped() => Err(Fault::Stopped),
    }
}
