//! `check`: everything a run needs, looked at in the order in which a run would meet it. Owns the
//! list of checks; changes nothing on the node, on the brokers or in the journals.

use std::path::Path;

use crate::backup::World;
use crate::catalog::{TopicReader, TopicState};
use crate::cli::args::{Delivery, Output};
use crate::cli::commands::backup;
use crate::cli::commands::findings::{Findings, room};
use crate::cli::console::say;
use crate::cli::exit_code::Failure;
use crate::cli::report::of_wiring;
use crate::cli::settings::BackupSettings;
use crate::cli::stores::{self, Store};
use crate::cli::wiring::{self, Addresses, RealWorld, WiringError};
use crate::extract::prostore::ProstoreNode;
use crate::extract::{Allow, Marker, Node};
use crate::journal::sled_store::{Kind, store_path};
use crate::kafka::Brokers;
use crate::model::{LockCode, Owner};
use crate::plan;

/// Smallest limit of a message that chunks of the default size are known to fit in.
const MESSAGE: u64 = 1 << 20;

/// `check`
pub async fn check(dir: &Path, output: Output, asked: BackupSettings) -> Result<(), Failure> {
    let mut findings = Findings::default();
    room(dir, &mut findings);
    let node = wiring::node(&asked.connection)?;
    let answers = of_node(&node, &mut findings).await;
    let reachable = of_brokers(&node, &asked, &mut findings).await;
    if answers && reachable {
        of_all(dir, &node, &asked, &mut findings).await;
    } else {
        findings.skip("lock, topic, tables, plan");
    }
    match output {
        Output::Json => say(&findings.json()),
        Output::Text => findings.lines().iter().for_each(|line| say(line)),
    }
    findings.verdict()
}

/// The node, the rights, the datamart, its changelog. False where nobody answers.
async fn of_node(node: &ProstoreNode, findings: &mut Findings) -> bool {
    let answered = async {
        node.entities().await?;
        Ok((node.version().await?, node.changes().await?))
    };
    let (version, changes) = match answered.await {
        Ok(answers) => answers,
        Err(error) => {
            findings.failed("node", of_wiring(WiringError::Node(error)));
            return false;
        }
    };
    findings.ok("node", format!("answers, version {version}; the datamart can be read"));
    match changes.unfinished() {
        None => findings.ok("changes", format!("{} in the changelog, all done", changes.0.len())),
        Some(change) => findings.fail(
            "changes",
            format!("change {} is unfinished: {}", change.num, change.query),
            "the statement again to finish it, or ERASE_CHANGE_OPERATION",
        ),
    }
    true
}

/// Both clusters and, where they are asked for, transactions. False where nobody answers.
async fn of_brokers(node: &ProstoreNode, asked: &BackupSettings, findings: &mut Findings) -> bool {
    let core = match wiring::core_brokers(node, &asked.means.ways).await {
        Ok(core) => core,
        Err(error) => {
            findings.failed("core brokers", error.into());
            return false;
        }
    };
    let backup = match wiring::backup_brokers(&core, &asked.means.ways) {
        Ok(backup) => backup,
        Err(error) => {
            findings.failed("backup brokers", error.into());
            return false;
        }
    };
    let mut reachable = of_cluster("core brokers", &core, findings).await;
    if backup == core {
        findings.ok("backup brokers", "the core brokers".to_owned());
    } else {
        reachable &= of_cluster("backup brokers", &backup, findings).await;
    }
    if reachable {
        of_transactions(backup, asked.means.delivery, findings).await;
    }
    reachable
}

async fn of_cluster(name: &'static str, brokers: &Brokers, findings: &mut Findings) -> bool {
    let answered = match wiring::admin(brokers) {
        Ok(admin) => admin
            .cluster_id()
            .await
            .map_err(|source| WiringError::Kafka { brokers: brokers.list().to_owned(), source }),
        Err(error) => Err(error),
    };
    match answered {
        Ok(id) => {
            let id = id.unwrap_or_else(|| "without an id".to_owned());
            findings.ok(name, format!("{} answer, cluster {id}", brokers.list()));
            true
        }
        Err(error) => {
            findings.failed(name, error.into());
            false
        }
    }
}

/// Registers a transactional id that nobody uses again; nothing is written to a topic of ours.
async fn of_transactions(brokers: Brokers, delivery: Delivery, findings: &mut Findings) {
    match delivery {
        Delivery::Idempotent => findings.warn(
            "transactions",
            "not used: after a crash identical copies are possible".to_owned(),
            "the command without --delivery idempotent, where the brokers allow it",
        ),
        Delivery::Transactions => {
            let id = format!("deltakeep-check-{}", uuid::Uuid::new_v4());
            match brokers.try_transactions(id).await {
                Ok(()) => findings.ok("transactions", "allowed".to_owned()),
                Err(failure) => findings.fail(
                    "transactions",
                    failure.reason,
                    "rights on transactional ids deltakeep-*, or --delivery idempotent",
                ),
            }
        }
    }
}

async fn of_all(dir: &Path, node: &ProstoreNode, asked: &BackupSettings, findings: &mut Findings) {
    let built = wiring::build(&asked.connection, &asked.topic, &asked.means).await;
    let (world, addresses) = match built {
        Ok(built) => built,
        Err(error) => return findings.failed("topic", error.into()),
    };
    let datamart = asked.connection.datamart.as_str();
    let path = store_path(dir, &addresses.cluster, &asked.topic, datamart, Kind::Backup);
    let store = stores::read(&path).ok().flatten();
    of_journal(store.as_ref(), findings);
    of_lock(node, store.as_ref(), findings).await;
    match world.topic().state().await {
        Ok(Some(state)) => of_topic(&state, asked, findings),
        Ok(None) => {
            let partitions = asked.shape.partitions;
            let text = format!("{} is not there; {partitions} partitions", asked.topic);
            findings.ok("topic", format!("{text} would be asked for"));
        }
        Err(error) => findings.failed("topic", WiringError::Topic(error).into()),
    }
    of_plan(dir, asked, world, addresses, findings).await;
}

fn of_journal(store: Option<&Store>, findings: &mut Findings) {
    let Some(store) = store else { return findings.ok("journal", "no run before".to_owned()) };
    let run = &store.status.run;
    match store.stage() {
        "running" => findings.fail(
            "journal",
            format!("process {} works on run {run}", store.status.pid),
            "deltakeep status",
        ),
        "stopped" | "killed" => findings.warn(
            "journal",
            format!("run {run} is unfinished and would be finished first"),
            "deltakeep resume",
        ),
        _ => findings.ok("journal", "the last run is done".to_owned()),
    }
}

async fn of_lock(node: &ProstoreNode, store: Option<&Store>, findings: &mut Findings) {
    let probe = LockCode::probe(uuid::Uuid::new_v4().as_u64_pair().0);
    // A code that nobody has opens nothing: the answer only tells whether there is a lock.
    let seen = async { Ok((node.marker().await?, node.allow(&probe).await?)) };
    let (marker, lock) = match seen.await {
        Ok(seen) => seen,
        Err(error) => return findings.failed("lock", of_wiring(WiringError::Node(error))),
    };
    match (marker, lock) {
        (Marker::Of(owner), _) => of_owner(&owner, store, findings),
        (Marker::Foreign, _) => findings.fail(
            "lock",
            "table deltakeep_owner is in the datamart and names no run".to_owned(),
            "deltakeep unlock --day N --yes, or DROP DOWNLOAD EXTERNAL TABLE deltakeep_owner",
        ),
        (Marker::Absent, Allow::NotBlocked | Allow::Done) => {
            findings.ok("lock", "free, no marker".to_owned());
        }
        (Marker::Absent, Allow::WrongCode) => findings.fail(
            "lock",
            "changes are denied by somebody who left no marker".to_owned(),
            "deltakeep unlock --day N --yes, N the day of month it was started on",
        ),
        (Marker::Absent, Allow::Blocked) => findings.fail(
            "lock",
            "a schema change runs or is unfinished".to_owned(),
            "deltakeep check again, once it is done",
        ),
    }
}

fn of_owner(owner: &Owner, store: Option<&Store>, findings: &mut Findings) {
    let Owner { run, day, started } = owner;
    let text = format!("run {run} left its marker (started {started}, day {day})");
    match store.filter(|store| store.status.run == run.to_string()) {
        Some(store) if !store.is_busy() => findings.warn("lock", text, "deltakeep resume"),
        Some(_) => findings.fail("lock", text, "deltakeep status, and wait for the run to end"),
        None => findings.fail("lock", text, "deltakeep unlock --connect HOST:PORT/DATAMART"),
    }
}

fn of_topic(state: &TopicState, asked: &BackupSettings, findings: &mut Findings) {
    let topic = &asked.topic;
    let again = "kafka-configs --alter on the topic, or another --topic";
    let setting = |name: &str| state.settings.get(name).map(String::as_str);
    let mut fine = true;
    if setting("cleanup.policy").is_some_and(|policy| policy.contains("compact")) {
        fine = false;
        findings.fail("topic", format!("{topic} is compacted: increments would vanish"), again);
    }
    for name in ["retention.ms", "retention.bytes"] {
        let finite = setting(name).filter(|value| *value != "-1");
        if let Some(value) = finite.filter(|_| !asked.means.accept_retention) {
            fine = false;
            let text = format!("{topic} has {name}={value}: its oldest increments will vanish");
            findings.warn("topic", text, "kafka-configs --alter, or --acceptRetention");
        }
    }
    let limit = setting("max.message.bytes").and_then(|limit| limit.parse::<u64>().ok());
    if let Some(limit) = limit.filter(|limit| *limit < MESSAGE) {
        fine = false;
        let text = format!("{topic} takes messages up to {limit} bytes");
        findings.warn("topic", text, "max.message.bytes=4194304, or a smaller --chunkSize");
    }
    if state.settings.is_empty() {
        fine = false;
        let text = format!("{topic}: the brokers do not tell its settings");
        findings.warn("topic", text, "rights to describe the topic's configuration");
    }
    if fine {
        findings.ok("topic", format!("{topic}, {} partitions", state.ranges.len()));
    }
}

async fn of_plan(
    dir: &Path,
    asked: &BackupSettings,
    world: RealWorld,
    addresses: Addresses,
    findings: &mut Findings,
) {
    let draft = match backup::draft_aside(dir, asked, world, addresses).await {
        Ok(draft) => draft,
        Err(failure) => return findings.failed("plan", failure),
    };
    let unknown = draft.unknown.join(", ");
    if unknown.is_empty() {
        findings.ok("tables", format!("{} can be unloaded", draft.tables.len()));
    } else {
        let text = format!("of a type that this version does not know: {unknown}");
        findings.warn("tables", text, "a newer deltakeep");
    }
    let deltas: Vec<_> = draft.deltas.iter().map(|d| d.num.to_string()).collect();
    let text = match (draft.newest, deltas.is_empty()) {
        (None, _) => "the datamart has no closed delta".to_owned(),
        (Some(newest), true) => format!("nothing new: delta {newest} is in the topic"),
        (Some(_), false) => format!("deltas to back up: [{}]", deltas.join(", ")),
    };
    let holes = [("only in parts", &draft.incomplete), ("missing", &draft.missing)];
    let holes = holes.iter().filter(|(_, deltas)| !deltas.is_empty());
    let holes: Vec<_> = holes.map(|(how, d)| format!("{how}: {}", plan::shown(d))).collect();
    if holes.is_empty() {
        return findings.ok("plan", text);
    }
    let text = format!("{text}; in the topic {}", holes.join("; "));
    findings.warn("plan", text, "deltakeep topic show; the backup with --fillGaps exports them");
}
