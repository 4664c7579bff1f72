//! Firmware versions: SemVer 2.0 (<https://semver.org/spec/v2.0.0.html>), ordered by precedence.
//!
//! A leading `v` is accepted and dropped. Build metadata has no precedence (section 10 of the spec), so a
//! [`Version`] never carries any: [`Version::parse`] refuses it (a release's version must be unique in
//! precedence) and [`Version::parse_reported`] drops it (what a device runs may well carry some).

use std::{cmp::Ordering, fmt};

use serde::{Deserialize, Serialize};

/// The longest accepted version text, in bytes. It becomes a path segment of keys and URLs.
pub const LONGEST: usize = 128;

/// A SemVer 2.0 version without build metadata; ordered by precedence, pre-releases included.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Version(semver::Version);

/// Why a text is no firmware version.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VersionError {
    /// Not SemVer at all.
    #[error(
        "version {given:?} is not a SemVer 2.0 version: use MAJOR.MINOR.PATCH, such as 1.4.0 or 1.4.0-rc.1 ({why})"
    )]
    Malformed {
        /// What was given, shortened.
        given: String,
        /// The parser's words.
        why: String,
    },
    /// SemVer with `+build`, where it would be ambiguous.
    #[error(
        "version {given:?} carries build metadata ({build:?}): two versions that differ only in it have the same precedence, so publish it as {without}"
    )]
    BuildMetadata {
        /// What was given.
        given: String,
        /// The part after the `+`.
        build: String,
        /// The same version without it.
        without: String,
    },
}

impl Version {
    /// Parses a release's version.
    ///
    /// # Errors
    /// When the text is no SemVer 2.0 version, or carries build metadata.
    pub fn parse(text: &str) -> Result<Self, VersionError> {
        let mut version = parse_semver(text)?;
        if !version.build.is_empty() {
            let build = version.build.as_str().to_owned();
            version.build = semver::BuildMetadata::EMPTY;
            return Err(VersionError::BuildMetadata {
                given: text.to_owned(),
                build,
                without: version.to_string(),
            });
        }
        Ok(Self(version))
    }

    /// Parses the version that a device reports; build metadata is dropped.
    ///
    /// # Errors
    /// When the text is no SemVer 2.0 version.
    pub fn parse_reported(text: &str) -> Result<Self, VersionError> {
        let mut version = parse_semver(text)?;
        version.build = semver::BuildMetadata::EMPTY;
        Ok(Self(version))
    }

    /// Major, minor, patch, and the pre-release as text, empty if it is none: what makes up its precedence.
    pub fn parts(&self) -> (u64, u64, u64, &str) {
        (self.0.major, self.0.minor, self.0.patch, self.0.pre.as_str())
    }

    /// The precedence of the version with these [`Self::parts`] relative to this one.
    ///
    /// # Panics
    /// When `pre` is no pre-release of a version.
    pub fn precedence_of(&self, (major, minor, patch, pre): (u64, u64, u64, &str)) -> Ordering {
        let numbers = (major, minor, patch).cmp(&(self.0.major, self.0.minor, self.0.patch));
        // Few versions are pre-releases, and fewer share their numbers with another.
        numbers.then_with(|| match (pre.is_empty(), self.0.pre.is_empty()) {
            (true, true) => Ordering::Equal,
            (empty, other) if empty != other => empty.cmp(&other),
            _ => semver::Prerelease::new(pre).expect("it was part of a version").cmp(&self.0.pre),
        })
    }

    /// Whether it is a pre-release such as `1.4.0-rc.1`.
    pub fn is_pre_release(&self) -> bool {
        !self.0.pre.is_empty()
    }
}

fn parse_semver(text: &str) -> Result<semver::Version, VersionError> {
    let malformed =
        |why: String| VersionError::Malformed { given: text.chars().take(LONGEST).collect(), why };
    if text.len() > LONGEST {
        return Err(malformed(format!("longer than {LONGEST} bytes")));
    }
    semver::Version::parse(text.strip_prefix('v').unwrap_or(text))
        .map_err(|error| malformed(error.to_string()))
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.cmp_precedence(&other.0)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl TryFrom<String> for Version {
    type Error = VersionError;

    fn try_from(text: String) -> Result<Self, VersionError> {
        Self::parse(&text)
    }
}

impl From<Version> for String {
    fn from(version: Version) -> String {
        version.to_string()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn version(text: &str) -> Version {
        Version::parse(text).expect(text)
    }

    #[test]
    fn precedence_of_parts_is_that_of_the_version() {
        let texts = [
            "0.9.9",
            "1.0.0-alpha",
            "1.0.0-alpha.1",
            "1.0.0-2",
            "1.0.0-11",
            "1.0.0",
            "1.0.1-rc.1",
            "1.0.1",
            "2.0.0",
        ];
        for one in texts.map(|text| Version::parse(text).expect("valid")) {
            for other in texts.map(|text| Version::parse(text).expect("valid")) {
                assert_eq!(other.precedence_of(one.parts()), one.cmp(&other), "{one} {other}");
            }
        }
    }

    #[test]
    fn precedence_is_that_of_semver_section_11() {
        let ordered = [
            "0.9.9",
            "1.0.0-alpha",
            "1.0.0-alpha.1",
            "1.0.0-alpha.beta",
            "1.0.0-beta",
            "1.0.0-beta.2",
            "1.0.0-beta.11",
            "1.0.0-rc.1",
            "1.0.0",
            "1.0.1",
            "1.9.0",
            "1.10.0",
            "2.0.0",
        ];
        for pair in ordered.windows(2) {
            assert!(version(pair[0]) < version(pair[1]), "{pair:?}");
        }
    }

    #[test]
    fn a_leading_v_is_dropped_and_build_metadata_is_told_apart() {
        assert_eq!(version("v1.4.0").to_string(), "1.4.0");
        assert!(matches!(
            Version::parse("1.4.0+7"),
            Err(VersionError::BuildMetadata { without, .. }) if without == "1.4.0"
        ));
        assert_eq!(Version::parse_reported("v1.4.0+7").expect("valid"), version("1.4.0"));
    }

    #[test]
    fn what_is_no_semver_is_refused() {
        for bad in [
            "",
            "v",
            "1",
            "1.2",
            "1.2.3.4",
            "01.2.3",
            "1.2.3-",
            "1.2.3-01",
            "1.2.3 ",
            "vv1.2.3",
            "1.2.99999999999999999999",
            "latest",
            &format!("1.2.3-{}", "a".repeat(200)),
        ] {
            assert!(Version::parse(bad).is_err(), "{bad}");
            assert!(Version::parse_reported(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_prints_parses_back(major: u64, minor: u64, patch: u64, pre in "(-[a-z][a-z0-9.-]{0,9}[a-z])?") {
            let text = format!("{major}.{minor}.{patch}{pre}");
            if let Ok(version) = Version::parse(&text) {
                prop_assert_eq!(version.to_string(), text);
            }
        }
    }
}
