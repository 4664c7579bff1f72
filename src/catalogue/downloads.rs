//! How often images were downloaded, by day, as the CDN's logs tell.
//!
//! # Rules
//! - A log object counts once: its key is remembered in the transaction that adds its counts, so a pass that was cut off,
//!   a repeated call and two replicas at once change nothing.
//! - Keys are forgotten once their objects are so old that nobody counts such any more; the caller knows when.
//! - Counts are by name: they stay when an image is removed. They are no change that a check or an auditor could see,
//!   so they leave the revision and the audit log alone.

use std::collections::BTreeSet;

use async_trait::async_trait;
use chrono::{DateTime, NaiveDate, Utc};

use crate::{
    domain::{FileName, ProductName, Version},
    error::Result,
};

/// What was delivered of an image on one day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DownloadCount {
    /// The product.
    pub product: ProductName,
    /// The release's version.
    pub version: Version,
    /// The image's file name.
    pub filename: FileName,
    /// In UTC.
    pub day: NaiveDate,
    /// Responses that delivered the object's last byte.
    pub completed: u64,
    /// Responses that delivered bytes, but not the last.
    pub partial: u64,
    /// Bytes delivered.
    pub bytes: u64,
    /// Of these, those that the edge had in its cache.
    pub edge_bytes: u64,
}

/// A log object and what it adds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CountedLog {
    /// Its key.
    pub key: String,
    /// When it was written, by the store's clock.
    pub modified_at: DateTime<Utc>,
    /// At most one for each image and day; those of unknown products are left out.
    pub counts: Vec<DownloadCount>,
}

/// The part of the port that counts downloads. Errors as of [`super::Catalogue`].
#[async_trait]
pub trait Downloads {
    /// Which of these log objects have not been counted.
    async fn uncounted_logs(&self, keys: &[String]) -> Result<BTreeSet<String>>;

    /// Adds what a log object counts; `false` = it was counted before, and nothing is added.
    async fn count_log(&self, log: &CountedLog) -> Result<bool>;

    /// Forgets the log objects that were written before then; returns how many.
    async fn forget_logs(&self, before: DateTime<Utc>) -> Result<u64>;

    /// What was delivered of a product since that day, by day, version (as a text) and file name.
    async fn downloads(&self, product: &ProductName, since: NaiveDate) -> Result<Vec<DownloadCount>>;
}
