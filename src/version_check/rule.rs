//! The rules as data: a stable code, how strict it is unless a product says otherwise, and words for people. A code
//! never changes its meaning and is never used again for another rule.
//!
//! The table is the one source: the version check looks up how strict a rule is here, the settings of a product are
//! compared with it, and [`document`] writes `docs/version-check.md` from it (a test holds the committed file to it).

use std::fmt::Write as _;

use crate::domain::{Policy, policy::Severity};

mod table;

pub use table::*;

/// A rule of the version check.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    /// Stable, in `kebab-case`.
    pub code: &'static str,
    /// How strict it is unless the product's policy says otherwise.
    pub severity: Severity,
    /// Why a policy cannot change that; `None` = it can.
    pub fixed: Option<&'static str>,
    /// What breaks it, in one line.
    pub summary: &'static str,
    /// Why it is there, and what to do.
    pub about: &'static str,
}

/// The rule of that code.
pub fn find(code: &str) -> Option<&'static Rule> {
    ALL.iter().find(|rule| rule.code == code)
}

/// How strict a rule is for a product; `default` = unless its policy says otherwise.
pub(super) fn severity(policy: &Policy, code: &str, default: Option<Severity>) -> Severity {
    let Some(rule) = find(code) else { return Severity::Refuse };
    let set = policy.rules.get(code).filter(|_| rule.fixed.is_none());
    set.copied().or(default).unwrap_or(rule.severity)
}

/// `docs/version-check.md`.
pub fn document() -> String {
    let mut text = String::from(INTRODUCTION);
    for rule in ALL {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "| [`{0}`](#{0}) | {1} | {2} |", rule.code, word(rule.severity), rule.summary);
    }
    for rule in ALL {
        let tuning = match rule.fixed {
            Some(why) => format!("Cannot be changed: {why}."),
            None => format!(
                "Can be changed by the product's policy: `\"rules\": {{\"{}\": \"warn\"}}`.",
                rule.code
            ),
        };
        let _ = write!(
            text,
            "\n## {}\n\n{}: {}\n\n{}\n\n{tuning}\n",
            rule.code,
            word(rule.severity),
            rule.summary,
            rule.about,
        );
    }
    text
}

fn word(severity: Severity) -> &'static str {
    match severity {
        Severity::Refuse => "refused",
        Severity::Warn => "warned",
        Severity::Off => "not looked at",
    }
}

const INTRODUCTION: &str = "\
<!-- Written from src/version_check/rule/table.rs: `UPDATE_DOCS=1 cargo test --lib the_document_is_that_of_the_table`. -->

# The version check

Every publish, promotion and recall is judged by these rules: on what is declared, before a byte of the image is read; on
what the image says of itself, as soon as it has said it; and on the whole image, before anything becomes visible. All
that speak against it are told at once, as `reasons`, a list of `{code, message}`. Warnings are told too, as `warnings`,
and stand in the way of nothing.

A product's policy says what it demands of its images (formats, names, slot sizes, keys, …) and how strict each rule is:
`refuse`, `warn` or `off`. It is set with `firmament product set SLUG --settings FILE.json`, or by `PUT
/v1/products/SLUG`, whose `policy` has these members, all of them optional:

| member | meaning |
|---|---|
| `rules` | how strict a rule is, by its code: `{\"name-changed\": \"refuse\"}` |
| `formats` | the formats that are accepted: `[\"esp-app\"]` |
| `names` | the names that are accepted, by what they name: `{\"product\": [\"thermo\"], \"chip\": [\"ESP32-C3\"]}` |
| `hardware_names` | how images name the hardware that is declared: `{\"rev-a\": [\"vendor,thermo-a\"]}` |
| `version_pattern` | a regular expression with a capture named `version`, for the version that the image states |
| `slot_bytes`, `hardware_slot_bytes` | the size of the slot that an image must fit; for some hardware: `{\"rev-a\": 1048576}` |
| `require_signature` | whether an image must be signed by one of `keys` |
| `keys` | a list of `{name, key}`; the key is a PEM block (`PUBLIC KEY` or `CERTIFICATE`), a minisign public key, or an Ed25519 key of 32 bytes in base64 or hex |
| `pre_release_channels` | the channels that take pre-releases: `[\"beta\"]` |
| `maintenance` | which lines are maintained while a higher version is out: `true`, or `[\"1.2\"]` |

| code | | what breaks it |
|---|---|---|
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_is_that_of_the_table() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/version-check.md");
        if std::env::var_os("UPDATE_DOCS").is_some() {
            std::fs::write(path, document()).expect("can be written");
        }
        let committed = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            committed == document(),
            "run UPDATE_DOCS=1 cargo test --lib the_document_is_that_of_the_table"
        );
    }

    #[test]
    fn codes_are_unique_and_words_are_whole() {
        let mut codes: Vec<_> = ALL.iter().map(|rule| rule.code).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), ALL.len());
        for rule in ALL {
            assert!(rule.about.ends_with('.') && !rule.summary.ends_with('.'), "{}", rule.code);
        }
    }

    #[test]
    fn a_policy_changes_only_what_may_be_changed() {
        let mut policy = Policy::default();
        policy.rules.insert(SAME_BYTES.into(), Severity::Warn);
        policy.rules.insert(VERSION_NOT_NEWER.into(), Severity::Off);
        assert_eq!(severity(&policy, SAME_BYTES, None), Severity::Warn);
        assert_eq!(severity(&policy, SAME_BYTES, Some(Severity::Refuse)), Severity::Warn);
        assert_eq!(severity(&policy, VERSION_NOT_NEWER, None), Severity::Refuse);
        assert_eq!(severity(&policy, PRE_RELEASE_ON_CHANNEL, Some(Severity::Warn)), Severity::Warn);
    }
}
