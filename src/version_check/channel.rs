//! What may be promoted to a channel: per hardware, the offered version never goes down by accident.
//!
//! For hardware H the channel offers the highest version among the promoted images that fit H (`domain::snapshot`).
//! An image that names hardware is compared with the offer to each of them, an image for all with the offer to
//! devices that no image names. A downgrade withdraws the higher promotions, else it would change nothing; it is
//! refused where that would take firmware from hardware that the promoted release has nothing for.

use std::collections::BTreeSet;

use uuid::Uuid;

use super::{Consent, Reason, rule};
use crate::domain::{ChannelName, Hardware, Image, ProductState, Release, Version};

/// An image that is to be promoted, stored or not.
#[derive(Debug, Clone, Copy)]
pub struct Promotable<'a> {
    /// The hardware that it names; empty = all.
    pub hardware: &'a BTreeSet<Hardware>,
}

/// The promotions that end because a downgrade overrides them; empty for any other promotion.
pub type Withdrawal = Vec<Uuid>;

/// Judges the promotion of images of one version to a channel.
///
/// # Errors
/// All reasons why not.
pub fn promote(
    state: &ProductState,
    version: &Version,
    channel: &ChannelName,
    images: &[Promotable<'_>],
    consent: &Consent,
) -> Result<Withdrawal, Vec<Reason>> {
    let mut reasons = Vec::new();
    if let Some(recall) = state.release(version).and_then(|release| release.recall.as_ref()) {
        reasons.push(recalled(version, &recall.reason));
    }
    let higher: Vec<(&Release, &Image)> = state
        .promotions
        .iter()
        .filter(|promotion| promotion.channel == *channel)
        .filter_map(|promotion| state.image(promotion.image))
        .filter(|(release, _)| release.recall.is_none() && release.version > *version)
        .collect();
    let mut withdrawal = BTreeSet::new();
    for target in targets(images) {
        let fitting: Vec<_> = higher.iter().filter(|(_, image)| image.fits(target)).collect();
        let Some((offered, _)) = fitting.iter().max_by_key(|(release, _)| &release.version) else {
            continue;
        };
        if !consent.allow_downgrade {
            reasons.push(Reason::new(
                rule::VERSION_NOT_NEWER,
                format!(
                    "channel {channel} offers {}{}, which is higher than {version}: publish a higher version, or \
                     say `allow_downgrade` with a `reason`",
                    offered.version,
                    target.map(|hardware| format!(" for hardware {hardware}")).unwrap_or_default(),
                ),
            ));
            continue;
        }
        for (release, image) in fitting {
            if covers(images, image) {
                withdrawal.insert(image.id);
            } else {
                reasons.push(Reason::new(
                    rule::DOWNGRADE_TOO_WIDE,
                    format!(
                        "going back from {} to {version} on channel {channel} would take {} from {}, which {version} \
                         has no image for: promote a release that serves the same hardware",
                        release.version,
                        image.filename,
                        if image.hardware.is_empty() { "all other hardware" } else { "other hardware" },
                    ),
                ));
            }
        }
    }
    if !withdrawal.is_empty() && consent.reason.as_deref().is_none_or(|reason| reason.trim().is_empty()) {
        reasons.push(Reason::new(
            rule::DOWNGRADE_REASON_MISSING,
            "`allow_downgrade` needs a `reason`; it is kept in the audit log",
        ));
    }
    reasons.dedup();
    if reasons.is_empty() { Ok(withdrawal.into_iter().collect()) } else { Err(reasons) }
}

pub(super) fn recalled(version: &Version, reason: &str) -> Reason {
    Reason::new(
        rule::VERSION_RECALLED,
        format!(
            "{version} was recalled ({reason}) and a recalled version is never used again: publish a higher version"
        ),
    )
}

/// The hardware whose offer changes; `None` = devices that no image names.
fn targets<'a>(images: &[Promotable<'a>]) -> BTreeSet<Option<&'a str>> {
    let named = images.iter().flat_map(|image| image.hardware).map(|hardware| Some(hardware.as_str()));
    let for_all = images.iter().any(|image| image.hardware.is_empty()).then_some(None);
    named.chain(for_all).collect()
}

/// Whether the promoted images serve every device that this one serves.
fn covers(images: &[Promotable<'_>], withdrawn: &Image) -> bool {
    let for_all = images.iter().any(|image| image.hardware.is_empty());
    let named = |hardware: &Hardware| images.iter().any(|image| image.hardware.contains(hardware));
    for_all || (!withdrawn.hardware.is_empty() && withdrawn.hardware.iter().all(named))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::snapshot::tests::product;

    fn judge(state: &ProductState, version: &str, hardware: &[&[&str]], consent: &Consent) -> Vec<String> {
        let images: Vec<BTreeSet<Hardware>> = hardware
            .iter()
            .map(|names| names.iter().map(|name| Hardware::parse(name).expect("valid")).collect())
            .collect();
        let images: Vec<_> = images.iter().map(|hardware| Promotable { hardware }).collect();
        let version = Version::parse(version).expect("valid");
        match promote(state, &version, &ChannelName::stable(), &images, consent) {
            Ok(withdrawal) => vec![format!("withdraws {}", withdrawal.len())],
            Err(reasons) => reasons.into_iter().map(|reason| reason.code.into_owned()).collect(),
        }
    }

    fn downgrade(reason: Option<&str>) -> Consent {
        Consent { allow_downgrade: true, reason: reason.map(Into::into), ..Consent::default() }
    }

    #[test]
    fn per_hardware_the_version_may_not_go_down() {
        let state = product(&[("1.4.0", &[&["a"], &["b"]], false), ("1.5.0", &[&["a"]], false)]);
        let none = Consent::default();
        assert_eq!(judge(&state, "1.4.5", &[&["b"]], &none), ["withdraws 0"]);
        assert_eq!(judge(&state, "1.4.5", &[&["a"]], &none), ["version-not-newer"]);
        assert_eq!(judge(&state, "1.3.0", &[&["a", "b"]], &none), ["version-not-newer", "version-not-newer"]);
        assert_eq!(judge(&state, "1.0.0", &[&["c"], &[]], &none), ["withdraws 0"]);
        assert_eq!(judge(&state, "1.5.0", &[&["a"]], &none), ["withdraws 0"], "the same release again");
        assert_eq!(judge(&state, "1.5.0-rc.1", &[&["a"]], &none), ["version-not-newer"]);
    }

    #[test]
    fn an_image_for_all_is_what_other_hardware_is_offered() {
        let state = product(&[("1.4.0", &[&[]], false)]);
        assert_eq!(judge(&state, "1.3.0", &[&["a"]], &Consent::default()), ["version-not-newer"]);
        assert_eq!(judge(&state, "1.5.0", &[&["a"]], &Consent::default()), ["withdraws 0"]);
    }

    #[test]
    fn a_downgrade_needs_a_reason_and_withdraws_what_is_higher() {
        let state = product(&[("1.4.0", &[&["a"]], false), ("1.5.0", &[&["a"]], false)]);
        assert_eq!(judge(&state, "1.3.0", &[&["a"]], &downgrade(None)), ["downgrade-reason-missing"]);
        assert_eq!(judge(&state, "1.3.0", &[&["a"]], &downgrade(Some(" "))), ["downgrade-reason-missing"]);
        assert_eq!(judge(&state, "1.3.0", &[&["a"]], &downgrade(Some("boot loop"))), ["withdraws 2"]);
        assert_eq!(judge(&state, "1.6.0", &[&["a"]], &downgrade(None)), ["withdraws 0"], "no downgrade");
    }

    #[test]
    fn a_downgrade_takes_nothing_from_hardware_that_it_does_not_serve() {
        let state = product(&[("1.4.0", &[&[]], false), ("1.5.0", &[&["a", "b"]], false)]);
        let why = downgrade(Some("boot loop"));
        assert_eq!(judge(&state, "1.3.0", &[&["a"]], &why), ["downgrade-too-wide", "downgrade-too-wide"]);
        assert_eq!(judge(&state, "1.4.5", &[&["a"], &["b"]], &why), ["withdraws 1"]);
        assert_eq!(judge(&state, "1.3.0", &[&["a"], &["b"], &[]], &why), ["withdraws 2"]);
    }

    #[test]
    fn a_recalled_version_is_never_promoted_and_does_not_stand_in_the_way() {
        let state = product(&[("1.4.0", &[&[]], false), ("1.5.0", &[&[]], true)]);
        assert_eq!(judge(&state, "1.5.0", &[&[]], &Consent::default()), ["version-recalled"]);
        assert_eq!(judge(&state, "1.4.1", &[&[]], &Consent::default()), ["withdraws 0"]);
    }
}
