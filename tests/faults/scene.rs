//! A backup under way, and what must be true when it is over. Owns no fault.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use deltakeep::kafka::{Brokers, ClusterAdmin, TopicAdmin};

use crate::process::{Done, Process};
use crate::rig::Rig;
use crate::support::{block_on, eventually, topics};

/// No execution takes longer, whatever it waits for.
const LONGEST: Duration = Duration::from_secs(420);
/// Executions after the fault is over.
const RESUMES: u32 = 3;

/// A datamart of three deltas, the last one of 600 messages, and what an undisturbed backup of it
/// is.
pub struct Scene {
    pub rig: Rig,
    expect: PathBuf,
    /// Brokers as the binary is to see them.
    brokers: String,
    admin: Arc<dyn TopicAdmin>,
}

impl Scene {
    /// Node and binary over these brokers.
    pub fn new(what: &str, brokers: &str) -> Self {
        Self::of(Rig::over(what, brokers, &[]))
    }

    pub fn of(rig: Rig) -> Self {
        rig.delta("SANDBOX_FILL(a, 12000)\nSANDBOX_FILL(b, 40)");
        let expect = rig.undisturbed();
        let brokers = Brokers::new(rig.brokers.clone(), Default::default()).expect("brokers");
        let admin = ClusterAdmin::new(&brokers).expect("a client");
        Self { expect, brokers: rig.brokers.clone(), admin, rig }
    }

    /// The binary reaches the brokers at other addresses than the node does.
    pub fn seeing(mut self, brokers: &str) -> Self {
        brokers.clone_into(&mut self.brokers);
        self
    }

    /// Starts the backup, of two streams a table, with more words.
    pub fn start(&self, more: &[&str]) -> Process {
        let words = self.rig.words(&[&["--threadsCount", "4"], more].concat());
        let seen = |word| if word == self.rig.brokers { &*self.brokers } else { word };
        self.rig.keep.start(&words.into_iter().map(seen).collect::<Vec<_>>())
    }

    /// Waits until the backup topic holds so many messages, markers of transactions counted in;
    /// the backup has not ended by then.
    pub fn await_messages(&self, process: &mut Process, messages: i64) {
        let arrived = || {
            let ranges = block_on(self.admin.ranges(&self.rig.topic)).ok().flatten();
            ranges.unwrap_or_default().iter().map(|(_, end)| end).sum::<i64>() >= messages
        };
        let began = Instant::now();
        while !arrived() && began.elapsed() < LONGEST && process.is_alive() {
            std::thread::sleep(Duration::from_millis(10));
        }
        self.require_under_way(process);
    }

    /// Waits for a line for the n-th time; the backup has not ended by then.
    pub fn await_line(&self, process: &mut Process, line: &str, nth: usize) {
        process.meet_line(line, nth, LONGEST);
        assert!(process.stdout().matches(line).count() >= nth, "{line}: {}", process.stdout());
        self.require_under_way(process);
    }

    fn require_under_way(&self, process: &mut Process) {
        let said = process.stdout();
        let under_way = process.is_alive() && !said.contains("Allow changes");
        assert!(under_way, "the fault came too late: {said}");
    }

    /// The end of an execution during a fault: done, or resumable, never anything else.
    pub fn end(&self, process: Process) -> Done {
        let done = process.wait_for(LONGEST);
        let done = done.unwrap_or_else(|done| panic!("not done in {LONGEST:?}: {done}"));
        assert!(matches!(done.code, Some(0 | 5)), "{done}");
        if done.code == Some(5) {
            assert!(done.stderr.contains("deltakeep resume"), "no next command: {done}");
        }
        done
    }

    /// The fault is over: the run is resumed until it is done, and the promise holds.
    pub fn resume_and_judge(&self, first: Done) {
        let run = first.run().expect("a run");
        let mut done = first;
        for _ in 0..RESUMES {
            if done.code == Some(0) {
                break;
            }
            // The node's marker, where a process that could not reach it left one, is still ours.
            done = self.end(self.rig.keep.start_as(&[], &["resume", "--unloadStall", "1s"]));
            assert_eq!(done.run().as_ref(), Some(&run), "another run: {done}");
        }
        assert_eq!(done.code, Some(0), "{done}");
        self.judge(&run);
    }

    /// Every row once; no lock, marker, table or topic is left.
    pub fn judge(&self, run: &str) {
        self.rig.judge_against(&self.expect);
        let prefix = format!("deltakeep_{}", &run[..8]);
        let left = || topics(&self.rig.brokers, &prefix);
        assert!(eventually(Duration::from_secs(5), || left().is_empty()), "{:?}", left());
    }
}
