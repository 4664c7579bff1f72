//! What is known, as the API shows it.

use std::collections::{BTreeMap, BTreeSet};

use chrono::Utc;
use uuid::Uuid;

use super::PublisherState;
use crate::{
    api::{
        AttachmentView, ChannelSettings, ChannelView, ImageView, OfferView, PendingView, ProductBody,
        ProductDetail, ProductView, RefusedView, ReleaseState, ReleaseView, SecurityBody, UploadState,
        UploadView, VerdictView,
    },
    bucket::ObjectKey,
    cdn::{Terms, UNSIGNABLE},
    domain::{
        Attachment, ChannelName, Hardware, Image, LinkKind, Offer, PendingPromotion, Product, ProductOffers,
        ProductSettings, ProductState, Promotion, RefusedPromotion, Release, Version, credential,
    },
    error::{Error, Result},
    publishing::{
        Judged, Publication, Verdict,
        resumable::{Found, shown_offset},
    },
    version_check::Refusal,
};

pub(super) fn product(product: &Product) -> ProductView {
    ProductView {
        product: product.name.to_string(),
        settings: ProductBody {
            hardware: texts(&product.settings.hardware),
            max_image_bytes: product.settings.max_image_bytes,
            policy: product.settings.policy.clone(),
            support_end: product.settings.support_end,
            poll_interval: product.settings.rhythm.poll_interval,
            cache_lifetime: product.settings.rhythm.cache_lifetime,
            channel_settings: of_channels(&product.settings),
            delivery: product.settings.delivery,
            retention: product.settings.retention.clone(),
        },
        created_at: product.created_at,
        revision: product.revision.0,
        warnings: Vec::new(),
    }
}

fn of_channels(settings: &ProductSettings) -> BTreeMap<ChannelName, ChannelSettings> {
    settings.channels.iter().map(|(channel, rhythm)| (channel.clone(), (*rhythm).into())).collect()
}

pub(super) fn product_detail(state: &PublisherState, known: &ProductState) -> Result<ProductDetail> {
    let channels = known.channels();
    let channels = channels.iter().map(|name| channel(state, known, name)).collect::<Result<_>>()?;
    Ok(ProductDetail { product: product(&known.product), channels })
}

pub(super) fn channel(
    state: &PublisherState,
    known: &ProductState,
    name: &ChannelName,
) -> Result<ChannelView> {
    let offers = ProductOffers::of(known);
    let view = |(hardware, offer): (Option<&str>, Offer<'_>)| -> Result<OfferView> {
        let image = (offer.short_id(), offer.key());
        let url = link(state, &known.product, image)?;
        Ok(OfferView {
            hardware: hardware.map(ToOwned::to_owned),
            version: offer.version().to_owned(),
            filename: offer.filename().to_owned(),
            size: offer.size(),
            sha256: hex::encode(offer.sha256()),
            url,
        })
    };
    let offered = offers.channel(name.as_str()).map(|channel| channel.all()).unwrap_or_default();
    Ok(ChannelView {
        product: known.product.name.to_string(),
        channel: name.to_string(),
        offers: offered.into_iter().map(view).collect::<Result<_>>()?,
        pending: pending(known, |waiting| waiting.channel == *name),
        refused: {
            let of_channel = known.promotions.iter().filter(|promotion| promotion.channel == *name);
            let last = of_channel.map(|promotion| promotion.at).max();
            refused(known, |one| one.channel == *name && last.is_none_or(|last| one.at > last))
        },
        warnings: Vec::new(),
    })
}

pub(super) fn release(
    state: &PublisherState,
    known: &ProductState,
    release: &Release,
) -> Result<ReleaseView> {
    let images =
        release.images.iter().map(|each| image(state, known, release, each)).collect::<Result<_>>()?;
    Ok(ReleaseView {
        product: known.product.name.to_string(),
        version: release.version.to_string(),
        state: if release.recall.is_some() { ReleaseState::Recalled } else { ReleaseState::Published },
        notes: release.notes.clone(),
        created_at: release.created_at,
        recalled_at: release.recall.as_ref().map(|recall| recall.at),
        recall_reason: release.recall.as_ref().map(|recall| recall.reason.clone()),
        replacement: release
            .recall
            .as_ref()
            .and_then(|recall| recall.replacement.as_ref())
            .map(Version::to_string),
        floor: release.floor,
        upgrade_from: release.upgrade_from.as_ref().map(Version::to_string),
        images,
        security: release.security.as_ref().map(|security| SecurityBody {
            severity: security.severity.as_str().to_owned(),
            cves: security.cves.iter().map(ToString::to_string).collect(),
        }),
        attachments: release.attachments.iter().map(attachment).collect(),
        purges: Vec::new(),
        warnings: Vec::new(),
    })
}

pub(super) fn attachment(attachment: &Attachment) -> AttachmentView {
    AttachmentView {
        name: attachment.name.to_string(),
        kind: attachment.kind.to_string(),
        specification: attachment.specification.clone(),
        size: attachment.size,
        sha256: hex::encode(attachment.sha256),
        created_at: attachment.created_at,
    }
}

pub(super) fn image(
    state: &PublisherState,
    known: &ProductState,
    release: &Release,
    image: &Image,
) -> Result<ImageView> {
    let key = ObjectKey::image(&known.product.name, &release.version, &image.filename);
    let short = known.product.settings.delivery.link == LinkKind::Short;
    let short_id = short.then(|| credential::short_id(known.product.name.as_str(), key.as_str()));
    // What was promoted before a recall or a removal is offered nowhere now.
    let stays = release.recall.is_none() && image.removed_at.is_none();
    let offered = |promotion: &&Promotion| promotion.image == image.id && stays;
    let promotions = known.promotions.iter().filter(offered);
    Ok(ImageView {
        product: known.product.name.to_string(),
        version: release.version.to_string(),
        filename: image.filename.to_string(),
        hardware: texts(&image.hardware),
        size: image.size,
        sha256: hex::encode(image.digests.sha256),
        sha1: hex::encode(image.digests.sha1),
        md5: hex::encode(image.digests.md5),
        url: if image.removed_at.is_none() {
            link(state, &known.product, (short_id.as_deref(), key.as_str()))?
        } else {
            String::new()
        },
        key: key.as_str().to_owned(),
        etag: image.etag.clone(),
        created_at: image.created_at,
        channels: promotions.map(|promotion| promotion.channel.to_string()).collect(),
        pending: pending(known, |waiting| waiting.image == image.id),
        refused: refused(known, |refused| refused.image == image.id),
        facts: image.facts.as_deref().cloned(),
        signature: image.signature.clone(),
        removed_at: image.removed_at,
        warnings: Vec::new(),
    })
}

/// The promotions that wait, of those that are meant.
fn pending(known: &ProductState, is_meant: impl Fn(&PendingPromotion) -> bool) -> Vec<PendingView> {
    let view = |waiting: &PendingPromotion| {
        let (release, image) = known.image(waiting.image)?;
        Some(PendingView {
            channel: waiting.channel.to_string(),
            version: release.version.to_string(),
            filename: image.filename.to_string(),
            since: waiting.at,
            withdraws: versions(
                known,
                waiting.withdraw.iter().filter(|id| known.is_promoted(**id, &waiting.channel)),
            ),
            attempts: waiting.attempts,
            last_error: waiting.last_error.clone(),
        })
    };
    known.pending.iter().filter(|waiting| is_meant(waiting)).filter_map(view).collect()
}

/// The versions of these images, lowest first.
fn versions<'a>(known: &ProductState, images: impl Iterator<Item = &'a Uuid>) -> Vec<String> {
    let versions: BTreeSet<&Version> =
        images.filter_map(|id| known.image(*id)).map(|(release, _)| &release.version).collect();
    versions.into_iter().map(Version::to_string).collect()
}

/// The promotions that were refused at the gate, of those that are meant.
fn refused(known: &ProductState, is_meant: impl Fn(&RefusedPromotion) -> bool) -> Vec<RefusedView> {
    let view = |refused: &RefusedPromotion| {
        let (release, image) = known.image(refused.image)?;
        Some(RefusedView {
            channel: refused.channel.to_string(),
            version: release.version.to_string(),
            filename: image.filename.to_string(),
            asked_at: refused.asked_at,
            refused_at: refused.at,
            why: refused.why.clone(),
        })
    };
    known.refused.iter().filter(|refused| is_meant(refused)).filter_map(view).collect()
}

pub(super) fn verdict(publication: &Publication, verdict: Verdict) -> VerdictView {
    let status = verdict.status();
    let (conflict, reasons) = match verdict.judgement.admission {
        Ok(_) => (None, Vec::new()),
        Err(Refusal::Conflict(message)) => (Some(message), Vec::new()),
        Err(Refusal::Rules(reasons)) => (None, reasons),
    };
    let candidate = &publication.candidate;
    VerdictView {
        admitted: conflict.is_none() && reasons.is_empty(),
        status,
        judged: match verdict.judged {
            Judged::Declared => "declared",
            Judged::Underway => "underway",
            Judged::Image => "image",
        }
        .to_owned(),
        product: publication.product.to_string(),
        version: candidate.version.to_string(),
        filename: candidate.filename.to_string(),
        hardware: texts(&candidate.hardware),
        size: verdict.size,
        sha256: verdict.sha256.map(hex::encode),
        conflict,
        reasons,
        warnings: verdict.judgement.warnings,
        facts: verdict.facts,
    }
}

pub(super) fn upload(state: &PublisherState, found: &Found) -> Result<UploadView> {
    match found {
        Found::Open(upload) => Ok(UploadView {
            id: upload.reservation.id,
            state: UploadState::Open,
            kind: Some(upload.kind.as_str().to_owned()),
            product: upload.reservation.product.to_string(),
            version: upload.reservation.version.to_string(),
            filename: upload.reservation.filename.to_string(),
            size: upload.progress.size,
            offset: shown_offset(&upload.progress),
            expires_at: Some(upload.expires_at),
            image: None,
        }),
        Found::Published(known, id) => {
            let (release, stored) =
                known.image(*id).ok_or_else(|| Error::internal("a published image is not there"))?;
            Ok(UploadView {
                id: *id,
                state: UploadState::Published,
                kind: None,
                product: known.product.name.to_string(),
                version: release.version.to_string(),
                filename: stored.filename.to_string(),
                size: Some(stored.size),
                offset: stored.size,
                expires_at: None,
                image: Some(image(state, known, release, stored)?),
            })
        }
    }
}

/// The link that a device would be given now; empty = it could be given none.
fn link(state: &PublisherState, product: &Product, (id, key): (Option<&str>, &str)) -> Result<String> {
    let secrets = product.device_secrets.to_bytes();
    let terms = Terms::of(product, &secrets);
    let (now, host) = (Utc::now(), &state.device_host);
    let mut url = String::new();
    let written = match id {
        Some(id) => state.short.write(&mut url, &terms, (id, key), now, host),
        None => state.links.write_on(&mut url, &terms, &state.short, key, now, host),
    };
    match written {
        Ok(_) => Ok(url),
        Err(error) if error.code() == UNSIGNABLE => Ok(String::new()),
        Err(error) => Err(error),
    }
}

fn texts(hardware: &BTreeSet<Hardware>) -> BTreeSet<String> {
    hardware.iter().map(ToString::to_string).collect()
}
