//! The snapshot: the immutable in-memory index that answers every check.
//!
//! Built from [`ProductState`]s, product by product: a change to one product replaces one entry. For each
//! channel it holds one [`Offer`] per named hardware and one for devices of any other hardware, already
//! chosen, so that a check is a hash lookup, two short searches and a comparison of versions however many releases
//! there are. Lists in order and few heap blocks rather than maps in maps: with thousands of products, what a lookup
//! costs is the memory that it touches. For the same reason each offer carries its constant part of an answer, as text.
//!
//! Invariants: only promoted images of releases that are not recalled are in it; an offer is the highest
//! version among those that fit the hardware, and of one release the image that names the hardware wins over
//! the image for all.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{ChannelName, FileName, Hardware, Image, ProductName, ProductState, Release, Version};

/// The catalogue's count of changes; grows by one with each committed change.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Revision(pub u64);

/// What a channel offers to some hardware: one image of one release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offer {
    /// The release's version.
    pub version: Version,
    /// The image's file name; with product and version it makes the key.
    pub filename: FileName,
    /// In bytes.
    pub size: u64,
    /// Lower-case hex.
    pub sha256: Box<str>,
    /// Lower-case hex.
    pub sha1: Box<str>,
    /// Lower-case hex.
    pub md5: Box<str>,
    /// The hardware that the image names; empty = all.
    pub hardware: BTreeSet<Hardware>,
    /// The release's notes.
    pub notes: Option<Box<str>>,
    /// When the image was stored.
    pub created_at: DateTime<Utc>,
    /// All of the above as the members of a JSON object, without its braces: what an answer says of the offer besides
    /// the link. (In JSON because that is what nearly all devices read; other protocols have the fields.)
    pub members: Box<str>,
}

/// The members of an answer that do not change with time or caller.
#[derive(Serialize)]
struct Members<'a> {
    version: &'a Version,
    size: u64,
    sha256: &'a str,
    sha1: &'a str,
    md5: &'a str,
    filename: &'a FileName,
    hardware: &'a BTreeSet<Hardware>,
    #[serde(skip_serializing_if = "Option::is_none")]
    notes: Option<&'a str>,
    created_at: DateTime<Utc>,
}

/// What one channel offers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelOffers {
    any: Option<Arc<Offer>>,
    /// In the order of the names.
    by_hardware: Box<[(Hardware, Arc<Offer>)]>,
}

/// What the channels of one product offer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProductOffers {
    /// In the order of the names.
    channels: Box<[(ChannelName, ChannelOffers)]>,
}

/// All products' offers, as of one revision.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Everything up to this revision is in it.
    pub revision: Revision,
    products: HashMap<ProductName, Arc<ProductOffers>>,
}

impl ChannelOffers {
    /// What a device of that hardware is offered, if anything.
    pub fn offer(&self, hardware: Option<&str>) -> Option<&Arc<Offer>> {
        let named = hardware.and_then(|hardware| {
            let at = self.by_hardware.binary_search_by(|(name, _)| name.as_str().cmp(hardware)).ok()?;
            Some(&self.by_hardware[at].1)
        });
        named.or(self.any.as_ref())
    }
}

impl ChannelOffers {
    /// Every offer with its hardware, in order; `None` = devices of any other hardware.
    pub fn all(&self) -> impl Iterator<Item = (Option<&Hardware>, &Offer)> {
        let any = self.any.iter().map(|offer| (None, offer.as_ref()));
        any.chain(self.by_hardware.iter().map(|(hardware, offer)| (Some(hardware), offer.as_ref())))
    }
}

impl ProductOffers {
    /// The channel's offers; `None` = no such channel.
    pub fn channel(&self, name: &str) -> Option<&ChannelOffers> {
        let at = self.channels.binary_search_by(|(channel, _)| channel.as_str().cmp(name)).ok()?;
        Some(&self.channels[at].1)
    }

    /// Chooses the offers of every channel of a product.
    pub fn of(state: &ProductState) -> Self {
        let channels = state.channels().into_iter().map(|channel| {
            let offers = ChannelOffers::of(state, &channel);
            (channel, offers)
        });
        Self { channels: channels.collect() }
    }
}

impl ChannelOffers {
    /// Chooses the offers of one channel.
    pub fn of(state: &ProductState, channel: &ChannelName) -> Self {
        let promoted: Vec<(&Release, &Image)> = state
            .promotions
            .iter()
            .filter(|promotion| promotion.channel == *channel)
            .filter_map(|promotion| state.image(promotion.image))
            .filter(|(release, _)| release.recall.is_none())
            .collect();
        let best = |hardware: Option<&str>| {
            let fitting = promoted.iter().filter(|(_, image)| image.fits(hardware));
            fitting
                .max_by(|(release, image), (other_release, other)| {
                    let by_version = release.version.cmp(&other_release.version);
                    by_version.then((!image.hardware.is_empty()).cmp(&!other.hardware.is_empty()))
                })
                .map(|(release, image)| Arc::new(Offer::of(release, image)))
        };
        let named: BTreeSet<&Hardware> = promoted.iter().flat_map(|(_, image)| &image.hardware).collect();
        let by_hardware =
            named.into_iter().filter_map(|hardware| Some((hardware.clone(), best(Some(hardware.as_str()))?)));
        Self { any: best(None), by_hardware: by_hardware.collect() }
    }
}

impl Offer {
    fn of(release: &Release, image: &Image) -> Self {
        let sha256 = hex::encode(image.digests.sha256);
        let sha1 = hex::encode(image.digests.sha1);
        let md5 = hex::encode(image.digests.md5);
        let members = Members {
            version: &release.version,
            size: image.size,
            sha256: &sha256,
            sha1: &sha1,
            md5: &md5,
            filename: &image.filename,
            hardware: &image.hardware,
            notes: release.notes.as_deref(),
            created_at: image.created_at,
        };
        let object = serde_json::to_string(&members).expect("plain data without maps");
        Self {
            members: object[1..object.len() - 1].into(),
            version: release.version.clone(),
            filename: image.filename.clone(),
            size: image.size,
            sha256: sha256.into(),
            sha1: sha1.into(),
            md5: md5.into(),
            hardware: image.hardware.clone(),
            notes: release.notes.as_deref().map(Into::into),
            created_at: image.created_at,
        }
    }
}

impl Snapshot {
    /// The product's offers; `None` = no such product.
    pub fn product(&self, name: &str) -> Option<&ProductOffers> {
        self.products.get(name).map(AsRef::as_ref)
    }

    /// How many products it knows.
    pub fn product_count(&self) -> usize {
        self.products.len()
    }

    /// A newer snapshot: the given products replaced or added, all others shared with this one.
    #[must_use]
    pub fn with(&self, revision: Revision, changed: &[ProductState]) -> Self {
        let mut products = self.products.clone();
        for state in changed {
            products.insert(state.product.name.clone(), Arc::new(ProductOffers::of(state)));
        }
        Self { revision, products }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::domain::{Digests, Product, ProductSettings, Promotion, Recall};

    /// A product with releases given as `(version, hardware of each image, recalled)`, all promoted to `stable`.
    pub(crate) fn product(releases: &[(&str, &[&[&str]], bool)]) -> ProductState {
        let at = DateTime::UNIX_EPOCH;
        let mut state = ProductState {
            product: Product {
                id: Uuid::now_v7(),
                name: ProductName::parse("thermo-x").expect("valid"),
                settings: ProductSettings::default(),
                created_at: at,
                revision: Revision(1),
            },
            releases: Vec::new(),
            promotions: Vec::new(),
        };
        for (version, images, recalled) in releases {
            let images: Vec<Image> = images
                .iter()
                .enumerate()
                .map(|(index, hardware)| Image {
                    id: Uuid::now_v7(),
                    filename: FileName::parse(&format!("{index}.bin")).expect("valid"),
                    hardware: hardware.iter().map(|name| Hardware::parse(name).expect("valid")).collect(),
                    size: 1,
                    digests: Digests { sha256: [1; 32], sha1: [2; 20], md5: [3; 16] },
                    etag: String::new(),
                    created_at: at,
                })
                .collect();
            for image in &images {
                state.promotions.push(Promotion { channel: ChannelName::stable(), image: image.id, at });
            }
            state.releases.push(Release {
                id: Uuid::now_v7(),
                version: Version::parse(version).expect("valid"),
                notes: None,
                created_at: at,
                floor: false,
                upgrade_from: None,
                recall: recalled.then(|| Recall { at, reason: "bad".into(), replacement: None }),
                images,
                security: None,
                attachments: Vec::new(),
            });
        }
        state
    }

    fn offered(state: &ProductState, hardware: Option<&str>) -> Option<(String, String)> {
        let offers = ChannelOffers::of(state, &ChannelName::stable());
        let offer = offers.offer(hardware)?;
        Some((offer.version.to_string(), offer.filename.to_string()))
    }

    #[test]
    fn the_highest_version_that_fits_the_hardware_is_offered() {
        let state = product(&[
            ("1.0.0", &[&[]], false),
            ("1.2.0", &[&["a"], &["b", "c"]], false),
            ("1.10.0", &[&["a"]], false),
        ]);
        let is = |hardware, version: &str, file: &str| {
            assert_eq!(offered(&state, hardware), Some((version.into(), file.into())));
        };
        is(Some("a"), "1.10.0", "0.bin");
        is(Some("b"), "1.2.0", "1.bin");
        is(Some("unheard-of"), "1.0.0", "0.bin");
        is(None, "1.0.0", "0.bin");
    }

    #[test]
    fn an_image_that_names_the_hardware_wins_within_a_release_whatever_the_order() {
        for images in [[&[] as &[&str], &["a"]], [&["a"] as &[&str], &[]]] {
            let state = product(&[("1.0.0", &images, false)]);
            let named = images.iter().position(|hardware| !hardware.is_empty()).expect("one is");
            let file = format!("{named}.bin");
            assert_eq!(offered(&state, Some("a")), Some(("1.0.0".into(), file)));
        }
    }

    #[test]
    fn a_recalled_release_is_not_offered_and_the_one_before_is() {
        let state = product(&[("1.0.0", &[&[]], false), ("2.0.0", &[&[], &["a"]], true)]);
        assert_eq!(offered(&state, None), Some(("1.0.0".into(), "0.bin".into())));
        assert_eq!(offered(&state, Some("a")), Some(("1.0.0".into(), "0.bin".into())));
        let all_recalled = product(&[("2.0.0", &[&[]], true)]);
        assert_eq!(offered(&all_recalled, None), None);
    }

    #[test]
    fn an_image_that_is_not_promoted_is_not_offered() {
        let mut state = product(&[("1.0.0", &[&[]], false), ("2.0.0", &[&[]], false)]);
        state.promotions.pop();
        assert_eq!(offered(&state, None), Some(("1.0.0".into(), "0.bin".into())));
    }

    #[test]
    fn every_product_has_the_stable_channel() {
        let offers = ProductOffers::of(&product(&[]));
        assert!(offers.channel("stable").is_some_and(|channel| channel.offer(None).is_none()));
        assert!(offers.channel("beta").is_none());
    }
}
