//! Owns running a planned SELECT; never plans one.

use rusqlite::{Connection, Row, params_from_iter};
use serde_json::Value as Json;

use super::answer::Answer;
use super::failure::Failure;
use super::query::{Plan, Planner, Selection};
use super::{estimate, value};

/// Runs a SELECT to its end.
pub(crate) fn run(
    conn: &Connection,
    datamart: &str,
    selection: &Selection,
) -> Result<Answer, Failure> {
    let plan = Planner::new(conn, datamart).plan(selection)?;
    if selection.estimate {
        return estimate::answer(conn, datamart, selection, &plan);
    }
    let mut answer = Answer::selected(&plan.columns);
    each_row(conn, &plan, |row| {
        answer.push(json_row(row, &plan)?);
        Ok(())
    })?;
    Ok(answer)
}

/// Feeds every row of a plan to `take`, one at a time.
pub(crate) fn each_row(
    conn: &Connection,
    plan: &Plan,
    mut take: impl FnMut(&Row<'_>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut statement = conn.prepare(&plan.sql)?;
    let mut rows = statement.query(params_from_iter(&plan.parameters))?;
    while let Some(row) = rows.next()? {
        take(row)?;
    }
    Ok(())
}

fn json_row(row: &Row<'_>, plan: &Plan) -> Result<Vec<Json>, Failure> {
    let mut values = Vec::with_capacity(plan.columns.len());
    for (i, column) in plan.columns.iter().enumerate() {
        values.push(value::json(row.get_ref(i)?, column.kind));
    }
    Ok(values)
}
