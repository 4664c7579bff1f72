//! How often images were downloaded, by day, as the CDN's logs tell.
//!
//! # Rules
//! - A log object counts once: its key is remembered in the transaction that adds its counts, so a pass that was cut off,
//!   a repeated call and two replicas at once change nothing.
//! - A request counts once, in however many log objects it is: it is remembered in the same transaction, and what was
//!   remembered before adds nothing. So a long log may be counted in parts, each in its transaction, and again after a crash.
//! - Keys are forgotten once their objects are so old that nobody counts such any more, and requests once no log that
//!   may repeat them is still to be counted; the caller knows when.
//! - Counts are by name: they stay when an image is removed. They are no change that a check or an auditor could see,
//!   so they leave the revision and the audit log alone.

use std::collections::{BTreeSet, HashSet};

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

/// A log object, or a part of one, and what it adds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CountedLog {
    /// Its key.
    pub key: String,
    /// When it was written, by the store's clock.
    pub modified_at: DateTime<Utc>,
    /// What all its lines add, requests that were counted before among them. At most one for each image and day; those
    /// of unknown products are left out.
    pub counts: Vec<DownloadCount>,
    /// The lines that say which request they are of.
    pub requests: Vec<CountedRequest>,
    /// `false` = more parts follow, so its key is not remembered yet. Such a part must have nothing but `requests` in its
    /// `counts`: the rest would count again after a crash.
    pub ends: bool,
}

/// A request, and what it adds to one of its log's counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CountedRequest {
    /// Its number ([`crate::cdn::datastream::RequestId::number`]).
    pub number: i64,
    /// Which of the counts.
    pub count: usize,
    /// Whether it delivered the object's last byte.
    pub completed: bool,
    /// Bytes delivered.
    pub bytes: u64,
    /// Whether they came from the edge's cache.
    pub from_edge: bool,
}

/// What a log object added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddedLog {
    /// What it added; a count of nothing is left out.
    pub counts: Vec<DownloadCount>,
    /// How many of its requests were counted before.
    pub duplicates: u64,
}

impl DownloadCount {
    /// Adds a request.
    pub fn add(&mut self, request: CountedRequest) {
        *(if request.completed { &mut self.completed } else { &mut self.partial }) += 1;
        self.bytes += request.bytes;
        self.edge_bytes += if request.from_edge { request.bytes } else { 0 };
    }

    fn take_off(&mut self, request: CountedRequest) {
        let less = |number: &mut u64, by: u64| *number = number.saturating_sub(by);
        less(if request.completed { &mut self.completed } else { &mut self.partial }, 1);
        less(&mut self.bytes, request.bytes);
        less(&mut self.edge_bytes, if request.from_edge { request.bytes } else { 0 });
    }
}

impl CountedLog {
    /// What it adds, of its requests only those that are `new`, each once.
    pub(crate) fn added(&self, new: impl IntoIterator<Item = i64>) -> AddedLog {
        let mut new: HashSet<i64> = new.into_iter().collect();
        let mut added = AddedLog { counts: self.counts.clone(), duplicates: 0 };
        for request in &self.requests {
            if !new.remove(&request.number) {
                added.duplicates += 1;
                if let Some(count) = added.counts.get_mut(request.count) {
                    count.take_off(*request);
                }
            }
        }
        added.counts.retain(|count| count.completed + count.partial > 0);
        added
    }

    /// Its requests' numbers, in the order in which every transaction takes them, so that none waits for another in a ring.
    pub(crate) fn numbers(&self) -> Vec<i64> {
        let mut numbers: Vec<i64> = self.requests.iter().map(|request| request.number).collect();
        numbers.sort_unstable();
        numbers
    }
}

/// The part of the port that counts downloads. Errors as of [`super::Catalogue`].
#[async_trait]
pub trait Downloads {
    /// Which of these log objects have not been counted.
    async fn uncounted_logs(&self, keys: &[String]) -> Result<BTreeSet<String>>;

    /// Adds what a log object counts, without the requests that were counted before; `None` = the object was counted
    /// before, and nothing is added.
    async fn count_log(&self, log: &CountedLog) -> Result<Option<AddedLog>>;

    /// Forgets the log objects that were written before then; returns how many.
    async fn forget_logs(&self, before: DateTime<Utc>) -> Result<u64>;

    /// Forgets at most `limit` requests of log objects that were written before then; returns how many.
    async fn forget_requests(&self, before: DateTime<Utc>, limit: u32) -> Result<u64>;

    /// What was delivered of a product since that day, by day, version (as a text) and file name.
    async fn downloads(&self, product: &ProductName, since: NaiveDate) -> Result<Vec<DownloadCount>>;
}
