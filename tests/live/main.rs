//! The real binary against real servers and a sandbox node in a process of its own: killed at
//! random, used by hand, run twice at once. Owns no test itself; addresses come from the
//! environment (scripts/test), and without them the tests fail.

mod command_line;
mod faults;
mod gaps;
mod kill;
mod operator;
mod process;
mod restart;
mod rig;
mod sandbox;
mod seed_example;
mod support;
mod two_runs;
