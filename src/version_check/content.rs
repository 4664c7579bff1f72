//! The rules on what an image says of itself: that it is whole, its version, and that it fits.

use regex::RegexBuilder;

use super::{
    Candidate,
    findings::Findings,
    inspect::{Fault, FaultKind},
    rule,
};
use crate::domain::{Facts, Policy, Version};

/// More than any sensible pattern compiles to.
const LARGEST_PATTERN: usize = 256 * 1024;

/// The version that an image states.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stated {
    /// None.
    Nothing,
    /// This one.
    Version(Version),
    /// A text that does not read as one.
    Unreadable(String),
}

/// The version that the image states, by the product's pattern if it has one.
pub fn stated_version(policy: &Policy, facts: &Facts) -> Stated {
    let Some(text) = &facts.version else { return Stated::Nothing };
    let version = match &policy.version_pattern {
        None => facts.semver.clone(),
        Some(pattern) => {
            let found = self::pattern(pattern).ok().and_then(|pattern| {
                let captures = pattern.captures(text)?;
                Some(captures.name("version")?.as_str().to_owned())
            });
            found.and_then(|found| Version::parse_reported(&found).ok())
        }
    };
    version.map_or_else(|| Stated::Unreadable(text.clone()), Stated::Version)
}

/// Compiles a `version_pattern`. Its time is linear in the text, its size bounded.
///
/// # Errors
/// What is wrong with it, as the end of a sentence.
pub(super) fn pattern(text: &str) -> Result<regex::Regex, String> {
    let pattern = RegexBuilder::new(text).size_limit(LARGEST_PATTERN).build();
    let pattern = pattern.map_err(|error| format!("is no regular expression: {error}"))?;
    if pattern.capture_names().flatten().any(|name| name == "version") {
        return Ok(pattern);
    }
    Err(r"has no capture named version: write (?P<version>…), such as ^fw-(?P<version>\d+\.\d+\.\d+)$".into())
}

/// The declared version against the stated one.
pub(super) fn version(policy: &Policy, candidate: &Candidate, facts: &Facts, findings: &mut Findings<'_>) {
    let declared = &candidate.version;
    match stated_version(policy, facts) {
        Stated::Nothing => {}
        Stated::Version(stated) if stated == *declared => {}
        // A bare number that may stand for it.
        _ if policy.version_pattern.is_none() && facts.semver_readings.contains(declared) => {}
        Stated::Version(stated) => {
            let text = facts.version.as_deref().unwrap_or_default();
            let said = if text == stated.to_string() { String::new() } else { format!(" (as {text:?})") };
            findings.add(
                rule::VERSION_MISMATCH,
                format!(
                    "the image ({}) states version {stated}{said}, and {declared} is declared: publish it as {stated}, or \
                     build it as {declared}",
                    facts.format
                ),
            );
        }
        Stated::Unreadable(text) => findings.add(
            rule::VERSION_UNREADABLE,
            format!(
                "the image ({}) states the version {text:?}, which does not read as SemVer{}, so it was not compared with \
                 {declared}",
                facts.format,
                if policy.version_pattern.is_some() { " by the policy's version_pattern" } else { "" }
            ),
        ),
    }
}

/// What the inspection found wrong.
pub(super) fn faults(faults: &[Fault], findings: &mut Findings<'_>) {
    for fault in faults {
        let code = match fault.kind {
            FaultKind::Truncated => rule::IMAGE_TRUNCATED,
            FaultKind::Padded => rule::IMAGE_PADDED,
            FaultKind::DigestWrong => rule::IMAGE_DIGEST_WRONG,
            FaultKind::Malformed => rule::IMAGE_MALFORMED,
        };
        findings.add(code, fault.message.clone());
    }
}

/// What the image takes against the slots of the hardware that it is for; an image for all must fit the smallest.
/// `size` = the file's, once it is known.
pub(super) fn slot(
    policy: &Policy,
    candidate: &Candidate,
    facts: &Facts,
    size: Option<u64>,
    findings: &mut Findings<'_>,
) {
    let Some(taken) = facts.installed_size.or(size) else { return };
    let of = |slot: &u64| *slot;
    let (slot, whose) = if candidate.hardware.is_empty() {
        let smallest = policy.hardware_slot_bytes.values().map(of).chain(policy.slot_bytes).min();
        (smallest, "the smallest slot".to_owned())
    } else {
        let slots = candidate.hardware.iter().filter_map(|hardware| {
            let slot = policy.hardware_slot_bytes.get(hardware).map(of).or(policy.slot_bytes)?;
            Some((slot, hardware))
        });
        match slots.min() {
            Some((slot, hardware)) => (Some(slot), format!("the slot of {hardware}")),
            None => (None, String::new()),
        }
    };
    if let Some(slot) = slot.filter(|slot| taken > *slot) {
        let how = if facts.installed_size.is_some() { "takes" } else { "has" };
        findings.add(
            rule::IMAGE_OVER_SLOT,
            format!(
                "the image {how} {taken} bytes, and {whose} has {slot} ({} too many): make it smaller, or correct the policy",
                taken - slot
            ),
        );
    }
}
