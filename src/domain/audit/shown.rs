//! What an entry of the audit log shows of a product before and after a change: the same question, asked of both states.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};
use uuid::Uuid;

use crate::domain::{ChannelName, Image, ProductOffers, ProductState, Release, Version};

/// The parts of a product that a change concerns.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shown {
    /// A release, without its images and notes.
    pub release: Option<Version>,
    /// The release's notes too.
    pub notes: bool,
    /// An image.
    pub image: Option<Uuid>,
    /// What these channels offer, per hardware.
    pub channels: BTreeSet<ChannelName>,
}

impl Shown {
    /// A release and what the channels offer that it is promoted to.
    pub fn release_and_offers(state: &ProductState, version: &Version) -> Self {
        let images = state.release(version).map_or(&[][..], |release| &release.images);
        let promoted = |image: Uuid| images.iter().any(|known| known.id == image);
        let promotions = state.promotions.iter().filter(|promotion| promoted(promotion.image));
        Self {
            release: Some(version.clone()),
            channels: promotions.map(|promotion| promotion.channel.clone()).collect(),
            ..Self::default()
        }
    }

    /// These parts of the product, as JSON; what is not there is `null`.
    pub fn of(&self, state: &ProductState) -> Value {
        let mut parts = Map::new();
        if let Some(version) = &self.release {
            let known = state.release(version);
            parts.insert("release".into(), known.map_or(Value::Null, release));
            if self.notes {
                parts.insert("notes".into(), json!(known.and_then(|known| known.notes.as_ref())));
            }
        }
        if let Some(id) = self.image {
            let known = state.image(id);
            parts.insert("image".into(), known.map_or(Value::Null, |(_, known)| image(known)));
        }
        if !self.channels.is_empty() {
            let offers = self.channels.iter().map(|name| (name.to_string(), offers(state, name)));
            parts.insert("offers".into(), Value::Object(offers.collect()));
        }
        parts.into()
    }
}

fn release(release: &Release) -> Value {
    let attachments = release.attachments.iter().map(|attachment| {
        json!({
            "name": attachment.name.to_string(),
            "kind": attachment.kind,
            "specification": attachment.specification,
            "size": attachment.size,
            "sha256": hex::encode(attachment.sha256),
        })
    });
    json!({
        "version": release.version.to_string(),
        "state": if release.recall.is_some() { "recalled" } else { "published" },
        "recall_reason": release.recall.as_ref().map(|recall| &recall.reason),
        "replacement": release.recall.as_ref().and_then(|recall| recall.replacement.as_ref()),
        "floor": release.floor,
        "upgrade_from": release.upgrade_from,
        "security": release.security,
        "attachments": attachments.collect::<Vec<_>>(),
    })
}

fn image(image: &Image) -> Value {
    json!({
        "id": image.id.to_string(),
        "filename": image.filename.to_string(),
        "hardware": image.hardware,
        "size": image.size,
        "sha256": hex::encode(image.digests.sha256),
    })
}

/// By hardware; `*` = all that no other name covers.
fn offers(state: &ProductState, channel: &ChannelName) -> Value {
    let offers = ProductOffers::of(state);
    let offered = offers.channel(channel.as_str()).map(|channel| channel.all()).unwrap_or_default();
    let each = offered.into_iter().map(|(hardware, offer)| {
        let to = hardware.unwrap_or("*").to_owned();
        let what = json!({
            "version": offer.version(),
            "filename": offer.filename(),
            "sha256": hex::encode(offer.sha256()),
        });
        (to, what)
    });
    Value::Object(each.collect())
}
