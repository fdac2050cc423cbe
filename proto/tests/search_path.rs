// SPDX-License-Identifier: GPL-2.0-only

//! Resolution of the device paths of clients.

use proptest::prelude::*;

use rnbd_proto::{
    search_path::{
        SearchPath,
        SearchPathError,
        PATH_MAX, //
    },
    wire::name::{
        DevicePath,
        SessName, //
    }, //
};

fn resolve(search: &str, sess: &str, device: &str) -> Result<String, SearchPathError> {
    let mut buf = [0xff; PATH_MAX];
    let sess = SessName::new(sess.as_bytes()).unwrap();
    let device = DevicePath::new(device.as_bytes()).unwrap();
    SearchPath::new(search.as_bytes())?
        .resolve(sess, device, &mut buf)
        .map(|path| path.to_str().unwrap().to_owned())
}

#[test]
fn paths_are_resolved() {
    for (search, device, path) in [
        ("/", "/dev/ram0", "/dev/ram0"),
        ("/", "dev//ram0", "/dev/ram0"),
        ("/dev", "ram0", "/dev/ram0"),
        ("//dev///", "/./ram0/", "/dev/ram0"),
        ("/dev", "foo..bar", "/dev/foo..bar"),
        ("/dev", "...", "/dev/..."),
        ("/srv/%SESSNAME%", "d", "/srv/blya/d"),
        ("/srv/%SESSNAME%/x", "d", "/srv/blya/x/d"),
        ("/srv/a%SESSNAME%b/%SESSNAME%", "d", "/srv/ablyab/blya/d"),
        ("/srv/%SESSNAME", "d", "/srv/%SESSNAME/d"),
        ("/srv/%%SESSNAME%%", "d", "/srv/%blya%/d"),
        ("/srv", "%SESSNAME%", "/srv/%SESSNAME%"),
    ] {
        assert_eq!(resolve(search, "blya", device).as_deref(), Ok(path));
    }
}

#[test]
fn bad_paths_are_refused() {
    for (search, device, error) in [
        ("/dev", "..", SearchPathError::Parent),
        ("/dev", "../etc", SearchPathError::Parent),
        ("/dev", "a/../../etc", SearchPathError::Parent),
        ("/dev", "a/..", SearchPathError::Parent),
        ("/dev/..", "a", SearchPathError::Parent),
        ("/dev", "/", SearchPathError::Empty),
        ("/dev", "./.", SearchPathError::Empty),
        ("dev", "a", SearchPathError::Relative),
        ("", "a", SearchPathError::Relative),
        ("/dev\n", "a", SearchPathError::Control),
        (&"/a".repeat(2048), "a", SearchPathError::TooLong),
        (&"/a".repeat(2047), "a", SearchPathError::TooLong),
    ] {
        assert_eq!(resolve(search, "s", device), Err(error), "{device}");
        assert_eq!(error.errno(), 22);
    }
    let longest = format!("{}b", "/a".repeat(2046));
    assert_eq!(resolve(&longest, "s", "a").map(|p| p.len()), Ok(4095));
    // Replacing the placeholders makes the path too long.
    let placeholders = "/%SESSNAME%".repeat(20);
    let sess = "s".repeat(255);
    assert_eq!(
        resolve(&placeholders, &sess, "a"),
        Err(SearchPathError::TooLong)
    );
}

#[test]
fn directory() {
    let mut buf = [0; 64];
    let sess = SessName::new(b"blya").unwrap();
    for (search, dir, is_root) in [
        ("/", c"/", true),
        ("/.//", c"/", true),
        ("/srv/%SESSNAME%/", c"/srv/blya", false),
    ] {
        let search = SearchPath::new(search.as_bytes()).unwrap();
        assert_eq!(search.directory(sess, &mut buf), Ok(dir));
        assert_eq!(search.is_root(), is_root);
    }
    let search = SearchPath::new(b"/").unwrap();
    let too_long = Err(SearchPathError::TooLong);
    assert_eq!(search.directory(sess, &mut buf[..1]), too_long);
    assert_eq!(search.directory(sess, &mut []), too_long);
}

proptest! {
    /// For any path of a client, the result is below the directory of its session.
    #[test]
    fn results_are_below_the_directory(parts in prop::collection::vec(
        prop::sample::select(vec!["..", ".", "", "a", "..a", "%SESSNAME%", "/"]), 1..12,
    )) {
        let device = parts.join("/");
        if device.is_empty() {
            return Ok(());
        }
        match resolve("/srv/%SESSNAME%", "s", &device) {
            Ok(path) => {
                prop_assert!(path.starts_with("/srv/s/"));
                prop_assert!(path.split('/').skip(1).all(|c| !["", ".", ".."].contains(&c)));
                prop_assert!(!parts.contains(&".."));
            }
            Err(SearchPathError::Parent) => prop_assert!(parts.contains(&"..")),
            Err(e) => prop_assert_eq!(e, SearchPathError::Empty),
        }
    }
}
