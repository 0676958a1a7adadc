//! Commands of this program as tasks: which there are and which options they take comes in as data.
//! Pure. Owns the words that a payload becomes; never an option that is not allowed by name.

/// How an option takes its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// None: it is there or not. In a payload `true` or `false`.
    Nothing,
    /// One: a text or a number.
    One,
    /// Some, by being repeated: a text, a number, or a list of them.
    Many,
}

/// An option of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OptionRule {
    /// Its long names without dashes: the keys of a payload that mean it. The first is used.
    pub names: Vec<String>,
    /// How it takes its value.
    pub takes: Takes,
    /// Whether a task may give it: not what carries a secret, names a file of this machine or
    /// changes who the worker is.
    pub allowed: bool,
}

/// A command that a task may ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandRule {
    /// The type of the task, also the command's name on the command line.
    pub kind: String,
    /// The key of a payload whose value stands alone, without an option: `run` of `resume`.
    pub subject: Option<String>,
    /// Its options.
    pub options: Vec<OptionRule>,
}
