// SPDX-License-Identifier: GPL-2.0-only

//! Properties of devices, of which udev's rules make links; and whether udev has the rules.

use crate::system::System;

/// Where udev's rules are.
const RULES: [&str; 3] = [
    "/etc/udev/rules.d",
    "/usr/lib/udev/rules.d",
    "/lib/udev/rules.d",
];

/// Returns the name of the file with the rules for mapped devices, if it is installed.
pub(crate) fn rules(system: &System) -> Option<String> {
    let mut files = RULES.iter().flat_map(|directory| system.names(directory));

    files.find(|name| name.contains("rnbd"))
}

/// Returns the properties of a mapped device, as lines for `IMPORT{program}` (udev(7)).
pub(crate) fn properties(session: &str, device_path: &str, name: Option<&str>) -> String {
    let mut text = format!("RNBD_SESSION={}\n", encode(session));

    if let Some(path) = link_path(device_path) {
        text += &format!("RNBD_DEVICE={path}\n");
    }
    if let Some(name) = name {
        text += &format!("RNBD_NAME={name}\n");
    }
    text
}

/// Returns a path on the server as the path of a link, without slashes at its ends; none if it
/// could lead out of the directory of the links.
fn link_path(path: &str) -> Option<String> {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let leads_out = |part: &&str| [".", ".."].contains(part);

    if parts.is_empty() || parts.iter().any(leads_out) {
        return None;
    }
    let parts: Vec<String> = parts.into_iter().map(encode).collect();

    Some(parts.join("/"))
}

/// Encodes a name as udev does: bytes that names of links should not have become `\xNN`
/// (`udevadm` calls such properties `…_ENC`).
fn encode(name: &str) -> String {
    let mut text = String::new();

    for c in name.chars() {
        if c.is_ascii_alphanumeric() || "#+-.:=@_".contains(c) || !c.is_ascii() {
            text.push(c);
        } else {
            text += &format!("\\x{:02x}", u32::from(c));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_properties() {
        assert_eq!(
            properties("blya", "/dev/vg0/web-1", Some("data")),
            "RNBD_SESSION=blya\nRNBD_DEVICE=dev/vg0/web-1\nRNBD_NAME=data\n"
        );
        assert_eq!(
            properties("a%b'", "sda", None),
            "RNBD_SESSION=a\\x25b\\x27\nRNBD_DEVICE=sda\n"
        );
    }

    #[test]
    fn paths_of_links_stay_in_their_directory() {
        assert_eq!(
            link_path("//dev//a b\\").as_deref(),
            Some("dev/a\\x20b\\x5c")
        );
        assert_eq!(link_path("mapper/größe").as_deref(), Some("mapper/größe"));
        for wrong in ["", "/", "..", "a/../b", "./a"] {
            assert_eq!(link_path(wrong), None, "{wrong}");
        }
    }
}
