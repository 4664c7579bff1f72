//! What the backup has of each image: the part of the port that the backup is kept by.
//!
//! # Rules
//! - Every image has a state here from its publish on, made in the same transaction. What is to be copied is found by an
//!   index of just that: asking costs as much as there is to do, not as much as there is.
//! - Who keeps the backup writes what it has seen; nobody else does. These writes are no changes of what is published:
//!   they take no revision and leave no audit entry.
//! - Writing the same again is fine, so two replicas that do the same work for a moment do no harm.
//! - An image that was removed for good wants no copy, and its copy is neither read nor healed nor counted; it is only kept
//!   for a hold time ([`Copies::copies_past_hold`]).
//! - A copy counts for one place. When the backup becomes another place ([`Copies::set_backup`]), nothing is copied yet.

use std::{collections::BTreeSet, time::Duration};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::{
    domain::{Digests, FileName, Hardware, ProductName, Version},
    error::Result,
};

/// An image, as an object has to be made of it, and what is known of its copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageCopy {
    /// The image's id.
    pub image: Uuid,
    /// Its product.
    pub product: ProductName,
    /// Its release's version.
    pub version: Version,
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
    /// When it was copied; `None` = the backup does not have it.
    pub copied_at: Option<DateTime<Utc>>,
    /// When both objects were last read and were right; `None` = not since the copy was made.
    pub verified_at: Option<DateTime<Utc>>,
    /// What is wrong with the object in the bucket.
    pub primary_damage: Option<String>,
    /// What is wrong with the object in the backup.
    pub backup_damage: Option<String>,
}

/// A copy that was made or found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CopyMade {
    /// Of which image.
    pub image: Uuid,
    /// Whether the bytes were read and were right at both ends.
    pub verified: bool,
}

/// What the backup lacks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BackupLag {
    /// Images without a copy.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// For how long the oldest of them has been there; zero = none lacks a copy.
    pub age: Duration,
    /// Objects that are known to be damaged or missing in the bucket.
    pub damaged_primary: u64,
    /// The same in the backup.
    pub damaged_backup: u64,
    /// Why the bucket as a whole is held to be gone; `None` = it is there.
    pub primary_gone: Option<String>,
}

/// How the backup is doing as a whole.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BackupReport {
    /// What it lacks.
    pub lag: BackupLag,
    /// Which place it is; `None` = no backup was ever made.
    pub place: Option<String>,
    /// Images with a copy.
    pub copied: u64,
    /// Their bytes.
    pub copied_bytes: u64,
    /// Of them, those whose two objects were read at or after the asked time.
    pub read_since: u64,
    /// Of them, those whose copy has not been read since it was made.
    pub unread: u64,
    /// When the copy that waits longest to be read again was last read.
    pub oldest_read: Option<DateTime<Utc>>,
    /// When a pass last ended well.
    pub succeeded_at: Option<DateTime<Utc>>,
    /// When a pass last failed.
    pub failed_at: Option<DateTime<Utc>>,
    /// Why; kept until a pass ends well.
    pub error: Option<String>,
}

/// The part of the port that the backup is kept by. Errors as of [`super::Catalogue`].
#[async_trait]
pub trait Copies {
    /// Says which place the backup is; `true` = it was another one before, so that nothing counts as copied any more.
    async fn set_backup(&self, place: &str) -> Result<bool>;

    /// Images that the backup does not have, in the order of their ids (that of their publishes), after that id.
    async fn uncopied(&self, after: Option<Uuid>, limit: u32) -> Result<Vec<ImageCopy>>;

    /// Remembers copies that are there, and forgets what was wrong with their images.
    async fn copied(&self, made: &[CopyMade]) -> Result<()>;

    /// Remembers why an image could not be copied.
    async fn not_copied(&self, image: Uuid, error: &str) -> Result<()>;

    /// Copies that have not been read since that time (`None` = since they were made), those that wait longest first.
    async fn copies_to_read(&self, since: Option<DateTime<Utc>>, limit: u32) -> Result<Vec<ImageCopy>>;

    /// Remembers what is wrong with an image's two objects. When nothing is, they count as read now. `false` = the image was
    /// removed for good, and nothing was written.
    async fn inspected(
        &self,
        image: Uuid,
        primary_damage: Option<&str>,
        backup_damage: Option<&str>,
    ) -> Result<bool>;

    /// Images whose object in the bucket or in the backup is known to be missing or damaged.
    async fn damaged(&self, limit: u32) -> Result<Vec<ImageCopy>>;

    /// All images, in the order of their ids, after that id.
    async fn copies(&self, after: Option<Uuid>, limit: u32) -> Result<Vec<ImageCopy>>;

    /// Images that were removed longer ago than that and may still have a copy, the oldest removal first.
    async fn copies_past_hold(&self, hold: Duration, limit: u32) -> Result<Vec<ImageCopy>>;

    /// Remembers that the copy of a removed image was deleted.
    async fn copy_dropped(&self, image: Uuid) -> Result<()>;

    /// What the backup lacks; costs as much as that is.
    async fn backup_lag(&self) -> Result<BackupLag>;

    /// How the backup is doing; looks at every copy.
    async fn backup_report(&self, read_since: DateTime<Utc>) -> Result<BackupReport>;

    /// Remembers how a pass ended.
    async fn backup_ended(&self, error: Option<&str>) -> Result<()>;

    /// Remembers why the bucket as a whole is held to be gone, or that it is there.
    async fn set_primary_gone(&self, why: Option<&str>) -> Result<()>;

    /// When the verification by reading that is under way was begun; begins one if none is, or if `anew`.
    async fn begin_deep_verification(&self, anew: bool) -> Result<DateTime<Utc>>;

    /// Ends it.
    async fn end_deep_verification(&self) -> Result<()>;
}
