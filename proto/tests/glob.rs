// SPDX-License-Identifier: GPL-2.0-only

//! Compares patterns with a matcher that is too simple to be wrong.

use proptest::prelude::*;

use rnbd_proto::glob::Glob;

/// The longest pattern, in bytes.
const MAX_PATTERN: usize = 255;

fn matches(pattern: &str, name: &str) -> bool {
    Glob::new(pattern.as_bytes())
        .unwrap()
        .matches(name.as_bytes())
}

/// Tries all possibilities, in exponential time.
fn naive(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern, name) {
        ([], _) => name.is_empty(),
        ([b'*', b'*', rest @ ..], _) => {
            let rest = rest
                .iter()
                .position(|b| *b != b'*')
                .map_or(&[][..], |at| &rest[at..]);
            (0..=name.len()).any(|taken| naive(rest, &name[taken..]))
        }
        ([b'*', rest @ ..], _) => {
            let component = name.iter().position(|b| *b == b'/').unwrap_or(name.len());
            (0..=component).any(|taken| naive(rest, &name[taken..]))
        }
        (_, []) => false,
        ([b'?', rest @ ..], [first, name @ ..]) => *first != b'/' && naive(rest, name),
        ([byte, rest @ ..], [first, name @ ..]) => byte == first && naive(rest, name),
    }
}

#[test]
fn examples() {
    for (pattern, name, expected) in [
        ("a", "a", true),
        ("a", "", false),
        ("a", "ab", false),
        ("*", "", true),
        ("*", "a/b", false),
        ("**", "a/b", true),
        ("?", "/", false),
        ("/dev/ram*", "/dev/ram12", true),
        ("/dev/ram?", "/dev/ram12", false),
        ("/dev/*", "/dev/mapper/x", false),
        ("/dev/**", "/dev/mapper/x", true),
        ("/dev/**", "/dev/", true),
        ("/dev/**", "/dev", false),
        ("/*/web-*", "/vg0/web-1", true),
        ("/*/web-*", "/vg0/sub/web-1", false),
        ("/**/web-*", "/vg0/sub/web-1", true),
        ("/**/web-*", "/vg0/web-1/x", false),
        ("***x", "a/b/x", true),
        (
            r"/dev/disk/by-label/a\x20b",
            r"/dev/disk/by-label/a\x20b",
            true,
        ),
        ("[a]", "a", false),
    ] {
        assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        assert_eq!(naive(pattern.as_bytes(), name.as_bytes()), expected);
    }
}

#[test]
fn lengths() {
    assert_eq!(Glob::new(b""), None);
    assert_eq!(Glob::new(&[b'a'; MAX_PATTERN + 1]), None);
    let longest = "a".repeat(MAX_PATTERN);
    assert!(matches(&longest, &longest));
    assert!(!matches(&longest, &longest[1..]));
}

#[test]
fn literals() {
    let literal = |pattern: &'static str| Glob::new(pattern.as_bytes()).unwrap().literal();
    assert_eq!(literal("/dev/ram0"), Some(&b"/dev/ram0"[..]));
    assert_eq!(literal("/dev/ram*"), None);
    assert_eq!(literal("/dev/ram?"), None);
}

/// Patterns for which a matcher that backtracks takes forever.
#[test]
fn many_stars_are_fast() {
    let pattern = format!("{}b", "*a".repeat(100));
    assert!(!matches(&pattern, &"a".repeat(4095)));
    let pattern = format!("{}b", "**/*a".repeat(50));
    assert!(!matches(&pattern, &"/a".repeat(2047)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(5000))]

    #[test]
    fn matches_like_the_naive_matcher(pattern in "[ab/*?]{1,8}", name in "[ab/]{0,8}") {
        prop_assert_eq!(matches(&pattern, &name), naive(pattern.as_bytes(), name.as_bytes()));
    }
}
