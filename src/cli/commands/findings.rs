//! What `check` found: a list of ok, warn and fail, each with what to type next. Owns the forms in
//! which it is printed, and the look at the disk; asks nobody else.

use std::path::{Path, PathBuf};

use serde_json::json;

use crate::cli::exit_code::{ExitCode, Failure};

/// Free space below which a journal may not find room.
const LITTLE: u64 = 64 << 20;
/// Free space below which it surely may not for long.
const NONE: u64 = 4 << 20;

/// How something was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Found {
    Ok,
    Warn,
    Fail,
    Skipped,
}

/// One line of the list.
#[derive(Clone, Debug)]
struct Finding {
    check: &'static str,
    result: Found,
    text: String,
    next: Option<String>,
}

/// The list.
#[derive(Clone, Debug, Default)]
pub struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, check: &'static str, result: Found, text: String, next: Option<String>) {
        self.0.push(Finding { check, result, text, next });
    }

    /// As it should be.
    pub fn ok(&mut self, check: &'static str, text: String) {
        self.add(check, Found::Ok, text, None);
    }

    /// A run would work, but its operator should know.
    pub fn warn(&mut self, check: &'static str, text: String, next: &str) {
        self.add(check, Found::Warn, text, Some(next.to_owned()));
    }

    /// A run would be refused.
    pub fn fail(&mut self, check: &'static str, text: String, next: &str) {
        self.add(check, Found::Fail, text, Some(next.to_owned()));
    }

    /// The same, as a run would say it.
    pub fn failed(&mut self, check: &'static str, failure: Failure) {
        self.add(check, Found::Fail, failure.message, Some(failure.next));
    }

    /// Not looked at, because what it needs failed.
    pub fn skip(&mut self, check: &'static str) {
        self.add(check, Found::Skipped, "not looked at".to_owned(), None);
    }

    /// The list as text.
    pub fn lines(&self) -> Vec<String> {
        let line = |f: &Finding| {
            let next = f.next.as_ref().map(|next| format!("; next: {next}")).unwrap_or_default();
            format!("{:<4} {}: {}{next}", f.result.name(), f.check, f.text)
        };
        self.0.iter().map(line).collect()
    }

    /// The list as a document.
    pub fn json(&self) -> String {
        let one = |f: &Finding| {
            let result = f.result.name();
            json!({ "check": f.check, "result": result, "text": f.text, "next": f.next })
        };
        let checks: Vec<_> = self.0.iter().map(one).collect();
        json!({ "ok": self.failures().next().is_none(), "checks": checks }).to_string()
    }

    fn failures(&self) -> impl Iterator<Item = &Finding> {
        self.0.iter().filter(|finding| finding.result == Found::Fail)
    }

    /// What the command ends with.
    ///
    /// # Errors
    /// [`ExitCode::Refused`] where anything failed.
    pub fn verdict(&self) -> Result<(), Failure> {
        let Some(first) = self.failures().next() else { return Ok(()) };
        let (failed, all) = (self.failures().count(), self.0.len());
        Err(Failure {
            code: ExitCode::Refused,
            message: format!("{failed} of {all} checks failed, first {}", first.check),
            next: first.next.clone().unwrap_or_else(|| "deltakeep check -v".to_owned()),
        })
    }
}

impl Found {
    fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
            Self::Skipped => "skip",
        }
    }
}

/// Whether the journals can be written: rights and free space.
pub fn room(dir: &Path, findings: &mut Findings) {
    const CHECK: &str = "state directory";
    let there = existing(dir);
    let shown = dir.display();
    if let Err(error) = rustix::fs::access(&there, rustix::fs::Access::WRITE_OK) {
        let text = format!("{} cannot be written: {error}", there.display());
        return findings.fail(CHECK, text, "another --stateDir, or rights on this one");
    }
    let free = match rustix::fs::statvfs(&there) {
        Ok(disk) => disk.f_bavail.saturating_mul(disk.f_frsize),
        Err(error) => {
            let text = format!("{shown}: its free space is unknown: {error}");
            return findings.warn(CHECK, text, "df");
        }
    };
    let text = format!("{shown}, {} MiB free", free >> 20);
    match free {
        0..NONE => findings.fail(CHECK, text, "room on that disk, or another --stateDir"),
        NONE..LITTLE => findings.warn(CHECK, text, "room on that disk"),
        LITTLE.. => findings.ok(CHECK, text),
    }
}

/// The folder itself, or the nearest one above it that is there.
fn existing(dir: &Path) -> PathBuf {
    let there = dir.ancestors().find(|folder| folder.is_dir());
    there.filter(|there| !there.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_failure_among_others_refuses_and_tells_what_to_type() {
        let mut findings = Findings::default();
        findings.ok("node", "answers".to_owned());
        findings.warn("topic", "forgets".to_owned(), "alter it");
        assert_eq!(findings.verdict(), Ok(()));
        findings.fail("lock", "held".to_owned(), "deltakeep unlock");
        let failure = findings.verdict().expect_err("a failure");
        assert_eq!((failure.code, failure.next.as_str()), (ExitCode::Refused, "deltakeep unlock"));
        assert_eq!(findings.lines()[1], "warn topic: forgets; next: alter it");
        assert!(findings.json().contains(r#""ok":false"#));
    }

    #[test]
    fn a_state_directory_that_is_not_there_yet_is_judged_by_what_is_above_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut findings = Findings::default();
        room(&folder.path().join("a/b"), &mut findings);
        room(Path::new("/proc/none"), &mut findings);
        assert_eq!(findings.lines().len(), 2);
        assert!(findings.lines()[0].contains("MiB free"), "{:?}", findings.lines());
    }
}
