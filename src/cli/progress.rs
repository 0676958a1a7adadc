//! How far a run is, on stderr: a bar on a terminal, a line every ten seconds elsewhere. Owns the
//! counting of what is shown; never slows a worker down.

use std::convert::Infallible;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use super::args::Output;
use super::console::note;
use super::stores::{self, Status};
use crate::backup::{self, Event};
use crate::model::{DeltaDate, RunId};
use crate::restore;

/// Without a terminal a line is printed so often.
const EVERY: Duration = Duration::from_secs(10);
/// The status file is renewed so often.
const STATUS_EVERY: Duration = Duration::from_secs(1);

/// Shows progress and keeps the status file.
pub struct Progress {
    inner: Mutex<Inner>,
    bar: Option<ProgressBar>,
    json: bool,
}

struct Inner {
    status: Status,
    path: PathBuf,
    began: Instant,
    printed: Instant,
    saved: Instant,
    tables: usize,
    tables_of_delta: usize,
    tables_done: usize,
    /// When the delta at work was closed.
    date: Option<DeltaDate>,
    /// How much of the topic was read, in percent, while it is being read.
    reading: Option<u8>,
}

impl Progress {
    /// For the store in `path` whose status begins as `status`.
    pub fn new(path: PathBuf, status: Status, output: Output) -> Self {
        let bar = (std::io::stderr().is_terminal() && output == Output::Text).then(bar);
        let now = Instant::now();
        let inner = Inner {
            status,
            path,
            began: now,
            printed: now,
            saved: now,
            tables: 0,
            tables_of_delta: 0,
            tables_done: 0,
            date: None,
            reading: None,
        };
        Self { inner: Mutex::new(inner), bar, json: output == Output::Json }
    }

    /// The status as it stands, for its last word.
    pub fn status(&self) -> Status {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner).status.clone()
    }

    /// Shows progress now and then also where nothing happens, as in a long unload.
    pub async fn tick(self: Arc<Self>) -> Infallible {
        loop {
            tokio::time::sleep(Duration::from_secs(1)).await;
            self.show(&mut self.inner.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }

    fn show(&self, inner: &mut Inner) {
        if let Some(bar) = &self.bar {
            bar.set_length(inner.total() as u64);
            bar.set_position(inner.tables_done as u64);
            bar.set_message(inner.text());
        } else if inner.printed.elapsed() >= EVERY {
            inner.printed = Instant::now();
            note(&if self.json { inner.json() } else { inner.text() });
        }
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn bar() -> ProgressBar {
    let bar = ProgressBar::new(0);
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} tables {msg}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}

impl backup::Watch for Progress {
    fn tell(&self, event: Event) {
        if let Event::Started { run, resumed, .. } = &event {
            self.begun(*run, *resumed);
        }
        self.count(|inner| inner.take(event));
    }
}

impl restore::Watch for Progress {
    fn tell(&self, event: restore::Event) {
        if let restore::Event::Started { run, resumed, .. } = &event {
            self.begun(*run, *resumed);
        }
        self.count(|inner| inner.take_restored(event));
    }
}

impl Progress {
    /// The first line for programs: from here on the run is in its journal, and `resume` finds it.
    fn begun(&self, run: RunId, resumed: bool) {
        if self.json {
            note(&serde_json::json!({ "run": run.to_string(), "resumed": resumed }).to_string());
        }
    }

    /// Counts, shows, and keeps the status file; `step` tells whether it is worth renewing at once.
    fn count(&self, step: impl FnOnce(&mut Inner) -> bool) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let step = step(&mut inner);
        self.show(&mut inner);
        // What is told before a run starts may be all: the last run's document stays as it is.
        let started = !inner.status.run.is_empty();
        if started && (step || inner.saved.elapsed() >= STATUS_EVERY) {
            inner.saved = Instant::now();
            inner.status.updated = now();
            // The status is a courtesy: the journal is what counts.
            let _ = stores::write(&inner.path, &inner.status);
        }
    }
}

/// The present time, as status documents show it.
pub fn now() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// When a delta was closed, as status documents show it.
pub(super) fn date_text(date: DeltaDate) -> Option<String> {
    let time = jiff::Timestamp::from_microsecond(date.0).ok()?;
    Some(time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}

impl Inner {
    /// Counts; true where the status is worth renewing at once.
    fn take(&mut self, event: Event) -> bool {
        match event {
            Event::TopicRead { percent } => {
                self.reading = (percent < 100).then_some(percent);
                return false;
            }
            Event::Started { run, resumed, .. } => {
                self.status.run = run.to_string();
                self.status.history.resumes += u32::from(resumed);
            }
            Event::Denied { code } => {
                self.status.code = code.to_string();
                self.status.history.lock_held = true;
            }
            Event::Retention { finite } => self.status.history.retention = finite,
            Event::Allowed => self.status.history.lock_held = false,
            Event::Range { deltas, done } => {
                (self.status.deltas, self.status.deltas_done) = (deltas.len(), done);
            }
            Event::Tables { tables } => self.tables = tables.len(),
            Event::DeltaStarted { delta, tables } => {
                self.date = Some(delta.date);
                (self.tables_of_delta, self.tables_done) = (tables, 0);
            }
            Event::Archived { .. } => self.tables_done += 1,
            Event::DeltaArchived { .. } => {
                self.status.deltas_done += 1;
                // A gap that is filled is older than what was complete before.
                let point = self.date.and_then(date_text);
                let history = &mut self.status.history;
                history.recovery_point = history.recovery_point.take().max(point);
            }
            Event::Delivered { rows, bytes } => {
                self.status.rows += rows;
                self.status.bytes += bytes;
                return false;
            }
            _ => return false,
        }
        true
    }

    /// The same of a restore; a load counts as a table.
    fn take_restored(&mut self, event: restore::Event) -> bool {
        use restore::Event;
        match event {
            Event::TopicRead { percent } => {
                self.reading = (percent < 100).then_some(percent);
                return false;
            }
            Event::Started { run, resumed, shape } => {
                self.status.run = run.to_string();
                self.status.source = Some(shape.source);
                self.status.history.resumes += u32::from(resumed);
            }
            Event::Range { deltas, done } => {
                (self.status.deltas, self.status.deltas_done) = (deltas.len(), done);
            }
            Event::Loading { loads, .. } => (self.tables_of_delta, self.tables_done) = (loads, 0),
            Event::Loaded(amount) => {
                self.tables_done += 1;
                self.status.rows += amount.rows;
                self.status.bytes += amount.bytes;
            }
            Event::DeltaRestored { date, .. } => {
                self.status.deltas_done += 1;
                let history = &mut self.status.history;
                history.recovery_point = history.recovery_point.take().max(date_text(date));
            }
            Event::Replayed { .. }
            | Event::DeltaBegun { .. }
            | Event::Filled(_)
            | Event::LoadBegun(_)
            | Event::RolledBack { .. }
            | Event::Warning { .. } => return false,
        }
        true
    }

    fn total(&self) -> usize {
        self.tables_of_delta.max(self.tables_done)
    }

    fn text(&self) -> String {
        if let Some(percent) = self.reading {
            return format!(
                "reading topic {} to know what it holds: {percent} %",
                self.status.topic
            );
        }
        let Status { deltas, deltas_done, rows, bytes, .. } = &self.status;
        let seconds = self.began.elapsed().as_secs_f64().max(0.001);
        let speed = *bytes as f64 / 1e6 / seconds;
        let (done, of) = (self.tables_done, self.total());
        let left = self.left().map_or_else(|| "?".to_owned(), |left| format!("{left} s"));
        format!(
            "delta {deltas_done} of {deltas}, table {done} of {of}, {rows} rows, {speed:.1} MB/s, \
             {left} left"
        )
    }

    /// Seconds left, from the share of deltas and tables that is done.
    fn left(&self) -> Option<u64> {
        let Status { deltas, deltas_done, .. } = &self.status;
        let of_delta = match self.total() {
            0 => 0.0,
            of => self.tables_done as f64 / of as f64,
        };
        let done = (*deltas_done as f64 + of_delta.min(1.0)).min(*deltas as f64);
        let rest = *deltas as f64 - done;
        (done > 0.0).then(|| (self.began.elapsed().as_secs_f64() * rest / done) as u64)
    }

    fn json(&self) -> String {
        let Status { deltas, deltas_done, rows, bytes, .. } = &self.status;
        serde_json::json!({
            "deltas": deltas,
            "deltasDone": deltas_done,
            "tables": self.total(),
            "tablesDone": self.tables_done,
            "rows": rows,
            "bytes": bytes,
            "seconds": self.began.elapsed().as_secs(),
            "secondsLeft": self.left(),
            "topicRead": self.reading,
        })
        .to_string()
    }
}
