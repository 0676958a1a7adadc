//! The command line: what the seed's examples mean, which source of a setting comes first, and
//! that no token is ever printed.

mod binary;
#[cfg(feature = "demo")]
mod check;
mod config;
mod finish;
mod known;
mod meaning;
mod restore;
#[cfg(feature = "demo")]
mod topic;
#[cfg(feature = "demo")]
mod worlds;
