//! `completions` and `man`: the command line described for shells and readers, from its own
//! definition. Owns no text.

use clap::CommandFactory;

use crate::cli::args::LowArgs;
use crate::cli::console::say;
use crate::cli::exit_code::{ExitCode, Failure};

/// `completions`
pub fn completions(shell: clap_complete::Shell) -> Result<(), Failure> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut LowArgs::command(), "deltakeep", &mut text);
    print(&text)
}

/// `man`: one page, the commands one after the other.
pub fn manual() -> Result<(), Failure> {
    let mut command = LowArgs::command();
    command.build();
    let mut text = Vec::new();
    let failed = |error: std::io::Error| Failure {
        code: ExitCode::Unexpected,
        message: error.to_string(),
        next: "deltakeep help".to_owned(),
    };
    clap_mangen::Man::new(command.clone()).render(&mut text).map_err(failed)?;
    for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
        let page = clap_mangen::Man::new(sub.clone());
        page.render_name_section(&mut text).map_err(failed)?;
        page.render_synopsis_section(&mut text).map_err(failed)?;
        page.render_options_section(&mut text).map_err(failed)?;
    }
    print(&text)
}

fn print(text: &[u8]) -> Result<(), Failure> {
    say(String::from_utf8_lossy(text).trim_end());
    Ok(())
}
