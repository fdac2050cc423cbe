// SPDX-License-Identifier: GPL-2.0-only

//! Access rules: parsing and decisions.

use core::convert::Infallible;

use proptest::prelude::*;

use rnbd_proto::{
    export_rules::{
        line::Line,
        ClientIdentity,
        DecidedBy,
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

fn peer(text: &str) -> PeerAddr {
    Addr::parse(text.as_bytes()).unwrap().into()
}

fn client<'a>(session: &'a str, from: &str) -> ClientIdentity<'a> {
    ClientIdentity {
        session: SessName::new(session.as_bytes()).unwrap(),
        peer: peer(from),
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
        Err("broken")
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
