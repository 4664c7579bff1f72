//! What may be promoted to a channel: per hardware, the offered version never goes down by accident.
//!
//! For hardware H the channel offers the highest version among the promoted images that fit H, as far as devices can
//! take it (`domain::ladder`). An image that names hardware is compared with the offer to each of them, an image for all
//! with the offer to devices that no image names. A downgrade withdraws the higher promotions, else it would change
//! nothing; it is refused where that would take firmware from hardware that the promoted release has nothing for.
//!
//! # Maintenance
//! A line (`1.2`, or `1`) that the policy's `maintenance` names may go on while a higher version is out: a version of it
//! needs to be higher only than what the channel has of that line. It withdraws nothing, and the ladder stays the only
//! rule of what devices are offered: the highest that they can take. So a maintenance release reaches the devices that
//! the higher one does not take (its `upgrade_from`) or that a floor holds back, and nobody else. Devices that are to
//! stay on a line for good follow a channel of their own (`stable-1.2`), which needs no setting.

use std::collections::BTreeSet;

use uuid::Uuid;

use super::{Consent, Limits, Reason, findings::Findings, links, names, path, rule, waiting};
use crate::domain::{
    ChannelName, Hardware, Image, ProductState, Promotion, Release, UpgradePath, Version,
    policy::{Maintenance, Policy},
};

/// The product as the rules are to see it.
pub(super) struct Ground<'a> {
    /// As it is: what is offered, and what waits.
    pub state: &'a ProductState,
    /// What devices may have run, when what waits is offered.
    pub ran: &'a ProductState,
    /// What devices climb.
    pub climbed: &'a ProductState,
}

/// What is to be promoted, stored or not.
#[derive(Debug, Clone, Copy)]
pub struct Offering<'a> {
    /// The release's version.
    pub version: &'a Version,
    /// How devices come to it.
    pub path: &'a UpgradePath,
    /// Where.
    pub channel: &'a ChannelName,
    /// Which images of it.
    pub images: &'a [&'a Image],
}

/// A promotion that may be made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Promoted {
    /// The images whose promotions end because a downgrade overrides them; none for any other promotion.
    pub withdraw: Vec<Uuid>,
    /// What is only told.
    pub warnings: Vec<Reason>,
}

/// Judges the promotion of images of one version to a channel.
///
/// # Errors
/// All reasons why not.
pub fn promote(
    state: &ProductState,
    offering: &Offering<'_>,
    consent: &Consent,
    limits: Limits,
) -> Result<Promoted, Vec<Reason>> {
    let expected = waiting::expected(state, |other| !waiting::is_of(other, offering));
    let ground = Ground { state, ran: &expected, climbed: &expected };
    promote_on(&ground, offering, consent, limits)
}

/// The same, on what the rules are to see.
pub(super) fn promote_on(
    ground: &Ground<'_>,
    offering: &Offering<'_>,
    consent: &Consent,
    limits: Limits,
) -> Result<Promoted, Vec<Reason>> {
    let mut findings = Findings::new(&ground.state.product.settings.policy);
    for image in offering.images {
        links::judge(ground.state, offering.version, &image.filename, limits, &mut findings);
    }
    let withdraw = judge_on(ground, offering, consent, &mut findings);
    findings.verdict().map(|warnings| Promoted { withdraw, warnings })
}

/// Judges a promotion into findings. What waits to be offered counts as offered.
pub(super) fn judge(
    state: &ProductState,
    offering: &Offering<'_>,
    consent: &Consent,
    findings: &mut Findings<'_>,
) {
    let expected = waiting::expected(state, |other| !waiting::is_of(other, offering));
    judge_on(&Ground { state, ran: &expected, climbed: &expected }, offering, consent, findings);
}

fn judge_on(
    ground: &Ground<'_>,
    offering: &Offering<'_>,
    consent: &Consent,
    findings: &mut Findings<'_>,
) -> Vec<Uuid> {
    let state = ground.state;
    let Offering { version, channel, images, .. } = *offering;
    let mut fine = true;
    if let Some(recall) = state.release(version).and_then(|release| release.recall.as_ref()) {
        findings.add(rule::VERSION_RECALLED, recalled(version, &recall.reason));
        fine = false;
    }
    let policy = &state.product.settings.policy;
    let withdraw = order(state, offering, consent, findings, &mut fine);
    pre_release(policy, version, channel, findings);
    for target in targets(images) {
        let candidate =
            images.iter().filter(|image| image.fits(target)).min_by_key(|image| image.hardware.is_empty());
        if let Some(image) = candidate {
            counter(ground.ran, channel, target, image, findings);
            names::changed(state, channel, target, image, findings);
        }
    }
    if fine && !consent.allow_stranding {
        let climbed = ground.climbed;
        path::strands(climbed, &after(climbed, offering, &withdraw), Some(channel), findings);
    }
    withdraw
}

/// Whether the version is higher than what is offered, and what is withdrawn if it is not meant to be.
fn order(
    state: &ProductState,
    offering: &Offering<'_>,
    consent: &Consent,
    findings: &mut Findings<'_>,
    fine: &mut bool,
) -> Vec<Uuid> {
    let Offering { version, channel, images, .. } = *offering;
    let policy = &state.product.settings.policy;
    let hardware: Vec<_> = images.iter().map(|image| &image.hardware).collect();
    // What waits to be offered counts as offered: it would override this one as soon as it is.
    let offered = state.promotions.iter().map(|promotion| (&promotion.channel, promotion.image));
    let waiting = state.pending.iter().map(|promotion| (&promotion.channel, promotion.image));
    let higher: Vec<(&Release, &Image)> = offered
        .chain(waiting)
        .filter(|(of, _)| *of == channel)
        .filter_map(|(_, image)| state.image(image))
        .filter(|(_, image)| image.removed_at.is_none())
        .filter(|(release, _)| release.recall.is_none() && release.version > *version)
        .collect();
    let mut withdrawal = BTreeSet::new();
    for target in targets(images) {
        let fitting: Vec<_> = higher.iter().filter(|(_, image)| image.fits(target)).collect();
        let Some((offered, _)) = fitting.iter().max_by_key(|(release, _)| &release.version) else {
            continue;
        };
        if let Some(line) = maintained(policy, version) {
            let of_line = fitting.iter().filter(|(release, _)| is_of_line(&release.version, &line));
            let highest = of_line.map(|(release, _)| &release.version).max();
            match highest {
                None => continue,
                Some(highest) if !consent.allow_downgrade => {
                    *fine = false;
                    findings.add(
                        rule::VERSION_NOT_NEWER,
                        format!(
                            "channel {channel} offers {highest} of the maintained line {line}{}, which is higher than \
                             {version}: publish a higher version, or say `allow_downgrade` with a `reason`",
                            for_hardware(target)
                        ),
                    );
                    continue;
                }
                Some(_) => {}
            }
        }
        if !consent.allow_downgrade {
            *fine = false;
            findings.add(
                rule::VERSION_NOT_NEWER,
                format!(
                    "channel {channel} offers {}{}, which is higher than {version}: publish a higher version, or \
                     say `allow_downgrade` with a `reason`",
                    offered.version,
                    for_hardware(target)
                ),
            );
            continue;
        }
        for (release, image) in fitting {
            if covers(&hardware, image) {
                withdrawal.insert(image.id);
            } else {
                *fine = false;
                findings.add(
                    rule::DOWNGRADE_TOO_WIDE,
                    format!(
                        "going back from {} to {version} on channel {channel} would take {} from {}, which {version} \
                         has no image for: promote a release that serves the same hardware",
                        release.version,
                        image.filename,
                        if image.hardware.is_empty() { "all other hardware" } else { "other hardware" },
                    ),
                );
            }
        }
    }
    if !withdrawal.is_empty() && consent.reason.as_deref().is_none_or(|reason| reason.trim().is_empty()) {
        *fine = false;
        findings.add(
            rule::DOWNGRADE_REASON_MISSING,
            "`allow_downgrade` needs a `reason`; it is kept in the audit log",
        );
    }
    withdrawal.into_iter().collect()
}

fn pre_release(policy: &Policy, version: &Version, channel: &ChannelName, findings: &mut Findings<'_>) {
    if !version.is_pre_release() {
        return;
    }
    match &policy.pre_release_channels {
        Some(channels) if !channels.contains(channel) => findings.add(
            rule::PRE_RELEASE_ON_CHANNEL,
            format!(
                "{version} is a pre-release, and channel {channel} takes none: publish the release itself, or add the \
                 channel to the policy's pre_release_channels"
            ),
        ),
        None if *channel == ChannelName::stable() => findings.warn(
            rule::PRE_RELEASE_ON_CHANNEL,
            format!("{version} is a pre-release, and every device on {channel} is offered it"),
        ),
        _ => {}
    }
}

/// Whether devices of that hardware may have seen a higher counter.
fn counter(
    state: &ProductState,
    channel: &ChannelName,
    target: Option<&str>,
    image: &Image,
    findings: &mut Findings<'_>,
) {
    let Some(counter) = image.facts.as_ref().and_then(|facts| facts.security_counter) else { return };
    let seen = state
        .ever_offered(channel)
        .filter(|(_, other)| other.id != image.id && other.fits(target))
        .filter_map(|(release, other)| Some((other.facts.as_ref()?.security_counter?, &release.version)))
        .max_by_key(|(counter, _)| *counter);
    if let Some((seen, version)) = seen.filter(|(seen, _)| counter < *seen) {
        findings.add(
            rule::SECURITY_COUNTER_LOWER,
            format!(
                "the image has security counter {counter}, and channel {channel} has offered {version} with {seen}{}: \
                 devices that ran it would refuse this one; build it with {seen} or higher",
                for_hardware(target)
            ),
        );
    }
}

/// The product as it would be.
fn after(state: &ProductState, offering: &Offering<'_>, withdraw: &[Uuid]) -> ProductState {
    let Offering { version, path, channel, images } = *offering;
    let mut after = state.clone();
    let at = chrono::DateTime::UNIX_EPOCH;
    let index = after.releases.iter().position(|release| release.version == *version);
    let index = index.unwrap_or_else(|| {
        after.releases.push(Release {
            id: Uuid::nil(),
            version: version.clone(),
            notes: None,
            created_at: at,
            floor: false,
            upgrade_from: None,
            recall: None,
            images: Vec::new(),
            security: None,
            attachments: Vec::new(),
        });
        after.releases.len() - 1
    });
    let release = &mut after.releases[index];
    release.floor |= path.floor;
    if path.upgrade_from.is_some() {
        release.upgrade_from.clone_from(&path.upgrade_from);
    }
    for image in images {
        if !release.images.iter().any(|other| other.id == image.id) {
            release.images.push((*image).clone());
        }
    }
    let ends = |promotion: &Promotion| promotion.channel == *channel && withdraw.contains(&promotion.image);
    let (gone, stay) = after.promotions.into_iter().partition(ends);
    after.promotions = stay;
    after.withdrawn.extend::<Vec<_>>(gone);
    let promoted = images.iter().map(|image| Promotion { channel: channel.clone(), image: image.id, at });
    after.promotions.extend(promoted);
    after
}

pub(super) fn recalled(version: &Version, reason: &str) -> String {
    format!(
        "{version} was recalled ({reason}) and a recalled version is never used again: publish a higher version"
    )
}

fn for_hardware(target: Option<&str>) -> String {
    target.map(|hardware| format!(" for hardware {hardware}")).unwrap_or_default()
}

/// The maintained line that the version is of.
fn maintained(policy: &Policy, version: &Version) -> Option<String> {
    match &policy.maintenance {
        Maintenance::All(false) => None,
        Maintenance::All(true) => {
            let text = version.to_string();
            Some(text.split('.').take(2).collect::<Vec<_>>().join("."))
        }
        Maintenance::Lines(lines) => lines.iter().find(|line| is_of_line(version, line)).cloned(),
    }
}

fn is_of_line(version: &Version, line: &str) -> bool {
    version.to_string().strip_prefix(line).is_some_and(|rest| rest.starts_with('.'))
}

/// The hardware whose offer changes; `None` = devices that no image names.
fn targets<'a>(images: &[&'a Image]) -> BTreeSet<Option<&'a str>> {
    let named = images.iter().flat_map(|image| &image.hardware).map(|hardware| Some(hardware.as_str()));
    let for_all = images.iter().any(|image| image.hardware.is_empty()).then_some(None);
    named.chain(for_all).collect()
}

/// Whether images for that hardware serve every device that this one serves.
pub(super) fn covers(images: &[&BTreeSet<Hardware>], withdrawn: &Image) -> bool {
    let for_all = images.iter().any(|hardware| hardware.is_empty());
    let named = |hardware: &Hardware| images.iter().any(|image| image.contains(hardware));
    for_all || (!withdrawn.hardware.is_empty() && withdrawn.hardware.iter().all(named))
}

#[cfg(test)]
#[path = "channel_tests.rs"]
mod tests;
