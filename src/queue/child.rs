//! Commands of this program as processes of their own: each with the worker's state directory and
//! the credentials that its task names. Owns how such a process is started, watched and stopped. No
//! secret is among its words. It ends in order when the worker is gone: its stdin is the worker's to
//! hold open.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::{Ending, Runner, RunnerError, Running, Work};
use crate::clickhouse::Secret;

/// Largest document of a command, bytes; what comes after is read and forgotten.
const LARGEST_OUTPUT: usize = 1 << 20;
/// Longest line of its log that is kept, bytes.
const LONGEST_LINE: u64 = 4096;
/// What variables of this program begin with.
const OURS: &str = "DELTAKEEP_";

/// Variables for a command, which can hold secrets.
pub type Credentials = Vec<(String, Secret)>;

/// Starts commands.
#[derive(Clone, Debug)]
pub struct Children {
    /// This program.
    pub program: PathBuf,
    /// Variables of every command: where the journals are, and how it ends.
    pub variables: Vec<(String, String)>,
    /// Names of all variables that a command does not inherit.
    pub hidden: Vec<String>,
    /// Credentials by their names.
    pub credentials: BTreeMap<String, Credentials>,
}

/// A command at work.
pub struct Process {
    child: Child,
    /// Its end ends the command in order.
    life: Option<ChildStdin>,
    begun: watch::Receiver<Option<String>>,
    document: JoinHandle<Vec<u8>>,
    last_line: JoinHandle<String>,
}

impl Runner for Children {
    type Running = Process;

    async fn start(&self, work: &Work) -> Result<Process, RunnerError> {
        let credentials = match &work.credentials {
            None => None,
            Some(name) => Some(
                self.credentials
                    .get(name)
                    .ok_or_else(|| RunnerError::UnknownCredentials { name: name.clone() })?,
            ),
        };
        let mut command = Command::new(&self.program);
        for name in &self.hidden {
            command.env_remove(name);
        }
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        for (name, value) in credentials.into_iter().flatten() {
            command.env(name, value.expose());
        }
        command.args(&work.words);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| not_started(&error))?;
        let (out, err) = (child.stdout.take(), child.stderr.take());
        let (Some(out), Some(err)) = (out, err) else { return Err(not_started(&"no pipes")) };
        let (tell, begun) = watch::channel(None);
        Ok(Process {
            life: child.stdin.take(),
            child,
            begun,
            document: tokio::spawn(document(out)),
            last_line: tokio::spawn(lines(err, tell)),
        })
    }
}

fn not_started(reason: &dyn std::fmt::Display) -> RunnerError {
    RunnerError::NotStarted { reason: reason.to_string() }
}

impl Running for Process {
    async fn begun(&mut self) -> Option<String> {
        // Whoever tells is gone once the command has closed its stderr.
        let told = self.begun.wait_for(Option::is_some).await;
        told.ok().and_then(|run| run.clone())
    }

    async fn ended(&mut self) -> Ending {
        let status = self.child.wait().await;
        // Both end with the process, unless they ended before.
        let document = (&mut self.document).await.unwrap_or_default();
        let last_line = (&mut self.last_line).await.unwrap_or_default();
        ending(status.ok(), &document, last_line)
    }

    fn stop(&mut self) {
        self.life = None;
    }
}

fn ending(status: Option<ExitStatus>, document: &[u8], last_line: String) -> Ending {
    let code = status.and_then(|status| status.code());
    let output: Option<serde_json::Value> = serde_json::from_slice(document).ok();
    let told = output.as_ref().and_then(|output| output["failure"]["message"].as_str());
    let message = match (code, told) {
        (Some(0), _) => String::new(),
        (_, Some(told)) => told.to_owned(),
        (_, None) => last_line,
    };
    Ending { code, output, message }
}

/// The one document on stdout.
async fn document(mut out: impl AsyncRead + Unpin) -> Vec<u8> {
    let mut kept = Vec::new();
    let mut part = [0; 8192];
    loop {
        match out.read(&mut part).await {
            Ok(0) | Err(_) => return kept,
            Ok(read) => {
                let room = LARGEST_OUTPUT.saturating_sub(kept.len());
                kept.extend_from_slice(&part[..read.min(room)]);
            }
        }
    }
}

/// Reads the log; tells of the run, and returns the last line that says what happened.
async fn lines(err: impl AsyncRead + Unpin, begun: watch::Sender<Option<String>>) -> String {
    let mut err = BufReader::new(err);
    let mut last = String::new();
    let mut line = Vec::new();
    loop {
        line.clear();
        // What is longer is read as several lines.
        match (&mut err).take(LONGEST_LINE).read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => return last,
            Ok(_) => {}
        }
        let text = String::from_utf8_lossy(&line);
        let text = text.trim_end();
        tracing::debug!("a command says: {text}");
        if let Some(run) = run_of(text) {
            begun.send_if_modified(|known| {
                let first = known.is_none();
                known.get_or_insert(run);
                first
            });
        } else if let Some(failure) = text.strip_prefix("deltakeep: ") {
            last = failure.to_owned();
        } else if !text.is_empty() && !text.starts_with(['{', ' ']) && !text.starts_with("next: ") {
            last = text.to_owned();
        }
    }
}

/// The run that a line of progress names.
fn run_of(line: &str) -> Option<String> {
    let line: serde_json::Value = serde_json::from_str(line).ok()?;
    line["run"].as_str().map(str::to_owned)
}

/// Why a file of credentials is none. No case repeats a value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CredentialsError {
    /// A line that is no setting.
    #[error("line {line}: NAME=VALUE is wanted")]
    Form {
        /// The line, from 1.
        line: usize,
    },
    /// A variable that is not this program's.
    #[error("line {line}: {name} is no variable of deltakeep's")]
    Foreign {
        /// The line, from 1.
        line: usize,
        /// The variable.
        name: String,
    },
}

/// Reads credentials: a variable a line, as systemd's EnvironmentFile has them; `#` begins a
/// comment, quotes around a value are left out. `own` are the variables that the worker gives to
/// commands itself.
///
/// # Errors
/// [`CredentialsError`].
pub fn credentials(text: &str, own: &[&str]) -> Result<Credentials, CredentialsError> {
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let (line, number) = (line.trim(), number + 1);
        if line.is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        let (name, value) = line.split_once('=').ok_or(CredentialsError::Form { line: number })?;
        let name = name.trim();
        if !name.starts_with(OURS) || own.contains(&name) {
            return Err(CredentialsError::Foreign { line: number, name: name.to_owned() });
        }
        found.push((name.to_owned(), Secret::new(unquoted(value.trim()).to_owned())));
    }
    Ok(found)
}

fn unquoted(value: &str) -> &str {
    let inside = |quote| value.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
    inside('"').or_else(|| inside('\'')).unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> (Children, Work) {
        let children = Children {
            program: "/bin/sh".into(),
            variables: vec![("DELTAKEEP_OUTPUT".into(), "json".into())],
            hidden: vec!["PWD".into()],
            credentials: [(
                "main".to_owned(),
                vec![("DELTAKEEP_TOKEN".to_owned(), Secret::new("caNary".into()))],
            )]
            .into(),
        };
        let words = ["-c", script].map(str::to_owned).to_vec();
        (children, Work { words, credentials: Some("main".into()) })
    }

    async fn run(script: &str) -> (Option<String>, Ending) {
        let (children, work) = shell(script);
        let mut process = children.start(&work).await.expect("started");
        (process.begun().await, process.ended().await)
    }

    #[tokio::test]
    async fn a_run_is_told_of_before_its_end_and_its_document_after_it() {
        let script = r#"echo '{"run":"r-1","resumed":false}' >&2; read gone; echo '{"rows":1}'"#;
        let (children, work) = shell(script);
        let mut process = children.start(&work).await.expect("started");
        assert_eq!(process.begun().await.as_deref(), Some("r-1"));
        assert_eq!(process.begun().await.as_deref(), Some("r-1"), "asked again");
        process.stop();
        let ending = process.ended().await;
        assert_eq!((ending.code, ending.message.as_str()), (Some(0), ""));
        assert_eq!(ending.output, Some(serde_json::json!({ "rows": 1 })));
    }

    #[tokio::test]
    async fn a_command_without_a_run_ends_with_what_it_says() {
        let script = r#"echo 'deltakeep: no topic' >&2; echo 'next: another' >&2; exit 3"#;
        let (begun, ending) = run(script).await;
        assert_eq!((begun, ending.code, ending.message.as_str()), (None, Some(3), "no topic"));
        let script = r#"echo '{"failure":{"code":5,"message":"m","next":"n"}}'; exit 5"#;
        assert_eq!(run(script).await.1.message, "m");
        let (_, ending) = run("kill -9 $$").await;
        assert_eq!((ending.code, ending.output), (None, None));
    }

    #[tokio::test]
    async fn credentials_are_variables_and_nobody_elses() {
        let (_, ending) = run(r#"echo "\"$DELTAKEEP_TOKEN $DELTAKEEP_OUTPUT $0\"""#).await;
        assert_eq!(ending.output, Some("caNary json /bin/sh".into()));
        let (children, work) = shell("true");
        let unknown = Work { credentials: Some("other".into()), ..work.clone() };
        let error = children.start(&unknown).await.map(drop).expect_err("unknown");
        assert_eq!(error, RunnerError::UnknownCredentials { name: "other".into() });
        let absent = Children { program: "/nowhere/at/all".into(), ..children.clone() };
        let error = absent.start(&work).await.map(drop).expect_err("absent");
        assert!(matches!(error, RunnerError::NotStarted { .. }), "{error}");
        assert!(!format!("{children:?}").contains("caNary"));
    }

    #[tokio::test]
    async fn a_flood_of_output_ends_nothing() {
        let (_, ending) = run("yes | head -c 3000000; yes | head -c 300000 >&2; exit 4").await;
        assert_eq!((ending.code, ending.message.as_str()), (Some(4), "y"));
        let (_, ending) = run("head -c 3000000 /dev/zero | tr '\\0' y >&2; exit 4").await;
        assert!(ending.message.len() <= 4096, "a line without an end");
    }

    #[test]
    fn files_of_credentials_hold_variables_of_this_program_only() {
        let text = "# a comment\n\nDELTAKEEP_TOKEN = \"a b\"\r\nDELTAKEEP_CONNECT='x=y'\n";
        let found = credentials(text, &["DELTAKEEP_STATE_DIR"]).expect("credentials");
        let found: Vec<_> =
            found.iter().map(|(name, value)| (name.as_str(), value.expose())).collect();
        assert_eq!(found, [("DELTAKEEP_TOKEN", "a b"), ("DELTAKEEP_CONNECT", "x=y")]);
        for (text, line) in [("DELTAKEEP_X", 1), ("\nPATH=caNary", 2), ("DELTAKEEP_STATE_DIR=x", 1)]
        {
            let error = credentials(text, &["DELTAKEEP_STATE_DIR"]).expect_err(text);
            let text = error.to_string();
            assert!(
                text.starts_with(&format!("line {line}")) && !text.contains("caNary"),
                "{text}"
            );
        }
    }
}
