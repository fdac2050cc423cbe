// SPDX-License-Identifier: GPL-2.0-only

//! Lists of export rules, and what they let clients do on this machine.

use rnbd_proto::{
    export_rules::{
        line::{
            Line,
            Rule, //
        },
        ClientIdentity,
        DeviceMatch,
        Permission,
        Rules, //
    },
    glob::Glob, //
};
use serde::Serialize;

/// A block device of this machine, with all names of its nodes and links.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct BlockDevice {
    /// Its node, named as the kernel names the device.
    pub(crate) node: String,
    /// Links to it.
    pub(crate) links: Vec<String>,
}

impl BlockDevice {
    /// Returns whether a rule with this pattern is about the device, if a client asks for it
    /// by one of its names.
    fn matches(&self, pattern: Glob<'_>) -> bool {
        self.names().any(|name| pattern.matches(name.as_bytes()))
    }

    /// Returns whether the rule is about the device whatever name a client asks for.
    fn matches_every_name(&self, pattern: Glob<'_>) -> bool {
        pattern.literal().is_some() || pattern.matches(self.node.as_bytes())
    }

    fn names(&self) -> impl Iterator<Item = &String> {
        [&self.node].into_iter().chain(&self.links)
    }
}

/// What a rule lets clients do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct RuleEffect {
    /// Its position in the list, from 1.
    pub(crate) number: usize,
    /// The rule as it is written.
    pub(crate) text: String,
    /// `rw`, `ro` or `none`.
    pub(crate) permission: &'static str,
    /// Pattern for names of sessions; all if there is none.
    pub(crate) session: Option<String>,
    /// Addresses of clients; all if there are none.
    pub(crate) from: Option<String>,
    /// The devices of this machine that it is about.
    pub(crate) devices: Vec<BlockDevice>,
    /// Nodes of those that a client gets past a `deny` rule by asking for another name.
    pub(crate) avoidable: Vec<String>,
}

/// What one client may do with a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Decision {
    /// The device.
    pub(crate) node: String,
    /// `rw`, `ro` or `none`.
    pub(crate) permission: &'static str,
    /// The reason.
    pub(crate) reason: String,
}

/// A list of rules that were read from a file.
#[derive(Debug, Default)]
pub(crate) struct RuleList {
    /// The rules, one a line; none if `export_default` applies.
    text: Option<String>,
}

impl RuleList {
    /// Parses the lines of a file. The error has the number of the line.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut list = Self {
            // Loading replaces what is there.
            text: Some(String::new()),
        };

        for (number, line) in (1..).zip(text.lines()) {
            match Line::parse(line.as_bytes()) {
                Ok(Line::Blank) => {}
                Ok(Line::Clear) => list.text = Some(String::new()),
                Ok(Line::Default) => list.text = None,
                Ok(Line::Rule(_)) => {
                    let rules = list.text.get_or_insert_default();

                    rules.push_str(line.trim());
                    rules.push('\n');
                }
                Err(e) => return Err(format!("line {number}: {e}")),
            }
        }
        Ok(list)
    }

    /// Returns whether the list is dropped, so that `export_default` applies.
    pub(crate) fn is_default(&self) -> bool {
        self.text.is_none()
    }

    /// Returns what to write to `export_rules`.
    pub(crate) fn to_write(&self) -> String {
        match &self.text {
            None => "default\n".into(),
            Some(rules) => format!("clear\n{rules}"),
        }
    }

    /// Returns the number of rules.
    pub(crate) fn count(&self) -> usize {
        self.rules().count()
    }

    fn rules(&self) -> impl Iterator<Item = Rule<'_>> {
        let lines = self.text.iter().flat_map(|text| text.lines());

        lines.filter_map(|line| Rule::parse(line.as_bytes()).ok())
    }

    /// Returns the names of the keys that rules ask for.
    pub(crate) fn keys(&self) -> Vec<String> {
        let keys = self.rules().filter_map(|rule| rule.key());

        keys.map(|key| key.to_string()).collect()
    }

    /// Returns what each rule lets clients do.
    pub(crate) fn effects(&self, devices: &[BlockDevice]) -> Vec<RuleEffect> {
        (1..)
            .zip(self.rules())
            .map(|(number, rule)| effect(number, &rule, devices))
            .collect()
    }

    /// Returns what a client may do with each device. `exists` returns whether there is a path.
    pub(crate) fn decide(
        &self,
        client: &ClientIdentity<'_>,
        devices: &[BlockDevice],
        exists: impl Fn(&str) -> bool,
    ) -> Vec<Decision> {
        let rules = Rules::new(self.text.as_deref().unwrap_or_default().as_bytes());
        let refused = rules.check_name(client).err();
        let decide = |device: &BlockDevice| {
            if let Some(by) = refused {
                return Decision {
                    node: device.node.clone(),
                    permission: word(Permission::Denied),
                    reason: format!("the session may not have this name {by}"),
                };
            }
            let matches = |pattern: Glob<'_>| {
                let path = pattern
                    .literal()
                    .and_then(|path| std::str::from_utf8(path).ok());
                let missing = path.is_some_and(|path| !exists(path));

                Ok::<_, std::convert::Infallible>(match missing {
                    true => DeviceMatch::Unknown,
                    false => device.matches(pattern).into(),
                })
            };
            let Ok((permission, reason)) = rules.decide(client, matches);

            Decision {
                node: device.node.clone(),
                permission: word(permission),
                reason: reason.to_string(),
            }
        };

        devices.iter().map(decide).collect()
    }
}

fn effect(number: usize, rule: &Rule<'_>, devices: &[BlockDevice]) -> RuleEffect {
    let text = String::from_utf8_lossy(rule.text).into_owned();
    let value = |key: &str| {
        let mut words = text.split_ascii_whitespace();

        words
            .find_map(|word| word.strip_prefix(key))
            .map(str::to_owned)
    };
    let devices: Vec<BlockDevice> = devices
        .iter()
        .filter(|device| rule.device.is_none_or(|pattern| device.matches(pattern)))
        .cloned()
        .collect();
    let denies = rule.permission == Permission::Denied;
    let avoidable = devices.iter().filter(|device| {
        denies
            && rule
                .device
                .is_some_and(|pattern| !device.matches_every_name(pattern))
    });

    RuleEffect {
        number,
        permission: word(rule.permission),
        session: value("session="),
        from: value("from="),
        avoidable: avoidable.map(|device| device.node.clone()).collect(),
        devices,
        text,
    }
}

const fn word(permission: Permission) -> &'static str {
    match permission {
        Permission::Denied => "none",
        Permission::ReadOnly => "ro",
        Permission::Full => "rw",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rnbd_proto::{
        text::path_addr::Addr,
        wire::name::SessName, //
    };

    fn devices() -> Vec<BlockDevice> {
        let device = |node: &str, links: &[&str]| BlockDevice {
            node: node.into(),
            links: links.iter().copied().map(str::to_owned).collect(),
        };

        vec![
            device("/dev/dm-3", &["/dev/vg/web"]),
            device("/dev/sda", &[]),
        ]
    }

    #[test]
    fn later_lines_replace_and_append() {
        let list = RuleList::parse("allow\nclear\n# x\n allow device=/dev/sda \n").expect("rules");

        assert_eq!(list.to_write(), "clear\nallow device=/dev/sda\n");
        let list = RuleList::parse("allow\ndefault\n").expect("rules");
        assert_eq!(list.to_write(), "default\n");
        assert!(list.is_default());
        assert_eq!(RuleList::parse("").expect("rules").to_write(), "clear\n");
        assert!(RuleList::parse("allow\n\nalow\n")
            .expect_err("a typo")
            .starts_with("line 3: 'alow'"));
    }

    #[test]
    fn effects_name_devices_and_holes() {
        let list = RuleList::parse("deny device=/dev/vg/*\nallow session=s* from=10.0.0.0/8 ro\n");
        let effects = list.expect("rules").effects(&devices());
        let [deny, allow] = effects.as_slice() else {
            panic!("{effects:?}");
        };

        assert_eq!((deny.number, deny.permission), (1, "none"));
        assert_eq!(deny.devices.len(), 1);
        assert_eq!(deny.avoidable, ["/dev/dm-3"]);
        assert_eq!((allow.permission, allow.devices.len()), ("ro", 2));
        assert_eq!(allow.session.as_deref(), Some("s*"));
        assert_eq!(allow.from.as_deref(), Some("10.0.0.0/8"));
        assert!(allow.avoidable.is_empty());
    }

    #[test]
    fn decisions_are_those_of_the_server() {
        let list = RuleList::parse("allow from=10.0.0.0/8 device=/dev/vg/web ro\n").expect("rules");
        let client = |addr: &[u8]| ClientIdentity {
            session: SessName::new(b"s1").expect("a name"),
            peer: Addr::parse(addr).expect("an address").into(),
            key: None,
        };
        let near = list.decide(&client(b"ip:10.1.1.1"), &devices(), |_| true);

        assert_eq!((near[0].permission, near[1].permission), ("ro", "none"));
        assert!(near[0].reason.contains("rule 1"));
        let far = list.decide(&client(b"ip:11.1.1.1"), &devices(), |_| true);
        assert_eq!((far[0].permission, far[1].permission), ("none", "none"));
    }

    #[test]
    fn a_name_that_is_kept_for_others_opens_nothing() {
        let list = RuleList::parse("allow session=s1 from=10.0.0.1\nallow\n").expect("rules");
        let client = |addr: &[u8]| ClientIdentity {
            session: SessName::new(b"s1").expect("a name"),
            peer: Addr::parse(addr).expect("an address").into(),
            key: None,
        };
        let other = list.decide(&client(b"ip:10.0.0.2"), &devices(), |_| true);

        assert!(other.iter().all(|it| it.permission == "none"));
        assert!(other[0].reason.contains("may not have this name by rule 1"));
        let owner = list.decide(&client(b"ip:10.0.0.1"), &devices(), |_| true);
        assert!(owner.iter().all(|it| it.permission == "rw"));
    }

    #[test]
    fn a_denied_path_that_is_missing_denies_every_device() {
        let list = RuleList::parse("deny device=/dev/vg/gone\nallow\n").expect("rules");
        let client = ClientIdentity {
            session: SessName::new(b"s1").expect("a name"),
            peer: Addr::parse(b"ip:10.1.1.1").expect("an address").into(),
            key: None,
        };
        let decided = list.decide(&client, &devices(), |path| path != "/dev/vg/gone");

        assert!(decided.iter().all(|it| it.permission == "none"));
        assert!(decided[0].reason.contains("leads to no device"));
        let decided = list.decide(&client, &devices(), |_| true);
        assert!(decided.iter().all(|it| it.permission == "rw"));
    }
}
