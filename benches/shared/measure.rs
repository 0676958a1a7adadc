//! Time, processor time and memory of this process, and medians. Linux only: it reads /proc.

use std::time::{Duration, Instant};

/// What something took.
#[derive(Clone, Copy, Debug)]
pub struct Spent {
    /// Time on the wall.
    pub wall: Duration,
    /// Processor time of all threads.
    pub cpu: Duration,
    /// Time on the wall inside the journal.
    pub journal: Duration,
}

/// A point in time.
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    wall: Instant,
    cpu: Duration,
}

impl Mark {
    /// Now.
    pub fn now() -> Self {
        Self { wall: Instant::now(), cpu: cpu() }
    }

    /// What was spent since.
    pub fn spent(&self) -> Spent {
        let cpu = cpu().saturating_sub(self.cpu);
        Spent { wall: self.wall.elapsed(), cpu, journal: Duration::ZERO }
    }
}

/// User and system time, in the kernel's ticks of 10 ms.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("/proc is there");
    // The command's name, in parentheses, can hold anything; user and system are 14th and 15th.
    let (_, fields) = stat.rsplit_once(") ").expect("a command's name");
    let ticks = fields.split(' ').skip(11).take(2).map(|n| n.parse::<u64>().expect("a number"));
    Duration::from_millis(10 * ticks.sum::<u64>())
}

/// The most memory this process ever had, in KiB.
pub fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("/proc is there");
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("the kernel's peak");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("a number")
}

/// The middle one, the least and the greatest.
pub fn median(values: impl IntoIterator<Item = f64>) -> (f64, f64, f64) {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    (values[values.len() / 2], values[0], values[values.len() - 1])
}
