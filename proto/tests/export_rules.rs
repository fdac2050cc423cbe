// SPDX-License-Identifier: GPL-2.0-only

//! Access rules: parsing and decisions.

use core::convert::Infallible;

use proptest::prelude::*;

use rnbd_proto::{
    auth::KeyName,
    export_rules::{
        line::{
            Line,
            LineError, //
        },
        ClientIdentity,
        DecidedBy,
        DeviceMatch,
        Permission,
        Rules, //
    },
    subnet::PeerAddr,
    text::path_addr::Addr,
    wire::{
        name::SessName,
        rnbd::AccessMode, //
    }, //
};

/// Rules that lists are made of at random.
const RULES: [&str; 8] = [
    "allow",
    "deny",
    "allow session=web* from=10.0.0.0/24 device=/dev/a",
    "deny session=web*",
    "deny from=10.0.0.0/24",
    "deny from=10.1.0.0/24 device=/dev/a",
    "allow from=10.1.0.0/24 ro",
    "allow session=other device=/dev/b",
];

fn peer(text: &str) -> PeerAddr {
    Addr::parse(text.as_bytes()).unwrap().into()
}

fn client<'a>(session: &'a str, from: &str) -> ClientIdentity<'a> {
    ClientIdentity {
        session: SessName::new(session.as_bytes()).unwrap(),
        peer: peer(from),
        key: None,
    }
}

fn decide<'a>(
    rules: &'a str,
    session: &str,
    from: &str,
    device: &str,
) -> (Permission, DecidedBy<'a>) {
    let decided: Result<_, Infallible> = Rules::new(rules.as_bytes())
        .decide(&client(session, from), |pattern| {
            Ok(pattern.matches(device.as_bytes()))
        });
    decided.unwrap()
}

#[test]
fn lines_are_parsed() {
    assert_eq!(Line::parse(b""), Ok(Line::Blank));
    assert_eq!(Line::parse(b" \t"), Ok(Line::Blank));
    assert_eq!(Line::parse(b" # allow \x01"), Ok(Line::Blank));
    assert_eq!(Line::parse(b" clear\r"), Ok(Line::Clear));
    assert_eq!(Line::parse(b"default "), Ok(Line::Default));
    for good in [
        "allow",
        "deny",
        "allow ro",
        "allow session=a* from=10.0.0.0/8,fd00::/8,gid:fe80::/10 device=/dev/ram? ro",
        "deny device=**/x",
        "deny device=/**",
    ] {
        let text = format!("  {good} ");
        let Ok(Line::Rule(rule)) = Line::parse(text.as_bytes()) else {
            panic!("{good}");
        };
        assert_eq!(rule.text, good.as_bytes());
    }
}

#[test]
fn bad_lines_are_refused() {
    let long = format!("allow device=/{}", "d".repeat(255));
    for (line, reason) in [
        ("alow", "'alow' is none of"),
        ("ALLOW", "'ALLOW' is none of"),
        ("allow\x01", "control characters"),
        ("clear all", "unknown word 'all'"),
        ("default allow", "unknown word 'allow'"),
        ("allow user=a", "unknown word 'user=a'"),
        ("allow deny", "unknown word 'deny'"),
        ("allow rw", "unknown word 'rw'"),
        ("deny ro", "ro goes with allow only"),
        ("allow ro ro", "ro given twice"),
        ("allow session=a session=b", "session given twice"),
        ("allow from=10.0.0.1 from=10.0.0.2", "from given twice"),
        ("allow device=/a device=/b", "device given twice"),
        ("allow session=", "session is empty or longer than 255"),
        ("allow device=", "device is empty or longer than 255"),
        (&long, "device is empty or longer than 255"),
        ("allow from=", "from '' is not an address"),
        ("allow from=10.0.0.1,", "from '' is not an address"),
        (
            "allow from=10.0.0.1,10.0.0.0/40",
            "from '10.0.0.0/40' has a bad number of bits",
        ),
        ("allow session=a/b", "session 'a/b'"),
        ("allow session=*.example", "session '*.example'"),
        ("allow device=ram0", "device 'ram0' is not"),
        ("allow device=*/ram0", "device '*/ram0' is not"),
        ("allow device=/dev/../etc", "device '/dev/../etc' is not"),
        ("allow device=/dev//ram0", "is not an absolute path"),
        ("allow device=/dev/./ram0", "is not an absolute path"),
        ("allow device=/dev/", "is not an absolute path"),
        ("allow device=/", "is not an absolute path"),
    ] {
        let error = Line::parse(line.as_bytes()).expect_err(line);
        assert!(error.to_string().contains(reason), "{line}: {error}");
        assert_eq!(error.errno(), 22);
    }
}

#[test]
fn the_first_matching_rule_decides() {
    let rules = "deny session=mallory\nallow from=10.0.0.0/24 device=/dev/ram0 ro\n\
                 deny device=/dev/ram*\nallow from=10.0.0.0/8,fd00::/8\n";
    for (session, from, device, permission, number) in [
        ("mallory", "ip:10.0.0.5", "/dev/ram0", Permission::Denied, 1),
        ("alice", "ip:10.0.0.5", "/dev/ram0", Permission::ReadOnly, 2),
        ("alice", "ip:10.0.1.5", "/dev/ram0", Permission::Denied, 3),
        ("alice", "ip:10.0.1.5", "/dev/sda", Permission::Full, 4),
        ("alice", "ip:fd00::1", "/dev/sda", Permission::Full, 4),
    ] {
        let (found, reason) = decide(rules, session, from, device);
        assert_eq!(found, permission, "{session} {from} {device}");
        let DecidedBy::Rule { number: by, text } = reason else {
            panic!("{session} {from} {device}: no rule");
        };
        assert_eq!(by, number);
        assert_eq!(Some(text), rules.lines().nth(number - 1).map(str::as_bytes));
    }
    let (permission, reason) = decide(rules, "alice", "ip:192.0.2.1", "/dev/sda");
    assert_eq!(
        (permission, reason),
        (Permission::Denied, DecidedBy::NoRule)
    );
    assert_eq!(reason.to_string(), "as no rule allows it");
    let (_, reason) = decide(rules, "mallory", "ip:192.0.2.1", "/dev/sda");
    assert_eq!(reason.to_string(), "by rule 1 'deny session=mallory'");
    assert_eq!(Rules::new(rules.as_bytes()).count(), 4);
}

/// What is decided about each address when it connects.
#[test]
fn an_address_that_no_rule_allows_anything_is_not_admitted() {
    let rules = "deny session=mallory from=10.0.0.9\nallow session=web* from=10.0.0.0/24 device=/dev/a ro\n\
                 deny from=fd00::/16 device=/dev/b\ndeny from=10.1.0.0/16\nallow from=10.0.0.0/8,fd00::/8\n";
    for (from, admitted) in [
        ("ip:10.0.0.5", true),
        // Denied as mallory only.
        ("ip:10.0.0.9", true),
        ("ip:10.1.0.5", false),
        ("ip:10.2.0.5", true),
        ("ip:fd00::1", true),
        ("ip:192.0.2.1", false),
        ("gid:fd00::1", false),
    ] {
        let found = Rules::new(rules.as_bytes()).admits(peer(from));
        assert_eq!(found, admitted, "{from}");
    }
    assert!(!Rules::new(b"").admits(peer("ip:10.0.0.1")));
    assert!(Rules::new(b"allow").admits(peer("ip:10.0.0.1")));
    assert!(!Rules::new(b"nonsense\nallow").admits(peer("ip:10.0.0.1")));
}

/// Whoever came first could otherwise keep the owner of a name out.
#[test]
fn a_name_goes_to_the_addresses_of_the_rules_that_cover_it() {
    let rules = "allow session=* from=10.9.0.0/16\ndeny session=mallory*\n\
                 deny session=web* from=10.0.0.9\n\
                 allow session=web* from=10.0.0.0/24 device=/dev/a\n\
                 allow session=web1 from=10.1.0.1\nallow session=open\nallow from=10.0.0.0/8\n";
    for (session, from, refused) in [
        ("web1", "ip:10.0.0.5", None),
        ("web1", "ip:10.1.0.1", None),
        ("web2", "ip:10.1.0.1", Some(4)),
        ("web1", "ip:10.9.0.1", Some(4)),
        ("web1", "ip:10.0.0.9", Some(3)),
        ("mallory2", "ip:10.2.0.1", None),
        ("other", "ip:10.2.0.1", None),
        ("open", "ip:192.0.2.1", None),
    ] {
        let found = Rules::new(rules.as_bytes()).check_name(&client(session, from));
        let by = found.err().map(|by| match by {
            DecidedBy::Rule { number, .. } => number,
            _ => 0,
        });
        assert_eq!(by, refused, "{session} {from}");
    }
    assert_eq!(
        Rules::new(b"").check_name(&client("a", "ip:10.0.0.1")),
        Ok(())
    );
}

/// A link that is missing may be one to any device, as before udev has made it.
#[test]
fn a_rule_about_a_missing_link_fails_closed() {
    let rules = "allow device=/dev/gone/mine\nallow session=trusted\n\
                 deny device=/dev/gone/secret\nallow\n";
    let look = |session| {
        let decided: Result<_, Infallible> =
            Rules::new(rules.as_bytes()).decide(&client(session, "ip:10.0.0.1"), |pattern| {
                Ok(match pattern.literal() {
                    Some(path) if path.starts_with(b"/dev/gone") => DeviceMatch::Unknown,
                    _ => DeviceMatch::No,
                })
            });
        decided.unwrap()
    };
    let (permission, reason) = look("a");
    assert_eq!(permission, Permission::Denied);
    assert_eq!(
        reason.to_string(),
        "by rule 3 'deny device=/dev/gone/secret', as that path leads to no device"
    );
    // An earlier rule still decides.
    assert_eq!(look("trusted").0, Permission::Full);
}

#[test]
fn without_rules_nothing_is_allowed() {
    assert_eq!(
        decide("", "a", "ip:10.0.0.1", "/dev/a").0,
        Permission::Denied
    );
    assert!(Rules::new(b"").denies_all(&client("a", "ip:10.0.0.1")));
}

/// A list has no such line, as all lines were parsed before.
#[test]
fn a_malformed_line_denies() {
    let (permission, reason) = decide("rubbish\nallow\n", "a", "ip:10.0.0.1", "/dev/a");
    assert_eq!(permission, Permission::Denied);
    assert_eq!(reason.to_string(), "by rule 1 'rubbish'");
}

#[test]
fn errors_of_matching_the_device_are_returned() {
    let rules = Rules::new(b"deny session=b device=/x\nallow device=/y\n");
    let decided = rules.decide(&client("a", "ip:10.0.0.1"), |pattern| {
        assert_eq!(pattern.as_bytes(), b"/y", "the rule of another client");
        Err::<bool, _>("broken")
    });
    assert_eq!(decided, Err("broken"));
}

#[test]
fn permissions_give_the_errors_of_clients() {
    use AccessMode::Migration;
    use AccessMode::ReadOnly;
    use AccessMode::ReadWrite;

    for (permission, mode, expected) in [
        (Permission::Denied, ReadOnly, Err(2)),
        (Permission::Denied, ReadWrite, Err(2)),
        (Permission::Denied, Migration, Err(2)),
        (Permission::ReadOnly, ReadOnly, Ok(())),
        (Permission::ReadOnly, ReadWrite, Err(13)),
        (Permission::ReadOnly, Migration, Err(13)),
        (Permission::Full, ReadOnly, Ok(())),
        (Permission::Full, ReadWrite, Ok(())),
        (Permission::Full, Migration, Ok(())),
    ] {
        assert_eq!(permission.check(mode), expected, "{permission:?} {mode:?}");
    }
}

fn any_rule() -> impl Strategy<Value = String> {
    let verb = prop_oneof![Just("allow"), Just("allow ro"), Just("deny")];
    let session = prop_oneof![Just(""), Just(" session=a*"), Just(" session=b")];
    let from = prop_oneof![
        Just(""),
        Just(" from=10.0.0.0/24"),
        Just(" from=fd00::/8,10.0.1.1")
    ];
    let device = prop_oneof![Just(""), Just(" device=/dev/a*"), Just(" device=/dev/b")];
    (verb, session, from, device).prop_map(|(v, s, f, d)| format!("{v}{s}{f}{d}\n"))
}

proptest! {
    /// Whoever may open a device is admitted.
    #[test]
    fn no_client_that_may_open_a_device_is_kept_out(
        picked in prop::collection::vec(0..RULES.len(), 0..6),
        session in prop::sample::select(vec!["web1", "other"]),
        from in prop::sample::select(vec!["ip:10.0.0.5", "ip:10.1.0.5"]),
        device in prop::sample::select(vec!["/dev/a", "/dev/b"]),
    ) {
        let rules: Vec<_> = picked.iter().map(|rule| RULES[*rule]).collect();
        let rules = rules.join("\n");
        let (permission, _) = decide(&rules, session, from, device);
        if permission != Permission::Denied {
            prop_assert!(Rules::new(rules.as_bytes()).admits(peer(from)), "{}", rules);
        }
    }

    /// The beginning of a list never allows more than the list, which is written line by line.
    #[test]
    fn beginnings_of_lists_allow_less(
        rules in prop::collection::vec(any_rule(), 0..8),
        head in 0_usize..8,
        session in "a|ab|b|c",
        from in "ip:10\\.0\\.[01]\\.1|ip:fd00::1",
        device in "/dev/(a|ab|b|c)",
    ) {
        let whole = rules.concat();
        let part = rules[..head.min(rules.len())].concat();
        let (permission, _) = decide(&whole, &session, &from, &device);
        prop_assert!(decide(&part, &session, &from, &device).0 <= permission);
    }

    /// A client to which the rules deny everything is denied each device.
    #[test]
    fn denies_all_means_each_device(
        rules in prop::collection::vec(any_rule(), 0..8),
        session in "a|ab|b|c",
        from in "ip:10\\.0\\.[01]\\.1|ip:fd00::1",
    ) {
        let text = rules.concat();
        let denies_all = Rules::new(text.as_bytes()).denies_all(&client(&session, &from));
        let denied = ["/dev/a", "/dev/ab", "/dev/b", "/dev/c"]
            .map(|device| decide(&text, &session, &from, device).0 == Permission::Denied);
        prop_assert!(!denies_all || denied == [true; 4]);
    }

    /// Any error is printed in one line, and the text of a rule parses to the same rule.
    #[test]
    fn lines_of_any_bytes(line in prop::collection::vec(any::<u8>(), 0..64)) {
        match Line::parse(&line) {
            Ok(Line::Rule(rule)) => prop_assert_eq!(Line::parse(rule.text), Ok(Line::Rule(rule))),
            Ok(_) => {}
            Err(error) => prop_assert!(!error.to_string().contains('\n')),
        }
    }
}

fn decide_with_key<'a>(
    rules: &'a str,
    key: Option<&str>,
    device: &str,
) -> (Permission, DecidedBy<'a>) {
    let client = ClientIdentity {
        key: key.map(|key| KeyName::new(key.as_bytes()).unwrap()),
        ..client("s1", "ip:10.0.0.1")
    };
    let decided: Result<_, Infallible> = Rules::new(rules.as_bytes())
        .decide(&client, |pattern| Ok(pattern.matches(device.as_bytes())));
    decided.unwrap()
}

#[test]
fn a_rule_with_a_key_is_for_its_holders() {
    let rules = "allow key=web device=/dev/a\ndeny key=old\nallow device=/dev/b ro\n";
    for (key, device, permission) in [
        (Some("web"), "/dev/a", Permission::Full),
        (Some("web"), "/dev/b", Permission::ReadOnly),
        (Some("we"), "/dev/a", Permission::Denied),
        (Some("WEB"), "/dev/a", Permission::Denied),
        (None, "/dev/a", Permission::Denied),
        (None, "/dev/b", Permission::ReadOnly),
        (Some("old"), "/dev/b", Permission::Denied),
    ] {
        assert_eq!(
            decide_with_key(rules, key, device).0,
            permission,
            "{key:?} {device}"
        );
    }
    let reason = decide_with_key(rules, None, "/dev/a").1;
    assert_eq!(
        reason.to_string(),
        "as no rule allows it without a key, as rule 1 'allow key=web device=/dev/a' asks for"
    );
    assert_eq!(
        decide_with_key("deny key=web\n", None, "/dev/a").1,
        DecidedBy::NoRule
    );
}

#[test]
fn who_may_open_nothing_without_a_key_is_denied_all() {
    let rules = Rules::new(b"allow key=web\n");
    let mut client = client("s1", "ip:10.0.0.1");
    assert!(rules.denies_all(&client));
    client.key = KeyName::new(b"web");
    assert!(!rules.denies_all(&client));
}

#[test]
fn malformed_keys_are_refused() {
    for (line, error) in [
        (&b"allow key="[..], LineError::Key(b"")),
        (b"allow key=a,b", LineError::Key(b"a,b")),
        (b"allow key=web*", LineError::Key(b"web*")),
        (b"allow key=a key=b", LineError::Twice("key")),
    ] {
        assert_eq!(Line::parse(line), Err(error));
    }
}

/// A name that rules with `session=` and `key=` match belongs to the holders of their keys.
#[test]
fn names_of_sessions_have_owners() {
    let rules = "allow session=web* key=web\nallow session=web1 key=admin ro\n\
                 allow session=all* key=web\nallow session=all ro\n\
                 deny session=log key=log\nallow session=* key=any\nallow session=free\n";
    let rules = Rules::new(rules.as_bytes());
    let may = |name: &str, key: Option<&str>| {
        let key = key.map(|key| KeyName::new(key.as_bytes()).unwrap());
        let client = ClientIdentity {
            key,
            ..client(name, "ip:10.0.0.1")
        };
        rules.check_name(&client).is_ok()
    };
    assert!(may("web1", Some("web")));
    assert!(may("web1", Some("admin")));
    assert!(!may("web2", Some("admin")));
    assert!(!may("web1", Some("any")));
    assert!(!may("web1", None));
    assert!(!may("all2", None));
    for free in ["log", "free", "other", "all"] {
        assert!(may(free, None), "{free}");
    }
    let anyone = client("web1", "ip:10.0.0.1");
    assert_eq!(Rules::new(b"").check_name(&anyone), Ok(()));
    // Before the key is known, the address decides alone.
    assert!(Rules::new(b"deny key=old\nallow key=web from=10.0.0.0/8\n").admits(anyone.peer));
}
