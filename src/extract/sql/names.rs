//! Names and texts inside statements: their check and their quoting. Owns what can end a statement
//! early; nothing reaches a node without passing here.

/// A name that cannot stand in a statement.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name:?} is not a name in SQL+: a letter, then letters, digits and underscores")]
pub struct BadName {
    /// The name.
    pub name: String,
}

/// Words that the node's grammar keeps for itself: as a column they stand in double quotes.
const RESERVED: &[&str] = &[
    "all",
    "and",
    "any",
    "as",
    "at",
    "between",
    "both",
    "by",
    "case",
    "cast",
    "check",
    "collate",
    "column",
    "condition",
    "constraint",
    "count",
    "create",
    "cross",
    "current",
    "cursor",
    "date",
    "day",
    "default",
    "delete",
    "desc",
    "distinct",
    "drop",
    "else",
    "end",
    "escape",
    "except",
    "exists",
    "false",
    "fetch",
    "filter",
    "first",
    "for",
    "foreign",
    "from",
    "full",
    "function",
    "grant",
    "group",
    "grouping",
    "having",
    "hour",
    "in",
    "inner",
    "insert",
    "intersect",
    "interval",
    "into",
    "is",
    "join",
    "language",
    "last",
    "leading",
    "left",
    "like",
    "limit",
    "local",
    "match",
    "method",
    "minute",
    "month",
    "natural",
    "new",
    "not",
    "null",
    "offset",
    "old",
    "on",
    "only",
    "or",
    "order",
    "outer",
    "over",
    "partition",
    "position",
    "precision",
    "primary",
    "range",
    "rank",
    "reference",
    "references",
    "result",
    "right",
    "row",
    "rows",
    "second",
    "select",
    "session",
    "set",
    "some",
    "start",
    "sum",
    "system",
    "table",
    "then",
    "time",
    "timestamp",
    "to",
    "trailing",
    "true",
    "union",
    "unique",
    "unknown",
    "update",
    "upper",
    "user",
    "using",
    "value",
    "values",
    "when",
    "where",
    "window",
    "with",
    "within",
    "without",
    "year",
];

/// A name, in double quotes where the grammar reserves it.
pub(super) fn identifier(name: &str) -> Result<String, BadName> {
    let name = plain(name)?;
    let reserved = RESERVED.contains(&name.to_ascii_lowercase().as_str());
    Ok(if reserved { format!("\"{name}\"") } else { name.to_owned() })
}

/// The node's own rule for names (PROSTORE.md 2.4).
pub(super) fn plain(name: &str) -> Result<&str, BadName> {
    let well = name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    if well { Ok(name) } else { Err(BadName { name: name.to_owned() }) }
}

pub(super) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_words_are_quoted_and_others_are_not() {
        assert_eq!(identifier("Date").as_deref(), Ok("\"Date\""));
        assert_eq!(identifier("date_col").as_deref(), Ok("date_col"));
        assert_eq!(identifier("a;b"), Err(BadName { name: "a;b".into() }));
    }

    #[test]
    fn a_quote_in_a_text_is_doubled() {
        assert_eq!(literal("it's"), "'it''s'");
    }
}
