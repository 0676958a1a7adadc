//! Replayed statements under another datamart name or on other datasources (D8 "Renaming"). A
//! scanner that knows strings, quoted names and words, and copies everything else byte for byte;
//! it never parses a statement. (A parser's tokens would have to be printed again, and the node
//! compares texts.)

use std::collections::BTreeSet;

/// A piece of a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token<'a> {
    /// Letters, digits, underscores, `$`.
    Word(&'a str),
    /// `'...'`, `"..."` or a comment.
    Quoted(&'a str),
    Space(&'a str),
    /// Any other single character.
    Sign(&'a str),
}

impl<'a> Token<'a> {
    fn text(self) -> &'a str {
        match self {
            Self::Word(text) | Self::Quoted(text) | Self::Space(text) | Self::Sign(text) => text,
        }
    }

    fn is(self, text: &str) -> bool {
        !matches!(self, Self::Quoted(_)) && self.text().eq_ignore_ascii_case(text)
    }
}

fn tokens<'a>(sql: &'a str) -> Vec<Token<'a>> {
    let mut found = Vec::new();
    let mut rest = sql;
    while let Some(first) = rest.chars().next() {
        let length = |while_true: fn(char) -> bool| {
            rest.find(|c: char| !while_true(c)).unwrap_or(rest.len())
        };
        let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == '$';
        let (kind, end): (fn(&'a str) -> Token<'a>, usize) = match first {
            '\'' | '"' => (Token::Quoted, quoted(rest, first)),
            _ if rest.starts_with("--") => (Token::Quoted, ends(rest, "\n")),
            _ if rest.starts_with("/*") => (Token::Quoted, ends(rest, "*/")),
            c if c.is_whitespace() => (Token::Space, length(char::is_whitespace)),
            c if is_word(c) => (Token::Word, length(is_word)),
            c => (Token::Sign, c.len_utf8()),
        };
        let (token, after) = rest.split_at(end);
        found.push(kind(token));
        rest = after;
    }
    found
}

/// Length of the quoted text at the start; a doubled quote stands for itself, and so begins the
/// next piece.
fn quoted(text: &str, quote: char) -> usize {
    text[1..].find(quote).map_or(text.len(), |at| at + 2)
}

fn ends(text: &str, mark: &str) -> usize {
    text[2..].find(mark).map_or(text.len(), |at| at + 2 + mark.len())
}

/// Positions of the tokens that are no white space.
fn solid(tokens: &[Token<'_>]) -> Vec<usize> {
    (0..tokens.len()).filter(|at| !matches!(tokens[*at], Token::Space(_))).collect()
}

/// The name of the datamart is also a name inside the statement: what it stands for cannot be told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name} is both the datamart and an alias in: {query}")]
pub struct Ambiguous {
    /// The name.
    pub name: String,
    /// The statement.
    pub query: String,
}

/// Writes `new` for the datamart `old`: where it is followed by `.` and not preceded by `.`,
/// outside quotes and comments.
///
/// # Errors
/// [`Ambiguous`] where `old` is an alias in the statement too.
pub fn rename(query: &str, old: &str, new: &str) -> Result<String, Ambiguous> {
    if old == new {
        return Ok(query.to_owned());
    }
    let tokens = tokens(query);
    let solid = solid(&tokens);
    let at = |place: usize| solid.get(place).map(|index| tokens[*index]);
    let is_query = solid.iter().any(|index| tokens[*index].is("SELECT"));
    let mut renamed = Vec::new();
    for (place, index) in solid.iter().enumerate() {
        if !at(place).is_some_and(|token| token.is(old)) {
            continue;
        }
        let before = place.checked_sub(1).and_then(at);
        let around = [place.checked_sub(3).and_then(at), before, at(place + 1), at(place + 2)];
        if is_query && is_alias(around) {
            return Err(Ambiguous { name: old.to_owned(), query: query.to_owned() });
        }
        let qualifies = at(place + 1).is_some_and(|token| token.is("."));
        if qualifies && !before.is_some_and(|token| token.is(".")) {
            renamed.push(*index);
        }
    }
    let text = |(index, token): (usize, &Token<'_>)| match renamed.binary_search(&index) {
        Ok(_) => new.to_owned(),
        Err(_) => token.text().to_owned(),
    };
    Ok(tokens.iter().enumerate().map(text).collect())
}

/// Words after which a bare name is no alias.
const NOT_BEFORE_ALIAS: [&str; 25] = [
    "SELECT",
    "DISTINCT",
    "ALL",
    "FROM",
    "JOIN",
    "ON",
    "WHERE",
    "AND",
    "OR",
    "NOT",
    "BY",
    "HAVING",
    "IN",
    "IS",
    "LIKE",
    "BETWEEN",
    "CASE",
    "WHEN",
    "THEN",
    "ELSE",
    "UNION",
    "EXCEPT",
    "INTERSECT",
    "USING",
    "OF",
];

/// Words after which a table without an alias ends.
const AFTER_TABLE: [&str; 13] = [
    "WHERE", "JOIN", "INNER", "LEFT", "RIGHT", "FULL", "CROSS", "ON", "GROUP", "ORDER", "LIMIT",
    ")", ",",
];

/// True where the name stands for a table of the query: `AS old`, `t old`, `WITH old AS (`, or
/// `FROM x.old` without an alias of its own, which is one by itself. Given are the token three
/// before the name, the one before it, and the two behind it.
fn is_alias([third, before, next, after_next]: [Option<Token<'_>>; 4]) -> bool {
    let is = |token: Option<Token<'_>>, text: &str| token.is_some_and(|token| token.is(text));
    match before {
        Some(dot) if dot.is(".") => {
            let is_table = is(third, "FROM") || is(third, "JOIN");
            is_table && next.is_none_or(|token| AFTER_TABLE.iter().any(|word| token.is(word)))
        }
        _ if is(next, ".") => false,
        _ if is(next, "AS") && is(after_next, "(") => true,
        Some(word) if word.is("AS") || word.is(")") => true,
        Some(Token::Word(word)) => {
            !NOT_BEFORE_ALIAS.iter().any(|keyword| keyword.eq_ignore_ascii_case(word))
        }
        Some(Token::Quoted(name)) => name.starts_with('"'),
        _ => false,
    }
}

/// Puts `(datasource)` for the datasources of a CREATE TABLE, or adds it where the statement names
/// none; other statements stay as they are.
pub fn set_datasource(query: &str, datasource: &str) -> String {
    let tokens = tokens(query);
    let solid = solid(&tokens);
    let word =
        |place: usize, text: &str| solid.get(place).is_some_and(|index| tokens[*index].is(text));
    if !(word(0, "CREATE") && word(1, "TABLE")) {
        return query.to_owned();
    }
    let named = (0..solid.len()).find(|at| word(*at, "DATASOURCE_TYPE") && word(at + 1, "("));
    let print = |range: &[Token<'_>]| range.iter().map(|token| token.text()).collect::<String>();
    let closed = named.and_then(|at| (at..solid.len()).find(|end| word(*end, ")")));
    match (named, closed) {
        (Some(at), Some(end)) => {
            let (before, after) = (&tokens[..solid[at]], &tokens[solid[end] + 1..]);
            format!("{}DATASOURCE_TYPE ({datasource}){}", print(before), print(after))
        }
        _ => match (0..solid.len()).rev().find(|at| word(*at, "LOGICAL_ONLY")) {
            Some(at) => {
                let (before, after) = tokens.split_at(solid[at]);
                format!("{}DATASOURCE_TYPE ({datasource}) {}", print(before), print(after))
            }
            None => format!("{query} DATASOURCE_TYPE ({datasource})"),
        },
    }
}

/// The datasources that a CREATE names, lower case; none where it names none.
pub fn datasources(query: &str) -> Vec<String> {
    let tokens = tokens(query);
    let solid: Vec<Token<'_>> = solid(&tokens).into_iter().map(|index| tokens[index]).collect();
    let mut rest = solid.iter().skip_while(|token| !token.is("DATASOURCE_TYPE")).skip(1);
    let creates = solid.first().is_some_and(|token| token.is("CREATE"));
    if !creates || !rest.next().is_some_and(|token| token.is("(")) {
        return vec![];
    }
    let inside = rest.take_while(|token| !token.is(")"));
    let names = inside.filter(|token| !token.is(","));
    names.map(|token| token.text().trim_matches('"').to_ascii_lowercase()).collect()
}

/// What a statement does to a table, and which: for tables only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableChange {
    /// CREATE TABLE.
    Create,
    /// DROP TABLE, of all its datasources.
    Drop,
}

/// What a statement does to a view, materialized or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntityChange {
    /// CREATE, CREATE OR REPLACE, ALTER.
    Make,
    /// DROP.
    Drop,
}

/// Tells statements about views from all others.
pub fn view_change(query: &str) -> Option<EntityChange> {
    let tokens = tokens(query);
    let mut words = solid(&tokens).into_iter().map(|index| tokens[index]).peekable();
    let change = match words.next()? {
        word if word.is("CREATE") || word.is("ALTER") => EntityChange::Make,
        word if word.is("DROP") => EntityChange::Drop,
        _ => return None,
    };
    let filler = ["OR", "REPLACE", "MATERIALIZED"];
    while words.next_if(|word| filler.iter().any(|text| word.is(text))).is_some() {}
    words.next().filter(|word| word.is("VIEW")).map(|_| change)
}

/// Entities of a datamart that a statement names, lower case.
pub fn names_of(query: &str, datamart: &str) -> BTreeSet<String> {
    let tokens = tokens(query);
    let solid: Vec<Token<'_>> = solid(&tokens).into_iter().map(|index| tokens[index]).collect();
    let at = |place: usize| solid.get(place).copied();
    let is = |place: usize, text: &str| at(place).is_some_and(|token| token.is(text));
    let mut names = BTreeSet::new();
    for place in 0..solid.len() {
        let first = place == 0 || !is(place - 1, ".");
        if first
            && is(place, datamart)
            && is(place + 1, ".")
            && let Some(name) = at(place + 2)
        {
            names.insert(name.text().trim_matches('"').to_ascii_lowercase());
        }
    }
    names
}

/// Tells statements that make or drop a table from all others.
pub fn table_change(query: &str) -> Option<TableChange> {
    change(query, &["TABLE"])
}

/// Tells statements that make or drop a materialized view from all others.
pub fn matview_change(query: &str) -> Option<TableChange> {
    change(query, &["MATERIALIZED", "VIEW"])
}

fn change(query: &str, kind: &[&str]) -> Option<TableChange> {
    let tokens = tokens(query);
    let mut words = solid(&tokens).into_iter().map(|index| tokens[index]);
    let first = words.next()?;
    if !kind.iter().all(|word| words.next().is_some_and(|found| found.is(word))) {
        return None;
    }
    let everywhere = !words.any(|word| word.is("DATASOURCE_TYPE"));
    match first {
        create if create.is("CREATE") => Some(TableChange::Create),
        drop if drop.is("DROP") && everywhere => Some(TableChange::Drop),
        _ => None,
    }
}

/// True where two statements differ in nothing but white space and the case of words: the node
/// prints a statement anew when it is sent again.
pub fn same_statement(one: &str, other: &str) -> bool {
    let (one, other) = (tokens(one), tokens(other));
    let (mine, theirs) = (solid(&one), solid(&other));
    mine.len() == theirs.len()
        && mine.iter().zip(&theirs).all(|(a, b)| match (one[*a], other[*b]) {
            (Token::Quoted(a), Token::Quoted(b)) => a == b,
            (Token::Quoted(_), _) | (_, Token::Quoted(_)) => false,
            (a, b) => a.text().eq_ignore_ascii_case(b.text()),
        })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failing test may panic")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn renamed(query: &str) -> String {
        rename(query, "old", "new").unwrap()
    }

    #[test]
    fn only_the_datamart_is_renamed() {
        let cases = [
            ("CREATE TABLE old.t (id bigint, old int)", "CREATE TABLE new.t (id bigint, old int)"),
            ("CREATE TABLE OLD.t (id bigint)", "CREATE TABLE new.t (id bigint)"),
            ("DROP VIEW old.old", "DROP VIEW new.old"),
            ("DROP TABLE older.t", "DROP TABLE older.t"),
            ("DROP TABLE x.old.t", "DROP TABLE x.old.t"),
            (
                "CREATE VIEW old.v AS\nSELECT t.old, 'old.t ''old.x' AS \"old.y\"\nFROM old.t AS t",
                "CREATE VIEW new.v AS\nSELECT t.old, 'old.t ''old.x' AS \"old.y\"\nFROM new.t AS t",
            ),
            (
                "CREATE VIEW old.v AS SELECT old, max(old) FROM old.t JOIN other.t AS u ON u.id = id",
                "CREATE VIEW new.v AS SELECT old, max(old) FROM new.t JOIN other.t AS u ON u.id = id",
            ),
        ];
        for (query, wanted) in cases {
            assert_eq!(renamed(query), wanted);
        }
        let kept = "CREATE VIEW a.v AS SELECT a.id FROM a.t AS a";
        assert_eq!(rename(kept, "a", "a").as_deref(), Ok(kept));
    }

    #[test]
    fn an_alias_of_the_datamarts_name_is_refused() {
        for query in [
            "CREATE VIEW old.v AS SELECT old.id FROM old.t AS old",
            "CREATE VIEW old.v AS SELECT old.id FROM old.t old",
            "CREATE VIEW old.v AS SELECT old.id FROM (SELECT id FROM old.t) AS old",
            "CREATE VIEW old.v AS SELECT old.id FROM (SELECT id FROM old.t) old",
            "CREATE VIEW old.v AS WITH old AS (SELECT 1) SELECT old.x FROM old.t",
            "CREATE VIEW old.v AS SELECT old.id FROM old.old",
            "CREATE VIEW old.v AS SELECT old.id FROM old.old WHERE old.id = 1",
        ] {
            assert!(rename(query, "old", "new").is_err(), "{query}: {:?}", renamed_or(query));
        }
    }

    fn renamed_or(query: &str) -> String {
        rename(query, "old", "new").unwrap_or_default()
    }

    #[test]
    fn datasources_of_a_table_are_read_replaced_and_added() {
        let plain = "CREATE TABLE d.t (id int NOT NULL, PRIMARY KEY (id)) DISTRIBUTED BY (id)";
        assert_eq!(set_datasource(plain, "adp"), format!("{plain} DATASOURCE_TYPE (adp)"));
        let two = format!("{plain} DATASOURCE_TYPE (adqm, \"ADP\") LOGICAL_ONLY");
        let one = format!("{plain} DATASOURCE_TYPE (adp) LOGICAL_ONLY");
        assert_eq!(set_datasource(&two, "adp"), one);
        assert_eq!(set_datasource(&format!("{plain} LOGICAL_ONLY"), "adp"), one);
        assert_eq!(datasources(&two), ["adqm", "adp"]);
        assert_eq!(datasources(plain), [""; 0]);
        let drop = "DROP TABLE d.t DATASOURCE_TYPE = 'adqm'";
        assert_eq!(set_datasource(drop, "adp"), drop);
        assert_eq!((datasources(drop), table_change(drop)), (vec![], None));
        assert_eq!(table_change("drop\ttable d.t"), Some(TableChange::Drop));
        assert_eq!(table_change(plain), Some(TableChange::Create));
        assert_eq!(table_change("CREATE VIEW d.v AS SELECT 1"), None);
    }

    #[test]
    fn statements_are_the_same_in_any_layout_but_not_with_other_texts() {
        assert!(same_statement("CREATE VIEW d.v AS\nSELECT  1", "create view d.v AS SELECT 1"));
        assert!(!same_statement("SELECT 'a'", "SELECT 'A'"));
        assert!(!same_statement("SELECT 1", "SELECT 12"));
        assert!(!same_statement("SELECT 'a b'", "SELECT 'a  b'"));
    }

    proptest! {
        #[test]
        fn the_pieces_are_the_statement(sql in "\\PC*") {
            let pieces: String = tokens(&sql).iter().map(|token| token.text()).collect();
            prop_assert_eq!(pieces, sql);
        }

        #[test]
        fn there_and_back_is_where_it_was(parts in prop::collection::vec(part(), 0..12)) {
            let query = parts.concat();
            prop_assume!(!query.contains("new"));
            if let Ok(there) = rename(&query, "old", "new") {
                prop_assert_eq!(rename(&there, "new", "old"), Ok(query));
            }
        }

        #[test]
        fn strings_and_names_are_never_touched(inside in "[a-z .]*") {
            let query = format!("SELECT '{inside}old.x', \"old.{inside}\" FROM t");
            prop_assert_eq!(rename(&query, "old", "new"), Ok(query));
        }
    }

    fn part() -> impl Strategy<Value = String> {
        prop_oneof![
            Just("old.".to_owned()),
            Just(" old ".to_owned()),
            Just("'old.'".to_owned()),
            Just("x.old".to_owned()),
            Just(" FROM ".to_owned()),
            Just("(".to_owned()),
            Just(" AS ".to_owned()),
            Just(", ".to_owned()),
            Just("''".to_owned()),
        ]
    }
}
