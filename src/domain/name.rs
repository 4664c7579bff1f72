//! Names: of products, channels, hardware and files.
//!
//! All characters are safe in a URL path and in an S3 key without escaping, so a key, a link and a path in a
//! mounted bucket read the same. A name starts with a letter or digit, so it can be no `.`/`..`, no hidden file
//! and no command line flag.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why a text is no name of its kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} {given:?} is not valid: use {rule}")]
pub struct NameError {
    kind: &'static str,
    given: String,
    rule: &'static str,
}

fn check(
    kind: &'static str,
    rule: &'static str,
    text: &str,
    longest: usize,
    upper: bool,
) -> Result<(), NameError> {
    let allowed_first =
        |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || (upper && b.is_ascii_uppercase());
    let allowed = |b: u8| allowed_first(b) || matches!(b, b'.' | b'_' | b'-');
    let bytes = text.as_bytes();
    let fits = !bytes.is_empty()
        && bytes.len() <= longest
        && allowed_first(bytes[0])
        && bytes.iter().all(|&b| allowed(b));
    if fits {
        return Ok(());
    }
    // An error message repeats what was typed, but never a megabyte of it.
    let given = text.chars().take(120).collect();
    Err(NameError { kind, given, rule })
}

/// Where an image is, relative to the bucket's root or a base URL: `{product}/{version}/{filename}`.
pub fn key_of(product: &str, version: &super::Version, filename: &FileName) -> String {
    format!("{product}/{version}/{filename}")
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $kind:literal, $longest:literal, $upper:literal, $rule:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(Box<str>);

        impl $type {
            /// How long the longest is, in bytes.
            pub const LONGEST: usize = $longest;

            /// Parses a name.
            ///
            /// # Errors
            /// When the text breaks the rule that the type states; the message says which.
            pub fn parse(text: &str) -> Result<Self, NameError> {
                Self::check(text)?;
                Ok(Self(text.into()))
            }

            /// Whether [`Self::parse`] would take the text, without making anything of it.
            ///
            /// # Errors
            /// As [`Self::parse`].
            pub fn check(text: &str) -> Result<(), NameError> {
                check($kind, $rule, text, Self::LONGEST, $upper)
            }

            /// The name as it was given.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl TryFrom<String> for $type {
            type Error = NameError;

            fn try_from(text: String) -> Result<Self, NameError> {
                Self::parse(&text)
            }
        }

        impl std::str::FromStr for $type {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::parse(text)
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> String {
                name.0.into()
            }
        }

        impl std::borrow::Borrow<str> for $type {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

name!(
    /// A product's slug, such as `thermo-x`: `[a-z0-9][a-z0-9._-]{0,62}`.
    ProductName, "product name", 63, false,
    "1 to 63 lower-case letters, digits, '.', '_' or '-', starting with a letter or digit"
);
name!(
    /// A channel's name, such as `stable`: `[a-z0-9][a-z0-9._-]{0,62}`.
    ChannelName, "channel name", 63, false,
    "1 to 63 lower-case letters, digits, '.', '_' or '-', starting with a letter or digit"
);
name!(
    /// A board model or revision, compared exactly: `[A-Za-z0-9][A-Za-z0-9._-]{0,62}`.
    Hardware, "hardware", 63, true,
    "1 to 63 letters, digits, '.', '_' or '-', starting with a letter or digit"
);
name!(
    /// An image's file name, the last part of its key: `[A-Za-z0-9][A-Za-z0-9._-]{0,99}`.
    FileName, "file name", 100, true,
    "1 to 100 letters, digits, '.', '_' or '-', starting with a letter or digit"
);

/// First parts of the device listener's own paths. Behind a CDN that serves it on the host of the images too, the key of an
/// image of such a product would be taken for one of them.
const OWN_PATHS: [&str; 2] = ["v1", "d"];

impl ProductName {
    /// Whether images of such a product could not be told from the service's own paths, which nobody should want.
    pub fn is_own_path(&self) -> bool {
        OWN_PATHS.contains(&self.as_str())
    }
}

impl ChannelName {
    /// The channel of a check that names none; every product has it from the start.
    pub fn stable() -> Self {
        Self("stable".into())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_held_to_their_rules() {
        for good in ["a", "0", "thermo-x", "a.b_c-d", &"a".repeat(63)] {
            assert!(ProductName::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "A", "-a", ".a", "..", "a/b", "a b", "ä", "a\0", "a%2f", &"a".repeat(64)] {
            assert!(ProductName::parse(bad).is_err(), "{bad}");
        }
        assert!(Hardware::parse("RevB").is_ok());
        assert!(FileName::parse(&"a".repeat(100)).is_ok());
        assert!(FileName::parse(&"a".repeat(101)).is_err());
        assert!(FileName::parse("..").is_err());
    }

    #[test]
    fn paths_of_the_service_are_no_products() {
        let is_own = |name: &str| ProductName::parse(name).expect("valid").is_own_path();
        assert!(is_own("v1") && is_own("d"));
        assert!(!is_own("v2") && !is_own("d1") && !is_own("v1.0"));
    }

    #[test]
    fn an_error_says_what_to_do() {
        let error = ProductName::parse("Thermo X").expect_err("has a space").to_string();
        assert!(error.contains("\"Thermo X\"") && error.contains("lower-case"), "{error}");
    }

    proptest! {
        #[test]
        fn every_text_of_the_rule_is_a_name(text in "[a-z0-9][a-z0-9._-]{0,62}") {
            let name = ProductName::parse(&text).expect("fits the rule");
            prop_assert_eq!(name.as_str(), text);
        }

        #[test]
        fn no_name_leaves_its_path_segment(text in ".{0,80}") {
            if FileName::parse(&text).is_ok() {
                prop_assert!(!text.contains('/') && text != ".." && text != "." && text.is_ascii());
            }
        }
    }
}
