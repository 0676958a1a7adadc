//! A broker, a runner and a memory of tasks in memory, for the worker's tests. Each thing that a
//! worker does to them is a step of its fuse; connections are lost before or after any effect.

mod broker;
mod runner;
mod tasks;

pub use broker::{Cut, Exchange, MemoryBroker, MemoryDelivery};
pub use runner::{MemoryRunner, Runs};
pub use tasks::MemoryTasks;
