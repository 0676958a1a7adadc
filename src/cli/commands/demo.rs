//! `demo`: tells the story on stdout. Owns nothing of it.

use crate::cli::console::say;
use crate::cli::exit_code::{ExitCode, Failure};
use crate::demo;

/// `demo`
pub async fn demo() -> Result<(), Failure> {
    demo::tell(&say).await.map_err(|error| Failure {
        code: ExitCode::Unexpected,
        message: error.to_string(),
        next: "deltakeep demo -vv, and please report what it says".to_owned(),
    })
}
