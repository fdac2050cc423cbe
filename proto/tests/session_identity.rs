// SPDX-License-Identifier: GPL-2.0-only

//! Which lines of `map_device` belong to a session that exists.

use rnbd_proto::{
    auth::KeyName,
    session_identity::{
        check,
        check_key,
        Conflict,
        PathEnd,
        PathEnds, //
    },
    text::path_addr::{
        Addr,
        PathAddr, //
    }, //
};

const PORT: u16 = 1234;

/// Converts an address, whose interfaces have numbers for names.
fn end(addr: &Addr<'_>) -> PathEnd {
    match *addr {
        Addr::V4(addr) => PathEnd {
            addr: Addr::V4(addr),
            scope: 0,
        },
        Addr::V6 { addr, scope } => PathEnd {
            addr: Addr::V6 { addr, scope: None },
            scope: scope.map_or(0, |scope| scope.parse().unwrap()),
        },
        Addr::Gid(gid) => PathEnd {
            addr: Addr::Gid(gid),
            scope: 0,
        },
    }
}

fn ends(words: &str) -> Vec<PathEnds> {
    let parse = |word: &str| {
        let path = PathAddr::parse(word.as_bytes()).unwrap();
        PathEnds {
            src: path.src.as_ref().map(end),
            dst: end(&path.dst),
        }
    };
    words.split_whitespace().map(parse).collect()
}

fn check_paths(given: &str, known: &str) -> Result<(), Conflict> {
    check(&ends(given), None, PORT, ends(known).into_iter())
}

/// One path of the session suffices, and all parts of an address count.
#[test]
fn paths() {
    let known = "ip:10.0.0.1@ip:10.0.0.2 ip:fe80::1%3@ip:fe80::2%3 gid:fe80::2 ip:10.0.1.2";
    for given in [
        "",
        "ip:10.0.0.2",
        "ip:10.0.0.1@ip:10.0.0.2",
        "ip:10.0.0.9 ip:10.0.0.2",
        "ip:fe80::2%3",
        "ip:fe80::1%3@ip:fe80::2%3",
        // As the path is called in sysfs.
        "ip:fe80::1@ip:fe80::2",
        "gid:fe80::2",
        // The local end of the path is not known yet.
        "ip:10.0.1.1@ip:10.0.1.2",
        "ip:10.0.1.7@ip:10.0.1.2",
    ] {
        assert_eq!(check_paths(given, known), Ok(()), "{given}");
    }
    for given in [
        "ip:10.0.0.9",
        "ip:10.0.0.9 ip:10.0.0.8",
        // The two ends exchanged.
        "ip:10.0.0.2@ip:10.0.0.1",
        "ip:10.0.0.1",
        // By way of another network.
        "ip:10.0.0.7@ip:10.0.0.2",
        // Other families.
        "ip:::ffff:10.0.0.2",
        "gid:::ffff:10.0.0.2",
        "gid:fe80::1",
        // Another interface.
        "ip:fe80::2%4",
        "ip:fe80::1%4@ip:fe80::2%3",
    ] {
        assert_eq!(check_paths(given, known), Err(Conflict::Path), "{given}");
    }
}

/// A session whose paths were all removed has none to name.
#[test]
fn no_paths() {
    assert_eq!(check_paths("", ""), Ok(()));
    assert_eq!(check_paths("ip:10.0.0.2", ""), Err(Conflict::Path));
}

/// A port that is not given is not compared.
#[test]
fn ports() {
    let known = ends("ip:10.0.0.2");
    for given in [ends(""), ends("ip:10.0.0.2")] {
        let check = |port| check(&given, port, PORT, known.iter().copied());
        assert_eq!(check(None), Ok(()));
        assert_eq!(check(Some(PORT)), Ok(()));
        assert_eq!(check(Some(4321)), Err(Conflict::Port));
    }
}

/// A line without a key means the session whatever key that has, any other only its own.
#[test]
fn keys() {
    let (web, other) = (KeyName::new(b"web"), KeyName::new(b"other"));
    assert_eq!(check_key(None, None), Ok(()));
    assert_eq!(check_key(None, web), Ok(()));
    assert_eq!(check_key(web, web), Ok(()));
    assert_eq!(check_key(web, None), Err(Conflict::Key));
    assert_eq!(check_key(web, other), Err(Conflict::Key));
}
