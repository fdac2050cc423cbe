// SPDX-License-Identifier: GPL-2.0-only

//! JSON.

use serde::Serialize;
use serde_json::{
    Map,
    Value, //
};

use crate::failure::{
    Exit,
    Failure,
    Result, //
};

/// Version of the schema. It grows if a field is removed or changes its meaning; new fields
/// do not count.
const VERSION: u32 = 1;

/// Prints an object with the version and the given members.
pub(crate) fn json<const N: usize>(members: [(&str, &dyn Member); N]) -> Result<String> {
    let mut object = Map::new();

    for (name, member) in members {
        object.insert(name.into(), member.to_value().map_err(failed)?);
    }
    print(object, serde_json::to_string_pretty)
}

/// Prints an object with the version and the fields of `value`, in one line.
pub(crate) fn json_line(value: &dyn Member) -> Result<String> {
    match value.to_value().map_err(failed)? {
        Value::Object(object) => print(object, serde_json::to_string),
        other => print(
            Map::from_iter([("value".into(), other)]),
            serde_json::to_string,
        ),
    }
}

fn print(
    mut object: Map<String, Value>,
    write: fn(&Value) -> serde_json::Result<String>,
) -> Result<String> {
    object.insert("version".into(), VERSION.into());
    let mut text = write(&Value::Object(object)).map_err(failed)?;

    text.push('\n');
    Ok(text)
}

fn failed(error: serde_json::Error) -> Failure {
    Failure::new(Exit::Failed, format!("cannot print JSON: {error}"))
}

/// A value that can be a member.
pub(crate) trait Member {
    /// Converts it.
    fn to_value(&self) -> serde_json::Result<Value>;
}

impl<T: Serialize> Member for T {
    fn to_value(&self) -> serde_json::Result<Value> {
        serde_json::to_value(self)
    }
}
