//! SIGINT and SIGTERM: the first one asks the run to end in order, a second one ends the process
//! at once. Owns nothing else.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use super::exit_code::ExitCode;
use super::report::Signal;

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
    let first = received.clone();
    tokio::spawn(async move {
        loop {
            let (which, code) = tokio::select! {
                _ = interrupt.recv() => (Signal::Interrupt, ExitCode::Interrupted),
                _ = terminate.recv() => (Signal::Terminate, ExitCode::Terminated),
            };
            let mut seen = first.0.lock().unwrap_or_else(PoisonError::into_inner);
            if seen.is_some() {
                std::process::exit(code as i32);
            }
            *seen = Some(which);
            eprintln!("deltakeep: stopping in order; once more to stop at once");
            // The channel lives as long as this task.
            let _ = stop.send(true);
        }
    });
    Ok((stopped, received))
}
