// SPDX-License-Identifier: GPL-2.0-only

//! Decisions that are made before a client asks for a device: whether its address may connect
//! at all, and whether its session may have the name that it wants.
//!
//! # Examples
//!
//! ```
//! use rnbd_proto::export_rules::Rules;
//! use rnbd_proto::text::path_addr::Addr;
//!
//! let rules = Rules::new(b"allow session=web* from=10.0.0.0/24 device=/dev/vg0/*\n");
//! let peer = |text: &str| Addr::parse(text.as_bytes()).expect("an address").into();
//!
//! assert!(rules.admits(peer("ip:10.0.0.7")));
//! assert!(!rules.admits(peer("ip:10.0.1.7")));
//! ```

use crate::{
    glob::Glob,
    subnet::PeerAddr, //
};

use super::{
    ClientIdentity,
    DecidedBy,
    Permission,
    Rules, //
};

impl<'a> Rules<'a> {
    /// Returns whether a client at `peer` could open any device, whatever the name of its
    /// session. If not, it need not connect.
    ///
    /// A `deny` that is about some sessions or devices only leaves the others.
    pub fn admits(self, peer: PeerAddr) -> bool {
        let mut matching = self.iter().filter(|(_, rule)| rule.matches_peer(peer));
        let first = matching.find(|(_, rule)| {
            let denies_all =
                rule.session().is_none() && rule.device.is_none() && rule.key().is_none();

            rule.permission != Permission::Denied || denies_all
        });

        first.is_some_and(|(_, rule)| rule.permission != Permission::Denied)
    }

    /// Checks whether a session of `client` may have its name.
    ///
    /// A name that the `session=` of an `allow` covers is reserved for the addresses of the
    /// rules that allow that name something. `session=*` covers no name in particular.
    ///
    /// # Errors
    ///
    /// The first rule that reserves the name, or the one that denies it to the client.
    pub fn check_name(self, client: &ClientIdentity<'_>) -> Result<(), DecidedBy<'a>> {
        let name = client.session.as_bytes();
        let (mut reserved, mut denied) = (None, None);

        for (number, rule) in self.iter() {
            let covers = |pattern: Glob<'_>| !pattern.is_everything() && pattern.matches(name);
            if !rule.session().is_some_and(covers) {
                continue;
            }
            let by = DecidedBy::Rule {
                number,
                text: rule.text,
            };
            let is_for_client = rule.matches_peer(client.peer) && rule.matches_key(client.key);
            match (rule.permission, is_for_client) {
                (Permission::Denied, true) if rule.device.is_none() => denied = denied.or(Some(by)),
                (Permission::Denied, _) => {}
                // A rule for this address that comes after its denial does not apply.
                (_, true) if denied.is_none() => return Ok(()),
                (_, _) => reserved = reserved.or(Some(by)),
            }
        }
        match reserved {
            Some(by) => Err(denied.unwrap_or(by)),
            None => Ok(()),
        }
    }
}
