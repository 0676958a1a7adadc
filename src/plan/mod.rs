//! What is to be done, worked out from what the node and the topic say. Pure: nothing here waits,
//! reads a clock or talks to anybody.

mod history;
mod range;
mod tables;

pub use history::{OtherHistory, check_history};
pub use range::{Asked, NoRange, delta_range, gaps, shown};
pub use tables::{
    NotInDatasource, check_datasource, choose_datasource, older_than_log, tables_of,
    views_older_than_log,
};
