//! The snapshot: the immutable in-memory index that answers every check.
//!
//! It holds one [`ProductOffers`] per product, in a hash table that is split into `SHARDS`: a newer snapshot shares all
//! but the shards in which something changed, and within those all but the products that did. So a change to one
//! product packs that product and copies a few references, however many there are; and a check is a hash, one probe
//! and a walk through one block of memory.

use std::{
    collections::BTreeSet,
    hash::{BuildHasher, RandomState},
    sync::Arc,
};

use hashbrown::HashTable;
use serde::{Deserialize, Serialize};

use super::{AuditHash, ProductOffers, ProductState, ShortImage, credential};

/// The catalogue's count of changes; grows by one with each committed change.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Revision(pub u64);

/// How many parts the table has; a power of two.
const SHARDS: usize = 256;

/// All products' offers, as of one revision.
#[derive(Clone)]
pub struct Snapshot {
    /// Everything up to this revision is in it.
    pub revision: Revision,
    /// Which catalogue it is of: the hash of the audit entry at that revision; `None` = not known.
    pub mark: Option<AuditHash>,
    shards: Box<[Arc<HashTable<ProductOffers>>]>,
    hasher: RandomState,
    count: usize,
    /// The products whose images short links may name, by the letters of theirs in these links.
    tags: Arc<BTreeSet<(String, String)>>,
    bytes: usize,
}

impl Default for Snapshot {
    fn default() -> Self {
        let shards = (0..SHARDS).map(|_| Arc::default()).collect();
        Self {
            revision: Revision::default(),
            mark: None,
            shards,
            hasher: RandomState::new(),
            count: 0,
            tags: Arc::default(),
            bytes: 0,
        }
    }
}

impl Snapshot {
    /// The product's offers; `None` = no such product.
    pub fn product(&self, name: &str) -> Option<&ProductOffers> {
        let hash = self.hash(name);
        self.shards[shard(hash)].find(hash, |offers| offers.is_named(name.as_bytes()))
    }

    /// How many products it knows.
    pub fn product_count(&self) -> usize {
        self.count
    }

    /// How many bytes the blocks of all products have.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// All products, in no order.
    pub fn products(&self) -> impl Iterator<Item = &ProductOffers> {
        self.shards.iter().flat_map(|shard| shard.iter())
    }

    /// A newer snapshot, not marked: the given products replaced or added, all others shared with this one.
    #[must_use]
    pub fn with(&self, revision: Revision, changed: &[ProductState]) -> Self {
        let mut newer = self.clone();
        newer.revision = revision;
        newer.mark = None;
        for state in changed {
            newer.put(ProductOffers::of(state));
        }
        newer
    }

    /// A snapshot of products that were packed before, as one that was kept on disk.
    pub fn restored(revision: Revision, products: impl Iterator<Item = ProductOffers>) -> Self {
        let mut snapshot = Self { revision, ..Self::default() };
        products.for_each(|product| snapshot.put(product));
        snapshot
    }

    /// The image that a short link names, with its product; `None` = there is none.
    pub fn short_image(&self, id: &str) -> Option<(&ProductOffers, ShortImage<'_>)> {
        let (tag, rest) = credential::split_short_id(id)?;
        let of_tag = self.tags.range((tag.to_owned(), String::new())..).take_while(|(other, _)| other == tag);
        of_tag.filter_map(|(_, name)| self.product(name)).find_map(|product| {
            let image = product.short_image(rest)?;
            Some((product, image))
        })
    }

    fn tag(&mut self, offers: &ProductOffers) {
        let entry = || (credential::product_tag(offers.name()), offers.name().to_owned());
        if offers.has_short_links() {
            Arc::make_mut(&mut self.tags).insert(entry());
        } else if !self.tags.is_empty() && self.tags.contains(&entry()) {
            Arc::make_mut(&mut self.tags).remove(&entry());
        }
    }

    fn put(&mut self, offers: ProductOffers) {
        self.tag(&offers);
        let hash = self.hash(offers.name());
        let hasher = self.hasher.clone();
        self.bytes += offers.as_bytes().len();
        // Copied only while an older snapshot shares it.
        let shard = Arc::make_mut(&mut self.shards[shard(hash)]);
        match shard.find_mut(hash, |known| known.is_named(offers.name().as_bytes())) {
            Some(known) => {
                self.bytes -= known.as_bytes().len();
                *known = offers;
            }
            None => {
                shard.insert_unique(hash, offers, |known| hasher.hash_one(known.name()));
                self.count += 1;
            }
        }
    }

    fn hash(&self, name: &str) -> u64 {
        self.hasher.hash_one(name)
    }
}

/// The table itself uses the lowest and the highest bits.
fn shard(hash: u64) -> usize {
    usize::try_from(hash >> 32).expect("usize has 64 bits here") % SHARDS
}

impl PartialEq for Snapshot {
    fn eq(&self, other: &Self) -> bool {
        self.revision == other.revision
            && self.mark == other.mark
            && self.count == other.count
            && self.products().all(|product| other.product(product.name()) == Some(product))
    }
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Snapshot(revision {}, {} products)", self.revision.0, self.count)
    }
}

#[cfg(test)]
pub(crate) mod tests {

    use chrono::DateTime;
    use uuid::Uuid;

    use super::*;
    use crate::domain::{
        ChannelName, DeviceSecrets, Digests, FileName, Hardware, Image, Product, ProductName,
        ProductSettings, Promotion, Recall, Release, Version,
    };

    /// A product with releases given as `(version, hardware of each image, recalled)`, all promoted to `stable`.
    pub(crate) fn product(releases: &[(&str, &[&[&str]], bool)]) -> ProductState {
        let at = DateTime::UNIX_EPOCH;
        let mut state = ProductState {
            product: Product {
                id: Uuid::now_v7(),
                name: ProductName::parse("thermo-x").expect("valid"),
                settings: ProductSettings::default(),
                device_secrets: DeviceSecrets::default(),
                created_at: at,
                revision: Revision(1),
            },
            releases: Vec::new(),
            promotions: Vec::new(),
            withdrawn: Vec::new(),
            pending: Vec::new(),
            refused: Vec::new(),
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
                    facts: None,
                    signature: None,
                    removed_at: None,
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

    #[test]
    fn short_links_are_found_while_their_product_has_them() {
        let named = |name: &str, link: &str| {
            let mut state = product(&[("1.0.0", &[&[]], false)]);
            state.product.name = ProductName::parse(name).expect("valid");
            let delivery = serde_json::json!({ "link": link });
            state.product.settings.delivery = serde_json::from_value(delivery).expect("fits");
            state
        };
        let all: Vec<_> = (0..50).map(|at| named(&format!("p{at}"), "short")).collect();
        let snapshot = Snapshot::default().with(Revision(1), &all);
        for state in &all {
            let name = state.product.name.as_str();
            let key = format!("{name}/1.0.0/0.bin");
            let found = snapshot.short_image(&credential::short_id(name, &key)).expect("there");
            assert_eq!((found.0.name(), found.1.key), (name, key.as_str()));
        }
        let id = credential::short_id("p1", "p1/1.0.0/0.bin");
        let mut kept = named("p1", "direct");
        kept.product.settings.delivery.had_short_links = true;
        assert!(snapshot.with(Revision(2), &[kept]).short_image(&id).is_some(), "it was given out");
        let later = snapshot.with(Revision(2), &[named("p1", "direct")]);
        assert!(later.short_image(&id).is_none() && snapshot.short_image(&id).is_some());
        let again = Snapshot::restored(Revision(1), snapshot.products().cloned());
        assert!(again.short_image(&id).is_some() && again.short_image("x").is_none());
    }

    #[test]
    fn a_newer_snapshot_replaces_and_adds_and_the_older_one_stays() {
        let named = |name: &str, releases: &[(&str, &[&[&str]], bool)]| {
            let mut state = product(releases);
            state.product.name = ProductName::parse(name).expect("valid");
            state
        };
        let first = Snapshot::default()
            .with(Revision(1), &[named("a", &[]), named("b", &[("1.0.0", &[&[]], false)])]);
        let second = first.with(Revision(2), &[named("b", &[("2.0.0", &[&[]], false)]), named("c", &[])]);
        let version = |snapshot: &Snapshot, name: &str| {
            let offers = snapshot.product(name)?.channel("stable").expect("always there").all();
            Some(offers.first().map(|(_, offer)| offer.version().to_owned()))
        };
        assert_eq!(version(&first, "b"), Some(Some("1.0.0".to_owned())));
        assert_eq!(version(&second, "b"), Some(Some("2.0.0".to_owned())));
        assert_eq!((version(&first, "c"), version(&second, "c")), (None, Some(None)));
        assert_eq!((first.product_count(), second.product_count()), (2, 3));
        let restored = Snapshot::restored(
            second.revision,
            second.products().map(|product| ProductOffers::from_bytes(product.as_bytes())),
        );
        let sum: usize = second.products().map(|product| product.as_bytes().len()).sum();
        assert_eq!((second.bytes(), restored.bytes()), (sum, sum));
        assert_eq!(restored, second);
        assert_ne!(restored, first);
    }
}
