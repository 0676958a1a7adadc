//! A relay that speaks TLS before a server that does not, as a process (tls_relay.py). Owns that
//! process; checks nothing itself.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::servers::setting;

/// The relay, which wants a client's certificate.
pub struct Relay {
    child: Child,
    pub port: u16,
}

impl Relay {
    /// Before the plain server at HOST:PORT; clients come to this address of ours.
    pub fn start(before: &str, address: &str) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/tls_relay.py");
        let mut command = Command::new(setting("DELTAKEEP_PYTHON"));
        command.arg(script).args([&setting("DELTAKEEP_TEST_CERTIFICATES"), before, address]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("python starts");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("its stdout");
        BufReader::new(stdout).read_line(&mut line).expect("a line");
        let port = line.trim().parse().unwrap_or_else(|_| panic!("no relay: {line:?}"));
        Self { child, port }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
