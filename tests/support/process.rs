//! The binary under test: how it is started, stopped by a signal, waited for and killed. Owns its
//! processes; knows nothing of what they do.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// No command takes longer.
const LONGEST: Duration = Duration::from_secs(150);

/// Commands that share a connection and a state directory.
#[derive(Clone)]
pub struct Keep {
    /// HOST:PORT/DATAMART.
    pub connect: String,
    /// The state directory.
    pub state: PathBuf,
    /// Where output is kept.
    pub folder: PathBuf,
    /// Variables of the environment; there are no others.
    pub variables: Vec<(String, String)>,
}

/// What a finished process left.
#[derive(Debug)]
pub struct Done {
    /// None where it was killed.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// A process at work.
pub struct Process {
    child: Child,
    output: PathBuf,
}

impl Keep {
    pub fn new(folder: &Path, node: &str, datamart: &str) -> Self {
        Self {
            connect: format!("{node}/{datamart}"),
            state: folder.join("state"),
            folder: folder.to_owned(),
            variables: Vec::new(),
        }
    }

    /// The same, with a state directory of its own.
    pub fn elsewhere(&self, name: &str) -> Self {
        Self { state: self.folder.join(name), ..self.clone() }
    }

    /// Starts a command with the connection and state directory given.
    pub fn start(&self, words: &[&str]) -> Process {
        self.start_as(&["--connect", &self.connect], words)
    }

    /// Starts a command that finds its connection elsewhere.
    pub fn start_as(&self, before: &[&str], words: &[&str]) -> Process {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let output = self.folder.join(format!("output-{number}"));
        let file = |name: &str| File::create(output.with_extension(name)).expect("a file");
        let mut command = Command::new(env!("CARGO_BIN_EXE_deltakeep"));
        command.env_clear().env("HOME", &self.folder).env("DELTAKEEP_STATE_DIR", &self.state);
        command.envs(self.variables.iter().cloned()).current_dir(&self.folder);
        command.args(before).args(words).stdin(Stdio::null());
        command.stdout(file("out")).stderr(file("err"));
        Process { child: command.spawn().expect("the binary starts"), output }
    }

    /// Runs a command to its end.
    pub fn run(&self, words: &[&str]) -> Done {
        self.start(words).wait()
    }

    /// Runs a command to its end and requires this exit code.
    pub fn expect(&self, code: i32, words: &[&str]) -> Done {
        let done = self.run(words);
        assert_eq!(done.code, Some(code), "{words:?}: {done}");
        done
    }
}

impl Process {
    /// Waits for the end.
    pub fn wait(self) -> Done {
        self.wait_for(LONGEST).unwrap_or_else(|done| panic!("not done in {LONGEST:?}: {done}"))
    }

    /// Waits so long, then kills -9: the error is what it had printed by then.
    pub fn wait_for(mut self, time: Duration) -> Result<Done, Done> {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("its status") {
                return Ok(self.done(status.code()));
            }
            let left = time.saturating_sub(began.elapsed());
            if left.is_zero() {
                return self.kill();
            }
            std::thread::sleep(left.min(Duration::from_millis(5)));
        }
    }

    /// kill -9; Ok where it had ended by itself just before.
    fn kill(mut self) -> Result<Done, Done> {
        self.child.kill().expect("killed");
        let code = self.child.wait().expect("its status").code();
        let done = self.done(code);
        if code.is_some() { Ok(done) } else { Err(done) }
    }

    /// Sends a signal by its name.
    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args([&format!("-{name}"), &pid]).status();
        assert!(sent.expect("kill runs").success(), "no {name} for {pid}");
    }

    pub fn is_alive(&mut self) -> bool {
        self.child.try_wait().expect("its status").is_none()
    }

    /// Its number, as messages name it.
    pub fn pid(&self) -> String {
        self.child.id().to_string()
    }

    /// What stdout holds so far.
    pub fn stdout(&self) -> String {
        read(&self.output.with_extension("out"))
    }

    /// What stderr holds so far.
    pub fn stderr(&self) -> String {
        read(&self.output.with_extension("err"))
    }

    /// Waits until stderr holds this text.
    pub fn await_stderr(&mut self, text: &str) {
        let began = Instant::now();
        while !self.stderr().contains(text) {
            let ended = self.child.try_wait().expect("its status");
            let late = began.elapsed() > LONGEST;
            assert!(ended.is_none() && !late, "no {text:?} before {ended:?}: {}", self.stderr());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until so many lines of stdout hold this text, the process ends, or the time is over.
    pub fn meet_line(&mut self, text: &str, nth: usize, within: Duration) {
        let began = Instant::now();
        while self.stdout().matches(text).count() < nth && began.elapsed() < within {
            if !self.is_alive() {
                break;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Waits until a line of stdout holds this text.
    pub fn await_line(&mut self, text: &str) {
        let began = Instant::now();
        while !self.stdout().contains(text) {
            let ended = self.child.try_wait().expect("its status");
            let late = began.elapsed() > LONGEST;
            assert!(ended.is_none() && !late, "no {text:?} before {ended:?}: {}", self.stdout());
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn done(&self, code: Option<i32>) -> Done {
        let [stdout, stderr] = ["out", "err"].map(|name| {
            let path = self.output.with_extension(name);
            let text = read(&path);
            let _ = std::fs::remove_file(path);
            text
        });
        Done { code, stdout, stderr }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read(path: &Path) -> String {
    String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned()
}

impl Done {
    /// The run that stdout names.
    pub fn run(&self) -> Option<String> {
        let (_, rest) = self.stdout.split_once(", run ")?;
        rest.get(..36).map(str::to_owned)
    }

    /// The last full line of stdout.
    pub fn last_line(&self) -> &str {
        self.stdout.lines().next_back().unwrap_or("nothing printed")
    }
}

impl std::fmt::Display for Done {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "exit {:?}\n--- stdout\n{}--- stderr\n{}", self.code, self.stdout, self.stderr)
    }
}
