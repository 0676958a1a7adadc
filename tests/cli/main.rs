//! The command line: what the seed's examples mean, which source of a setting comes first, and
//! that no token is ever printed.

mod binary;
#[cfg(feature = "demo")]
mod check;
mod config;
mod known;
mod meaning;
#[cfg(feature = "demo")]
mod topic;
#[cfg(feature = "demo")]
mod worlds;
