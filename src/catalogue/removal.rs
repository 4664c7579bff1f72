//! Removing images for good: the row says so first, the object goes after the commit.
//!
//! # Rules
//! - A removed image keeps its row: its key is never used again, and what it was stays known. It is offered to nobody,
//!   also where it is still promoted.
//! - Removing is a change like any other: judged on a revision, one transaction with its audit entry. So a promotion
//!   that was committed first makes it [`Written::Stale`], and one that comes later sees the image as removed.
//! - Only the object of an image whose row says so may be removed from the bucket, and only after the commit; that it is
//!   gone is noted after it is gone. Nothing is offered or judged by that note: it makes no revision.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{Audit, Written};
use crate::{
    domain::{FileName, ProductName, ProductState, Revision, Version},
    error::Result,
};

/// An image that was removed and whose object may still be in the bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removed {
    /// The image.
    pub image: Uuid,
    /// Its product.
    pub product: ProductName,
    /// Its release.
    pub version: Version,
    /// The last part of its key.
    pub filename: FileName,
    /// In bytes.
    pub size: u64,
    /// Of the whole file.
    pub sha256: [u8; 32],
    /// When it was removed.
    pub removed_at: DateTime<Utc>,
}

/// A place in the order of removals: when, and which image.
pub type RemovedAt = (DateTime<Utc>, Uuid);

impl Removed {
    /// Its place in the order of removals.
    pub fn at(&self) -> RemovedAt {
        (self.removed_at, self.image)
    }
}

/// The part of the port that removes images for good. Errors as of [`super::Catalogue`].
#[async_trait]
pub trait Removal {
    /// Removes images of a product for good. Returns the product as it is now. Those that are removed already keep their
    /// time; when that is true of all, nothing changes. The caller has judged that none of them is offered.
    async fn remove(
        &self,
        product: &ProductName,
        images: &[Uuid],
        judged_at: Revision,
        audit: &Audit,
    ) -> Result<Written<ProductState>>;

    /// Removed images whose object was not yet noted as gone, the oldest removal first, at most `limit`; those behind
    /// `after`, if it is given.
    async fn removed(&self, after: Option<RemovedAt>, limit: u32) -> Result<Vec<Removed>>;

    /// Notes that the object of a removed image is gone; `false` = it was noted before, or the image is not removed.
    async fn object_is_gone(&self, image: Uuid) -> Result<bool>;
}
