//! Promotions that wait at the gate: how they count when another is judged, and what is asked again when they are to be
//! offered.
//!
//! What waits counts as offered when a publish or a promotion is judged: its version, its counter, the step that it is. That
//! is a forecast. Between the asking and the offer others may have been promoted, recalled, removed, and settings changed;
//! so when the gate opens, the same rules are asked again ([`open`]), with the consent that was given then.
//!
//! # Order
//! Whichever the gate verifies first, a channel ends as if its promotions had been offered in the order in which they were
//! asked for:
//! - A higher version that was promoted after this one was asked for stays: this one is offered beneath it, where only
//!   devices that cannot take the higher one are told of it. It never withdraws what was promoted since.
//! - A downgrade withdraws what its publisher has seen, and of that what is still there. Promoting one of those again says
//!   that it should stay, and ends the waiting ([`overtaken`]).
//! - A release goes after a lower floor that was asked for before it, and after the step that devices need on the way to it:
//!   until those are offered, or have ended, it waits.
//!
//! Only what was asked for before is waited for, so nobody waits in a circle.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{
    Consent, Limits, Offering, Reason,
    channel::{Ground, promote_on},
};
use crate::domain::{ChannelName, Image, PendingPromotion, ProductState, Promotion, UpgradePath, Version};

/// What is to become of a promotion that has waited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opening {
    /// It may be offered, once the CDN serves it.
    Offer(Offer),
    /// It has to wait for another one, as the sentence says.
    Wait(String),
    /// It may not be offered any more.
    Refuse(Vec<Reason>),
}

/// An offer that may be made now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// The images to offer.
    pub images: Vec<Uuid>,
    /// The images whose promotions end with it.
    pub withdraw: Vec<Uuid>,
    /// The images that were removed while they waited.
    pub gone: Vec<Uuid>,
    /// Higher versions that were promoted to the channel since it was asked for, lowest first: they stay above it.
    pub beneath: Vec<Version>,
    /// What is only told.
    pub warnings: Vec<Reason>,
}

/// The product as it will be when what waits is offered, as far as `counts` says that it counts.
pub(super) fn expected(state: &ProductState, counts: impl Fn(&PendingPromotion) -> bool) -> ProductState {
    let mut expected = ProductState { pending: Vec::new(), ..state.clone() };
    for waiting in state.pending.iter().filter(|waiting| counts(waiting)) {
        let ends = |promotion: &Promotion| {
            promotion.channel == waiting.channel && waiting.withdraw.contains(&promotion.image)
        };
        let (gone, stay) = expected.promotions.into_iter().partition(ends);
        expected.promotions = stay;
        expected.withdrawn.extend::<Vec<_>>(gone);
        let (channel, image, at) = (waiting.channel.clone(), waiting.image, waiting.at);
        expected.promotions.push(Promotion { channel, image, at });
    }
    expected
}

/// Whether it waits for what is being judged.
pub(super) fn is_of(waiting: &PendingPromotion, offering: &Offering<'_>) -> bool {
    waiting.channel == *offering.channel && offering.images.iter().any(|image| image.id == waiting.image)
}

/// The images that wait to be offered on the channel as a downgrade from one of these, which are promoted now: that is the
/// later word, so they wait no longer.
pub fn overtaken(state: &ProductState, channel: &ChannelName, images: &[Uuid]) -> Vec<Uuid> {
    let withdraws = |waiting: &&PendingPromotion| waiting.withdraw.iter().any(|image| images.contains(image));
    let of_channel = state.pending.iter().filter(|waiting| waiting.channel == *channel);
    let others = of_channel.filter(|waiting| !images.contains(&waiting.image));
    others.filter(withdraws).map(|waiting| waiting.image).collect()
}

/// Judges again what was asked for at that moment: images of one version for one channel. `None` = nothing of it waits.
pub fn open(
    state: &ProductState,
    version: &Version,
    (channel, asked_at): (&ChannelName, DateTime<Utc>),
    limits: Limits,
) -> Option<Opening> {
    let release = state.release(version)?;
    let of_ask = |waiting: &&PendingPromotion| {
        let of_release = release.images.iter().any(|image| image.id == waiting.image);
        of_release && waiting.channel == *channel && waiting.at == asked_at
    };
    let asked: Vec<&PendingPromotion> = state.pending.iter().filter(of_ask).collect();
    let first = asked.first()?;
    let is_asked = |image: &&Image| asked.iter().any(|waiting| waiting.image == image.id);
    let (gone, images): (Vec<&Image>, Vec<&Image>) =
        release.images.iter().filter(is_asked).partition(|image| image.removed_at.is_some());
    if images.is_empty() {
        let why =
            format!("the images of {version} were removed for good while they waited: publish a new version");
        return Some(Opening::Refuse(vec![Reason::new("release-removed", why)]));
    }
    let covered: BTreeSet<Uuid> = asked.iter().flat_map(|waiting| waiting.withdraw.iter().copied()).collect();
    let consent = Consent {
        allow_downgrade: !covered.is_empty(),
        allow_same_bytes: false,
        allow_stranding: asked.iter().any(|waiting| waiting.allow_stranding),
        reason: first.reason.clone().or_else(|| Some("given when it was asked for".into())),
    };
    let path = UpgradePath::default();
    let offering = Offering { version, path: &path, channel, images: &images };

    // As if it were still the moment of asking, for what was promoted to go above it since.
    let since = |promotion: &Promotion| {
        let above =
            state.image(promotion.image).filter(|(of, _)| of.recall.is_none() && of.version > *version);
        let later = promotion.at >= asked_at && !covered.contains(&promotion.image);
        later && promotion.channel == *channel && above.is_some()
    };
    let (later, before): (Vec<Promotion>, Vec<Promotion>) = state.promotions.iter().cloned().partition(since);
    let earlier = |waiting: &PendingPromotion| waiting.at < asked_at;
    let pending = state.pending.iter().filter(|waiting| earlier(waiting)).cloned().collect();
    let then = ProductState { promotions: before, pending, ..state.clone() };
    let ran = expected(&then, earlier);
    // Devices climb what is there now.
    let now = expected(state, |_| false);
    let judged = promote_on(&Ground { state: &then, ran: &ran, climbed: &now }, &offering, &consent, limits);
    let promoted = match judged {
        Ok(promoted) => promoted,
        Err(reasons) => {
            let soon = expected(state, earlier);
            let ground = Ground { state: &then, ran: &ran, climbed: &soon };
            return Some(match promote_on(&ground, &offering, &consent, limits) {
                Ok(_) => Opening::Wait(format!(
                    "it waits until what was promoted before it is offered: {}",
                    sentences(&reasons)
                )),
                Err(_) => Opening::Refuse(reasons),
            });
        }
    };
    if let Some(floor) = floor_before(&then, &offering) {
        let why = format!(
            "it waits until {floor} is offered, which devices must pass through and was promoted before"
        );
        return Some(Opening::Wait(why));
    }
    let beneath = later.iter().filter_map(|promotion| state.image(promotion.image));
    let beneath: BTreeSet<&Version> = beneath.map(|(release, _)| &release.version).collect();
    Some(Opening::Offer(Offer {
        images: images.iter().map(|image| image.id).collect(),
        withdraw: promoted.withdraw,
        gone: gone.iter().map(|image| image.id).collect(),
        beneath: beneath.into_iter().cloned().collect(),
        warnings: promoted.warnings,
    }))
}

/// A lower floor that waits for the same channel and hardware.
fn floor_before<'a>(state: &'a ProductState, offering: &Offering<'_>) -> Option<&'a Version> {
    let waiting = state.pending.iter().filter(|waiting| waiting.channel == *offering.channel);
    let mut images = waiting.filter_map(|waiting| state.image(waiting.image));
    let meets = |other: &Image, image: &Image| {
        other.hardware.is_empty() || image.hardware.is_empty() || !other.hardware.is_disjoint(&image.hardware)
    };
    let found = images.find(|(release, other)| {
        let lower = release.floor && release.recall.is_none() && release.version < *offering.version;
        lower && other.removed_at.is_none() && offering.images.iter().any(|image| meets(other, image))
    });
    found.map(|(release, _)| &release.version)
}

fn sentences(reasons: &[Reason]) -> String {
    reasons.iter().map(|reason| reason.message.as_str()).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
#[path = "waiting_tests.rs"]
mod tests;
