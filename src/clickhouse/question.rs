//! The questions that are asked of ClickHouse, rendered. Pure. Changes nothing on the server; keys and
//! URLs go as parameters, as in [`super::statement`].

use super::name::{Name, quoted, text};
use super::place::{Location, Place};
use super::secret::Keys;
use super::statement::{Statement, Value};

/// The question which databases there are; of a cluster, on each of its hosts.
pub fn databases(cluster: Option<&Name>) -> Statement {
    seen(cluster, "SELECT name, toString(uuid) AS uuid, engine", "system.databases", "")
}

/// The question what is in a database; of a cluster, on each of its hosts.
pub fn tables(cluster: Option<&Name>, database: &Name) -> Statement {
    let select = "SELECT name, toString(uuid) AS uuid, engine, total_rows AS rows, total_bytes AS \
                  bytes";
    let only = format!(" WHERE database = {}", text(database.as_str()));
    seen(cluster, select, "system.tables", &only)
}

/// A host that does not answer is an error: nobody knows what it has.
fn seen(cluster: Option<&Name>, select: &str, table: &str, only: &str) -> Statement {
    let Some(cluster) = cluster else { return plain(format!("{select} FROM {table}{only}")) };
    let cluster = text(cluster.as_str());
    let text = format!("{select} FROM clusterAllReplicas({cluster}, {table}){only}");
    let settings = vec![("skip_unavailable_shards", "0".to_owned())];
    Statement { text, settings, ..Statement::default() }
}

/// The question which of `.backup` and `.lock` are at a place.
pub fn listing(place: &Place, keys: Option<&Keys>) -> Statement {
    storage("SELECT _file AS file", place, ".*", "One", None, keys)
}

/// The question what a backup holds: its id, and the names of its definitions. A backup of a cluster
/// has those of each host in a folder of its own, and most of them are the same.
pub fn manifest(place: &Place, keys: Option<&Keys>) -> Statement {
    let text = "SELECT extract(line, '<backup_id>([^<]*)</backup_id>') AS id, \
                arrayDistinct(extractAll(line, \
                '<name>(?:shards/[0-9]+/replicas/[0-9]+/)?(metadata/[^<]*)[.]sql</name>')) AS names";
    storage(text, place, ".backup", "RawBLOB", Some("line String"), keys)
}

/// A question to the table function `s3` about a file at a place.
fn storage(
    select: &str,
    place: &Place,
    file: &str,
    format: &str,
    structure: Option<&str>,
    keys: Option<&Keys>,
) -> Statement {
    let (head, of_file, value, names) = match place.location() {
        Location::Url(url) => (String::new(), "", url, ["", ""]),
        Location::Collection { name, rest } => {
            (format!("{}, ", quoted(&name)), "filename = ", rest, ["format = ", "structure = "])
        }
    };
    let mut parameters = vec![("u", Value::Text(format!("{value}/{file}")))];
    let mut with = "";
    if let Some(keys) = keys {
        parameters.push(("ak", Value::Secret(keys.access.clone())));
        parameters.push(("sk", Value::Secret(keys.secret.clone())));
        with = ", {ak:String}, {sk:String}";
    }
    let structure =
        structure.map_or(String::new(), |structure| format!(", {}{}", names[1], text(structure)));
    let text = format!(
        "{select} FROM s3({head}{of_file}{{u:String}}{with}, {}{}{structure})",
        names[0],
        text(format)
    );
    // Questions before anything is done: a store that does not answer is told of within seconds.
    let settings = vec![("s3_retry_attempts", "2".to_owned())];
    Statement { text, parameters, settings }
}

/// The question whether a table's data are whole.
pub fn check(database: &Name, table: &Name) -> Statement {
    let text = format!(
        "CHECK TABLE {}.{} SETTINGS check_query_single_value_result = 1",
        quoted(database),
        quoted(table)
    );
    plain(text)
}

/// The question how much a statement that works has moved: bytes that it read and sent, and what it
/// asked of an object store. system.backups itself stands still while a large file goes, and while
/// a BACKUP writes at all.
pub fn movement(query: &str) -> Statement {
    plain(format!(
        "SELECT toUInt64(arraySum(mapValues(mapFilter((name, n) -> endsWith(name, 'Bytes') OR \
         match(name, '^S3(Copy|Upload|Put|Get|Complete)'), ProfileEvents)))) AS moved FROM \
         system.processes WHERE query_id = {}",
        text(query)
    ))
}

fn plain(text: String) -> Statement {
    Statement { text, ..Statement::default() }
}

#[cfg(test)]
mod tests {
    use super::super::place::{Collection, Places};
    use super::*;

    #[test]
    fn a_collection_stands_for_url_and_keys() {
        let collection = Collection::parse("ke`pt=s3://my-bucket").expect("a collection");
        let places = Places { collections: vec![collection], ..Places::default() };
        let at = |path: &str| Place::without_keys(path, &places).expect("a place");
        let question = manifest(&at("s3://my-bucket/q2"), None);
        assert!(
            question.text.ends_with(
                "s3(`ke\\`pt`, filename = {u:String}, format = 'RawBLOB', structure = 'line String')"
            ),
            "{}",
            question.text
        );
        assert_eq!(question.parameters, [("u", Value::Text("q2/.backup".to_owned()))]);
        let listed = listing(&at("s3://other/q1"), None).text;
        assert_eq!(listed, "SELECT _file AS file FROM s3({u:String}, 'One')");
    }

    #[test]
    fn all_hosts_of_a_cluster_are_asked_and_none_is_left_out() {
        let (cluster, database) = (Name::known("c'1"), Name::known("d"));
        let asked = tables(Some(&cluster), &database);
        let end = "FROM clusterAllReplicas('c\\'1', system.tables) WHERE database = 'd'";
        assert!(asked.text.ends_with(end), "{}", asked.text);
        assert_eq!(asked.settings, [("skip_unavailable_shards", "0".to_owned())]);
        let alone = databases(None);
        assert!(alone.text.ends_with("engine FROM system.databases"), "{}", alone.text);
        assert!(alone.settings.is_empty());
    }
}
