//! Promote and recall: changes of what is offered, without bytes.

use uuid::Uuid;

use super::{ATTEMPTS, Publishing, too_contended};
use crate::{
    catalogue::{Audit, Promote, Written},
    domain::{ChannelName, ProductName, ProductState, Release, Version},
    error::{Error, Kind, Result},
    version_check::{self, Consent, Promotable},
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
    /// The name of the token.
    pub actor: String,
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
    /// The name of the token.
    pub actor: String,
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
            };
            let change = Promote { channel: request.channel.clone(), images, withdraw };
            let written =
                self.catalogue.promote(&request.product, &change, state.product.revision, &audit).await?;
            if let Written::Done(state) = written {
                self.changed.notify_one();
                tracing::info!(
                    product = %request.product, version = %request.version, channel = %request.channel,
                    actor = request.actor, "promoted"
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
                channel: None,
                details: serde_json::json!({ "reason": request.reason }),
            };
            let written = self
                .catalogue
                .recall(&request.product, &request.version, &request.reason, state.product.revision, &audit)
                .await?;
            if let Written::Done(state) = written {
                self.changed.notify_one();
                tracing::warn!(
                    product = %request.product, version = %request.version, reason = request.reason,
                    actor = request.actor, "recalled"
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
