//! The command line: what the seed's examples mean, which source of a setting comes first, and
//! that no token is ever printed.

mod binary;
mod config;
mod meaning;
