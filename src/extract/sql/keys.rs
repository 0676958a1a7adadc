//! The statements about keys that repeat inside a delta (DESIGN D4.13): counts that find them, and
//! the parts that they are unloaded in. All were tried on nodes with ADP and with ADQM, or are made
//! of such; joins and EXISTS over system times are not, because ADQM refuses them.

use super::names::identifier;
use super::{BadName, datasource_clause, qualified, select_list, system_time};
use crate::extract::{Count, Half};
use crate::model::{Attempt, Datamart, Datasource, DeltaNum, Part, Table};

/// Counts rows or keys of a (delta, table); the number is called `c`.
///
/// # Errors
/// [`BadName`] where a name is none.
pub fn count(
    datamart: &Datamart,
    delta: DeltaNum,
    table: &Table,
    datasource: Option<&Datasource>,
    what: Count,
) -> Result<String, BadName> {
    let rows = Rows::of(datamart, delta, table)?;
    let from = match what {
        Count::Started => rows.name.clone() + " " + &system_time(Half::Added, delta),
        Count::Finished => rows.name.clone() + " " + &system_time(Half::Removed, delta),
        Count::Keys => {
            let both = format!("{} UNION ALL {}", rows.started(Keys), rows.finished(Keys));
            rows.different_keys(&both)
        }
        // The rows of the delta's end come first: on ADQM the first branch is always merged.
        Count::Alive => {
            format!("({} INTERSECT {}) AS g", rows.as_of(Keys, delta), rows.started(Keys))
        }
        Count::Dead => rows.different_keys(&rows.dead()),
        Count::Replaced => {
            let before = DeltaNum(delta.0.saturating_sub(1));
            let old = format!("{} INTERSECT {}", rows.finished(All), rows.as_of(All, before));
            let (key, dead) = (&rows.key, rows.dead());
            format!(
                "(SELECT {key} FROM ({old}) AS o INTERSECT SELECT {key} FROM ({dead}) AS d) AS g"
            )
        }
    };
    Ok(format!("SELECT count(*) AS c FROM {from}{}", datasource_clause(datasource)))
}

/// Unloads one part of a pair with repeated keys.
///
/// # Errors
/// [`BadName`] where a name is none.
pub fn unload_part(
    datamart: &Datamart,
    attempt: &Attempt,
    table: &Table,
    part: Part,
) -> Result<String, BadName> {
    let into = qualified(datamart, &attempt.name.0)?;
    let sys_op = format!(", {} AS sys_op", u8::from(part == Part::Removed));
    let select = select_part(datamart, attempt, table, part, &sys_op)?;
    let datasource = datasource_clause(attempt.datasource.as_ref());
    Ok(format!("INSERT INTO {into} {select}{datasource}"))
}

/// Counts the rows of a part, to know whether all of them came; the number is called `c`.
///
/// # Errors
/// [`BadName`] where a name is none.
pub fn count_part(
    datamart: &Datamart,
    attempt: &Attempt,
    table: &Table,
    part: Part,
) -> Result<String, BadName> {
    let select = select_part(datamart, attempt, table, part, "")?;
    let datasource = datasource_clause(attempt.datasource.as_ref());
    Ok(format!("SELECT count(*) AS c FROM ({select}) AS g{datasource}"))
}

fn select_part(
    datamart: &Datamart,
    attempt: &Attempt,
    table: &Table,
    part: Part,
    further: &str,
) -> Result<String, BadName> {
    let mut rows = Rows::of(datamart, attempt.delta, table)?;
    rows.all.push_str(further);
    Ok(match part {
        Part::Dead => rows.dead(),
        Part::Removed => rows.finished(All),
        Part::Alive => {
            format!("{} INTERSECT {}", rows.started(All), rows.as_of(All, attempt.delta))
        }
    })
}

/// Which columns are read.
#[derive(Clone, Copy)]
enum Columns {
    All,
    Keys,
}
use Columns::{All, Keys};

/// The rows of one (delta, table) as SELECTs.
struct Rows {
    name: String,
    all: String,
    key: String,
    delta: DeltaNum,
}

impl Rows {
    fn of(datamart: &Datamart, delta: DeltaNum, table: &Table) -> Result<Self, BadName> {
        let key: Result<Vec<_>, _> = table.primary_key.iter().map(|c| identifier(c)).collect();
        let name = qualified(datamart, &table.name.0)?;
        Ok(Self { name, all: select_list(table)?, key: key?.join(", "), delta })
    }

    fn select(&self, columns: Columns, period: &str) -> String {
        let columns = match columns {
            All => &self.all,
            Keys => &self.key,
        };
        format!("SELECT {columns} FROM {} {period}", self.name)
    }

    fn started(&self, columns: Columns) -> String {
        self.select(columns, &system_time(Half::Added, self.delta))
    }

    fn finished(&self, columns: Columns) -> String {
        self.select(columns, &system_time(Half::Removed, self.delta))
    }

    fn as_of(&self, columns: Columns, delta: DeltaNum) -> String {
        self.select(columns, &format!("FOR SYSTEM_TIME AS OF DELTA_NUM {delta}"))
    }

    fn dead(&self) -> String {
        format!("{} EXCEPT {}", self.started(All), self.as_of(All, self.delta))
    }

    fn different_keys(&self, of: &str) -> String {
        let key = &self.key;
        format!("(SELECT {key} FROM ({of}) AS u GROUP BY {key}) AS g")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::extract::sql::half_of;
    use crate::model::{AttemptName, Column, ColumnType, TableName};

    fn datamart() -> Datamart {
        Datamart::parse("marketing").expect("a datamart name")
    }

    fn table() -> Table {
        let column = |name: &str| Column { name: name.into(), kind: ColumnType::Bigint };
        Table {
            name: TableName("sales".into()),
            columns: vec![column("k1"), column("k2"), column("v")],
            datasources: vec![],
            primary_key: vec!["k1".into(), "k2".into()],
        }
    }

    fn attempt() -> Attempt {
        Attempt {
            name: AttemptName("deltakeep_x".into()),
            delta: DeltaNum(2),
            table: TableName("sales".into()),
            datasource: Some(Datasource("adqm".into())),
            partitions: 1,
            chunk_size: 1000,
        }
    }

    fn counted(what: Count) -> String {
        let adp = Datasource("adp".into());
        count(&datamart(), DeltaNum(2), &table(), Some(&adp), what).expect("good names")
    }

    #[test]
    fn the_count_of_keys_is_the_one_that_was_tried_on_nodes() {
        assert_eq!(
            counted(Count::Keys),
            "SELECT count(*) AS c FROM (SELECT k1, k2 FROM (\
             SELECT k1, k2 FROM marketing.sales FOR SYSTEM_TIME STARTED IN (2,2) UNION ALL \
             SELECT k1, k2 FROM marketing.sales FOR SYSTEM_TIME FINISHED IN (2,2)) AS u \
             GROUP BY k1, k2) AS g DATASOURCE_TYPE = 'adp'"
        );
        assert_eq!(
            counted(Count::Finished),
            "SELECT count(*) AS c FROM marketing.sales FOR SYSTEM_TIME FINISHED IN (2,2) \
             DATASOURCE_TYPE = 'adp'"
        );
    }

    #[test]
    fn what_is_dead_and_what_is_alive_is_counted_by_key() {
        assert_eq!(
            counted(Count::Alive),
            "SELECT count(*) AS c FROM (\
             SELECT k1, k2 FROM marketing.sales FOR SYSTEM_TIME AS OF DELTA_NUM 2 INTERSECT \
             SELECT k1, k2 FROM marketing.sales FOR SYSTEM_TIME STARTED IN (2,2)) AS g \
             DATASOURCE_TYPE = 'adp'"
        );
        assert_eq!(
            counted(Count::Dead),
            "SELECT count(*) AS c FROM (SELECT k1, k2 FROM (\
             SELECT k1, k2, v FROM marketing.sales FOR SYSTEM_TIME STARTED IN (2,2) EXCEPT \
             SELECT k1, k2, v FROM marketing.sales FOR SYSTEM_TIME AS OF DELTA_NUM 2) AS u \
             GROUP BY k1, k2) AS g DATASOURCE_TYPE = 'adp'"
        );
        let replaced = counted(Count::Replaced);
        assert!(replaced.contains("AS OF DELTA_NUM 1) AS o INTERSECT SELECT k1, k2"), "{replaced}");
    }

    #[test]
    fn each_part_is_one_insert_with_its_sys_op_and_names_its_datasource() {
        let part = |part| unload_part(&datamart(), &attempt(), &table(), part).expect("good names");
        assert_eq!(
            part(Part::Dead),
            "INSERT INTO marketing.deltakeep_x \
             SELECT k1, k2, v, 0 AS sys_op FROM marketing.sales \
             FOR SYSTEM_TIME STARTED IN (2,2) EXCEPT \
             SELECT k1, k2, v, 0 AS sys_op FROM marketing.sales \
             FOR SYSTEM_TIME AS OF DELTA_NUM 2 DATASOURCE_TYPE = 'adqm'"
        );
        assert!(part(Part::Removed).contains(
            "SELECT k1, k2, v, 1 AS sys_op FROM marketing.sales FOR SYSTEM_TIME FINISHED IN (2,2)"
        ));
        assert_eq!(part(Part::Alive), part(Part::Dead).replace("EXCEPT", "INTERSECT"));
        let counted =
            count_part(&datamart(), &attempt(), &table(), Part::Alive).expect("good names");
        assert_eq!(
            counted,
            "SELECT count(*) AS c FROM (\
             SELECT k1, k2, v FROM marketing.sales FOR SYSTEM_TIME STARTED IN (2,2) INTERSECT \
             SELECT k1, k2, v FROM marketing.sales FOR SYSTEM_TIME AS OF DELTA_NUM 2) AS g \
             DATASOURCE_TYPE = 'adqm'"
        );
        let halves = Part::ALL.map(|p| half_of(&part(p)));
        assert_eq!(halves, [Some(Half::Added), Some(Half::Removed), Some(Half::Added)]);
    }
}
