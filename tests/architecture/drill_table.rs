//! The table of a drill's scratch in ARCHITECTURE.md against `drill/scratch.rs`, over every
//! combination of what the journal and the node can say.

use deltakeep::drill::scratch::{Decision, Look, Phase, decide};
use deltakeep::model::{Owner, RunId};
use uuid::Uuid;

use super::resume_tables::Oracle;

fn phase(word: &str) -> Phase {
    match word {
        "nothing" => Phase::Nothing,
        "intended" => Phase::Intended,
        "owned" => Phase::Owned,
        "restoring" => Phase::Restoring,
        "dropping" => Phase::Dropping,
        "done" => Phase::Done,
        other => panic!("no such word for the journal: {other}"),
    }
}

fn look(word: &str) -> Look {
    let owner = Owner { run: RunId(Uuid::from_u128(1)), day: 1, started: "now".into() };
    match word {
        "absent" => Look::Absent,
        "bare" => Look::Bare,
        "ours" => Look::Ours { filled: false },
        "ours and filled" => Look::Ours { filled: true },
        "kept by an earlier drill" => Look::Kept(owner),
        "of others" => Look::Others,
        "the source" => Look::Source,
        other => panic!("no such word for the scratch: {other}"),
    }
}

fn name(decision: Decision) -> &'static str {
    match decision {
        Decision::Skip => "skip",
        Decision::NoteDropped => "note it as dropped",
        Decision::Create => "create, mark",
        Decision::Mark => "mark",
        Decision::GoOn => "go on",
        Decision::Drop => "drop",
        Decision::Source => "stop: source",
        Decision::Held => "stop: held",
    }
}

#[test]
fn every_scratch_is_decided_as_the_table_says() {
    let mut oracle = Oracle::new("### The scratch of a drill");
    for journal in ["nothing", "intended", "owned", "restoring", "dropping", "done"] {
        for scratch in [
            "absent",
            "bare",
            "ours",
            "ours and filled",
            "kept by an earlier drill",
            "of others",
            "the source",
        ] {
            let wanted = oracle.decide(journal, scratch);
            let decision = decide(phase(journal), &look(scratch));
            assert_eq!(name(decision), wanted, "{journal} | {scratch}");
        }
    }
    oracle.require_all_used();
}
