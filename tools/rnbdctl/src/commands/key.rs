// SPDX-License-Identifier: GPL-2.0-only

//! Making, loading, listing and removing keys.

use serde::Serialize;

use crate::{
    cli::KeyAction,
    failure::{
        Exit,
        Result, //
    },
    keys,
    output::{
        self,
        cell, //
    },
    system::System, //
};

/// A key, as `list` shows it.
#[derive(Debug, Serialize)]
struct Key {
    name: String,
    /// Where its file is.
    file: Option<String>,
    /// Why the file cannot be used.
    problem: Option<String>,
    /// Whether the kernel has it.
    loaded: bool,
}

/// Makes, loads, lists or removes keys.
pub(super) fn key(system: &System, action: &KeyAction, json: bool) -> Result<String> {
    match action {
        KeyAction::New { name, replace } => {
            keys::check_name(name)?;
            keys::make(system, name, *replace)?;
            let file = keys::file(name);

            Ok(format!(
                "{file}\nCopy it to the other machine over a safe channel, as {file} there.\n"
            ))
        }
        KeyAction::Load { names } => {
            let all = names.is_empty();
            let names = match all {
                true => keys::in_files(system),
                false => names.clone(),
            };

            each(&names, |name| keys::load(system, name))
        }
        KeyAction::Unload { names } => each(names, |name| keys::unload(system, name)),
        KeyAction::List => list(system, json),
    }
}

/// Does something to each key, and reports the first failure after the last one.
fn each(names: &[String], act: impl Fn(&str) -> Result<()>) -> Result<String> {
    let act = |name: &String| keys::check_name(name).and_then(|_| act(name));
    let result = names.iter().map(act).fold(Ok(()), Result::and);

    result.map(|()| String::new())
}

fn list(system: &System, json: bool) -> Result<String> {
    let loaded = keys::loaded(system);
    let keys: Vec<Key> = keys::names(system, &loaded)
        .into_iter()
        .map(|name| {
            let read = keys::read(system, &name).err();
            let missing = read.as_ref().is_some_and(|it| it.exit == Exit::NotFound);

            Key {
                file: (!missing).then(|| keys::file(&name)),
                problem: read.filter(|_| !missing).map(|it| it.message),
                loaded: loaded.contains(&name),
                name,
            }
        })
        .collect();

    if json {
        return output::json([("keys", &keys)]);
    }
    let mut text = output::table(
        ["KEY", "LOADED", "FILE"],
        keys.iter()
            .map(|key| {
                let loaded = if key.loaded { "yes" } else { "no" };

                [key.name.clone(), loaded.into(), cell(key.file.clone())]
            })
            .collect(),
    );

    for problem in keys.iter().filter_map(|key| key.problem.as_ref()) {
        text += &format!("warning: {problem}\n");
    }
    Ok(output::or_nothing(
        text,
        "there is no key; `rnbdctl key new` makes one",
    ))
}
