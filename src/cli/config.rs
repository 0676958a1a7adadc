//! The settings file (`--config`): its grammar, and its place between the environment and the
//! defaults. Owns which keys there are: every option that a variable can set, by the same name.
//! Never gives a value a meaning: that is clap's and `settings`.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::error::{ContextKind, ContextValue};
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, Command, CommandFactory, FromArgMatches};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::args::LowArgs;
use super::connect::{mask, mask_typed, tells_secret};
use super::exit_code::{ExitCode, Failure};

/// Why a settings file is not taken. No case repeats a value: it can be a secret.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// It cannot be read.
    #[error("--config {}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Something at a line of it.
    #[error("{}, line {line}: {what}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong there.
        what: String,
    },
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        let next = match &error {
            ConfigError::File { .. } => "the command again with another --config",
            ConfigError::Line { .. } => "deltakeep config show, once the file is corrected",
        };
        Self { code: ExitCode::Usage, message: error.to_string(), next: next.to_owned() }
    }
}

/// Why there are no words to work with.
#[derive(Debug)]
pub enum WordsError {
    /// The command line itself; clap's text says what.
    Words(clap::Error),
    /// The settings file.
    File(ConfigError),
}

/// What was typed, with the settings file taken in.
#[derive(Debug)]
pub struct Words {
    /// As clap reads it.
    pub args: LowArgs,
    /// Every setting with its origin, for `config show`.
    pub settings: Vec<Setting>,
    /// What to say before anything is done.
    pub warnings: Vec<String>,
}

/// A setting as `config show` prints it. Secrets are hidden already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The keyword without its dashes.
    pub name: String,
    /// What it is set to, or what its default is.
    pub value: Option<String>,
    /// Who set it.
    pub origin: Origin,
}

/// Who set a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The command line.
    Flag,
    /// This variable.
    Variable(String),
    /// The settings file, at this line.
    File(PathBuf, usize),
    /// Nobody.
    Default,
}

/// What a key of the file says.
struct Entry {
    values: Vec<String>,
    line: usize,
}

/// Reads the command line and the settings file that it or the environment names.
///
/// # Errors
/// [`WordsError`].
pub fn read(argv: &[OsString]) -> Result<Words, WordsError> {
    let mut command = LowArgs::command();
    command.build();
    let typed = command.try_get_matches_from_mut(argv).map_err(WordsError::Words)?;
    let path = deepest(&command, &typed).1.get_one::<PathBuf>("config").cloned();
    let Some(path) = path else { return words(&command, &typed, BTreeMap::new(), None) };
    let (entries, warnings) = load(&command, &path).map_err(WordsError::File)?;
    let (sub, given) = deepest(&command, &typed);
    let free = entries.into_iter().filter(|(id, _)| takes(sub, id) && !is_given(given, id));
    let added: BTreeMap<String, Entry> = free.collect();
    let longer = with_words(argv, &command, &added);
    let matches = command.try_get_matches_from_mut(&longer);
    let matches = matches.map_err(|e| WordsError::File(of_clap(&e, &command, &added, &path)))?;
    let mut words = words(&command, &matches, added, Some(&path))?;
    words.warnings = warnings;
    Ok(words)
}

fn words(
    command: &Command,
    matches: &ArgMatches,
    added: BTreeMap<String, Entry>,
    path: Option<&Path>,
) -> Result<Words, WordsError> {
    let args = LowArgs::from_arg_matches(matches).map_err(WordsError::Words)?;
    let (sub, given) = deepest(command, matches);
    let of_file = |id: &str| Some(Origin::File(path?.to_owned(), added.get(id)?.line));
    let settings = options(sub).map(|arg| setting(arg, given, of_file(arg.get_id().as_str())));
    Ok(Words { args, settings: settings.collect(), warnings: Vec::new() })
}

/// The command that was asked for, below all others, and what was given to it.
fn deepest<'a>(command: &'a Command, matches: &'a ArgMatches) -> (&'a Command, &'a ArgMatches) {
    let mut place = (command, matches);
    while let Some((name, inner)) = place.1.subcommand() {
        let Some(sub) = place.0.find_subcommand(name) else { break };
        place = (sub, inner);
    }
    place
}

/// Options that a file can set: those that a variable can set.
fn options(command: &Command) -> impl Iterator<Item = &Arg> {
    let settable = |arg: &&Arg| arg.get_env().is_some() && arg.get_long().is_some();
    command.get_arguments().filter(settable)
}

fn takes(command: &Command, id: &str) -> bool {
    options(command).any(|arg| arg.get_id() == id)
}

fn is_given(matches: &ArgMatches, id: &str) -> bool {
    matches!(matches.value_source(id), Some(ValueSource::CommandLine | ValueSource::EnvVariable))
}

/// The option of a key: the keyword, or one of its other spellings.
fn option<'a>(command: &'a Command, key: &str) -> Option<&'a Arg> {
    let named = |arg: &&Arg| {
        let others = arg.get_visible_aliases().unwrap_or_default();
        arg.get_long() == Some(key) || others.contains(&key)
    };
    settable(command).find(named).filter(|arg| arg.get_id() != "config")
}

/// Commands whose options a file can set: those that several have are the same.
const SET: [&str; 4] = ["backup_to_kafka", "restore_from_kafka", "clickhouse", "worker"];

fn settable(command: &Command) -> impl Iterator<Item = &Arg> {
    SET.into_iter().filter_map(|name| command.find_subcommand(name)).flat_map(options)
}

fn load(
    command: &Command,
    path: &Path,
) -> Result<(BTreeMap<String, Entry>, Vec<String>), ConfigError> {
    let failed = |source| ConfigError::File { path: path.to_owned(), source };
    let text = std::fs::read_to_string(path).map_err(failed)?;
    let wrong = |at: usize, what: String| {
        let line = text.get(..at).unwrap_or_default().matches('\n').count() + 1;
        ConfigError::Line { path: path.to_owned(), line, what }
    };
    let table = DeTable::parse(&text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        wrong(at, error.message().to_owned())
    })?;
    let mut entries: BTreeMap<String, Entry> = BTreeMap::new();
    for (key, value) in table.get_ref() {
        let (name, at) = (key.get_ref().as_ref(), key.span().start);
        let arg = option(command, name).ok_or_else(|| wrong(at, unknown(name)))?;
        let values = values(arg, value).map_err(|what| wrong(at, format!("{name} {what}")))?;
        let line = text.get(..at).unwrap_or_default().matches('\n').count() + 1;
        if entries.insert(arg.get_id().to_string(), Entry { values, line }).is_some() {
            return Err(wrong(at, format!("{name} is set twice, in two spellings")));
        }
    }
    let secret = entries.values().flat_map(|entry| &entry.values).any(|value| tells_secret(value));
    let warnings = if secret { open_to_others(path) } else { None };
    Ok((entries, warnings.into_iter().collect()))
}

fn unknown(name: &str) -> String {
    match name {
        "token" => "a token is not kept here: tokenFile = \"PATH\", or DELTAKEEP_TOKEN".to_owned(),
        _ => format!("{name:?} is no setting; deltakeep config show lists them"),
    }
}

fn open_to_others(path: &Path) -> Option<String> {
    use std::os::unix::fs::PermissionsExt;

    let mode = std::fs::metadata(path).ok()?.permissions().mode();
    let path = path.display();
    (mode & 0o077 != 0).then(|| format!("others can read the secrets in {path}; chmod 600 {path}"))
}

/// The words of a value; none for a flag that is not set.
fn values(arg: &Arg, value: &Spanned<DeValue<'_>>) -> Result<Vec<String>, &'static str> {
    let flag = matches!(arg.get_action(), ArgAction::SetTrue);
    let list = matches!(arg.get_action(), ArgAction::Append);
    match value.get_ref() {
        DeValue::Boolean(on) if flag => Ok(on.then(|| "true".to_owned()).into_iter().collect()),
        _ if flag => Err("is true or false"),
        DeValue::Array(items) if list => {
            let text = |item: &Spanned<DeValue<'_>>| match item.get_ref() {
                DeValue::String(text) => Ok(text.to_string()),
                _ => Err("is a list of texts"),
            };
            items.iter().map(text).collect()
        }
        DeValue::String(text) => Ok(vec![text.to_string()]),
        DeValue::Integer(_) if list => Err("is a list of texts"),
        DeValue::Integer(number) => Ok(vec![number.to_string()]),
        DeValue::Float(_)
        | DeValue::Boolean(_)
        | DeValue::Datetime(_)
        | DeValue::Array(_)
        | DeValue::Table(_) => Err("is a text or a whole number"),
    }
}

/// The command line with the file's settings behind it, as if they had been typed.
fn with_words(
    argv: &[OsString],
    command: &Command,
    added: &BTreeMap<String, Entry>,
) -> Vec<OsString> {
    let options: Vec<&Arg> = settable(command).collect();
    let word = |id: &String, value: &String| {
        let arg = options.iter().find(|arg| arg.get_id() == id.as_str())?;
        let long = arg.get_long()?;
        let flag = matches!(arg.get_action(), ArgAction::SetTrue);
        Some(OsString::from(if flag { format!("--{long}") } else { format!("--{long}={value}") }))
    };
    let words = added
        .iter()
        .flat_map(|(id, entry)| entry.values.iter().filter_map(move |value| word(id, value)));
    let end = argv.iter().position(|word| word == "--").unwrap_or(argv.len());
    let mut longer = argv[..end].to_vec();
    longer.extend(words);
    longer.extend_from_slice(&argv[end..]);
    longer
}

/// What clap has against a value of the file. The typed words alone were fine.
fn of_clap(
    error: &clap::Error,
    command: &Command,
    added: &BTreeMap<String, Entry>,
    path: &Path,
) -> ConfigError {
    let about = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(text)) => text.split_whitespace().next().unwrap_or_default(),
        _ => "",
    };
    let arg = option(command, about.trim_start_matches("--"));
    let entry = arg.and_then(|arg| added.get(arg.get_id().as_str()));
    let values = added.values().flat_map(|entry| &entry.values);
    let values: Vec<OsString> = values.map(OsString::from).collect();
    let text = mask_typed(&error.render().to_string(), &values);
    let first = text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned();
    let line = entry.map_or(1, |entry| entry.line);
    ConfigError::Line { path: path.to_owned(), line, what: first }
}

fn setting(arg: &Arg, given: &ArgMatches, of_file: Option<Origin>) -> Setting {
    let id = arg.get_id().as_str();
    let name = arg.get_long().unwrap_or(id).to_owned();
    let variable = || arg.get_env().unwrap_or_default().to_string_lossy().into_owned();
    let origin = match (of_file, given.value_source(id)) {
        (Some(of_file), _) => of_file,
        (None, Some(ValueSource::CommandLine)) => Origin::Flag,
        (None, Some(ValueSource::EnvVariable)) => Origin::Variable(variable()),
        (None, _) => Origin::Default,
    };
    let raw = given.get_raw(id).map(|values| values.map(|v| v.to_string_lossy().into_owned()));
    let raw: Vec<String> = raw.into_iter().flatten().flat_map(|v| split(arg, &v)).collect();
    let flag = matches!(arg.get_action(), ArgAction::SetTrue);
    let value = match &origin {
        _ if flag => Some(given.get_flag(id).to_string()),
        Origin::Default => default_of(arg),
        Origin::Flag | Origin::Variable(_) | Origin::File(..) => {
            Some(raw.iter().map(|value| shown(id, value)).collect::<Vec<_>>().join(", "))
        }
    };
    Setting { name, value, origin }
}

fn split(arg: &Arg, value: &str) -> Vec<String> {
    match arg.get_value_delimiter() {
        Some(delimiter) => value.split(delimiter).map(str::to_owned).collect(),
        None => vec![value.to_owned()],
    }
}

/// What the help says of the default, so that it is said in one place.
fn default_of(arg: &Arg) -> Option<String> {
    if let Some(value) = arg.get_default_values().first() {
        return Some(value.to_string_lossy().into_owned());
    }
    let help = arg.get_help()?.to_string();
    let text = help.split_once("[default: ")?.1;
    Some(text.split_once(']')?.0.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// A value without its secrets.
fn shown(id: &str, value: &str) -> String {
    match (id, value.split_once('=')) {
        ("kafka_property" | "kafka_property_core", Some((_, path))) if path.starts_with('@') => {
            value.to_owned()
        }
        ("kafka_property" | "kafka_property_core", parts) => {
            format!("{}=[secret]", parts.map_or("", |(name, _)| name))
        }
        ("on_finish_url", _) => host_of(value),
        _ => mask(value),
    }
}

/// An address up to its host: what follows often is a key.
fn host_of(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return "[secret]".to_owned() };
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = host.rsplit('@').next().unwrap_or_default();
    format!("{scheme}://{host}/[secret]")
}
