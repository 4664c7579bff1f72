//! Compares catalogue, bucket and backup, and lists every difference by kind.
//!
//! # Flow
//! Catalogue and bucket are walked side by side in the order of the keys: the bucket by listings of a thousand, the
//! catalogue a product at a time, so memory is bounded by one page and one product. Each object that should be there is
//! asked for once (its metadata is in no listing). Before a difference is told, it is looked at again: beside a running
//! server, an image may have been published or removed in between. The same walk then compares the backup.
//!
//! # What is safe to repair
//! Aborting uploads that nobody has claimed for a day, and writing manifests that are missing. Copying from and to the
//! backup is `firmament backup sync` and `restore`, which verify what they copy; what remains needs a person, and each
//! difference says what to do.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{TimeDelta, Utc};
use futures_util::{StreamExt as _, stream};
use uuid::Uuid;

pub use super::difference::{Difference, Kind};
use super::{AT_ONCE, objects};
use crate::{
    bucket::{Bucket, ObjectKey, StoredObject},
    catalogue::Catalogue,
    domain::{
        Image, ProductName, ProductState, Release, Version,
        manifest::{Manifest, ManifestName},
    },
    error::Result,
    publishing::key_of,
};

/// An unfinished upload that no reservation covers is left alone for so long.
const UPLOAD_HOLD: TimeDelta = TimeDelta::days(1);

/// How to look.
#[derive(Debug, Clone, Copy, Default)]
pub struct Looking {
    /// Read and hash every object.
    pub deep: bool,
    /// Repair what is safe.
    pub repair: bool,
}

/// What was looked at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Looked {
    /// Products.
    pub products: usize,
    /// Images that should have an object.
    pub images: usize,
    /// Differences that were found.
    pub differences: usize,
    /// Those of them that were repaired.
    pub repaired: usize,
}

/// The stores.
#[derive(Clone, Copy)]
pub struct Stores<'a> {
    /// What should be.
    pub catalogue: &'a dyn Catalogue,
    /// Where it should be.
    pub bucket: &'a Bucket,
    /// Where it should be too.
    pub backup: Option<&'a Bucket>,
}

/// Looks at everything, and tells each difference as it is found.
///
/// # Errors
/// What the stores fail with.
pub async fn fsck(
    stores: Stores<'_>,
    how: Looking,
    tell: &mut (dyn FnMut(&Difference) + Send),
) -> Result<Looked> {
    let mut looked = Looked::default();
    let mut tell = |difference: Difference, looked: &mut Looked| {
        looked.differences += 1;
        looked.repaired += usize::from(difference.repaired);
        tell(&difference);
    };
    let mut products: Vec<ProductName> =
        stores.catalogue.products().await?.into_iter().map(|product| product.name).collect();
    // In the order of the keys, where `a-b/` comes before `a/`.
    products.sort_by_key(|name| format!("{name}/"));
    looked.products = products.len();
    for (bucket, is_backup) in [(Some(stores.bucket), false), (stores.backup, true)] {
        let Some(bucket) = bucket else { continue };
        let walk = Walk { catalogue: stores.catalogue, bucket, is_backup, deep: how.deep };
        let mut objects = objects::Objects::of(bucket);
        for name in &products {
            let Some(state) = stores.catalogue.product(name).await? else { continue };
            let expected = expected(&state);
            looked.images += if is_backup { 0 } else { expected.len() };
            for difference in walk.product(&state, &expected, &mut objects).await? {
                tell(difference, &mut looked);
            }
        }
        while let Some(stranger) = objects.next().await? {
            if let Some(difference) = walk.stranger(&stranger.key).await? {
                tell(difference, &mut looked);
            }
        }
    }
    for difference in uploads(stores, how).await? {
        tell(difference, &mut looked);
    }
    for difference in manifests(stores, how).await? {
        tell(difference, &mut looked);
    }
    Ok(looked)
}

/// The images of a product that should have an object, by key.
fn expected(state: &ProductState) -> BTreeMap<String, (&Version, &Image)> {
    let images = state.releases.iter().flat_map(|release| release.kept().map(move |image| (release, image)));
    images
        .map(|(release, image)| {
            let key = ObjectKey::image(&state.product.name, &release.version, &image.filename);
            (key.as_str().to_owned(), (&release.version, image))
        })
        .collect()
}

/// What one image's object is like.
enum Checked<'a> {
    /// It is there; what differs.
    Differs(Vec<Difference>),
    /// It is not, unless its image was removed in between: key and image.
    Missing(&'a str, Uuid),
}

/// A walk along one bucket.
struct Walk<'a> {
    catalogue: &'a dyn Catalogue,
    bucket: &'a Bucket,
    is_backup: bool,
    deep: bool,
}

impl Walk<'_> {
    fn found(&self, kind: Kind, what: &str, words: impl Into<String>) -> Difference {
        let words = words.into();
        let (kind, words) = match (self.is_backup, kind) {
            (false, kind) => (kind, words),
            (true, Kind::RowWithoutObject) => (Kind::BackupMissing, words),
            (true, kind) => (Kind::BackupDiffers, format!("{}: {words}", kind.code())),
        };
        Difference { kind, what: what.to_owned(), words, repaired: false }
    }

    /// The differences of one product; takes its objects, and those before it.
    async fn product(
        &self,
        state: &ProductState,
        expected: &BTreeMap<String, (&Version, &Image)>,
        objects: &mut objects::Objects<'_>,
    ) -> Result<Vec<Difference>> {
        let own = format!("{}/", state.product.name);
        let mut found = Vec::new();
        let mut listed = BTreeMap::new();
        while let Some(next) = objects.peek().await? {
            if !next.key.starts_with(&own) && next.key > own {
                break;
            }
            let Some(object) = objects.next().await? else { break };
            if expected.contains_key(&object.key) {
                listed.insert(object.key, object.size);
            } else {
                found.extend(self.stranger(&object.key).await?);
            }
        }
        let checks = expected.iter().map(|(key, (version, image))| {
            let listed = listed.get(key).copied();
            self.image(&state.product.name, key, version, image, listed)
        });
        let mut checks = stream::iter(checks).buffer_unordered(AT_ONCE);
        let mut missing = Vec::new();
        while let Some(checked) = checks.next().await {
            match checked? {
                Checked::Differs(differences) => found.extend(differences),
                Checked::Missing(key, image) => missing.push((key, image)),
            }
        }
        drop(checks);
        found.extend(self.missing(&state.product.name, &missing).await?);
        found.sort_by(|one, other| one.what.cmp(&other.what));
        Ok(found)
    }

    /// Those of the images without an object that were not removed since the product was read. It is read once more for all of
    /// them: when a bucket is lost, there are as many as images.
    async fn missing(&self, product: &ProductName, missing: &[(&str, Uuid)]) -> Result<Vec<Difference>> {
        if missing.is_empty() {
            return Ok(Vec::new());
        }
        let Some(now) = self.catalogue.product(product).await? else { return Ok(Vec::new()) };
        let kept: BTreeSet<Uuid> =
            now.releases.iter().flat_map(Release::kept).map(|image| image.id).collect();
        let words = match self.is_backup {
            true => "the backup has no copy: `firmament backup sync` makes one",
            false => {
                "its object is not in the bucket: `firmament backup restore` brings it back from the backup"
            }
        };
        let stays = missing.iter().filter(|(_, image)| kept.contains(image));
        Ok(stays.map(|(key, _)| self.found(Kind::RowWithoutObject, key, words)).collect())
    }

    /// An object that is not expected.
    async fn stranger(&self, key: &str) -> Result<Option<Difference>> {
        // Published since the products were read, or removed and on hold: both have a row.
        if self.catalogue.known_keys(&[key.to_owned()]).await?.contains(key) {
            return Ok(None);
        }
        // The backup keeps what it was given for its hold, and what others put there is not ours to judge.
        if self.is_backup || self.bucket.head(key).await?.is_none() && ObjectKey::parse(key).is_some() {
            return Ok(None);
        }
        let reserved = self.catalogue.reservations().await?;
        if reserved.iter().any(|(reservation, _)| key_of(reservation).as_str() == key) {
            return Ok(None);
        }
        let words = "no image names it. If it is wanted, publish it again with the same file: it is taken as it is; else remove \
                     it from the bucket";
        Ok(Some(self.found(Kind::ObjectWithoutRow, key, words)))
    }

    /// The differences of one image.
    async fn image<'b>(
        &self,
        product: &ProductName,
        key: &'b str,
        version: &Version,
        image: &Image,
        listed: Option<u64>,
    ) -> Result<Checked<'b>> {
        let Some(object) = self.bucket.head(key).await? else {
            return Ok(Checked::Missing(key, image.id));
        };
        let mut found = Vec::new();
        let repair = match self.is_backup {
            true => "`firmament backup verify` and `sync` replace it",
            false => "`firmament backup restore` brings the right one back",
        };
        if object.size != image.size || listed.is_some_and(|listed| listed != image.size) {
            let words = format!("{} bytes, should be {}: {repair}", object.size, image.size);
            found.push(self.found(Kind::Size, key, words));
        }
        match object.sha256 {
            Some(sha256) if sha256 != image.digests.sha256 => {
                let is = hex::encode(sha256);
                let words = format!(
                    "its metadata has SHA-256 {is}, should be {}: {repair}",
                    hex::encode(image.digests.sha256)
                );
                found.push(self.found(Kind::Digest, key, words));
            }
            _ => {}
        }
        if let Some(words) = metadata(&object, product, version, image) {
            found.push(self.found(Kind::Metadata, key, words));
        }
        if object.etag != image.etag {
            let words = format!(
                "its entity tag is {}, was {} when it was stored: caches that mix ranges of both will start over; the bytes \
                 may be the same (--deep tells)",
                object.etag, image.etag
            );
            found.push(self.found(Kind::Etag, key, words));
        }
        if self.deep && found.iter().all(|found| found.kind != Kind::Digest) {
            found.extend(self.bytes(key, image, &object, repair).await?);
        }
        Ok(Checked::Differs(found))
    }

    async fn bytes(
        &self,
        key: &str,
        image: &Image,
        object: &StoredObject,
        repair: &str,
    ) -> Result<Option<Difference>> {
        let (Some(key), Some(facts)) = (ObjectKey::parse(key), &object.facts) else {
            let words = "its bytes were not read, as its metadata is missing";
            return Ok(Some(self.found(Kind::Digest, key, words)));
        };
        let taken = objects::read(self.bucket, &key, facts, object.size).await?;
        let is = taken.map(|taken| taken.digests.sha256);
        if is == Some(image.digests.sha256) {
            return Ok(None);
        }
        let is = is
            .map_or_else(|| "could not be read".to_owned(), |is| format!("have SHA-256 {}", hex::encode(is)));
        let words = format!("its bytes {is}, should be {}: {repair}", hex::encode(image.digests.sha256));
        Ok(Some(self.found(Kind::Digest, key.as_str(), words)))
    }
}

/// What is wrong with an object's metadata.
fn metadata(
    object: &StoredObject,
    product: &ProductName,
    version: &Version,
    image: &Image,
) -> Option<String> {
    let Some(facts) = &object.facts else {
        return Some(
            "it carries no metadata of ours, which a rebuild of the catalogue and mounts of the bucket read"
                .into(),
        );
    };
    let same = facts.product == *product
        && facts.version == *version
        && facts.filename == image.filename
        && facts.hardware == image.hardware;
    if !same {
        return Some(format!(
            "its metadata names {} {} {} for other than the catalogue",
            facts.product, facts.version, facts.filename
        ));
    }
    (facts.created_at != image.created_at).then(|| "its metadata has another time than the catalogue".into())
}

/// Uploads that nobody goes on with.
async fn uploads(stores: Stores<'_>, how: Looking) -> Result<Vec<Difference>> {
    // The uploads first: a reservation that is made after the listing covers none of them.
    let uploads = stores.bucket.unfinished_uploads(None).await?;
    let reservations = stores.catalogue.reservations().await?;
    let old = Utc::now() - UPLOAD_HOLD;
    let mut found = Vec::new();
    for upload in uploads {
        if reservations.iter().any(|(reservation, _)| key_of(reservation).as_str() == upload.key) {
            continue;
        }
        let repaired = how.repair && upload.started_at < old;
        if repaired {
            stores.bucket.abort_upload(&upload).await?;
        }
        let words = match (repaired, upload.started_at < old) {
            (true, _) => "aborted".to_owned(),
            (false, true) => {
                format!("begun {}: --repair aborts it, and so does a running server", upload.started_at)
            }
            (false, false) => format!("begun {}: it is aborted once it is a day old", upload.started_at),
        };
        found.push(Difference { kind: Kind::UnfinishedUpload, what: upload.key, words, repaired });
    }
    Ok(found)
}

/// Manifests that are missing or damaged.
async fn manifests(stores: Stores<'_>, how: Looking) -> Result<Vec<Difference>> {
    let names = stores.bucket.manifests().await?;
    let mut found = Vec::new();
    for product in stores.catalogue.products().await? {
        let newest: Option<&ManifestName> = names
            .iter()
            .filter(|name| name.product == product.name && name.revision <= product.revision)
            .max();
        let (kind, words) = match newest {
            Some(name) if name.revision == product.revision => match stores.bucket.manifest(name).await {
                Ok(Some(_)) => continue,
                Ok(None) => (Kind::ManifestMissing, "it vanished".to_owned()),
                Err(error) if error.code() == "manifest-damaged" => {
                    (Kind::ManifestDamaged, error.to_string())
                }
                Err(error) => return Err(error),
            },
            _ => {
                let words = format!("revision {} is in no manifest yet", product.revision.0);
                (Kind::ManifestMissing, words)
            }
        };
        // A server writes it within seconds of a change.
        let Some(state) = stores.catalogue.product(&product.name).await? else { continue };
        if how.repair {
            stores.bucket.put_manifest(&Manifest::of(&state, None)).await?;
        }
        let words = if how.repair {
            format!("{words}; written")
        } else {
            format!("{words}: a running server writes it within seconds, or --repair")
        };
        found.push(Difference { kind, what: product.name.to_string(), words, repaired: how.repair });
    }
    Ok(found)
}
