// SPDX-License-Identifier: GPL-2.0-only

//! Forms of output.

mod activity;
mod json;
mod screen;
mod table;
mod units;

pub(crate) use activity::activity;
pub(crate) use json::{
    json,
    json_line, //
};
pub(crate) use screen::{
    Screen,
    Wish, //
};
pub(crate) use table::{
    details,
    table, //
};
pub(crate) use units::{
    bytes,
    duration, //
};

/// Returns a value as a cell of a table shows it.
pub(crate) fn cell<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| "-".into(), |value| value.to_string())
}
