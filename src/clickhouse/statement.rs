//! The commands that are sent to ClickHouse, rendered. Pure. Keys and URLs go as parameters,
//! which no log repeats; names and ids cannot (26.9 refuses them there) and are quoted.

use super::name::{Name, Object, OperationId, quoted, text};
use super::place::{Location, Place};
use super::secret::{Keys, Secret};

/// For what we drop: our own copies only, so neither their size nor what refers to them counts.
const DROP: &str = "SYNC SETTINGS check_table_dependencies = 0, max_table_size_to_drop = 0, \
                    max_partition_size_to_drop = 0";

/// A value that goes beside the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A text that may be seen.
    Text(String),
    /// One that may not.
    Secret(Secret),
}

/// A statement with what goes beside it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statement {
    /// The text.
    pub text: String,
    /// Parameters by name.
    pub parameters: Vec<(&'static str, Value)>,
    /// Settings of the server for this statement.
    pub settings: Vec<(&'static str, String)>,
}

/// A BACKUP or RESTORE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transfer<'a> {
    /// What the server is to know it by.
    pub id: String,
    /// Where.
    pub place: &'a Place,
    /// The keys of the store.
    pub keys: Option<&'a Keys>,
    /// What it builds on.
    pub base: Option<&'a Place>,
    /// Only definitions.
    pub structure_only: bool,
    /// Bytes a second.
    pub bandwidth: Option<u64>,
    /// All servers of it.
    pub cluster: Option<&'a Name>,
    /// How often the server asks a store that does not answer: its own 1000 take hours.
    pub retries: u32,
}

/// What is asked of the server, beside questions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command<'a> {
    /// BACKUP ... ASYNC.
    Backup {
        /// What.
        object: &'a Object,
        /// How.
        transfer: Transfer<'a>,
    },
    /// RESTORE ... ASYNC.
    Restore {
        /// As the backup calls it.
        source: &'a Object,
        /// As it is to be called.
        target: &'a Object,
        /// How.
        transfer: Transfer<'a>,
    },
    /// Makes a database where there is none.
    CreateDatabase {
        /// All servers of it, where one is meant.
        cluster: Option<&'a Name>,
        /// Its name.
        database: &'a Name,
    },
    /// Renames a database.
    RenameDatabase {
        /// Its name.
        from: &'a Name,
        /// Its name from then on.
        to: &'a Name,
    },
    /// Drops a database that is ours.
    DropDatabase {
        /// All servers of it, where one is meant.
        cluster: Option<&'a Name>,
        /// Its name.
        database: &'a Name,
    },
    /// Renames a table; on a cluster wherever it is.
    RenameTable {
        /// All servers of it, where one is meant.
        cluster: Option<&'a Name>,
        /// Its database.
        database: &'a Name,
        /// Its name.
        from: &'a Name,
        /// Its name from then on.
        to: &'a Name,
    },
    /// Swaps two tables at one instant.
    ExchangeTables {
        /// Their database.
        database: &'a Name,
        /// One.
        one: &'a Name,
        /// The other.
        other: &'a Name,
    },
    /// Drops a table that is ours.
    DropTable {
        /// All servers of it, where one is meant.
        cluster: Option<&'a Name>,
        /// Its database.
        database: &'a Name,
        /// Its name.
        table: &'a Name,
    },
    /// Puts a view to sleep; a restart of the server does not wake it.
    Detach {
        /// Its database.
        database: &'a Name,
        /// Its name.
        view: &'a Name,
    },
    /// Wakes it.
    Attach {
        /// Its database.
        database: &'a Name,
        /// Its name.
        view: &'a Name,
    },
    /// Asks a BACKUP or RESTORE to end.
    Kill {
        /// The query that began it.
        query: &'a str,
    },
}

impl Command<'_> {
    /// The statement. One for a whole cluster waits for all hosts, whatever a profile says.
    pub fn render(&self) -> Statement {
        let mut statement = self.rendered();
        if self.cluster().is_some() {
            statement.settings.push(("distributed_ddl_output_mode", "throw".to_owned()));
        }
        statement
    }

    fn cluster(&self) -> Option<&Name> {
        match self {
            Self::CreateDatabase { cluster, .. }
            | Self::DropDatabase { cluster, .. }
            | Self::RenameTable { cluster, .. }
            | Self::DropTable { cluster, .. } => *cluster,
            _ => None,
        }
    }

    fn rendered(&self) -> Statement {
        match self {
            Self::Backup { object, transfer } => {
                transfer.render(&format!("BACKUP {}", whole(object)), "TO")
            }
            Self::Restore { source, target, transfer } => transfer
                .render(&format!("RESTORE {}{}", whole(source), renamed(source, target)), "FROM"),
            Self::CreateDatabase { cluster, database } => {
                plain(format!("CREATE DATABASE IF NOT EXISTS {}{}", quoted(database), on(*cluster)))
            }
            Self::RenameDatabase { from, to } => plain(format!(
                "RENAME DATABASE {} TO {} SETTINGS check_table_dependencies = 0",
                quoted(from),
                quoted(to)
            )),
            Self::DropDatabase { cluster, database } => plain(format!(
                "DROP DATABASE IF EXISTS {}{} {DROP}",
                quoted(database),
                on(*cluster)
            )),
            // Said again until every host of a cluster has done it: some may have, already.
            Self::RenameTable { cluster, database, from, to } => plain(format!(
                "RENAME TABLE {3}{0}.{1} TO {0}.{2}{4} SETTINGS check_table_dependencies = 0",
                quoted(database),
                quoted(from),
                quoted(to),
                if cluster.is_some() { "IF EXISTS " } else { "" },
                on(*cluster)
            )),
            Self::ExchangeTables { database, one, other } => plain(format!(
                "EXCHANGE TABLES {0}.{1} AND {0}.{2}",
                quoted(database),
                quoted(one),
                quoted(other)
            )),
            Self::DropTable { cluster, database, table } => plain(format!(
                "DROP TABLE IF EXISTS {}.{}{} {DROP}",
                quoted(database),
                quoted(table),
                on(*cluster)
            )),
            Self::Detach { database, view } => {
                plain(format!("DETACH TABLE {}.{} PERMANENTLY", quoted(database), quoted(view)))
            }
            Self::Attach { database, view } => {
                plain(format!("ATTACH TABLE {}.{}", quoted(database), quoted(view)))
            }
            Self::Kill { query } => {
                plain(format!("KILL QUERY WHERE query_id = {} ASYNC", text(query)))
            }
        }
    }
}

fn plain(text: String) -> Statement {
    Statement { text, ..Statement::default() }
}

/// What sends a statement to all servers of a cluster.
fn on(cluster: Option<&Name>) -> String {
    cluster.map_or(String::new(), |cluster| format!(" ON CLUSTER {}", quoted(cluster)))
}

fn whole(object: &Object) -> String {
    match &object.table {
        Some(table) => format!("TABLE {}.{}", quoted(&object.database), quoted(table)),
        None => format!("DATABASE {}", quoted(&object.database)),
    }
}

fn renamed(source: &Object, target: &Object) -> String {
    if source == target {
        return String::new();
    }
    match &target.table {
        Some(table) => format!(" AS {}.{}", quoted(&target.database), quoted(table)),
        None => format!(" AS {}", quoted(&target.database)),
    }
}

impl Transfer<'_> {
    fn render(&self, head: &str, way: &str) -> Statement {
        let mut parameters = Vec::new();
        let at = source(self.place, self.keys, "u", &mut parameters);
        if let Some(keys) = self.keys {
            parameters.push(("ak", Value::Secret(keys.access.clone())));
            parameters.push(("sk", Value::Secret(keys.secret.clone())));
        }
        let cluster = on(self.cluster);
        let mut text =
            format!("{head}{cluster} {way} S3({at}) SETTINGS id = {}", self::text(&self.id));
        if let Some(base) = self.base {
            let at = source(base, self.keys, "b", &mut parameters);
            text.push_str(&format!(", base_backup = S3({at})"));
        }
        if self.structure_only {
            text.push_str(", structure_only = 1");
        }
        text.push_str(" ASYNC");
        let mut settings = vec![("backup_restore_s3_retry_attempts", self.retries.to_string())];
        if let Some(bytes) = self.bandwidth {
            settings.push(("max_backup_bandwidth", bytes.to_string()));
        }
        Statement { text, parameters, settings }
    }
}

/// Where a backup lies, as BACKUP and RESTORE are told; its parameter is added.
fn source(
    place: &Place,
    keys: Option<&Keys>,
    parameter: &'static str,
    parameters: &mut Vec<(&'static str, Value)>,
) -> String {
    let (head, value) = match place.location() {
        Location::Url(url) => (String::new(), url),
        Location::Collection { name, rest } => (format!("{}, ", quoted(&name)), rest),
    };
    parameters.push((parameter, Value::Text(value.to_owned())));
    let keys = if keys.is_some() { ", {ak:String}, {sk:String}" } else { "" };
    format!("{head}{{{parameter}:String}}{keys}")
}

/// What the server is to know an attempt by.
pub fn attempt_id(operation: &str, attempt: u32) -> String {
    OperationId::parse(operation).map_or_else(|| operation.to_owned(), |id| id.attempt(attempt))
}

/// The number of an operation's attempt, from what the server knows it by.
pub fn attempt_of(operation: &str, id: &str) -> Option<u32> {
    id.strip_prefix(operation)?.strip_prefix("-a")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::super::place::{Collection, Places};
    use super::*;

    fn name(text: &str) -> Name {
        Name::parse(text).expect("a name")
    }

    fn keys() -> Keys {
        Keys { access: Secret::new("AK".into()), secret: Secret::new("caNary".into()) }
    }

    fn transfer<'a>(place: &'a Place, keys: Option<&'a Keys>) -> Transfer<'a> {
        Transfer {
            id: "op-a1".into(),
            place,
            keys,
            base: None,
            structure_only: false,
            bandwidth: None,
            cluster: None,
            retries: 5,
        }
    }

    #[test]
    fn a_restore_under_another_name_says_as() {
        let place = Place::parse("s3://my-bucket/q1", &Places::default()).expect("a place");
        let keys = keys();
        let source = Object { database: name("quotes"), table: None };
        let target = Object { database: name("quotes_restored"), table: None };
        let transfer = transfer(&place, Some(&keys));
        let command =
            Command::Restore { source: &source, target: &target, transfer: transfer.clone() };
        let statement = command.render();
        assert_eq!(
            statement.text,
            "RESTORE DATABASE `quotes` AS `quotes_restored` FROM S3({u:String}, {ak:String}, \
             {sk:String}) SETTINGS id = 'op-a1' ASYNC"
        );
        assert_eq!(statement.settings, [("backup_restore_s3_retry_attempts", "5".to_owned())]);
        assert!(!format!("{statement:?}").contains("caNary"));
        let same = Command::Restore { source: &source, target: &source, transfer };
        assert!(same.render().text.starts_with("RESTORE DATABASE `quotes` FROM S3("));
    }

    #[test]
    fn options_have_their_places() {
        let at = |key: &str| Place::parse(&format!("s3://my-bucket/{key}"), &Places::default());
        let (place, base) = (at("q2").expect("a place"), at("q1").expect("a place"));
        let cluster = name("c`1");
        let object = Object { database: name("d"), table: Some(name("t")) };
        let transfer = Transfer {
            base: Some(&base),
            structure_only: true,
            bandwidth: Some(1000),
            cluster: Some(&cluster),
            ..transfer(&place, None)
        };
        let statement = Command::Backup { object: &object, transfer }.render();
        assert_eq!(
            statement.text,
            "BACKUP TABLE `d`.`t` ON CLUSTER `c\\`1` TO S3({u:String}) SETTINGS id = 'op-a1', \
             base_backup = S3({b:String}), structure_only = 1 ASYNC"
        );
        assert_eq!(statement.settings[1], ("max_backup_bandwidth", "1000".to_owned()));
    }

    #[test]
    fn a_collection_stands_for_url_and_keys() {
        let collection = Collection::parse("ke`pt=s3://my-bucket").expect("a collection");
        let places = Places { collections: vec![collection], ..Places::default() };
        let at = |path: &str| Place::without_keys(path, &places).expect("a place");
        let (place, base) = (at("s3://my-bucket/q2"), at("s3://my-bucket/q1"));
        let object = Object { database: name("d"), table: None };
        let transfer = Transfer { base: Some(&base), ..transfer(&place, None) };
        let statement = Command::Backup { object: &object, transfer }.render();
        assert_eq!(
            statement.text,
            "BACKUP DATABASE `d` TO S3(`ke\\`pt`, {u:String}) SETTINGS id = 'op-a1', base_backup = \
             S3(`ke\\`pt`, {b:String}) ASYNC"
        );
        let value = |text: &str| Value::Text(text.to_owned());
        assert_eq!(statement.parameters, [("u", value("q2")), ("b", value("q1"))]);
    }

    #[test]
    fn names_stay_in_their_quotes() {
        let evil = name("x` SYNC; DROP DATABASE quotes; --\\");
        let text = Command::DropDatabase { cluster: None, database: &evil }.render().text;
        let quoted = "`x\\` SYNC; DROP DATABASE quotes; --\\\\`";
        assert_eq!(text, format!("DROP DATABASE IF EXISTS {quoted} {DROP}"));
    }

    #[test]
    fn what_is_done_on_a_cluster_is_done_on_all_of_it() {
        let (database, table, beside) = (&name("d"), &name("t"), &name("u"));
        let cluster = &name("c`1");
        let cluster = Some(cluster);
        let rename = Command::RenameTable { cluster, database, from: beside, to: table };
        let cases = [
            (
                Command::CreateDatabase { cluster, database },
                "CREATE DATABASE IF NOT EXISTS `d` ON CLUSTER `c\\`1`".to_owned(),
            ),
            (
                rename,
                "RENAME TABLE IF EXISTS `d`.`u` TO `d`.`t` ON CLUSTER `c\\`1` SETTINGS \
                 check_table_dependencies = 0"
                    .to_owned(),
            ),
            (
                Command::DropTable { cluster, database, table },
                format!("DROP TABLE IF EXISTS `d`.`t` ON CLUSTER `c\\`1` {DROP}"),
            ),
            (
                Command::DropDatabase { cluster, database },
                format!("DROP DATABASE IF EXISTS `d` ON CLUSTER `c\\`1` {DROP}"),
            ),
        ];
        for (command, text) in cases {
            let statement = command.render();
            assert_eq!(statement.text, text);
            let waits = ("distributed_ddl_output_mode", "throw".to_owned());
            assert_eq!(statement.settings, [waits]);
        }
        let place = Place::parse("s3://my-bucket/q1", &Places::default()).expect("a place");
        let transfer = Transfer { cluster, ..transfer(&place, None) };
        let object = |table: &Name| Object { database: name("d"), table: Some(table.clone()) };
        let command =
            Command::Restore { source: &object(table), target: &object(beside), transfer };
        assert_eq!(
            command.render().text,
            "RESTORE TABLE `d`.`t` AS `d`.`u` ON CLUSTER `c\\`1` FROM S3({u:String}) SETTINGS id = \
             'op-a1' ASYNC"
        );
    }
}
