//! `unlock`: gives a dead run's lock back, from any host: by the marker, or where there is none by
//! the day that the operator names (DESIGN D3). Never takes a living run's lock silently.

use std::path::Path;

use crate::backup::{GivenBack, give_back};
use crate::cli::console::say;
use crate::cli::exit_code::{ExitCode, Failure};
use crate::cli::report;
use crate::cli::settings::{CodeFrom, UnlockSettings};
use crate::cli::stores::{self, Store};
use crate::cli::wiring::{self, WiringError};
use crate::extract::prostore::ProstoreNode;
use crate::extract::{Allow, Marker, Node, SourceError};
use crate::journal::sled_store::Kind;
use crate::load::Target;
use crate::model::{LockCode, Owner};

/// `unlock`
pub async fn unlock(dir: &Path, asked: UnlockSettings) -> Result<(), Failure> {
    let node = wiring::node(&asked.connection)?;
    match node.marker().await.map_err(failed)? {
        Marker::Of(owner) => by_marker(dir, &node, &asked, owner).await,
        Marker::Absent => by_day(&node, &asked, false).await,
        Marker::Foreign => by_day(&node, &asked, true).await,
    }
}

async fn by_marker(
    dir: &Path,
    node: &ProstoreNode,
    asked: &UnlockSettings,
    owner: Owner,
) -> Result<(), Failure> {
    let Owner { run, day, started } = &owner;
    say(&format!("Run {run} holds the datamart: started {started}, day {day}"));
    let stores = stores::all(dir)?;
    let ours = stores.iter().find(|store| store.status.run == run.to_string());
    match ours {
        Some(store) if store.is_busy() => return Err(busy(store)),
        Some(store) if store.status.kind != Kind::Backup && !asked.yes => {
            return Err(restoring(store));
        }
        Some(_) => {}
        None if asked.yes => {}
        None => return Err(foreign(&format!("run {run} is not of this host"))),
    }
    let code = LockCode::new(&asked.connection.datamart, *day);
    match give_back(node, &owner, &code).await.map_err(failed)? {
        GivenBack::Opened => {}
        GivenBack::LockOfOthers => {
            return Err(Failure {
                code: ExitCode::HeldByOther,
                message: "the marker is gone, but changes are denied by somebody else".to_owned(),
                next: "deltakeep unlock --day N --yes, or finish the schema change".to_owned(),
            });
        }
        GivenBack::MarkerOfOthers => return Err(foreign("the marker changed meanwhile")),
    }
    if let Some(Store { path, status }) = ours {
        let mut status = status.clone();
        status.history.lock_held = false;
        // The status is a courtesy: the lock is what counts.
        let _ = stores::write(path, &status);
    }
    say(&format!("Allow changes in datamart {}", asked.connection.datamart));
    tell_open_delta(node).await
}

fn busy(store: &Store) -> Failure {
    Failure {
        code: ExitCode::HeldByOther,
        message: format!("process {} works on that run", store.status.pid),
        next: "deltakeep status".to_owned(),
    }
}

/// An open delta whose marker is gone is nobody's: the restore would not go on with it.
fn restoring(store: &Store) -> Failure {
    let run = &store.status.run;
    Failure {
        code: ExitCode::HeldByOther,
        message: format!("run {run} is a restore into this datamart, and it is not finished"),
        next: format!("deltakeep resume {run}; or deltakeep abandon {run}"),
    }
}

/// A dead restore of another host may have left a delta open; whose it is only the operator knows.
async fn tell_open_delta(node: &ProstoreNode) -> Result<(), Failure> {
    if let Some(hot) = node.hot().await.map_err(failed)? {
        say(&format!("Delta {} is open there: COMMIT DELTA or ROLLBACK DELTA", hot.num));
    }
    Ok(())
}

fn foreign(what: &str) -> Failure {
    Failure {
        code: ExitCode::HeldByOther,
        message: what.to_owned(),
        next: "deltakeep unlock with --yes, once it is certain that it is dead".to_owned(),
    }
}

/// A lock without a marker of ours: the Java tool died, or somebody's hands made it.
async fn by_day(node: &ProstoreNode, asked: &UnlockSettings, marked: bool) -> Result<(), Failure> {
    let datamart = &asked.connection.datamart;
    let CodeFrom::Day(day) = asked.code else {
        if !marked && is_free(node).await? {
            say(&format!("Changes are not denied in datamart {datamart}: nothing to unlock"));
            return Ok(());
        }
        return Err(Failure {
            code: ExitCode::HeldByOther,
            message: format!("changes in {datamart} are denied by somebody who left no marker"),
            next: "deltakeep unlock with --day N --yes, N the day of month it was started on"
                .to_owned(),
        });
    };
    if !asked.yes {
        return Err(foreign("whoever denied the changes left no marker"));
    }
    let code = LockCode::new(datamart, day);
    match node.allow(&code).await.map_err(failed)? {
        Allow::Done => say(&format!("Allow changes in datamart {datamart}")),
        Allow::NotBlocked => say(&format!("Changes are not denied in datamart {datamart}")),
        Allow::WrongCode => {
            return Err(foreign(&format!("the code is not {code}: another day, or not a backup")));
        }
        Allow::Blocked => return Err(foreign("a schema change runs or is unfinished")),
    }
    if marked {
        node.unmark().await.map_err(failed)?;
    }
    Ok(())
}

async fn is_free(node: &ProstoreNode) -> Result<bool, Failure> {
    let nobody = LockCode::probe(uuid::Uuid::new_v4().as_u64_pair().0);
    Ok(node.allow(&nobody).await.map_err(failed)? == Allow::NotBlocked)
}

fn failed(error: SourceError) -> Failure {
    report::of_wiring(WiringError::Node(error))
}
