//! What is known, as the API shows it.

use std::collections::BTreeSet;

use chrono::Utc;

use super::PublisherState;
use crate::{
    api::{
        ChannelView, ImageView, OfferView, ProductBody, ProductDetail, ProductView, ReleaseState,
        ReleaseView, UploadState, UploadView,
    },
    bucket::ObjectKey,
    domain::{ChannelName, ChannelOffers, Hardware, Image, Offer, Product, ProductState, Promotion, Release},
    error::{Error, Result},
    publishing::resumable::{Found, shown_offset},
};

pub(super) fn product(product: &Product) -> ProductView {
    ProductView {
        product: product.name.to_string(),
        settings: ProductBody {
            hardware: texts(&product.settings.hardware),
            max_image_bytes: product.settings.max_image_bytes,
        },
        created_at: product.created_at,
        revision: product.revision.0,
    }
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
    let offers = ChannelOffers::of(known, name);
    let view = |hardware: Option<&Hardware>, offer: &Offer| -> Result<OfferView> {
        Ok(OfferView {
            hardware: hardware.map(ToString::to_string),
            version: offer.version.to_string(),
            filename: offer.filename.to_string(),
            size: offer.size,
            sha256: offer.sha256.to_string(),
            url: link(state, &ObjectKey::image(&known.product.name, &offer.version, &offer.filename))?,
        })
    };
    Ok(ChannelView {
        product: known.product.name.to_string(),
        channel: name.to_string(),
        offers: offers.all().map(|(hardware, offer)| view(hardware, offer)).collect::<Result<_>>()?,
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
        images,
    })
}

pub(super) fn image(
    state: &PublisherState,
    known: &ProductState,
    release: &Release,
    image: &Image,
) -> Result<ImageView> {
    let key = ObjectKey::image(&known.product.name, &release.version, &image.filename);
    // What was promoted before a recall is offered nowhere now.
    let offered = |promotion: &&Promotion| promotion.image == image.id && release.recall.is_none();
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
        url: link(state, &key)?,
        key: key.as_str().to_owned(),
        etag: image.etag.clone(),
        created_at: image.created_at,
        channels: promotions.map(|promotion| promotion.channel.to_string()).collect(),
    })
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

fn link(state: &PublisherState, key: &ObjectKey) -> Result<String> {
    Ok(state.links.link(key, Utc::now(), &state.device_host)?.url)
}

fn texts(hardware: &BTreeSet<Hardware>) -> BTreeSet<String> {
    hardware.iter().map(ToString::to_string).collect()
}
