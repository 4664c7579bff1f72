//! Promote and recall: changes of what is offered, without bytes.

use std::collections::BTreeSet;

use uuid::Uuid;

use super::{ATTEMPTS, Publishing, too_contended};
use crate::{
    catalogue::{Actor, Audit, Promote, Written},
    domain::{ChannelName, ProductName, ProductState, Release, Shown, Version},
    error::{Error, Kind, Result},
    version_check::{self, Consent, Promotable, rule},
};

/// A request to offer a stored release on a channel.
#[derive(Debug, Clone)]
pub struct Promotion {
    /// The product.
    pub product: ProductName,
    /// The release.
    pub version: Version,
    /// Where.
    pub channel: ChannelName,
    /// What the publisher confirms.
    pub consent: Consent,
    /// Who and from where.
    pub actor: Actor,
}

/// A request to take a release back.
#[derive(Debug, Clone)]
pub struct Recalling {
    /// The product.
    pub product: ProductName,
    /// The release.
    pub version: Version,
    /// Why.
    pub reason: String,
    /// Who and from where.
    pub actor: Actor,
}

impl Publishing {
    /// Promotes all images of a stored release to a channel. Doing it again changes nothing.
    ///
    /// # Errors
    /// `NotFound` for the product or release, `Refused` with all reasons, or what the catalogue fails with.
    pub async fn promote(&self, request: &Promotion) -> Result<ProductState> {
        for _ in 0..ATTEMPTS {
            let state = self.product(&request.product).await?;
            let release = release_of(&state, &request.version)?;
            let images: Vec<_> =
                release.images.iter().map(|image| Promotable { hardware: &image.hardware }).collect();
            let withdraw =
                version_check::promote(&state, &request.version, &request.channel, &images, &request.consent)
                    .map_err(Error::refused)?;
            let images: Vec<Uuid> = release
                .images
                .iter()
                .map(|image| image.id)
                .filter(|id| !state.is_promoted(*id, &request.channel))
                .collect();
            if images.is_empty() && withdraw.is_empty() {
                return Ok(state);
            }
            let audit = Audit {
                actor: request.actor.clone(),
                action: "channel.promote",
                version: Some(request.version.clone()),
                channel: Some(request.channel.clone()),
                details: consent_details(&request.consent, &withdraw),
                verdict: overridden(&request.consent, &withdraw),
                ..Audit::default()
            };
            let audit = audit.showing(offers_of(&request.channel), &state);
            let change = Promote { channel: request.channel.clone(), images, withdraw };
            let written =
                self.catalogue.promote(&request.product, &change, state.product.revision, &audit).await?;
            if let Written::Done(state) = written {
                self.changed.notify_one();
                tracing::info!(
                    product = %request.product, version = %request.version, channel = %request.channel,
                    actor = %request.actor, "promoted"
                );
                return Ok(state);
            }
        }
        Err(too_contended())
    }

    /// Recalls a release: it is never offered again, on no channel. Doing it again changes nothing.
    ///
    /// # Errors
    /// `NotFound` for the product or release, or what the catalogue fails with.
    pub async fn recall(&self, request: &Recalling) -> Result<ProductState> {
        for _ in 0..ATTEMPTS {
            let state = self.product(&request.product).await?;
            if release_of(&state, &request.version)?.recall.is_some() {
                return Ok(state);
            }
            let audit = Audit {
                actor: request.actor.clone(),
                action: "release.recall",
                version: Some(request.version.clone()),
                details: serde_json::json!({ "reason": request.reason }),
                ..Audit::default()
            };
            let audit = audit.showing(Shown::release_and_offers(&state, &request.version), &state);
            let written = self
                .catalogue
                .recall(&request.product, &request.version, &request.reason, state.product.revision, &audit)
                .await?;
            if let Written::Done(state) = written {
                self.changed.notify_one();
                tracing::warn!(
                    product = %request.product, version = %request.version, reason = request.reason,
                    actor = %request.actor, "recalled"
                );
                return Ok(state);
            }
        }
        Err(too_contended())
    }
}

/// The release, or an error that says what there is.
///
/// # Errors
/// Kind `NotFound`, code `unknown-release`.
pub fn release_of<'a>(state: &'a ProductState, version: &Version) -> Result<&'a Release> {
    state.release(version).ok_or_else(|| {
        let newest = state.releases.iter().map(|release| &release.version).max();
        let hint = newest.map(|version| format!(" (the highest is {version})")).unwrap_or_default();
        Error::new(
            Kind::NotFound,
            "unknown-release",
            format!("product {} has no release {version}{hint}: publish it first", state.product.name),
        )
    })
}

/// What the audit log shows of a promotion.
pub(super) fn offers_of(channel: &ChannelName) -> Shown {
    Shown { channels: BTreeSet::from([channel.clone()]), ..Shown::default() }
}

/// The codes of the rules that the publisher has overridden.
pub(super) fn overridden(consent: &Consent, withdrawn: &[Uuid]) -> Vec<String> {
    let rules =
        [(!withdrawn.is_empty(), rule::VERSION_NOT_NEWER), (consent.allow_same_bytes, rule::SAME_BYTES)];
    rules.into_iter().filter(|(overridden, _)| *overridden).map(|(_, rule)| rule.to_owned()).collect()
}

/// What the audit log keeps of an overridden rule.
pub(super) fn consent_details(consent: &Consent, withdrawn: &[Uuid]) -> serde_json::Value {
    let mut details = serde_json::Map::new();
    if !withdrawn.is_empty() {
        details.insert("downgrade".into(), true.into());
        details.insert("withdrawn".into(), withdrawn.iter().map(Uuid::to_string).collect());
    }
    if consent.allow_same_bytes {
        details.insert("allow_same_bytes".into(), true.into());
    }
    if let Some(reason) = &consent.reason {
        details.insert("reason".into(), reason.clone().into());
    }
    details.into()
}
