//! What asking for an offer changes, and what becomes of it at the gate.
//!
//! With the gate on, images that are not offered yet wait. Asking again for what waits already changes nothing if the same
//! would happen in the end; else it is asked for anew, with what is to be withdrawn now, and waits from now on. What may be
//! offered is decided when it is asked for, and once more by [`Publishing::opening`] when the gate opens; between that
//! decision and the write the product's revision makes sure that nothing has changed.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{
    Publishing,
    change::{offers_of, promotion_details, verdict},
};
use crate::{
    catalogue::{Actor, Audit, Promote, Written},
    domain::{Action, ChannelName, ProductName, ProductState, Version},
    error::{Error, Result},
    version_check::{self, Consent, Offer, Offering, Opening, Promoted, Reason},
};

/// A change that promotes, and its audit entry.
pub(super) type Planned = (Promote, Audit);

/// Images of one release that were asked for together, for one channel.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Asked {
    /// The product.
    pub product: ProductName,
    /// The release.
    pub version: Version,
    /// Where.
    pub channel: ChannelName,
    /// When.
    pub at: DateTime<Utc>,
}

impl Publishing {
    /// What a promotion of stored images changes; `None` = it is so already. And what the version check only tells.
    ///
    /// # Errors
    /// `Refused` with all reasons.
    pub(super) fn planned(
        &self,
        state: &ProductState,
        offering: &Offering<'_>,
        consent: &Consent,
        actor: &Actor,
    ) -> Result<(Option<Planned>, Vec<Reason>)> {
        let Promoted { withdraw, warnings } =
            version_check::promote(state, offering, consent, self.limits).map_err(Error::refused)?;
        let channel = offering.channel;
        let all: Vec<Uuid> = offering.images.iter().map(|image| image.id).collect();
        let images: Vec<Uuid> = all.iter().copied().filter(|id| !state.is_promoted(*id, channel)).collect();
        let ends = version_check::overtaken(state, channel, &all);
        // A downgrade of what is offered to something that was offered before withdraws, and has nothing to fetch.
        let pending = self.gated && !images.is_empty();
        let nothing = images.is_empty() && withdraw.is_empty();
        if ends.is_empty() && (nothing || pending && waits_so(state, channel, &images, &withdraw, consent)) {
            return Ok((None, warnings));
        }
        let mut details = promotion_details(consent, &withdraw, pending);
        if let Some(details) = details.as_object_mut() {
            if images.iter().any(|id| state.is_pending(*id, channel)) {
                details.insert("renewed".into(), true.into());
            }
            if !ends.is_empty() {
                details.insert("ended".into(), versions(state, &ends).into());
            }
        }
        let audit = Audit {
            actor: actor.clone(),
            action: Action::ChannelPromote,
            version: Some(offering.version.clone()),
            channel: Some(channel.clone()),
            details,
            verdict: verdict(consent, &withdraw, &warnings),
            ..Audit::default()
        };
        let audit = audit.showing(offers_of(channel), state);
        let asked = Promote { ends, ..Promote::new(channel.clone(), images, withdraw) };
        Ok((Some((Promote { pending, ..confirmed(asked, consent) }, audit)), warnings))
    }

    /// What is to become of what waits, as the catalogue is in `state`; `None` = it waits no longer.
    pub fn opening(&self, state: &ProductState, asked: &Asked) -> Option<Opening> {
        version_check::open(state, &asked.version, (&asked.channel, asked.at), self.limits)
    }

    /// Offers what waited, if the product is still as it was when that was decided. Says whether it was.
    ///
    /// # Errors
    /// What the catalogue fails with.
    pub async fn offer(
        &self,
        state: &ProductState,
        asked: &Asked,
        offer: &Offer,
        mut audit: Audit,
    ) -> Result<bool> {
        let Asked { product, version, channel, .. } = asked;
        if let Some(details) = audit.details.as_object_mut() {
            let mut tell = |name: &str, versions: Vec<String>| {
                if !versions.is_empty() {
                    details.insert(name.into(), versions.into());
                }
            };
            tell("withdrawn", offer.withdraw.iter().map(Uuid::to_string).collect());
            tell("beneath", offer.beneath.iter().map(Version::to_string).collect());
            let mut waited = state.pending.iter().filter(|one| offer.images.contains(&one.image));
            if let Some(reason) =
                waited.find_map(|one| one.reason.as_ref().filter(|_| one.channel == *channel))
            {
                details.insert("reason".into(), reason.clone().into());
            }
        }
        audit.verdict = verdict(&Consent::default(), &offer.withdraw, &offer.warnings);
        let audit = Audit { version: Some(version.clone()), channel: Some(channel.clone()), ..audit };
        let audit = audit.showing(offers_of(channel), state);
        let promote = Promote {
            ends: offer.gone.clone(),
            ..Promote::new(channel.clone(), offer.images.clone(), offer.withdraw.clone())
        };
        let written = self.catalogue.promote(product, &promote, state.product.revision, &audit).await?;
        self.told(&written);
        Ok(matches!(written, Written::Done(_)))
    }

    /// Ends the waiting of what may not be offered any more, if the product is still as it was when that was decided. Says
    /// whether it was.
    ///
    /// # Errors
    /// What the catalogue fails with.
    pub async fn refuse(
        &self,
        state: &ProductState,
        asked: &Asked,
        reasons: &[Reason],
        audit: Audit,
    ) -> Result<bool> {
        let Asked { product, version, channel, .. } = asked;
        let of_release = state.release(version).map(|release| &release.images).into_iter().flatten();
        let waits = |id: &Uuid| {
            let mut waiting = state.pending.iter();
            waiting.any(|one| one.image == *id && one.channel == *channel && one.at == asked.at)
        };
        let images: Vec<Uuid> = of_release.map(|image| image.id).filter(waits).collect();
        let why = reasons.iter().map(|reason| reason.message.as_str()).collect::<Vec<_>>().join("; ");
        let audit = Audit {
            version: Some(version.clone()),
            channel: Some(channel.clone()),
            details: serde_json::json!({ "reasons": reasons }),
            verdict: reasons.iter().map(|reason| reason.code.to_string()).collect(),
            ..audit
        };
        let audit = audit.showing(offers_of(channel), state);
        let revision = state.product.revision;
        let of = (channel, images.as_slice());
        let written = self.catalogue.refuse_waiting(product, of, &why, revision, &audit).await?;
        self.told(&written);
        Ok(matches!(written, Written::Done(_)))
    }

    fn told(&self, written: &Written<ProductState>) {
        if let Written::Done(_) = written {
            self.changed.notify_one();
        }
    }
}

/// The promotion with what the publisher has confirmed, for the case that it has to wait.
pub(super) fn confirmed(promote: Promote, consent: &Consent) -> Promote {
    Promote { allow_stranding: consent.allow_stranding, reason: consent.reason.clone(), ..promote }
}

/// Whether all these images wait already, for the same.
fn waits_so(
    state: &ProductState,
    channel: &ChannelName,
    images: &[Uuid],
    withdraw: &[Uuid],
    consent: &Consent,
) -> bool {
    let set = |ids: &[Uuid]| ids.iter().copied().collect::<BTreeSet<_>>();
    images.iter().all(|id| {
        let mut waiting = state.pending.iter();
        waiting.any(|one| {
            let same = set(&one.withdraw) == set(withdraw) && one.allow_stranding == consent.allow_stranding;
            one.image == *id && one.channel == *channel && same
        })
    })
}

/// The versions of these images, each once.
fn versions(state: &ProductState, images: &[Uuid]) -> Vec<String> {
    let found = images.iter().filter_map(|id| state.image(*id));
    let versions: BTreeSet<&Version> = found.map(|(release, _)| &release.version).collect();
    versions.into_iter().map(Version::to_string).collect()
}
