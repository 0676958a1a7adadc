//! The real binary against real servers and a sandbox node in a process of its own: killed at
//! random, used by hand, run twice at once. Owns no test itself; addresses come from the
//! environment (scripts/test), and without them the tests fail.

mod against;
mod catalog;
#[path = "../support/chance.rs"]
mod chance;
mod cleanup;
mod command_line;
mod drill;
mod faults;
mod fire;
mod gaps;
mod kill;
#[path = "../support/older_tool.rs"]
mod older_tool;
mod older_tool_shape;
mod operator;
mod parts;
#[path = "../support/process.rs"]
#[expect(dead_code, reason = "other tests use more of it")]
mod process;
#[path = "../support/random_history.rs"]
mod random_history;
#[path = "../support/resealed.rs"]
mod resealed;
mod restart;
mod restore;
mod restore_faults;
mod restore_kill;
#[path = "../support/rig.rs"]
mod rig;
mod round_trip;
#[path = "../support/sandbox.rs"]
mod sandbox;
mod sandbox_loads;
mod seed_example;
#[path = "../support/mod.rs"]
mod support;
mod two_runs;
mod verify;
mod watching;

use chance::Chance;
