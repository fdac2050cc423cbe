// SPDX-License-Identifier: GPL-2.0-only

//! Contents of sysfs files.

use proptest::prelude::*;

use rnbd_proto::{
    text::{
        device_link::DeviceLink,
        map_device::MapOptions,
        path_addr::{
            Addr,
            AddrError,
            PathAddr, //
        },
        UnmapMode, //
    },
    wire::{
        name::{
            DevicePath,
            SessName, //
        },
        rnbd::AccessMode, //
    }, //
};

const CPUS: u32 = 8;

fn parse(line: &str) -> Result<MapOptions<'_>, String> {
    MapOptions::parse(line.as_bytes(), CPUS).map_err(|e| {
        let no_family = e.to_string().contains("neither ip: nor gid:");
        assert_eq!(e.errno(), if no_family { 93 } else { 22 });
        e.to_string()
    })
}

/// The shortest line with a path has the defaults.
#[test]
fn defaults() {
    let line = "sessname=blya path=ip:10.50.100.66 device_path=/dev/ram0\n";
    let options = parse(line).unwrap();
    assert_eq!(options.sessname.as_bytes(), b"blya");
    assert_eq!(options.device_path.as_bytes(), b"/dev/ram0");
    assert_eq!((options.dest_port, options.port()), (None, 1234));
    assert_eq!(options.access_mode, AccessMode::ReadWrite);
    assert_eq!(options.nr_poll_queues, 0);
    let paths: Vec<_> = options.paths().map(|p| p.to_string()).collect();
    assert_eq!(paths, ["ip:10.50.100.66"]);
    let mut buf = [0xff; 256];
    assert_eq!(options.link.copy_to(&mut buf), c"!dev!ram0@blya");
}

/// What a session is connected by, of lines that differ in other options only.
#[test]
fn servers_of_lines() {
    let server = |line: &str| parse(line).unwrap().server().to_string();
    let line = "sessname=s path=ip:10.0.0.1 path=ip:10.0.0.3@ip:10.0.0.2 key=web1 device_path=a";
    let known = server(line);
    assert_eq!(
        known,
        "port 1234 key web1 path ip:10.0.0.1 path ip:10.0.0.3@ip:10.0.0.2"
    );
    let same = [
        ("device_path=a", "device_path=b"),
        ("=a", "=a access_mode=ro"),
    ];
    for (from, to) in same {
        assert_eq!(server(&line.replace(from, to)), known);
    }
    for (from, to) in [
        ("=a", "=a dest_port=4791"),
        (" key=web1", ""),
        ("10.0.0.1", "10.0.0.9"),
        ("ip:10.0.0.3@", ""),
    ] {
        assert_ne!(server(&line.replace(from, to)), known);
    }
}

#[test]
fn all_options_in_any_order() {
    let options = parse(
        "  dest_port=4791 nr_poll_queues=-1\tpath=ip:1.2.3.4,ip:1.2.3.5 access_mode=migration \
         device_path=a path=gid:fe80::1@gid:fe80::2 sessname=s path=ip:fe80::1%eth0 ",
    )
    .unwrap();
    assert_eq!((options.dest_port, options.port()), (Some(4791), 4791));
    assert_eq!(options.nr_poll_queues, CPUS);
    assert_eq!(options.access_mode, AccessMode::Migration);
    let paths: Vec<_> = options.paths().map(|p| p.to_string()).collect();
    assert_eq!(
        paths,
        [
            "ip:1.2.3.4@ip:1.2.3.5",
            "gid:fe80:0000:0000:0000:0000:0000:0000:0001@gid:fe80:0000:0000:0000:0000:0000:0000:0002",
            "ip:fe80::1",
        ]
    );
}

#[test]
fn paths_may_be_left_out() {
    assert_eq!(
        parse("sessname=s device_path=d").unwrap().paths().count(),
        0
    );
}

/// Numbers are written as in C, and a value that is given again changes nothing.
#[test]
fn the_same_value_again() {
    let line = "sessname=s dest_port=0x10e1 device_path=d dest_port=4321 nr_poll_queues=010 \
                access_mode=ro sessname=s nr_poll_queues=-1 access_mode=ro device_path=d";
    let options = parse(line).unwrap();
    assert_eq!(options.dest_port, Some(4321));
    assert_eq!(options.nr_poll_queues, CPUS);
    assert_eq!(options.access_mode, AccessMode::ReadOnly);
}

/// A path that is given again counts once, also towards the limit.
#[test]
fn the_same_path_again() {
    let line =
        "sessname=s device_path=d".to_owned() + &" path=ip:1.1.1.1 path=ip:1.1.1.2".repeat(4);
    let paths: Vec<_> = parse(&line)
        .unwrap()
        .paths()
        .map(|p| p.to_string())
        .collect();
    assert_eq!(paths, ["ip:1.1.1.1", "ip:1.1.1.2"]);
}

/// Each kind of bad line is refused with a text that names the option.
#[test]
fn bad_options() {
    let long = "a".repeat(256);
    let paths: Vec<_> = (1..=7).map(|i| format!("path=ip:1.1.1.{i}")).collect();
    let paths = paths.join(" ");
    let cases = [
        ("", "option sessname is missing"),
        ("sessname=s", "option device_path is missing"),
        ("device_path=d", "option sessname is missing"),
        ("sessname=", "option sessname has no value"),
        (
            "sessname=s sessname=t",
            "option sessname given twice, with different values",
        ),
        (
            "device_path=a sessname=s device_path=b",
            "option device_path given twice, with different values",
        ),
        (
            "dest_port=1 dest_port=2",
            "option dest_port given twice, with different values",
        ),
        (
            "access_mode=ro access_mode=rw",
            "option access_mode given twice, with different values",
        ),
        (
            "nr_poll_queues=0 nr_poll_queues=1",
            "option nr_poll_queues given twice, with different values",
        ),
        ("sessname=a/b", "option sessname: bad name 'a/b'"),
        ("sessname=a.b", "option sessname: bad name 'a.b'"),
        ("sessname=a\u{7f}b", "option sessname: bad name 'a\\x7fb'"),
        (
            &format!("sessname={long}"),
            "option sessname is longer than 255 bytes",
        ),
        (
            &format!("sessname=s device_path={long}"),
            "option device_path is longer than 255 bytes",
        ),
        (
            &format!("sessname=s device_path={}", &long[..254]),
            "option device_path is longer than 255 bytes together with sessname",
        ),
        (
            &format!("sessname=s device_path=d {paths}"),
            "option path given more than 6 times",
        ),
        (
            "path=1.1.1.1",
            "option path: '1.1.1.1' starts with neither ip: nor gid:",
        ),
        (
            "path=ip:1.1.1",
            "option path: 'ip:1.1.1' is not an IP address",
        ),
        (
            "dest_port=-1",
            "option dest_port: '-1' is not within 0..65535",
        ),
        (
            "dest_port=65536",
            "option dest_port: '65536' is not within 0..65535",
        ),
        (
            "dest_port=x",
            "option dest_port: 'x' is not within 0..65535",
        ),
        (
            "nr_poll_queues=-2",
            "option nr_poll_queues: '-2' is not within -1..8",
        ),
        (
            "nr_poll_queues=9",
            "option nr_poll_queues: '9' is not within -1..8",
        ),
        (
            "access_mode=RW",
            "option access_mode: 'RW' is not ro, rw or migration",
        ),
        ("sessnam=s", "unknown option 'sessnam=s'"),
        ("sessname", "unknown option 'sessname'"),
        ("=", "unknown option '='"),
    ];
    for (line, reason) in cases {
        assert_eq!(parse(line).err().as_deref(), Some(reason), "{line}");
    }
    let unknown = parse(&long).err().unwrap();
    assert_eq!(unknown, format!("unknown option '{}...'", &long[..64]));
}

/// The longest names are not truncated; the link limits them together.
#[test]
fn long_names() {
    let name = "a".repeat(253);
    let line = format!("sessname=s device_path={name}");
    let options = parse(&line).unwrap();
    assert_eq!(options.device_path.as_bytes(), name.as_bytes());
    let mut buf = [0; 256];
    assert_eq!(options.link.copy_to(&mut buf).count_bytes(), 255);

    let long = "a".repeat(255);
    let path = DevicePath::new(long.as_bytes()).unwrap();
    let sessname = SessName::new(long.as_bytes()).unwrap();
    assert_eq!(path.copy_to(&mut buf).count_bytes(), 255);
    assert_eq!(sessname.copy_to(&mut buf).to_bytes(), long.as_bytes());
    assert_eq!(DeviceLink::new(path, SessName::new(b"s").unwrap()), None);
}

#[test]
fn addresses() {
    let print = |text: &str| Addr::parse(text.as_bytes()).map(|a| a.to_string());

    for (text, printed) in [
        ("ip:10.0.0.1", "ip:10.0.0.1"),
        ("ip:::", "ip:::"),
        ("ip:::1", "ip:::1"),
        ("ip:1:0:0:2:0:0:0:3", "ip:1:0:0:2::3"),
        ("ip:1:0:2:3:4:5:6:7", "ip:1:0:2:3:4:5:6:7"),
        ("ip:FE80::A%eth0", "ip:fe80::a"),
        ("ip:fe80::a%2", "ip:fe80::a"),
        ("ip:::ffff:1.2.3.4", "ip:::ffff:1.2.3.4"),
        // ISATAP, as %pI6c prints it.
        ("ip:fe80::5efe:102:304", "ip:fe80::5efe:1.2.3.4"),
        ("ip:1:2:3:4:200:5efe:102:304", "ip:1:2:3:4:200:5efe:1.2.3.4"),
        ("ip:0:1:0:1:0:5efe:102:304", "ip:0:1:0:1:0:5efe:1.2.3.4"),
        ("ip:::5efe:102:304", "ip:::5efe:1.2.3.4"),
        ("gid:::1", "gid:0000:0000:0000:0000:0000:0000:0000:0001"),
        (
            "gid:fe80::ffff:1.2.3.4",
            "gid:fe80:0000:0000:0000:0000:ffff:0102:0304",
        ),
    ] {
        assert_eq!(print(text).as_deref(), Ok(printed), "{text}");
    }
    for (text, error) in [
        ("", AddrError::Family),
        ("ib:1.2.3.4", AddrError::Family),
        ("ip:", AddrError::Ip),
        ("ip:1.2.3.256", AddrError::Ip),
        ("ip:1.2.3.4:1234", AddrError::Ip),
        ("ip:1.2.3.4%eth0", AddrError::Ip),
        ("ip:example.org", AddrError::Ip),
        ("ip::::", AddrError::Ip),
        ("ip:2001::1%eth0", AddrError::Scope),
        ("ip:fe80::1%", AddrError::Scope),
        ("ip:fe80::1%0123456789abcdef", AddrError::Scope),
        ("gid:1.2.3.4", AddrError::Gid),
        ("gid:fe80::1%eth0", AddrError::Gid),
    ] {
        assert_eq!(print(text), Err(error), "{text}");
    }
    let scoped = Addr::parse(b"ip:fe80::1%eth0");
    assert!(matches!(
        scoped,
        Ok(Addr::V6 {
            scope: Some("eth0"),
            ..
        })
    ));
}

#[test]
fn path_with_source() {
    for text in ["ip:1.1.1.1,ip:1.1.1.2", "ip:1.1.1.1@ip:1.1.1.2"] {
        let path = PathAddr::parse(text.as_bytes()).unwrap();
        assert_eq!(path.to_string(), "ip:1.1.1.1@ip:1.1.1.2");
    }
    for text in ["@ip:1.1.1.1", "ip:1.1.1.1@", "ip:1.1.1.1@@ip:1.1.1.1", ","] {
        assert!(PathAddr::parse(text.as_bytes()).is_err(), "{text}");
    }
}

#[test]
fn unmap_modes() {
    assert_eq!(UnmapMode::parse(b"normal\n"), Some(UnmapMode::Normal));
    assert_eq!(UnmapMode::parse(b" force "), Some(UnmapMode::Force));
    for bad in [&b""[..], b"forced", b"Normal", b"1"] {
        assert_eq!(UnmapMode::parse(bad), None);
    }
}

proptest! {
    #[test]
    fn addresses_are_parsed_as_printed(v4: [u8; 4], v6: [u8; 16], gid: [u8; 16]) {
        let scope = None;
        for addr in [
            Addr::V4(v4.into()),
            Addr::V6 { addr: v6.into(), scope },
            Addr::Gid(gid),
        ] {
            let text = addr.to_string();
            prop_assert_eq!(Addr::parse(text.as_bytes()), Ok(addr));
            let path = PathAddr { src: Some(addr), dst: addr };
            let text = path.to_string();
            prop_assert_eq!(PathAddr::parse(text.as_bytes()), Ok(path));
        }
    }

    #[test]
    fn isatap_addresses_are_parsed_as_printed(head: [bool; 4], universal: bool, v4: [u8; 4]) {
        let mut segments = [0u16; 8];
        for (segment, set) in segments.iter_mut().zip(head) {
            *segment = u16::from(set);
        }
        segments[4] = if universal { 0x200 } else { 0 };
        segments[5] = 0x5efe;
        segments[6] = u16::from_be_bytes([v4[0], v4[1]]);
        segments[7] = u16::from_be_bytes([v4[2], v4[3]]);
        let scope = None;
        let addr = Addr::V6 { addr: segments.into(), scope };
        let text = addr.to_string();
        prop_assert_eq!(Addr::parse(text.as_bytes()), Ok(addr), "{}", text);
    }

    #[test]
    fn lines_of_any_bytes(line in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Err(e) = MapOptions::parse(&line, CPUS) {
            let text = e.to_string();
            prop_assert!(text.bytes().all(|b| (0x20..0x7f).contains(&b)));
        }
    }

    /// The order of the options does not matter.
    #[test]
    fn options_in_any_order(words in Just(vec![
        "sessname=s", "device_path=d", "dest_port=7", "access_mode=ro", "path=ip:1.1.1.1",
    ]).prop_shuffle()) {
        let line = words.join(" ");
        let options = parse(&line).unwrap();
        prop_assert_eq!(options.dest_port, Some(7));
        prop_assert_eq!(options.access_mode, AccessMode::ReadOnly);
        prop_assert_eq!(options.paths().count(), 1);
    }
}
