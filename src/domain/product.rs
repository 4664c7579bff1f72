//! A product as the catalogue knows it: its settings, releases, images and what is promoted where.
//!
//! [`ProductState`] is what the version check judges against and what a snapshot is built from; it is read in
//! one transaction and carries the revision at which it was read, so a writer can say "only if nothing changed".

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use chrono::{DateTime, NaiveDate, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    Attachment, ChannelName, Delivery, DeviceSecrets, Facts, FileName, Hardware, Policy, ProductName,
    Retention, Revision, Rhythm, Security, Version,
};

/// What a publisher may set on a product.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ProductSettings {
    /// The hardware that exists; empty = not listed, any hardware may be named.
    pub hardware: BTreeSet<Hardware>,
    /// The largest image, in bytes; `None` = the global limit alone.
    pub max_image_bytes: Option<u64>,
    /// What it demands of its images, and how strictly.
    pub policy: Policy,
    /// Until when the manufacturer supports it.
    pub support_end: Option<NaiveDate>,
    /// How often its devices ask, and how long caches keep their answers.
    #[serde(flatten)]
    pub rhythm: Rhythm,
    /// What its channels have of their own, whether or not they offer anything yet.
    #[serde(rename = "channel_settings")]
    pub channels: BTreeMap<ChannelName, Rhythm>,
    /// How its images reach its devices.
    #[serde(skip_serializing_if = "is_default")]
    pub delivery: Delivery,
    /// What is kept of its releases.
    pub retention: Retention,
}

impl ProductSettings {
    /// These settings in the place of earlier ones: as they were given, but for what the service keeps.
    #[must_use]
    pub fn after(&self, earlier: &Self) -> Self {
        Self { delivery: self.delivery.after(&earlier.delivery), ..self.clone() }
    }
}

fn is_default(delivery: &Delivery) -> bool {
    *delivery == Delivery::default()
}

/// A device type that shares firmware.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Product {
    /// UUID version 7.
    pub id: Uuid,
    /// The slug.
    pub name: ProductName,
    /// What the publisher set.
    pub settings: ProductSettings,
    /// What its devices are known by.
    pub device_secrets: DeviceSecrets,
    /// When it was created.
    pub created_at: DateTime<Utc>,
    /// The catalogue's revision at this product's last change.
    pub revision: Revision,
}

/// Digests of one image, computed in one pass over its bytes.
///
/// SHA-256 is the identity; existing device protocols verify the other two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digests {
    /// FIPS 180-4.
    pub sha256: [u8; 32],
    /// FIPS 180-4.
    pub sha1: [u8; 20],
    /// RFC 1321.
    pub md5: [u8; 16],
}

/// One file of a release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// UUID version 7; also the id of the reservation under which it was uploaded.
    pub id: Uuid,
    /// The last part of its key.
    pub filename: FileName,
    /// The hardware it runs on; empty = all.
    pub hardware: BTreeSet<Hardware>,
    /// In bytes.
    pub size: u64,
    /// Of the whole file.
    pub digests: Digests,
    /// The bucket's entity tag, without quotes.
    pub etag: String,
    /// When its upload began.
    pub created_at: DateTime<Utc>,
    /// What it says of itself; `None` = it was stored before images were inspected.
    pub facts: Option<Arc<Facts>>,
    /// The detached signature over the whole file that came with it, in base64, as devices get it.
    pub signature: Option<String>,
    /// Set = removed for good: offered to nobody, its bytes are gone or will be, and its key is never used again.
    pub removed_at: Option<DateTime<Utc>>,
}

/// Why and when a release was taken back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recall {
    /// When.
    pub at: DateTime<Utc>,
    /// The publisher's words.
    pub reason: String,
    /// The version that devices which run the recalled one should go to, also a lower one; `None` = whatever the
    /// channel offers above it.
    pub replacement: Option<Version>,
}

/// How devices come to a release.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UpgradePath {
    /// Devices below it are offered it first and never jump over it.
    pub floor: bool,
    /// The lowest version that can take it; `None` = any.
    pub upgrade_from: Option<Version>,
}

/// One version of a product.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// UUID version 7.
    pub id: Uuid,
    /// Unique within the product.
    pub version: Version,
    /// For people, in Markdown.
    pub notes: Option<String>,
    /// When its first image was stored.
    pub created_at: DateTime<Utc>,
    /// Devices below it are offered it first and never jump over it.
    pub floor: bool,
    /// The lowest version that can take it; `None` = any.
    pub upgrade_from: Option<Version>,
    /// Set = never offered again.
    pub recall: Option<Recall>,
    /// In the order of their upload.
    pub images: Vec<Image>,
    /// That it fixes vulnerabilities.
    pub security: Option<Security>,
    /// Its documents, by name.
    pub attachments: Vec<Attachment>,
}

/// An image that a channel may offer.
///
/// Promotion is by image, not by release: an image that is added to a release later is not offered before it
/// is promoted itself. A promotion that a downgrade overrides is withdrawn ([`ProductState::withdrawn`]), so what a
/// channel offers is always the highest version promoted to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Promotion {
    /// Where.
    pub channel: ChannelName,
    /// What.
    pub image: Uuid,
    /// When.
    pub at: DateTime<Utc>,
}

/// A promotion that waits until the image was fetched back through the CDN. No device is told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingPromotion {
    /// Where.
    pub channel: ChannelName,
    /// What.
    pub image: Uuid,
    /// The images whose promotions end with it, because a downgrade overrides them.
    pub withdraw: Vec<Uuid>,
    /// Since when it waits.
    pub at: DateTime<Utc>,
    /// Devices may be left without a way to what the channel offers highest.
    pub allow_stranding: bool,
    /// Why a rule was overridden, in the publisher's words.
    pub reason: Option<String>,
    /// How often the image was fetched.
    pub attempts: u32,
    /// What did not hold the last time.
    pub last_error: Option<String>,
}

/// A promotion that had waited, and was refused when it was to be offered. It stays to be seen until the image is promoted
/// again, withdrawn or recalled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedPromotion {
    /// Where.
    pub channel: ChannelName,
    /// What.
    pub image: Uuid,
    /// When it was asked for.
    pub asked_at: DateTime<Utc>,
    /// When it was refused.
    pub at: DateTime<Utc>,
    /// Why.
    pub why: String,
}

/// All that is known of one product, as of [`Product::revision`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProductState {
    /// The product itself.
    pub product: Product,
    /// Its releases, oldest first.
    pub releases: Vec<Release>,
    /// What its channels may offer.
    pub promotions: Vec<Promotion>,
    /// What they offered until a downgrade overrode it: devices may still run it.
    pub withdrawn: Vec<Promotion>,
    /// What its channels will offer once it was fetched back through the CDN, longest waiting first.
    pub pending: Vec<PendingPromotion>,
    /// What waited and will not be offered.
    pub refused: Vec<RefusedPromotion>,
}

impl ProductSettings {
    /// What holds for a channel: its own, and the product's where it has none.
    pub fn rhythm_of(&self, channel: &ChannelName) -> Rhythm {
        self.channels.get(channel).copied().unwrap_or_default().or(self.rhythm)
    }
}

impl ProductState {
    /// The release of that version.
    pub fn release(&self, version: &Version) -> Option<&Release> {
        self.releases.iter().find(|release| release.version == *version)
    }

    /// An image with its release.
    pub fn image(&self, id: Uuid) -> Option<(&Release, &Image)> {
        self.releases.iter().find_map(|release| {
            let image = release.images.iter().find(|image| image.id == id)?;
            Some((release, image))
        })
    }

    /// The channels that something was or is or was to be promoted to, and `stable`, which always exists.
    pub fn channels(&self) -> BTreeSet<ChannelName> {
        let promoted = self.promotions.iter().map(|promotion| promotion.channel.clone());
        let waiting = self.pending.iter().map(|promotion| promotion.channel.clone());
        let refused = self.refused.iter().map(|promotion| promotion.channel.clone());
        promoted.chain(waiting).chain(refused).chain([ChannelName::stable()]).collect()
    }

    /// Every image that the channel has ever offered, with its release: also what was withdrawn or recalled since.
    pub fn ever_offered<'a>(
        &'a self,
        channel: &'a ChannelName,
    ) -> impl Iterator<Item = (&'a Release, &'a Image)> {
        let ever = self.promotions.iter().chain(&self.withdrawn);
        ever.filter(|promotion| promotion.channel == *channel)
            .filter_map(|promotion| self.image(promotion.image))
    }

    /// Whether the image waits to be offered on the channel.
    pub fn is_pending(&self, image: Uuid, channel: &ChannelName) -> bool {
        self.pending.iter().any(|p| p.image == image && p.channel == *channel)
    }

    /// Whether the image is promoted to the channel.
    pub fn is_promoted(&self, image: Uuid, channel: &ChannelName) -> bool {
        self.promotions.iter().any(|p| p.image == image && p.channel == *channel)
    }
}

impl Release {
    /// Its images that were not removed.
    pub fn kept(&self) -> impl Iterator<Item = &Image> + Clone {
        self.images.iter().filter(|image| image.removed_at.is_none())
    }

    /// Whether all its images were removed.
    pub fn is_removed(&self) -> bool {
        !self.images.is_empty() && self.kept().next().is_none()
    }
}

impl Image {
    /// Whether it runs on that hardware; a device that names none takes only an image for all.
    pub fn fits(&self, hardware: Option<&str>) -> bool {
        self.hardware.is_empty() || hardware.is_some_and(|given| self.hardware.contains(given))
    }
}
