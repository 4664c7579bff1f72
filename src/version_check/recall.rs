//! What may be recalled, and what may replace it: a recall is never refused for itself, only for what it would do to
//! devices.

use std::collections::BTreeSet;

use super::{Consent, Reason, channel::covers, findings::Findings, path, rule};
use crate::domain::{Hardware, ProductState, Recall, Release, UpgradePath, Version};

/// Judges a recall. `recall` is what would be kept of it.
///
/// # Errors
/// All reasons why not; on success, the warnings.
pub fn recall(
    state: &ProductState,
    release: &Release,
    recall: &Recall,
    consent: &Consent,
) -> Result<Vec<Reason>, Vec<Reason>> {
    let mut findings = Findings::new(&state.product.settings.policy);
    if let Some(replacement) = &recall.replacement {
        replaces(state, release, replacement, &mut findings);
    }
    if findings.is_fine() && !consent.allow_stranding {
        let mut after = state.clone();
        if let Some(recalled) = after.releases.iter_mut().find(|other| other.id == release.id) {
            recalled.recall = Some(recall.clone());
        }
        path::strands(state, &after, None, &mut findings);
    }
    findings.verdict()
}

/// Judges a change of how devices come to a release.
///
/// # Errors
/// All reasons why not; on success, the warnings.
pub fn set_path(
    state: &ProductState,
    release: &Release,
    path: &UpgradePath,
    consent: &Consent,
) -> Result<Vec<Reason>, Vec<Reason>> {
    let mut findings = Findings::new(&state.product.settings.policy);
    if !consent.allow_stranding {
        let mut after = state.clone();
        if let Some(changed) = after.releases.iter_mut().find(|other| other.id == release.id) {
            changed.floor = path.floor;
            changed.upgrade_from.clone_from(&path.upgrade_from);
        }
        path::strands(state, &after, None, &mut findings);
    }
    findings.verdict()
}

fn replaces(state: &ProductState, recalled: &Release, replacement: &Version, findings: &mut Findings<'_>) {
    let version = &recalled.version;
    if replacement == version {
        return findings.add(
            rule::REPLACEMENT_UNKNOWN,
            format!("{version} cannot replace itself: name the version that devices should go to instead"),
        );
    }
    let Some(release) = state.release(replacement) else {
        return findings.add(
            rule::REPLACEMENT_UNKNOWN,
            format!("there is no release {replacement} to replace {version}: publish it first, it needs no promotion"),
        );
    };
    if let Some(recall) = &release.recall {
        return findings.add(
            rule::REPLACEMENT_RECALLED,
            format!("{replacement} was recalled itself ({}): name another version", recall.reason),
        );
    }
    let served: Vec<&BTreeSet<Hardware>> = release.kept().map(|image| &image.hardware).collect();
    for image in recalled.images.iter().filter(|image| !covers(&served, image)) {
        findings.add(
            rule::REPLACEMENT_TOO_NARROW,
            format!(
                "{replacement} has no image for all that {} of {version} served: add it, or name another version",
                image.filename
            ),
        );
    }
    for image in &recalled.images {
        let Some(seen) = image.facts.as_ref().and_then(|facts| facts.security_counter) else { continue };
        for other in release.kept() {
            let meets = other.hardware.is_empty()
                || image.hardware.is_empty()
                || !other.hardware.is_disjoint(&image.hardware);
            let counter = other.facts.as_ref().and_then(|facts| facts.security_counter);
            if let Some(counter) = counter.filter(|counter| meets && *counter < seen) {
                findings.add(
                    rule::SECURITY_COUNTER_LOWER,
                    format!(
                        "{} of {replacement} has security counter {counter}, and devices that ran {version} have seen \
                         {seen}, so they would refuse it: name a version with {seen} or higher",
                        other.filename
                    ),
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::domain::{Facts, snapshot::tests::product};

    fn judge(state: &ProductState, version: &str, replacement: Option<&str>) -> Vec<String> {
        let version = Version::parse(version).expect("valid");
        let replacement = replacement.map(|text| Version::parse(text).expect("valid"));
        let kept = Recall { at: chrono::DateTime::UNIX_EPOCH, reason: "bad".into(), replacement };
        let release = state.release(&version).expect("is there");
        match recall(state, release, &kept, &Consent::default()) {
            Ok(_) => Vec::new(),
            Err(reasons) => reasons.into_iter().map(|reason| reason.code.into_owned()).collect(),
        }
    }

    #[test]
    fn a_replacement_is_there_and_serves_what_was_served() {
        let state = product(&[
            ("1.0.0", &[&["a"]], false),
            ("1.1.0", &[&["a", "b"]], true),
            ("1.2.0", &[&[]], false),
            ("1.3.0", &[&["a"], &["b"]], false),
        ]);
        assert!(judge(&state, "1.3.0", None).is_empty());
        assert!(judge(&state, "1.3.0", Some("1.2.0")).is_empty());
        assert!(judge(&state, "1.0.0", Some("1.3.0")).is_empty());
        assert_eq!(judge(&state, "1.3.0", Some("1.3.0")), ["replacement-unknown"]);
        assert_eq!(judge(&state, "1.3.0", Some("1.4.0")), ["replacement-unknown"]);
        assert_eq!(judge(&state, "1.3.0", Some("1.1.0")), ["replacement-recalled"]);
        assert_eq!(judge(&state, "1.3.0", Some("1.0.0")), ["replacement-too-narrow"]);
        assert_eq!(judge(&state, "1.2.0", Some("1.3.0")), ["replacement-too-narrow"]);
    }

    #[test]
    fn devices_do_not_take_a_lower_counter() {
        let mut state = product(&[("1.0.0", &[&["a"], &["b"]], false), ("1.1.0", &[&["a"]], false)]);
        let counter = |counter| Some(Arc::new(Facts { security_counter: Some(counter), ..Facts::default() }));
        state.releases[1].images[0].facts = counter(3);
        assert!(judge(&state, "1.1.0", Some("1.0.0")).is_empty(), "not stated");
        state.releases[0].images[0].facts = counter(2);
        assert_eq!(judge(&state, "1.1.0", Some("1.0.0")), ["security-counter-lower"]);
        state.releases[0].images[0].facts = counter(3);
        state.releases[0].images[1].facts = counter(1);
        assert!(judge(&state, "1.1.0", Some("1.0.0")).is_empty(), "hardware b never ran 1.1.0");
    }
}
