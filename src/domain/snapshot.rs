//! The snapshot: the immutable in-memory index that answers every check.
//!
//! It holds one [`ProductOffers`] per product, in a hash table that is split into `SHARDS`: a newer snapshot shares all
//! but the shards in which something changed, and within those all but the products that did. So a change to one
//! product packs that product and copies a few references, however many there are; and a check is a hash, one probe
//! and a walk through one block of memory.

use std::{
    hash::{BuildHasher, RandomState},
    sync::Arc,
};

use hashbrown::HashTable;
use serde::{Deserialize, Serialize};

use super::{ProductOffers, ProductState};

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
    shards: Box<[Arc<HashTable<ProductOffers>>]>,
    hasher: RandomState,
    count: usize,
}

impl Default for Snapshot {
    fn default() -> Self {
        let shards = (0..SHARDS).map(|_| Arc::default()).collect();
        Self { revision: Revision::default(), shards, hasher: RandomState::new(), count: 0 }
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

    /// All products, in no order.
    pub fn products(&self) -> impl Iterator<Item = &ProductOffers> {
        self.shards.iter().flat_map(|shard| shard.iter())
    }

    /// A newer snapshot: the given products replaced or added, all others shared with this one.
    #[must_use]
    pub fn with(&self, revision: Revision, changed: &[ProductState]) -> Self {
        let mut newer = self.clone();
        newer.revision = revision;
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

    fn put(&mut self, offers: ProductOffers) {
        let hash = self.hash(offers.name());
        let hasher = self.hasher.clone();
        // Copied only while an older snapshot shares it.
        let shard = Arc::make_mut(&mut self.shards[shard(hash)]);
        match shard.find_mut(hash, |known| known.is_named(offers.name().as_bytes())) {
            Some(known) => *known = offers,
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
        ChannelName, Digests, FileName, Hardware, Image, Product, ProductName, ProductSettings, Promotion,
        Recall, Release, Version,
    };

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
            withdrawn: Vec::new(),
            pending: Vec::new(),
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
        assert_eq!(restored, second);
        assert_ne!(restored, first);
    }
}
