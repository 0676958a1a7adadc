//! Random histories of a datamart, as statements for a node: tables that come, go and come back,
//! views, deltas that add, replace and remove rows, empty ones, keys written again and again inside
//! one delta, all types with their extremes and NULLs. Owns what a history can hold; sends nothing.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::Chance;

/// Columns of the tables, by what they are good for; the first ones are the key.
const ALL_TYPES: &[(&str, &str)] = &[
    ("id", "bigint"),
    ("b", "boolean"),
    ("i32", "int32"),
    ("i", "int"),
    ("f", "float"),
    ("d", "double"),
    ("c", "char(10)"),
    ("v", "varchar"),
    ("v20", "varchar(20)"),
    ("u", "uuid"),
    ("l", "link"),
    ("dt", "date"),
    ("t", "time"),
    ("ts", "timestamp"),
];
const TWO_KEYS: &[(&str, &str)] =
    &[("k1", "int"), ("k2", "varchar(20)"), ("v", "varchar"), ("n", "int32"), ("d", "double")];
const SMALL: &[(&str, &str)] = &[("id", "bigint"), ("v", "varchar")];

/// Keys are few, so that rows are replaced and removed.
const KEYS: u64 = 14;

/// A delta and what came before it.
pub struct Delta {
    /// Schema changes since the delta before.
    pub changes: Vec<String>,
    /// Statements between BEGIN and COMMIT.
    pub writes: Vec<String>,
    /// `yyyy-MM-dd HH:mm:ss`.
    pub date: String,
}

struct Table {
    columns: &'static [(&'static str, &'static str)],
    views: BTreeSet<String>,
}

/// A datamart whose history goes on.
pub struct History {
    chance: Chance,
    tables: BTreeMap<String, Table>,
    views: u64,
    seconds: u64,
    deltas: u64,
    /// (delta, table) in which keys repeat: only the state at the delta's end must be equal.
    pub repeated: BTreeSet<(u64, String)>,
}

impl History {
    pub fn new(seed: u64) -> Self {
        Self {
            chance: Chance::new(seed),
            tables: BTreeMap::new(),
            views: 0,
            seconds: 0,
            deltas: 0,
            repeated: BTreeSet::new(),
        }
    }

    /// Names of the tables that there are now.
    pub fn tables(&self) -> Vec<String> {
        self.tables.keys().cloned().collect()
    }

    /// Deltas so far.
    pub fn deltas(&self) -> u64 {
        self.deltas
    }

    pub fn chance(&mut self) -> &mut Chance {
        &mut self.chance
    }

    /// What must be answered alike, but for [`answer`], by the datamart and by what it was restored
    /// into: dates, rows and sums at every delta, the changelog.
    pub fn questions(&self) -> Vec<String> {
        let mut questions = vec!["GET_CHANGES()".to_owned(), "GET_DELTA_HOT()".to_owned()];
        for delta in 0..self.deltas {
            questions.push(format!("GET_DELTA_BY_NUM({delta})"));
            for table in self.tables.keys() {
                let at = format!("FOR SYSTEM_TIME AS OF DELTA_NUM {delta}");
                questions.push(format!("SELECT * FROM {table} {at}"));
                questions.push(format!("CHECK_SUM_SNAPSHOT({delta}, {table})"));
                if !self.repeated.contains(&(delta, table.clone())) {
                    questions.push(format!("CHECK_SUM({delta}, {table})"));
                }
            }
        }
        questions
    }

    /// Schema changes at any time between two deltas.
    pub fn changes(&mut self) -> Vec<String> {
        let count = if self.tables.is_empty() { 2 } else { self.chance.below(3) };
        (0..count).flat_map(|_| self.change()).collect()
    }

    fn change(&mut self) -> Vec<String> {
        let name = format!("t{}", self.chance.below(4));
        let Some(table) = self.tables.get_mut(&name) else { return vec![self.create(name)] };
        if self.chance.percent(35) {
            let mut drops: Vec<_> = table.views.iter().map(|v| format!("DROP VIEW {v}")).collect();
            self.tables.remove(&name);
            drops.push(format!("DROP TABLE {name}"));
            return drops;
        }
        self.views += 1;
        let (key, second) = (table.columns[0].0, table.columns[1].0);
        let select = format!("SELECT {key}, {second} FROM {name} WHERE {key} > 3");
        let view = format!("v{}", self.views);
        let mut changes = vec![format!("CREATE VIEW {view} AS {select}")];
        match self.chance.below(4) {
            0 => changes.push(format!("ALTER VIEW {view} AS SELECT {second} FROM {name}")),
            1 => changes.push(format!("DROP VIEW {view}")),
            _ => {}
        }
        if !changes.iter().any(|change| change.starts_with("DROP")) {
            table.views.insert(view);
        }
        changes
    }

    fn create(&mut self, name: String) -> String {
        let columns = *self.chance.pick(&[ALL_TYPES, ALL_TYPES, TWO_KEYS, SMALL]);
        let keys = keys(columns);
        let column = |(at, (name, kind)): (usize, &(&str, &str))| {
            format!("{name} {kind}{}", if at < keys { " not null" } else { "" })
        };
        let declared: Vec<_> = columns.iter().enumerate().map(column).collect();
        let key: Vec<_> = columns[..keys].iter().map(|(name, _)| *name).collect();
        let (declared, key) = (declared.join(", "), key.join(", "));
        let first = columns[0].0;
        let text = format!(
            "CREATE TABLE {name} ({declared}, PRIMARY KEY ({key})) DISTRIBUTED BY ({first})"
        );
        self.tables.insert(name, Table { columns, views: BTreeSet::new() });
        text
    }

    /// The next delta.
    pub fn delta(&mut self) -> Delta {
        let changes = self.changes();
        let mut writes = Vec::new();
        if !self.chance.percent(15) {
            for name in self.tables() {
                if self.chance.percent(75) {
                    writes.extend(self.writes(&name));
                }
            }
        }
        self.deltas += 1;
        self.seconds += 1 + self.chance.below(40);
        let (minutes, seconds) = (self.seconds / 60, self.seconds % 60);
        Delta { changes, writes, date: format!("2026-01-01 00:{minutes:02}:{seconds:02}") }
    }

    fn writes(&mut self, table: &str) -> Vec<String> {
        let columns = self.tables[table].columns;
        if self.chance.percent(30) {
            self.repeated.insert((self.deltas, table.to_owned()));
            return (0..2 + self.chance.below(3))
                .map(|_| self.write(table, columns, None))
                .collect();
        }
        // No key is both written and removed.
        let edge = self.chance.below(KEYS);
        let mut writes = vec![self.write(table, columns, Some((0, edge)))];
        if self.chance.percent(60) {
            let key = columns[0].0;
            writes.push(format!(
                "DELETE FROM {table} WHERE {key} >= {edge} AND {key} < {}",
                edge + 4
            ));
        }
        writes
    }

    /// One statement; of several in a delta, each may meet the keys of the others.
    fn write(
        &mut self,
        table: &str,
        columns: &[(&str, &str)],
        range: Option<(u64, u64)>,
    ) -> String {
        let (from, to) = range.unwrap_or((0, KEYS));
        if range.is_none() && self.chance.percent(30) {
            let key = self.chance.below(KEYS);
            return format!("DELETE FROM {table} WHERE {} < {key}", columns[0].0);
        }
        let ids: BTreeSet<u64> =
            (0..1 + self.chance.below(8)).map(|_| from + self.chance.below(to - from)).collect();
        let keys = keys(columns);
        let row = |id: &u64, chance: &mut Chance| {
            let mut cells = vec![id.to_string()];
            if keys == 2 {
                cells.push(format!("'key ''{}'''", id % 3));
            }
            cells.extend(columns[keys..].iter().map(|(_, kind)| value(kind, chance)));
            format!("({})", cells.join(", "))
        };
        let rows: Vec<_> = ids.iter().map(|id| row(id, &mut self.chance)).collect();
        format!("INSERT INTO {table} VALUES {}", rows.join(", "))
    }
}

/// The rows of an answer without what a restore does not promise: their order, the numbers of write
/// operations, the time of day of schema changes, the datamart's own name.
pub fn answer(datamart: &str, mut rows: Vec<Value>) -> Vec<String> {
    for row in rows.iter_mut().filter_map(Value::as_object_mut) {
        for own in ["cn_from", "cn_to", "date_time_start", "date_time_end"] {
            row.remove(own);
        }
        if let Some(Value::String(query)) = row.get_mut("change_query") {
            *query = query.replace(&format!("{datamart}."), "");
        }
    }
    let mut rows: Vec<_> = rows.iter().map(Value::to_string).collect();
    rows.sort();
    rows
}

fn keys(columns: &[(&str, &str)]) -> usize {
    columns.iter().take_while(|(name, _)| *name == "id" || name.starts_with('k')).count()
}

/// A value of a type: an ordinary one, an extreme one, or NULL.
fn value(kind: &str, chance: &mut Chance) -> String {
    if chance.percent(15) {
        return "NULL".to_owned();
    }
    let extremes: &[&str] = match kind {
        "boolean" => &["true", "false"],
        "int32" => &["-2147483648", "2147483647", "0", "-1"],
        "int" | "bigint" => {
            &["-9223372036854775808", "9223372036854775807", "0", "9007199254740993"]
        }
        "float" => &["3.4028235e38", "-3.4028235e38", "1.17549435e-38", "0.1", "16777217"],
        "double" => {
            &["1.7976931348623157e308", "-1.7976931348623157e308", "2.2250738585072014e-308"]
        }
        "char(10)" => &["''", "'привет'", "'it''s'", "'0123456789'"],
        "varchar(20)" => &["''", "'; '';'", "'двадцать букв тут...'"],
        "varchar" => &["''", "'NULL'", "'a;b;c'", "'line\nline\ttab'", "'😀 ''q'' \"w\" \\'"],
        "uuid" => {
            &["'00000000-0000-0000-0000-000000000000'", "'ffffffff-ffff-ffff-ffff-ffffffffffff'"]
        }
        "link" => &["''", "'https://h/p?q=a&b=%20#f'"],
        "date" => &["'0001-01-01'", "'9999-12-30'", "'1970-01-01'", "'2024-02-29'"],
        "time" => &["'00:00:00'", "'23:59:59.999999'", "'00:00:00.000001'"],
        _ => &[
            "'0001-01-01 00:00:00'",
            "'9999-12-30 21:59:59.999999'",
            "'1969-12-31 23:59:59.999999'",
        ],
    };
    if chance.percent(40) { chance.pick(extremes).to_string() } else { ordinary(kind, chance) }
}

fn ordinary(kind: &str, chance: &mut Chance) -> String {
    let number = chance.below(100_000);
    let (a, b, c) = (number % 24, number % 60, 1 + number % 28);
    match kind {
        "boolean" => if number.is_multiple_of(2) { "true" } else { "false" }.to_owned(),
        "float" | "double" => format!("{}.{number}", number % 1000),
        "char(10)" => format!("'c{}'", number % 1000),
        "uuid" => format!("'12345678-1234-abcd-ef00-{number:012x}'"),
        "link" => format!("'https://host/{number}'"),
        "date" => format!("'20{b:02}-01-{c:02}'"),
        "time" => format!("'{a:02}:{b:02}:{b:02}.{number:06}'"),
        "timestamp" => format!("'20{b:02}-01-{c:02} {a:02}:{b:02}:01'"),
        kind if kind.starts_with("varchar") => format!("'text {number}'"),
        _ => number.to_string(),
    }
}
