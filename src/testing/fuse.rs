//! A fuse: after a number of steps the world stands still, as if the process had been killed.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use tokio::sync::Notify;

/// Counts steps down; at zero every caller waits for ever.
#[derive(Debug)]
pub struct Fuse {
    left: AtomicI64,
    blown: AtomicBool,
    notify: Notify,
}

impl Default for Fuse {
    fn default() -> Self {
        Self {
            left: AtomicI64::new(i64::MAX),
            blown: AtomicBool::new(false),
            notify: Notify::new(),
        }
    }
}

impl Fuse {
    /// Sets it anew: it blows at the `steps`-th step from now, never where there is none.
    pub fn set(&self, steps: Option<i64>) {
        self.left.store(steps.unwrap_or(i64::MAX), Ordering::SeqCst);
        self.blown.store(false, Ordering::SeqCst);
    }

    /// True once it has blown.
    pub fn is_blown(&self) -> bool {
        self.blown.load(Ordering::SeqCst)
    }

    /// Takes a step; true where the world stands still now.
    pub fn burn(&self) -> bool {
        if self.left.fetch_sub(1, Ordering::SeqCst) <= 1 {
            self.blown.store(true, Ordering::SeqCst);
            self.notify.notify_waiters();
            self.notify.notify_one();
        }
        self.is_blown()
    }

    /// Takes a step and never returns where the world stands still.
    pub async fn step(&self) {
        if self.burn() {
            std::future::pending::<()>().await;
        }
    }

    /// Waits until it has blown.
    pub async fn blown(&self) {
        while !self.is_blown() {
            self.notify.notified().await;
        }
    }
}
