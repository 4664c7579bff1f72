//! The SemVer inside a Mender version text, which is free text and often a name.

use crate::domain::Version;

/// The SemVer at the end of a text: of `release-1.3.0`, `app_v1.3.0-rc.1` and `1.3.0` what is written there.
/// It begins with a digit, at the beginning or behind anything but a letter, a digit or a dot, a `v` between
/// allowed; the first such place from where on everything is one SemVer counts. `1.2.3.4`, `rel1.2.3` and
/// `release-2` have none.
pub(super) fn trailing(text: &str) -> Option<Version> {
    let mut before = ' ';
    for (index, character) in text.char_indices() {
        let boundary = !before.is_alphanumeric() && before != '.';
        if boundary && (character.is_ascii_digit() || character == 'v') {
            let rest = &text[index..];
            if let Ok(version) = Version::parse_reported(rest) {
                return Some(version);
            }
        }
        before = character;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_semver_at_the_end_is_found() {
        for (text, expected) in [
            ("1.3.0", Some("1.3.0")),
            ("v1.3.0", Some("1.3.0")),
            ("release-1.3.0", Some("1.3.0")),
            ("release-v1.3.0", Some("1.3.0")),
            ("release-1.3.0-rc.1", Some("1.3.0-rc.1")),
            ("release_1.3.0+build.7", Some("1.3.0")),
            ("beaglebone-2-1.3.0", Some("1.3.0")),
            ("fleet/2026-01/1.3.0", Some("1.3.0")),
            ("1.2.3.4", None),
            ("rel1.2.3", None),
            ("release-2", None),
            ("1.3.0 final", None),
            ("", None),
            ("größe-1.3.0", Some("1.3.0")),
        ] {
            assert_eq!(trailing(text).map(|version| version.to_string()).as_deref(), expected, "{text}");
        }
    }
}
