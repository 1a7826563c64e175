//! Values as text: tables, fields, sizes, JSON. Pure; writes nothing.

mod fields;
mod json;
mod plain;
mod size;
mod table;
mod usage;

pub(crate) use fields::fields;
#[cfg(test)]
pub(crate) use json::assert_documented;
pub(crate) use json::{json, json_line};
pub(crate) use plain::plain;
pub(crate) use size::size;
pub(crate) use table::table;
pub(crate) use usage::{percent, pids};

/// An optional cell: what is absent is a dash.
pub(crate) fn or_dash(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}
