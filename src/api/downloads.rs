//! How often images were downloaded, in JSON.

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What was delivered of a product's images, by day, as the CDN's logs tell. Logs are delivered at best effort, so these
/// numbers are not for billing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DownloadList {
    /// The first day that is looked at, in UTC.
    pub since: NaiveDate,
    /// By day, then by version (as a text) and file name.
    pub downloads: Vec<DownloadView>,
    /// Whether this server looks for logs of a CDN; if not, nothing is added.
    pub counting: bool,
}

/// What was delivered of an image on one day.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DownloadView {
    /// In UTC.
    pub day: NaiveDate,
    /// The release.
    pub version: String,
    /// The image.
    pub filename: String,
    /// Responses that delivered the object's last byte.
    pub completed: u64,
    /// Responses that delivered bytes, but not the last: one for each range but the last, and each download that broke off.
    pub partial: u64,
    /// Bytes delivered.
    pub bytes: u64,
    /// Of these, those that the CDN had in its cache.
    pub edge_bytes: u64,
}
