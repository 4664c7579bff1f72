//! The backup: a second bucket, or a directory, that holds the same objects as the bucket.
//!
//! # Flow
//! - [`Backup::sync`] copies what the catalogue says is not copied yet ([`crate::catalogue::Copies`]). With nothing to do it
//!   is one statement in the database and no request to a bucket.
//! - [`Backup::scrub`] reads what was not read for the longest time, at both ends, and heals what is missing or damaged at
//!   one end from the other; what one end cannot read again and again counts as damaged, if the rest of it can be read.
//! - [`Backup::drop_removed`] deletes from the backup what was removed for good, after a hold time.
//! - [`Backup::verify`] compares both ends with the catalogue, without reading, or with it.
//! - [`Backup::restore`] rebuilds the bucket from the backup.
//!
//! The reconcilers (`jobs::backup`) and the commands (`cli::backup`) call these and add nothing to what is done.
//!
//! # Invariants
//! - An object is replaced only by bytes whose SHA-256 was found to be the published one on the way (`bucket::copying`). A
//!   copy within a store, whose bytes nobody has seen, is made only where nothing is, and stays only with the published
//!   entity tag; it is read back by the next scrub, before everything that was read before.
//! - A copy carries the original's metadata, content type and cache rule, and where the store lets it, its entity tag.
//! - What is damaged at both ends is left as it is, and reported until somebody has mended it.
//! - Everything may be done twice, or broken off anywhere: what is there is found by its description and not copied again.
//!
//! # What it does not do
//! Delete from the bucket, touch objects that the catalogue does not name, or decide which images exist.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use crate::{
    bucket::{Bucket, CopyMemory, ObjectFacts, ObjectKey, Original},
    catalogue::{Catalogue, ImageCopy},
};

mod copy;
mod inspect;
pub mod lead;
pub mod pace;
mod restore;
mod scrub;
mod sync;
mod unreadable;
mod verify;

pub use inspect::Found;
pub use pace::Pace;
pub use restore::{Restore, Restored};
pub use scrub::Scrubbed;
pub use sync::Synced;
pub use unreadable::Unreadable;
pub use verify::{Difference, Verification, Verified};

/// One of the two places.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// The bucket.
    Primary,
    /// Its backup.
    Backup,
}

impl Side {
    /// In words.
    pub fn name(self) -> &'static str {
        match self {
            Self::Primary => "bucket",
            Self::Backup => "backup",
        }
    }

    /// The other one.
    pub fn other(self) -> Self {
        match self {
            Self::Primary => Self::Backup,
            Self::Backup => Self::Primary,
        }
    }
}

/// A bucket and its backup.
pub struct Backup {
    /// What has to be in both.
    pub catalogue: Arc<dyn Catalogue>,
    /// The bucket.
    pub primary: Bucket,
    /// Its backup.
    pub backup: Bucket,
    /// Copies at once.
    pub transfers: usize,
    /// Bounds the bytes that pass through this process.
    pub pace: Pace,
    /// Bounds the memory.
    pub memory: CopyMemory,
    /// What is done as it is done.
    pub meter: Meter,
    /// What the scrub could not read.
    pub unreadable: Unreadable,
}

/// Counts what is done, for progress bars and metrics.
#[derive(Debug, Default)]
pub struct Meter {
    objects: AtomicU64,
    bytes: AtomicU64,
    read: AtomicU64,
}

impl Meter {
    /// Objects that were copied, found to be there, or inspected.
    pub fn objects(&self) -> u64 {
        self.objects.load(Ordering::Relaxed)
    }

    /// Their bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Bytes that passed through this process.
    pub fn read(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }

    fn done(&self, bytes: u64) {
        self.objects.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    fn passed(&self, bytes: usize) {
        self.read.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

impl Backup {
    /// One of the two places.
    pub fn side(&self, side: Side) -> &Bucket {
        match side {
            Side::Primary => &self.primary,
            Side::Backup => &self.backup,
        }
    }
}

/// The object that an image has to be.
pub fn original(image: &ImageCopy) -> Original {
    Original {
        key: key(image),
        facts: ObjectFacts {
            product: image.product.clone(),
            version: image.version.clone(),
            filename: image.filename.clone(),
            hardware: image.hardware.clone(),
            created_at: image.created_at,
        },
        size: image.size,
        digests: image.digests,
        etag: image.etag.clone(),
    }
}

/// Where it has to be.
pub fn key(image: &ImageCopy) -> ObjectKey {
    ObjectKey::image(&image.product, &image.version, &image.filename)
}
