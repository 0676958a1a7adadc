//! Where the journals are, when nobody says so. Owns the order of places; creates nothing.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// First line of state/README.md, by which a checkout's folder is known.
const README: &str = "# state/";

/// The state directory: `given` (flag or variable), systemd's, `./state` of a checkout, and last
/// the user's own. None where not even a home is known.
pub fn state_dir(
    given: Option<PathBuf>,
    variable: impl Fn(&str) -> Option<OsString>,
    here: &Path,
) -> Option<PathBuf> {
    given
        .or_else(|| variable("STATE_DIRECTORY").and_then(|list| first_of(&list)))
        .or_else(|| checkout(&here.join("state")))
        .or_else(|| absolute(variable("XDG_STATE_HOME")).map(|home| home.join("deltakeep")))
        .or_else(|| absolute(variable("HOME")).map(|home| home.join(".local/state/deltakeep")))
}

/// systemd gives several folders separated by colons where a unit asks for several.
fn first_of(list: &OsString) -> Option<PathBuf> {
    let first = std::env::split_paths(list).next()?;
    absolute(Some(first.into_os_string()))
}

fn checkout(folder: &Path) -> Option<PathBuf> {
    let readme = std::fs::read_to_string(folder.join("README.md")).ok()?;
    readme.starts_with(README).then(|| folder.to_path_buf())
}

/// Relative paths in these variables are to be ignored (XDG Base Directory Specification).
fn absolute(path: Option<OsString>) -> Option<PathBuf> {
    path.map(PathBuf::from).filter(|path| path.is_absolute())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_place_comes_before_the_next() {
        let here = tempfile::tempdir().expect("a folder");
        let mut variables = vec![
            ("STATE_DIRECTORY", "/var/lib/deltakeep:/other"),
            ("XDG_STATE_HOME", "/xdg"),
            ("HOME", "/home/me"),
        ];
        let find = |given: Option<&str>, variables: &[(&str, &str)]| {
            let of = |name: &str| {
                variables.iter().find(|(n, _)| *n == name).map(|(_, value)| value.into())
            };
            state_dir(given.map(Into::into), of, here.path())
        };
        assert_eq!(find(Some("mine"), &variables), Some("mine".into()));
        assert_eq!(find(None, &variables), Some("/var/lib/deltakeep".into()));
        variables.remove(0);
        assert_eq!(find(None, &variables), Some("/xdg/deltakeep".into()));
        std::fs::create_dir(here.path().join("state")).expect("made");
        assert_eq!(find(None, &variables), Some("/xdg/deltakeep".into()));
        let readme = include_str!("../../state/README.md");
        std::fs::write(here.path().join("state/README.md"), readme).expect("written");
        assert_eq!(find(None, &variables), Some(here.path().join("state")));
        std::fs::remove_dir_all(here.path().join("state")).expect("removed");
        variables[0].1 = "relative";
        assert_eq!(find(None, &variables), Some("/home/me/.local/state/deltakeep".into()));
        assert_eq!(find(None, &[]), None);
    }
}
