//! Entities that a restore cannot bring back: external and standalone tables are in no changelog
//! (PROSTORE.md 4). They are known only by the views that read them. Pure.

use std::collections::{BTreeMap, BTreeSet};

use crate::format::ChangeRecord;

use super::rename::{EntityChange, names_of, view_change};

/// What views read of their own datamart that no record makes, by name, each with the views that
/// stand at the end.
pub fn outside<'a>(
    records: impl Iterator<Item = &'a ChangeRecord>,
    datamart: &str,
) -> BTreeMap<String, BTreeSet<String>> {
    let (mut made, mut views) = (BTreeSet::new(), BTreeMap::new());
    for record in records {
        made.insert(record.entity.to_ascii_lowercase());
        match view_change(&record.query) {
            Some(EntityChange::Make) => {
                views.insert(record.entity.clone(), names_of(&record.query, datamart));
            }
            Some(EntityChange::Drop) => {
                views.remove(&record.entity);
            }
            None => {}
        }
    }
    let mut outside: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (view, names) in views {
        for name in names.into_iter().filter(|name| !made.contains(name)) {
            outside.entry(name).or_default().insert(view.clone());
        }
    }
    outside
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_views_read_and_nothing_makes_is_told_with_the_views_that_stand() {
        let statements = [
            ("a", "CREATE TABLE db.a (id int)"),
            (
                "v",
                "CREATE VIEW db.v AS\nSELECT e.id, 'db.text'\nFROM db.ext AS e JOIN db.a ON TRUE",
            ),
            ("w", "CREATE OR REPLACE VIEW db.w AS SELECT * FROM other.ext"),
            ("x", "CREATE VIEW db.x AS SELECT * FROM db.gone"),
            ("x", "DROP VIEW db.x"),
            (
                "m",
                "CREATE MATERIALIZED VIEW db.m (id int) AS SELECT id FROM DB.Ext DATASOURCE_TYPE = 'adb'",
            ),
            ("v2", "CREATE VIEW db.v2 AS SELECT * FROM db.lone"),
            ("v2", "ALTER VIEW db.v2 AS   SELECT * FROM db.a"),
        ];
        let records: Vec<_> = (0..)
            .zip(statements)
            .map(|(num, (entity, query))| ChangeRecord {
                num,
                entity: entity.to_owned(),
                query: query.to_owned(),
            })
            .collect();
        let found = outside(records.iter(), "db");
        let views = BTreeSet::from(["m".to_owned(), "v".to_owned()]);
        assert_eq!(found, BTreeMap::from([("ext".to_owned(), views)]));
    }
}
