//! `config show`: every setting with its value and who set it. Owns the wording; the values come
//! without their secrets.

use std::path::Path;

use serde_json::json;

use crate::cli::args::Output;
use crate::cli::config::{Origin, Setting};
use crate::cli::console::say;
use crate::cli::exit_code::Failure;

/// `config show`
pub fn show(settings: &[Setting], dir: &Path, output: Output) -> Result<(), Failure> {
    let mut settings = settings.to_vec();
    for setting in settings.iter_mut().filter(|setting| setting.name == "stateDir") {
        setting.value = Some(dir.display().to_string());
    }
    settings.push(token());
    settings.sort_by(|a, b| a.name.cmp(&b.name));
    match output {
        Output::Json => {
            let documents: Vec<_> = settings.iter().map(document).collect();
            say(&json!({ "settings": documents }).to_string());
        }
        Output::Text => settings.iter().for_each(|setting| say(&line(setting))),
    }
    Ok(())
}

/// The one setting that is no option.
fn token() -> Setting {
    let name = "token".to_owned();
    let set = std::env::var_os("DELTAKEEP_TOKEN").filter(|token| !token.is_empty());
    match set {
        Some(_) => {
            let origin = Origin::Variable("DELTAKEEP_TOKEN".to_owned());
            Setting { name, value: Some("[secret]".to_owned()), origin }
        }
        None => Setting { name, value: None, origin: Origin::Default },
    }
}

fn origin(origin: &Origin) -> (&'static str, Option<String>) {
    match origin {
        Origin::Flag => ("flag", None),
        Origin::Variable(name) => ("env", Some(name.clone())),
        Origin::File(path, line) => ("file", Some(format!("{}:{line}", path.display()))),
        Origin::Default => ("default", None),
    }
}

fn line(setting: &Setting) -> String {
    let (kind, from) = origin(&setting.origin);
    let from = from.map(|from| format!(" {from}")).unwrap_or_default();
    let value = setting.value.as_deref().unwrap_or("-");
    format!("{:<20} {value}  ({kind}{from})", setting.name)
}

fn document(setting: &Setting) -> serde_json::Value {
    let (kind, from) = origin(&setting.origin);
    json!({ "name": setting.name, "value": setting.value, "origin": kind, "from": from })
}
