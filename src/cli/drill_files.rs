//! The reports of a drill as files. Owns their names; readers see an old file or a new one, never
//! a part.

use std::path::{Path, PathBuf};

use crate::drill::report::{junit, page};
use crate::drill::{Publish, Report};

/// Writes into a folder; nothing where there is none.
pub struct Files(pub Option<PathBuf>);

impl Publish for Files {
    fn publish(&self, report: &Report) -> Result<(), String> {
        let Some(folder) = &self.0 else { return Ok(()) };
        let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
        std::fs::create_dir_all(folder).map_err(failed)?;
        let files = [
            ("drill.json", report.to_json() + "\n"),
            ("drill.xml", junit(report)),
            ("drill.html", page(report)),
        ];
        for (name, text) in files {
            replace(&folder.join(name), &text).map_err(failed)?;
        }
        Ok(())
    }
}

fn replace(path: &Path, text: &str) -> std::io::Result<()> {
    let young = path.with_extension(format!("new-{}", std::process::id()));
    std::fs::write(&young, text)?;
    std::fs::rename(&young, path)
}
