// SPDX-License-Identifier: GPL-2.0-only

//! Showing, checking and loading export rules.

use std::{
    fs,
    io::{
        self,
        Read, //
    },
    path::Path, //
};

use rnbd_proto::{
    export_rules::ClientIdentity,
    text::path_addr::Addr,
    wire::name::SessName, //
};

use crate::{
    cli::{
        CheckRules,
        RulesAction, //
    },
    explain::Attempt,
    exports::{
        BlockDevice,
        RuleEffect,
        RuleList, //
    },
    failure::{
        Exit,
        Failure,
        Result, //
    },
    keys,
    output::{
        self,
        cell, //
    },
    system::System, //
};

use super::{
    find,
    path, //
};

const EXPORT_RULES: &str = "/sys/class/rnbd-server/ctl/export_rules";

/// How deep links to devices are below /dev: `/dev/disk/by-id/…`.
const DEPTH: u32 = 3;

/// Shows, checks or loads rules.
pub(super) fn rules(system: &System, action: &RulesAction, json: bool) -> Result<String> {
    match action {
        RulesAction::Show => {
            need_rules(system)?;
            let text = system
                .read(EXPORT_RULES)
                .map_err(|e| cannot_read(EXPORT_RULES, &e))?;

            if json {
                let lines: Vec<&str> = text.lines().collect();

                return output::json([("lines", &lines)]);
            }
            Ok(text + "\n")
        }
        RulesAction::Check(options) => check(system, options, json),
        RulesAction::Load { file } => {
            need_rules(system)?;
            let list = read(system, file)?;

            // Before the rules admit anybody who has to prove them.
            for key in list.keys() {
                keys::load_if_missing(system, &key)?;
            }
            path::write(
                system,
                EXPORT_RULES,
                &list.to_write(),
                Attempt::Write,
                &format!("cannot load {file}"),
            )
        }
    }
}

fn need_rules(system: &System) -> Result<()> {
    find::need_server(system)?;
    if system.exists(EXPORT_RULES) {
        return Ok(());
    }
    Err(
        Failure::new(Exit::NoDriver, "the server driver has no export rules")
            .advise("it is the C driver, which lets every client open every device"),
    )
}

fn cannot_read(file: &str, error: &io::Error) -> Failure {
    let exit = match error.kind() {
        io::ErrorKind::NotFound => Exit::NotFound,
        io::ErrorKind::PermissionDenied => Exit::Denied,
        _ => Exit::Failed,
    };

    Failure::new(exit, format!("cannot read {file}: {error}"))
}

/// Reads rules from a file, or from the standard input for `-`.
fn read(system: &System, file: &str) -> Result<RuleList> {
    let mut text = String::new();
    let read = match file {
        "-" => io::stdin().read_to_string(&mut text).map(|_| ()),
        _ => system.read(file).map(|content| text = content),
    };

    read.map_err(|e| cannot_read(file, &e))?;
    RuleList::parse(&text).map_err(|reason| {
        Failure::new(Exit::Usage, format!("{file} {reason}"))
            .advise("correct the line; rnbd-exports(5) describes rules")
    })
}

/// Says what the rules of a file let clients do.
fn check(system: &System, options: &CheckRules, json: bool) -> Result<String> {
    let list = read(system, &options.file)?;
    let devices = block_devices(system);

    if let (Some(session), Some(from)) = (&options.session, &options.from) {
        let decisions = list.decide(
            &client(session, from, options.key.as_deref())?,
            &devices,
            |path| system.exists(path),
        );

        if json {
            return output::json([("decisions", &decisions)]);
        }
        let rows = decisions
            .into_iter()
            .map(|it| [it.node, it.permission.into(), it.reason]);

        return Ok(output::table(["DEVICE", "MAY", "WHY"], rows.collect()));
    }
    let effects = list.effects(&devices);

    if json {
        return output::json([("default", &list.is_default()), ("rules", &effects)]);
    }
    if list.is_default() {
        return Ok("the module parameter export_default applies\n".into());
    }
    if effects.is_empty() {
        return Ok("no client may open any device\n".into());
    }
    Ok(effect_table(&effects))
}

fn client<'a>(session: &'a str, from: &str, key: Option<&str>) -> Result<ClientIdentity<'a>> {
    let wrong = |what: String| Failure::new(Exit::Usage, what);
    let session = SessName::new(session.as_bytes())
        .map_err(|_| wrong(format!("no session can have the name '{session}'")))?;
    let full = format!("ip:{from}");
    let peer = Addr::parse(full.as_bytes())
        .or_else(|_| Addr::parse(from.as_bytes()))
        .map_err(|e| wrong(format!("'{from}' {e}")))?;

    let key = key.map(keys::check_name).transpose()?;

    Ok(ClientIdentity {
        session,
        peer: peer.into(),
        key,
    })
}

fn effect_table(effects: &[RuleEffect]) -> String {
    let rows = effects.iter().map(|effect| {
        let devices = effect.devices.iter().map(|device| device.node.as_str());
        let devices: Vec<&str> = devices.collect();

        [
            effect.number.to_string(),
            effect.permission.into(),
            effect.session.clone().unwrap_or_else(|| "any".into()),
            effect.from.clone().unwrap_or_else(|| "anywhere".into()),
            cell((!devices.is_empty()).then(|| devices.join(" "))),
        ]
    });
    let mut text = output::table(
        ["RULE", "MAY", "SESSION", "FROM", "DEVICES NOW"],
        rows.collect(),
    );

    for effect in effects.iter().filter(|effect| !effect.avoidable.is_empty()) {
        text += &format!(
            "warning: rule {} does not keep a client from {} if it asks by that name\n",
            effect.number,
            effect.avoidable.join(" ")
        );
    }
    text + "The first rule that matches decides; what no rule matches is denied.\n"
}

/// Returns the block devices of this machine that have a size.
fn block_devices(system: &System) -> Vec<BlockDevice> {
    let names = system.names("/sys/class/block").into_iter();
    let sized = names.filter(|name| {
        let size: Option<u64> = system.number(&format!("/sys/class/block/{name}/size"));

        size.is_some_and(|size| size != 0)
    });
    let mut devices: Vec<BlockDevice> = sized
        .map(|name| BlockDevice {
            node: format!("/dev/{}", name.replace('!', "/")),
            links: Vec::new(),
        })
        .collect();

    add_links(system, "/dev", DEPTH, &mut devices);
    devices
}

/// Adds the links to devices in a directory, and in those below it.
fn add_links(system: &System, directory: &str, depth: u32, devices: &mut [BlockDevice]) {
    for name in system.names(directory) {
        let path = format!("{directory}/{name}");
        let Ok(kind) = fs::symlink_metadata(system.path(&path)).map(|it| it.file_type()) else {
            continue;
        };

        if kind.is_dir() && depth > 1 {
            add_links(system, &path, depth - 1, devices);
        } else if kind.is_symlink() {
            let target = target(system, &path);
            let device = devices
                .iter_mut()
                .find(|it| Some(&it.node) == target.as_ref());

            if let Some(device) = device {
                device.links.push(path);
            }
        }
    }
}

/// Returns the path that a link leads to, as it is below the root.
fn target(system: &System, link: &str) -> Option<String> {
    let root = fs::canonicalize(system.path("/")).ok()?;
    let target = fs::canonicalize(system.path(link)).ok()?;

    Some(
        Path::new("/")
            .join(target.strip_prefix(root).ok()?)
            .to_string_lossy()
            .into_owned(),
    )
}
