//! Which commands tasks of a queue may ask for, and which of their options: read off the command
//! line's own definitions, so that a new option is known here at once. Owns the list of options that
//! are not for tasks.

use clap::{Arg, ArgAction, Command, CommandFactory};

use super::args::LowArgs;
use crate::queue::{CommandRule, OptionRule, Takes};

/// Commands that a task may ask for, with the key of what stands alone on the command line.
const COMMANDS: [(&str, Option<&str>); 5] = [
    ("backup_to_kafka", None),
    ("restore_from_kafka", None),
    ("resume", Some("run")),
    ("drill", None),
    ("verify", None),
];
/// Options that are not for tasks: they hold secrets, name files or programs of the worker's host,
/// or are the worker's own.
const DENIED: [&str; 13] = [
    "config",
    "kafka_property",
    "kafka_property_core",
    "log_file",
    "metrics_file",
    "on_finish_cmd",
    "on_finish_url",
    "output",
    "report",
    "state_dir",
    "token_file",
    "verbose",
    "yes",
];
/// Variables that a worker gives to its commands itself.
pub const OWN: [&str; 4] = [
    "DELTAKEEP_CONFIG",
    "DELTAKEEP_OUTPUT",
    "DELTAKEEP_STATE_DIR",
    super::signals::ENDS_WITH_STDIN,
];

/// The commands with their options.
pub fn rules() -> Vec<CommandRule> {
    let mut command = LowArgs::command();
    command.build();
    let rule = |(kind, subject): (&str, Option<&str>)| {
        let options = command.find_subcommand(kind).map(options).unwrap_or_default();
        CommandRule { kind: kind.to_owned(), subject: subject.map(str::to_owned), options }
    };
    COMMANDS.into_iter().map(rule).collect()
}

fn options(command: &Command) -> Vec<OptionRule> {
    let named = command.get_arguments().filter(|arg| arg.get_long().is_some());
    let ours = |arg: &&Arg| !matches!(arg.get_action(), ArgAction::Help | ArgAction::Version);
    named.filter(ours).map(option).collect()
}

fn option(arg: &Arg) -> OptionRule {
    let aliases = arg.get_visible_aliases().unwrap_or_default();
    let names = arg.get_long().into_iter().chain(aliases).map(str::to_owned);
    let takes = match arg.get_action() {
        ArgAction::SetTrue | ArgAction::SetFalse | ArgAction::Count => Takes::Nothing,
        ArgAction::Append => Takes::Many,
        _ => Takes::One,
    };
    let allowed = !DENIED.contains(&arg.get_id().as_str());
    OptionRule { names: names.collect(), takes, allowed }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_option_of_every_command_is_known_and_what_is_not_for_tasks_is_denied() {
        let rules = rules();
        assert_eq!(rules.len(), COMMANDS.len());
        let all: Vec<_> = rules.iter().flat_map(|rule| &rule.options).collect();
        assert!(rules.iter().all(|rule| rule.options.len() > 5), "{rules:?}");
        for name in DENIED {
            let mut command = LowArgs::command();
            command.build();
            let known = COMMANDS.iter().any(|(kind, _)| {
                let sub = command.find_subcommand(kind).expect("a command");
                sub.get_arguments().any(|arg| arg.get_id() == name)
            });
            assert!(known || name == "yes", "{name} is denied and there is no such option");
        }
        let find = |name: &'static str| {
            all.iter().filter(move |option| option.names.iter().any(|known| known == name))
        };
        for name in ["stateDir", "output", "tokenFile", "kafkaProperty", "on-finish-cmd", "config"]
        {
            assert!(
                find(name).count() > 0 && find(name).all(|option: &&OptionRule| !option.allowed),
                "{name}"
            );
        }
        for name in ["connect", "topic", "kafkaBrokers", "deltaNum", "chunk-size"] {
            assert!(
                find(name).count() > 0 && find(name).all(|option: &&OptionRule| option.allowed),
                "{name}"
            );
        }
    }

    /// Whoever adds an option decides here whether tasks may give it.
    #[test]
    fn options_that_take_paths_addresses_or_secrets_are_decided_by_name() {
        let mut command = LowArgs::command();
        command.build();
        let allowed = ["PATH", "COMMAND", "URL", "NAME=VALUE"];
        for (kind, _) in COMMANDS {
            let sub = command.find_subcommand(kind).expect("a command");
            for arg in sub.get_arguments() {
                let names = arg.get_value_names().unwrap_or_default();
                let risky = names.iter().any(|name| allowed.contains(&name.as_str()));
                let denied = DENIED.contains(&arg.get_id().as_str());
                assert!(!risky || denied, "{kind} --{:?}", arg.get_long());
            }
        }
    }
}
