//! What a backup holds, by the names of its definitions, and which of it a restore means. Pure.

use percent_encoding::percent_decode_str;

use super::failure::{Code, TaskError};
use super::name::{Name, Object};

/// Most candidates that a message names.
const NAMED: usize = 10;

/// What lies at a place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// A backup's lock is there.
    pub locked: bool,
    /// The finished backup.
    pub backup: Option<Manifest>,
}

/// What a finished backup says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    /// The id of the statement that wrote it.
    pub id: String,
    /// Databases whose own definition is in it.
    pub databases: Vec<Name>,
    /// Tables, views and dictionaries.
    pub tables: Vec<(Name, Name)>,
}

impl Manifest {
    /// Reads names as the backup spells them: `metadata/<database>[/<table>]`, each percent-encoded
    /// but for letters, digits and underscores.
    pub fn read(id: String, names: &[String]) -> Self {
        let mut manifest = Self { id, ..Self::default() };
        let plain = |text: &str| Name::known(percent_decode_str(text).decode_utf8_lossy());
        for name in names {
            let Some(path) = name.strip_prefix("metadata/") else { continue };
            match path.split_once('/') {
                None => manifest.databases.push(plain(path)),
                Some((database, table)) => manifest.tables.push((plain(database), plain(table))),
            }
        }
        manifest
    }

    /// What in it a request means, where the backup decides the name: the asked one, else the
    /// target's own name, else the only one there is.
    ///
    /// # Errors
    /// [`Code::NotInBackup`], [`Code::AmbiguousSource`].
    pub fn source(
        &self,
        target: &Object,
        database: Option<&Name>,
        table: Option<&Name>,
    ) -> Result<Object, TaskError> {
        match &target.table {
            None => {
                let found = choose(&self.databases, database, &target.database);
                let database = found.map_err(|why| why.error(&self.databases, "database"))?;
                Ok(Object { database: database.clone(), table: None })
            }
            Some(wanted) => {
                let mut databases: Vec<Name> =
                    self.tables.iter().map(|(held, _)| held.clone()).collect();
                databases.sort_unstable();
                databases.dedup();
                let from = choose(&databases, database, &target.database)
                    .map_err(|why| why.error(&databases, "database"))?;
                let held = self.tables.iter().filter(|(held, _)| held == from);
                let tables: Vec<Name> = held.map(|(_, table)| table.clone()).collect();
                let chosen =
                    choose(&tables, table, wanted).map_err(|why| why.error(&tables, "table"))?;
                Ok(Object { database: from.clone(), table: Some(chosen.clone()) })
            }
        }
    }
}

/// Why none can be chosen.
enum Unclear<'a> {
    None(&'a Name),
    Several,
}

impl Unclear<'_> {
    fn error(&self, held: &[Name], what: &str) -> TaskError {
        let names: Vec<_> = held.iter().take(NAMED).map(Name::as_str).collect();
        let names = names.join(", ");
        match self {
            Self::None(name) => {
                let message = format!("the backup has no {what} {name}; it has: {names}");
                TaskError::new(Code::NotInBackup, message)
            }
            Self::Several => {
                let message = format!("the backup has several, name one by source_{what}: {names}");
                TaskError::new(Code::AmbiguousSource, message)
            }
        }
    }
}

fn choose<'a>(
    held: &'a [Name],
    asked: Option<&'a Name>,
    target: &'a Name,
) -> Result<&'a Name, Unclear<'a>> {
    let find = |name: &Name| held.iter().find(|held| *held == name);
    match asked {
        Some(asked) => find(asked).ok_or(Unclear::None(asked)),
        None => match (find(target), held) {
            (Some(same), _) => Ok(same),
            (None, [only]) => Ok(only),
            (None, []) => Err(Unclear::None(target)),
            (None, _) => Err(Unclear::Several),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::parse(text).expect("a name")
    }

    fn object(database: &str, table: Option<&str>) -> Object {
        Object { database: name(database), table: table.map(name) }
    }

    fn manifest(names: &[&str]) -> Manifest {
        let names: Vec<_> = names.iter().map(|name| format!("metadata/{name}")).collect();
        Manifest::read("op-a1".into(), &names)
    }

    #[test]
    fn names_are_read_as_the_server_writes_them() {
        let manifest = manifest(&["quotes", "quotes/we%20ird%2E%D1%82%60x", "quotes/t"]);
        assert_eq!(manifest.databases, [name("quotes")]);
        assert_eq!(manifest.tables[0], (name("quotes"), name("we ird.т`x")));
    }

    #[test]
    fn the_only_database_is_meant_under_any_name() {
        let manifest = manifest(&["quotes", "quotes/t", "quotes/mv"]);
        let meant = |target: &str, asked: Option<&str>| {
            manifest.source(&object(target, None), asked.map(name).as_ref(), None)
        };
        assert_eq!(meant("quotes_restored", None), Ok(object("quotes", None)));
        assert_eq!(meant("quotes", Some("quotes")), Ok(object("quotes", None)));
        assert_eq!(meant("quotes", Some("other")).expect_err("no").code, Code::NotInBackup);
    }

    #[test]
    fn of_several_the_same_name_is_meant_or_one_must_be_named() {
        let manifest = manifest(&["a/t", "a/u", "b/t"]);
        let meant = |database: &str, table: &str, from: Option<&str>, of: Option<&str>| {
            let target = object(database, Some(table));
            manifest.source(&target, from.map(name).as_ref(), of.map(name).as_ref())
        };
        assert_eq!(meant("a", "u", None, None), Ok(object("a", Some("u"))));
        assert_eq!(meant("c", "t", None, None).expect_err("no").code, Code::AmbiguousSource);
        assert_eq!(meant("c", "x", Some("b"), None), Ok(object("b", Some("t"))));
        assert_eq!(meant("c", "x", Some("a"), None).expect_err("no").code, Code::AmbiguousSource);
        assert_eq!(meant("c", "x", Some("a"), Some("u")), Ok(object("a", Some("u"))));
        let whole = manifest.source(&object("a", None), None, None);
        assert_eq!(whole.expect_err("no").code, Code::NotInBackup);
    }
}
