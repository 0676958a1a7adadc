//! SIGINT and SIGTERM: the first one asks the run to end in order, a second one ends the process
//! at once. A command that a worker started is also asked by the end of its stdin, which comes by
//! itself when the worker is gone. Owns nothing else.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{oneshot, watch};

use super::console::note;
use super::exit_code::ExitCode;
use super::report::Signal;

/// Set by a worker for the commands that it starts.
pub const ENDS_WITH_STDIN: &str = "DELTAKEEP_ENDS_WITH_STDIN";

/// What was received so far.
#[derive(Clone, Default)]
pub struct Received(Arc<Mutex<Option<Signal>>>);

impl Received {
    /// The first signal, if any came.
    pub fn first(&self) -> Option<Signal> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Listens; the receiver turns true at the first signal.
///
/// # Errors
/// Where the system refuses signal handlers.
pub fn listen() -> std::io::Result<(watch::Receiver<bool>, Received)> {
    let (stop, stopped) = watch::channel(false);
    let received = Received::default();
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut ended = std::env::var_os(ENDS_WITH_STDIN).map(|_| end_of_stdin());
    let first = received.clone();
    tokio::spawn(async move {
        loop {
            let (which, code) = tokio::select! {
                _ = interrupt.recv() => (Signal::Interrupt, ExitCode::Interrupted),
                _ = terminate.recv() => (Signal::Terminate, ExitCode::Terminated),
                () = end_of(&mut ended) => {
                    ended = None;
                    (Signal::Terminate, ExitCode::Terminated)
                }
            };
            let mut seen = first.0.lock().unwrap_or_else(PoisonError::into_inner);
            if seen.is_some() {
                std::process::exit(code as i32);
            }
            *seen = Some(which);
            note("deltakeep: stopping in order; once more to stop at once");
            // The channel lives as long as this task.
            let _ = stop.send(true);
        }
    });
    Ok((stopped, received))
}

/// Tells of the end of stdin. A thread of its own reads it, because a read cannot be given up.
fn end_of_stdin() -> oneshot::Receiver<()> {
    let (tell, ended) = oneshot::channel();
    std::thread::spawn(move || {
        // An error is an end, too.
        let _ = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
        let _ = tell.send(());
    });
    ended
}

/// Waits for the end that is told of; for ever where none is.
async fn end_of(ended: &mut Option<oneshot::Receiver<()>>) {
    match ended {
        Some(ended) => drop(ended.await),
        None => std::future::pending().await,
    }
}
