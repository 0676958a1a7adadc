//! The sample datamart of the demo: tables, a view, a dropped table, all types; inserts, updates
//! and deletes over several deltas. Owns the statements only.

use super::DemoError;
use crate::sandbox::Sandbox;

/// Its name.
pub const NAME: &str = "shop";

/// What the deltas hold, for the reader.
pub const STORY: [&str; 5] = [
    "0: customers and orders are filled, all_types gets its first rows",
    "1: orders are updated and deleted, new ones come",
    "2: nothing at all (an empty delta keeps its place)",
    "3: a thousand orders more, a customer leaves",
    "and: a view, and a table that was created and dropped again",
];

const CREATE: [&str; 7] = [
    "CREATE DATABASE shop",
    "CREATE TABLE shop.customers (id bigint NOT NULL, name varchar(100), since date, \
     PRIMARY KEY (id)) DISTRIBUTED BY (id)",
    "CREATE TABLE shop.orders (id bigint NOT NULL, customer bigint, note varchar, \
     PRIMARY KEY (id)) DISTRIBUTED BY (id)",
    "CREATE TABLE shop.all_types (id bigint NOT NULL, boolean_col boolean, int32_col int32, \
     int_col int, bigint_col bigint, float_col float, double_col double, char_col char(10), \
     varchar_col varchar, uuid_col uuid, link_col link, date_col date, time_col time, \
     timestamp_col timestamp, PRIMARY KEY (id)) DISTRIBUTED BY (id)",
    "CREATE TABLE shop.mistake (id bigint NOT NULL, PRIMARY KEY (id)) DISTRIBUTED BY (id)",
    "DROP TABLE shop.mistake",
    "CREATE VIEW shop.busy AS SELECT customer, note FROM shop.orders",
];

const ALL_TYPES: &str = "INSERT INTO shop.all_types VALUES (1, false, 32768, 65537, 1280000, \
     3.141526, 2.718281828, 'char_value', 'varchar_value', \
     '12345678-1234-abcd-ef00-1234567899ab', 'https://www.google.com', '1970-01-11', '13:10:30', \
     '1970-01-01 13:10:30'), (2, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, \
     NULL, NULL, NULL)";

/// Creates and fills it; returns how many deltas it has.
pub async fn fill(node: &Sandbox) -> Result<usize, DemoError> {
    for statement in CREATE {
        run(node, statement).await?;
    }
    let deltas: [&[&str]; 4] = [
        &[
            "INSERT INTO shop.customers VALUES (1, 'Anna', '2020-01-02'), \
             (2, 'Boris', '2021-03-04'), (3, 'Clara', '2022-05-06')",
            "SANDBOX_FILL(shop.orders, 400)",
            ALL_TYPES,
        ],
        &[
            "INSERT INTO shop.orders VALUES (1, 2, 'changed'), (2, 3, 'changed too'), \
             (900001, 1, 'new')",
            "DELETE FROM shop.orders WHERE id = 7",
        ],
        &[],
        &["SANDBOX_FILL(shop.orders, 1000)", "DELETE FROM shop.customers WHERE id = 3"],
    ];
    for (number, statements) in deltas.iter().enumerate() {
        run(node, "BEGIN DELTA").await?;
        for statement in *statements {
            run(node, statement).await?;
        }
        // Dates of deltas have whole seconds and must rise, so the demo dates them itself.
        run(node, &format!("COMMIT DELTA SET '2026-01-01 10:00:{:02}'", number + 1)).await?;
    }
    Ok(deltas.len())
}

async fn run(node: &Sandbox, statement: &str) -> Result<(), DemoError> {
    let done = node.execute(NAME, statement).await;
    done.map(drop).map_err(|text| DemoError::Datamart(format!("{statement}: {text}")))
}
