//! Promote, recall, and change the path to a release: changes of what is offered, without bytes.

use std::collections::BTreeSet;

use chrono::Utc;
use uuid::Uuid;

use super::{ATTEMPTS, Publishing, crash, too_contended};
use crate::{
    catalogue::{Actor, Audit, Written},
    domain::{
        Action, ChannelName, Image, ProductName, ProductState, Recall, Release, Shown, UpgradePath, Version,
    },
    error::{Error, Kind, Result},
    version_check::{self, Consent, Offering, Reason, rule},
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
    /// The version that devices which run it should go to.
    pub replacement: Option<Version>,
    /// What the publisher confirms.
    pub consent: Consent,
    /// Who and from where.
    pub actor: Actor,
}

/// A request to change how devices come to a release.
#[derive(Debug, Clone)]
pub struct Repathing {
    /// The product.
    pub product: ProductName,
    /// The release.
    pub version: Version,
    /// How from now on.
    pub path: UpgradePath,
    /// What the publisher confirms.
    pub consent: Consent,
    /// Who and from where.
    pub actor: Actor,
}

/// A change that is done.
#[derive(Debug, Clone)]
pub struct Changed {
    /// The product as it is now.
    pub state: ProductState,
    /// What the version check only tells.
    pub warnings: Vec<Reason>,
}

impl Publishing {
    /// Promotes all images of a stored release to a channel. Doing it again changes nothing, unless something else would be
    /// withdrawn now, or waits as a downgrade from this very release: see [`super::offering`].
    ///
    /// # Errors
    /// `NotFound` for the product or release, `Conflict` when all images of it were removed, `Refused` with all reasons, or
    /// what the catalogue fails with.
    pub async fn promote(&self, request: &Promotion) -> Result<Changed> {
        for _ in 0..ATTEMPTS {
            let state = self.product(&request.product).await?;
            let release = release_of(&state, &request.version)?;
            if release.is_removed() {
                return Err(removed(release));
            }
            let images: Vec<_> = release.kept().collect();
            let path = UpgradePath::default();
            let offering = Offering {
                version: &request.version,
                path: &path,
                channel: &request.channel,
                images: &images,
            };
            let (planned, warnings) = self.planned(&state, &offering, &request.consent, &request.actor)?;
            let Some((change, audit)) = planned else { return Ok(Changed { state, warnings }) };
            let written =
                self.catalogue.promote(&request.product, &change, state.product.revision, &audit).await?;
            if let Written::Done(state) = written {
                self.changed.notify_one();
                tracing::info!(
                    product = %request.product, version = %request.version, channel = %request.channel,
                    actor = %request.actor, "promoted"
                );
                return Ok(Changed { state, warnings });
            }
        }
        Err(too_contended())
    }

    /// Recalls a release: it is never offered again, on no channel. Doing it again changes nothing but the replacement.
    ///
    /// # Errors
    /// `NotFound` for the product or release, `Refused` with all reasons, or what the catalogue fails with.
    pub async fn recall(&self, request: &Recalling) -> Result<Changed> {
        for _ in 0..ATTEMPTS {
            let state = self.product(&request.product).await?;
            let release = release_of(&state, &request.version)?;
            if let Some(recall) = &release.recall
                && (request.replacement.is_none() || recall.replacement == request.replacement)
            {
                return Ok(Changed { state, warnings: Vec::new() });
            }
            let kept = release.recall.as_ref();
            let recall = Recall {
                at: kept.map_or_else(Utc::now, |recall| recall.at),
                reason: kept.map_or_else(|| request.reason.clone(), |recall| recall.reason.clone()),
                replacement: request.replacement.clone(),
            };
            let warnings =
                version_check::recall(&state, release, &recall, &request.consent).map_err(Error::refused)?;
            if let Some(replacement) = request.replacement.as_ref().filter(|_| self.gated) {
                was_offered(&state, replacement)?;
            }
            let mut details = consent_details(&request.consent, &[]);
            if let Some(details) = details.as_object_mut() {
                details.insert("reason".into(), request.reason.clone().into());
                if let Some(replacement) = &request.replacement {
                    details.insert("replacement".into(), replacement.to_string().into());
                }
            }
            let audit = Audit {
                actor: request.actor.clone(),
                action: Action::ReleaseRecall,
                version: Some(request.version.clone()),
                details,
                verdict: verdict(&request.consent, &[], &warnings),
                ..Audit::default()
            };
            let audit = audit.showing(Shown::release_and_offers(&state, &request.version), &state);
            let written = self
                .catalogue
                .recall(
                    &request.product,
                    &request.version,
                    &request.reason,
                    request.replacement.as_ref(),
                    state.product.revision,
                    &audit,
                )
                .await?;
            if let Written::Done(state) = written {
                crash::point("recalled");
                self.changed.notify_one();
                tracing::warn!(
                    product = %request.product, version = %request.version, reason = request.reason,
                    actor = %request.actor, "recalled"
                );
                return Ok(Changed { state, warnings });
            }
        }
        Err(too_contended())
    }

    /// Changes how devices come to a release. Doing it again changes nothing.
    ///
    /// # Errors
    /// `NotFound` for the product or release, `Refused` with all reasons, or what the catalogue fails with.
    pub async fn set_path(&self, request: &Repathing) -> Result<Changed> {
        let Repathing { product, version, path, consent, actor } = request;
        for _ in 0..ATTEMPTS {
            let state = self.product(product).await?;
            let release = release_of(&state, version)?;
            if release.floor == path.floor && release.upgrade_from == path.upgrade_from {
                return Ok(Changed { state, warnings: Vec::new() });
            }
            let warnings = version_check::set_path(&state, release, path, consent).map_err(Error::refused)?;
            let mut details = consent_details(consent, &[]);
            if let Some(details) = details.as_object_mut() {
                let was = serde_json::json!({ "floor": release.floor, "upgrade_from": release.upgrade_from });
                details.insert("before".into(), was);
                details.insert("floor".into(), path.floor.into());
                details.insert("upgrade_from".into(), serde_json::json!(path.upgrade_from));
            }
            let audit = Audit {
                actor: actor.clone(),
                action: Action::ReleasePath,
                version: Some(version.clone()),
                details,
                verdict: verdict(consent, &[], &warnings),
                ..Audit::default()
            };
            let audit = audit.showing(Shown::release_and_offers(&state, version), &state);
            let revision = state.product.revision;
            let written = self.catalogue.set_path(product, version, path, revision, &audit).await?;
            if let Written::Done(state) = written {
                self.changed.notify_one();
                tracing::info!(%product, %version, floor = path.floor, %actor, "path changed");
                return Ok(Changed { state, warnings });
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

/// A release that nothing is left of cannot be offered.
fn removed(release: &Release) -> Error {
    let message = format!("the images of {} were removed for good: publish a new version", release.version);
    Error::new(Kind::Conflict, "release-removed", message)
}

/// What the audit log shows of a promotion.
pub(super) fn offers_of(channel: &ChannelName) -> Shown {
    Shown { channels: BTreeSet::from([channel.clone()]), ..Shown::default() }
}

/// The codes of the rules that the publisher has overridden.
pub(super) fn verdict(consent: &Consent, withdrawn: &[Uuid], warnings: &[Reason]) -> Vec<String> {
    let rules = [
        (!withdrawn.is_empty(), rule::VERSION_NOT_NEWER),
        (consent.allow_same_bytes, rule::SAME_BYTES),
        (consent.allow_stranding, rule::STRANDS_DEVICES),
    ];
    let overridden = rules.into_iter().filter(|(overridden, _)| *overridden).map(|(_, rule)| rule.to_owned());
    overridden.chain(warnings.iter().map(|warning| warning.code.to_string())).collect()
}

/// What the audit log keeps of a promotion.
pub(super) fn promotion_details(consent: &Consent, withdrawn: &[Uuid], pending: bool) -> serde_json::Value {
    let mut details = consent_details(consent, withdrawn);
    if let (true, Some(details)) = (pending, details.as_object_mut()) {
        details.insert("pending".into(), true.into());
    }
    details
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
    if consent.allow_stranding {
        details.insert("allow_stranding".into(), true.into());
    }
    if let Some(reason) = &consent.reason {
        details.insert("reason".into(), reason.clone().into());
    }
    details.into()
}

/// Refuses a replacement that devices would be sent to before it was fetched through the CDN.
fn was_offered(state: &ProductState, replacement: &Version) -> Result<()> {
    let Some(release) = state.release(replacement) else { return Ok(()) };
    let ever = |image: &Image| {
        state.promotions.iter().chain(&state.withdrawn).any(|promotion| promotion.image == image.id)
    };
    if release.kept().all(ever) {
        return Ok(());
    }
    let message = format!(
        "{replacement} has images that were never offered, so nobody knows whether the CDN serves them: promote it to a \
         channel, wait until it is offered there, then recall"
    );
    Err(Error::new(Kind::Conflict, "replacement-not-verified", message))
}
