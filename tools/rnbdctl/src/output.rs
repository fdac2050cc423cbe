// SPDX-License-Identifier: GPL-2.0-only

//! Forms of output.

use std::io::{
    self,
    Write, //
};

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

/// Returns a text; says on the standard error output that there is nothing, if it is empty.
pub(crate) fn or_nothing(text: String, nothing: &str) -> String {
    if text.is_empty() {
        note(&format!("{nothing}\n"));
    }
    text
}

/// Prints a text to the standard error output.
pub(crate) fn note(text: &str) {
    // Nobody is left to tell if this fails.
    let _ = io::stderr().write_all(text.as_bytes());
}

/// Returns a value as a cell of a table shows it.
pub(crate) fn cell<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| "-".into(), |value| value.to_string())
}
