// SPDX-License-Identifier: GPL-2.0-only

//! Whether the kernel takes modules without a signature, and trusts the key of those that DKMS
//! has built.
//!
//! With Secure Boot, Debian's kernel is locked down and loads modules only if a key of its own or
//! of the firmware has signed them. The keys that an administrator has enrolled are machine owner
//! keys (MOK), which shim, the first boot loader, passes on.

use crate::system::System;

const EFI: &str = "/sys/firmware/efi";

/// Variables of the firmware with a name and the namespace of the UEFI specification. Attributes
/// precede the value.
const SECURE_BOOT: &str = "efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c";
const SIGNATURES: &str = "efivars/db-d719b2cb-3d3a-4596-a3bc-dad00e67656f";
const ATTRIBUTES: usize = 4;

/// How the names of shim's lists of keys begin. A long list has several parts.
const MOK_LIST: &str = "MokListRT";

/// The certificate of the key that DKMS makes, and where another one is named.
const CERTIFICATE: &str = "/var/lib/dkms/mok.pub";
const SETTINGS: &str = "/etc/dkms/framework.conf";

/// Returns what makes the kernel refuse modules without a trusted signature, if anything does.
pub(crate) fn required_by(system: &System) -> Option<&'static str> {
    let lockdown = system.value("/sys/kernel/security/lockdown");
    let locked_down = lockdown.is_some_and(|it| it.contains('[') && !it.contains("[none]"));
    let enforced = system.value("/sys/module/module/parameters/sig_enforce");

    if locked_down && secure_boot(system) {
        Some("Secure Boot")
    } else if locked_down {
        Some("the kernel's lockdown")
    } else {
        (enforced.as_deref() == Some("Y")).then_some("module.sig_enforce")
    }
}

fn secure_boot(system: &System) -> bool {
    let value = system.bytes(&format!("{EFI}/{SECURE_BOOT}"));

    value.is_some_and(|it| it.get(ATTRIBUTES) == Some(&1))
}

/// Returns the path of the certificate that belongs to DKMS's key.
pub(crate) fn certificate(system: &System) -> String {
    let directory = format!("{SETTINGS}.d");
    let names = system.names(&directory);
    let more = names.iter().filter(|it| it.ends_with(".conf"));
    let files = more.map(|name| format!("{directory}/{name}"));

    std::iter::once(SETTINGS.to_owned())
        .chain(files)
        .filter_map(|file| named(&system.value(&file)?))
        .last()
        .unwrap_or_else(|| CERTIFICATE.to_owned())
}

/// Returns the certificate that a file of settings names, which a shell reads.
fn named(settings: &str) -> Option<String> {
    let lines = settings.lines();
    let values = lines.filter_map(|line| line.trim().strip_prefix("mok_certificate="));
    let value = values.last()?.trim_matches(['"', '\'']);

    (!value.is_empty()).then(|| value.to_owned())
}

/// Returns whether the firmware or shim has a certificate. `None` if it cannot be read, or is not
/// in the form (DER) in which they keep it.
pub(crate) fn enrolled(system: &System, certificate: &str) -> Option<bool> {
    let wanted = system.bytes(certificate)?;

    // A sequence, longer than 255 bytes.
    if !wanted.starts_with(&[0x30, 0x82]) {
        return None;
    }
    let lists = ["efivars", "mok-variables"].into_iter().flat_map(|folder| {
        let names = system.names(&format!("{EFI}/{folder}"));
        let lists = names.into_iter().filter(|name| name.starts_with(MOK_LIST));

        lists.map(move |name| format!("{folder}/{name}"))
    });

    Some(lists.chain([SIGNATURES.to_owned()]).any(|list| {
        let list = system.bytes(&format!("{EFI}/{list}")).unwrap_or_default();

        list.windows(wanted.len()).any(|it| it == wanted)
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_certificate_counts() {
        let settings = "mok_certificate=/a\n# mok_certificate=/b\n mok_certificate=\"/c\"\n";

        assert_eq!(named(settings).as_deref(), Some("/c"));
        assert_eq!(named("# mok_certificate=/a\nmok_certificate=\n"), None);
    }
}
